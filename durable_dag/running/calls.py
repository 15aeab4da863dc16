"""What a run's steps ask for, as calls of the engine: durable steps, timers, signals, children, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, final

from durable import Context, Retry, RunFailed, StepCall, Workflow
from durable_dag.errors import ScheduleTimeout, error_name
from durable_dag.executors.perform import Performer
from durable_dag.graph.backoff import another
from durable_dag.running.remote import packed
from durable_dag.running.retries import retry_of
from durable_dag.scheduling.commands import Answer, Child, Err, Many, Ok, Sleep, Wait, Work
from durable_dag.scheduling.conductor import Issue
from durable_dag.scheduling.scope import Facts
from durable_dag.scheduling.tally import Tally

Json: TypeAlias = Any

__all__ = ["AGAIN", "CALL_LABEL", "PICK_UP", "Calls", "Hands", "detach", "failure"]

PICK_UP: Final = "schedule:"
AGAIN: Final = "again:"
CALL_LABEL: Final = "dag.call"
_PATIENT: Final = Retry(None, initial=1.0, max_interval=30.0)


class Hands(Protocol):
    """What calls are made with."""

    performer: Performer

    def executions(self) -> Workflow[[dict[str, Json]], Json]:
        """The workflow that carries definitions out, for children."""
        ...

    def works(self) -> Workflow[[dict[str, Json]], Json]:
        """The workflow that carries one piece of work out on another queue."""
        ...

    async def untouched(self, run: str, label: str) -> bool:
        """Whether a child of a run, by the label of its call, has never been taken up by a worker."""
        ...


@final
class Calls:
    """The calls of one run.

    Args:
        facts: What is known of the run now.
    """

    def __init__(self, ctx: Context, hands: Hands, facts: Callable[[], Facts]) -> None:
        self._ctx = ctx
        self._hands = hands
        self._facts = facts

    async def ask(self, issue: Issue) -> Answer:
        """Ask one question; a failure of what is asked for is raised."""
        command = issue.command
        match command:
            case Work() | Child():
                return Ok(await self._call(command, str(issue.number)))
            case Sleep(until=until):
                await self._ctx.sleep(issue.step, (until - self._ctx.now()).total_seconds())
                return Ok()
            case Wait(signal=signal, until=until):
                left = None if until is None else max(0.0, (until - self._ctx.now()).total_seconds())
                return Ok(await self._ctx.wait_for_signal(signal, timeout=left))
            case Many():
                total: Answer = await _limited(self._many(command, issue), command.time)
                return total

    def child(self, child: Child, id: str | None = None, label: str | None = None) -> StepCall[Json]:
        """The call of an execution.

        Args:
            id: Of one that is not awaited; None for the engine's own choice.
            label: By which ``untouched`` finds it; None if nobody asks.
        """
        workflow = self._hands.executions().options(
            id=id,
            queue=child.queue,
            on_parent_close="abandon" if id is not None else "cancel",
            labels={"dag.workflow": str(child.request.get("workflowId"))} | _label(label),
        )
        return self._ctx.child(workflow, dict(child.request))

    async def _call(self, command: Work | Child, place: str) -> Json:
        """Args: place: unlike that of any other call of the run."""
        label = None if command.pick_up is None else f"{self._facts().incarnation}/{place}"
        if isinstance(command, Child):
            return await _limited(self._taken_up(self.child(command, None, label), command, label), command.limit)
        facts = self._facts()
        if command.queue is not None:
            request = packed(command, facts.execution, facts.workflow)
            workflow = self._hands.works().options(queue=command.queue, labels=_label(label))
            return await self._taken_up(self._ctx.child(workflow, request), command, label)
        work = self._hands.performer.function(command, facts.execution, facts.workflow)
        timeout = None if command.timeout is None else command.timeout / 1000
        return await self._ctx.step(command.name, work, retry=retry_of(command.retry), timeout=timeout)

    async def _taken_up(self, call: StepCall[Json], command: Work | Child, label: str | None) -> Json:
        """A child's result, if some worker takes the child up in time."""
        if label is None or command.pick_up is None:
            return await call
        limit, queue, run = command.pick_up, command.queue, self._ctx.run_id

        async def too_late() -> str | None:
            if not await self._hands.untouched(run, label):
                return None
            where = "" if queue is None else f" of queue {queue!r}"
            return f"no worker{where} has taken it up within {limit:g} ms"

        async def result() -> Json:
            return await call

        child = asyncio.create_task(result())
        timer = asyncio.create_task(self._ctx.sleep(PICK_UP, limit / 1000))
        try:
            await asyncio.wait([child, timer], return_when=asyncio.FIRST_COMPLETED)
            if not child.done():
                wrong = await self._ctx.step(PICK_UP, too_late, retry=_PATIENT)
                if wrong is not None:
                    raise ScheduleTimeout(wrong)
            return await child
        finally:
            timer.cancel()
            child.cancel()

    async def _many(self, many: Many, issue: Issue) -> Answer:
        """Each call in a task of its own, created in order, so that the journal tells its place."""
        answers: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()
        gate = asyncio.Semaphore(len(many.calls) if many.limit is None else many.limit)

        async def one(place: int, command: Work | Child) -> None:
            async with gate:
                answers.put_nowait((place, await self._item(command, f"{issue.number}/{place}")))

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

    async def _item(self, command: Work | Child, place: str) -> Answer:
        """One call of several; a child is tried again here, work where it is done."""
        attempt = 1
        while True:
            try:
                return Ok(await self._call(command, f"{place}/{attempt}"))
            except Exception as error:
                answer = failure(error)
            pause = another(command.retry, attempt, answer.name) if isinstance(command, Child) else None
            if pause is None:
                return answer
            if pause > 0:
                await self._ctx.sleep(AGAIN, pause)
            attempt += 1


def detach(call: StepCall[Any]) -> None:
    """Start a child and give up waiting for it, in one go: it is in the commit that is due anyway."""
    future = call.send(None)
    future.cancel()
    call.close()


def failure(error: Exception) -> Err:
    """What a step's failure is called: the child's own error, where one has failed."""
    cause = error.__cause__ if isinstance(error, RunFailed) and isinstance(error.__cause__, Exception) else error
    return Err(error_name(cause), str(cause))


def _label(label: str | None) -> dict[str, str]:
    return {} if label is None else {CALL_LABEL: label}


async def _limited(work: Any, milliseconds: float | None) -> Any:
    if milliseconds is None:
        return await work
    async with asyncio.timeout(milliseconds / 1000):
        return await work
