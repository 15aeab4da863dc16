"""The examples do what they say, and survive being killed: real processes, real files, SIGKILL."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60

pytestmark = pytest.mark.slow


class Program:
    """An example in a process of its own, in a directory of its own."""

    def __init__(self, name: str, directory: Path, *options: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(EXAMPLES / f"{name}.py"), f"sqlite:///{name}.db", *options],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> str:
        """All that it prints until its end, which is a good one."""
        try:
            said, _ = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
            pytest.fail(f"{self.name} did not end:\n{said}")
        assert self.process.returncode == 0, said
        return said

    def killed_at(self, text: str) -> None:
        """Read until it prints this, then kill it."""
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            said.append(line)
            if text in line:
                break
        else:
            pytest.fail(f"{self.name} never said {text!r}:\n{''.join(said)}")
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def effects(directory: Path, name: str) -> list[str]:
    """What the example did to the world, without the idempotency keys."""
    path = directory / f"{name.replace('_', '-')}-effects.txt"
    return [re.sub(r"^\S*/\S+ ", "", line) for line in path.read_text().splitlines()]


KILLS = [
    ("order", "asked the bank", "Done: ch_42"),
    ("approval", "asked eve", "Done: granted by eve"),
    ("crawl", "page-07.txt", "Done: 950 characters"),
    ("reminder", "Welcome!", "Done: two letters"),
    ("trip", "booked hotel in atlantis", "Done: one trip paid"),
    ("trip", "booked flight to paris", "Done: one trip paid"),
    ("agent", "tool: list_files", "Done: The disk is clean."),
    ("agent", "asked about delete", "Done: The disk is clean."),
    ("several_workers", "killing the first worker", "Done: 12 shipments"),
    ("on_complete", "Ada hears: division-4", "Done: three runs"),
]


@pytest.mark.parametrize(("name", "moment", "done"), KILLS, ids=[f"{name} at {moment}" for name, moment, _ in KILLS])
def test_an_example_that_is_killed_goes_on_where_it_was(tmp_path: Path, name: str, moment: str, done: str) -> None:
    Program(name, tmp_path).killed_at(moment)
    said = Program(name, tmp_path).end()
    assert "Resuming run" in said
    assert done in said


def test_every_example_has_its_row_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {name for name, _, _ in KILLS}


def test_the_order_is_charged_once_whatever_happens(tmp_path: Path) -> None:
    Program("order", tmp_path).killed_at("charged 9.99")
    Program("order", tmp_path).killed_at("wrote to")
    assert "Done: ch_42" in Program("order", tmp_path).end()
    assert Counter(effects(tmp_path, "order"))["charged 9.99"] == 1


def test_a_declined_card_is_not_tried_again(tmp_path: Path) -> None:
    program = Program("order", tmp_path, "--total", "2000")
    said, _ = program.process.communicate(timeout=SECONDS)
    assert program.process.returncode == 1
    assert "CardDeclined" in said
    assert effects(tmp_path, "order") == ["asked the bank", "asked the bank"]


@pytest.mark.parametrize(
    ("options", "result"),
    [(("--answer", "no"), "refused by eve"), (("--answer", "nothing", "--patience", "1s"), "timed out")],
    ids=["refused", "timed out"],
)
def test_an_approval_that_is_not_given_provisions_nothing(
    tmp_path: Path, options: tuple[str, ...], result: str
) -> None:
    assert f"Done: {result}" in Program("approval", tmp_path, *options).end()
    assert effects(tmp_path, "approval") == ["asked eve"]


def test_the_trip_that_cannot_be_paid_is_undone(tmp_path: Path) -> None:
    Program("trip", tmp_path).end()
    done = Counter(effects(tmp_path, "trip"))
    assert done["paid for hotel in paris and flight to paris"] == 1
    assert done["cancelled hotel in atlantis"] == done["booked hotel in atlantis"] == 1
    assert done["cancelled flight to atlantis"] == done["booked flight to atlantis"] == 1
    assert not any("atlantis" in text and "paid" in text for text in done)


def test_no_tool_of_the_agent_runs_twice(tmp_path: Path) -> None:
    Program("agent", tmp_path).killed_at("tool: list_files")
    Program("agent", tmp_path).killed_at("tool: delete")
    said = Program("agent", tmp_path).end()
    assert "Resuming" in said
    assert Counter(effects(tmp_path, "agent")) == Counter(["list_files .", "disk_usage .", "delete old.log"])


def test_a_refused_tool_does_not_run(tmp_path: Path) -> None:
    Program("agent", tmp_path, "--refuse").end()
    assert "delete old.log" not in effects(tmp_path, "agent")


@pytest.mark.needs("polling", reason="a killed process says nothing: another one has to look")
def test_the_second_worker_finishes_what_the_killed_one_began(tmp_path: Path) -> None:
    said = Program("several_workers", tmp_path).end()
    assert "killing the first worker" in said
    parts = {line.partition(" by ")[0] for line in effects(tmp_path, "several_workers")}
    assert parts == {f"box {box} part {part}" for box in range(12) for part in range(3)}


def test_each_end_is_told_once(tmp_path: Path) -> None:
    Program("on_complete", tmp_path).end()
    told = effects(tmp_path, "on_complete")
    assert sorted(text.split(", ")[1] for text in told) == ["canceled", "error", "success"]
