"""Stubs: for the length of one simulation, another function stands where a step's own was."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, final

from durable._author.definitions import Step
from durable._engine.attempts import current_attempt
from durable.errors import InvalidInput
from durable_testing.effects import StepRun
from durable_testing.world import World

__all__ = ["Stubs"]


@final
class Stubs:
    """Of one simulation. A stubbed step is stubbed for everybody who calls it, from inside another step too."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._real: dict[Step[..., Any], Callable[..., Any]] = {}

    def put(self, step: Step[..., Any], fn: Callable[..., Any]) -> None:
        """From now on ``fn`` is what the step does.

        Raises:
            InvalidInput: One of them is not what it should be.
        """
        if not isinstance(step, Step):
            raise InvalidInput(f"stub() takes a step (a function under @step), not {step!r}.")
        if not callable(fn):
            raise InvalidInput(f"stub() takes a function that stands for step {step.name!r}, not {fn!r}.")
        self._real.setdefault(step, step._fn)
        before = step._fn
        step._fn = self._standing_for(step, fn)
        for ran in self._world.effects.all:  # what ran before it was stubbed (anew) is still found under the step
            if ran.fn is before:
                ran.fn = step._fn

    def restore(self) -> None:
        """Every step does again what it was written to do."""
        for step, fn in self._real.items():
            step._fn = fn
        self._real.clear()

    def _standing_for(self, step: Step[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            result = fn(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self._written_down(step, awaited if step.is_async else fn)

    def _written_down(self, step: Step[..., Any], stub: Callable[..., Any]) -> Callable[..., Any]:
        """A call of the step from inside another step is one too; those that a worker makes are written down by it."""
        world = self._world

        def standing(*args: Any, **kwargs: Any) -> Any:
            attempt = current_attempt.get()
            spec = None if attempt is None else attempt.call.spec
            if attempt is not None and getattr(spec, "fn", None) is not standing:
                ran = StepRun.of(attempt, step.name, standing, args, kwargs, world.now(), "client")
                world.effects.all.append(ran)
            return stub(*args, **kwargs)

        return standing
