"""From what a person types to a run: a whole id, a unique prefix of one, or ``@last``."""

from __future__ import annotations

from typing import Final

from durable import Client, RunNotFound
from durable.cli.failures import Exit, Failure
from durable.store import RunId, RunQuery, RunRecord

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
        newest = await store.list(RunQuery(), 1)
        if not newest.runs:
            raise RunNotFound("There is no run in this store yet.")
        return newest.runs[0]
    if asked == "":
        raise Failure("An empty ID means no run.", "Give an id, a unique prefix of one, or @last.")
    exact = (await store.get([RunId(asked)]))[0]
    if exact is not None:
        return exact
    page = await store.list(RunQuery(id_prefix=asked), 4)
    found = list(page.runs)
    if not found:
        raise RunNotFound(f"No run's id is or begins with {asked!r} in this store.", asked)
    if len(found) > 1:
        some = ", ".join(record.id for record in found[:3]) + (", ..." if len(found) > 3 else "")
        raise Failure(f"Several runs begin with {asked!r}: {some}", "Give more of the id.", Exit.USAGE)
    return found[0]
