"""Writes that wait share a transaction, and nothing else: each has its own answer and its own error."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlite_child import LANES, new_run, session

from durable.errors import InvalidInput, OutcomeUnknown, StoreError, StoreFull, Transient
from durable.store import Commit, Created, Creation, Message, MessageId, MessageKind, RunId, Sent, Verdict, Want
from durable_sqlite import SqliteStore, connection


class Held:
    """The writing line stands still, so that what is asked for meanwhile waits."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.statements: list[str] = []
        self._go = threading.Event()

    async def __aenter__(self) -> Held:
        def stand(raw: sqlite3.Connection) -> None:
            assert self._go.wait(30)
            raw.set_trace_callback(self.statements.append)

        self._standing = asyncio.ensure_future(self.store._database.run_writer(stand))
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._go.set()
        await self._standing

    def go(self) -> None:
        self._go.set()

    def count(self, statement: str) -> int:
        return self.statements.count(statement)


async def asked(*calls: Any) -> list[asyncio.Future[Any]]:
    """Under way, in this order."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def test_starts_that_wait_share_one_transaction(store: SqliteStore) -> None:
    async with Held(store) as held:
        starts = await asked(*[store.create([new_run(f"r{n % 40}")]) for n in range(50)])
    answers: list[list[Created]] = await asyncio.gather(*starts)
    assert [answer[0].outcome for answer in answers] == [Creation.CREATED] * 40 + [Creation.EXISTED] * 10
    assert held.count("COMMIT") == 1
    assert (await store.stats())["runs.pending"] == 40


async def test_other_processes_get_a_turn_between_very_many(store: SqliteStore) -> None:
    async with Held(store) as held:
        starts = await asked(*[store.create([new_run(f"r{n}")]) for n in range(200)])
    await asyncio.gather(*starts)
    assert held.count("COMMIT") == 4


async def test_writes_of_different_kinds_are_carried_out_in_the_order_in_which_they_were_asked_for(
    store: SqliteStore,
) -> None:
    async with Held(store) as held:
        message = Message(RunId("r"), MessageId("m"), MessageKind.SIGNAL, "go", b"", 1)
        too_early, start, sent, again = await asked(
            store.send([message]), store.create([new_run("r")]), store.send([message]), store.send([message])
        )
    assert await too_early == [Sent.NOT_FOUND]
    assert (await start)[0].outcome is Creation.CREATED
    assert await sent == [Sent.ACCEPTED]
    assert await again == [Sent.DUPLICATE]
    assert held.count("COMMIT") == 1


async def test_one_that_cannot_be_stored_spoils_none_of_the_others(store: SqliteStore) -> None:
    async with Held(store):
        bad = replace(new_run("bad"), labels={"name": "\ud800"})
        tasks = await asked(
            store.create([new_run("a")]),
            store.create([bad]),
            store.put_record("kind", "key", b"value"),
            store.create([new_run("b"), bad, new_run("c")]),
        )
    first, refused, record, mixed = await asyncio.gather(*tasks, return_exceptions=True)
    assert first[0].outcome is Creation.CREATED
    assert isinstance(refused, InvalidInput)
    assert record.version == 1
    assert isinstance(mixed, InvalidInput)
    assert [run is not None for run in await store.get([RunId(id) for id in ("a", "bad", "b", "c")])] == [
        True,
        False,
        True,
        True,
    ]
    assert await store.check() == []


async def test_a_commit_of_a_lost_lease_among_others_is_refused_and_the_others_are_applied(store: SqliteStore) -> None:
    await store.create([new_run(f"r{n}") for n in range(6)])
    claims = (await store.poll(session("s"), Want("p", LANES, 6))).claims
    batch = [Commit(claim.run.id, claim.run.epoch, 0, 0, (b"entry",)) for claim in claims]
    batch[2] = replace(batch[2], epoch=batch[2].epoch + 1)
    async with Held(store):
        start, commit = await asked(store.create([new_run("new")]), store.commit(batch))
    assert (await start)[0].outcome is Creation.CREATED
    assert [answer.verdict for answer in await commit] == [
        Verdict.LEASE_LOST if n == 2 else Verdict.APPLIED for n in range(6)
    ]
    assert (await store.stats())["entries"] == 5


async def test_a_call_that_was_cancelled_is_carried_out_with_the_others(store: SqliteStore) -> None:
    async with Held(store):
        cancelled, other = await asked(store.create([new_run("a")]), store.create([new_run("b")]))
        cancelled.cancel()
        await asyncio.sleep(0)
    await other
    assert cancelled.cancelled()
    assert None not in await store.get([RunId("a"), RunId("b")])


async def test_calls_from_two_loops_share_a_transaction_and_each_loop_gets_its_answer(store: SqliteStore) -> None:
    def elsewhere() -> list[Created]:
        return list(asyncio.run(start_there()))

    async def start_there() -> Any:
        added.set()
        return await store.create([new_run("there")])

    added = threading.Event()
    async with Held(store):
        (here,) = await asked(store.create([new_run("here")]))
        there = asyncio.ensure_future(asyncio.to_thread(elsewhere))
        await asyncio.to_thread(added.wait, 30)
    assert (await here)[0].outcome is Creation.CREATED
    assert (await asyncio.wait_for(there, 30))[0].outcome is Creation.CREATED


async def test_closing_carries_out_what_waits(url: str) -> None:
    store = SqliteStore(url)
    await store.open()
    async with Held(store) as held:
        starts = await asked(*[store.create([new_run(f"r{n}")]) for n in range(5)])
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="not open"):
            await store.create([new_run("late")])
        held.go()
        await asyncio.gather(*starts)
        await closing
    await store.open()
    assert (await store.stats())["runs.pending"] == 5
    await store.close()


@pytest.mark.parametrize(
    ("failure", "known_as", "transactions"),
    [
        (sqlite3.OperationalError("database is locked"), Transient, 1),
        (OutcomeUnknown("half-way"), OutcomeUnknown, 1),
        (sqlite3.OperationalError("database or disk is full"), StoreFull, 4),
    ],
    ids=["busy", "outcome unknown", "full"],
)
async def test_when_the_store_fails_each_caller_is_told(
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    known_as: type[StoreError],
    transactions: int,
) -> None:
    """Whether it was written is unknown to all if it is to one; a disk may be full for one, and not for another."""
    if isinstance(failure, sqlite3.Error):
        failure.sqlite_errorcode = 5 if known_as is Transient else 13
    tried: list[int] = []

    def fail(self: object, raw: sqlite3.Connection, body: Callable[[sqlite3.Connection], Any], synced: bool) -> Any:
        tried.append(1)
        raise failure

    async with Held(store):
        starts = await asked(*[store.create([new_run(f"r{n}")]) for n in range(3)])
        monkeypatch.setattr(connection.Transactions, "_write", fail)
        monkeypatch.setattr(connection, "BUSY_SECONDS_MAX", 0.0)
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [known_as] * 3
    assert len(tried) == transactions
    monkeypatch.undo()
    assert (await store.stats())["runs.pending"] == 0
