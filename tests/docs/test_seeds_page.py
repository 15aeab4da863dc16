"""The tests that docs/seeds.md names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "seeds.md"
NAMED = sorted(set(re.findall(r"`([a-z0-9_/]+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_proves_a_feature_exists(file: str, name: str) -> None:
    above = "durable_testing" if file.startswith("conformance/") else "tests"
    assert re.search(rf"def {name}\(", (ROOT / above / file).read_text(encoding="utf-8")) is not None


def test_there_is_a_proof_for_most_rows() -> None:
    assert len(NAMED) > 50
