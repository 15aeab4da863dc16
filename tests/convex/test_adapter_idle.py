"""What an idle worker's session costs and how long it lives: on the stand-in, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from durable.store import Held, Paced, SessionId, Store, Want, WorkerSession
from durable_convex import ConvexStore
from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import LANES, new_run
from tests.convex import deployments
from tests.convex.deployments import Deployments

pytestmark = pytest.mark.slow

SESSION = WorkerSession(SessionId("s"), "s", 15.0, (("work", "1"),), ("default",))


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


async def lease(store: Store, clock: ManualClock) -> float:
    (session,) = await store.sessions()
    return session.expires_at - clock.now()


def want(number: int, *held: Held) -> Want:
    return Want(f"poll {number}", LANES, 10, held, idle_lease_seconds=95.0)


async def test_a_session_that_holds_nothing_has_the_long_lease_and_the_poll_that_claims_the_short_one(
    store: ConvexStore, clock: ManualClock
) -> None:
    assert isinstance(store, Paced)
    await store.poll(SESSION, want(1))
    assert await lease(store, clock) == 95.0
    clock.advance(60)
    assert (await store.sessions())[0].alive
    await store.create([new_run("r")])
    (claim,) = (await store.poll(SESSION, want(2))).claims
    assert await lease(store, clock) == 15.0, "whoever dies now is missed soon"
    clock.advance(5)
    await store.poll(SESSION, want(3, Held(claim.run.id, claim.run.epoch)))
    assert await lease(store, clock) == 15.0
    assert (await store.poll(SESSION, want(4))).claims, "what it did not name was given back, and claimed again"
    assert await lease(store, clock) == 15.0


async def test_a_poll_that_is_repeated_after_its_answer_was_lost_still_holds_what_it_claimed(
    store: ConvexStore, clock: ManualClock
) -> None:
    await store.create([new_run("r")])
    assert (await store.poll(SESSION, want(1))).claims
    assert (await store.poll(SESSION, want(1))).claims
    assert await lease(store, clock) == 15.0


async def test_a_store_that_is_not_asked_gives_the_sessions_own_lease(store: ConvexStore, clock: ManualClock) -> None:
    await store.poll(SESSION, Want("poll", LANES, 10))
    assert await lease(store, clock) == 15.0
