"""``durable doctor``: what it finds on real stores, and how it exits."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from durable import Client, Context, Signal, Worker, connect, workflow
from durable._engine.troubles import Trouble
from durable.cli.premises import bytes_text, sqlite_file
from durable.store import SessionId, WorkerSession

pytestmark = pytest.mark.slow

number = Signal("number", int)


@workflow
async def waits(ctx: Context) -> int:
    return await ctx.wait_for_signal(number)


def on(shell: Shell, work: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with a client of the shell's store."""

    async def main() -> Any:
        async with connect(shell.url) as client:
            return await work(client)

    return asyncio.run(main())


def change(shell: Shell, statement: str, *values: Any) -> None:
    """Change the store's rows behind its back."""
    raw = sqlite3.connect(shell.url.removeprefix("sqlite:///"))
    assert raw.execute(statement, values).rowcount > 0
    raw.commit()
    raw.close()


def checked(shell: Shell, code: int) -> dict[str, dict[str, Any]]:
    """The verdicts by their checks."""
    result = shell("doctor", "-o", "json")
    assert result.exit_code == code, (result.output, result.exception)
    told = json.loads(result.stdout)
    assert told["ok"] is (code == 0)
    assert all(check["ok"] for check in told["checks"]) is (code == 0)
    return {check["check"]: check for check in told["checks"]}


def to_look_at(shell: Shell) -> dict[str, list[str]]:
    """What is not in order, with its items."""
    return {name: check["items"] for name, check in checked(shell, 1).items() if not check["ok"]}


@pytest.fixture
def store(shell: Shell) -> Shell:
    """A store with one run that has ended."""
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1")
    return shell


def test_a_healthy_store_has_nothing_to_look_at(store: Shell) -> None:
    result = store("doctor")
    assert (result.exit_code, result.stderr) == (0, "Nothing to look at.\n")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok"] * 15
    checks = checked(store, 0)
    assert list(checks)[:5] == ["files", "room", "log", "store", "writing"]
    assert "schema" in checks["versions"]["said"]
    assert list((store.directory).glob("*.new")) == []


def test_looking_leaves_nothing_behind(store: Shell) -> None:
    checked(store, 0)

    async def records(client: Client) -> Any:
        return await client.store.list_records("durable.probe")

    assert on(store, records) == []


def test_a_store_that_is_not_there_is_not_made(shell: Shell) -> None:
    result = shell("doctor")
    assert result.exit_code == 5
    assert "There is no store" in result.stderr
    assert not (shell.directory / "runs.db").exists()


def test_a_damaged_or_foreign_file_is_exit_code_5(shell: Shell) -> None:
    (shell.directory / "runs.db").write_text("this is not a database at all, but it is long enough to be looked at")
    (shell.directory / "runs.db").chmod(0o600)
    checks = checked_anyway(shell)
    assert not checks["store"]["ok"]
    assert checks["store"]["items"][0].startswith("Corrupt: ")
    assert "writing" not in checks


def checked_anyway(shell: Shell) -> dict[str, dict[str, Any]]:
    result = shell("doctor", "-o", "json")
    assert result.exit_code == 5
    return {check["check"]: check for check in json.loads(result.stdout)["checks"]}


def test_a_store_that_cannot_be_written_is_exit_code_5(store: Shell) -> None:
    path = store.url.removeprefix("sqlite:///")
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")  # another program that does not let go
    try:
        checks = checked_anyway(store)
    finally:
        other.close()
    assert checks["store"]["ok"]
    assert not checks["writing"]["ok"]
    assert checks["writing"]["items"][0].startswith("Transient: ")
    assert checks["integrity"]["ok"]


def test_files_that_others_can_read_are_named(store: Shell) -> None:
    path = store.directory / "runs.db"
    path.chmod(0o644)
    assert to_look_at(store) == {
        "files": [f"{path} (0644) is open to other users, and payloads are readable: chmod 600"]
    }
    path.chmod(0o600)
    store.directory.chmod(0o777)
    assert "can be written by everybody" in to_look_at(store)["files"][0]


