"""What the server's tests share."""

from collections.abc import AsyncIterator

import pytest
from serving_rig import Rig, rigged


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        yield made


@pytest.fixture
async def working(rig: Rig) -> AsyncIterator[Rig]:
    async with rig.working():
        yield rig
