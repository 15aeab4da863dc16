"""Where hostile input is tried: on every store in this one list, with a worker that keeps no run in memory."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Rig

_numbers = itertools.count()

STORES: dict[str, Callable[[Path], str]] = {
    "memory": lambda directory: f"memory://input-{next(_numbers)}",
    "sqlite": lambda directory: f"sqlite:///{directory}/runs.db?durability=relaxed",
}


@pytest.fixture(params=list(STORES))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """A store of its own for each test; each wake-up of a run replays it."""
    return Rig(STORES[request.param](tmp_path), 0)
