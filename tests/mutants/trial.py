"""One mutant after the other on a bench of copies: what fails there, and how long it takes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from tests.mutants.patches import ROOT, Mutant, PatchError

__all__ = ["Bench", "Fate", "Result"]

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"
)
_SUITE: Final = ("tests", "--ignore=tests/mutants")
_PASSED: Final = 0
_FAILED: Final = (1, 2)  # with -x, pytest-xdist calls a failure an interruption


class Fate(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    Attributes:
        by: The test that killed it; or why it could not be tried.
        seconds: From the first test to the verdict.
        expected: Whether one of the tests that the patch names killed it.
    """

    mutant: Mutant
    fate: Fate
    by: str
    seconds: float
    expected: bool = True


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of pytest: its exit code (None: out of time), what failed first, what began last, and its output."""

    code: int | None
    failed: str
    last: str
    output: str


class Bench:
    """A folder with a clean copy of the working tree, and a copy for each mutant that is being tried.

    Args:
        folder: Empty.
        limit: Seconds that the tests named by a patch may take.
        suite_limit: Seconds that the whole suite may take.
    """

    def __init__(self, folder: Path, limit: float, suite_limit: float) -> None:
        self._folder = folder
        self._limit = limit
        self._suite_limit = suite_limit
        self._clean = folder / "clean"
        shutil.copytree(ROOT, self._clean, ignore=_LEFT_OUT)

    def clean(self, mutants: Sequence[Mutant], jobs: int) -> str | None:
        """Run the named tests of all of them without a fault; why that tells nothing, or None."""
        tests = sorted({test for mutant in mutants for test in mutant.killers})
        run = self._pytest(self._clean, "clean", (), tests, self._suite_limit, jobs)
        if run.code == _PASSED:
            return None
        return f"{run.failed or run.last or 'pytest'} (exit code {run.code})\n{run.output}"

    def tried(self, mutant: Mutant) -> Result:
        """Try one."""
        began = time.monotonic()
        tree = self._folder / mutant.name
        try:
            texts = mutant.applied(lambda path: (self._clean / path).read_text())
        except (PatchError, OSError) as error:
            return Result(mutant, Fate.UNTRIED, str(error), 0.0)
        shutil.copytree(self._clean, tree, ignore=_LEFT_OUT)
        try:
            for path, text in texts.items():
                (tree / path).write_text(text)
            fate, by, expected = self._judged(mutant, tree)
        finally:
            shutil.rmtree(tree, ignore_errors=True)
        return Result(mutant, fate, by, time.monotonic() - began, expected)

    def _judged(self, mutant: Mutant, tree: Path) -> tuple[Fate, str, bool]:
        fate, by = self._verdict(mutant, tree, mutant.killers, self._limit, 0)
        if fate is not Fate.SURVIVED:
            return fate, by, True
        fate, by = self._verdict(mutant, tree, _SUITE, self._suite_limit, 2)
        return fate, by, False

    def _verdict(
        self, mutant: Mutant, tree: Path, tests: Sequence[str], limit: float, workers: int
    ) -> tuple[Fate, str]:
        run = self._pytest(tree, mutant.name, mutant.modules, tests, limit, workers)
        if run.code == _PASSED:
            return Fate.SURVIVED, ""
        if run.code in _FAILED and run.failed:
            return Fate.KILLED, run.failed
        if run.code is None:
            again = self._pytest(self._clean, f"{mutant.name}-clean", (), tests, limit, workers)
            if again.code == _PASSED:
                return Fate.KILLED, f"{run.last} (hangs)"
            return Fate.UNTRIED, f"the clean tree does not pass in time either: {again.failed or again.last}"
        return Fate.UNTRIED, f"pytest ended with {run.code}: {run.output.strip()[-500:]}"

    def _pytest(
        self, tree: Path, name: str, modules: Sequence[str], tests: Sequence[str], limit: float, workers: int
    ) -> _Run:
        notes = self._folder / f"{name}.notes"
        notes.write_text("")
        environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MUTANT_ROOT": str(tree),
            "MUTANT_NOTES": str(notes),
            "MUTANT_MODULES": " ".join(modules),
        }
        command = [sys.executable, "-m", "pytest", "-x", "-n", str(workers), "-p", "tests.mutants.witness"]
        command += ["-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=short", *tests]
        with (self._folder / f"{name}.log").open("w+") as log:
            process = subprocess.Popen(
                command, cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            code = _waited(process, limit)
            log.seek(0)
            output = log.read()
        lines = [line.partition(" ")[::2] for line in notes.read_text().splitlines()]
        failed = [what for kind, what in lines if kind == "failed"]
        begun = [what for kind, what in lines if kind == "began"]
        return _Run(code, failed[0] if failed else "", begun[-1] if begun else "", output[-3000:])


def _waited(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """The exit code; None, and the whole group of processes killed, when the time is over."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
