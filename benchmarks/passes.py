"""What is measured, how often, and in which order: rows of tables, carried out in interleaved passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

Figures = dict[str, float]
Extra = Literal["peers", "convex"]
FIGURES: Final = "figures: "
ROOT: Final = Path(__file__).resolve().parents[1]
ROW_SECONDS_MAX: Final = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        passes: Over all rows; medians are told.
        seconds: Of each measurement that counts how often something can be done, about.
        scale: Of the number of runs and steps of the others; 1 is what the page tells.
        directory: Where databases are made; empty: where the system keeps its temporary files.
        peers: Where the peers' environments are kept.
    """

    passes: int = 5
    seconds: float = 1.0
    scale: float = 1.0
    directory: str = ""
    peers: str = ""

    def count(self, number: int, least: int = 1) -> int:
        """So many, scaled."""
        return max(least, round(number * self.scale))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row's figure over another row's, pass by pass.

    Attributes:
        title: Of the value, which is put in for the braces: "{} bare commits".
        figure: The row's own.
        row: The other row, of the same table.
        other: Its figure.
        factor: Of the quotient: rows of a commit, say.
        times: A rate is the other: the product is told (seconds times commits a second are commits).
        inverse: The other over the own.
    """

    title: str
    figure: str
    row: str
    other: str
    factor: float = 1.0
    times: bool = False
    inverse: bool = False

    def of(self, own: float, other: float) -> float:
        """Its value in one pass."""
        if self.times:
            return own * other * self.factor
        return (other / own if self.inverse else own / other) * self.factor


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        name: Unique in its table.
        measure: Gives the figures of one pass.
        ratios: Of this row to others.
        passes: At most so many, for what takes long or comes out alike each time; None: as many as are asked for.
        bare: What the machine or the interpreter can do, to compare with.
        extra: Measured only where it is asked for: other engines, or a store that needs more than Python.
    """

    name: str
    measure: Callable[[Plan], Awaitable[Figures]]
    ratios: tuple[Ratio, ...] = ()
    passes: int | None = None
    bare: bool = False
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """What one command measures.

    Attributes:
        name: On the command line.
        title: On the page.
        text: Below it: what is done, and how it is counted.
        rows: In the order in which they are measured.
    """

    name: str
    title: str
    text: str
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(slots=True)
class Results:
    """What has been measured: by table, row and figure, a value for each pass.

    Attributes:
        skipped: Rows that cannot be measured here, by table and row, with the reason.
        failed: Rows that went wrong in one of the passes, with what is known of it.
    """

    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, table: str, row: str, figures: Mapping[str, float]) -> None:
        """The figures of one more pass."""
        found = self.values.setdefault(table, {}).setdefault(row, {})
        for name, value in figures.items():
            found.setdefault(name, []).append(value)

    def all(self, table: str, row: str, figure: str) -> list[float]:
        """Pass by pass; empty where it was not measured."""
        return self.values.get(table, {}).get(row, {}).get(figure, [])

    def median(self, table: str, row: str, figure: str) -> float | None:
        """Over the passes; None where it was not measured."""
        found = self.all(table, row, figure)
        return statistics.median(found) if found else None

    def ratio(self, table: str, row: str, ratio: Ratio) -> float | None:
        """The median of the passes' own ratios, for each pass has its own weather."""
        own, other = self.all(table, row, ratio.figure), self.all(table, ratio.row, ratio.other)
        values = [ratio.of(*pair) for pair in zip(own, other, strict=False)]
        return statistics.median(values) if values else None


class Skipped(Exception):
    """A row cannot be measured here, and the text says why."""


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)


def measured(tables: Sequence[Table], plan: Plan) -> Results:
    """All rows, pass after pass, each in a process of its own: no row inherits another's heap.

    Passes are interleaved, so that a slow minute of the machine hits all rows alike.
    """
    results = Results()
    for number in range(plan.passes):
        for table in tables:
            for row in table.rows:
                where = f"{table.name}: {row.name}"
                if where in results.skipped or where in results.failed or number >= (row.passes or plan.passes):
                    continue
                began = time.perf_counter()
                try:
                    results.add(table.name, row.name, asyncio.run(apart(table, row, plan)))
                    how = f"{time.perf_counter() - began:.1f} s"
                except Skipped as reason:
                    how = results.skipped[where] = str(reason)
                except RuntimeError as error:  # the other rows of a long sitting are not to be lost
                    how = results.failed[where] = str(error)
                say(f"pass {number + 1} of {plan.passes}: {where} ({how})")
    return results


async def apart(table: Table, row: Row, plan: Plan) -> Figures:
    """Measure one row in a fresh process.

    Raises:
        Skipped: It cannot be measured here.
        RuntimeError: The process failed, or did not end in time.
    """
    command = [sys.executable, "-m", "benchmarks.one", table.name, row.name, json.dumps(asdict(plan))]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(ROW_SECONDS_MAX):
            out, _ = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"{table.name}: {row.name} took more than {ROW_SECONDS_MAX:g} s.") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    for answer in _answers(out.decode()):
        if "skipped" in answer:
            raise Skipped(str(answer["skipped"]))
        return {str(name): float(str(value)) for name, value in answer.items()}
    raise RuntimeError(f"{table.name}: {row.name} gave no figures (exit code {process.returncode}).")


def _answers(text: str) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        if line.startswith(FIGURES):
            answer: dict[str, object] = json.loads(line.removeprefix(FIGURES))
            yield answer


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of all values is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
