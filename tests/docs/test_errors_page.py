"""docs/errors.md tells of every error, and of none that does not exist."""

import re
from pathlib import Path

from durable import errors

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_every_error_has_one_row() -> None:
    rows = re.findall(r"^\| `([A-Za-z]+)[`(]", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(set(errors.__all__) - {"DurableError"})
