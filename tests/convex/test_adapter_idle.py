"""What an idle worker's session costs and how long it lives: on the stand-in, with a clock that the test moves."""

from __future__ import annotations

import pytest

from durable.store import Held, Paced, Store, Want
from durable_convex import ConvexStore
from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import LANES, new_run
from tests.convex.conftest import SESSION

pytestmark = pytest.mark.slow


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
