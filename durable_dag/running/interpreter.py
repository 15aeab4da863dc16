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

from durable import Context, Retry
from durable_dag.errors import (
    ConcurrencyLimit,
    ExecutionFailed,
    TemplateUnresolved,
    WorkflowDisabled,
    WorkflowNotFound,
)
from durable_dag.graph.plan import Plan
from durable_dag.running.calls import Calls, Hands, detach, failure
from durable_dag.running.hooks import Deliveries
from durable_dag.running.retries import retry_of
from durable_dag.running.slots import Ask, Slots, asked_by
from durable_dag.running.turns import give_back, take_turn
from durable_dag.scheduling.commands import Answer, Ok
from durable_dag.scheduling.conductor import Conductor, Issue
from durable_dag.scheduling.scope import Facts
from durable_dag.scheduling.settling import SETTLE

Json: TypeAlias = Any

__all__ = ["DEPTH_MAX", "LOAD", "OUTPUT", "TIME", "VERDICT", "Tools", "interpret"]

LOAD: Final = "definition:"
VERDICT: Final = "verdict:"
TIME: Final = "timeout:"
OUTPUT: Final = "output:"
DEPTH_MAX: Final = 16
_OUTPUT_BYTES_MAX: Final = 256 * 1024
_PATIENT: Final = Retry(None, initial=1.0, max_interval=30.0, give_up_on=(WorkflowNotFound, WorkflowDisabled))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A definition as a run has it for its life."""

    plan: Plan
    workflow: str
    version: int | None


class Tools(Hands, Protocol):
    """What the interpreter is given to work with."""

    slots: Slots

    def plan(self, document: Mapping[str, Json]) -> Plan:
        """A document's plan."""
        ...

    async def load(self, workflow: str, version: int | None, digest: str | None) -> Json:
        """``{"definition", "version"}`` from the store."""
        ...

    async def order(self, execution: str, incarnation: int, round: int) -> Json:
        """What a retry asks for when a run has come to its end for the so-manieth time; None if there is none."""
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
        self._calls = Calls(ctx, tools, lambda: self._conductor.scopes.facts)
        self._deliveries = tools.deliveries(loaded.plan, request)
        self._finished: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._turn: Ask | None = None

    async def carry_out(self) -> Json:
        """From the first step to the last, and again as often as a retry asks for it."""
        try:
            self._listen()
            await self._take_turn()
            self._arm()
            self._spawn(self._conductor.begin(self._ctx.now()))
            round = 0
            while True:
                await self._until_over()
                if self._timer is not None:
                    self._timer.cancel()
                if not self._conductor.failed:
                    await self._give_back()
                    return await self._completed()
                again = await self._verdict(round)
                if again is None:
                    await self._give_back()
                    raise self._failed()
                round += 1
                await self._take_turn()
                self._arm()
                self._spawn(self._conductor.again(again["steps"], again.get("context") or {}, self._ctx.now()))
        except asyncio.CancelledError:
            await self._give_back(quietly=False)
            self._tell("cancelled")
            raise

    # ── its turn ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_turn(self) -> None:
        """Nothing of a run begins before it holds a slot, if its definition limits them; its time runs from then on."""
        since, facts = int(self._ctx.now().timestamp() * 1000), self._conductor.scopes.facts
        try:
            context = self._request.get("context") or {}
            self._turn = asked_by(self._loaded.plan, facts, context, since, self._ctx.generation)
            if self._turn is not None:
                await take_turn(self._ctx, self._tools.slots, self._turn)
        except (ConcurrencyLimit, TemplateUnresolved) as error:
            self._turn = None
            self._tell("failed", str(error))
            raise

    async def _give_back(self, *, quietly: bool = True) -> None:
        """Nothing of the run is under way any more when somebody else gets its slot."""
        if self._turn is None:
            return
        if not quietly:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await give_back(self._ctx, self._tools.slots, self._turn)
        self._turn = None

    # ── the ring ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _until_over(self) -> None:
        conductor = self._conductor
        while not conductor.over:
            number, answer = await self._finished.get()
            if number == _TIME_IS_OVER:
                conductor.stop(self._ctx.now())
                self._spawn([])
            elif number == _IS_SETTLED:
                assert isinstance(answer, Ok)
                self._spawn(conductor.settle(answer.value, self._ctx.now()))
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
            detach(self._calls.child(child, child.detached))
        conductor.detached.clear()
        for id in conductor.take_news():
            for request in self._deliveries.of_step(conductor, id, self._ctx.now()):
                self._deliver(request)

    async def _carry(self, issue: Issue) -> None:
        try:
            answer = await self._calls.ask(issue)
        except Exception as error:
            answer = failure(error)
        self._finished.put_nowait((issue.number, answer))

    def _listen(self) -> None:
        """Hear what people say of steps: in no task, so that questions keep their numbers, and again and again."""
        call = self._ctx.wait_for_signal(SETTLE)

        def heard(_: object) -> None:
            try:
                call.send(None)
            except StopIteration as end:
                if not self._conductor.over:  # else it says nothing, also when a retry begins anew
                    self._finished.put_nowait((_IS_SETTLED, Ok(end.value)))
                self._listen()
            except asyncio.CancelledError:
                pass  # the run has ended

        call.send(None).add_done_callback(heard)

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

    async def _completed(self) -> Json:
        try:
            work = self._conductor.output_work()
            if work is not None:
                facts = self._conductor.scopes.facts
                evaluate = self._tools.performer.function(work, facts.execution, facts.workflow)
                self._conductor.scripts = await self._ctx.step(OUTPUT, evaluate, retry=retry_of(work.retry))
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
        detach(self._ctx.child(workflow, request))


_TIME_IS_OVER: Final = -1
_IS_SETTLED: Final = -2


def _is_small(output: Json) -> bool:
    return len(json.dumps(output, default=str)) <= _OUTPUT_BYTES_MAX
