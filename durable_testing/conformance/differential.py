"""The differential test: random operations of two sessions, answered alike by an adapter and by the memory model (I28).

What the protocol leaves open is put aside before answers are compared (``plain``): the words with which a store blocks
a run whose crash budget is spent, the names of CANCEL and PAUSE messages, whether a repeated commit reports its
children as created or existing, and the order of what a poll says of different runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import Bench
from durable_testing.conformance.race import Race
from durable_testing.conformance.steps import KINDS, RUNS, Step
from durable_testing.memory import MemoryStore

__all__ = ["DifferentialContract"]

_HEALTHY = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
)


def steps() -> st.SearchStrategy[Step]:
    small = st.integers(0, 11)
    return st.builds(
        Step, st.sampled_from(KINDS), st.integers(0, len(RUNS) - 1), st.integers(0, 1), small, small, small
    )


class DifferentialContract(Bench):
    """Random operation sequences get the same answers from the store under test and from ``MemoryStore``.

    Attributes:
        examples: How many sequences.
        steps_max: Operations in one, at most; half as many at least.
    """

    examples = 60
    steps_max = 60

    def test_random_operations_are_answered_as_the_memory_model_answers_them(self) -> None:
        @settings(max_examples=self.examples, deadline=None, suppress_health_check=_HEALTHY, print_blob=True)
        @given(st.lists(steps(), min_size=self.steps_max // 2, max_size=self.steps_max))
        def compare(sequence: list[Step]) -> None:
            asyncio.run(self._compare(sequence))

        compare()

    async def _compare(self, sequence: Sequence[Step]) -> None:
        clock = ManualClock()
        model = MemoryStore(clock=clock)
        store = await self.make_store(clock)
        try:
            other = await self.second(store)
            try:
                race = Race(clock, model, (store, other), turns_back=self.clock_turns_back)
                await race.begin()
                for step in sequence:
                    await race.take(step)
                await race.compare_everything()
            finally:
                await other.close()
        finally:
            await store.close()
