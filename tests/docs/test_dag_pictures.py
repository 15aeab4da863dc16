"""The pictures in the documentation are what runs look like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_committed_pictures_are_those_of_a_run_of_today() -> None:
    pytest.importorskip("_quickjs")
    program = [sys.executable, str(ROOT / "examples" / "dag" / "pictures.py")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_picture_is_shown_on_a_page() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
    assert len(pictures) >= 3
    assert [one.name for one in pictures if f"(pictures/{one.name})" not in pages] == []
