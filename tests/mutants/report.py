"""What came of it: a table for people, the same in the documentation, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.mutants.patches import ROOT
from tests.mutants.trial import Fate, Result

__all__ = ["PAGE", "exit_code", "record", "summary", "table"]

PAGE: Final = ROOT / "docs" / "internals" / "mutants.md"
_BEGIN: Final = "<!-- table: written by --record -->"
_END: Final = "<!-- end of the table -->"


def table(results: Sequence[Result]) -> str:
    """Mutant, killed by, seconds, aligned."""
    rows = [("mutant", "killed by", "seconds"), *((r.mutant.name, _by(r), f"{r.seconds:.1f}") for r in results)]
    wide = [max(len(row[n]) for row in rows) for n in range(3)]
    return "\n".join(f"{name:<{wide[0]}}  {by:<{wide[1]}}  {seconds:>{wide[2]}}" for name, by, seconds in rows)


def summary(results: Sequence[Result]) -> str:
    """One line, and one more for each mutant that the named tests did not kill, or that could not be tried."""
    killed = sum(result.fate is Fate.KILLED for result in results)
    lines = [f"{killed} of {len(results)} killed."]
    lines += [
        f"{result.mutant.name}: killed by the whole suite only; name {result.by} in its patch."
        for result in results
        if result.fate is Fate.KILLED and not result.expected
    ]
    lines += [f"{result.mutant.name}: {result.by}" for result in results if result.fate is Fate.UNTRIED]
    return "\n".join(lines)


def exit_code(results: Sequence[Result]) -> int:
    """0 if all were killed, 1 if one survives, 2 if one could not be tried."""
    fates = {result.fate for result in results}
    if Fate.UNTRIED in fates:
        return 2
    return 1 if Fate.SURVIVED in fates else 0


def record(results: Sequence[Result]) -> None:
    """Put the table into the page."""
    rows = [f"| `{r.mutant.name}` | {r.mutant.fault} | {r.mutant.stands_for} | {_cell(r)} |" for r in results]
    head, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    lines = [_BEGIN, "", "| mutant | the fault | stands for | killed by |", "|---|---|---|---|", *rows, "", _END]
    PAGE.write_text(head + "\n".join(lines) + tail)


def _by(result: Result) -> str:
    return result.by if result.fate is Fate.KILLED else result.fate.value.upper()


def _cell(result: Result) -> str:
    if result.fate is not Fate.KILLED:
        return f"**{result.fate.value}**"
    file, _, test = result.by.partition("::")
    return f"`{file.removeprefix('tests/')}`: {test.rpartition('::')[2].partition('[')[0]}"
