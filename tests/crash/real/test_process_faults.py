"""Steps that harm their process, signals to it, its parent's death, and runs of the dead that nobody can read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable import Client, RunFailed, connect
from durable.store import RunId
from tests.crash.real.app import go, halfway, healthy, holding, one, steady
from tests.crash.real.scene import ROOT, Scene, lives, until

pytestmark = pytest.mark.slow
LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


async def committed(client: Client, run: str) -> list[str]:
    return [entry.call for entry in await client.handle(run).history() if entry.event == "step_completed"]


# ── steps that harm their process ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("way", "code"), [("exit", 3), ("segfault", -signal.SIGSEGV), ("kill", -signal.SIGKILL)])
async def test_a_step_that_takes_its_process_down_is_tried_again_and_its_neighbours_finish(
    scene: Scene, way: str, code: int
) -> None:
    async with connect(scene.store) as client, scene.tended():
        neighbours = [await client.start(healthy, n, id=f"n{n}") for n in range(20)]
        harmed = await client.start(one, "harm", way, id="harmed")
        assert await harmed.result(timeout=20) == f"survived {way}"
        for n, neighbour in enumerate(neighbours):
            assert await neighbour.result(timeout=20) == [f"n{n}-{place}" for place in range(3)]
            assert len(await committed(client, f"n{n}")) == 3
        assert await client.store.check() == []
    assert scene.died == [code]
    assert scene.count("begin")[f"harm-{way}"] == 2


async def test_what_takes_every_worker_down_does_not_keep_its_neighbours_from_finishing(scene: Scene) -> None:
    async with connect(scene.store) as client:
        poison = [await client.start(one, "harm", f"kill-{n}", id=f"poison{n}") for n in range(3)]
        async with scene.tended():
            neighbours = [await client.start(healthy, n, id=f"n{n}") for n in range(30)]
            for neighbour in neighbours:
                await neighbour.result(timeout=30)
            for n, run in enumerate(poison):
                assert await run.result(timeout=30) == f"survived kill-{n}"
    assert set(scene.died) == {-signal.SIGKILL}


@LINUX
@pytest.mark.parametrize("where", ["throw", "throw_in_thread"])
async def test_what_a_step_raises_ends_the_step_and_never_the_worker(scene: Scene, where: str) -> None:
    worker = scene.start_worker()
    ways = {
        "exit": "SystemExit", "interrupt": "KeyboardInterrupt", "generator": "GeneratorExit",
        "recursion": "RecursionError", "memory": "MemoryError",
    }  # fmt: skip
    async with connect(scene.store) as client:
        for way, name in ways.items():
            handle = await client.start(one, where, way, id=f"{where}-{way}")
            with pytest.raises(RunFailed, match="failed"):
                await handle.result(timeout=20)
            failed = (await handle.history())[-1]
            assert (failed.event, failed.attempt) == ("step_failed", 1)
            assert failed.error is not None
            assert name in failed.error
        neighbour = await client.start(healthy, 1, id="n")
        assert await neighbour.result(timeout=10) == ["n-0", "n-1", "n-2"]
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 5) == 0


async def test_a_step_that_blocks_the_loop_past_the_lease_keeps_its_run(scene: Scene) -> None:
    scene.lease = 1.5
    scene.start_worker()
    async with connect(scene.store) as client:
        handle = await client.start(one, "block_the_loop", 3.5, id="r")
        await until(lambda: scene.count("begin")["loop"] == 1)
        scene.start_worker()
        assert await handle.result(timeout=20) == "loop"
        assert scene.count("begin")["loop"] == 1


async def test_a_step_that_holds_the_gil_past_the_lease_loses_its_run_and_writes_nothing(scene: Scene) -> None:
    scene.lease = 1.5
    first = scene.start_worker()
    async with connect(scene.store) as client:
        handle = await client.start(one, "hold_the_gil", 4.0, id="r")
        await until(lambda: scene.count("begin")["gil"] == 1)
        began = time.monotonic()
        second = scene.start_worker()
        assert await handle.result(timeout=20) == "gil"
        assert time.monotonic() - began < 4.0, "the second did not wait for the first"
        before = await handle.history()
        await until(lambda: scene.count("end")["gil"] == 2)
        healed = await client.start(healthy, 1, id="n")
        await healed.result(timeout=10)
        assert await handle.history() == before
        assert [line.pid for line in scene.lines() if line.name == "gil" and line.phase == "begin"] == [
            first.pid,
            second.pid,
        ]
        assert first.poll() is None


async def test_a_fork_that_outlives_the_worker_does_not_keep_its_runs(scene: Scene) -> None:
    """The child holds copies of all descriptors; a copy of the session's lock would prove that its parent lives."""
    scene.lease = 60.0
    first = scene.start_worker()
    async with connect(scene.store) as client:
        handle = await client.start(one, "leave_a_fork", 30.0, id="r")
        await until(lambda: scene.count("forked").total() == 1)
        child = int(next(line.name for line in scene.lines() if line.phase == "forked"))
        try:
            scene.kill(first)
            scene.start_worker()
            assert await handle.result(timeout=10) == "fork"
            assert lives(child)
        finally:
            os.kill(child, signal.SIGKILL)


