"""What workflow code asks for: calls that await an outcome, and commands that await none."""

from __future__ import annotations

from dataclasses import dataclass

from durable._model.messages import Message
from durable._model.runs import NewRun

__all__ = ["CloseChild", "Command", "EmitItem", "MarkPatch", "SendMessage", "SetValue", "StartChild"]


@dataclass(slots=True)
class SetValue:
    """``ctx.set``: readable from outside."""

    key: str
    payload: bytes


@dataclass(slots=True)
class EmitItem:
    """``ctx.emit``: one item of a durable stream."""

    stream: str
    payload: bytes


@dataclass(slots=True)
class SendMessage:
    """``ctx.signal``."""

    message: Message


@dataclass(slots=True)
class StartChild:
    """The start of a child run; its result comes as a message."""

    run: NewRun


@dataclass(slots=True)
class CloseChild:
    """The code has given up waiting for a child whose policy is to be cancelled or terminated.

    Attributes:
        request_id: Made from identity, so that it is done once.
    """

    child: NewRun
    request_id: str


@dataclass(slots=True)
class MarkPatch:
    """``ctx.patched`` was answered True for the first time."""

    change: str


Command = SetValue | EmitItem | SendMessage | StartChild | CloseChild | MarkPatch
