"""The diagram in the docs is the table in the code."""

import re
from pathlib import Path

from durable._model.runs import ENDED, TRANSITIONS, RunStatus

PAGE = Path(__file__).parents[2] / "docs" / "how-it-works.md"


def drawn() -> list[str]:
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    lines += [f"    {a} --> {b}" for a in RunStatus for b in sorted(TRANSITIONS[a])]
    return lines + [f"    {status} --> [*]" for status in RunStatus if status in ENDED]


def test_the_state_diagram_is_drawn_from_the_table_of_transitions() -> None:
    block = re.search(r"^```mermaid\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert block is not None
    assert block[1].splitlines() == drawn()
