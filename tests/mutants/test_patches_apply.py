"""Every mutant still fits the tree; whether the tests still find it is told by ``python -m tests.mutants``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants import report
from tests.mutants.patches import FOLDER, ROOT, Hunk, Mutant, PatchError, load, load_all
from tests.mutants.trial import Fate, Result

NAMES = sorted(path.stem for path in FOLDER.glob("*.patch"))
MUTANTS_MIN = 36


@functools.cache
def text_of(path: str) -> str:
    return (ROOT / path).read_text()


def named_by(killer: str) -> Iterator[tuple[str, str]]:
    """(file, test) that a patch names; the test of a contract is written in the kit."""
    file, *inner = killer.partition("[")[0].split("::")
    yield file, inner[-1] if inner else ""


@pytest.mark.parametrize("name", NAMES)
def test_the_patch_applies_and_what_it_makes_compiles(name: str) -> None:
    for path, text in load(FOLDER / f"{name}.patch").applied(text_of).items():
        assert text != text_of(path)
        compile(text, path, "exec")


def test_the_tests_that_are_expected_to_kill_are_there() -> None:
    kit = "".join(path.read_text() for path in sorted((ROOT / "durable_testing" / "conformance").glob("*.py")))
    missing = [
        (mutant.name, killer)
        for mutant in load_all()
        for killer in mutant.killers
        for file, test in named_by(killer)
        if not (ROOT / file).is_file()
        or (test and re.search(rf"def {test}\b", text_of(file) + (kit if "conformance" in file else "")) is None)
    ]
    assert missing == []


def test_there_are_enough_and_no_two_are_the_same() -> None:
    mutants = load_all()
    assert len(mutants) >= MUTANTS_MIN
    assert len({mutant.hunks for mutant in mutants}) == len(mutants)


def test_the_page_tells_of_each() -> None:
    assert re.findall(r"^\| `([a-z0-9_-]+)` \|", report.PAGE.read_text(), re.MULTILINE) == NAMES


def test_a_hunk_is_found_wherever_its_lines_have_gone() -> None:
    hunk = Hunk("a.py", ("b", "c"), ("b", "x"))
    assert hunk.apply("a\nb\nc\nd\n") == "a\nb\nx\nd\n"
    assert hunk.apply("a\n\n\nb\nc\n") == "a\n\n\nb\nx\n"


def test_a_hunk_is_found_where_its_context_has_changed() -> None:
    hunk = Hunk("a.py", ("b", "c", "d"), ("b", "x", "d"))
    assert hunk.apply("b\nc\nz\n") == "b\nx\nz\n"
    insertion = Hunk("a.py", ("b", "c"), ("b", "x", "c"))
    assert insertion.apply("y\nc\n") == "y\nx\nc\n"


@pytest.mark.parametrize("text", ["a\nb\nd\n", "b\nc\nb\nc\n"])
def test_a_hunk_that_fits_nowhere_or_twice_is_refused(text: str) -> None:
    with pytest.raises(PatchError, match="places"):
        Hunk("a.py", ("b", "c"), ("b", "x")).apply(text)


def test_a_patch_without_its_head_or_without_a_change_is_refused(tmp_path: Path) -> None:
    body = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n b\n-c\n+x\n"
    head = "Fault: f\nStands for: s\nKilled by: tests/t.py\n"
    path = tmp_path / "m.patch"
    path.write_text(head + body)
    assert load(path) == Mutant("m", "f", "s", ("tests/t.py",), (Hunk("a.py", ("b", "c"), ("b", "x")),))
    path.write_text(body)
    with pytest.raises(PatchError, match="lacks Fault, Stands for, Killed by"):
        load(path)
    path.write_text(head)
    with pytest.raises(PatchError, match="changes nothing"):
        load(path)


def test_one_survivor_is_enough_to_fail() -> None:
    mutant = Mutant("m", "f", "s", ("tests/t.py",), ())
    killed, survived, untried = (Result(mutant, fate, "", 0.0) for fate in (Fate.KILLED, Fate.SURVIVED, Fate.UNTRIED))
    assert report.exit_code([killed, killed]) == 0
    assert report.exit_code([killed, survived]) == 1
    assert report.exit_code([survived, untried]) == 2
