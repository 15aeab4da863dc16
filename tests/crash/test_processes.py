"""Real processes on one SQLite file: killed, stopped, drained."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from durable import Client, connect
from tests.crash.app import chain, go, mixed, payment
from tests.crash.processes import Site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a moment by name."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)


async def blocked(client: Client, run: str) -> None:
    end = time.monotonic() + 10
    while (await client.handle(run).status()).state != "blocked":
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def no_begin_after_commit(site: Site, committed: dict[str, float]) -> None:
    """I3: what is committed does not begin again (with room for clocks read before the write)."""
    for line in site.lines():
        if line.phase == "begin" and line.name in committed:
            assert line.at <= committed[line.name] + 0.05, line


async def committed_at(client: Client, runs: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        for entry in await client.handle(run).history():
            if entry.event == "step_completed" and isinstance(entry.value, str):
                assert entry.value not in found, "committed twice"
                found[entry.value] = entry.at.timestamp()
    return found


async def test_a_killed_workers_runs_go_on_at_once_elsewhere(site: Site) -> None:
    site.lease = 30.0
    first = site.start_worker()
    async with connect(site.store) as client:
        handle = await client.start(chain.bind(40, 0.1), id="c")
        await until(lambda: site.count("begin").total() >= 1)
        site.start_worker()
        begun = site.count("begin").total()
        await until(lambda: site.count("begin").total() > begun)
        killed_at = time.time()
        site.kill(first)
        assert await handle.result(timeout=60) == [f"c-{i}" for i in range(40)]
        no_begin_after_commit(site, await committed_at(client, ["c"]))
    again = [line for line in site.lines() if line.pid != first.pid and line.phase == "begin"]
    assert again[0].at - killed_at < 15, "taken over long before the lease of 30 s ended"
    repeated = [name for name, times in site.count("begin").items() if times > 1]
    assert len(repeated) <= 1
    keys = {line.key for line in site.lines()}
    assert len(keys) == 40


async def test_runs_survive_workers_that_are_killed_again_and_again(site: Site) -> None:
    async with connect(site.store) as client:
        runs = [f"m{i}" for i in range(12)]
        handles = [await client.start(mixed.bind(0.1), id=run) for run in runs]
        results = asyncio.gather(*(handle.result(timeout=90) for handle in handles))
        workers = [site.start_worker() for _ in range(2)]
        for index, handle in enumerate(handles):
            await handle.signal(go, index, id="once")
            await handle.signal(go, index, id="once")
        for turn in range(14):
            await asyncio.sleep(0.15 + 0.05 * (turn % 4))
            site.kill(workers[turn % 2])
            workers[turn % 2] = site.start_worker()
        for index, result in enumerate(await results):
            run = f"m{index}"
            assert result == [f"{run}-a", f"{run}-b", f"{run}-c", index, f"{run}-d"]
        committed = await committed_at(client, runs)
        assert len(committed) == 4 * len(runs)
        no_begin_after_commit(site, committed)
        assert await client.store.check() == []


async def test_a_stopped_worker_that_comes_back_writes_nothing(site: Site) -> None:
    site.lease = 1.5
    first = site.start_worker()
    async with connect(site.store) as client:
        handle = await client.start(chain.bind(4, 0.4), id="z")
        await until(lambda: site.count("begin")["z-1"] == 1)
        first.send_signal(signal.SIGSTOP)
        stopped_at = time.time()
        site.start_worker()
        assert await handle.result(timeout=20) == [f"z-{i}" for i in range(4)]
        taken = [line for line in site.lines() if line.pid != first.pid and line.phase == "begin"]
        assert taken[0].at - stopped_at > 0.9, "a stalled worker keeps its lease"
        before = await handle.history()
        first.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.0)
        assert await handle.history() == before
        assert first.poll() is None
        no_begin_after_commit(site, await committed_at(client, ["z"]))


async def test_a_killed_at_most_once_step_is_not_repeated_and_can_be_settled(site: Site) -> None:
    first = site.start_worker()
    async with connect(site.store) as client:
        handle = await client.start(payment.bind(5.0), id="p")
        await until(lambda: site.count("begin")["p"] == 1)
        site.kill(first)
        site.start_worker()
        await blocked(client, "p")
        assert "unknown" in await handle.explain()
        assert "settle" in await handle.explain()
        with pytest.raises(TimeoutError, match="unknown"):
            await handle.result(timeout=0.2)
        await handle.settle("pay", result="paid by hand")
        assert await handle.result(timeout=10) == "paid by hand"
    assert site.count("begin")["p"] == 1
    assert site.count("begin")["p-after"] == 1


async def test_sigterm_lets_the_step_in_flight_end_and_commit(site: Site) -> None:
    first = site.start_worker()
    async with connect(site.store) as client:
        handle = await client.start(chain.bind(3, 0.8), id="d")
        await until(lambda: site.count("begin")["d-0"] == 1)
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=8) == 0
        assert site.count("end")["d-0"] == 1
        assert site.count("begin")["d-1"] == 0
        assert [entry.value for entry in await handle.history() if entry.event == "step_completed"] == ["d-0"]
        site.start_worker()
        assert await handle.result(timeout=10) == ["d-0", "d-1", "d-2"]
    assert site.count("begin")["d-0"] == 1


async def test_a_second_sigterm_stops_at_once(site: Site) -> None:
    first = site.start_worker()
    async with connect(site.store) as client:
        await client.start(chain.bind(1, 8.0), id="s")
        await until(lambda: site.count("begin")["s-0"] == 1)
        first.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=4) == 0
