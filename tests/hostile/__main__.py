"""``python -m tests.hostile [NAME ...] [-- PYTEST ARGUMENTS]``: the suite, once for each hostile configuration."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.hostile.configurations import CONFIGURATIONS, VARIABLE, named

ROOT: Final = Path(__file__).parents[2]
START: Final = Path(__file__).with_name("start")
PAGE: Final = ROOT / "docs" / "internals" / "hostile-configurations.md"
_HEAD: Final = "| configuration | passed | left out | failed | seconds |\n|---|---:|---:|---:|---:|"
# They look at texts and types, not at the engine.
LEFT_OUT: Final = ("tests/architecture", "tests/docs", "tests/mutants", "tests/typing")


@dataclass(frozen=True)
class Result:
    """What one run of the suite came to."""

    name: str
    passed: int
    skipped: int
    failed: int
    seconds: float

    def row(self) -> str:
        """As the table has it."""
        return f"| `{self.name}` | {self.passed:,} | {self.skipped} | {self.failed} | {self.seconds:.0f} |"


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; 1 if anything failed."""
    own, further = _split(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="configurations, or several at once: NAME+NAME; default: each of them"
    )
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--record", action="store_true", help="write the results into the page")
    asked = parser.parse_args(own)
    try:
        for name in asked.names:
            named(name)
    except LookupError as error:
        parser.error(str(error))
    if asked.list:
        for name, configuration in CONFIGURATIONS.items():
            print(f"{name:16} {configuration.hostility}")
        return 0
    results: list[Result] = []
    for name in asked.names or CONFIGURATIONS:
        results.append(run(name, further))
        if asked.record:
            record(results[-1])
    print(f"\n{_HEAD}")
    for one in results:
        print(one.row())
    return 1 if any(one.failed or not one.passed for one in results) else 0


def record(result: Result) -> None:
    """Put one result into the table of the page, in the order of the configurations."""
    before, head, after = PAGE.read_text(encoding="utf-8").partition(_HEAD + "\n")
    table, _, rest = after.partition("\n\n")
    rows = {line.split("`")[1]: line for line in table.splitlines()}
    rows[result.name] = result.row()
    places = list(CONFIGURATIONS)
    names = sorted(rows, key=lambda name: places.index(name) if name in places else len(places))
    PAGE.write_text(before + head + "\n".join(rows[name] for name in names) + "\n\n" + rest, encoding="utf-8")


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours, and pytest's after ``--``."""
    given = list(arguments)
    if "--" not in given:
        return given, []
    place = given.index("--")
    return given[:place], given[place + 1 :]


def run(name: str, further: Sequence[str]) -> Result:
    """The suite in one configuration."""
    configuration = named(name)
    print(f"\n== {name}: {configuration.hostility}", flush=True)
    path = os.pathsep.join(str(folder) for folder in (START, ROOT, os.environ.get("PYTHONPATH")) if folder)
    environment = {**os.environ, **configuration.environment, VARIABLE: name, "PYTHONPATH": path}
    targets = (
        []
        if any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in further)
        else [
            "tests",
            *(f"--ignore={folder}" for folder in LEFT_OUT),
        ]
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *configuration.pytest, f"--junit-xml={report}", *targets, *further]
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        seconds = time.monotonic() - begun
        return _read(name, report, seconds)


def _read(name: str, report: Path, seconds: float) -> Result:
    if not report.exists():
        return Result(name, 0, 0, 1, seconds)
    [suite] = ElementTree.parse(report).getroot()
    total, skipped, failed = (
        int(suite.get("tests", 0)),
        int(suite.get("skipped", 0)),
        int(suite.get("failures", 0)) + int(suite.get("errors", 0)),
    )
    return Result(name, total - skipped - failed, skipped, failed, seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
