"""Random workloads on the real engine end as their model says (I6, I7, I11, I12)."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "testing"))

from workload_rig import SCALE, Case, carried_out

from durable import Client, connect
from durable_testing.workloads import (
    QUEUES,
    STEPS,
    WORKFLOWS,
    Workload,
    essence,
    is_confluent,
    nodes,
    random_workload,
    recording,
    scenario,
)
from durable_testing.workloads.scenario import records
from durable_testing.workloads.strategies import workloads

MANY = 400


def some(count: int, first: int = 0) -> list[Workload]:
    return [random_workload(Random(first + seed)) for seed in range(count)]


def all_legal(cases: list[Case]) -> None:
    wrong = {f"{case.workload}": found for case in cases if (found := case.wrong())}
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize("cache", [1000, 0], ids=["cached", "each wake-up replays"])
async def test_random_workloads_end_as_their_model_says(cache: int) -> None:
    cases = await carried_out(some(MANY), cache=cache)
    all_legal(cases)
    happened = Counter(happening for case in cases for happening in happenings(case))
    rare = {name for name in HAPPENINGS if happened[name] < 3}
    assert rare == set(), happened


@pytest.mark.slow
async def test_random_workloads_end_as_their_model_says_on_sqlite(tmp_path: Path) -> None:
    all_legal(await carried_out(some(60, 5000), url=f"sqlite:///{tmp_path}/runs.db?durability=relaxed"))


@pytest.mark.slow
async def test_what_is_confluent_comes_out_the_same_however_often_it_is_replayed() -> None:
    settled = [one for one in some(1500, 9000) if is_confluent(one)]
    assert len(settled) > 200
    cached, replayed = await carried_out(settled), await carried_out(settled, cache=0)
    for one, other in zip(cached, replayed, strict=True):
        assert essence(one.ending.tale) == essence(other.ending.tale), one.workload


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(workloads())
def test_workloads_of_hypothesis_end_as_their_model_says(workload: Workload) -> None:
    (case,) = asyncio.run(carried_out([workload], cache=0))
    assert case.wrong() == []


@pytest.mark.slow
@pytest.mark.parametrize("cache", [1000, 0], ids=["cached", "each wake-up replays"])
async def test_random_workloads_end_as_their_model_says_though_workers_die(memory: Any, cache: int) -> None:
    """One worker after the other is killed in the middle; what they had begun may begin again, and nothing else."""
    memory.cache = cache
    given, dice = some(120, 20_000), Random(cache)
    serving: dict[str, Any] = {"steps": STEPS, "queues": QUEUES}

    async def killing(client: Client) -> None:
        for _ in range(8):
            worker = memory.worker(client, *WORKFLOWS, **serving)
            await worker.__aenter__()
            await asyncio.sleep(dice.uniform(0.005, 0.1))
            await memory.crash(worker)

    with recording() as ledger:
        async with connect(memory.url) as client:
            ends = [asyncio.create_task(scenario(client, one, who=f"w{n}", scale=SCALE)) for n, one in enumerate(given)]
            await killing(client)
            async with memory.worker(client, *WORKFLOWS, **serving), asyncio.timeout(120):
                endings = await asyncio.gather(*ends)
    cases = [Case(one, ending, ledger.of(ending.who)) for one, ending in zip(given, endings, strict=True)]
    wrong = {f"{case.workload}": found for case in cases if (found := case.wrong(crashes=True))}
    assert wrong == {}


# ── what they must have gone through ──────────────────────────────────────────────────────────────────────────────

ENDS = {
    **dict.fromkeys(nodes.KINDS, ("ok", "error", "cancelled")),
    **dict.fromkeys(("race", "cancel", "sleep", "listen", "chance"), ("ok", "cancelled")),
    "note": ("ok",),
    "raise": ("error",),
}
HAPPENINGS = (
    *(f"{kind} {end}" for kind, ends in ENDS.items() for end in ends),
    "handler ran",
    "cleanup ran after a cancel",
    "cleanup cut",
    "wait timed out",
    "task cancelled by hand",
    "signal refused",
    "next generation",
    "undone",
    "tried again",
    "at most once",
)


def happenings(case: Case) -> list[str]:
    """What a case went through, by name."""
    found = []
    for record in records(case.ending.tale):
        kind, end = record["kind"], record["end"]
        found.append(f"{kind} {'open' if end is None else end[0]}")
        if kind == "try":
            body, handler, cleanup = record["parts"]
            found += ["handler ran"] * (handler is not None)
            found += ["cleanup ran after a cancel"] * (cleanup is not None and body["end"] == ["cancelled"])
            found += ["cleanup cut"] * (cleanup is not None and cleanup["end"] == ["cancelled"])
        found += ["wait timed out"] * (kind == "wait" and end == ["error", ["TimeoutError", ""]])
        found += ["task cancelled by hand"] * (kind == "cancel" and end == ["ok", ["cancelled"]])
    found += ["signal refused"] * bool(case.ending.refused)
    found += ["next generation"] * (len(case.ending.tale["rounds"]) > 1)
    begins = Counter(line.uid for line in case.effects if line.phase == "begin")
    found += ["undone"] * any(line.phase == "undo" for line in case.effects)
    found += ["tried again"] * any(count > 1 for count in begins.values())
    found += ["at most once"] * any(line.once for line in case.effects)
    return found
