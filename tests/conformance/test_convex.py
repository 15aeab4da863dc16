"""``ConvexStore`` keeps the Store protocol: on the project's stand-in for Convex, and on a second engine.

The component is what ``durable-convex init`` writes. The kit moves the store's clock, which no real deployment lets
anybody do; what can be asked of one is in ``tests/convex/test_adapter_real.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from durable_convex import ConvexStore
from durable_testing.clock import ManualClock
from durable_testing.conformance import RepeatContract, ScheduleContract, StoreContract
from durable_testing.conformance.differential import DifferentialContract
from tests.convex import deployments
from tests.convex.deployments import Deployments


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    with deployments.stand_in(tmp_path_factory.mktemp("standin")) as server:
        yield server


@pytest.fixture(scope="session")
def hostile_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    """Commits that conflict and are shuffled, and refusals. (Lost answers change answers: see the repeats.)"""
    options = ("--chaos-occ", "0.3", "--shuffle", "--unavailable", "0.03")
    with deployments.stand_in(tmp_path_factory.mktemp("hostile"), *options) as server:
        yield server


@pytest.fixture(scope="session")
def second_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    with deployments.second_engine(tmp_path_factory.mktemp("engine")) as server:
        yield server


class OnStandIn:
    server: Deployments

    @pytest.fixture(autouse=True)
    def _server(self, stand_in: Deployments) -> Iterator[None]:
        self.server = stand_in
        yield
        stand_in.sweep()

    async def make_store(self, clock: ManualClock) -> ConvexStore:
        return await self.server.fresh(clock)


class TestConvexStore(OnStandIn, StoreContract):
    pass


class TestConvexSchedules(OnStandIn, ScheduleContract):
    """Some thousands of scenes: each sixth here, all of them by night."""

    pairs_one_in = 6


class TestConvexRepeats(OnStandIn, RepeatContract):
    pass


class TestConvexAgainstTheModel(OnStandIn, DifferentialContract):
    examples = 30


@pytest.mark.nightly
class TestConvexSchedulesAll(OnStandIn, ScheduleContract):
    pass


@pytest.mark.nightly
class TestConvexAgainstTheModelForLong(OnStandIn, DifferentialContract):
    examples = 400


@pytest.mark.nightly
class TestConvexStoreUnderFaults(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, hostile_stand_in: Deployments) -> Iterator[None]:
        self.server = hostile_stand_in
        yield
        hostile_stand_in.sweep()

    async def make_store(self, clock: ManualClock) -> ConvexStore:
        return await self.server.fresh(clock)


class OnSecondEngine:
    @pytest.fixture(autouse=True)
    def _server(self, second_engine: Deployments) -> None:
        self.server = second_engine

    async def make_store(self, clock: ManualClock) -> ConvexStore:
        return await self.server.fresh(clock)


@pytest.mark.nightly
class TestSecondEngine(OnSecondEngine, StoreContract):
    """A second a test: it looks through all documents of a table for each read."""


@pytest.mark.nightly
class TestSecondEngineRepeats(OnSecondEngine, RepeatContract):
    story_examples = 2


@pytest.mark.nightly
class TestSecondEngineAgainstTheModel(OnSecondEngine, DifferentialContract):
    examples = 5
