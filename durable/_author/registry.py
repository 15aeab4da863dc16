"""Which workflows and steps a process has: an explicit list, never an import by name (S12)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from durable._author.context import Context
from durable._author.definitions import Step, Workflow, WorkflowPolicy, step_workflow_name
from durable._model import defaults
from durable.errors import DuplicateRegistration, InvalidInput

__all__ = ["Registry"]


@final
class Registry:
    """Workflows by name and version; steps that other workers may ask for are one-step workflows here."""

    def __init__(self) -> None:
        self._workflows: dict[str, dict[str, Workflow[..., Any]]] = {}

    def add(self, workflow: Workflow[..., Any]) -> None:
        """Register a workflow; the same one twice is once.

        Raises:
            DuplicateRegistration: Another function has this name and version.
            InvalidInput: It is not a workflow.
        """
        if not isinstance(workflow, Workflow):
            raise InvalidInput(f"Worker(workflows=[...]) takes functions decorated with @workflow, not {workflow!r}.")
        versions = self._workflows.setdefault(workflow.name, {})
        present = versions.get(workflow.version)
        if present is not None and present.__wrapped__ is not workflow.__wrapped__:
            raise DuplicateRegistration(
                f"Two workflows are named {workflow.name!r} version {workflow.version!r}: "
                f"{present.__module__}.{present.__qualname__} and {workflow.__module__}.{workflow.__qualname__}. "
                'Give one of them another name or version: @workflow("name", version="2").'
            )
        versions[workflow.version] = workflow

    def add_step(self, step: Step[..., Any]) -> None:
        """Register a step that this process carries out for others."""
        if not isinstance(step, Step):
            raise InvalidInput(f"Worker(steps=[...]) takes functions decorated with @step, not {step!r}.")
        name = step_workflow_name(step.name)
        present = self._workflows.get(name, {}).get(defaults.VERSION)
        if present is not None:
            if present.__wrapped__ is step.fn:
                return
            raise DuplicateRegistration(
                f"Two steps are named {step.name!r}: {present.__module__}.{present.__qualname__} and "
                f"{step.__module__}.{step.__qualname__}. Give one of them another name: @step(name=...)."
            )
        self._workflows[name] = {defaults.VERSION: _one_step_workflow(name, step)}

    def get(self, name: str, version: str | None) -> Workflow[..., Any] | None:
        """A workflow; without a version the newest registered one."""
        versions = self._workflows.get(name)
        if not versions:
            return None
        return versions.get(version) if version is not None else versions[self.newest(name)]

    def newest(self, name: str) -> str:
        """The version that runs started by name only are pinned to: the one registered last."""
        return next(reversed(self._workflows[name]))

    def names(self) -> list[str]:
        """Names of the workflows, built-in ones left out."""
        return [name for name in self._workflows if not name.startswith("step:")]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each (name, version)."""
        return tuple((name, version) for name, versions in self._workflows.items() for version in versions)

    def all(self) -> Iterable[Workflow[..., Any]]:
        """Every registered workflow."""
        return [workflow for versions in self._workflows.values() for workflow in versions.values()]


def _one_step_workflow(name: str, step: Step[..., Any]) -> Workflow[..., Any]:
    """The run that carries a step out on its queue: remote execution without a second mechanism."""

    async def carry_out(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return await ctx.local_step(step, *args, **kwargs)

    policy = WorkflowPolicy(retention=step.policy.retention)
    made: Workflow[..., Any] = Workflow(carry_out, name, defaults.VERSION, policy, arguments=step.arguments)
    made.__wrapped__ = step.fn
    made.__module__, made.__qualname__ = step.__module__, step.__qualname__
    return made
