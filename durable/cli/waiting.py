"""Waiting for a run's end, and telling it: the result on stdout, anything else as an error with its exit code."""

from __future__ import annotations

import json
from typing import Any, Final

from durable import Client
from durable._author import outcomes
from durable._core.why import explain
from durable.cli.failures import Exit, Failure
from durable.cli.follow import follow
from durable.cli.happenings import exit_of
from durable.cli.output import Printer
from durable.cli.views import View
from durable.codec import error_line
from durable.store import RunRecord, RunStatus

__all__ = ["until_ended", "tell_end"]

_REFRESH_SECONDS: Final = 0.25


async def until_ended(client: Client, run: str, view: View, *, leave_blocked: bool) -> RunRecord:
    """Show the run until it has ended.

    Args:
        leave_blocked: Return a blocked run, too: it will not go on while we wait, unless somebody helps it.
    """
    record: RunRecord | None = None
    with view:
        async for look in follow(client, run, every=_REFRESH_SECONDS):
            record = look.run
            reason = explain(record, await client.store.sessions(), look.now)
            view.show(look, reason)
            if leave_blocked and record.status is RunStatus.BLOCKED:
                break
    assert record is not None  # it has looked at once
    return record


async def tell_end(client: Client, run: RunRecord, printer: Printer) -> None:
    """Print the result of a completed run.

    Raises:
        Failure: It ended otherwise, or is blocked; the exit code says how.
    """
    code = exit_of(run)
    if code is Exit.CONFLICT:
        reason = await client.handle(run.id).explain()
        raise Failure(f"Run {run.id}: {reason}", "Nothing is lost; it goes on when that is mended.", code)
    sealed = await client.store.outcome(run.id)
    if sealed is None:
        raise Failure(f"Run {run.id} was begun again or purged meanwhile.", "", Exit.CONFLICT)
    kind, rest = outcomes.read(client.link.codec.open(sealed))
    match kind:
        case "completed":
            printer.value(_json(rest))
        case "failed":
            raise Failure(f"Run {run.id} failed: {error_line(rest)}", f"See where: durable runs show {run.id}", code)
        case "cancelled":
            word = "terminated" if run.terminated else "cancelled"
            reason = str(_json(rest) or "")
            raise Failure(f"Run {run.id} was {word}" + (f": {reason}" if reason else "."), "", code)


def _json(raw: bytes) -> Any:
    return json.loads(raw) if raw else None
