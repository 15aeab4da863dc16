"""The steps of one run as tasks, under the rules of skipping that definitions have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, final

from durable import Context, Step
from durable.errors import InvalidInput
from durable_dag.errors import ExecutionFailed, error_name
from durable_dag.graph.definition import Definition, Edge, Join, Kind, RetryPolicy, StepDef
from durable_dag.graph.plan import Plan
from durable_dag.program.actions import Actions
from durable_dag.program.values import retries
from durable_dag.scheduling.board import Board, Outcome
from durable_dag.scheduling.life import truthy
from durable_dag.scheduling.scope import Facts, Scopes

Json: TypeAlias = Any
Seen: TypeAlias = dict[str, Any]
Do: TypeAlias = Callable[[Context, Seen], Awaitable[Json]]

__all__ = ["Flow"]

_TIME_IS_OVER: Final = ""


@final
class Flow:
    """A graph of steps in a workflow that is code.

    Each step is a task. It begins when its dependencies say so, it sees the start's context and what the steps before
    it have come to, and a path that was not taken is skipped to its end.

    Args:
        context: Of the start.
        actions: Evaluate the expressions of ``when``.
        limit: How many steps are under way at once; None for no limit.
        fail_fast: Whether a failure that nothing handles ends the other steps.
        timeout: Milliseconds for all steps; None for no limit.
    """

    def __init__(
        self,
        ctx: Context,
        context: Mapping[str, Json],
        actions: Actions,
        *,
        workflow: str,
        version: int | None = None,
        limit: int | None = None,
        fail_fast: bool = False,
        timeout: float | None = None,
    ) -> None:
        self._ctx = ctx
        self._context = dict(context)
        self._actions = actions
        self._facts = Facts(ctx.run_id, workflow, version, int(ctx.now().timestamp() * 1000))
        self._more: dict[str, Any] = {"limit": limit, "fail_fast": fail_fast, "timeout": timeout}
        self._steps: dict[str, StepDef] = {}
        self._work: dict[str, Step[..., Any] | Do | None] = {}
        self._values: dict[str, Json] = {}
        self._errors: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._finished: asyncio.Queue[tuple[str, Outcome]] = asyncio.Queue()
        self._out_of_time = False

    def add(
        self,
        id: str,
        work: Step[..., Any] | Do | None,
        *,
        after: Iterable[str | tuple[str, str]] = (),
        join: Join = "active",
        kind: Kind = "plain",
        critical: bool = True,
        when: str | None = None,
        priority: int = 0,
        save: bool = True,
        input_key: str | None = None,
    ) -> None:
        """Add a step.

        Args:
            work: A durable step, which is called with what it may see; a function ``f(ctx, seen)`` of the workflow; or
                None for a step that does nothing.
            after: What it depends on: ids, or ``(id, on)`` with success, failure, skipped, done, or a branch.
            kind: ``condition`` and ``switch`` come to ``{"result", "branch"}``, and gate what depends on them.
            when: A JavaScript expression; where it is false, the step is skipped.
            save: Whether later steps see its result.
            input_key: The member of the context that is its ``input``.
        """
        edges = tuple(Edge(one) if isinstance(one, str) else Edge(*one) for one in after)
        params = {} if input_key is None else {"inputKey": input_key}
        self._steps[id] = StepDef(
            id,
            id,
            "",
            params,
            edges,
            RetryPolicy(),
            None,
            join,
            critical,
            kind,
            when,
            priority=priority,
            save_output=save,
        )
        self._work[id] = work

    async def run(self) -> None:
        """Carry all steps out; the run's value ``steps`` says then what became of each.

        Raises:
            ExecutionFailed: A critical step failed, and nothing handled it; or the time was over.
        """
        self._plan = Plan.of(Definition(self._facts.workflow, "", "", self._checked(), **self._more))
        self._scopes = Scopes(self._plan, self._facts, self._context)
        self._board = board = Board(self._plan)
        self._arm()
        self._spawn(board.begin())
        while not board.all_over:
            id, outcome = await self._finished.get()
            if id == _TIME_IS_OVER:
                self._out_of_time = True
                board.stop()
                self._spawn([])
            else:
                self._spawn(self._settled(id, outcome))
        if (timer := self._tasks.pop(_TIME_IS_OVER, None)) is not None:
            timer.cancel()
        self._ctx.set("steps", self.standings())
        if self._out_of_time or board.blocking:
            raise ExecutionFailed(self._failure())

    def results(self) -> dict[str, Json]:
        """What the steps have come to on which none depends, as far as they have succeeded."""
        return {id: self._values[id] for id in self._plan.leaves if self._board.place(id).standing == "success"}

    def seen(self) -> Seen:
        """The whole context at the end."""
        return {
            "context": self._scopes.whole(),
            "execution": {"id": self._facts.execution, "startTime": self._facts.start, "attempt": 1},
            "workflow": {"id": self._facts.workflow, "version": self._facts.version},
        }

    def standings(self) -> dict[str, dict[str, Json]]:
        """Of each step, how it ended: ``{"status", "reason", "branch"}``, without what is None."""
        found: dict[str, dict[str, Json]] = {}
        for id in self._plan.steps:
            place = self._board.place(id)
            told = {"status": place.standing, "reason": place.reason, "branch": place.branch}
            found[id] = {name: value for name, value in told.items() if value is not None}
        return found

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _checked(self) -> dict[str, StepDef]:
        unknown = {edge.step for step in self._steps.values() for edge in step.edges} - set(self._steps)
        if unknown:
            raise InvalidInput(f"Steps depend on what is no step: {', '.join(sorted(unknown))}.")
        return self._steps

    def _arm(self) -> None:
        limit = self._more["timeout"]
        if limit is None:
            return

        async def time() -> None:
            await self._ctx.sleep("timeout:", limit / 1000)
            self._finished.put_nowait((_TIME_IS_OVER, Outcome("failed")))

        self._tasks[_TIME_IS_OVER] = asyncio.create_task(time())

    def _spawn(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._tasks[id] = asyncio.create_task(self._carry(id))
        for id in self._board.dropped:
            self._tasks.pop(id).cancel()
        self._board.dropped = []

    async def _carry(self, id: str) -> None:
        try:
            outcome = await self._done(id)
        except Exception as error:
            self._errors[id] = f"{error_name(error)}: {error}"
            outcome = Outcome("failed")
        self._finished.put_nowait((id, outcome))

    async def _done(self, id: str) -> Outcome:
        step, work = self._steps[id], self._work[id]
        seen = self._scopes.of(step).variables()
        if step.when is not None and not await self._allowed(step, seen):
            return Outcome("skipped", None, "condition")
        value = None
        if isinstance(work, Step):
            value = await self._ctx.step(work, seen)
        elif work is not None:
            value = await work(self._ctx, seen)
        branch = value.get("branch") if step.kind != "plain" and isinstance(value, dict) else None
        self._values[id] = value
        return Outcome("success", branch)

    async def _allowed(self, step: StepDef, seen: Seen) -> bool:
        source = (step.when or "").strip()
        if source in ("true", "false"):
            return source == "true"
        actions = self._actions

        async def evaluate() -> Json:
            return await actions.evaluate(source, seen)

        found = await self._ctx.step(f"when:{step.id}", evaluate, retry=retries(5, initial_delay=200, max_delay=5000))
        return truthy(found)

    def _settled(self, id: str, outcome: Outcome) -> list[str]:
        self._tasks.pop(id, None)
        step = self._steps[id]
        if step.save_output and outcome.status != "skipped" and (outcome.status == "success" or not step.critical):
            self._scopes.outputs[id] = self._values.get(id)
        return self._board.settle(id, outcome)

    def _failure(self) -> str:
        if self._out_of_time:
            return f"the run took longer than its limit of {self._more['timeout']:g} ms"
        told = [f"{id}: {self._errors[id][:300]}" for id in self._board.blocking[:3]]
        more = len(self._board.blocking) - len(told)
        return "; ".join(told) + (f"; and {more} more" if more > 0 else "")
