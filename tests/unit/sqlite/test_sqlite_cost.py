"""What the hot ways cost, counted in what does not depend on the machine: statements, and bytes of the file."""

from __future__ import annotations

import pytest
from sqlite_child import LANES, new_run, session

from durable.store import (
    Claim,
    Commit,
    Ended,
    Message,
    MessageId,
    MessageKind,
    RunId,
    RunStatus,
    Then,
    Verdict,
    Waiting,
    Want,
)
from durable_sqlite import SqliteStore

ENTRY = b'{"k":"step","c":"0/step/trivial#17","p":"0123456789abcdef","ok":1,"n":1}\n17'
AROUND = 2  # BEGIN and COMMIT
HINT = 1


async def claimed(store: SqliteStore, runs: int) -> tuple[Claim, ...]:
    await store.create([new_run(f"run-{n:032d}") for n in range(runs)])
    claims = (await store.poll(session("s"), Want("p", LANES, runs))).claims
    assert len(claims) == runs
    await store.put_record("warm", "", b"")  # synced, as what follows is: nothing is switched on the way
    return claims


class Counted:
    """Statements of the writing line."""

    def __init__(self, store: SqliteStore) -> None:
        self._database = store._database
        self._said: list[str] = []

    async def __aenter__(self) -> Counted:
        await self._database.run_writer(lambda raw: raw.set_trace_callback(self._said.append))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._database.run_writer(lambda raw: raw.set_trace_callback(None))
        self.statements = len(self._said)


@pytest.mark.parametrize(
    ("append", "then", "statements"),
    [
        ((ENTRY,), None, 2 + AROUND),
        ((ENTRY,) * 4, None, 2 + AROUND),
        ((), Waiting(None, 0), 2 + AROUND + HINT),
        ((ENTRY,), Ended(RunStatus.COMPLETED, b"1"), 4 + AROUND + HINT),
        ((), Ended(RunStatus.COMPLETED, b"1"), 4 + AROUND + HINT),
    ],
    ids=["step", "four entries", "wait", "last step", "end"],
)
@pytest.mark.parametrize("runs", [1, 4, 64])
async def test_plain_commits_are_a_few_statements_however_many_they_are(
    store: SqliteStore, runs: int, append: tuple[bytes, ...], then: Then | None, statements: int
) -> None:
    claims = await claimed(store, runs)
    commits = [Commit(claim.run.id, claim.run.epoch, 0, 0, append) for claim in claims]
    if then is not None:
        for commit in commits:
            commit.then = then
    async with Counted(store) as counted:
        answers = await store.commit(commits)
    assert {answer.verdict for answer in answers} == {Verdict.APPLIED}
    assert counted.statements == statements
    assert await store.check() == []


async def test_a_claim_is_no_statement_more_for_each_run(store: SqliteStore) -> None:
    await store.poll(session("s"), Want("before", LANES, 1))
    counts: list[int] = []
    for runs in (4, 60):
        await store.create([new_run(f"{runs}-{n}") for n in range(runs)])
        async with Counted(store) as counted:
            poll = await store.poll(session("s"), Want(f"p{runs}", LANES, runs))
        assert len(poll.claims) == runs
        await store.commit([Commit(one.run.id, one.run.epoch, 0, 0, (), Waiting(None, 0)) for one in poll.claims])
        counts.append(counted.statements)
    assert counts[0] == counts[1]


async def test_a_signal_is_four_statements(store: SqliteStore) -> None:
    claims = await claimed(store, 1)
    await store.commit([Commit(claims[0].run.id, claims[0].run.epoch, 0, 0, (), Waiting(None, 0))])
    message = Message(claims[0].run.id, MessageId("m"), MessageKind.SIGNAL, "go", b"", 1)
    async with Counted(store) as counted:
        await store.send([message])
    assert counted.statements == 4 + AROUND + HINT


@pytest.mark.slow
async def test_a_trivial_step_takes_no_more_than_250_bytes_of_the_file_with_its_run_and_its_indices(
    store: SqliteStore,
) -> None:
    before = (await store.stats())["bytes"]
    claims = await claimed(store, 200)
    for n in range(50):
        await store.commit([Commit(claim.run.id, claim.run.epoch, n, n, (ENTRY,)) for claim in claims])
    end = Ended(RunStatus.COMPLETED, b"completed\n1225")
    await store.commit([Commit(RunId(claim.run.id), claim.run.epoch, 50, 50, (), end) for claim in claims])
    assert ((await store.stats())["bytes"] - before) / (200 * 50) <= 250
