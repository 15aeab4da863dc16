"""The table of what asyncio does in workflows names programs that are there, and leaves none out."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "core"))

from replay_programs import PROGRAMS  # noqa: E402

PAGE = (ROOT / "docs" / "asyncio.md").read_text()
PRIMITIVES = (
    "gather wait wait_for as_completed timeout timeout_at TaskGroup shield sleep Queue PriorityQueue LifoQueue Event "
    "Lock Semaphore BoundedSemaphore Condition Barrier create_task all_tasks current_task"
)


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_program_of_the_catalogue_proves_a_row_and_every_row_is_proved() -> None:
    names = {program.name for program in PROGRAMS}
    proofs = [re.findall(r"`(\w+)`", row[-1]) for row in _rows() if set(re.findall(r"`(\w+)`", row[-1])) & names]
    assert {name for proof in proofs for name in proof} == names


def test_every_primitive_has_its_row() -> None:
    first_cells = " ".join(row[0] for row in _rows())
    for name in PRIMITIVES.split():
        assert hasattr(asyncio, name)
        assert re.search(rf"\b{name}\b", first_cells), name


def test_the_test_files_that_the_page_names_are_there() -> None:
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (ROOT / "tests" / "unit" / "core" / name).is_file(), name
