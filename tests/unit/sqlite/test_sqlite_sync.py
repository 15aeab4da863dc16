"""Which transactions wait for the disk."""

from __future__ import annotations

from sqlite_child import LANES, new_run, session

from durable.store import Commit, Message, MessageId, MessageKind, RunId, Want
from durable_sqlite import SqliteStore

FULL, NORMAL = 2, 1


async def level(store: SqliteStore) -> int:
    """How the last write was synced."""
    return int(await store._database.run_writer(lambda raw: raw.execute("PRAGMA synchronous").fetchone()[0]))


async def test_rule_8_what_is_acknowledged_or_delivered_is_synced_and_claims_and_heartbeats_need_not_be(
    url: str,
) -> None:
    store = SqliteStore(url)
    await store.open()
    try:
        worker = session("w")
        await store.create([new_run("r")])
        assert await level(store) == FULL
        poll = await store.poll(worker, Want("p1", LANES, 1))
        assert await level(store) == NORMAL
        await store.commit([Commit(RunId("r"), poll.claims[0].run.epoch, 0, 0, (b"entry",))])
        assert await level(store) == FULL
        await store.renew(worker)
        assert await level(store) == NORMAL
        await store.send([Message(RunId("r"), MessageId("m"), MessageKind.SIGNAL, "go", b"1")])
        assert await level(store) == FULL
    finally:
        await store.close()


async def test_relaxed_durability_never_waits_for_the_disk(url: str) -> None:
    store = SqliteStore(f"{url}?durability=relaxed")
    await store.open()
    try:
        await store.create([new_run("r")])
        assert await level(store) == NORMAL
    finally:
        await store.close()
