"""``durable.run``: start or resume one run, work on it here, return its result."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, overload

from durable._author.definitions import Invocation, Workflow
from durable._engine.connect import connect
from durable._engine.worker import Worker
from durable._model.ids import RunId
from durable._model.runs import RunStatus
from durable.errors import DurableError, NonDeterminismError, RunBlocked, WorkflowCodeError

R = TypeVar("R")
I = TypeVar("I")  # noqa: E741

__all__ = ["run"]


@overload
def run(wf: Workflow[[I], R], input: I, /, *, id: str | None = None, store: str | None = None) -> R: ...
@overload
def run(wf: Workflow[[], R], /, *, id: str | None = None, store: str | None = None) -> R: ...
@overload
def run(wf: Invocation[R], /, *, id: str | None = None, store: str | None = None) -> R: ...
def run(wf: Any, /, *input: Any, id: str | None = None, store: str | None = None) -> Any:
    """Run a workflow from a script, and return its result. Run the script again with the same id, and it goes on.

    Args:
        wf: The workflow with its input, or ``workflow.bind(...)``.
        id: Of the run; with a fixed one the script is resumable.
        store: Default: ``DURABLE_STORE`` of the environment, else ``sqlite:///durable.db``.

    Raises:
        RunFailed: The run failed; the original exception is its cause.
        RunCancelled: It was cancelled.
        RunBlocked: It cannot go on without a person (an unknown outcome, say).
        DurableError: An event loop is running here already.
        NonDeterminismError, WorkflowCodeError: It cannot go on without a change of the code; it is blocked, not lost.
    """
    if asyncio.events._get_running_loop() is not None:
        raise DurableError(
            "durable.run(...) has an event loop of its own, and one is running here (a notebook's, perhaps). Write: "
            "async with connect(url) as client, Worker(client, workflows=[wf]): await (await client.start(wf)).result()"
        )
    return asyncio.run(_run(wf, input, id, store))


async def _run(wf: Any, input: tuple[Any, ...], id: str | None, store: str | None) -> Any:
    workflow = wf.workflow if isinstance(wf, Invocation) else wf
    async with connect(store) as client, Worker(client, workflows=[workflow]):
        handle = await client.start(wf, *input, id=id)
        blocked = asyncio.ensure_future(_until_blocked(client, RunId(handle.id)))
        result = asyncio.ensure_future(handle.result())
        try:
            await asyncio.wait([blocked, result], return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            return blocked.result()
        finally:
            blocked.cancel()
            result.cancel()


async def _until_blocked(client: Any, run: RunId) -> None:
    while True:
        record = (await client.link.reach(lambda: client.link.store.get([run])))[0]
        if record is not None and record.status is RunStatus.BLOCKED:
            kinds: dict[str, type[Exception]] = {
                "non_determinism": NonDeterminismError,
                "workflow_code": WorkflowCodeError,
            }
            message = await client.handle(run).explain()
            kind = kinds.get(record.blocked_kind or "")
            raise RunBlocked(message, run) if kind is None else kind(record.blocked or message)
        await client.link.clock.sleep(0.2)
