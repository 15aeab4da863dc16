"""What behaviour tests share: a store for each test, workers on it, and a way to kill one.

Every test that asks for ``rig`` runs in three places: on the memory store; on the memory store with a worker that keeps
no waiting run in memory, so that each wake-up replays; and on SQLite.

``python -m tests.hostile`` runs all tests in hostile configurations. These are applied here, before the engine is
imported.
"""

# ruff: noqa: E402
from tests.hostile import configurations as hostile

hostile.check_environment()
hostile.apply()

import asyncio
import contextlib
import itertools
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable import Client, Handle, Worker, Workflow, connect
from durable._model import defaults

_numbers = itertools.count()
_PATIENCE = hostile.patience()


def pytest_configure(config: pytest.Config) -> None:
    # A shell lets what it runs in the background ignore Ctrl-C; programs that tests interrupt would inherit that.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", f"needs(*what, reason): left out where a hostile configuration takes it: {', '.join(hostile.NEEDS)}"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about a setting that the active configuration takes away."""
    taken = hostile.active().takes
    for item in items:
        for mark in item.iter_markers("needs"):
            needed = hostile.checked(mark)
            if needed & taken:
                item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(needed & taken)}: {mark.kwargs['reason']}"))


def _sqlite_is_there() -> bool:
    try:
        from durable_sqlite import SqliteStore  # noqa: F401
    except ImportError:
        return False
    return True


class Rig:
    """One store, and what a test does around it."""

    def __init__(self, url: str, cache: int) -> None:
        self.url = url
        self.cache = min(cache, defaults.CACHE_RUNS)

    def worker(self, client: Client, *workflows: Workflow[..., Any], **options: Any) -> Worker:
        """A worker that a failing test does not wait for."""
        options.setdefault("cache", self.cache)
        options.setdefault("drain", 0.2)
        return Worker(client, workflows=workflows, **options)

    @contextlib.asynccontextmanager
    async def serving(self, *workflows: Workflow[..., Any], **options: Any) -> AsyncIterator[Client]:
        """A client with one worker behind it."""
        async with connect(self.url) as client, self.worker(client, *workflows, **options):
            yield client

    def soon(self, seconds: float) -> float:
        """How long something may take that takes no time in itself: longer where the configuration is slow."""
        return seconds * _PATIENCE

    async def run(self, client: Client, wf: Any, /, *input: Any, **options: Any) -> Any:
        """Start a run and wait for its result."""
        return await self.end(await client.start(wf, *input, **options))

    async def end(self, handle: Handle[Any]) -> Any:
        """The result of a run, soon."""
        return await handle.result(timeout=5 * _PATIENCE)

    async def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> Any:
        """Wait for something to become true; the condition may be a coroutine function."""
        async with asyncio.timeout(seconds * _PATIENCE):
            while True:
                answer = condition()
                if isinstance(answer, Awaitable):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(0.005)

    async def state(self, handle: Handle[Any], *states: str) -> Any:
        """Wait until the run is in one of these states; its status then."""

        async def reached() -> Any:
            status = await handle.status()
            return status if status.state in states else None

        return await self.until(reached)

    async def waits(self, handle: Handle[Any], *names: str) -> None:
        """Wait until the run has come to rest, waiting for each of these."""

        async def reached() -> bool:
            status = await handle.status()
            said = " | ".join(status.current)
            return status.state == "waiting" and all(name in said for name in names)

        await self.until(reached)

    async def crash(self, worker: Worker, *, proven: bool = True) -> None:
        """As if the worker's process had been killed: nothing is drained, nothing is given back, no farewell.

        Its lease ends now, as if it had been the last moment of it; unless ``proven`` is False.
        """
        worker._life = "over"
        worker._stopping.set()
        for task in worker._tasks:
            task.cancel()
        tasks = [*worker._tasks, *worker._slots.cancel()]
        for runner in list(worker._held.values()):
            runner.drop()
        await asyncio.gather(*tasks, return_exceptions=True)
        worker._cache.clear()
        worker._executor.close()
        await worker._heartbeat.stop()
        if proven:
            await worker._link.store.renew(replace(worker._session, lease_seconds=0.001))

    async def stall(self, worker: Worker) -> None:
        """As if the worker were cut off: no poll, no heartbeat; what it has begun goes on, its commits too."""
        worker._tasks[1].cancel()
        await worker._heartbeat.stop()


@pytest.fixture(params=["memory", "memory-evicting", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    if request.param == "sqlite":
        if not _sqlite_is_there():
            pytest.skip("the SQLite adapter cannot be imported")
        return Rig(f"sqlite:///{tmp_path}/runs.db", 1000)
    return Rig(f"memory://test-{next(_numbers)}", 0 if request.param == "memory-evicting" else 1000)


@pytest.fixture
def store_url(rig: Rig) -> str:
    return rig.url


@pytest.fixture
def memory() -> Rig:
    """For tests of the engine alone, which no store can change."""
    return Rig(f"memory://test-{next(_numbers)}", 1000)
