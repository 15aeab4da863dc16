"""The one workflow that carries every definition out: the conductor's questions as calls of the engine.

It is an ordinary workflow over the public ``Context``. Each question has a task of its own, created in the order in
which the conductor numbers them, so that the journal of a run says by itself which step an entry belongs to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from durable import Context, Retry, RunFailed, StepCall, Workflow
from durable_dag.commands import Answer, Child, Command, Err, Many, Ok, Sleep, Wait, Work
from durable_dag.conductor import Conductor, Issue
from durable_dag.errors import ExecutionFailed, WorkflowDisabled, WorkflowNotFound, error_name
from durable_dag.executors.perform import Performer
from durable_dag.hooks import Deliveries
from durable_dag.plan import Plan
from durable_dag.remote import packed
from durable_dag.retries import retry_of
from durable_dag.scope import Facts
from durable_dag.tally import Tally

Json: TypeAlias = Any

__all__ = ["DEPTH_MAX", "LOAD", "TIME", "VERDICT", "Tools", "interpret"]

LOAD: Final = "definition:"
VERDICT: Final = "verdict:"
TIME: Final = "timeout:"
DEPTH_MAX: Final = 16
_OUTPUT_BYTES_MAX: Final = 256 * 1024
_PATIENT: Final = Retry(None, initial=1.0, max_interval=30.0, give_up_on=(WorkflowNotFound, WorkflowDisabled))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A definition as a run has it for its life."""

    plan: Plan
    workflow: str
    version: int | None


class Tools(Protocol):
    """What the interpreter is given to work with."""

    performer: Performer

    def plan(self, document: Mapping[str, Json]) -> Plan:
        """A document's plan."""
        ...

    async def load(self, workflow: str, version: int | None, digest: str | None) -> Json:
        """``{"definition", "version"}`` from the store."""
        ...

    async def order(self, execution: str, incarnation: int, round: int) -> Json:
        """What a retry asks for when a run has come to its end for the so-manieth time; None if there is none."""
        ...

    def executions(self) -> Workflow[[dict[str, Json]], Json]:
        """The workflow of this module, for children."""
        ...

    def works(self) -> Workflow[[dict[str, Json]], Json]:
        """The workflow that carries one piece of work out on another queue."""
        ...

    def deliveries(self, definition: Plan, request: Mapping[str, Json]) -> Deliveries:
        """The webhooks of a run."""
        ...


async def interpret(ctx: Context, request: dict[str, Json], tools: Tools) -> Json:
    """Carry one run out.

    Args:
        request: Its input: ``workflowId``, ``version``, ``definition`` (or it is loaded), ``context``, and what starts
            add.
    """
    if request.get("depth", 0) > DEPTH_MAX:
        raise ExecutionFailed(f"executions that start each other are nested deeper than {DEPTH_MAX} levels")
    document, version = request.get("definition"), request.get("version")
    if document is None:
        wanted, digest = request["workflowId"], request.get("digest")

        async def load() -> Json:
            return await tools.load(wanted, version, digest)

        loaded = await ctx.step(LOAD, load, retry=_PATIENT)
        document, version = loaded["definition"], loaded["version"]
    plan = tools.plan(document)
    return await _Run(ctx, request, tools, Loaded(plan, plan.definition.id, version)).carry_out()


def facts_of(run_id: str, request: Mapping[str, Json], workflow: str, version: int | None, start: datetime) -> Facts:
    """What the interpreter and the view know alike of a run."""
    return Facts(
        run_id,
        workflow,
        version,
        int(start.timestamp() * 1000),
        1,
        request.get("incarnation", 1),
        request.get("depth", 0),
    )


