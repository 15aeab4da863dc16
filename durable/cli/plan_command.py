"""``durable plan``: what a deploy would do to the open runs, as a table for people and an exit code for gates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, final

import click

from durable import Client
from durable._engine.rehearsal import Fit, Rehearsal
from durable.cli.apps import load_app
from durable.cli.connection import with_client
from durable.cli.failures import Exit
from durable.cli.ink import Meaning, Span
from durable.cli.options import Command, settings_of
from durable.cli.output import Column, Printer
from durable.cli.rehearsals import MEANINGS, finding_value, in_short, survey_of, verdict
from durable.cli.text import many, safe
from durable.store import RunQuery

__all__ = ["plan"]

_SHOWN: Final = 3  # ids of each kind of finding

_HEADS: Final[dict[Fit, str]] = {
    Fit.UNCHANGED: "unchanged",
    Fit.GAINS: "gain steps",
    Fit.DROPS: "drop steps",
    Fit.CONFLICT: "conflict",
    Fit.UNREADABLE: "unreadable",
    Fit.NO_CODE: "no code",
}
_COLUMNS: Final[tuple[Column, ...]] = (
    ("workflow", "<"),
    ("version", "<"),
    ("runs", ">"),
    *((head, ">") for head in _HEADS.values()),
)


@final
@dataclass(slots=True)
class _Finding:
    """Runs about which the same was found."""

    first: Rehearsal
    count: int = 0
    runs: list[str] = field(default_factory=list)


@final
class _Tally:
    """Counts, and one finding for each kind of them: what it holds grows with the code, not with the store."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[Fit]] = {}
        self.findings: dict[tuple[Any, ...], _Finding] = {}

    def add(self, found: Rehearsal) -> None:
        self.counts.setdefault((found.workflow, found.version or ""), Counter())[found.fit] += 1
        if found.fit is Fit.UNCHANGED:
            return
        gains = tuple((call.kind, call.name.partition("#")[0], call.place) for call in found.gains)
        drops = tuple(name.partition("#")[0] for name in found.drops)
        what = found.kind if found.place else in_short(found.reason)
        key = (found.workflow, found.version, found.fit, found.place, what, gains, drops)
        finding = self.findings.setdefault(key, _Finding(found))
        finding.count += 1
        if len(finding.runs) < _SHOWN:
            finding.runs.append(found.run)

    @property
    def total(self) -> int:
        """Runs looked at."""
        return sum(counter.total() for counter in self.counts.values())

    @property
    def stuck(self) -> int:
        """Runs that could not go on."""
        return sum(counter[fit] for counter in self.counts.values() for fit in Fit if not fit.goes_on)


@click.command(cls=Command)
@click.argument("app", metavar="APP")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--only-known", is_flag=True, help="Leave out runs of workflows that APP has in no version.")
@click.pass_context
def plan(ctx: click.Context, *, app: str, workflow: str | None, only_known: bool) -> int:
    """Replay every open run against the code of APP, and count per workflow what a deploy of it would do.

    No step runs and nothing is written; workers may work on. Exit code 0: every run can go on; 1: at least one
    conflicts with the code, cannot be read by it, or has no code in APP; 2: usage; 5: the store cannot be read.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    loaded = load_app(app)

    async def work(client: Client) -> int:
        survey = await survey_of(client, app, loaded)
        known = set(survey.names())
        tally = _Tally()
        async for found in survey.runs(RunQuery(workflow)):
            if not only_known or found.workflow in known:
                tally.add(found)
        if printer.form == "table":
            _tell(printer, tally)
        else:
            printer.value(_value(tally))
        return int(Exit.FAILED if tally.stuck else Exit.OK)

    return with_client(settings, work)


def _tell(printer: Printer, tally: _Tally) -> None:
    if tally.total:
        printer.table(_COLUMNS, [_row(key, tally.counts[key]) for key in sorted(tally.counts)])
    for finding in tally.findings.values():
        first = finding.first
        version = f" v{first.version}" if first.version else ""
        head = f"{many(finding.count, 'run')} of {first.workflow}{version}: "
        printer.line((("", ""),))
        printer.line(((safe(head), "bold"), (safe(verdict(first)), MEANINGS[first.fit])))
        lines = [first.line] if first.line else [call.line for call in first.gains if call.line]
        for text in dict.fromkeys(lines):
            printer.line(((f"    > {safe(text)}", "dim"),))
        if first.reason:
            printer.line(((f"    {safe(in_short(first.reason))}", ""),))
        printer.line(((f"    {safe(_named(finding))}", "dim"),))
    if not tally.total:
        printer.say("No open run.")
    elif tally.stuck:
        printer.say(f"{tally.stuck:,} of {many(tally.total, 'run')} could not go on with this code.")
    else:
        printer.say(f"All {tally.total:,} can go on." if tally.total > 1 else "The only one can go on.")


def _row(key: tuple[str, str], counter: Counter[Fit]) -> list[Span]:
    cells: list[Span] = [(key[0], ""), (key[1] or "-", ""), (f"{counter.total():,}", "")]
    for fit in _HEADS:
        meaning: Meaning = MEANINGS[fit] if counter[fit] else "dim"
        cells.append((f"{counter[fit]:,}", meaning))
    return cells


def _named(finding: _Finding) -> str:
    rest = finding.count - len(finding.runs)
    return ", ".join(finding.runs) + (f" and {rest:,} more" if rest else "")


def _value(tally: _Tally) -> dict[str, Any]:
    return {
        "goes_on": tally.stuck == 0,
        "runs": tally.total,
        "workflows": [
            {
                "workflow": name,
                "version": version or None,
                "runs": counter.total(),
                **{fit.value: counter[fit] for fit in _HEADS},
            }
            for (name, version), counter in sorted(tally.counts.items())
        ],
        "findings": [
            {
                "workflow": finding.first.workflow,
                "version": finding.first.version,
                "runs": finding.count,
                "examples": finding.runs,
                **finding_value(finding.first),
            }
            for finding in tally.findings.values()
        ],
    }
