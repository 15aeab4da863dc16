"""Which of the waiting messages and due timers become the next entries.

Rule 7: in order of arrival / due time, a message first on a tie; waiters of one name are served in call order. A signal
may only be the first entry of a commit: what comes before it could make its waiter give up, and the signal would be
lost (I7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from durable._core.call import Call
from durable._core.state import RunState
from durable._model.commits import DeadLetter
from durable._model.defaults import COMMIT_BYTES_MAX, COMMIT_ITEMS_MAX
from durable._model.entries import CallKind, CancelAsked, Entry, Settled
from durable._model.ids import MessageId
from durable._model.messages import InboxMessage, MessageKind

__all__ = ["Selection", "select"]


@dataclass(slots=True)
class Selection:
    """What one commit takes from the inbox and the timers.

    Attributes:
        entries: In order.
        consumed: Messages that entries were made of, or that nobody waits for any more.
        dead: Messages that the waiter cannot read.
        not_before: The latest due time among the timers.
        more: Something was left for the next commit, because this one is full.
    """

    entries: list[Entry] = field(default_factory=list)
    consumed: list[MessageId] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    not_before: float | None = None
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.entries or self.consumed or self.dead)


def select(
    state: RunState,
    unread: Sequence[InboxMessage],
    now: float,
    unreadable: Callable[[Call, bytes], str | None],
    *,
    head: bool = True,
    room: int = COMMIT_ITEMS_MAX,
) -> Selection:
    """Choose the next entries.

    Args:
        unread: The inbox in arrival order.
        now: Store time as far as the worker knows; a timer that is not due after all is refused by the store.
        unreadable: Why a waiter cannot read a payload; None if it can.
        head: Whether these entries would open a commit; if not, no signal is taken.
        room: How many entries, and how many messages, the commit may hold.
    """
    chosen = Selection()
    served: set[str] = set()
    size = 0
    for _, is_timer, item in _candidates(state, unread, now):
        taken = max(len(chosen.entries), len(chosen.consumed) + len(chosen.dead))
        if taken >= room or size >= COMMIT_BYTES_MAX // 2:
            chosen.more = True
            break
        if is_timer:
            assert isinstance(item, Call)
            assert item.due is not None
            chosen.entries.append(Settled(CallKind.TIMER, item.id, item.fingerprint, True, b"", due=item.due))
            chosen.not_before = max(item.due, chosen.not_before or item.due)
            continue
        assert isinstance(item, InboxMessage)
        if item.message.kind is not MessageKind.SIGNAL:
            size += len(item.message.payload)
            _take(state, item, chosen)
            continue
        waiter = _waiter(state, item.message.name, served)
        if waiter is None:
            continue
        reason = unreadable(waiter, item.message.payload)
        if reason is not None:
            chosen.dead.append(DeadLetter(item.message.id, reason))
            continue
        if chosen.entries or not head:
            break
        served.add(waiter.id)
        chosen.consumed.append(item.message.id)
        chosen.entries.append(
            Settled(CallKind.SIGNAL, waiter.id, waiter.fingerprint, True, item.message.payload, message=item.message.id)
        )
    return chosen


def _candidates(
    state: RunState, unread: Sequence[InboxMessage], now: float
) -> list[tuple[tuple[float, int, float], bool, InboxMessage | Call]]:
    found: list[tuple[tuple[float, int, float], bool, InboxMessage | Call]] = []
    arrived = 0.0
    for item in unread:
        arrived = max(arrived, item.at)  # the store's clock may have stepped back between two arrivals (I6)
        if item.message.kind is not MessageKind.PAUSE:
            found.append(((arrived, 0, float(item.seq)), False, item))
    for order, call in enumerate(state.calls.values()):
        if call.kind is CallKind.TIMER and call.due is not None and call.due <= now:
            found.append(((call.due, 1, float(order)), True, call))
    found.sort(key=lambda candidate: candidate[0])
    return found


def _waiter(state: RunState, name: str, served: set[str]) -> Call | None:
    for call in state.calls.values():
        if call.kind is CallKind.SIGNAL and call.name == name and call.id not in served:
            return call
    return None


def _take(state: RunState, item: InboxMessage, chosen: Selection) -> None:
    message = item.message
    chosen.consumed.append(message.id)
    if message.kind is MessageKind.CANCEL:
        if state.cancel_cause is None and not any(isinstance(entry, CancelAsked) for entry in chosen.entries):
            chosen.entries.append(CancelAsked("cancel", message.payload, message.id))
        return
    for call in state.calls.values():
        if call.id == message.name and call.kind is CallKind.CHILD and message.generation == state.facts.generation:
            chosen.entries.append(
                Settled(CallKind.CHILD, call.id, call.fingerprint, True, message.payload, message=message.id)
            )
            return
