"""What the adapter's tests share: a deployment's outside, and stores on it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_convex import ConvexStore
from tests.convex.lookalike import TOKEN, Lookalike


@pytest.fixture
def look() -> Iterator[Lookalike]:
    look = Lookalike()
    with look.running():
        yield look


@asynccontextmanager
async def opened(url: str, **given: Any) -> AsyncIterator[ConvexStore]:
    """An open store, closed at the end, whatever happens."""
    store = ConvexStore(f"convex+{url}", **{"auth": TOKEN, **given})
    try:
        await store.open()
        yield store
    finally:
        await store.close()
