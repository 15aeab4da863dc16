"""The kit that every adapter passes, ours and yours.

An adapter's test file is a class that says how to make a store::

    from durable_testing.conformance import StoreKit

    class TestMyStore(StoreKit):
        async def make_store(self, clock):
            store = MyStore("mine://", clock=clock)
            await store.open()
            return store

``StoreKit`` is the sum of four contracts, each of which can be run by itself:

* ``StoreContract``: what each operation does, sentence by sentence of ``durable.store``;
* ``ScheduleContract``: two sessions, every pair of operations, one after the other and at once;
* ``RepeatContract``: lost answers, and everything said again;
* ``DifferentialContract``: random operations, answered as the memory store answers them. It needs Hypothesis; so
  ``StoreKit`` does, and neither is loaded before it is asked for. The other three need nothing but pytest.

``docs/howto/write-a-store.md`` says what each of them asks of an adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import durable_testing.conformance.asserts  # noqa: F401  # pyright: ignore[reportUnusedImport]  (before the others)
from durable_testing.conformance.bench import Bench
from durable_testing.conformance.contract import StoreContract
from durable_testing.conformance.repeats import RepeatContract
from durable_testing.conformance.schedules import ScheduleContract

if TYPE_CHECKING:
    from durable_testing.conformance.differential import DifferentialContract
    from durable_testing.conformance.kit import StoreKit

__all__ = ["Bench", "DifferentialContract", "RepeatContract", "ScheduleContract", "StoreContract", "StoreKit"]


def __getattr__(name: str) -> Any:
    """What needs Hypothesis, loaded when it is first asked for."""
    if name == "DifferentialContract":
        from durable_testing.conformance.differential import DifferentialContract

        return DifferentialContract
    if name == "StoreKit":
        from durable_testing.conformance.kit import StoreKit

        return StoreKit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
