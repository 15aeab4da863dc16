"""How a process is set that does nothing but work."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from durable.cli import process


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


async def _loop() -> type:
    return type(asyncio.get_running_loop())


def test_a_worker_runs_on_uvloop_where_that_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert process.run_alone(_loop()) is uvloop.Loop


def test_a_worker_runs_on_the_standard_loop_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(process, "import_module", missing)
    assert issubclass(process.run_alone(_loop()), asyncio.BaseEventLoop)


def test_what_is_loaded_is_left_out_of_collections_and_what_is_new_is_not() -> None:
    process.spare_the_collector()
    assert gc.get_freeze_count() > 10_000
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() >= 1
