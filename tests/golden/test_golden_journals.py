"""Journals recorded on each supported Python replay on this one, call by call (rule 12)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "unit" / "core"))

from replay_driver import Recording, assert_replays, assert_replays_from_everywhere, close_all  # noqa: E402
from replay_programs import BY_NAME  # noqa: E402

FILES = sorted(HERE.glob("journals-*.jsonl"))


def test_there_are_journals_of_every_supported_python() -> None:
    assert {file.stem.split("-")[1] for file in FILES} >= {"3.11", "3.12", "3.13"}


@pytest.mark.slow
@pytest.mark.needs("batches", reason="a recording says how many commands each of its commits took")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_golden_journal_replays(file: Path) -> None:
    for line in file.read_text().splitlines():
        recording = Recording.unpacked(json.loads(line))
        program = BY_NAME[recording.program]
        try:
            assert_replays(program, recording)
            assert_replays_from_everywhere(program, recording)
        except BaseException as error:
            error.add_note(f"program {program.name} in {file.name}")
            raise
        finally:
            close_all()
