"""A runtime for each test, and one for the tests of a module that leave it as they found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from durable_dag.js import ProcessJs


@pytest.fixture
async def js() -> AsyncIterator[ProcessJs]:
    async with ProcessJs() as runtime:
        yield runtime


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[ProcessJs]:
    """For tests on the module's loop: the helper that one test used, or had killed, serves the next."""
    async with ProcessJs() as runtime:
        yield runtime
