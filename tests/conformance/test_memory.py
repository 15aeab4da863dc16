"""The memory store keeps the contract, and answers as itself."""

from durable.store import Store
from durable_testing import ManualClock, MemoryStore
from durable_testing.conformance import StoreContract
from durable_testing.conformance.differential import DifferentialContract


async def opened(clock: ManualClock) -> Store:
    store = MemoryStore(clock=clock)
    await store.open()
    return store


class TestMemoryStore(StoreContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)


class TestMemoryAgainstItself(DifferentialContract):
    async def make_store(self, clock: ManualClock) -> Store:
        return await opened(clock)
