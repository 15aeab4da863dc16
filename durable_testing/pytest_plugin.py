"""The pytest plugin: a fixture ``sim``, and ``--durable-seed`` for one schedule alone. Comes with the package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

__all__ = ["sim"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("durable").addoption(
        "--durable-seed",
        metavar="SCHEDULE",
        default=None,
        help="Let explore() and crash_everywhere() simulate this schedule alone, as their reports print it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option on."""
    schedule = config.getoption("--durable-seed")
    if schedule is not None:
        from durable.errors import InvalidInput
        from durable_testing.exploring import force_schedule

        try:
            force_schedule(schedule)
        except InvalidInput as error:
            raise pytest.UsageError(str(error)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Forget it."""
    if config.getoption("--durable-seed") is not None:
        from durable_testing.exploring import force_schedule

        force_schedule(None)


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes simulated worlds that end with the test: ``world = sim(workflows=[order])``.

    In an ``async def`` test it makes a ``Sim``, in a plain one a ``SyncSim``; arguments are theirs.
    """
    from durable._engine.client import Client
    from durable_testing.sim import Sim
    from durable_testing.sync import SyncSim

    worlds: list[Sim] = []
    failed = request.session.testsfailed

    def make(**options: Any) -> Any:
        if inspect.iscoroutinefunction(inspect.unwrap(request.function)):
            world = Sim(**options)
            worlds.append(world)
            world.begin()
            world.world.run(Client.open(world))
            return world
        blocking = SyncSim(**options)
        worlds.append(blocking._sim)
        return blocking.__enter__()

    yield make
    with ExitStack() as ending:  # if one cannot end, the others still do
        for world in worlds:
            ending.callback(world.end)
    if request.session.testsfailed == failed:
        for world in worlds:
            world.require_crashes()
