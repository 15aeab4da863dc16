"""``docs/performance.md``, and the same tables for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.passes import Results, Row, Table
from benchmarks.sitting import Sitting
from benchmarks.targets import TARGETS, Target


def number(value: float) -> str:
    """Three digits that say something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def section(table: Table, results: Results) -> Iterator[str]:
    """A table's lines: what was measured of engines, and below what of the machine."""
    found = results.values.get(table.name, {})
    rows = [row for row in table.rows if row.name in found and not row.bare]
    bare = [row for row in table.rows if row.name in found and row.bare]
    yield from (f"## {table.title}", "", table.text, "")
    if not rows:
        rows, bare = bare, []
    figures = list(dict.fromkeys(figure for row in rows for figure in found[row.name]))
    ratios = any(row.ratios for row in rows)
    yield "| | " + " | ".join(figures) + " |" + (" |" if ratios else "")
    yield "|---|" + "---:|" * len(figures) + ("---|" if ratios else "")
    for row in rows:
        cells = [_cell(found[row.name].get(figure, []), len(figures) < 3) for figure in figures]
        cells += [_ratios(table, row, results)] if ratios else []
        yield f"| {row.name} | " + " | ".join(cells) + " |"
    yield ""
    if bare:
        yield "In the same passes: " + "; ".join(_bare(row, found[row.name]) for row in bare) + "."
        yield ""


def _cell(values: Sequence[float], spread: bool = False) -> str:
    if not values:
        return ""
    told = number(statistics.median(values))
    return f"{told} ({number(min(values))} to {number(max(values))})" if spread and len(values) > 1 else told


def _bare(row: Row, figures: dict[str, list[float]]) -> str:
    name, values = next(iter(figures.items()))
    return f"{row.name}: {_cell(values, True)} {name}"


def _ratios(table: Table, row: Row, results: Results) -> str:
    told = []
    for ratio in row.ratios:
        value = results.ratio(table.name, row.name, ratio)
        if value is not None:
            told.append(ratio.title.format(number(value)))
    return ", ".join(told)


def targets(results: Results, *, only_measured: bool = False) -> Iterator[str]:
    """The table of what is to be reached."""
    yield from ("| | asked | found | reached |", "|---|---:|---:|---|")
    words = {True: "yes", False: "**no**", None: "not measured"}
    for target in TARGETS:
        value = target.value(results)
        if value is None and only_measured:
            continue
        found = "" if value is None else f"{number(value)} {target.unit}".strip()
        yield f"| {target.text} | {_asked(target)} | {found} | {words[target.reached(results)]} |"


def _asked(target: Target) -> str:
    return f"{'≥' if target.least else '≤'} {number(target.bound)} {target.unit}".strip()


def skipped(results: Results) -> Iterator[str]:
    """What could not be measured here."""
    for where, why in (*results.skipped.items(), *results.failed.items()):
        yield f"- Not measured: {where}: {why}"
    if results.skipped or results.failed:
        yield ""


INTRODUCTION: Final = (
    "Figures of one machine, measured in one sitting: not promises, but proportions. Each row is measured in a "
    "process of its own; passes over all rows are interleaved, so that a slow minute hits all alike; medians of the "
    "passes are told, with the slowest and the fastest where there is room, and ratios are medians of the passes' own "
    "ratios. What the machine can do at all is measured in the same passes. Steps are trivial: a step that takes 50 "
    "ms of real work costs 50 ms, and less than one for the engine."
)
READING: Final = (
    "- **At 1 in flight** a step costs a transaction, so the disk decides: `synchronous=FULL` waits for it. The ratio "
    "says what is left of the bare rate when a fenced update and a journal entry are written instead of one row, by "
    "way of a thread, and workflow code runs between two commits.",
    "- **With many in flight** transactions are shared: while one is under way, the outcomes of all other runs queue "
    "for the next. Now the processor decides, and Python's share of it.",
    "- **SQLite** is the default and survives a power cut; **relaxed** (`?durability=relaxed`) survives the death of "
    "the process, but may lose the last commits to a power cut. **Memory** is the engine without a disk.",
    "- **Beside others.** Each engine does the same work in the way that its own pages show, on its own default SQLite "
    "store: see the drivers in `benchmarks/peers`. DBOS keeps a rollback journal rather than a write-ahead log there, "
    "recommends Postgres for production, and looks for messages once a second by default. LangGraph has no worker and "
    "no queue: who invokes a workflow carries it out, and what a task returns is written in the background. Their "
    "rates of chains hold the starts of the runs, one write or two beside ten steps, since who starts them carries "
    "them out; ours were started before. Their numbers of runs are smaller, so that they come to an end.",
    "- **Across processes** a signal waits for the other process to notice that the file has changed.",
    "- Each row is measured in processes of its own, set as `durable worker` sets its own: what is loaded is left"
    " out of garbage collections, and what is new is collected less often. They run on the standard event loop, "
    "not on uvloop.",
)

