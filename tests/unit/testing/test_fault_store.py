"""``FaultStore`` outside the simulator, around real adapters: each fault of an operation does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable import Client, Context, workflow
from durable.errors import OutcomeUnknown, ReadOnly, StoreFull, Transient, WriteConflict
from durable.store import Store
from durable_sqlite import SqliteStore
from durable_testing import Fault, FaultKind, Faults, FaultStore, ManualClock, MemoryStore, SimCrash, Trace
from durable_testing.faults import MEANINGS, OPERATION_FAULTS


@workflow
async def nothing(ctx: Context) -> None: ...


@pytest.fixture(params=["memory", "sqlite"])
async def inner(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(f"sqlite:///{tmp_path}/faults.db")
    await store.open()
    yield store
    await store.close()


class Bench:
    """Puts records through a store with one fault at its first operation."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.trace = Trace()
        self.clock = ManualClock()

    def struck(self, fault: Fault) -> FaultStore:
        return FaultStore(self.inner, Faults([fault]), clock=self.clock, trace=self.trace)

    async def put(self, fault: Fault) -> None:
        await self.struck(fault).put_record("notes", "a", b"1")

    async def written(self) -> bool:
        return await self.inner.get_record("notes", "a") is not None

    def kinds(self) -> list[str]:
        return [event.kind for event in self.trace]


async def test_a_crash_before_raises_and_writes_nothing(inner: Store) -> None:
    bench = Bench(inner)
    with pytest.raises(SimCrash, match="operation 0, put_record"):
        await bench.put(Fault(0, FaultKind.CRASH_BEFORE))
    assert not await bench.written()
    assert bench.kinds() == ["begin", "fault"]


async def test_a_crash_after_raises_when_all_is_written(inner: Store) -> None:
    bench = Bench(inner)
    with pytest.raises(SimCrash):
        await bench.put(Fault(0, FaultKind.CRASH_AFTER))
    assert await bench.written()
    assert bench.kinds() == ["begin", "fault", "effect"]


@pytest.mark.parametrize("error", [Transient, WriteConflict, StoreFull, ReadOnly])
async def test_an_error_is_raised_as_planned_and_nothing_is_written(inner: Store, error: type[Transient]) -> None:
    bench = Bench(inner)
    with pytest.raises(error) as raised:
        await bench.put(Fault(0, FaultKind.ERROR, error=error.__name__))
    assert type(raised.value) is error
    assert not await bench.written()


@pytest.mark.parametrize("kind, written", [(FaultKind.UNKNOWN, True), (FaultKind.UNREACHED, False)])
async def test_an_unknown_outcome_may_be_either(inner: Store, kind: FaultKind, written: bool) -> None:
    bench = Bench(inner)
    with pytest.raises(OutcomeUnknown):
        await bench.put(Fault(0, kind))
    assert await bench.written() is written


async def test_a_repeat_is_carried_out_twice_and_answered_by_the_second(inner: Store) -> None:
    bench = Bench(inner)
    answer = await bench.struck(Fault(0, FaultKind.REPEAT)).put_record("notes", "a", b"1", expect=0)
    assert answer is None  # it was there already
    assert bench.kinds() == ["begin", "fault", "effect", "effect", "end"]


@pytest.mark.parametrize("kind, written", [(FaultKind.DELAY, False), (FaultKind.LATE, True)])
async def test_a_delay_comes_before_the_effect_and_lateness_behind_it(
    inner: Store, kind: FaultKind, written: bool
) -> None:
    bench = Bench(inner)
    putting = asyncio.create_task(bench.put(Fault(0, kind, 20.0)))
    while not bench.clock._sleepers:
        await asyncio.sleep(0)
    assert await bench.written() is written
    bench.clock.advance(19.9)
    await asyncio.sleep(0)
    assert not putting.done()
    bench.clock.advance(0.1)
    await putting
    assert await bench.written()


def test_the_kinds_above_are_all_that_strike_an_operation() -> None:
    told = {"crash-before", "crash-after", "error", "unknown", "unreached", "repeat", "delay", "late"}
    assert {kind.value for kind in OPERATION_FAULTS} == told
    assert all(MEANINGS[kind] for kind in OPERATION_FAULTS)


async def test_only_the_planned_operation_is_struck(inner: Store) -> None:
    store = FaultStore(inner, Faults([Fault(1, FaultKind.ERROR)]))
    await store.put_record("notes", "a", b"1")
    with pytest.raises(Transient):
        await store.put_record("notes", "b", b"2")
    await store.put_record("notes", "c", b"3")
    assert [row.key for row in await store.list_records("notes")] == ["a", "c"]


@pytest.mark.parametrize("kind", [FaultKind.UNKNOWN, FaultKind.UNREACHED, FaultKind.REPEAT, FaultKind.ERROR])
async def test_a_client_says_again_what_it_does_not_know_and_one_run_comes_of_it(
    tmp_path: Path, kind: FaultKind
) -> None:
    for number, store in enumerate((MemoryStore(), SqliteStore(f"sqlite:///{tmp_path}/client.db"))):
        plan = Faults([Fault(0, kind)])
        async with Client(FaultStore(store, plan)) as client:
            handle = await client.start(nothing, id=f"run-{number}")
            assert await client.count() == 1
            assert handle.id == f"run-{number}"
        assert plan.count >= 2
