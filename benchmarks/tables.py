"""All tables there are, in the order in which they are measured and told."""

from __future__ import annotations

from typing import Final

from benchmarks import limits
from benchmarks.passes import Table
from benchmarks.workloads import (
    chain,
    fanout,
    hello,
    long,
    memory,
    parts,
    processes,
    recover,
    signals,
    size,
    startup,
    timers,
)

TABLES: Final = (
    limits.MACHINE,
    hello.TABLE,
    chain.TABLE,
    fanout.TABLE,
    parts.TABLE,
    signals.TABLE,
    timers.TABLE,
    recover.TABLE,
    long.TABLE,
    memory.TABLE,
    size.TABLE,
    startup.TABLE,
    processes.TABLE,
)


def table_of(name: str) -> Table:
    """The table of this name."""
    return next(table for table in TABLES if table.name == name)
