"""The tables of docs/testing.md tell of every fault and of every argument that they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from durable_testing.faults import MEANINGS, OPERATION_FAULTS, FaultKind
from durable_testing.plans import durations
from durable_testing.sim import Sim

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
TABLES = TEXT.split("| `FaultKind` | what happens | seconds |\n|---|---|---|\n")[1:]


def rows(kinds: list[FaultKind]) -> list[str]:
    return [
        f"| `{kind.value}` | {MEANINGS[kind]} | {', '.join(f'{seconds:g}' for seconds in durations(kind))} |"
        for kind in kinds
    ]


@pytest.mark.parametrize("number, of_an_operation", [(0, True), (1, False)])
def test_every_fault_is_in_its_table_with_its_meaning_and_durations(number: int, of_an_operation: bool) -> None:
    wanted = rows([kind for kind in FaultKind if (kind in OPERATION_FAULTS) is of_an_operation])
    assert TABLES[number].split("\n\n")[0].splitlines() == wanted


def test_the_verbs_in_the_table_of_the_simulator_are_there() -> None:
    verbs = set(re.findall(r"^\| `(?:await )?sim\.(\w+)\(", TEXT, re.M))
    assert verbs == {"advance", "run_until_idle", "now", "stub", "calls", "crash", "redeploy"}
    assert all(callable(getattr(Sim, verb)) for verb in verbs)
