"""``python -m benchmarks TABLE``: what runs cost, beside what the machine and other engines can do.

``python -m benchmarks all --peers --write`` measures everything, and writes
``docs/performance.md`` and the raw figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks.page import page, terminal
from benchmarks.passes import ROOT, Plan, Table, measured, say
from benchmarks.peers.known import PEERS
from benchmarks.sitting import Sitting
from benchmarks.tables import TABLES, table_of

PAGE: Final = ROOT / "docs" / "performance.md"
RAW: Final = ROOT / "benchmarks" / "results.json"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [table.name for table in TABLES]
    parser.add_argument("table", choices=[*names, "all"], help="what is measured")
    parser.add_argument("--passes", type=int, default=5, help="over all rows; medians are told (default 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each rate, about (default 0.5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of runs and steps (default 1)")
    parser.add_argument("--only", default="", help="only rows whose name has this text, and the bare ones")
    parser.add_argument("--directory", default="", help="for databases; default: the system's, for temporary files")
    parser.add_argument("--peers", action="store_true", help="other engines, too; installed into --peers-dir")
    parser.add_argument("--peers-dir", default="", help="default: durable-benchmark-peers beside temporary files")
    parser.add_argument("--convex", action="store_true", help="a little on the Convex stand-in; needs npm")
    parser.add_argument("--json", action="store_true", help="print the figures of all passes as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and benchmarks/results.json")
    parser.add_argument("--again", action="store_true", help="measure nothing: take the figures from results.json")
    return parser.parse_args(arguments)


def chosen(given: argparse.Namespace) -> list[Table]:
    """The tables, without the rows that nobody has asked for."""

    def wanted(table: Table) -> Table:
        rows = [row for row in table.rows if row.extra is None or getattr(given, row.extra)]
        return replace(table, rows=tuple(row for row in rows if row.bare or given.only in row.name))

    return [wanted(table) for table in (TABLES if given.table == "all" else (table_of(given.table),))]


def installed(plan: Plan) -> tuple[str, ...]:
    """Install the peers; their packages and versions. The rows of one that cannot be installed are skipped."""
    versions = []
    for peer in PEERS:
        say(f"installing {peer.packages[0]}")
        try:
            versions.append(f"{peer.packages[0]} {peer.install(plan)}")
        except subprocess.CalledProcessError as error:
            say(f"  not installed: {error}")
    return tuple(versions)


def sit(given: argparse.Namespace) -> Sitting:
    """Measure what is asked for."""
    plan = Plan(given.passes, given.seconds, given.scale, given.directory, given.peers_dir)
    peers = installed(plan) if given.peers else ()
    before = os.getloadavg()[0]
    return Sitting.of(plan, measured(chosen(given), plan), before, peers)


def main() -> None:
    """The command."""
    given = options()
    sitting = Sitting.read(json.loads(RAW.read_text(encoding="utf-8"))) if given.again else sit(given)
    if given.write:
        PAGE.write_text(page(TABLES, sitting), encoding="utf-8")
        RAW.write_text(sitting.written(), encoding="utf-8")
    print(sitting.written() if given.json else terminal(chosen(given), sitting))
    if sitting.results.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
