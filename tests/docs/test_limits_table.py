"""The tables of docs/limits.md say what durable/_model/defaults.py says, all of it and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from durable._model import defaults

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
CONSTANTS: dict[str, Any] = {name: value for name, value in vars(defaults).items() if name.isupper()}
ROWS: dict[str, str] = {
    match[2]: match[1].strip()
    for match in re.finditer(r"^\|[^|]+\|([^|]+)\| `([A-Z_]+)` \|$", PAGE.read_text(encoding="utf-8"), re.M)
}


def test_every_constant_has_a_row_and_every_row_a_constant() -> None:
    assert set(ROWS) == set(CONSTANTS)


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_a_row_gives_the_value_of_its_constant(name: str) -> None:
    given, value = ROWS[name], CONSTANTS[name]
    if isinstance(value, str):
        assert given == f"`{value}`"
        return
    number, _, unit = given.partition(" ")
    assert float(number.replace(",", "")) == value
    expected = {"SECONDS": "s", "BYTES": "bytes", "ENTRIES": "entries"}
    assert unit == next((word for part, word in expected.items() if part in name), "")
