"""Writes that are asked for while another is under way share the next transaction: one lock and one sync for them all.

Each is carried out as it would be alone, after those that were asked for before it. If one of them fails, nothing of
any was written, and each has a transaction of its own.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast, final

from durable.errors import OutcomeUnknown
from durable_sqlite.failures import is_busy

__all__ = ["Body", "Hints", "Part", "Together", "Write"]

T = TypeVar("T")
Body = Callable[[sqlite3.Connection, float], T]
Hints = bool | Callable[[], bool]
Part = tuple[Body[Any], Hints, bool]
Transaction = Callable[[sqlite3.Connection, Sequence[Part], bool], list[Any]]

_WRITES_MAX: Final = 64  # so that other processes get their turn


@final
class Write(Generic[T]):
    """One write.

    Args:
        body: What is done in the transaction, given store time; may be done again from the start.
        alone: The same in a transaction of its own, with whatever is to be done when the body fails.
        synced: Whether a power loss may not undo it.
        hints: Whether somebody may have something to do if anything was changed; asked after the body.
        work: Whether workers may be those who have something to do, and not readers alone.
        after: Called with the result once it is written, before anything else is done in the line.
    """

    __slots__ = ("_after", "_error", "_result", "alone", "body", "carried_out", "hints", "synced", "work")

    def __init__(
        self,
        body: Body[T],
        alone: Callable[[sqlite3.Connection], T],
        synced: bool,
        hints: Hints,
        work: bool = True,
        after: Callable[[T], None] | None = None,
    ) -> None:
        self.body = body
        self.alone = alone
        self.synced = synced
        self.hints = hints
        self.work = work
        self.carried_out = False
        self._after = after
        self._error: BaseException | None = None
        self._result: T | None = None

    def succeed(self, result: T) -> None:
        """It is written."""
        if self._after is not None:
            self._after(result)
        self._result = result
        self.carried_out = True

    def fail(self, error: BaseException) -> None:
        """It is not written, or nobody knows."""
        self._error = error
        self.carried_out = True

    def result(self) -> T:
        """What it came to, or the error."""
        if self._error is not None:
            raise self._error
        return cast(T, self._result)


@final
class Together:
    """Writes that wait for the writing line. They are added from any thread, and carried out in the line's.

    Args:
        transaction: Carries out several bodies in one transaction, synced or not, and returns their results.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._waiting: deque[Write[Any]] = deque()

    def add(self, write: Write[Any]) -> None:
        """Whoever adds a write has ``carry_out`` called for it in the line."""
        self._waiting.append(write)

    def carry_out(self, raw: sqlite3.Connection, write: Write[T]) -> T:
        """The result of a write, which may have been carried out with an earlier one; if not, all that wait are now."""
        while not write.carried_out:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _WRITES_MAX))]
            assert taken  # it was added before its turn came, and nobody else takes from here
            if len(taken) == 1:
                _alone(raw, taken[0])
            else:
                self._all(raw, taken)
        return write.result()

    def _all(self, raw: sqlite3.Connection, writes: Sequence[Write[Any]]) -> None:
        try:
            synced = any(write.synced for write in writes)
            results = self._transaction(raw, [(write.body, write.hints, write.work) for write in writes], synced)
        except Exception as error:
            for write in writes:
                if is_busy(error) or isinstance(error, OutcomeUnknown):
                    write.fail(error)
                else:
                    _alone(raw, write)
            return
        except BaseException as error:
            for write in writes:
                write.fail(error)
            return
        for write, result in zip(writes, results, strict=True):
            write.succeed(result)


def _alone(raw: sqlite3.Connection, write: Write[Any]) -> None:
    try:
        write.succeed(write.alone(raw))
    except BaseException as error:
        write.fail(error)
