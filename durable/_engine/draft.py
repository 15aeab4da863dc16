"""What one commit of a run says, and what is to be delivered when the store has applied it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from durable._core.inbox import Selection
from durable._core.plan import Flush
from durable._engine import endings
from durable._model.commits import Blocked, Commit, Part, Then
from durable._model.entries import Entry, encode_entry
from durable._model.ids import MessageId
from durable._model.runs import RunRecord, Wait

__all__ = ["Draft", "Fence"]


@final
@dataclass(slots=True)
class Fence:
    """Which write of which claim it is."""

    epoch: int
    seq: int
    position: int


@final
@dataclass(slots=True)
class Draft:
    """Nearly all say nothing but outcomes of steps: for those, ``flush`` and ``chosen`` are None.

    Attributes:
        entries: In the order in which they are appended and delivered.
        flushed: See ``RunRecord.flushed``; None leaves it as it is.
        flush: Fire-and-forget commands that go along.
        chosen: What is taken from the inbox; its entries are among ``entries``.
    """

    entries: list[Entry]
    flushed: tuple[int, int] | None
    flush: Flush | None = None
    chosen: Selection | None = None

    def commit(
        self,
        run: RunRecord,
        fence: Fence,
        then: Then,
        waits: tuple[Wait, ...] | None,
        parts: tuple[Part, ...] = (),
        consumed: tuple[MessageId, ...] = (),
    ) -> Commit:
        """The commit that says it.

        Args:
            consumed: Besides what ``chosen`` consumes.
        """
        commit = Commit(
            run.id,
            fence.epoch,
            fence.seq,
            fence.position,
            tuple(map(encode_entry, self.entries)),
            then,
            None if isinstance(then, Blocked) else self.flushed,
            consumed,
            parts=parts,
            waits=waits,
        )
        flush, chosen = self.flush, self.chosen
        if flush is not None:
            commit.messages = (*flush.messages, *endings.farewell(run, then))
            commit.children = tuple(flush.children)
            commit.values = tuple(flush.values)
            commit.emits = tuple(flush.emits)
        if chosen is not None:
            commit.consumed = (*chosen.consumed, *consumed)
            commit.dead = tuple(chosen.dead)
            commit.not_before = chosen.not_before
        return commit
