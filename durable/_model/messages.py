"""What lands in a run's inbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from durable._model.ids import MessageId, RunId

__all__ = ["InboxMessage", "Message", "MessageKind", "Sent"]


class MessageKind(StrEnum):
    """Why a message was sent."""

    SIGNAL = "signal"
    RESULT = "result"  # a child run ended
    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Message:
    """Something said to a run; remembered by (run, id) until purge, so that saying it twice is saying it once.

    Attributes:
        run: The receiver.
        id: Made by the sender.
        kind: Signal, child result, cancel or pause.
        name: The signal's name; for a child result the identity of the call that awaits it.
        payload: Encoded bytes that only the codec opens; for a cancel its reason.
        generation: For a child result: the parent's generation that started the child; else 0.
    """

    run: RunId
    id: MessageId
    kind: MessageKind
    name: str
    payload: bytes
    generation: int = 0


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message as the store holds it.

    Attributes:
        seq: Position in the run's inbox, 1, 2, 3, ..., allotted by the store in arrival order, never reused.
        at: Store time of arrival, seconds since the epoch.
        consumed: No longer unread: an entry was made of it, or it is a dead letter.
        dead: Why it became a dead letter; None if it did not.
    """

    message: Message
    seq: int
    at: float
    consumed: bool = False
    dead: str | None = None


class Sent(StrEnum):
    """The store's answer to one message."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # this id was accepted before; nothing new was written
    NOT_FOUND = "not_found"
    ENDED = "ended"  # the run has ended; nothing was written
    INBOX_FULL = "inbox_full"  # 10,000 unread signals; nothing was written
