"""What the engine wants to reach, and whether a run of the suite has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.beds import MEMORY, SQLITE
from benchmarks.limits import MANY, ONE
from benchmarks.passes import Ratio, Results
from benchmarks.peers import rows as peers
from benchmarks.peers.known import DBOS
from benchmarks.workloads import (
    chain,
    fanout,
    hello,
    long,
    memory,
    processes,
    recover,
    signals,
    size,
    startup,
    timers,
)

Reading = Callable[[Results, str], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One promise to be kept on any machine; where one can, as a ratio of figures of one sitting.

    Attributes:
        table: Where it is measured.
        text: What is asked of what.
        reading: Finds it in the results of the table.
        bound: The value to be reached.
        unit: Of value and bound.
        least: The bound is the least that is asked, else the most.
    """

    table: str
    text: str
    reading: Reading
    bound: float
    unit: str = ""
    least: bool = False

    def value(self, results: Results) -> float | None:
        """What was found; None where it was not measured."""
        return self.reading(results, self.table)

    def reached(self, results: Results) -> bool | None:
        """None where it was not measured."""
        value = self.value(results)
        if value is None:
            return None
        return value >= self.bound if self.least else value <= self.bound


def at_least(table: str, text: str, reading: Reading, bound: float, unit: str = "") -> Target:
    """One that asks for more."""
    return Target(table, text, reading, bound, unit, least=True)


def _median(row: str, figure: str) -> Reading:
    return lambda results, table: results.median(table, row, figure)


def _ratio(row: str, ratio: Ratio) -> Reading:
    return lambda results, table: results.ratio(table, row, ratio)


def _most(figure: str) -> Reading:
    """Of all rows and passes."""

    def read(results: Results, table: str) -> float | None:
        rows = results.values.get(table, {}).values()
        return max((max(row[figure]) for row in rows if figure in row), default=None)

    return read


_RATE: Final = chain.RATE
_COMMITS: Final = Ratio("", _RATE, ONE, "commits a second")
_ROWS: Final = Ratio("", _RATE, MANY, "rows a second")
_DBOS: Final = Ratio("", _RATE, peers.name(DBOS, "64 in flight"), _RATE)
_HELLO: Final = Ratio("", hello.FROM_STARTED, ONE, "commits a second", 0.001, times=True)
_ONE_PROCESS: Final = Ratio("", _RATE, processes.name(SQLITE, 1), _RATE)
_ALONE: Final = "SQLite, one process"
_ACROSS: Final = "SQLite, two processes"
_TWENTY: Final = long.name(SQLITE, 20_000)
_1, _64, _512 = (chain.name(SQLITE, flight) for flight in (1, 64, 512))
_MEMORY: Final = chain.name(MEMORY, 64)

# fmt: off
TARGETS: Final = (
    Target("hello", "hello: bare commits from started to result", _ratio("SQLite", _HELLO), 3),
    at_least("chain", "1 run in flight: steps, of bare commits of 1 row", _ratio(_1, _COMMITS), 0.6),
    at_least("chain", "64 runs in flight: steps, of bare rows", _ratio(_64, _ROWS), 0.12),
    at_least("chain", "64 runs in flight: times DBOS on SQLite", _ratio(_64, _DBOS), 40),
    at_least("chain", "512 runs in flight: steps, of bare rows", _ratio(_512, _ROWS), 0.16),
    at_least("chain", "memory store, 64 runs in flight", _median(_MEMORY, _RATE), 30_000, "steps a second"),
    at_least("fanout", "1,000 steps at once: of bare rows", _ratio(fanout.name(SQLITE, 1000), _ROWS), 0.2),
    Target("signals", "signal in one process, p50", _median(_ALONE, signals.P50), 3, "ms"),
    Target("signals", "signal in one process, p99", _median(_ALONE, signals.P99), 10, "ms"),
    Target("signals", "signal across processes, p99", _median(_ACROSS, signals.P99), 50, "ms"),
    Target("timers", "1,000 timers: late, p99", _median("SQLite", timers.P99), 50, "ms"),
    Target("timers", "timers that fired early, all rows and passes", _most(timers.EARLY), 0),
    Target("recover", "200 half-way runs after SIGKILL", _median(recover.name(SQLITE, 200), "s"), 1.5, "s"),
    Target("long", "20,000 steps: cost of the last tenth, of the first's", _median(_TWENTY, "last / first"), 1.2),
    Target("long", "20,000 steps: taken up again", _median(_TWENTY, "s to resume"), 2, "s"),
    Target("memory", "a waiting run beyond the cache", _median("SQLite", memory.EACH), 2000, "bytes"),
    Target("memory", "10,000 waiting runs: the whole process", _median("SQLite", memory.ALL), 100, "MB"),
    Target("size", "a trivial step in the file", _median("SQLite", "bytes a step"), 250, "bytes"),
    Target("size", "100 calls over a growing talk, recorded", _median(size.RECORDED, size.TALK), 2, "MB"),
    Target("startup", "`import durable`", _median(f"`{startup.IMPORT}`", "ms"), 150, "ms"),
    Target("startup", "cold process to first result", _median(startup.FIRST, "ms"), 400, "ms"),
    at_least("processes", "4 worker processes: of one", _ratio(processes.name(SQLITE, 4), _ONE_PROCESS), 1.0),
)
# fmt: on
