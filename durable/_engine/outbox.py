"""Entries of one run that wait for its next commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from durable._core.nobody import nobody
from durable._model import defaults
from durable._model.entries import AttemptFailed, Entry, NotDone, Settled

__all__ = ["Outbox"]

_BYTES_MAX: Final = defaults.COMMIT_BYTES_MAX // 2


@final
class Outbox:
    """In the order in which they came.

    Args:
        stir: Called when there is something new to commit.

    Attributes:
        entries: What waits.
        noted: Something came that people want to see: the next commit carries a summary of what the run waits for.
    """

    __slots__ = ("_stir", "entries", "noted")

    def __init__(self, stir: Callable[[], None]) -> None:
        self.entries: list[Entry] = []
        self._stir = stir
        self.noted = False

    def put(self, entry: Entry, *, noted: bool = False) -> None:
        """An outcome or a note for the next commit."""
        if noted:
            self.noted = True
        self.entries.append(entry)
        self._stir()

    def put_back(self, entries: Sequence[Entry]) -> None:
        """A commit was not due; what it said is said again by the next."""
        self.entries[:0] = entries

    def take(self, room: int, besides: Callable[[Entry], int] | None = None) -> list[Entry]:
        """The oldest entries, at most ``room``, within what one commit may weigh.

        Args:
            besides: Bytes that go along with an entry.
        """
        taken: list[Entry] = []
        if len(self.entries) == 1 and room >= 1:
            taken, self.entries = self.entries, taken
            return taken
        size = 0
        for entry in self.entries:
            size += len(getattr(entry, "payload", b"")) + (0 if besides is None else besides(entry))
            if len(taken) >= room or (taken and size > _BYTES_MAX):
                break
            taken.append(entry)
        del self.entries[: len(taken)]
        return taken

    def forget(self, call: str) -> None:
        """The code does not want this call's outcome any more."""
        self.entries = [entry for entry in self.entries if getattr(entry, "call", None) != call]

    def close(self) -> None:
        """The run leaves this worker: nobody will take anything from here."""
        self.entries.clear()
        self._stir = nobody

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()

    def decided(self) -> set[str]:
        """Calls about which an outcome waits here: their next attempt must not begin."""
        return {entry.call for entry in self.entries if isinstance(entry, Settled | AttemptFailed | NotDone)}
