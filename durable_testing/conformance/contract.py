"""What each operation of a store does: the sum of the rooms that say it."""

from __future__ import annotations

from durable_testing.conformance.claiming import Claiming
from durable_testing.conformance.closing import Closing
from durable_testing.conformance.commits import Commits
from durable_testing.conformance.creation import CreationOfRuns
from durable_testing.conformance.ends import Ends
from durable_testing.conformance.fences import Fences
from durable_testing.conformance.fine_print import FinePrint
from durable_testing.conformance.generations import Generations
from durable_testing.conformance.hints import Hints
from durable_testing.conformance.hostile import HostileText
from durable_testing.conformance.inbox import Inbox
from durable_testing.conformance.lanes import Lanes
from durable_testing.conformance.leases import Leases
from durable_testing.conformance.lifecycle import Lifecycle
from durable_testing.conformance.lists import Lists
from durable_testing.conformance.pages import Pages
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
    Pages,
    Purging,
    Records,
    Hints,
    HostileText,
    Lifecycle,
    FinePrint,
):
    """Everything that ``durable.store.Store`` promises. Implement ``make_store``; ``second`` too if need be."""
