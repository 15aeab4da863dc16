"""Power cuts for as long as you like: ``python -m tests.power --minutes 10 --seed 1``."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import time
from collections import Counter
from typing import Final

import apsw

from tests.power.disk import Image
from tests.power.trial import BEGINNINGS, FULL, RELAXED, Effort, Outcome, run_trial, workspace

_EFFORT: Final = Effort(steps=60, share=0.3, per_moment=10)
_NAMES: Final = {FULL: "full", RELAXED: "relaxed"}


class _Totals:
    """What all trials of one durability have tried and found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.counts.update(
            recordings=1,
            events=outcome.events,
            operations=len(outcome.operations),
            moments=outcome.moments,
            whole=outcome.whole,
            images=outcome.images,
            opened=outcome.opened,
            violations=len(outcome.violations),
        )
        self.kinds.update(outcome.kinds)
        self.lost.update(outcome.lost)

    def report(self, name: str) -> str:
        count = self.counts
        return (
            f"durability={name}: {count['recordings']:,} recordings, {count['operations']:,} operations, "
            f"{count['events']:,} events\n"
            f"    power cut at {count['moments']:,} moments, at {count['whole']:,} of them in every combination\n"
            f"    {count['images']:,} images, {count['opened']:,} different ones opened\n"
            f"    rightly lost: {_words(self.lost)}\n"
            f"    violations: {count['violations']:,}"
        )


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items())) or "nothing"


def _cut(totals: _Totals, seed: int, options: str, beginning: str | Image) -> Image | None:
    """One trial; what one of its power cuts has left, to begin the next one with."""
    with workspace() as directory:
        outcome = asyncio.run(run_trial(directory, seed, options, beginning, _EFFORT))
    totals.add(outcome)
    words = beginning if isinstance(beginning, str) else "what a power cut has left"
    for line in outcome.violations[:5]:
        print(f"seed {seed}, durability={_NAMES[options]}, beginning with {words}: {line}", flush=True)
    return None if outcome.left is None else outcome.left[0]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first recording; each takes the next one")
    asked = parser.parse_args()
    print(f"recorded with SQLite {apsw.sqlite_lib_version()} (APSW), opened with SQLite {sqlite3.sqlite_version}")
    totals = {FULL: _Totals(), RELAXED: _Totals()}
    began = time.monotonic()
    seed = asked.seed
    while time.monotonic() - began < asked.minutes * 60:
        options = (FULL, RELAXED)[seed % 2]
        left = _cut(totals[options], seed, options, BEGINNINGS[seed // 2 % 3])
        if left is not None:
            _cut(totals[options], seed, options, left)
        seed += 1
    print(f"{time.monotonic() - began:.0f} s, seeds {asked.seed} to {seed - 1}")
    for options, total in totals.items():
        print(total.report(_NAMES[options]))
    print("operations:", _words(totals[FULL].kinds + totals[RELAXED].kinds))
    return 1 if any(total.counts["violations"] for total in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
