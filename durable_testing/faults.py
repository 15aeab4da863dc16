"""Faults as values, with a one-line text each, and plans: what decides where they strike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, Final, Protocol, final

from durable.errors import InvalidInput, ReadOnly, StoreError, StoreFull, Transient, WriteConflict

__all__ = ["ERRORS", "MEANINGS", "OPERATION_FAULTS", "Fault", "FaultKind", "Faults", "Op", "Plan", "SimCrash"]


class SimCrash(BaseException):
    """The process would be dead now. A ``FaultStore`` raises it where there is no simulated process to kill."""


class FaultKind(StrEnum):
    """What can go wrong; ``MEANINGS`` says it. The first group strikes one store operation, the second the world."""

    CRASH_BEFORE = "crash-before"
    CRASH_AFTER = "crash-after"
    ERROR = "error"
    UNKNOWN = "unknown"
    UNREACHED = "unreached"
    REPEAT = "repeat"
    DELAY = "delay"
    LATE = "late"

    KILL = "kill"
    STOP = "stop"
    SUSPEND = "suspend"
    DRAIN = "drain"
    REDEPLOY = "redeploy"
    EVICT = "evict"
    JUMP = "jump"
    SET_BACK = "set-back"
    DEAFEN = "deafen"
    ECHO = "echo"
    OUTAGE = "outage"
    SHORT_PAGES = "short-pages"


MEANINGS: Final[Mapping[FaultKind, str]] = {
    FaultKind.CRASH_BEFORE: "the caller dies before the effect",
    FaultKind.CRASH_AFTER: "the caller dies after the effect, before it hears the answer",
    FaultKind.ERROR: "nothing is written, and the caller is told so",
    FaultKind.UNKNOWN: "it is written, but the caller is told that nobody knows",
    FaultKind.UNREACHED: "nothing is written, and the caller is told that nobody knows",
    FaultKind.REPEAT: "it is carried out twice, as when somebody says it again after a lost answer",
    FaultKind.DELAY: "the effect comes late",
    FaultKind.LATE: "the effect comes in time, the answer late",
    FaultKind.KILL: "a worker dies, and is started again later",
    FaultKind.STOP: "a worker stands still for a while, then goes on (SIGSTOP)",
    FaultKind.SUSPEND: "a worker's machine is suspended: its monotonic clock stands still too",
    FaultKind.DRAIN: "a worker stops as on SIGTERM, and comes back",
    FaultKind.REDEPLOY: "every worker is killed, and comes back",
    FaultKind.EVICT: "a worker forgets the state of waiting runs",
    FaultKind.JUMP: "a worker's wall clock jumps",
    FaultKind.SET_BACK: "the store's clock steps back",
    FaultKind.DEAFEN: "wake-up hints are lost for a while",
    FaultKind.ECHO: "wake-up hints come twice for a while",
    FaultKind.OUTAGE: "every store operation fails for a while",
    FaultKind.SHORT_PAGES: "the store hands out journals one entry at a time for a while",
}
OPERATION_FAULTS: Final = frozenset(
    {
        FaultKind.CRASH_BEFORE,
        FaultKind.CRASH_AFTER,
        FaultKind.ERROR,
        FaultKind.UNKNOWN,
        FaultKind.UNREACHED,
        FaultKind.REPEAT,
        FaultKind.DELAY,
        FaultKind.LATE,
    }
)
ERRORS: Final[Mapping[str, type[StoreError]]] = {
    error.__name__: error for error in (Transient, WriteConflict, StoreFull, ReadOnly)
}
_TEXT: Final = re.compile(
    r"(?P<at>\d{1,9}):(?P<kind>[a-z-]+)(?:/(?P<error>\w+))?"
    r"(?:=(?P<seconds>-?\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?))?(?:@(?P<worker>\d{1,9}))?"
)


@final
@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong, when the store is asked for its ``at``-th operation (counted from 0, over all actors).

    Attributes:
        seconds: How long, or how far (``jump``, ``set-back``); 0 where it means nothing.
        worker: Which one, from 1, for what strikes a worker; 0 otherwise.
        error: Class of the ``error``.

    Raises:
        InvalidInput: There is no such fault; only a ``jump`` goes backwards.
    """

    at: int
    kind: FaultKind
    seconds: float = 0.0
    worker: int = 0
    error: str = "Transient"

    def __post_init__(self) -> None:
        for what, number in (("at", self.at), ("worker", self.worker)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidInput(f"Fault({what}=) is a whole number, 0 or more, not {number!r}.")
        if not isinstance(self.kind, FaultKind):
            raise InvalidInput(f"Fault(kind=) is a FaultKind, not {self.kind!r}.")
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float) or not isfinite(self.seconds):
            raise InvalidInput(f"Fault(seconds=) is a finite number, not {self.seconds!r}.")
        if self.seconds < 0 and self.kind is not FaultKind.JUMP:
            raise InvalidInput(f"Fault(seconds=) is 0 or more for {self.kind.value!r}, not {self.seconds!r}.")
        if self.error not in ERRORS:
            raise InvalidInput(f"Fault(error=) is one of {', '.join(ERRORS)}, not {self.error!r}.")

    def __str__(self) -> str:
        error = f"/{self.error}" if self.kind is FaultKind.ERROR else ""
        short = f"{self.seconds:g}"
        seconds = f"={short if float(short) == self.seconds else repr(self.seconds)}" if self.seconds else ""
        worker = f"@{self.worker}" if self.worker else ""
        return f"{self.at}:{self.kind.value}{error}{seconds}{worker}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault that prints so.

        Raises:
            InvalidInput: It is none.
        """
        found = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        kinds = {kind.value: kind for kind in FaultKind}
        if found is None or found["kind"] not in kinds or (found["error"] or "Transient") not in ERRORS:
            raise InvalidInput(f"{text!r} is not a fault. Faults are written like '14:crash-after' or '22:stop=20@1'.")
        return cls(
            int(found["at"]),
            kinds[found["kind"]],
            float(found["seconds"] or 0.0),
            int(found["worker"] or 0),
            found["error"] or "Transient",
        )


@final
@dataclass(slots=True)
class Op:
    """One store operation under way."""

    number: int
    actor: str
    method: str
    asked: tuple[Any, ...]


class Plan(Protocol):
    """Decides what goes wrong."""

    def begin(self, actor: str, method: str, asked: tuple[Any, ...]) -> tuple[Op, Fault | None]:
        """An operation is asked for: its number, and the fault that strikes it."""
        ...

    async def crash(self, op: Op) -> None:
        """The caller of this operation dies. It does not return where there is a process to kill; else it raises."""
        ...

    async def breathe(self) -> None:
        """Called before and after each effect: the place where others may come in between."""
        ...

    def hint(self, actor: str) -> int:
        """How many times a wake-up hint is to be passed on to this actor: 0, 1, 2."""
        ...

    def page(self, limit: int) -> int:
        """How many journal entries a page may have now, where so many were asked for."""
        ...


@final
@dataclass(slots=True)
class Faults:
    """A plan for a ``FaultStore`` outside the simulator: these faults strike, and a crash raises ``SimCrash``."""

    faults: Iterable[Fault] = ()
    count: int = 0
    _at: dict[int, Fault] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.faults, Iterable):
            raise InvalidInput(f"Faults() takes a list of Fault, not {self.faults!r}.")
        self.faults = tuple(self.faults)
        if not all(isinstance(fault, Fault) for fault in self.faults):
            raise InvalidInput(f"Faults() takes a list of Fault, not {self.faults!r}.")
        self._at = {fault.at: fault for fault in self.faults}

    def begin(self, actor: str, method: str, asked: tuple[Any, ...]) -> tuple[Op, Fault | None]:
        op = Op(self.count, actor, method, asked)
        self.count += 1
        return op, self._at.get(op.number)

    async def crash(self, op: Op) -> None:
        raise SimCrash(f"at operation {op.number}, {op.method}")

    async def breathe(self) -> None:
        pass

    def hint(self, actor: str) -> int:
        return 1

    def page(self, limit: int) -> int:
        return limit
