"""Rehearsals as the command line asks for them and tells of them; ``durable replay`` and ``durable plan`` share it."""

from __future__ import annotations

from typing import Any, Final

from durable import Client
from durable._engine.rehearsal import Fit, NewCall, Rehearsal
from durable._engine.survey import Survey
from durable.cli.apps import App
from durable.cli.ink import Meaning
from durable.cli.worker_command import worker_of

__all__ = ["MEANINGS", "call_text", "finding_value", "in_short", "survey_of", "verdict"]

MEANINGS: Final[dict[Fit, Meaning]] = {
    Fit.UNCHANGED: "ok",
    Fit.GAINS: "busy",
    Fit.DROPS: "busy",
    Fit.CONFLICT: "bad",
    Fit.UNREADABLE: "bad",
    Fit.NO_CODE: "dim",
}


async def survey_of(client: Client, text: str, app: App) -> Survey:
    """A survey of the client's store with the code of an APP.

    Args:
        text: The APP as it was typed, for messages.
    """
    worker = await worker_of(client, text, app, {})  # a registry with all of it; it is not started
    return Survey(client.store, worker.registry, client.link.codec, client.link.clock)


def verdict(found: Rehearsal) -> str:
    """How the code fits, in some words."""
    match found.fit:
        case Fit.UNCHANGED:
            return "unchanged" + (" (in motion)" if found.in_motion and found.status == "running" else "")
        case Fit.GAINS:
            return "gains " + ", ".join(map(call_text, found.gains)) + _dropped(found, "; drops ")
        case Fit.DROPS:
            return _dropped(found, "drops ")
        case Fit.CONFLICT:
            where = "" if found.position is None else f" at entry {found.position}"
            return f"conflicts{where}" + (f" ({found.place})" if found.place else "")
        case Fit.UNREADABLE:
            return "cannot be read" + ("" if found.position is None else f" at entry {found.position}")
        case Fit.NO_CODE:
            return "has no code here"


def _dropped(found: Rehearsal, before: str) -> str:
    return before + ", ".join(found.drops) if found.drops else ""


def call_text(call: NewCall) -> str:
    """``step charge (shop.py:31)``."""
    return f"{call.kind} {call.name}" + (f" ({call.place})" if call.place else "")


def in_short(reason: str) -> str:
    """The reason without the run that it is about, and without the advice."""
    first = reason.split("\n", 1)[0]
    return first.split(": ", 1)[1] if first.startswith("Run ") and ": " in first else first


def finding_value(found: Rehearsal) -> dict[str, Any]:
    """What was found about the code, as JSON."""
    return {
        "fit": found.fit.value,
        "gains": [
            {"call": call.call, "kind": call.kind, "name": call.name, "place": call.place or None}
            for call in found.gains
        ],
        "drops": list(found.drops),
        "place": found.place or None,
        "line": found.line or None,
        "kind": found.kind or None,
        "reason": found.reason or None,
    }
