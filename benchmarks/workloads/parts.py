"""What the parts of a step take by themselves: the limits of the whole."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.beds import MEMORY, SQLITE
from benchmarks.limits import MANY, ONE, bare_commits
from benchmarks.passes import Figures, Plan, Ratio, Row, Table
from benchmarks.workloads import chain
from durable import connect
from durable.store import Commit, Lane, NewRun, RunId, SessionId, Verdict, Want, WorkerSession
from durable_sqlite import SqliteStore

STEPS: Final = "steps a second"
EACH: Final = "µs a step"
ENTRY: Final = b'{"k":"step","c":"~/step/trivial#3","p":"0123456789abcdef","ok":1,"n":1}\n5'  # of a trivial step
STEPS_OF_A_RUN: Final = 10


async def hops(plan: Plan) -> Figures:
    """A function that does nothing, handed to the thread of the store's connection, one after the other."""
    with SQLITE.lay(plan) as url:
        store = SqliteStore(url)
        await store.open()

        done, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < plan.seconds:
            await store._database.run_writer(lambda raw: None)
            done += 1
        await store.close()
    return _figures(done / (now - began))


def commits(runs: int) -> Row:
    """The commits of so many runs' steps, together, one such batch after the other: the store without the engine."""

    async def measure(plan: Plan) -> Figures:
        with SQLITE.lay(plan) as url:
            store = SqliteStore(url)
            await store.open()
            done, spent = 0, 0.0
            while spent < plan.seconds:
                claimed = await _claimed(store, runs, f"round {done}")
                for step in range(STEPS_OF_A_RUN):
                    flushed = (step + 1, 0)
                    asked = [Commit(run, epoch, step, step, (ENTRY,), flushed=flushed) for run, epoch in claimed]
                    began = time.perf_counter()
                    answers = await store.commit(asked)
                    spent += time.perf_counter() - began
                    done += runs
                    assert all(answer.verdict is Verdict.APPLIED for answer in answers)
            await store.close()
        return _figures(done / spent)

    if runs == 1:
        return Row("the store alone, 1 run", measure, (Ratio("{} of bare commits", STEPS, ONE, "commits a second"),))
    ratio = Ratio("{} of bare rows", STEPS, MANY, "rows a second")
    return Row(f"the store alone, {runs} runs together", measure, (ratio,))


def engine(flight: int) -> Row:
    """Chains on the memory store: the engine without a store to speak of."""

    async def measure(plan: Plan) -> Figures:
        with MEMORY.lay(plan) as url:
            async with connect(url) as client:
                warm = await chain.rate(client, flight, plan.count(max(flight, 40)))
                runs = max(flight * 4, round(warm * plan.seconds / STEPS_OF_A_RUN))
                return _figures(await chain.rate(client, flight, plan.count(runs)))

    ratio = Ratio("{} of bare rows", STEPS, MANY, "rows a second")
    return Row(f"the engine alone, {flight} in flight", measure, () if flight == 1 else (ratio,))


async def _claimed(store: SqliteStore, runs: int, name: str) -> list[tuple[RunId, int]]:
    """Fresh runs, in the hands of a worker; those it had are let go."""
    lane = Lane("default", "parts", "1")
    await store.create(
        [NewRun(RunId(f"{name} {n}"), "parts", "1", "default", b"[]", "digest", "seed") for n in range(runs)]
    )
    session = WorkerSession(SessionId(f"worker of {name}"), "parts", 15.0)
    poll = await store.poll(session, Want(name, (lane,), runs))
    assert len(poll.claims) == runs
    return [(claim.run.id, claim.run.epoch) for claim in poll.claims]


def _figures(rate: float) -> Figures:
    return {STEPS: rate, EACH: 1e6 / rate}


TABLE: Final = Table(
    "parts",
    "The parts of a step",
    "A step is carried out by the engine, in the loop's thread, and committed by the store, in a thread of its own. "
    "Here each does its part without the other: the store is given commits like those of chains, ready-made, the "
    "engine has the memory store. The interpreter lets one of the two threads compute at a time, and a run alone has "
    "nothing to do while its commit is on its way, so that a step costs about the sum, and a target above what the "
    "sum leaves cannot be reached.",
    (
        bare_commits(1, "FULL"),
        bare_commits(64, "FULL"),
        Row("a hop to the store's thread and back", hops),
        commits(1),
        commits(64),
        commits(256),
        engine(1),
        engine(64),
    ),
)