WHERE: Final = (
    "- **A step on the memory store** calls about a hundred Python functions, a quarter of them asyncio's own: a "
    "task for the attempt, a future for the call, four turns of two loops. That is the processor's limit for one "
    "thread of one process; `tests/counts` holds the number. Several worker processes on one file share the work.",
    "- **On SQLite with many in flight** the writing thread adds some 15 microseconds a step, and it does not "
    "run beside the loop's: both need the interpreter's lock, and all runs wait for the same transaction. Two "
    "transactions on their way at once, and a shorter switch interval, were tried and gained nothing.",
    "- **One run alone** waits, for each step, for the hop to the thread and back (some 90 microseconds, in bare "
    "Python some 60), for SQL (40), for the loop's turns (90), and for a commit that writes three pages of the "
    "log where the bare one writes one. Committing on the loop's own thread would save the hop, and stop the "
    "whole loop for every sync: not done.",
    "- **A run of one step** is three transactions: it is created and claimed by one, its step's outcome is committed "
    "before the code sees it, and it ends. Two of them lie between *started* and the result, each with a hop, and "
    "the end writes eight pages of the log where a bare commit writes one. With a claim of its own it was four.",
    "- **1,000 timers** are set within a quarter of a second, in which the runs are taken up for the first time, and "
    "are due within a quarter of a second: a claim, two commits of which one is before the step, and an end for "
    "each. What is late is the queue for the one thread.",
    "- [Decisions 25](adr/0025-where-a-steps-time-goes.md) and [26](adr/0026-polls-go-along-with-starts.md) have what "
    "was tried, with figures. *The parts of a step*, above, are the profile: what the store alone leaves of the bare "
    "rate, and the engine alone, bounds what both together can reach.",
)

OTHERS: Final = (
    "The simulator, the Convex adapter and the JavaScript sandbox have measurements of their own: "
    "`python -m benchmarks.simulator`, `python -m benchmarks.convex` ([figures](convex.md)), "
    "`python -m benchmarks.javascript`."
)


def page(tables: Sequence[Table], sitting: Sitting) -> str:
    """The whole page."""
    beside = f" Beside it: {', '.join(sitting.peers)}." if sitting.peers else ""
    lines = [
        "# Performance",
        "",
        "<!-- Written by `python -m benchmarks all --write`; edit the texts in benchmarks/ instead. -->",
        "",
        INTRODUCTION,
        "",
        "```console",
        "$ python -m benchmarks all --peers   # a quarter of an hour; one table: python -m benchmarks chain",
        "```",
        "",
        f"Machine: {sitting.machine}; load {sitting.load[0]} before, {sitting.load[1]} after. {sitting.passes} passes, "
        f"{sitting.seconds:g} s for each rate.{beside} Raw figures: `benchmarks/results.json`.",
        "",
        "## What is to be reached",
        "",
        "Ambitions, set before there was an engine, as shares of what the machine can do at all. Where one is not "
        "reached, *Where the time goes* says what stands in the way. On SQLite as it is by default, if nothing else is "
        "said.",
        "",
        *targets(sitting.results),
        "",
    ]
    for table in tables:
        lines += section(table, sitting.results)
    lines += [*skipped(sitting.results), "## How to read it", "", *READING, ""]
    lines += ["## Where the time goes", "", *WHERE, "", OTHERS, ""]
    return "\n".join(lines)


def terminal(tables: Sequence[Table], sitting: Sitting) -> str:
    """The tables, and the targets of which they tell."""
    lines = [sitting.machine, ""]
    for table in tables:
        lines += section(table, sitting.results)
    asked = list(targets(sitting.results, only_measured=True))
    return "\n".join([*lines, *skipped(sitting.results), *(asked if len(asked) > 2 else ())])
