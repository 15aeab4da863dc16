"""The example app on the development server: its page's functions, its real worker process, and SIGKILL."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_convex.install import install
from tests.convex.standin import StandIn, eventually, running

EXAMPLE = Path(__file__).parents[3] / "examples" / "convex"
TOKEN = "the workers' token"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[StandIn]:
    """The app as its README says: copied, the component installed, served."""
    app = tmp_path / "convex"
    shutil.copytree(EXAMPLE / "convex", app, ignore=shutil.ignore_patterns("components", "_generated"))
    assert install(app).others == []
    with running(app, tmp_path, "--env", f"DURABLE_TOKEN={TOKEN}") as server:
        yield server


@contextlib.contextmanager
def worker(server: StandIn, directory: Path) -> Generator[subprocess.Popen[bytes]]:
    """``worker.py``, killed at the end as a crash kills."""
    environment = {**os.environ, "DURABLE_TOKEN": TOKEN, "DURABLE_STORE": f"convex+{server.url}"}
    command = [sys.executable, str(EXAMPLE / "worker.py")]
    with subprocess.Popen(command, cwd=directory, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def follow(server: StandIn, run: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call("query", "orders:follow", {"run": run})
    return found


def waits_for_a_person(found: dict[str, Any]) -> bool:
    return any(wait["kind"] == "signal" for wait in found["details"]["waits"])


def ended(found: dict[str, Any]) -> bool:
    return "endedAt" in found["details"]


def test_an_order_is_shipped_once_though_its_worker_is_killed_while_it_waits(shop: StandIn, tmp_path: Path) -> None:
    run = shop.call("mutation", "orders:place", {"item": "lamp", "total": 150.0})
    assert follow(shop, run)["details"]["status"] == "pending"
    with worker(shop, tmp_path):
        eventually(lambda: follow(shop, run), waits_for_a_person)
    for _ in range(2):  # clicking twice is clicking once
        shop.call("mutation", "orders:decide", {"run": run, "approved": True})
    with worker(shop, tmp_path):
        found = eventually(lambda: follow(shop, run), ended)
    assert found["details"]["status"] == "completed"
    assert found["details"]["result"] == "lamp is on its way"
    done = [(step["event"], step["name"]) for step in found["steps"] if step["event"] != "attempt_begun"]
    assert done == [("step_completed", "charge"), ("signal_received", "approved"), ("step_completed", "ship")]
    assert (tmp_path / "shipments.txt").read_text().count("lamp") == 1
    assert shop.call("query", "orders:recent")[0]["status"] == "completed"


def test_a_refused_order_is_refunded(shop: StandIn, tmp_path: Path) -> None:
    run = shop.call("mutation", "orders:place", {"item": "yacht", "total": 1e6})
    with worker(shop, tmp_path):
        eventually(lambda: follow(shop, run), waits_for_a_person)
        shop.call("mutation", "orders:decide", {"run": run, "approved": False})
        found = eventually(lambda: follow(shop, run), ended)
    assert found["details"]["result"] == "1000000.00 given back"
    assert not (tmp_path / "shipments.txt").exists()


def test_a_mutation_that_fails_after_its_start_leaves_neither_order_nor_run(shop: StandIn) -> None:
    with pytest.raises(RuntimeError, match="costs something"):
        shop.call("mutation", "orders:place", {"item": "air", "total": 0.0})
    assert shop.call("query", "orders:recent") == []


def test_an_order_that_no_worker_has_taken_up_is_cancelled_at_once(shop: StandIn) -> None:
    run = shop.call("mutation", "orders:place", {"item": "cup", "total": 5.0})
    shop.call("mutation", "orders:cancel", {"run": run})
    details = follow(shop, run)["details"]
    assert (details["status"], details["error"]) == ("cancelled", "the customer changed their mind")
