"""The tests that every adapter passes.

An adapter's test file is a class that says how to make a store::

    class TestMyStore(StoreContract):
        async def make_store(self, clock):
            store = MyStore("mine://", clock=clock)
            await store.open()
            return store

``durable_testing.conformance.differential`` compares an adapter with the memory model over random operations; it needs
Hypothesis, this package needs nothing but pytest.
"""

from __future__ import annotations

from durable_testing.conformance.claiming import Claiming
from durable_testing.conformance.closing import Closing
from durable_testing.conformance.commits import Commits
from durable_testing.conformance.creation import CreationOfRuns
from durable_testing.conformance.ends import Ends
from durable_testing.conformance.fences import Fences
from durable_testing.conformance.generations import Generations
from durable_testing.conformance.hints import Hints
from durable_testing.conformance.hostile import HostileText
from durable_testing.conformance.inbox import Inbox
from durable_testing.conformance.lanes import Lanes
from durable_testing.conformance.leases import Leases
from durable_testing.conformance.lifecycle import Lifecycle
from durable_testing.conformance.lists import Lists
from durable_testing.conformance.purging import Purging
from durable_testing.conformance.reads import Reads
from durable_testing.conformance.records import Records
from durable_testing.conformance.strikes import Strikes
from durable_testing.conformance.verb_table import VerbTable
from durable_testing.conformance.verbs import Verbs

__all__ = ["StoreContract"]


class StoreContract(
    CreationOfRuns,
    Claiming,
    Lanes,
    Leases,
    Strikes,
    Fences,
    Commits,
    Ends,
    Closing,
    Generations,
    Inbox,
    Verbs,
    VerbTable,
    Reads,
    Lists,
    Purging,
    Records,
    Hints,
    HostileText,
    Lifecycle,
):
    """Everything that ``durable.store.Store`` promises. Implement ``make_store``; ``second`` too if need be."""
