"""What the adapter's tests share: a deployment's outside, and stores on it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable.store import SessionId, WorkerSession
from durable_convex import ConvexStore
from durable_testing.clock import ManualClock
from tests.convex import deployments
from tests.convex.deployments import Deployments
from tests.convex.lookalike import TOKEN, Lookalike

SESSION = WorkerSession(SessionId("s"), "s", 15.0, (("work", "1"),), ("default",))


@pytest.fixture
def look() -> Iterator[Lookalike]:
    look = Lookalike()
    with look.running():
        yield look


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    with deployments.stand_in(tmp_path_factory.mktemp("standin")) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(server: Deployments, clock: ManualClock) -> AsyncIterator[ConvexStore]:
    store = await server.fresh(clock)
    yield store
    await store.close()
    server.sweep()


@asynccontextmanager
async def opened(url: str, **given: Any) -> AsyncIterator[ConvexStore]:
    """An open store, closed at the end, whatever happens."""
    store = ConvexStore(f"convex+{url}", **{"auth": TOKEN, **given})
    try:
        await store.open()
        yield store
    finally:
        await store.close()
