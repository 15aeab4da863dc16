"""Stubs: for the length of one simulation, another function stands where a step's own was."""

from __future__ import annotations

import inspect
from asyncio import events
from collections.abc import Callable
from typing import Any, Final, final

from durable._author.definitions import Step
from durable._engine.attempts import current_attempt
from durable.errors import InvalidInput
from durable_testing.effects import StepRun, real_of
from durable_testing.loop import SimLoop
from durable_testing.world import World

__all__ = ["Stubs"]


@final
class Stubs:
    """Of one simulation. A stubbed step is stubbed for everybody in it, also for another step that calls it.

    The step's function is replaced by one that asks which simulation runs; the last simulation to end takes that back.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def put(self, step: Step[..., Any], fn: Callable[..., Any]) -> None:
        """From now on ``fn`` is what the step does here.

        Raises:
            InvalidInput: One of them is not what it should be.
        """
        if not isinstance(step, Step):
            raise InvalidInput(f"stub() takes a step (a function under @step), not {step!r}.")
        if not callable(fn):
            raise InvalidInput(f"stub() takes a function that stands for step {step.name!r}, not {fn!r}.")
        if step not in _users:
            _users[step] = set()
            step._fn, step.spec = _asking(step, step._fn), None
        _users[step].add(self)
        self._world.loop.stubs[step] = self._standing_for(step, fn)

    def restore(self) -> None:
        """Every step does again what it was written to do."""
        for step in self._world.loop.stubs:
            users = _users.get(step, set())
            users.discard(self)
            if not users and _users.pop(step, None) is not None:
                step._fn, step.spec = real_of(step._fn), None
        self._world.loop.stubs.clear()

    def _standing_for(self, step: Step[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            result = fn(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self._written_down(step, awaited if step.is_async else fn)

    def _written_down(self, step: Step[..., Any], stub: Callable[..., Any]) -> Callable[..., Any]:
        """A call of the step from inside another step is one too; those that a worker makes are written down by it."""
        world, real = self._world, real_of(step._fn)

        def standing(*args: Any, **kwargs: Any) -> Any:
            attempt = current_attempt.get()
            if attempt is not None and real_of(attempt.call.spec.fn) is not real:
                ran = StepRun.of(attempt, step.name, real, args, kwargs, world.now(), "client")
                world.effects.all.append(ran)
            return stub(*args, **kwargs)

        return standing


_users: Final[dict[Step[..., Any], set[Stubs]]] = {}


def _asking(step: Step[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """The step's function while anybody stubs it: the stub of the simulation that runs, or the real one."""

    def asking(*args: Any, **kwargs: Any) -> Any:
        loop = events._get_running_loop()
        stub = loop.stubs.get(step) if isinstance(loop, SimLoop) else None
        return (real if stub is None else stub)(*args, **kwargs)

    asking.__dict__["durable_real"] = real
    asking.__name__ = getattr(real, "__name__", step.name)
    return asking
