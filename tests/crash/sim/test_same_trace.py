"""The same schedule gives the same trace: again, in another process, whatever the hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.sim.hashes import NAMES, hashes

ROOT = Path(__file__).parents[3]


def test_a_schedule_gives_the_same_trace_again() -> None:
    first = list(hashes())
    assert len(first) == 3 * len(NAMES)
    assert first == list(hashes())


def test_different_schedules_give_different_traces() -> None:
    seen = [line.split(" events")[0].split()[-2] for line in hashes()]
    assert len(set(seen)) == len(seen)


@pytest.mark.slow
def test_a_schedule_gives_the_same_trace_in_every_process() -> None:
    command = [sys.executable, "-m", "tests.crash.sim.hashes"]
    children = [
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(seed)}, stdout=subprocess.PIPE, text=True
        )
        for seed in (1, 2, 3, 4)
    ]
    told = [child.communicate(timeout=300)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert told == [list(hashes())] * 4


@pytest.mark.slow
def test_a_schedule_gives_the_same_trace_on_another_sqlite_file(tmp_path: Path) -> None:
    store, names = f"sqlite:///{tmp_path}/{{}}.db?durability=relaxed", ("tickets", "grandchildren")
    assert list(hashes(store, names)) == list(hashes(store, names))
