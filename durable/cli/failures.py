"""Exit codes, and how each error of the engine is told: one line what, one line what to do."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Final

from durable import errors

__all__ = ["Exit", "Failure", "told"]


class Exit(IntEnum):
    """What the shell gets to see; documented in ``docs/cli.md``."""

    OK = 0
    FAILED = 1  # the run failed, or a check found problems
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4  # it is not possible in this state
    UNREACHABLE = 5  # the store cannot be used
    UNAUTHORISED = 6  # a server does not accept the token, or its role does not allow it
    CANCELLED = 7
    TIMED_OUT = 124
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command with a message.

    Args:
        what: Happened, in one line.
        todo: What helps, in one line; empty if nothing does.
    """

    def __init__(self, what: str, todo: str = "", code: Exit = Exit.USAGE) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.code = code


_STORE: Final = "Check --store (or DURABLE_STORE), the file's permissions and the disk; then try again."

_TABLE: Final[tuple[tuple[type[BaseException], Exit, str], ...]] = (
    (errors.RunNotFound, Exit.NOT_FOUND, "See what there is: durable runs list"),
    (errors.UnknownWorkflow, Exit.NOT_FOUND, "Or name the code itself: durable start module:workflow"),
    (errors.RunConflict, Exit.CONFLICT, ""),
    (errors.RunEnded, Exit.CONFLICT, "An ended run can be begun again: durable runs retry ID"),
    (errors.RunBlocked, Exit.CONFLICT, ""),
    (errors.RunFailed, Exit.FAILED, "See where: durable runs show ID"),
    (errors.RunCancelled, Exit.CANCELLED, ""),
    (errors.Corrupt, Exit.UNREACHABLE, "Is it the right file? Nothing was changed."),
    (errors.StoreError, Exit.UNREACHABLE, _STORE),
    (errors.MissingExtra, Exit.USAGE, ""),
    (errors.UnknownStore, Exit.USAGE, "Write it like --store sqlite:///orders.db"),
    (errors.DurableError, Exit.USAGE, ""),
    (TimeoutError, Exit.TIMED_OUT, "The run goes on; wait longer with --timeout, or look: durable runs why ID"),
    (KeyboardInterrupt, Exit.INTERRUPTED, ""),
    (asyncio.CancelledError, Exit.INTERRUPTED, ""),
)


def told(error: BaseException) -> Failure | None:
    """The failure that an exception stands for; None if it is a surprise."""
    if isinstance(error, Failure):
        return error
    for kind, code, todo in _TABLE:
        if isinstance(error, kind):
            return Failure(str(error) or "Interrupted.", todo, code)
    return None
