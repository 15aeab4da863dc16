"""A journal replays in any process: another hash seed, another Python (I12, rule 12)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from replay_driver import find_interpreters, record
from replay_programs import PROGRAMS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
HASH_SEEDS = ("0", "1", "7", "123")


def _started(interpreter: str, hash_seed: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [interpreter, str(HERE / "replay_driver.py"), *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _said(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


@pytest.mark.slow
def test_journals_replay_in_processes_with_other_hash_seeds_and_on_other_pythons(tmp_path: Path) -> None:
    lines = [json.dumps(record(program, seed).packed()) for program in PROGRAMS for seed in (11, 12)]
    file = tmp_path / "journals.jsonl"
    file.write_text("\n".join(lines) + "\n")
    interpreters = [sys.executable, *find_interpreters()]
    running = [_started(one, seed, "check", str(file)) for one in interpreters for seed in HASH_SEEDS]
    assert [_said(process) for process in running] == [f"{len(lines)}\n"] * len(running)


@pytest.mark.slow
def test_the_same_order_of_events_gives_the_same_bytes_on_every_python_and_with_every_hash_seed() -> None:
    interpreters = [sys.executable, *find_interpreters()]
    running = [_started(one, str(n), "record", "3", "2") for n, one in enumerate([sys.executable, *interpreters])]
    assert len({_said(process) for process in running}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_supported_python_was_there_to_be_tried(version: str) -> None:
    """Tells by a skip which Pythons the tests above have not seen."""
    versions = [f"{sys.version_info[0]}.{sys.version_info[1]}"]
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    versions += [
        subprocess.run([one, "-c", probe], capture_output=True, text=True).stdout.strip() for one in find_interpreters()
    ]
    if version not in versions:
        pytest.skip(f"no Python {version} here that can import pydantic; name one in DURABLE_PYTHONS")
