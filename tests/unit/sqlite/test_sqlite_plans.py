"""No operation walks a table: what SQLite plans for each statement of the hot and the long ways."""

from __future__ import annotations

import itertools
import sqlite3
import time

import pytest
from sqlite_child import LANES, new_run, session

from durable.store import Want
from durable_sqlite import SqliteStore, claims, due, files, inbox, listing, plain, rows, sessions, upkeep

HOT = {
    "heads": due.HEADS,
    "due": due.DUE,
    "holders": sessions._HOLDERS,
    **{
        f"{name} {rows}": statement.text(rows)
        for name, statement in {**plain.STATEMENTS, **claims.STATEMENTS}.items()
        for rows in (1, 2, 256)
    },
    "find": rows._FIND,
    "save": rows._SAVE,
    "save all": rows._SAVE_ALL,
    "purge by run": upkeep.BY_RUN,
    "purge by expiry": upkeep.BY_EXPIRY,
    "purge by end": upkeep.BY_END,
    "purgeable by run": upkeep.COUNT_BY_RUN,
    "purgeable by expiry": upkeep.COUNT_BY_EXPIRY,
    "purgeable by end": upkeep.COUNT_BY_END,
    "owned": claims._OWNED,
    "receiver": inbox._RECEIVER,
    "inboxes": claims._INBOXES,
    "claimed": claims._CLAIMED,
    "forget stamps": claims._FORGET_STAMPS,
    "unread": "SELECT seq FROM messages WHERE run = ? AND consumed = 0 AND seq > ? ORDER BY seq LIMIT ?",
    "children": "SELECT 1 FROM runs WHERE parent = ? LIMIT 1",
    **{
        " ".join(name): statement
        for name, statement in listing.STATEMENTS.items()
        if name[1] not in ("live", "created")
    },
    **{f"delete {n}": statement for n, statement in enumerate(upkeep._DELETE)},
}


@pytest.fixture
def raw():
    raw = files.connect_memory()
    yield raw
    raw.close()


def plan(raw: sqlite3.Connection, statement: str) -> list[str]:
    named = ":" in statement
    parameters = (
        dict.fromkeys(
            [
                *listing._parameters(_query(), (0.0, ""), 1),
                "status",
                "now",
                "runs",
                "expired",
                "statuses",
                "ended_before",
            ]
        )
        if named
        else [None] * (statement.count("?") if "?1" not in statement else 5)
    )
    return [line for *_, line in raw.execute("EXPLAIN QUERY PLAN " + statement, parameters)]


def _query():
    from durable.store import RunQuery

    return RunQuery()


@pytest.mark.parametrize("name", HOT)
def test_a_statement_walks_no_table(raw: sqlite3.Connection, name: str) -> None:
    lines = plan(raw, HOT[name])
    walks = [line for line in lines if line.startswith("SCAN")]
    # What is walked is small by itself: lists given as JSON, and the heads of an index.
    assert [
        line
        for line in walks
        if not any(small in line for small in ("json_each", "heads", "CONSTANT", "VIRTUAL", "(subquery", "SCAN given"))
    ] in (
        [],
        ["SCAN runs USING INDEX runs_owner"] if name == "holders" else [],  # its first row: LIMIT 1
    )


@pytest.mark.parametrize("name", [" ".join(("list", lead)) for lead in listing._LEADS if lead != "prefix"])
def test_a_page_of_a_list_is_not_sorted(raw: sqlite3.Connection, name: str) -> None:
    assert not any("TEMP B-TREE" in line for line in plan(raw, listing.STATEMENTS["list", name.split()[1]]))


@pytest.mark.slow
async def test_ten_thousand_sleeping_runs_cost_a_poll_nothing(store: SqliteStore) -> None:
    from dataclasses import replace

    async def cost() -> float:
        best = float("inf")
        for n in itertools.islice(polls, 20):
            started = time.perf_counter()
            await store.poll(session("s"), Want(f"p{n}", LANES, 10))
            best = min(best, time.perf_counter() - started)
        return best

    polls = itertools.count()
    empty = await cost()
    for start in range(0, 10_000, 1000):
        await store.create([replace(new_run(f"r{n}"), delay_seconds=1e6) for n in range(start, start + 1000)])
    assert await cost() < 3 * empty + 0.001


@pytest.mark.parametrize(
    "prefix, end",
    [("a", "b"), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000"), ("\U0010ffff", None), ("", None), ("a_%", "a_&")],
)
def test_the_end_of_a_prefix_is_the_next_text_that_does_not_begin_so(prefix: str, end: str | None) -> None:
    assert listing.prefix_end(prefix) == end
