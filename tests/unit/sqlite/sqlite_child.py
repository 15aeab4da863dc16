"""What a process of its own does in these tests: ``python sqlite_child.py <url> <deed> [...]``, talking in lines."""

from __future__ import annotations

import asyncio
import sys

from durable.store import Lane, NewRun, RunId, SessionId, Want, WorkerSession
from durable_sqlite import SqliteStore

LANES = (Lane("default", "work", "1"),)


def new_run(id: str) -> NewRun:
    return NewRun(RunId(id), "work", "1", "default", b"input", "digest", "seed")


def session(name: str, lease_seconds: float = 15.0) -> WorkerSession:
    return WorkerSession(SessionId(name), name, lease_seconds)


def say(*words: object) -> None:
    print(*words, flush=True)


async def hold(store: SqliteStore, lease_seconds: str) -> None:
    """Claim what is due, say so, and wait to be killed, stopped or told to go on."""
    poll = await store.poll(session("child", float(lease_seconds)), Want("p", LANES, 10))
    say("claimed", len(poll.claims))
    await asyncio.to_thread(sys.stdin.readline)
    say("over")


async def storm(store: SqliteStore, name: str, runs: str) -> None:
    """Poll without a pause until all runs are claimed by somebody; say what this one got."""
    mine: list[str] = []
    for n in range(10_000):
        poll = await store.poll(session(name), Want(f"{name}-{n}", LANES, 3, _held(mine)))
        mine += [f"{claim.run.id}:{claim.run.epoch}" for claim in poll.claims]
        if not poll.claims and poll.next_due_at is None or len(mine) >= int(runs):
            break
        if not poll.claims:
            break
    say(*mine)


def _held(mine: list[str]) -> tuple[object, ...]:
    from durable.store import Held

    return tuple(Held(RunId(run), int(epoch)) for run, _, epoch in (one.partition(":") for one in mine))


async def create(store: SqliteStore, *ids: str) -> None:
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    await store.create([new_run(id) for id in ids])
    say("created")


async def opens(store: SqliteStore) -> None:
    say(await store.stats())


async def main(url: str, deed: str, *words: str) -> None:
    store = SqliteStore(url)
    await store.open()
    await {"hold": hold, "storm": storm, "create": create, "opens": opens}[deed](store, *words)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
