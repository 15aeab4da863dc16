"""What a simulation refuses: the real world inside a step, and arguments that make no sense, where they are given."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from durable import Context, step, workflow
from durable.errors import InvalidInput
from durable_testing import Fault, FaultKind, Faults, MemoryStore, Schedule, Sim, SimulationError, SyncSim, replay


async def _nothing() -> str:
    return "nothing"


@step
def runs_a_loop(how: str) -> str:
    try:
        if how == "run":
            return asyncio.run(_nothing())
        if how == "main=":
            return asyncio.run(main=_nothing())
        with asyncio.Runner() as runner:
            return runner.run(_nothing())
    except Exception:
        return "hidden"


@step
def starts_a_thread(how: str) -> str:
    try:
        if how == "pool":
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(lambda: "done").result()
        threading.Thread(target=lambda: None).start()
    except Exception:
        return "hidden"
    return "started"


@step
async def charge(amount: int) -> int:
    return amount


@workflow
async def looping(ctx: Context, how: str) -> str:
    return await ctx.step(runs_a_loop, how)


@workflow
async def threading_(ctx: Context, how: str) -> str:
    return await ctx.step(starts_a_thread, how)


@workflow
async def paying(ctx: Context, amount: int) -> int:
    return await ctx.step(charge, amount)


# ── the real world ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["run", "main=", "runner"])
async def test_asyncio_run_in_a_step_is_refused_although_the_step_catches_the_error(how: str) -> None:
    with pytest.raises(SimulationError, match=r"asyncio\.(Runner\.)?run\), at test_sim_refusals.py:\d+.*async def"):
        async with Sim(workflows=[looping]) as sim:
            await (await sim.start(looping, how)).result()
    gc.collect()  # a coroutine left unawaited would warn here, and warnings are errors


@pytest.mark.parametrize("how", ["thread", "pool"])
async def test_a_real_thread_in_a_step_is_refused_although_the_step_catches_the_error(how: str) -> None:
    with pytest.raises(SimulationError, match=r"Thread\.start\), at test_sim_refusals.py:\d+.*to_thread"):
        async with Sim(workflows=[threading_]) as sim:
            await (await sim.start(threading_, how)).result()


def test_outside_of_simulated_code_loops_and_threads_work_as_ever() -> None:
    with SyncSim(workflows=[paying], store="sqlite:///:memory:") as sim:  # the adapter's own threads start
        assert sim.start(paying, 3).result() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: asyncio.run(_nothing())).result() == "nothing"
        assert asyncio.run(_nothing()) == "nothing"
        with asyncio.Runner() as runner:
            assert runner.run(_nothing()) == "nothing"


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at": None}, r"Sim\(at=\) is a datetime"),
        ({"at": "x"}, r"Sim\(at=\) is a datetime"),
        ({"store": 5}, r"Sim\(store=\) takes the URL"),
        ({"store": MemoryStore()}, r"Sim\(store=\) takes the URL"),
        ({"seed": "7"}, "seed= is a whole number"),
        ({"seed": 1.0}, "seed= is a whole number"),
        ({"seed": True}, "seed= is a whole number"),
        ({"seed": -1}, "seed= is a whole number"),
        ({"workers": True}, "number of processes"),
    ],
)
def test_a_simulation_is_not_made_from_nonsense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Sim(workflows=[paying], **options)


@pytest.mark.parametrize("at", [None, 5, "", "before ", paying])
async def test_a_crash_is_at_a_step(at: Any) -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match=r"crash\(at=\) names a step"):
            sim.crash(at=at)


@pytest.mark.parametrize("times", [0, -1, "x", 1.5, True, None])
async def test_a_crash_strikes_once_at_least(times: Any) -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match=r"crash\(times=\) is how often it strikes, 1 or more"):
            sim.crash(at="charge", times=times)


async def test_a_crash_takes_the_step_itself() -> None:
    async with Sim(workflows=[paying]) as sim:
        sim.crash(at=charge)
        assert await (await sim.start(paying, 3)).result() == 3
        first, second = sim.calls(charge)
        assert first.worker != second.worker


@pytest.mark.parametrize("asked", [None, 5, len, paying])
async def test_calls_are_those_of_a_step(asked: Any) -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match=r"calls\(\) takes a step"):
            sim.calls(asked)


@pytest.mark.parametrize("given", [[charge], paying, 5, [None]])
async def test_what_is_redeployed_are_workflows(given: Any) -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match="workflows= is a list of functions under @workflow"):
            sim.redeploy(given)
        assert await (await sim.start(paying, 3)).result() == 3


@pytest.mark.parametrize("days", [float("nan"), float("inf"), 1e9, 8000 * 365.0, "x"])
async def test_time_passes_for_a_finite_while_within_the_calendar(days: Any) -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match=r"advance\(\)"):
            await sim.advance(days=days)
        assert sim.now() < datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        assert await (await sim.start(paying, 3)).result() == 3


@pytest.mark.parametrize("text", [None, 7, b"1w/0", "", "0w/1", "1w/0/-1:kill", "1w/0/3:kill=-1", "1w/0/3:jump=1e999"])
async def test_what_is_no_schedule_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput):
        Schedule.parse(text)

    async def scenario(sim: Sim) -> None:
        raise AssertionError("no world may begin")

    with pytest.raises(InvalidInput):
        await replay(scenario, workflows=[paying], schedule=text)


def test_only_a_clock_that_jumps_goes_backwards() -> None:
    assert Fault.parse("3:jump=-1").seconds == -1
    for kind in FaultKind:
        if kind is not FaultKind.JUMP:
            with pytest.raises(InvalidInput, match="0 or more"):
                Fault.parse(f"3:{kind.value}=-1")


@pytest.mark.parametrize(
    "fields",
    [
        {"at": -1},
        {"at": 1.5},
        {"at": True},
        {"at": None},
        {"worker": -1},
        {"worker": "1"},
        {"kind": "kill"},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1"},
        {"seconds": -1.0},
        {"error": "NoSuchError"},
    ],
)
def test_a_fault_that_cannot_be_is_not_made(fields: dict[str, Any]) -> None:
    Fault(at=0, kind=FaultKind.KILL)
    with pytest.raises(InvalidInput, match=r"Fault\("):
        Fault(**{"at": 0, "kind": FaultKind.KILL, **fields})


@pytest.mark.parametrize("faults", [[Fault(0, FaultKind.KILL)], (None,), ("0:kill",), None])
def test_a_schedule_has_a_tuple_of_faults(faults: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Schedule\(faults=\)"):
        Schedule(1, 0, faults)


@pytest.mark.parametrize("faults", [None, 5, ["0:error"], Fault(0, FaultKind.ERROR)])
def test_a_plan_is_made_of_faults(faults: Any) -> None:
    with pytest.raises(InvalidInput, match="Faults"):
        Faults(faults)


# ── begin and end ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_simulation_begins_once() -> None:
    sim = Sim(workflows=[paying])
    async with sim:
        with pytest.raises(SimulationError, match="begins once"):
            async with sim:
                pass
        assert await (await sim.start(paying, 3)).result() == 3
    with pytest.raises(SimulationError, match="begins once"):
        async with sim:
            pass
    plain = SyncSim(workflows=[paying])
    with plain:
        pass
    with pytest.raises(SimulationError, match="begins once"):
        plain.__enter__()


async def test_a_simulation_can_be_opened_and_closed_by_hand() -> None:
    sim = Sim(workflows=[paying])
    await sim.open()
    assert await (await sim.start(paying, 3)).result() == 3
    await sim.close()
    await sim.close()
    with pytest.raises(SimulationError, match="has ended"):
        await sim.start(paying, 3)


async def test_a_scenario_cannot_begin_or_close_the_world_it_is_given() -> None:
    seen: list[str] = []

    async def scenario(sim: Sim) -> None:
        for ask in (sim.open, sim.close):
            with pytest.raises(SimulationError) as refused:
                await ask()
            seen.append(str(refused.value))
        assert await (await sim.start(paying, 3)).result() == 3

    await replay(scenario, workflows=[paying], schedule="1w/0")
    assert "begins once" in seen[0] and "cannot close" in seen[1]


SUITE = """
from durable import Context, workflow

@workflow
async def nothing(ctx: Context) -> None:
    pass

worlds = []

def test_makes_two_worlds_of_which_one_cannot_end(sim):
    worlds.extend([sim(workflows=[nothing]), sim(workflows=[nothing])])
    def cannot():
        raise RuntimeError("this world cannot end")
    worlds[1]._sim.end = cannot

def test_the_other_one_has_ended():
    assert not worlds[0]._sim.world.is_open
"""


def test_the_fixture_ends_every_world_although_one_cannot_end(tmp_path: Path) -> None:
    (tmp_path / "test_worlds.py").write_text(SUITE)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=clean,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "this world cannot end" in done.stdout