def test_a_disk_that_is_nearly_full_is_named(store: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from durable.cli import premises

    free = premises.shutil.disk_usage(store.directory).free
    monkeypatch.setattr(premises, "_FREE_BYTES_MIN", free * 2)
    assert list(to_look_at(store)) == ["room"]


def test_a_log_that_is_never_folded_in_is_named(store: Shell) -> None:
    log = Path(f"{store.directory}/runs.db-wal")
    log.touch(0o600)
    from durable.cli.premises import look_around

    os.truncate(log, 64 * 1024 * 1024)  # sparse
    assert all(one.ok for one in look_around(store.directory / "runs.db") if one.check == "log")
    os.truncate(log, 200 * 1024 * 1024)
    verdict = next(one for one in look_around(store.directory / "runs.db") if one.check == "log")
    assert not verdict.ok
    assert verdict.said == "write-ahead log of 209.7 MB"


def test_problems_of_the_data_are_named(store: Shell) -> None:
    change(store, "DELETE FROM outcomes")
    assert to_look_at(store) == {"integrity": ["run h1: ended without an outcome"]}


def test_a_clock_that_was_set_back_is_named(store: Shell) -> None:
    change(store, "UPDATE runs SET at = at + 500")
    found = to_look_at(store)
    assert list(found) == ["clock"]
    assert "in the future: a clock was set back" in found["clock"][0]


def test_runs_without_a_worker_are_named(store: Shell) -> None:
    store.data("start", f"{store.app}:waits", "-i", '"x"', "--id", "w1")
    assert to_look_at(store) == {"workers": ["No worker is alive, with 1 run still to be worked on: start one."]}

    async def another(client: Client) -> dict[str, list[str]]:
        async with Worker(client, workflows=[waits], queues=["mail"]):
            return await asyncio.to_thread(to_look_at, store)

    assert on(store, another) == {"lanes": ["No worker for 1 run of workflow waits version 1 on queue default."]}


def test_a_worker_that_is_gone_with_its_runs_is_named(store: Shell) -> None:
    store.data("start", f"{store.app}:hello", "-i", '"x"', "--id", "h2")
    now = time.time()
    session = WorkerSession(SessionId("s1"), "gone/1", 15.0, (("hello", "1"),), ("default",))

    async def leave_a_session(client: Client) -> None:
        await client.store.renew(session)

    on(store, leave_a_session)
    change(store, "UPDATE sessions SET expires_at = ?, seen_at = ?", now - 100, now - 115)
    change(store, "UPDATE runs SET owner = 's1', due_at = NULL, status = 'running' WHERE id = 'h2'")
    found = to_look_at(store)
    assert found["workers"][0] == "Worker gone/1 is gone and still holds 1 run: no other worker has polled since."


def test_blocked_struck_and_overdue_runs_are_named(store: Shell) -> None:
    for name in ("b1", "s1", "o1"):
        store.data("start", f"{store.app}:hello", "-i", f'"{name}"', "--id", name)
    change(store, "UPDATE runs SET status = 'blocked', due_at = NULL WHERE id = 'b1'")
    change(store, "UPDATE runs SET strikes = 5 WHERE id = 's1'")
    change(store, "UPDATE runs SET due_at = due_at - 3700 WHERE id = 'o1'")
    found = to_look_at(store)
    assert found["blocked"] == ["unknown: b1. See durable runs why b1"]
    assert found["strikes"] == ["s1 was claimed 5 times without progress."]
    assert found["overdue"][0].startswith("o1 is due since 1h 01m")


def test_dead_letters_are_named(store: Shell) -> None:
    async def spoil(client: Client) -> None:
        async with Worker(client, workflows=[waits]):
            handle = await client.start(waits, id="w1")
            await handle.signal("number", "seven")
            await handle.signal(number, 7)
            assert await handle.result(timeout=20) == 7

    on(store, spoil)
    found = to_look_at(store)
    assert list(found) == ["letters"]
    assert found["letters"][0].startswith("w1: signal number: ")


def test_trouble_of_workers_is_named(store: Shell) -> None:
    now = time.time()

    async def tell(client: Client) -> None:
        for key, since, until in (("s1", now - 12.0, None), ("s2", now - 90.0, now - 60.0)):
            said = {"worker": f"web-{key}", "error": "StoreFull: no room", "since": since, "until": until}
            await client.store.put_record("durable.weather", key, json.dumps(said).encode(), keep_seconds=60.0)

    on(store, tell)
    items = to_look_at(store)["weather"]
    assert items[0].startswith("Worker web-s1 has trouble with the store since ")
    assert items[0].endswith(": StoreFull: no room")
    assert items[1].startswith("Worker web-s2 had trouble with the store for 30 s, which ended ")


def test_why_tells_of_a_workers_trouble_and_of_a_store_that_cannot_be_written(store: Shell) -> None:
    store.data("start", f"{store.app}:hello", "-i", '"x"', "--id", "h2")

    async def tell(client: Client) -> None:
        said = {"worker": "web-1", "error": "StoreFull: no room", "since": time.time(), "until": None}
        await client.store.put_record("durable.weather", "s1", json.dumps(said).encode(), keep_seconds=60.0)

    assert "trouble" not in store.data("runs", "why", "h2")
    on(store, tell)
    assert "Worker web-1 has trouble with the store since" in store.data("runs", "why", "h2")
    assert "trouble" not in store.data("runs", "why", "h1")
    change(store, "UPDATE runs SET due_at = due_at - 60 WHERE id = 'h2'")
    assert "cannot be written" not in store.data("runs", "why", "h2")
    other = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    other.execute("BEGIN IMMEDIATE")
    try:
        assert "The store cannot be written: Transient: " in store.data("runs", "why", "h2")
    finally:
        other.close()


def test_other_stores_have_no_file(shell: Shell) -> None:
    assert sqlite_file("memory://") is None
    assert sqlite_file("sqlite:///:memory:") is None
    assert sqlite_file("sqlite:////var/lib/x.db?create=false") == Path("/var/lib/x.db")
    result = shell("doctor", "--store", "memory://doctor", "-o", "jsonl")
    assert result.exit_code == 0
    assert [check["check"] for check in json.loads(result.stdout)["checks"]][0] == "store"


def test_bytes_and_troubles_are_written_for_people() -> None:
    assert [bytes_text(count) for count in (0, 999, 143_360, 5 * 10**12)] == ["0 B", "999 B", "143.4 kB", "5.0 TB"]
    trouble = Trouble("s1", "web-1", "Transient: busy", 100.0, None)
    assert trouble.sentence(112.0).endswith("since 00:01:40 UTC: Transient: busy")
