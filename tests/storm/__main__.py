"""``python -m tests.storm``: the kill storm from the command line. Its last line repeats it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.storm.proof import CLAIMS, against
from tests.storm.storm import Plan, storm

__all__ = ["main"]


def main(words: list[str] | None = None) -> int:
    """0 if every claim holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the weather is bad (default 60)")
    parser.add_argument("--runs", type=int, default=200, help="runs kept open at once (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice that choose whom to hit and when")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a fresh one, kept)")
    given = parser.parse_args(words)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="durable-storm-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    print(f"Files: {folder}", flush=True)
    told = asyncio.run(storm(folder.resolve(), Plan(given.seconds, given.runs, given.seed)))
    print(told)
    found = against(told.evidence)
    for line in found[:50]:
        print("  AGAINST", line)
    print(f"{len(CLAIMS)} claims, {len(found)} findings against them")
    print(f"python -m tests.storm --seconds {given.seconds:g} --runs {given.runs} --seed {given.seed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
