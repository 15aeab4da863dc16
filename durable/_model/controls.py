"""Operator verbs: what a person, or a parent run, may do to a run from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from durable._model.ids import RunId
from durable._model.runs import NewRun, RunStatus

__all__ = [
    "Cancel",
    "Control",
    "Controlled",
    "Fork",
    "Pause",
    "Resume",
    "Retry",
    "Settle",
    "Terminate",
    "Verb",
    "VerbOutcome",
]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the run to end itself, clean-up included. A blocked or never-started run is ended by the store at once.

    Attributes:
        payload: Encoded reason, delivered with the message.
        outcome: Encoded outcome for the case that the store ends the run itself.
    """

    reason: str
    payload: bytes
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Terminate:
    """End the run now: status cancelled, marked terminated, owner fenced out; its code does not run again."""

    reason: str
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """No new step begins. An owned run gets a message; any other is paused by the store at once."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on: a paused or blocked run becomes claimable at once, its strikes forgotten."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Begin an ended run's next generation, with what its journal keeps; the next claim carries the order out.

    Unread pauses were meant for the generation that has ended: they are consumed.
    """

    order: bytes


@dataclass(frozen=True, slots=True)
class Fork:
    """Create ``new`` from this run's journal; the next claim of ``new`` carries the order out.

    Attributes:
        new: Its ``seed`` and ``input`` are ignored: they are this run's.
    """

    new: NewRun
    order: bytes


@dataclass(frozen=True, slots=True)
class Settle:
    """Append one entry to a blocked run's journal and make it claimable.

    Attributes:
        entry: Encoded.
        position: Expected length of the journal.
    """

    entry: bytes
    position: int


Verb = Cancel | Terminate | Pause | Resume | Retry | Fork | Settle


@dataclass(frozen=True, slots=True)
class Control:
    """One operator command. The same (run, request_id) again answers the same and changes nothing."""

    run: RunId
    request_id: str
    verb: Verb


class VerbOutcome(StrEnum):
    """The store's answer to one command."""

    DONE = "done"  # carried out by the store
    ASKED = "asked"  # a message lies in the run's inbox
    ALREADY = "already"  # nothing to do: it is so already (a second cancel, a pause of a paused run)
    NOT_FOUND = "not_found"
    NOT_ALLOWED = "not_allowed"  # not from this status (see ``Controlled.status``), or the position does not fit
    EXISTS = "exists"  # fork: the new id is taken


@dataclass(frozen=True, slots=True)
class Controlled:
    """One answer, with the run's status after it (None if there is no such run)."""

    outcome: VerbOutcome
    status: RunStatus | None
    generation: int = 0
