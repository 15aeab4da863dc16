"""A poll that is asked for right behind a write joins its transaction, and tells which hints it has seen."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlite_child import LANES, new_run, session
from test_sqlite_together import Held, asked

from durable import Client, Context, Worker, Workflow, connect, step, workflow
from durable._engine.ahead import Asked
from durable.clock import SystemClock
from durable.errors import OutcomeUnknown, StoreFull, Transient
from durable.store import Creation, Message, MessageId, MessageKind, Poll, RunId, Want
from durable_sqlite import SqliteStore, connection
from durable_testing import ManualClock

POLLS = iter(range(10_000))


def want(*, ahead: bool = True) -> Want:
    return Want(f"poll {next(POLLS)}", LANES, 10, ahead=ahead)


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{path}", clock=clock)
    await store.open()
    await store.poll(session("w"), want(ahead=False))  # it is known here, and has looked for the dead
    yield store
    await store.close()


async def test_it_claims_in_the_transaction_that_creates(store: SqliteStore) -> None:
    async with Held(store) as held:
        _, polled = await asked(store.create([new_run("r")]), store.poll(session("w"), want()))
    poll: Poll = await polled
    assert [claim.run.id for claim in poll.claims] == ["r"]
    assert held.count("COMMIT") == 1
    assert poll.fresh


async def test_alone_it_is_a_poll_and_hints_nobody(store: SqliteStore) -> None:
    await store.create([new_run("r")])
    level = (await store._database.read(lambda raw: raw.execute("SELECT level FROM tide").fetchone()))[0]
    poll = await store.poll(session("w"), want())
    assert [claim.run.id for claim in poll.claims] == ["r"]
    assert poll.fresh
    assert (await store._database.read(lambda raw: raw.execute("SELECT level FROM tide").fetchone()))[0] == level


@pytest.mark.parametrize("joins", [True, False])
async def test_what_another_process_has_written_since_is_not_taken_for_seen(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, joins: bool
) -> None:
    """Between the commit and the answer: the hint of that would be forgotten with the others, for up to a second."""
    database, raised = store._database, False
    join = database.join

    async def slowly(write: object) -> object:
        nonlocal raised
        answer = await join(write)  # type: ignore[arg-type]
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("UPDATE tide SET level = level + 1")
        other.close()
        await database.run_reader(database._look_here)
        raised = True
        return answer

    async with Held(store) as held:
        start = await asked(store.create([new_run("r")])) if joins else []
        monkeypatch.setattr(database, "join", slowly)
        (polled,) = await asked(store.poll(session("w"), want()))
    await asyncio.gather(*start)
    poll: Poll = await polled
    assert raised and not poll.fresh
    assert held.count("COMMIT") == 1


async def test_what_is_written_behind_it_in_its_transaction_is_not_taken_for_seen(store: SqliteStore) -> None:
    """A run that gave itself up so, until a timer, was taken up when the worker next looked by the clock."""
    async with Held(store) as held:
        _, polled, _ = await asked(
            store.create([new_run("a")]), store.poll(session("w"), want()), store.create([new_run("b")])
        )
    poll: Poll = await polled
    assert [claim.run.id for claim in poll.claims] == ["a"]
    assert not poll.fresh
    assert held.count("COMMIT") == 1


async def test_a_poll_that_fails_with_what_it_joined_is_carried_out_alone(store: SqliteStore) -> None:
    async with Held(store):
        bad, polled = await asked(
            store.create([replace(new_run("bad"), priority=1 << 80)]), store.poll(session("w"), want())
        )
    with pytest.raises(ValueError, match="cannot be stored"):
        await bad
    assert (await polled).claims == ()
    await store.create([new_run("r")])
    assert [claim.run.id for claim in (await store.poll(session("w"), want(ahead=False))).claims] == ["r"]


@pytest.mark.parametrize(
    ("failure", "known_as", "written"),
    [
        (sqlite3.OperationalError("database is locked"), Transient, False),
        (sqlite3.OperationalError("database or disk is full"), StoreFull, False),
        (OutcomeUnknown("half-way"), OutcomeUnknown, False),
        (OutcomeUnknown("half-way"), OutcomeUnknown, True),
    ],
    ids=["busy", "full", "unknown and lost", "unknown and written"],
)
async def test_when_their_transaction_fails_both_are_told_and_both_may_repeat(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, failure: Exception, known_as: type[Exception], written: bool
) -> None:
    """The same poll again claims once, whether it had claimed or not."""
    if isinstance(failure, sqlite3.Error):
        failure.sqlite_errorcode = 5 if known_as is Transient else 13
    write, wanted, new = connection.Transactions._write, want(), new_run("r")

    def fail(*args: Any) -> Any:
        if written:
            write(*args)
        raise failure

    async with Held(store):
        calls = await asked(store.create([new]), store.poll(session("w"), wanted))
        monkeypatch.setattr(connection.Transactions, "_write", fail)
        monkeypatch.setattr(connection, "BUSY_SECONDS_MAX", 0.0)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [known_as] * 2
    monkeypatch.undo()
    (created,) = await store.create([new])
    assert created.outcome is (Creation.EXISTED if written else Creation.CREATED)
    for _ in range(2):
        assert [claim.run.epoch for claim in (await store.poll(session("w"), wanted)).claims] == [1]
    assert (await store.poll(session("other"), want(ahead=False))).claims == ()


async def test_the_lease_that_a_joined_poll_renews_stands_at_once(store: SqliteStore, clock: ManualClock) -> None:
    """What this process knows of the session's idle polls is older, and must not be taken for its lease."""
    await store.poll(session("w"), want(ahead=False))  # idle: known to this process alone
    clock.advance(4)
    await store.poll(session("other"), want(ahead=False))  # somebody has looked for the dead
    async with Held(store) as held:
        _, first = await asked(store.create([new_run("r")]), store.poll(session("w"), want()))
    assert len((await first).claims) == 1
    assert held.count("COMMIT") == 1
    clock.advance(12)  # beyond the idle poll's lease, within the renewed one
    assert (await store.poll(session("other"), want(ahead=False))).claims == ()


