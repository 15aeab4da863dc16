"""From what a person types to a run: a whole id, a unique prefix of one, or ``@last``."""

from __future__ import annotations

from typing import Final

from durable import Client, RunNotFound
from durable.cli.failures import Exit, Failure
from durable.store import RunId, RunQuery, RunRecord, Store

__all__ = ["LAST", "find"]

LAST: Final = "@last"


async def find(client: Client, asked: str) -> RunRecord:
    """The row of the run that ``asked`` means. A whole id wins over a prefix.

    Raises:
        RunNotFound: No id begins so.
        Failure: Several do.
    """
    store = client.store
    if asked == LAST:
        newest = await _some(store, RunQuery(), 1)
        if not newest:
            raise RunNotFound("There is no run in this store yet.")
        return newest[0]
    if asked == "":
        raise Failure("An empty ID means no run.", "Give an id, a unique prefix of one, or @last.")
    exact = (await store.get([RunId(asked)]))[0]
    if exact is not None:
        return exact
    found = await _some(store, RunQuery(id_prefix=asked), 4)
    if not found:
        raise RunNotFound(f"No run's id is or begins with {asked!r} in this store.", asked)
    if len(found) > 1:
        some = ", ".join(record.id for record in found[:3]) + (", ..." if len(found) > 3 else "")
        raise Failure(f"Several runs begin with {asked!r}: {some}", "Give more of the id.", Exit.USAGE)
    return found[0]


async def _some(store: Store, query: RunQuery, count: int) -> list[RunRecord]:
    """The newest runs that match, at most ``count``: a page may be shorter than asked for, and more may follow."""
    found: list[RunRecord] = []
    cursor: str | None = None
    while True:
        page = await store.list(query, count - len(found), cursor)
        found += page.runs
        cursor = page.cursor
        if cursor is None or len(found) >= count:
            return found
