"""The kit on a store that is not ours: the example of ``docs/howto/write-a-store.md`` passes the whole of it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from durable import Client, Context, Worker, step, workflow
from durable.errors import Corrupt
from durable.store import RunId, Store
from durable_testing import ManualClock, MemoryStore
from durable_testing.conformance import StoreKit
from durable_testing.conformance.bench import new_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "third_party_store" / "signed_store.py"
PAGE = ROOT / "docs" / "howto" / "write-a-store.md"
KEY = b"sixteen bytes or more"


def load(path: Path) -> ModuleType:
    """An example as a module; examples are programs and not a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and typing look there
    spec.loader.exec_module(module)
    return module


signed_store = load(EXAMPLE)


def signed(inner: Store, key: bytes = KEY) -> Store:
    store: Store = signed_store.SignedStore(inner, signed_store.Signer(key))
    return store


class TestSignedStore(StoreKit):
    async def make_store(self, clock: ManualClock) -> Store:
        store = signed(MemoryStore(clock=clock))
        await store.open()
        return store


async def test_what_was_tampered_with_is_refused() -> None:
    inner = MemoryStore()
    await inner.create([new_run("forged", input=b"x" * 40)])
    store = signed(inner)
    with pytest.raises(Corrupt, match="signature"):
        await store.input(RunId("forged"))
    await store.create([new_run("ours", input=b"x")])
    assert await store.input(RunId("ours")) == b"x"
    assert await inner.input(RunId("ours")) != b"x"
    with pytest.raises(Corrupt):
        await signed(inner, b"another key of somebody").input(RunId("ours"))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        signed_store.Signer(b"short")


@step
def double(n: int) -> int:
    return 2 * n


@workflow
async def doubled(ctx: Context, n: int) -> int:
    return await ctx.step(double, n)


async def test_the_engine_runs_on_it() -> None:
    async with Client(signed(MemoryStore())) as client, Worker(client, workflows=[doubled]):
        assert await (await client.start(doubled, 21)).result(timeout=5) == 42
        assert list(await client.store.check()) == []


def test_the_page_shows_the_example_as_it_is() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    source = EXAMPLE.read_text()
    shown = [block for block in blocks if block.strip() in source]
    for name in ("class Signer:", "def _each_bytes(", "class SignedStore:", "from durable.store import ("):
        assert any(name in block for block in shown), f"the page shows {name} otherwise than the example has it"
