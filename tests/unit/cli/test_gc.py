"""``durable db gc``: what it would delete, what it deletes, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from cli_shell import Shell

from durable import connect
from durable.store import Commit, Ended, Lane, NewRun, RunId, RunStatus, SessionId, Want, WorkerSession

pytestmark = pytest.mark.slow

STATUSES = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


def fill(shell: Shell, runs: int, entry: bytes = b"", keep_seconds: float | None = None) -> None:
    """Ended runs: a third each completed, failed and cancelled; every second one of workflow ``odd``."""

    async def work() -> None:
        async with connect(shell.url) as client:
            store, session = client.store, WorkerSession(SessionId("s"), "s", 15.0)
            lanes = (Lane("default", "even", "1"), Lane("default", "odd", "1"))
            names = ["odd" if n % 2 else "even" for n in range(runs)]
            new = [
                NewRun(RunId(f"r{n:05}"), name, "1", "default", b"", "digest", "seed") for n, name in enumerate(names)
            ]
            await store.create(new)
            claims = []
            while len(claims) < runs:
                claims += (await store.poll(session, Want(f"p{len(claims)}", lanes, runs))).claims
            claims.sort(key=lambda claim: claim.run.id)
            await store.commit(
                [
                    Commit(
                        claim.run.id, claim.run.epoch, 0, 0, append=(entry,),
                        then=Ended(STATUSES[n % 3], b"", keep_seconds=keep_seconds),
                    )
                    for n, claim in enumerate(claims)
                ]
            )  # fmt: skip
            await store.leave(session.id)

    asyncio.run(work())


def told(shell: Shell, *words: str) -> object:
    return json.loads(shell.data("db", "gc", *words, "-o", "json"))


def left(shell: Shell) -> int:
    with sqlite3.connect(shell.url.removeprefix("sqlite:///")) as raw:
        (runs,) = raw.execute("SELECT count(*) FROM runs").fetchone()
    raw.close()
    return int(runs)


def test_a_dry_run_counts_what_would_go_and_changes_nothing(shell: Shell) -> None:
    fill(shell, 12)
    assert told(shell, "--dry-run") == {"would_delete": 0, "expired": 0, "by_status": {}}
    assert told(shell, "--dry-run", "--older-than", "1h")["would_delete"] == 0  # type: ignore[index]
    assert told(shell, "--dry-run", "--older-than", "0s") == {
        "would_delete": 12,
        "expired": 0,
        "by_status": {"completed": 4, "failed": 4, "cancelled": 4},
    }
    words = ("--older-than", "0s", "--status", "failed", "--workflow", "odd")
    assert told(shell, "--dry-run", *words) == {"would_delete": 2, "expired": 0, "by_status": {"failed": 2}}
    assert shell.data("db", "gc", "--dry-run", *words) == (
        "2 runs would be deleted (2 failed), 0 of them past their retention. Nothing was changed.\n"
    )
    assert left(shell) == 12
    assert told(shell, *words, "-y")["deleted"] == 2  # type: ignore[index]
    assert left(shell) == 10


def test_what_is_past_its_retention_goes_unasked_and_is_counted_once(shell: Shell) -> None:
    fill(shell, 9, keep_seconds=0.0)
    expected = {"would_delete": 9, "expired": 9, "by_status": {"completed": 3, "failed": 3, "cancelled": 3}}
    assert told(shell, "--dry-run") == told(shell, "--dry-run", "--older-than", "0s") == expected
    assert told(shell)["deleted"] == 9  # type: ignore[index]
    assert left(shell) == 0


def test_the_room_is_given_back_to_the_file_system(shell: Shell) -> None:
    fill(shell, 60, entry=b"x" * 50_000)
    file = Path(shell.url.removeprefix("sqlite:///"))
    before = file.stat().st_size
    assert before > 3_000_000
    said = shell.data("db", "gc", "--older-than", "0s", "-y")
    freed = re.search(r"^([0-9,]+) bytes given back to the file system\.$", said, re.MULTILINE)
    assert freed is not None
    assert before - file.stat().st_size == int(freed[1].replace(",", "")) > 2_500_000


def test_an_interruption_leaves_whole_runs_and_a_sound_store(shell: Shell) -> None:
    fill(shell, 6_000)
    sweeping = shell.process("db", "gc", "--older-than", "0s", "-y")
    deadline = time.monotonic() + 30
    while left(shell) == 6_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(sweeping.pid, signal.SIGINT)
    _, errors = sweeping.communicate(timeout=30)
    assert sweeping.returncode == 130, errors
    said = re.search(r"Interrupted: ([0-9,]+) runs deleted, the others are as they were\.", errors)
    assert said is not None, errors
    remaining = left(shell)
    assert 0 < remaining < 6_000
    assert 0 <= 6_000 - remaining - int(said[1].replace(",", "")) <= 100  # the batch that was under way
    assert shell("db", "check").exit_code == 0
    assert told(shell, "--older-than", "0s", "-y")["deleted"] == remaining  # type: ignore[index]
