"""What a worker believes about time: how long its lease lasts, and when something is due."""

import asyncio
from typing import Any

import pytest

from durable import Client, Context, step, workflow
from durable._engine.connect import open_store
from durable._engine.session import Heartbeat, Lease
from durable.clock import SystemClock
from durable.store import SessionId, WorkerSession
from durable_testing import ManualClock, MemoryStore


class WrongClock:
    """The system's, but its wall clock is ahead by so many seconds."""

    def __init__(self, ahead: float) -> None:
        self._right = SystemClock()
        self._ahead = ahead

    def now(self) -> float:
        return self._right.now() + self._ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._right, name)


class SlowStore:
    """Renews at once, and takes three seconds to say so."""

    def __init__(self, clock: ManualClock) -> None:
        self._inner = MemoryStore(clock=clock)
        self._clock = clock
        self.renewed = asyncio.Event()

    async def renew(self, session: WorkerSession) -> bool:
        answer = await self._inner.renew(session)
        self._clock.advance(3.0)
        self.renewed.set()
        return answer


async def test_a_lease_lasts_from_when_it_was_asked_for() -> None:
    """B28: the store counts from the request at the earliest, so who counts from the answer believes too long."""
    clock = ManualClock()
    store: Any = SlowStore(clock)
    lease = Lease(clock, 10.0)
    session = WorkerSession(SessionId("w"), "w", 10.0)
    heartbeat = Heartbeat(store, session, lease, clock, clock.monotonic, "task", 1.0)
    heartbeat.start()
    await asyncio.sleep(0)
    clock.advance(1.0)
    await store.renewed.wait()
    await asyncio.sleep(0)
    await heartbeat.stop()
    assert clock.monotonic() == 4.0
    clock.advance(6.5)
    assert lease.holds()
    clock.advance(0.5)
    assert not lease.holds()


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_worker_whose_clock_is_wrong_begins_what_is_due(rig: Any, ahead: float) -> None:
    """I27: leases, timers and back-offs are the store's; skew of the worker's clock changes nothing."""

    @step
    async def work() -> str:
        return "done"

    @workflow
    async def wf(ctx: Context) -> str:
        await ctx.sleep(0.05)
        return await ctx.step(work)

    clock: Any = WrongClock(ahead)
    async with Client(open_store(rig.url), clock=clock) as client, rig.worker(client, wf):
        assert await rig.run(client, wf) == "done"
