"""The table of docs/reliability.md names the invariants that the checker has, and no other as the checker's."""

from __future__ import annotations

import re
from pathlib import Path

from durable_testing.invariants import INVARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
ROWS = dict(re.findall(r"^\| (I\d+) \|.*\| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.M))


def test_the_table_has_every_number_from_1_to_30() -> None:
    assert list(ROWS) == [f"I{number}" for number in range(1, 31)]


def test_the_checker_has_what_the_table_says_that_it_has() -> None:
    told = {number for number, where in ROWS.items() if where.startswith("checker")}
    assert told == {rule.number for rule in INVARIANTS}
