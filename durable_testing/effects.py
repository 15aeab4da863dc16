"""The effect ledger: every time that a step's own code began, and how it ended. No fault erases it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

from durable._engine.attempts import Attempt

__all__ = ["Effects", "StepRun", "real_of"]


def real_of(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function that was written, where a stub stands for it."""
    real: Callable[..., Any] = getattr(fn, "durable_real", fn)
    return real


@final
@dataclass(slots=True)
class StepRun:
    """One time that a step ran.

    Attributes:
        name: Of the step.
        key: Its idempotency key: the same over all attempts of one call.
        run: Id of the run.
        generation: Of the run.
        call: Identity of the call.
        attempt: Counted from 1; an attempt that a crash has cut may come again with the same number.
        args, kwargs: As the step received them.
        at: Simulated seconds since the epoch.
        worker: Which worker carried it out; ``client`` if a stubbed step was called directly outside one.
        ended: Whether its code came to an end; a crash may cut it.
        result: What it returned.
        error: What it raised; None if it returned.
    """

    name: str
    key: str
    run: str
    generation: int
    call: str
    attempt: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at: float
    worker: str
    fn: Callable[..., Any] = field(repr=False)
    ended: bool = False
    result: Any = None
    error: BaseException | None = None

    @classmethod
    def of(
        cls,
        attempt: Attempt,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        at: float,
        worker: str,
    ) -> StepRun:
        """The begin of an attempt; its key is run id / generation / call."""
        run, generation = attempt.key[: -len(attempt.call_id) - 1].rsplit("/", 1)
        return cls(
            name,
            attempt.key,
            run,
            int(generation),
            attempt.call_id,
            attempt.number,
            args,
            kwargs,
            at,
            worker,
            real_of(fn),
        )


@final
class Effects:
    """In the order in which they began."""

    def __init__(self) -> None:
        self.all: list[StepRun] = []

    def of(self, fn: Callable[..., Any]) -> list[StepRun]:
        """Those of one function."""
        real = real_of(fn)
        return [done for done in self.all if done.fn is real]

    def named(self, name: str) -> list[StepRun]:
        """Those of steps with this name."""
        return [done for done in self.all if done.name == name]
