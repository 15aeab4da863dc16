"""A schedule: everything that tells one simulation from another, as a value and as one line of text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

from durable.errors import InvalidInput
from durable_testing.faults import Fault

__all__ = ["Schedule"]

_TEXT: Final = re.compile(r"(?P<workers>\d{1,3})w/(?P<seed>\d{1,18})(?:/(?P<faults>.*))?")
_WORKERS_LIMIT: Final = 1000  # what the text has digits for
_SEED_LIMIT: Final = 10**18


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """Its text, ``2w/4121/14:crash-after,22:stop=20@1``, is what ``--durable-seed`` and ``replay`` take.

    Attributes:
        workers: How many.
        seed: Of the order in which ready callbacks run and of everybody's dice.
        faults: By operation.

    Raises:
        InvalidInput: One of them has no text, such as a negative seed.
    """

    workers: int = 1
    seed: int = 0
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for what, value, limit in (("workers", self.workers, _WORKERS_LIMIT), ("seed", self.seed, _SEED_LIMIT)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
                raise InvalidInput(f"{what}= is a whole number from 0 to {limit - 1}, not {value!r}.")
        if not isinstance(self.faults, tuple) or not all(isinstance(fault, Fault) for fault in self.faults):
            raise InvalidInput(f"Schedule(faults=) is a tuple of Fault, not {self.faults!r}.")

    def __str__(self) -> str:
        faults = ",".join(str(fault) for fault in self.faults)
        return f"{self.workers}w/{self.seed}" + (f"/{faults}" if faults else "")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that prints so.

        Raises:
            InvalidInput: It is none.
        """
        found = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None or int(found["workers"]) < 1:
            raise InvalidInput(
                f"{text!r} is not a schedule. They are written like '2w/4121' or '1w/7/14:crash-after,22:kill=1@1'."
            )
        parts = [part for part in (found["faults"] or "").split(",") if part]
        return cls(int(found["workers"]), int(found["seed"]), tuple(Fault.parse(part) for part in parts))