@LINUX
async def test_a_step_in_a_process_dies_with_its_worker(scene: Scene) -> None:
    first = scene.start_worker()
    mark = scene.folder / "process-step"
    async with connect(scene.store) as client:
        await client.start(one, "in_a_process", 60.0, id="r")
        await until(lambda: mark.exists() and mark.read_text() != "")
        child = int(mark.read_text())
        assert lives(child)
        scene.kill(first)
        try:
            await until(lambda: not lives(child), 5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


# ── signals, and the death of the parent ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_that_drains_for_longer_than_its_lease_keeps_its_step(scene: Scene, number: int) -> None:
    scene.lease = 1.5
    first = scene.start_worker()
    async with connect(scene.store) as client:
        handle = await client.start(steady, 4.0, id="d")
        await until(lambda: scene.count("begin")["d-0"] == 1)
        first.send_signal(number)
        scene.start_worker()
        assert await asyncio.to_thread(first.wait, 10) == 0
        assert scene.count("end")["d-0"] == 1
        assert len(await committed(client, "d")) == 1
        await until(lambda: scene.count("begin")["d-1"] == 1, 5)
        assert scene.count("begin")["d-0"] == 1
        await handle.terminate("enough")


async def test_a_second_interrupt_does_not_wait_and_the_step_runs_again(scene: Scene) -> None:
    first = scene.start_worker()
    async with connect(scene.store) as client:
        handle = await client.start(steady, 1.5, id="d")
        await until(lambda: scene.count("begin")["d-0"] == 1)
        first.send_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
        first.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(first.wait, 3) == 0
        assert scene.count("end")["d-0"] == 0
        scene.start_worker()
        assert await handle.result(timeout=20) == ["d-0", "d-1"]
        assert scene.count("begin")["d-0"] == 2


@LINUX
async def test_a_worker_outlives_its_parent_and_can_be_told_to_stop(scene: Scene) -> None:
    program = (
        "import subprocess, sys, time; worker = subprocess.Popen([sys.executable, '-m', 'tests.crash.real.app']); "
        "print(worker.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=scene.environment(), stdout=subprocess.PIPE, text=True
    )
    scene.workers.append(parent)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    try:
        assert parent.stdout.readline() == "ready\n"
        async with connect(scene.store) as client:
            handle = await client.start(steady, 0.5, id="d")
            await until(lambda: scene.count("begin")["d-0"] == 1)
            scene.kill(parent)
            assert await handle.result(timeout=10) == ["d-0", "d-1"]
            assert scene.count("begin").total() == 2
        os.kill(worker, signal.SIGTERM)
        await until(lambda: not lives(worker), 5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


# ── dying again while recovering ─────────────────────────────────────────────────────────────────────────────────────


LONG = [pytest.mark.nightly, pytest.mark.skipif("not config.getoption('-m')", reason="long: ask by -m nightly")]


@pytest.mark.parametrize("times", [6, pytest.param(20, marks=LONG)])
async def test_workers_that_die_in_the_first_moments_of_recovery_cost_nothing(scene: Scene, times: int) -> None:
    dice = random.Random(7)
    async with connect(scene.store) as client:
        handles = [await client.start(halfway, n, id=f"r{n}") for n in range(60)]
        for n, handle in enumerate(handles):
            await handle.signal(go, n)
        for _ in range(times):
            worker = scene.start_worker(DIE_AFTER=str(dice.uniform(0.0, 0.02)))
            assert await asyncio.to_thread(worker.wait, 90) == -signal.SIGKILL
        scene.start_worker()
        await settle_down(client, [handle.id for handle in handles])
        for n, handle in enumerate(handles):
            assert await handle.result(timeout=5) == 2 * n
            assert len(await committed(client, f"r{n}")) == 2
        assert await client.store.check() == []
    begun = scene.count("begin")
    assert len(begun) == 120
    assert begun.total() <= 120 + 60 * times


async def settle_down(client: Client, runs: list[str]) -> None:
    """Until all have ended; whoever has lost too many workers in a row is resumed, as a person would."""
    async with asyncio.timeout(180):
        while await client.count(status=["completed"]) < len(runs):
            for run in await client.list(status=["blocked"]):
                (record,) = await client.store.get([RunId(run.id)])
                assert record is not None
                assert record.blocked_kind == "crash_budget"
                await client.handle(run.id).resume()
            await asyncio.sleep(0.1)


# ── what a dead worker leaves behind ─────────────────────────────────────────────────────────────────────────────────


async def test_unreadable_runs_of_a_dead_worker_are_shown_and_all_others_finish(scene: Scene) -> None:
    scene.lease = 60.0
    first = scene.start_worker()
    async with connect(scene.store) as client:
        handles = [await client.start(holding, n, id=f"r{n}") for n in range(300)]
        await until(lambda: sum(line.name.endswith("-held") for line in scene.lines()) == 300, 30)
        scene.kill(first)  # it holds all of them, each with a step under way
        damage(scene.folder / "test.db")
        scene.start_worker()
        for n in range(20, 300):
            assert await handles[n].result(timeout=30) == n
        for n in range(10):  # the journal cannot be read, or its code no longer fits it
            await until_blocked(client, f"r{n}")
            assert "Blocked" in await handles[n].explain()
        for n in range(10, 15):  # the input cannot be read
            await until_blocked(client, f"r{n}")
            assert "Deploy code that can read it" in await handles[n].explain()
        for n in range(15, 20):  # nobody has such a workflow
            assert (await handles[n].status()).state == "running"
            assert "No live worker has workflow vanished" in await handles[n].explain()
        assert await client.count(status=["completed"]) == 280


def damage(file: Path) -> None:
    """Twenty runs, each in one of four ways."""
    raw = sqlite3.connect(file, isolation_level=None, timeout=10)
    journal = "UPDATE journal SET data = {} WHERE run = (SELECT key FROM runs WHERE id = ?)"
    for n in range(20):
        if n < 5:
            raw.execute(journal.format("x'00ff00'"), (f"r{n}",))
        elif n < 10:
            raw.execute(journal.format("substr(data, 1, length(data) - 3)"), (f"r{n}",))
        elif n < 15:
            raw.execute("UPDATE inputs SET input = x'fffe' WHERE run = (SELECT key FROM runs WHERE id = ?)", (f"r{n}",))
        else:
            statement = (
                "UPDATE runs SET workflow = 'vanished', lane = replace(lane, 'holding', 'vanished') WHERE id = ?"
            )
            raw.execute(statement, (f"r{n}",))
    raw.close()


async def until_blocked(client: Client, run: str) -> None:
    end = time.monotonic() + 15
    while (await client.handle(run).status()).state != "blocked":
        assert time.monotonic() < end, await client.handle(run).explain()
        await asyncio.sleep(0.02)
