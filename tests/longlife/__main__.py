"""``python -m tests.longlife``: many short runs, measured on the way, and whether anything grew."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from tests.longlife.life import Life, Plan, live_long
from tests.longlife.verdict import CLAIMS, against

__all__ = ["main"]

_HEAD = (
    f"{'runs':>8}  {'process':<9} {'RSS MB':>7} {'blocks':>9} {'fds':>4} {'threads':>7} {'tasks':>5} "
    f"{'WAL MB':>7} {'file MB':>7} {'free MB':>7} {'rows':>8}"
)


def rows(life: Life, waves: int) -> list[str]:
    """The table of the last ``waves`` measurements."""
    lines = []
    for file in life.files[-waves:]:
        for one in (sample for sample in life.samples if sample.runs == file.runs):
            lines.append(
                f"{one.runs:>8,}  {one.process:<9} {one.rss / 1e6:>7.1f} {one.blocks:>9,} {one.base.fds:>4} "
                f"{one.base.threads:>7} {len(one.base.tasks):>5} {file.wal / 1e6:>7.1f} {file.file / 1e6:>7.1f} "
                f"{file.free / 1e6:>7.1f} {file.rows:>8,}"
            )
    return lines


def main(words: list[str] | None = None) -> int:
    """0 if every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.longlife", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--at-once", type=int, default=100, help="in flight (default 100)")
    parser.add_argument("--every", type=int, help="runs between two measurements (default: a fiftieth of all)")
    parser.add_argument("--processes", type=int, choices=[1, 2], default=1, help="that work on them (default 1)")
    parser.add_argument("--durability", choices=["full", "relaxed"], default="full", help="of the store")
    given = parser.parse_args(words)
    wave = given.every or max(given.runs // 50, 1)
    plan = Plan(given.runs, given.at_once, wave, given.processes, given.durability)
    logging.getLogger("durable.worker").setLevel(logging.ERROR)  # it says of each terminated run that it was lost
    print(_HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="durable-longlife-") as folder:
        life = asyncio.run(live_long(Path(folder), plan, lambda life: print("\n".join(rows(life, 1)), flush=True)))
    found = against(life)
    print(f"{plan.runs:,} runs in {life.seconds:.0f} s; the longest write-ahead log had {life.wal_max / 1e6:.1f} MB")
    for line in found:
        print("  AGAINST", line)
    print(f"{len(CLAIMS)} claims, {len(found)} findings against them")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
