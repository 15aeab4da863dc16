"""From a workload to its ending: start the run, send its signals, wait for its end, ask what it has published."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, final

from durable import Client, Handle, RunCancelled, RunEnded, RunFailed
from durable_testing.workloads.behaviours import WorkloadFailed, describe
from durable_testing.workloads.interpreter import workload as workflow
from durable_testing.workloads.plan import Sending, Workload, job_of

Json = Any

__all__ = ["Ending", "scenario"]


@final
@dataclass(slots=True)
class Ending:
    """What is known from outside when a run has ended.

    Attributes:
        status: How it ended.
        tale: What it told; None if it was cancelled, or ``error`` is not the interpreter's own.
        error: What it failed with, described; None if it did not.
        sent: Acknowledged signals, in order.
        refused: Signals that came after the end.
        tales: Those of failed children, by run id.
        values: Its published values, but the tale.
        streams: Items of the streams that its tale names.
    """

    who: str
    status: Literal["completed", "failed", "cancelled"] = "completed"
    tale: Json = None
    error: Json = None
    sent: list[Sending] = field(default_factory=list)
    refused: list[Sending] = field(default_factory=list)
    tales: dict[str, Json] = field(default_factory=dict)
    values: dict[str, Json] = field(default_factory=dict)
    streams: dict[str, list[Json]] = field(default_factory=dict)


async def scenario(client: Client, workload: Workload, *, who: str = "w", scale: float = 1.0) -> Ending:
    """Start a workload as run ``who``, send it its signals, and wait for its end.

    Args:
        client: Open, with a worker somewhere that has ``WORKFLOWS`` and ``STEPS`` and reads ``QUEUES``.
        who: The run's id, and the beginning of every uid in it. Anew for each scenario in one store.
        scale: Factor of all durations: 1 where time is simulated, a thousandth where it is real.
    """
    ending = Ending(who)
    over = asyncio.Event()
    handle = await client.start(workflow, job_of(workload, who, scale), id=who)
    sender = asyncio.create_task(_send(handle, workload, ending, over, scale))
    try:
        await _end(handle, ending)
    finally:
        over.set()
        await sender
    await _look(client, handle, ending)
    return ending


async def _send(handle: Handle[Json], workload: Workload, ending: Ending, over: asyncio.Event, scale: float) -> None:
    """One after the other, until the run takes no more."""
    for number, sending in enumerate(workload.sendings):
        if sending.after:
            try:
                await asyncio.wait_for(over.wait(), sending.after * scale)
            except TimeoutError:
                pass
        try:
            await handle.signal(sending.name, sending.payload, id=f"{ending.who}/{number}")
        except RunEnded:
            ending.refused.append(sending)
        else:
            ending.sent.append(sending)


async def _end(handle: Handle[Json], ending: Ending) -> None:
    try:
        ending.tale = await handle.result()
    except RunCancelled:
        ending.status = "cancelled"
    except RunFailed as error:
        ending.status = "failed"
        ending.error = describe(error)
        if isinstance(error.__cause__, WorkloadFailed):
            ending.tale = (await handle.values())["tale"]


async def _look(client: Client, handle: Handle[Json], ending: Ending) -> None:
    """What the run and its failed children have published."""
    ending.values = {key: value for key, value in (await handle.values()).items() if key != "tale"}
    todo = [ending.tale]
    while todo:
        for record in records(todo.pop()):
            run: str | None = record.get("run")
            if run is not None:
                ending.tales[run] = (await client.handle(run).values())["tale"]
                todo.append(ending.tales[run])
            elif "tale" in record:
                todo.append(record["tale"])
    for name in {"k", "l"} if ending.tale is not None else ():
        ending.streams[name] = [item async for item in handle.stream(name)]


def records(tale: Json) -> Iterator[Json]:
    """Every record of a tale, without those of children."""
    todo = [] if tale is None else list(tale["rounds"])
    while todo:
        record = todo.pop()
        if record is not None:
            yield record
            todo += record["parts"]
