"""What a step of a run can see, and its params with the templates filled in. Pure.

Law: a step sees the start's context and the outputs of its ancestors, never of whatever else has ended by now: so its
params do not depend on who overtook whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

from durable_dag.graph.definition import StepDef
from durable_dag.graph.plan import Plan
from durable_dag.graph.templates import Path, Script, Template, is_templated, lookup, parse, shown_value, templates_in
from durable_dag.scheduling.commands import Late

Json: TypeAlias = Any

__all__ = ["Facts", "Rendered", "Scope", "Scopes", "filled", "masked", "scripts_in"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run from its beginning.

    Attributes:
        start: Milliseconds since the epoch.
        attempt: 1 at first; a retry of the whole execution raises it.
        incarnation: 1 at first; a restart under the same id raises it.
        depth: How many executions stand above this one.
    """

    execution: str
    workflow: str
    version: int | None
    start: int
    attempt: int = 1
    incarnation: int = 1
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Rendered:
    """Params without templates; what only an attempt can know is listed beside them."""

    value: Json
    late: tuple[Late, ...] = ()


class Visible(Mapping[str, Json]):
    """The context as one step sees it; a member is looked up when it is asked for."""

    def __init__(self, scopes: Scopes, step: str | None) -> None:
        self._scopes = scopes
        self._ancestors = None if step is None else scopes.plan.ancestors[step]

    def __getitem__(self, key: str) -> Json:
        if key in self._scopes.outputs and (self._ancestors is None or key in self._ancestors):
            return self._scopes.outputs[key]
        return self._scopes.initial[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._scopes.initial
        for key in self._scopes.outputs:
            if (self._ancestors is None or key in self._ancestors) and key not in self._scopes.initial:
                yield key

    def __len__(self) -> int:
        return len(self.plain())

    def plain(self) -> dict[str, Json]:
        """All of it as a dict of its own."""
        outputs, above = self._scopes.outputs, self._ancestors
        seen = outputs if above is None else {key: outputs[key] for key in outputs if key in above}
        return {**self._scopes.initial, **seen}


@final
@dataclass(slots=True)
class Scopes:
    """What a run has to show to its steps.

    Attributes:
        initial: The start's context.
        outputs: Of the steps that have succeeded, by id.
    """

    plan: Plan
    facts: Facts
    initial: dict[str, Json]
    outputs: dict[str, Json] = field(default_factory=dict)

    def of(self, step: StepDef, extra: Mapping[str, Json] | None = None) -> Scope:
        """What one step sees; ``extra`` are further roots (``item`` and ``index``)."""
        return Scope(self, step, dict(extra or {}))

    def whole(self) -> dict[str, Json]:
        """The context with every output, for people."""
        return Visible(self, None).plain()


@final
class Scope:
    """What one step sees."""

    def __init__(self, scopes: Scopes, step: StepDef | None, extra: dict[str, Json]) -> None:
        self._scopes = scopes
        self._context = Visible(scopes, None if step is None else step.id)
        facts = scopes.facts
        self._roots: dict[str, Json] = {
            "context": self._context,
            "execution": {"id": facts.execution, "startTime": facts.start, "attempt": facts.attempt},
            "workflow": {"id": facts.workflow, "version": facts.version},
            **extra,
        }
        if step is not None:
            self._roots["step"] = {"id": step.id, "idempotencyKey": f"{facts.execution}:{step.id}"}
            key = step.params.get("inputKey")
            if isinstance(key, str) and key in self._context:
                self._roots["input"] = self._context[key]

    def with_roots(self, extra: Mapping[str, Json]) -> Scope:
        """The same scope with further roots."""
        other = Scope.__new__(Scope)
        other._scopes, other._context = self._scopes, self._context
        other._roots = {**self._roots, **extra}
        return other

    def has(self, key: str) -> bool:
        """Whether the context has a member."""
        return key in self._context

    def member(self, key: str) -> Json:
        """A member of the context."""
        return self._context[key]

    def variables(self) -> dict[str, Json]:
        """What foreign code sees; made anew, because it may be large."""
        return {**self._roots, "context": self._context.plain()}

    def render(self, value: Json, scripts: Mapping[str, Json] | None = None) -> Rendered:
        """Fill templates in.

        Args:
            scripts: The values of JavaScript expressions, by source.

        Raises:
            TemplateUnresolved: A path leads nowhere.
        """
        late: list[Late] = []

        def walk(node: Json, path: tuple[str | int, ...]) -> Json:
            if isinstance(node, str):
                return self._text(parse(node), path, scripts or {}, late) if is_templated(node) else node
            if isinstance(node, list):
                return [walk(item, (*path, index)) for index, item in enumerate(node)]
            if isinstance(node, Mapping):
                return {key: walk(item, (*path, key)) for key, item in node.items()}
            return node

        return Rendered(walk(value, ()), tuple(late))

    def _text(
        self, template: Template, path: tuple[str | int, ...], scripts: Mapping[str, Json], late: list[Late]
    ) -> Json:
        if any(isinstance(part, Path) and _is_late(part) for part in template.parts):
            late.append(Late(path, tuple(self._late_part(part, scripts) for part in template.parts)))
            return None
        whole = template.whole
        if whole is not None:
            return self._value(whole, scripts)
        return "".join(
            part if isinstance(part, str) else shown_value(self._value(part, scripts)) for part in template.parts
        )

    def _late_part(self, part: str | Path | Script, scripts: Mapping[str, Json]) -> str | tuple[str, ...]:
        if isinstance(part, Path) and _is_late(part):
            return (part.root, *(str(segment) for segment in part.segments))
        return part if isinstance(part, str) else shown_value(self._value(part, scripts))

    def _value(self, part: Path | Script, scripts: Mapping[str, Json]) -> Json:
        if isinstance(part, Script):
            return scripts[part.source]
        value = lookup(part, self._roots)
        return value.plain() if isinstance(value, Visible) else value


def _is_late(path: Path) -> bool:
    return path.root == "secrets" or (path.root == "step" and path.segments == ("attempt",))


def scripts_in(value: Json) -> list[str]:
    """The JavaScript expressions in a value's templates, each once."""
    found: dict[str, None] = {}
    for _, text in templates_in(value):
        found.update((part.source, None) for part in parse(text).expressions if isinstance(part, Script))
    return list(found)


def filled(rendered: Json, late: tuple[Late, ...], known: Callable[[tuple[str, ...]], Json]) -> Json:
    """Params with what only an attempt knows; the given ones are left as they are.

    Args:
        known: The value of a way, as ``Late`` has it.
    """
    for one in late:
        whole = len(one.parts) == 1
        texts = [part if isinstance(part, str) else known(part) for part in one.parts]
        value = texts[0] if whole else "".join(shown_value(text) for text in texts)
        rendered = _put(rendered, one.path, value)
    return rendered


def masked(rendered: Rendered) -> Json:
    """Params for people: what only an attempt knows is shown as the template that it is."""
    value = rendered.value
    for one in rendered.late:
        text = "".join(part if isinstance(part, str) else "${{ " + ".".join(part) + " }}" for part in one.parts)
        value = _put(value, one.path, text)
    return value


def _put(node: Json, path: tuple[str | int, ...], value: Json) -> Json:
    if not path:
        return value
    copy: Any = list(node) if isinstance(node, list) else dict(node)
    copy[path[0]] = _put(copy[path[0]], path[1:], value)
    return copy
