"""The engine of definitions: registers them, starts them, shows their runs, and hands a worker what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar, final

from durable import Client, Duration, Handle, Retention, Workflow
from durable.errors import InvalidInput, RunConflict, RunNotFound
from durable_dag import forks
from durable_dag.bound import Bound
from durable_dag.egress import EgressPolicy, HttpOutbound, Outbound
from durable_dag.errors import (
    ExecutionConflict,
    ExecutionNotFound,
    InvalidDefinition,
    WorkflowInUse,
)
from durable_dag.executors import Executors
from durable_dag.executors.http import http_executors
from durable_dag.executors.perform import Performer, Secrets
from durable_dag.executors.scripts import scripts
from durable_dag.js import JsRuntime, ProcessJs
from durable_dag.pictures import Drawing, drawing_of
from durable_dag.running.delivery import endpoint_key
from durable_dag.running.toolbox import DAG, DELIVERY, GONE, WORK, Toolbox
from durable_dag.scheduling.settling import Verb
from durable_dag.starting import Start, Started, Starter
from durable_dag.validation import Checked, Checks, check
from durable_dag.verbs import Verbs
from durable_dag.versions import Registered, Stored, Versions
from durable_dag.watching.reading import Reading
from durable_dag.watching.view import step_view, step_views, visualization

Json: TypeAlias = Any
F = TypeVar("F", bound=Callable[..., Any])
OnConflict = Literal["return", "fail", "restart"]

__all__ = ["DAG", "DELIVERY", "WORK", "Engine"]

_LIVE: Final = ("pending", "running", "waiting", "paused", "blocked")


@final
class Engine:
    """Definitions on a store: ``engine = Engine(client)``, ``Worker(client, **engine.worker_parts())``.

    Args:
        client: Open, or opened before the engine is used; ``bind`` gives it later. It must be open where workers carry
            definitions out, too.
        js: Evaluates the JavaScript of transforms and conditions; by default in helper processes.
        egress: What steps and webhooks may call.
        outbound: Sends requests instead of httpx, for tests; then ``egress`` is its own affair.
        secrets: What ``${{ secrets.NAME }}`` stands for, by name: a ``durable.Secret``, or a text for tests. Nothing
            else is reachable from a definition.
        url: Under which a server shows executions; goes into webhooks that are too small for a result.
        allow_unknown_actions: Whether definitions may name actions that this process has no executor for.
        retention: How long executions, and the runs of their deliveries and of work on other queues, are kept after
            their end; by default for ever.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        js: JsRuntime | None = None,
        egress: EgressPolicy | None = None,
        outbound: Outbound | None = None,
        secrets: Secrets | None = None,
        url: str = "",
        allow_unknown_actions: bool = False,
        retention: Duration | Retention | None = None,
    ) -> None:
        self._bound = Bound(client)
        self.versions = Versions(self._bound)
        self.executors = Executors()
        self._own_js: ProcessJs | None = None
        if js is None:
            js = self._own_js = ProcessJs()
        self.js: JsRuntime = js
        self._secrets: Secrets = dict(secrets or {})
        self._allow_unknown = allow_unknown_actions
        self._outbound: Outbound = HttpOutbound(egress) if outbound is None else outbound
        for name, fn in {**scripts(self.js), **http_executors(self._outbound, self._bound.now)}.items():
            self.executors.add(name, fn, built_in=True)
        self.performer = Performer(self.executors, self._secrets)
        self._tools = Toolbox(
            self._bound, self.versions, self.performer, self._outbound, self._secrets, url.rstrip("/"), retention
        )
        self._dag = self._tools.executions()
        self._starter = Starter(self._bound, self._dag)
        self.reading = Reading(self._bound, self.versions, self._tools.plan, DAG)
        self._verbs = Verbs(self._bound, self.reading, self._tools)

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            DurableError: There is none yet.
        """
        return self._bound.client

    def bind(self, client: Client) -> None:
        """Give it a client, where it was made before there was one: ``engine = Engine()`` in a module of executors."""
        self._bound.bind(client)

    async def close(self) -> None:
        """Let go of the JavaScript helpers that the engine has started; a runtime that was given is left alone."""
        if self._own_js is not None:
            await self._own_js.close()

    # ── executors ────────────────────────────────────────────────────────────────────────────────────────────────

    def register_executor(
        self, name: str, fn: Callable[..., Any], *, params_schema: Json = None, retryable: bool = True
    ) -> None:
        """Let steps say ``"action": name``.

        Args:
            fn: ``f(params)``, ``f(params, context)`` or ``f(params, context, step)``. Async on the loop, plain in a
                thread. What it returns is the step's result; what it raises is retried by the step's policy, unless it
                is ``durable.NonRetryable``.
            params_schema: JSON Schema that definitions are held against.
            retryable: False if its errors are never worth another try.

        Raises:
            InvalidInput: The name, the function or the schema is none.
        """
        self.executors.add(name, fn, params_schema=params_schema, retryable=retryable)

    def executor(self, name: str, *, params_schema: Json = None, retryable: bool = True) -> Callable[[F], F]:
        """``register_executor`` as a decorator: ``@engine.executor("custom-action")``."""

        def decorate(fn: F) -> F:
            self.register_executor(name, fn, params_schema=params_schema, retryable=retryable)
            return fn

        return decorate

    # ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def workflows(self) -> list[Workflow[..., Any]]:
        """What a worker must have to carry definitions out."""
        return self._tools.workflows

    def worker_parts(self) -> dict[str, Any]:
        """Keyword arguments for ``durable.Worker``: ``Worker(client, **engine.worker_parts())``."""
        return {"workflows": self.workflows}

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def validate(self, document: Json) -> Checked:
        """Everything that is wrong with a definition; nothing is written."""
        secrets = set(self._secrets) if self._secrets else None
        checks = Checks(self.executors.schemas(), secrets, self._allow_unknown, self.js)
        return await check(document, checks)

    async def register_workflow(
        self, document: Mapping[str, Json], *, if_match: int | None = None, strict: bool = False
    ) -> Registered:
        """Store a definition as the next version of its id; the same content again is no new version.

        Args:
            if_match: The version that is believed to be the newest; 0 for none.
            strict: Refuse warnings, too.

        Raises:
            InvalidDefinition: With every problem.
            VersionConflict: ``if_match`` is not the newest version.
        """
        await self._checked(document, strict=strict)
        return await self.versions.register(document, if_match=if_match)

    async def get_workflow(self, id: str, version: int | None = None) -> Stored:
        """One version of a definition; the newest if none is named.

        Raises:
            WorkflowNotFound: There is no such one.
        """
        return await self.versions.get(id, version)

    async def enable_workflow(self, id: str, enabled: bool) -> None:
        """Let a definition take starts, or not; its live runs go on.

        Raises:
            WorkflowNotFound: There is no such one.
        """
        await self.versions.enable(id, enabled)

    async def delete_workflow(self, id: str, *, force: bool = False) -> None:
        """Hide a definition. Its runs keep what they were started with.

        Raises:
            WorkflowNotFound: There is no such one.
            WorkflowInUse: Runs of it are live, and ``force`` was not said.
        """
        if not force:
            live = await self.client.count(workflow=DAG, status=_LIVE, labels={"dag.workflow": id})
            if live:
                raise WorkflowInUse(f"{live} runs of workflow {id!r} are live; wait for them, or say force=True.")
        await self.versions.delete(id)

    async def _checked(self, document: Mapping[str, Json], *, strict: bool = False) -> Checked:
        found = await self.validate(document)
        if not found.valid or (strict and found.warnings):
            raise InvalidDefinition(found.errors or found.warnings, found.warnings)
        return found

    # ── executions ───────────────────────────────────────────────────────────────────────────────────────────────

    async def start(
        self,
        workflow_id: str | None = None,
        context: Mapping[str, Json] | None = None,
        *,
        definition: Mapping[str, Json] | None = None,
        version: int | None = None,
        execution_id: str | None = None,
        on_conflict: OnConflict = "return",
        delay: float | None = None,
        start_at: datetime | None = None,
        queue: str | None = None,
        priority: int = 0,
        tags: Mapping[str, str] | None = None,
        webhooks: Mapping[str, Json] | None = None,
        request_id: str | None = None,
    ) -> Started:
        """Start an execution; it is durable when this returns.

        Args:
            workflow_id: Of a registered definition; or give ``definition`` itself, which is checked and kept by its
                content, but gets no version.
            version: By default the newest. An execution stays on the version that it was started on.
            execution_id: Chosen by the caller, it makes the start idempotent: said again with the same request, the
                same execution is returned.
            on_conflict: When the id belongs to an execution: ``"return"`` it if the request was the same (else an
                error), ``"fail"``, or ``"restart"`` it if it has ended.
            delay: Seconds until it may begin; or ``start_at``.
            webhooks: Of this execution, in addition to the definition's.
            request_id: Makes ``"restart"`` repeatable: said again with the same one, it restarts nothing.

        Raises:
            WorkflowNotFound, WorkflowDisabled: There is no definition that takes it.
            InvalidDefinition: ``definition`` or ``webhooks`` is not good.
            InvalidContext: The context is no object, has a member that is called like a step, or does not fit
                ``inputSchema``.
            ExecutionConflict: The id is taken.
        """
        if (workflow_id is None) == (definition is None):
            raise InvalidInput("An execution is started with a workflow's id or with a definition: with one of them.")
        if definition is not None:
            await self._checked(definition)
            digest = await self.versions.put_content(definition)
            stored = Stored(definition["id"], 0, digest, 0.0, definition)
        else:
            assert workflow_id is not None
            stored = await self.versions.for_start(workflow_id, version)
        asked = Start(
            stored,
            context,
            version,
            execution_id,
            on_conflict,
            delay,
            start_at,
            queue,
            priority,
            tags or {},
            webhooks,
            request_id=request_id,
        )
        return await self._starter.start(asked)

    def handle(self, execution_id: str) -> Handle[Json]:
        """The run of an execution."""
        return self.client.handle(execution_id, self._dag)

    async def get(self, execution_id: str) -> dict[str, Json]:
        """The execution object.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        return await self.reading.get(execution_id)

    async def step(self, execution_id: str, step_id: str) -> dict[str, Json]:
        """One step of an execution in full: rendered params (secrets left out), result, error, every try.

        Raises:
            ExecutionNotFound: There is no such execution, or it has no such step.
        """
        found = step_view(await self.reading.load(execution_id), step_id)
        if found is None:
            raise ExecutionNotFound(f"Execution {execution_id} has no step {step_id!r}.")
        return found

    async def visualize(self, execution_id: str, *, layout: bool = False) -> dict[str, Json]:
        """What a picture of an execution is drawn from.

        Raises:
            ExecutionNotFound: There is no such execution.
        """
        return visualization(await self.reading.load(execution_id), layout=layout)

    async def drawing(self, execution_id: str) -> Drawing:
        """A drawing of an execution, for ``durable_dag.pictures``.

        Raises:
            ExecutionNotFound: There is no such execution, or it does not know its definition yet.
        """
        execution = await self.reading.load(execution_id)
        if execution.plan is None:
            raise ExecutionNotFound(f"Execution {execution_id} has not loaded its definition yet.")
        return drawing_of(execution.plan, {} if execution.story is None else step_views(execution, execution.story))

    async def result(self, execution_id: str, *, timeout: float | None = None) -> dict[str, Json]:
        """The execution object, when it has ended.

        Raises:
            TimeoutError: It has not, after so many seconds.
            ExecutionNotFound: There is no such execution.
        """
        try:
            await self.handle(execution_id).result(timeout=timeout)
        except (TimeoutError, RunNotFound, asyncio.CancelledError):
            if not await self.reading.exists(execution_id):
                raise ExecutionNotFound(f"Execution not found: {execution_id}") from None
            raise
        except Exception:
            pass  # how it failed is in the object
        return await self.get(execution_id)

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        """Ask an execution to end: what runs is cancelled, what has not begun is skipped."""
        await self.handle(execution_id).cancel(reason)
        await self.tell_last(execution_id)

    async def terminate(self, execution_id: str, reason: str = "") -> None:
        """End an execution now; its ``onFailure`` webhooks are told, as when it is cancelled.

        Should this process die in between, say it again: nobody is told twice.

        Raises:
            RunEnded: It has completed or failed.
        """
        await self.handle(execution_id).terminate(reason)
        await self.tell_last(execution_id)
        await self._verbs.give_back(execution_id)

    async def tell_last(self, execution_id: str) -> None:
        """Tell the webhooks of an end that no code of the run could tell; whatever was told is not told again.

        That is one by ``terminate``, or a cancel of a run that had not begun or was blocked.
        """
        await self._verbs.tell_last(execution_id)

    async def settle(
        self, execution_id: str, step_id: str, verb: Verb, value: Json = None, *, request_id: str | None = None
    ) -> None:
        """Say what became of a step that is under way: that it runs, waits or is tried again matters no more.

        Durable when this returns; it comes to pass when a worker reads it, unless the step has ended until then.

        Args:
            verb: ``"complete"`` with the result, ``"fail"`` with the error's text (or ``{"name", "message"}``),
                ``"skip"`` with a reason: what depends on it is skipped, too, as behind a condition that is false.
            request_id: Said again with the same one, it is said once.

        Raises:
            ExecutionNotFound: There is no such execution, or it has no such step.
            ExecutionConflict: The step has not begun, or has ended.
            InvalidInput: The result does not fit ``outputSchema``, or is none of a condition or switch.
        """
        await self._verbs.settle(execution_id, step_id, verb, value, request_id)

    async def retry(
        self, execution_id: str, *, steps: Sequence[str] | None = None, context: Mapping[str, Json] | None = None
    ) -> None:
        """Do again what has failed, in the same execution; what has succeeded is kept.

        Args:
            steps: These and all that depends on them, instead of what has failed and what was skipped because of it.
            context: Members that replace those of the start's context from now on.

        Raises:
            ExecutionConflict: It has not ended, or has completed; or it needs a slot that others hold.
            InvalidInput: There is no such step.
            InvalidContext: The context would not be accepted by a start.
        """
        await self._verbs.retry(execution_id, steps, context)

    async def fork(
        self,
        execution_id: str,
        *,
        step: str,
        context: Mapping[str, Json] | None = None,
        version: int | None = None,
        new_id: str | None = None,
    ) -> Started:
        """A new execution that takes over what the steps before ``step`` have come to, and does the rest itself.

        Args:
            context: Members that replace those of the old start's context.
            version: Of the definition; by default the same.

        Raises:
            InvalidInput: There is no such step; or what is taken over does not fit into one payload.
        """
        execution = await self.reading.load(execution_id)
        stored = await self.reading.stored(execution)
        if version is not None:
            stored = await self.versions.get(stored.id, version)
        given, whole = forks.taken_over(execution, self._tools.plan(stored.document), step, context)
        asked = Start(
            stored, whole, version, new_id, "return", given=given, tags=execution.tags, forked_from=execution_id
        )
        return await self._starter.start(asked)

    async def redeliver(self, delivery_id: str) -> None:
        """Send a dead letter again: the failed run of a delivery.

        Raises:
            ExecutionConflict: It has not failed.
        """
        handle = self.client.handle(delivery_id)
        status = await handle.status()
        if status.workflow != DELIVERY or status.state != "failed":
            raise ExecutionConflict(f"Run {delivery_id!r} is no delivery that has failed, but {status.state}.")
        request = (await handle.input())[0]
        await self.client.records.delete(GONE, endpoint_key(request))
        try:
            await handle.retry()
        except RunConflict as error:
            raise ExecutionConflict(str(error)) from None