class _Run:
    def __init__(self, ctx: Context, request: Mapping[str, Json], tools: Tools, loaded: Loaded) -> None:
        self._ctx = ctx
        self._request = request
        self._tools = tools
        self._loaded = loaded
        facts = facts_of(ctx.run_id, request, loaded.workflow, loaded.version, ctx.now())
        self._conductor = Conductor(loaded.plan, facts, request.get("context") or {}, request.get("given"))
        self._deliveries = tools.deliveries(loaded.plan, request)
        self._finished: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.Task[None] | None = None

    async def carry_out(self) -> Json:
        """From the first step to the last, and again as often as a retry asks for it."""
        try:
            self._arm()
            self._spawn(self._conductor.begin(self._ctx.now()))
            round = 0
            while True:
                await self._until_over()
                if self._timer is not None:
                    self._timer.cancel()
                if not self._conductor.failed:
                    return self._completed()
                again = await self._verdict(round)
                if again is None:
                    raise self._failed()
                round += 1
                self._arm()
                self._spawn(self._conductor.again(again["steps"], again.get("context") or {}, self._ctx.now()))
        except asyncio.CancelledError:
            self._tell("cancelled")
            raise

    # ── the ring ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _until_over(self) -> None:
        conductor = self._conductor
        while not conductor.over:
            number, answer = await self._finished.get()
            if number == _TIME_IS_OVER:
                conductor.stop(self._ctx.now())
                self._spawn([])
            else:
                self._tasks.pop(number, None)
                self._spawn(conductor.answer(number, answer, self._ctx.now()))

    def _spawn(self, issues: list[Issue]) -> None:
        """Ask what is to be asked, let go of what nobody waits for, tell what has happened."""
        conductor = self._conductor
        for issue in issues:
            self._tasks[issue.number] = asyncio.create_task(self._carry(issue))
        for number in conductor.dropped:
            self._tasks.pop(number).cancel()
        conductor.dropped.clear()
        for child in conductor.detached:
            assert child.detached is not None
            _detach(self._child(child, child.detached))
        conductor.detached.clear()
        for id in conductor.take_news():
            for request in self._deliveries.of_step(conductor, id, self._ctx.now()):
                self._deliver(request)

    async def _carry(self, issue: Issue) -> None:
        try:
            answer = await self._ask(issue.command, issue.step)
        except Exception as error:
            answer = _err(error)
        self._finished.put_nowait((issue.number, answer))

    def _arm(self) -> None:
        """Begin a round: its time runs from now on."""
        limit = self._loaded.plan.definition.timeout
        if limit is not None:
            self._timer = asyncio.create_task(self._time(limit / 1000))

    async def _time(self, seconds: float) -> None:
        await self._ctx.sleep(TIME, seconds)
        self._finished.put_nowait((_TIME_IS_OVER, Ok()))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _verdict(self, round: int) -> Json:
        """A run that has failed asks once, durably, whether somebody wants its failures done again."""
        run, incarnation = self._ctx.run_id, self._conductor.scopes.facts.incarnation

        async def order() -> Json:
            return await self._tools.order(run, incarnation, round)

        return await self._ctx.step(VERDICT, order, retry=_PATIENT)

    def _completed(self) -> Json:
        try:
            output = self._conductor.output()
        except Exception as error:
            self._tell("failed", f"output: {error}")
            raise ExecutionFailed(f"output: {error}") from error
        self._tell("completed")
        if not self._loaded.plan.definition.has_output and not _is_small(output):
            return None  # the leaves' results stand in the journal; a view puts them together
        return output

    def _failed(self) -> Exception:
        message = self._conductor.failure_text()
        self._tell("failed", message)
        return ExecutionFailed(message)

    def _tell(self, status: str, error: str | None = None) -> None:
        for request in self._deliveries.of_end(self._conductor, status, error, self._ctx.now()):
            self._deliver(request)

    def _deliver(self, request: dict[str, Json]) -> None:
        workflow = self._deliveries.workflow.options(
            on_parent_close="abandon", labels={"dag.delivery": self._ctx.run_id, "dag.event": request["event"]}
        )
        _detach(self._ctx.child(workflow, request))

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, command: Command, step: str) -> Answer:
        match command:
            case Work() | Child():
                return Ok(await self._call(command))
            case Sleep(until=until):
                await self._ctx.sleep(step, (until - self._ctx.now()).total_seconds())
                return Ok()
            case Wait(signal=signal, until=until):
                left = None if until is None else max(0.0, (until - self._ctx.now()).total_seconds())
                return Ok(await self._ctx.wait_for_signal(signal, timeout=left))
            case Many():
                total: Answer = await _limited(self._many(command), command.time)
                return total

    async def _call(self, command: Work | Child) -> Json:
        if isinstance(command, Child):
            return await _limited(self._child(command, None), command.limit)
        facts = self._conductor.scopes.facts
        if command.queue is not None:
            request = packed(command, facts.execution, facts.workflow)
            return await self._ctx.child(self._tools.works().options(queue=command.queue), request)
        work = self._tools.performer.function(command, facts.execution, facts.workflow)
        timeout = None if command.timeout is None else command.timeout / 1000
        return await self._ctx.step(command.name, work, retry=retry_of(command.retry), timeout=timeout)

    def _child(self, child: Child, id: str | None) -> StepCall[Json]:
        workflow = self._tools.executions().options(
            id=id,
            queue=child.queue,
            on_parent_close="abandon" if id is not None else "cancel",
            labels={"dag.workflow": str(child.request.get("workflowId"))},
        )
        return self._ctx.child(workflow, dict(child.request))

    async def _many(self, many: Many) -> Answer:
        """Each call in a task of its own, created in order, so that the journal tells its place."""
        answers: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()
        gate = asyncio.Semaphore(len(many.calls) if many.limit is None else many.limit)

        async def one(place: int, command: Work | Child) -> None:
            async with gate:
                try:
                    answer: Answer = Ok(await self._call(command))
                except Exception as error:
                    answer = _err(error)
                answers.put_nowait((place, answer))

        tasks = [asyncio.create_task(one(place, command)) for place, command in enumerate(many.calls)]
        tally = Tally(len(many.calls), many.allowed)
        try:
            while True:
                total = tally.add(*await answers.get())
                if total is not None:
                    return total
        finally:
            for task in tasks:
                task.cancel()


_TIME_IS_OVER: Final = -1


async def _limited(work: Any, milliseconds: float | None) -> Any:
    if milliseconds is None:
        return await work
    async with asyncio.timeout(milliseconds / 1000):
        return await work


def _detach(call: StepCall[Any]) -> None:
    """Start a child and give up waiting for it, in one go: it is in the commit that is due anyway."""
    future = call.send(None)
    future.cancel()
    call.close()


def _err(error: Exception) -> Err:
    """What a step's failure is called: the child's own error, where one has failed."""
    cause = error.__cause__ if isinstance(error, RunFailed) and isinstance(error.__cause__, Exception) else error
    return Err(error_name(cause), str(cause))


def _is_small(output: Json) -> bool:
    return len(json.dumps(output, default=str)) <= _OUTPUT_BYTES_MAX
