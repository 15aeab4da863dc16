"""What scenarios ask again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from durable import Handle, RunCancelled, RunFailed, Step
from durable_testing.effects import StepRun
from durable_testing.sim import Sim

__all__ = ["coherent", "first_begins", "keys", "never_twice", "outcome", "until"]

_LOOK_SECONDS: Final = (0.25, 60.0)  # at first, and in the end
_PATIENCE_SECONDS: Final = 18_000.0  # a suspended machine may come back after hours


async def until(sim: Sim, happened: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Let time pass until it has happened; that it does is part of what is asserted."""
    look, longest = _LOOK_SECONDS
    waited = 0.0
    while waited < _PATIENCE_SECONDS:
        answer = happened()
        if answer if isinstance(answer, bool) else await answer:
            return
        await sim.advance(seconds=look)
        waited += look
        look = min(1.1 * look, longest)
    raise AssertionError(f"{what}: not within {_PATIENCE_SECONDS:.0f} s")


async def outcome(handle: Handle[Any]) -> str:
    """How the run has ended, in a few words."""
    try:
        return f"completed: {await handle.result()!r}"
    except RunFailed as error:
        return f"failed: {error.__cause__!r}"
    except RunCancelled:
        return "cancelled"


def coherent(sim: Sim) -> None:
    """All attempts of one call have one idempotency key and the same arguments: those come from committed outcomes."""
    first: dict[tuple[str, int, str], StepRun] = {}
    owners: dict[str, tuple[str, int, str]] = {}
    for ran in sim.world.effects.all:
        call = (ran.run, ran.generation, ran.call)
        one = first.setdefault(call, ran)
        assert ran.key == one.key, f"{ran.name} of {ran.run} ran with the keys {one.key} and {ran.key}"
        assert owners.setdefault(ran.key, call) == call, f"the key {ran.key} belongs to two calls"
        assert (ran.args, ran.kwargs) == (one.args, one.kwargs), (
            f"{ran.name} of {ran.run} ran with {one.args} {one.kwargs}, then with {ran.args} {ran.kwargs}"
        )


def never_twice(sim: Sim, step: Step[..., Any]) -> None:
    """Of one call the step ran at most once."""
    ran = [done.key for done in sim.calls(step)]
    assert len(ran) == len(set(ran)), f"{step.name} ran more than once: {ran}"


def keys(runs: Iterable[StepRun]) -> list[str]:
    """Their idempotency keys, each once, in the order in which they first came."""
    return list(dict.fromkeys(ran.key for ran in runs))


def first_begins(runs: Sequence[StepRun]) -> list[tuple[Any, ...]]:
    """The arguments of each call, in the order in which they first began."""
    seen: dict[str, tuple[Any, ...]] = {}
    for ran in runs:
        seen.setdefault(ran.key, ran.args)
    return list(seen.values())
