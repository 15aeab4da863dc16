"""The memory store keeps the contract, and answers as itself."""

from durable.store import Store
from durable_testing import ManualClock, MemoryStore
from durable_testing.conformance import RepeatContract, ScheduleContract, StoreContract
from durable_testing.conformance.differential import DifferentialContract


async def opened(clock: ManualClock) -> Store:
    store = MemoryStore(clock=clock)
    await store.open()
    return store


class TestMemoryStore(StoreContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)


class TestMemorySchedules(ScheduleContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)


class TestMemoryRepeats(RepeatContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)


class TestMemoryAgainstItself(DifferentialContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)


async def test_a_named_url_shares_its_data_within_the_process_and_an_anonymous_one_does_not() -> None:
    one, two, other = MemoryStore("memory://shared"), MemoryStore("memory://shared"), MemoryStore("memory://other")
    await one.put_record("k", "a", b"")
    assert await two.get_record("k", "a") is not None
    assert await other.get_record("k", "a") is None
    assert await MemoryStore().get_record("k", "a") is None
    assert await two.dedicated().get_record("k", "a") is not None