async def test_the_dead_are_found_however_fast_starts_follow_one_another(
    store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    glances = 0
    glance = store._database.run_writer

    async def counting(work: object) -> object:
        nonlocal glances
        glances += 1
        return await glance(work)  # type: ignore[arg-type]

    monkeypatch.setattr(store._database, "run_writer", counting)
    for n in range(40):
        clock.advance(0.1)
        await store.create([new_run(f"r{n}")])
        await store.poll(session("w"), want())
    assert 2 <= glances <= 3


# ── as users see it ──────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def one() -> int:
    return 1


@workflow
async def single(ctx: Context) -> int:
    return await ctx.step(one)


@workflow
async def listener(ctx: Context) -> str:
    return await ctx.wait_for_signal("go", type=str)


@pytest.fixture
async def client(path: Path) -> AsyncIterator[Client]:
    async with connect(f"sqlite:///{path}") as client:
        yield client


async def test_runs_and_signals_of_a_process_that_works_itself(client: Client) -> None:
    async with Worker(client, workflows=[single, listener]):
        for _ in range(30):
            handle = await client.start(single)
            waiting = await client.start(listener)
            assert await handle.result() == 1
            await waiting.signal("go", "now")
            assert await waiting.result() == "now"


def holding() -> tuple[Workflow[[], None], asyncio.Event]:
    """A workflow whose step waits for an event."""
    go = asyncio.Event()

    @step
    async def held() -> None:
        await go.wait()

    @workflow
    async def waits(ctx: Context) -> None:
        await ctx.step(held)

    return waits, go


async def test_a_full_worker_is_not_asked_ahead(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_ahead = 0
    poll = client.link.store.poll

    async def watching(session: object, want: Want) -> Poll:
        nonlocal asked_ahead
        asked_ahead += want.ahead
        return await poll(session, want)  # type: ignore[arg-type]

    monkeypatch.setattr(client.link.store, "poll", watching)
    waits, go = holding()
    async with Worker(client, workflows=[waits], concurrency=1) as worker:
        first = await client.start(waits)
        while worker.held == 0:
            await asyncio.sleep(0.01)
        before = asked_ahead
        others = [await client.start(waits) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert asked_ahead == before
        go.set()
        await asyncio.gather(*(handle.result() for handle in (first, *others)))


async def test_a_message_joins_too(store: SqliteStore) -> None:
    await store.create([new_run("r")])
    assert len((await store.poll(session("w"), want())).claims) == 1
    message = Message(RunId("r"), MessageId("m"), MessageKind.SIGNAL, "go", b"", 1)
    held_run = replace(want(), held=((await _held(store)),))
    async with Held(store) as held:
        _, polled = await asked(store.send([message]), store.poll(session("w"), held_run))
    assert [one.message.id for one in (await polled).messages] == ["m"]
    assert held.count("COMMIT") == 1


async def _held(store: SqliteStore):
    from durable.store import Held as HeldRun

    (row,) = await store.get([RunId("r")])
    assert row is not None
    return HeldRun(row.id, row.epoch, 0)


async def test_a_run_is_one_poll(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the hint of the start, which the poll was part of, nor that of the end has the worker look again."""
    polls = 0
    poll = client.link.store.poll

    async def counting(session: object, want: Want) -> Poll:
        nonlocal polls
        polls += 1
        return await poll(session, want)  # type: ignore[arg-type]

    async with Worker(client, workflows=[single]):
        await (await client.start(single)).result()
        monkeypatch.setattr(client.link.store, "poll", counting)
        for _ in range(50):
            await (await client.start(single)).result()
    assert 50 <= polls <= 65  # some come by the clock


async def test_a_worker_that_stops_in_the_middle_of_starts_leaves_no_run_behind(client: Client) -> None:
    """A poll that was asked for and not waited for any more may have claimed."""
    for _ in range(10):
        async with Worker(client, workflows=[single], drain=0):
            handles = await asyncio.gather(*(client.start(single) for _ in range(5)))
    async with asyncio.timeout(10), Worker(client, workflows=[single]):
        for handle in handles:
            assert await handle.result() == 1
    assert await client.count(status="completed") == 50


async def test_the_end_of_a_run_opens_its_workflows_lane(client: Client) -> None:
    """Found by a review: ends give workers no hint any more, and a lane that was full was looked at by the clock."""

    @workflow(concurrency=1)
    async def alone(ctx: Context) -> int:
        return await ctx.step(one)

    handles = [await client.start(alone) for _ in range(5)]
    async with asyncio.timeout(20), Worker(client, workflows=[alone, single], poll=60, lease=300):
        for handle in handles:
            assert await handle.result() == 1


@pytest.mark.parametrize("turns", range(6))
async def test_a_run_that_was_claimed_in_the_moment_of_a_stop_is_given_back(
    client: Client, path: Path, turns: int
) -> None:
    """Found by a review: the answer was not read any more, and the run stood still until the worker had drained."""
    waits, go = holding()
    leaving = Worker(client, workflows=[waits, single], drain=60)
    working = asyncio.create_task(leaving.run())
    first = await client.start(waits)
    while leaving.held == 0:
        await asyncio.sleep(0.01)
    async with connect(f"sqlite:///{path}") as second, Worker(second, workflows=[single]):
        starting = asyncio.create_task(client.start(single))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.stop()
        async with asyncio.timeout(20):
            assert await (await starting).result() == 1
    go.set()
    await working
    assert await first.result() is None


async def test_who_leaves_has_no_poll_behind_it(store: SqliteStore) -> None:
    """Found by a review: the leaving went with an earlier start, and a poll that had been given up claimed after it."""
    async with Held(store):
        start, polled = await asked(store.create([new_run("r")]), store.poll(session("w"), want(ahead=False)))
        polled.cancel()  # as a worker that stops does; what was asked for is carried out all the same
        (left,) = await asked(store.leave(session("w").id))
    await asyncio.gather(start, left)
    (row,) = await store.get([RunId("r")])
    assert row is not None and row.owner is None
    assert len((await store.poll(session("other"), want(ahead=False))).claims) == 1


async def test_a_hint_between_a_fresh_answer_and_its_reading_is_not_lost() -> None:
    hints: list[asyncio.Future[None]] = []

    def listen() -> asyncio.Future[None]:
        hints.append(asyncio.get_running_loop().create_future())
        return hints[-1]

    async def ask(want: Want) -> Poll:
        return Poll(0.0, fresh=True)

    early = Asked(want(), ask, listen, SystemClock(), early=True)
    await asyncio.sleep(0)  # it is answered, and nobody has read it
    hints[-1].set_result(None)
    assert (await early.answer()).fresh
    assert early.hint.done()
