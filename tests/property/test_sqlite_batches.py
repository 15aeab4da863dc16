"""A batch of commits in few statements answers and leaves behind what its commits do one by one (I1, I4, rule 2)."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from durable.store import (
    Blocked,
    Commit,
    Committed,
    DeadLetter,
    Ended,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Released,
    Rewound,
    RunId,
    Running,
    RunStatus,
    SessionId,
    Then,
    Wait,
    Waiting,
    WaitKind,
    Want,
    WorkerSession,
)
from durable_sqlite import SqliteStore, commits
from durable_testing import ManualClock

RUNS = [RunId(f"r{n}") for n in range(6)]
NOBODY = RunId("nobody")
STARTED = NewRun(RunId("child"), "work", "1", "default", b"input", "digest", "seed")
LANES = (Lane("default", "work", "1"),)
SESSION = WorkerSession(SessionId("s"), "s", 1e9)
FUTURE = 1e12


@dataclass(frozen=True)
class Asked:
    """A commit but for the numbers of the run, which are counted from where it stands when its batch begins."""

    run: RunId
    epoch: int
    seq: int
    position: int
    rest: Commit


@dataclass(frozen=True)
class Moment:
    """One batch, and what happens before it."""

    seconds: float
    signals: tuple[RunId, ...]
    polls: bool
    batch: tuple[Asked, ...]


mostly_zero = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 1, -1])
waits = st.sampled_from([None, None, (), (Wait(WaitKind.SIGNAL, "go", "0/go#1", 1.5, None),)])
thens: st.SearchStrategy[Then] = st.one_of(
    st.just(Running()),
    st.just(Running()),
    st.builds(Waiting, st.sampled_from([None, 0.5, FUTURE]), st.integers(0, 2)),
    st.builds(
        Ended,
        st.sampled_from([RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]),
        st.binary(max_size=3),
        st.sampled_from([None, "error"]),
        st.sampled_from([None, 0.0, 7.25]),
        st.booleans(),
    ),
    st.just(Released()),
    st.just(Blocked("code", "reason", None)),
    st.just(Rewound(RUNS[0], 1, (0,), (0, 0))),
)
mail = st.sampled_from(RUNS).flatmap(
    lambda to: st.just((Message(to, MessageId(f"m-{to}"), MessageKind.SIGNAL, "go", b"", 1),))
)
rests = st.builds(
    Commit,
    run=st.just(NOBODY),
    epoch=st.just(1),
    seq=st.just(0),
    position=st.just(0),
    append=st.lists(st.binary(max_size=4), max_size=3).map(tuple),
    then=thens,
    flushed=st.sampled_from([None, (1, 0), (2, 3)]),
    waits=waits,
    not_before=st.sampled_from([None, None, None, None, 1.0, FUTURE]),
    messages=st.one_of(st.just(()), st.just(()), st.just(()), mail),
    children=st.sampled_from([(), (), (), (), (replace(STARTED, id=RUNS[4]),), (STARTED,)]),
    consumed=st.sampled_from([(), (), (), (), (MessageId("signal-r1"),)]),
    dead=st.sampled_from([(), (), (), (), (DeadLetter(MessageId("signal-r2"), "nobody reads it"),)]),
)
asked = st.builds(Asked, st.sampled_from([*RUNS * 3, NOBODY]), mostly_zero, mostly_zero, mostly_zero, rests)
# Nearly all batches of a worker: each run once, all standing, entries appended.
orderly = st.lists(st.sampled_from(RUNS), unique=True, min_size=1).flatmap(
    lambda runs: st.tuples(
        *[
            st.builds(Asked, st.just(run), st.just(0), st.just(0), st.just(0), st.one_of(rests.map(made_plain), rests))
            for run in runs
        ]
    )
)


def made_plain(rest: Commit) -> Commit:
    """Without what makes it go the general way."""
    then = rest.then if isinstance(rest.then, Waiting | Ended) else Running()
    return replace(rest, then=then, messages=(), children=(), consumed=(), dead=(), not_before=None)


moments = st.builds(
    Moment,
    st.sampled_from([0.0, 1.0, 1.0, -3.0]),
    st.lists(st.sampled_from(RUNS), max_size=2).map(tuple),
    st.booleans(),
    st.one_of(orderly, orderly, st.lists(asked, min_size=1, max_size=9).map(tuple)),
)


class Side:
    """A store in memory, and its commits written in one of the two ways."""

    def __init__(self, whole: bool) -> None:
        self.clock = ManualClock(1000.0)
        self.store = SqliteStore("sqlite:///:memory:", clock=self.clock)
        self.whole = whole
        self.polls = 0
        self.said: list[Commit] = []

    async def open(self) -> None:
        await self.store.open()
        await self.store.create([NewRun(run, "work", "1", "default", b"input", "digest", "seed") for run in RUNS])
        await self.poll()

    async def poll(self) -> None:
        self.polls += 1
        await self.store.poll(SESSION, Want(f"p{self.polls}", LANES, 10, lonely_after=10**9))

    async def begin(self, moment: Moment) -> None:
        self.clock.jump(moment.seconds)
        await self.store.send(
            [Message(run, MessageId(f"signal-{run}"), MessageKind.SIGNAL, "go", b"", 1) for run in moment.signals]
        )
        if moment.polls:
            await self.poll()

    async def numbered(self, batch: tuple[Asked, ...]) -> list[Commit]:
        """The commits; now and then a whole batch of before is among them, as after an answer that was lost."""
        stands = {run: (epoch, seq, position) for run, epoch, seq, position in await self._rows(_STANDS)}
        made: list[Commit] = []
        for one in batch:
            epoch, seq, position = stands.get(one.run, (1, 0, 0))
            numbers = (max(1, epoch + one.epoch), max(0, seq + one.seq), max(0, position + one.position))
            made.append(replace(one.rest, run=one.run, epoch=numbers[0], seq=numbers[1], position=numbers[2]))
        return made

    async def commit(self, batch: list[Commit]) -> list[Committed]:
        if self.whole:
            return list(await self.store.commit(batch))
        write = self.store._database.write_batch
        return [(await write([one], commits.commit, hints=False))[0] for one in batch]

    async def everything(self) -> dict[str, list[tuple[object, ...]]]:
        tables = [name for (name,) in await self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables.remove("tide")  # raised once for a transaction, and a batch is one
        return {table: sorted(await self._rows(f"SELECT * FROM {table}"), key=repr) for table in tables}

    async def _rows(self, statement: str) -> list[tuple[object, ...]]:
        def read(raw: sqlite3.Connection) -> list[tuple[object, ...]]:
            return raw.execute(statement).fetchall()

        return await self.store._database.read(read)


_STANDS = "SELECT id, epoch, seq, position FROM runs"


async def compared(story: list[Moment], again: bool) -> None:
    one_by_one, whole = Side(False), Side(True)
    sides = (one_by_one, whole)
    for side in sides:
        await side.open()
    for moment in story:
        for side in sides:
            await side.begin(moment)
        batch = await one_by_one.numbered(moment.batch)
        for said in [batch, batch] if again else [batch]:
            expected, answered = [await side.commit(said) for side in sides]
            assert answered == expected
            for answer in answered:
                event(answer.verdict)
            left, also = [await side.everything() for side in sides]
            for table, rows in left.items():
                assert also[table] == rows
    assert await whole.store.check() == []
    for side in sides:
        await side.store.close()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(moments, min_size=1, max_size=6), st.booleans())
def test_a_batch_is_what_its_commits_are_one_by_one(story: list[Moment], again: bool) -> None:
    asyncio.run(compared(story, again))


async def test_a_large_batch_is_applied_by_a_few_statements_and_is_what_its_commits_are() -> None:
    one_by_one, whole = Side(False), Side(True)
    sides = (one_by_one, whole)
    runs = [RunId(f"large-{n}") for n in range(300)]
    counts: list[int] = []
    for side in sides:
        await side.open()
        await side.store.create([NewRun(run, "work", "1", "default", b"", "digest", "seed") for run in runs])
        await side.store.poll(SESSION, Want("large", LANES, 400))
        batch = [Commit(run, 1, 0, 0, (b"entry",) * (n % 7), _then(n)) for n, run in enumerate(runs)]
        statements: list[str] = []
        await side.store._database.run_writer(lambda raw, said=statements: raw.set_trace_callback(said.append))
        answers = await side.commit(batch)
        await side.store._database.run_writer(lambda raw: raw.set_trace_callback(None))
        assert {answer.verdict for answer in answers} == {"applied"}
        counts.append(len(statements))
    assert await one_by_one.everything() == await whole.everything()
    assert counts[1] < 100 < 1000 < counts[0]
    for side in sides:
        await side.store.close()


async def test_a_commit_of_a_batch_is_seen_by_those_after_it_and_not_by_those_before_it() -> None:
    """A message to a run that ends later in the same batch is still accepted."""
    side = Side(True)
    await side.open()
    to = Message(RUNS[1], MessageId("m"), MessageKind.SIGNAL, "go", b"", 1)
    late = Message(RUNS[1], MessageId("late"), MessageKind.SIGNAL, "go", b"", 1)
    batch = [
        Commit(RUNS[0], 1, 0, 0, (b"entry",), messages=(to,)),
        Commit(RUNS[1], 1, 0, 0, (), Ended(RunStatus.COMPLETED, b"")),
        Commit(RUNS[2], 1, 0, 0, (b"entry",), messages=(late,)),
        *[Commit(run, 1, 0, 0, (b"entry",)) for run in RUNS[3:]],
    ]
    assert {answer.verdict for answer in await side.commit(batch)} == {"applied"}
    assert [one.message.id for one in await side.store.messages(RUNS[1])] == ["m"]
    await side.store.close()


def _then(n: int) -> Then:
    if n % 7 == 0:
        return Waiting(None, 0)
    return Ended(RunStatus.COMPLETED, b"") if n % 11 == 0 else Running()
