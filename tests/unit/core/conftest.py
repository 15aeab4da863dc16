"""What the tests of the core share."""

from collections.abc import Iterator

import pytest
from replay_driver import close_all


@pytest.fixture(autouse=True)
def nothing_is_left_in_memory() -> Iterator[None]:
    yield
    close_all()
