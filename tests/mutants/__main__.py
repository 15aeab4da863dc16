"""Tests of the tests: ``python -m tests.mutants [name ...]`` puts each fault into a copy of the tree, to be found.

A mutant is killed by the first test that fails on it: of those that its patch names, else of the whole suite. A hang
counts if the clean tree passes the same tests in time. Exit code 1 if a mutant survives, 2 if nothing could be told.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants import report
from tests.mutants.patches import Mutant, PatchError, load_all
from tests.mutants.trial import Bench, Fate, Result

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants that are asked for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.record and options.names:
        parser.error("--record writes the whole table, so it takes no names")
    try:
        mutants = _chosen(load_all(), options.names)
    except PatchError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}: {mutant.fault}")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(Path(folder), options.limit, options.suite_limit)
        print(f"{len(mutants)} mutants. First the clean tree ...", flush=True)
        trouble = bench.clean(mutants, options.jobs)
        if trouble is not None:
            print(f"The clean tree fails: {trouble}", file=sys.stderr)
            return 2
        results = _try_all(bench, mutants, options.jobs)
    print()
    print(report.table(results))
    print()
    print(report.summary(results))
    if options.record:
        report.record(results)
    return report.exit_code(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help="mutants; all if none is given")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at once (default 2)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for the named tests (default 120)")
    parser.add_argument("--suite-limit", type=float, default=1200.0, help="seconds for the whole suite (default 1200)")
    parser.add_argument("--list", action="store_true", help="say what there is, and try nothing")
    parser.add_argument("--record", action="store_true", help="write the table into docs/internals/mutants.md")
    return parser


def _chosen(mutants: list[Mutant], names: Sequence[str]) -> list[Mutant]:
    known = {mutant.name for mutant in mutants}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PatchError(f"There is no mutant {', '.join(unknown)}; --list shows what there is.")
    return [mutant for mutant in mutants if not names or mutant.name in names]


def _try_all(bench: Bench, mutants: Sequence[Mutant], jobs: int) -> list[Result]:
    def tried(mutant: Mutant) -> Result:
        result = bench.tried(mutant)
        shown = result.by if result.fate is Fate.KILLED else result.fate.value.upper()
        print(f"{result.seconds:6.1f} s  {mutant.name}: {shown}", flush=True)
        return result

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return list(pool.map(tried, mutants))


if __name__ == "__main__":
    sys.exit(main())
