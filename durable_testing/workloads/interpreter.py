"""The one workflow that carries random workflows out, and tells what happened.

The result is a tale: for each node that was begun a record, in a tree that mirrors the nodes. A record has

- ``kind`` and ``at``: what, and its uid;
- ``began`` and ``ended``: marks, each a number that grows by one at every mark of the run, and workflow time;
- ``end``: ``["ok", value]``, ``["error", described]`` or ``["cancelled"]``; None if the tale was told before its end;
- ``parts``: the records of what is inside, None for what was never begun;

and by kind ``got`` (receipts of signals), ``drawn``, ``won``, ``asked``, ``told``, ``tale`` and ``run`` (of a child).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, assert_never, final

from durable import Context, RunFailed, Signal, Workflow, workflow
from durable_testing.workloads import nodes, steps
from durable_testing.workloads.behaviours import WorkloadFailed, describe, error_of
from durable_testing.workloads.nodes import Node, child_at, dump

Json = Any
Record = dict[str, Any]
LAST: Final = "the last signal of its name"

__all__ = ["LAST", "WORKFLOWS", "job_of", "workload"]


@workflow("workload")
async def workload(ctx: Context, job: Json) -> Json:
    """Carry out one round of a job (``job_of``), and tell of it."""
    return await Interpreter(ctx, job).run()


@final
class Interpreter:
    """One round of one run.

    Attributes:
        tale: Of this run; the rounds before this one have come with the job.
        strays: Tasks that a failed ``gather`` has left running.
    """

    def __init__(self, ctx: Context, job: Json) -> None:
        self.ctx = ctx
        self.job = job
        self.who: str = job["who"]
        self.scale: float = job["scale"]
        self.tale: Record = job["tale"]
        self.strays: list[asyncio.Task[Json]] = []
        self._marks: int = job["marks"]

    def mark(self) -> Json:
        """Now, as a number that grows and as workflow time."""
        self._marks += 1
        return [self._marks, self.ctx.now().timestamp()]

    # ── a round ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> Json:
        """To the end, or to the next generation."""
        number = len(self.tale["rounds"])
        if number + 1 == len(self.job["rounds"]):
            return await self._last_round(number)
        match self.job["leaving"]:
            case "saga":
                async with self.ctx.saga():
                    await self._round(number)
                    raise self._next()
            case "cleanup":
                try:
                    await self._round(number)
                    raise self._next()
                finally:
                    await steps.call(self.ctx, f"{self.who}:{number}.leaving", dump(nodes.Step()), self.scale)
            case _:
                await self._round(number)
                raise self._next()

    async def _round(self, number: int, *, reap: bool = True) -> None:
        rounds: list[Json] = self.tale["rounds"]
        rounds.append(None)
        node = nodes.load(self.job["rounds"][number])
        try:
            self.tale["value"] = await self.play(node, f"{self.who}:{number}", rounds, number)
            self.tale["error"] = None
        except Exception as error:
            self.tale["value"], self.tale["error"] = None, describe(error)
        while reap and (left := [task for task in self.strays if not task.done()]):
            await self.reap(left)  # a gather that is cancelled meanwhile leaves others behind

    async def _last_round(self, number: int) -> Json:
        await self._round(number, reap=not self.job["leaves"])
        for name in self.job["drains"]:
            got: list[Json] = []
            self.tale["drained"][name] = got
            await self._listen(name, None, got)
        if self.tale["error"] is None or not self.job["raises"]:
            return self.tale
        self.ctx.set("tale", self.tale)
        raise WorkloadFailed(self.who, self.ctx.run_id)

    def _next(self) -> BaseException:
        return self.ctx.continue_as(workload, {**self.job, "tale": self.tale, "marks": self._marks})

    async def reap(self, tasks: Sequence[asyncio.Task[Json]]) -> None:
        """Cancel what still runs, and await it; a cancel of ours is passed on and awaited, too."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── a node ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def play(self, node: Node, at: str, shelf: list[Json], place: int) -> Json:
        """Carry a node out; its record is laid on ``shelf`` at ``place``."""
        record: Record = {"kind": nodes.kind_of(node), "at": at, "began": self.mark(), "ended": None, "end": None}
        record["parts"] = [None] * sum(1 for _ in nodes.parts_of(node))
        shelf[place] = record
        try:
            value = await self._play(node, at, record)
        except asyncio.CancelledError:
            self._ended(record, ["cancelled"])
            raise
        except Exception as error:
            self._ended(record, ["error", describe(error)])
            raise
        self._ended(record, ["ok", value])
        return value

    def _ended(self, record: Record, end: Json) -> None:
        record["end"], record["ended"] = end, self.mark()

    async def _play(self, node: Node, at: str, record: Record) -> Json:
        match node:
            case nodes.Step():
                return await steps.call(self.ctx, at, dump(node), self.scale)
            case nodes.Sleep():
                return await self._sleep(node)
            case nodes.Wait():
                timeout = None if node.seconds is None else node.seconds * self.scale
                return await self.ctx.wait_for_signal(node.name, timeout=timeout)
            case nodes.Listen():
                record["got"] = []
                return await self._listen(node.name, node.count, record["got"])
            case nodes.Chance():
                return await self._chance(at, record)
            case nodes.Note():
                return self._note(node, at)
            case nodes.Raise():
                raise error_of(node.error, at)
            case nodes.Seq():
                return [await self._part(item, at, record, place) for place, item in enumerate(node.items)]
            case nodes.Loop():
                record["parts"] = [None] * node.times
                return [await self._part(node.body, at, record, place) for place in range(node.times)]
            case nodes.Try() | nodes.Saga() | nodes.Limit() | nodes.Cancel():
                return await self._around(node, at, record)
            case nodes.Child():
                record["parts"] = []
                return await self._child(node, at, record)
            case _:
                return await self._at_once(node, at, record)

    async def _part(self, node: Node, at: str, record: Record, place: int) -> Json:
        return await self.play(node, child_at(at, place), record["parts"], place)

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sleep(self, node: nodes.Sleep) -> None:
        seconds = node.seconds * self.scale
        match node.how:
            case "asyncio":
                await asyncio.sleep(seconds)  # noqa: TID251 - in workflow code this is a durable timer
            case "context":
                await self.ctx.sleep(seconds)
            case "named":
                await self.ctx.sleep("nap", seconds)
            case "until":
                await self.ctx.sleep_until(self.ctx.now() + timedelta(seconds=seconds))
            case _ as never:
                assert_never(never)

    async def _listen(self, name: str, count: int | None, got: list[Json]) -> list[Json]:
        """Take ``count`` signals, or all up to the last one."""
        began = self.mark()
        async for payload in self.ctx.signals(Signal[Json](name)):
            got.append([began, self.mark(), payload])
            if len(got) == count or payload == LAST:
                break
            began = self.mark()
        return [payload for _, _, payload in got]

    async def _chance(self, at: str, record: Record) -> Json:
        ctx = self.ctx
        record["drawn"] = [str(ctx.uuid()), ctx.random.random(), ctx.now().isoformat()]
        return await steps.call(ctx, at, dump(nodes.Step(value=record["drawn"])), self.scale)

    def _note(self, node: nodes.Note, at: str) -> None:
        if node.how == "set":
            self.ctx.set(node.key, at)
        else:
            self.ctx.emit(node.key, at)

    # ── around one thing ─────────────────────────────────────────────────────────────────────────────────────────

    async def _around(self, node: nodes.Try | nodes.Saga | nodes.Limit | nodes.Cancel, at: str, record: Record) -> Json:
        match node:
            case nodes.Try():
                return await self._try(node, at, record)
            case nodes.Saga():
                async with self.ctx.saga():
                    return await self._part(node.body, at, record, 0)
            case nodes.Limit(how="timeout"):
                async with asyncio.timeout(node.seconds * self.scale):
                    return await self._part(node.body, at, record, 0)
            case nodes.Limit():
                return await asyncio.wait_for(self._part(node.body, at, record, 0), node.seconds * self.scale)
            case nodes.Cancel():
                return await self._cancel(node, at, record)
            case _ as never:
                assert_never(never)

    async def _try(self, node: nodes.Try, at: str, record: Record) -> Json:
        record["parts"] = [None, None, None]  # body, handler, cleanup
        try:
            return await self._part(node.body, at, record, 0)
        except Exception:
            if node.handler is None:
                raise
            return await self._part(node.handler, at, record, 1)
        finally:
            if node.cleanup is not None:
                await self._part(node.cleanup, at, record, 2)

    async def _cancel(self, node: nodes.Cancel, at: str, record: Record) -> Json:
        task = asyncio.create_task(self._part(node.body, at, record, 0))
        try:
            await asyncio.wait([task], timeout=node.seconds * self.scale)
            record["asked"] = not task.done()
            task.cancel()
            await asyncio.wait([task])
        finally:
            if not task.done():
                await self.reap([task])
        return end_of(task)

    # ── at once ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _at_once(
        self, node: nodes.Gather | nodes.Parallel | nodes.Map | nodes.Group | nodes.Race, at: str, record: Record
    ) -> Json:
        match node:
            case nodes.Gather():
                return await self._gather(node, at, record)
            case nodes.Parallel():
                calls = [self._part(item, at, record, place) for place, item in enumerate(node.items)]
                return await self.ctx.parallel(calls, limit=node.limit, tolerate=node.tolerate)
            case nodes.Map():
                orders = [[child_at(at, n), dump(order), self.scale] for n, order in enumerate(node.orders)]
                return await self.ctx.map(steps.act_item, orders, limit=node.limit, tolerate=node.tolerate)
            case nodes.Group():
                # In a task of its own: before Python 3.13 a group that fails leaves a cancel counted on its task, and
                # a timeout around it then lets a CancelledError out (python/cpython#116720).
                return await asyncio.create_task(self._group(node, at, record))
            case nodes.Race():
                return await self._race(node, at, record)
            case _ as never:
                assert_never(never)

    async def _group(self, node: nodes.Group, at: str, record: Record) -> Json:
        async with asyncio.TaskGroup() as group:
            members = [group.create_task(self._part(item, at, record, place)) for place, item in enumerate(node.items)]
        return [member.result() for member in members]

    async def _gather(self, node: nodes.Gather, at: str, record: Record) -> Json:
        tasks = self._tasks(node.items, at, record)
        try:
            got = await asyncio.gather(*tasks, return_exceptions=node.keep)
        finally:
            self.strays += [task for task in tasks if not task.done()]
        return [["error", describe(one)] if isinstance(one, BaseException) else one for one in got]

    async def _race(self, node: nodes.Race, at: str, record: Record) -> Json:
        tasks = self._tasks(node.items, at, record)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            record["won"] = [place for place, task in enumerate(tasks) if task in done]
        finally:
            await self.reap([task for task in tasks if not task.done()])
        return [[place, end_of(tasks[place])] for place in record["won"]]

    def _tasks(self, items: Sequence[Node], at: str, record: Record) -> list[asyncio.Task[Json]]:
        return [asyncio.create_task(self._part(item, at, record, place)) for place, item in enumerate(items)]

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _child(self, node: nodes.Child, at: str, record: Record) -> Json:
        job = job_of(at, node.rounds, self.scale)
        task = asyncio.create_task(self.ctx.child(self._declared(node, at), job))
        try:
            await asyncio.sleep(0)  # noqa: TID251 - the task makes its call; the start and the signals are one commit
            record["told"] = self._tell(node, at)
            await asyncio.wait([task])
            record["tale"] = task.result()
        except RunFailed as error:
            if isinstance(error.__cause__, WorkloadFailed):
                record["run"] = error.__cause__.run_id
            raise
        finally:
            if not task.done():
                await self.reap([task])
        return record["tale"]["value"]

    def _declared(self, node: nodes.Child, at: str) -> Workflow[[Json], Json]:
        """A child that is spoken to has an id that is known beforehand; others get theirs from the engine."""
        return workload.options(id=at if node.tells else None, on_parent_close=node.on_close)

    def _tell(self, node: nodes.Child, at: str) -> Json:
        told = [[name, f"{at} {name}{number}"] for number, name in enumerate(node.tells)]
        for name, payload in told:
            self.ctx.signal(at, name, payload)
        return told


def job_of(
    who: str,
    rounds: Sequence[Node],
    scale: float,
    *,
    leaving: str = "plain",
    leaves: bool = False,
    raises: bool = True,
    drains: Sequence[str] = (),
) -> Json:
    """The input of a run; ``plan.Workload`` says what the options mean.

    Args:
        who: The run's name, which begins every uid in it.
        scale: Factor of all durations.
        drains: Names of signals that are all read before the end.
    """
    return {
        "who": who,
        "rounds": [dump(one) for one in rounds],
        "scale": scale,
        "leaving": leaving,
        "leaves": leaves,
        "raises": raises,
        "drains": list(drains),
        "marks": 0,
        "tale": {"who": who, "rounds": [], "value": None, "error": None, "drained": {}},
    }


def end_of(task: asyncio.Task[Json]) -> Json:
    """How a task ended, as in a record."""
    if task.cancelled():
        return ["cancelled"]
    error = task.exception()
    return ["ok", task.result()] if error is None else ["error", describe(error)]


WORKFLOWS: Final = (workload,)
