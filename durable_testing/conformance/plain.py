"""Answers without what the protocol leaves open, so that two stores' answers can be compared."""

from __future__ import annotations

from dataclasses import replace

from durable.store import Committed, InboxMessage, Message, MessageKind, Poll, RunRecord, Verdict

__all__ = ["plain"]


def plain(answer: object) -> object:
    """The answer without what the protocol leaves open."""
    match answer:
        case RunRecord(blocked_kind="crash_budget"):
            return replace(answer, blocked="some words" if answer.blocked else None, labels=dict(answer.labels))
        case RunRecord():
            return replace(answer, labels=dict(answer.labels))
        case InboxMessage(message=Message(kind=MessageKind.CANCEL | MessageKind.PAUSE)):
            return replace(answer, message=replace(answer.message, name=""), dead=_dead(answer.dead))
        case InboxMessage():
            return replace(answer, dead=_dead(answer.dead))
        case Committed(verdict=Verdict.ALREADY_APPLIED):
            return answer.at, answer.now, [(child.digest, child.parent, child.status) for child in answer.children]
        case Poll():
            claims = [(plain(one.run), one.input, plain(one.messages), one.lonely) for one in answer.claims]
            messages = sorted(answer.messages, key=lambda one: (one.message.run, one.seq))
            return answer.now, claims, plain(messages), sorted(answer.lost), answer.next_due_at
        case list() | tuple():
            return [plain(one) for one in answer]
        case dict():
            return dict(answer)
        case _:
            return answer


def _dead(reason: str | None) -> str | None:
    """A replaced run's unread letters are dead for reasons in a store's own words."""
    return reason if reason in (None, "dead") else "some words"
