"""The stores on which workloads are laid."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.passes import Extra, Plan, Skipped


@dataclass(frozen=True, slots=True)
class Bed:
    """A kind of store.

    Attributes:
        name: As rows call it.
        lay: Makes a fresh one for the plan, and gives its URL.
        processes: Whether several processes can share it.
        extra: Rows on it are measured only where it is asked for.
    """

    name: str
    lay: Callable[[Plan], AbstractContextManager[str]]
    processes: bool = True
    extra: Extra | None = None


@contextlib.contextmanager
def directory(plan: Plan) -> Iterator[Path]:
    """An empty one, on the disk that the plan names."""
    with tempfile.TemporaryDirectory(prefix="durable-bench-", dir=plan.directory or None) as name:
        yield Path(name)


@contextlib.contextmanager
def _memory(plan: Plan) -> Iterator[str]:
    yield "memory://"


@contextlib.contextmanager
def _sqlite(plan: Plan) -> Iterator[str]:
    with directory(plan) as folder:
        yield f"sqlite:///{folder}/bench.db"


@contextlib.contextmanager
def _relaxed(plan: Plan) -> Iterator[str]:
    with _sqlite(plan) as url:
        yield f"{url}?durability=relaxed"


@contextlib.contextmanager
def _convex(plan: Plan) -> Iterator[str]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Skipped("Node and npm are needed for the Convex stand-in.")
    from benchmarks.convex_bed import TOKEN, deployment  # here, because it needs the tests and the extra

    os.environ["DURABLE_TOKEN"] = TOKEN
    with deployment(20.0) as where:
        yield where.url


MEMORY: Final = Bed("memory", _memory, processes=False)
SQLITE: Final = Bed("SQLite", _sqlite)
RELAXED: Final = Bed("SQLite relaxed", _relaxed)
CONVEX: Final = Bed("Convex stand-in", _convex, extra="convex")
BEDS: Final = (MEMORY, SQLITE, RELAXED)
