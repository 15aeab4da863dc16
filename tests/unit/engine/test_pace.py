"""A store whose calls cost money says how often it wants to be spoken to, and an idle worker keeps to it."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from durable import Client, Context, Worker, step, workflow
from durable._engine.pace import Pace, rhythm_of
from durable.store import Held, Poll, Rhythm, RunId, Want, WorkerSession
from durable_testing import ManualClock, MemoryStore

RHYTHM = Rhythm(poll_seconds=30.0, look_seconds=5.0, unhinted_seconds=2.0, idle_lease_seconds=95.0, purge_seconds=600.0)
MONTH_SECONDS = 30 * 86_400
CALLS = ("create", "poll", "renew", "leave", "commit", "send", "control", "now", "get", "purge", "get_record")


class Counting:
    """A memory store that counts what it is asked, and lets idle sessions live as long as they ask to.

    Attributes:
        hinted: As a subscription that stands, or one that is down.
    """

    def __init__(self, clock: ManualClock, rhythm: Rhythm | None) -> None:
        self.inner = MemoryStore(clock=clock)
        self.calls: Counter[str] = Counter()
        self.hinted = True
        if rhythm is not None:
            self.rhythm = rhythm

    def __getattr__(self, name: str) -> Any:
        if name == "rhythm":
            raise AttributeError(name)
        method = getattr(self.inner, name)
        if name not in CALLS and not name.endswith("_record"):
            return method

        async def counted(*said: Any, **named: Any) -> Any:
            self.calls[name] += 1
            answer = await method(*said, **named)
            if name == "poll":
                await self._idle(*said)
            return answer

        return counted

    async def _idle(self, session: WorkerSession, want: Want) -> None:
        if want.idle_lease_seconds is None:
            return
        (record,) = [one for one in await self.inner.sessions() if one.id == session.id]
        if record.held == 0:
            await self.inner.renew(replace(session, lease_seconds=want.idle_lease_seconds))


@step
async def wait_long(gate: str) -> str:
    await GATES[gate].wait()
    return gate


GATES: dict[str, asyncio.Event] = {}


@workflow
async def works(ctx: Context, gate: str) -> str:
    return await ctx.step(wait_long, gate)


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """So many seconds, one by one, with time for everybody to act in each."""
    for _ in range(int(seconds)):
        clock.advance(1.0)
        for _ in range(20):
            await asyncio.sleep(0)


def worker(client: Client, **options: Any) -> Worker:
    return Worker(client, workflows=[works], heartbeat="task", drain=0, **options)


async def hour(rhythm: Rhythm | None, *, hinted: bool = True) -> Counter[str]:
    """What an idle worker asks in an hour."""
    clock = ManualClock()
    store: Any = Counting(clock, rhythm)
    store.hinted = hinted
    async with Client(store, clock=clock) as client, worker(client):
        await pass_time(clock, 60)
        store.calls.clear()
        await pass_time(clock, 3600)
        return Counter(store.calls)


@pytest.mark.needs("polling", reason="it counts the looks")
async def test_an_idle_worker_stays_under_100_000_calls_a_month() -> None:
    calls = await hour(RHYTHM)
    assert calls["renew"] == 0
    assert set(calls) <= {"poll", "purge"}
    assert calls.total() * MONTH_SECONDS / 3600 < 100_000


async def test_without_hints_it_looks_as_often_as_the_store_asks_for_that() -> None:
    calls = await hour(RHYTHM, hinted=False)
    assert 3600 / 2 * 0.9 <= calls["poll"] <= 3600 / 2 + 1


@pytest.mark.needs("polling", reason="it counts the looks")
async def test_a_store_without_a_rhythm_is_polled_and_renewed_as_ever() -> None:
    calls = await hour(None)
    assert 3500 <= calls["poll"] <= 3601
    assert 700 <= calls["renew"] <= 721


async def test_a_session_that_is_idle_stays_alive_by_its_polls() -> None:
    clock = ManualClock()
    store: Any = Counting(clock, RHYTHM)
    async with Client(store, clock=clock) as client, worker(client):
        for _ in range(20):
            await pass_time(clock, 17)
            assert [session.alive for session in await store.sessions()] == [True]


async def test_while_a_run_is_held_the_lease_is_the_short_one_and_the_heart_beats() -> None:
    clock = ManualClock()
    store: Any = Counting(clock, RHYTHM)
    GATES["g"] = asyncio.Event()
    async with Client(store, clock=clock) as client, worker(client, lease=15.0):
        await pass_time(clock, 100)
        handle = await client.start(works, "g")
        for _ in range(100):  # no time passes, so no heartbeat is due
            await asyncio.sleep(0)
        (session,) = await store.sessions()
        assert (session.held, session.expires_at - clock.now()) == (1, 15.0)
        store.calls.clear()
        await pass_time(clock, 60)
        assert store.calls["renew"] >= 11
        assert store.calls["poll"] >= 11, "within the lease"
        GATES["g"].set()
        result = asyncio.ensure_future(handle.result())
        while not result.done():
            await pass_time(clock, 1)
            await asyncio.sleep(0.001)
        assert result.result() == "g"
        store.calls.clear()
        await pass_time(clock, 60)
        assert store.calls["renew"] == 0
        assert store.calls["poll"] <= 3


async def test_the_heartbeats_thread_rests_while_nothing_is_held_and_beats_while_something_is() -> None:
    store: Any = Counting(ManualClock(), RHYTHM)
    store.inner = MemoryStore()
    beaten: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    class Twin:
        async def open(self) -> None: ...

        async def close(self) -> None: ...

        async def renew(self, session: WorkerSession) -> bool:
            loop.call_soon_threadsafe(beaten.put_nowait, None)
            return True

    store.dedicated = Twin
    GATES["t"] = asyncio.Event()
    async with Client(store) as client, Worker(client, workflows=[works], lease=0.3, drain=0):
        await asyncio.sleep(0.5)  # five beats
        assert beaten.empty()
        await client.start(works, "t")
        async with asyncio.timeout(5):
            await beaten.get()
        GATES["t"].set()


@pytest.mark.parametrize("lease", [95.0, 100.0])
def test_a_worker_whose_own_lease_is_as_long_beats_always(lease: float) -> None:
    pace = Pace(Counting(ManualClock(), RHYTHM), lease, None, lambda: False)  # type: ignore[arg-type]
    assert not pace.idle()
    assert pace.idle_lease_seconds is None


def test_what_the_workers_owner_has_said_goes_before_what_the_store_asks() -> None:
    pace = Pace(Counting(ManualClock(), RHYTHM), 15.0, 1.5, lambda: False)  # type: ignore[arg-type]
    assert pace.rest_seconds() == 1.5


def test_a_store_that_asks_for_nothing_has_the_engines_rhythm() -> None:
    assert rhythm_of(MemoryStore()) == Rhythm()


def test_after_a_poll_of_a_worker_that_held_something_the_next_comes_within_the_short_lease() -> None:
    """Its run may end while the poll is under way, and then no heart beats: the session would be taken for dead."""
    held = [True]
    pace = Pace(Counting(ManualClock(), RHYTHM), 15.0, None, lambda: held[0])  # type: ignore[arg-type]
    pace.polled(Want("1", (), 1, (Held(RunId("r"), 1),)), Poll(0.0))
    held[0] = False
    assert (pace.idle(), pace.rest_seconds()) == (False, 5.0)
    pace.polled(Want("2", (), 1), Poll(0.0))
    assert (pace.idle(), pace.rest_seconds()) == (True, 30.0)
    held[0] = True
    assert (pace.idle(), pace.rest_seconds()) == (False, 5.0)
