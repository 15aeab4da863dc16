"""The examples that the component's TypeScript is tested with are what Python writes today."""

from __future__ import annotations

from tests.convex.component import vectors


def test_the_examples_for_typescript_are_what_python_writes() -> None:
    assert vectors.FILE.read_text(encoding="ascii") == vectors.text()
