"""How a simulated worker carries steps out: in its own simulated process, with every begin and end in the ledger."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, final

from durable._author.calls import StepSpec
from durable._engine.attempts import Attempt
from durable_testing.effects import Effects, StepRun
from durable_testing.loop import Actor
from durable_testing.trace import Trace

__all__ = ["Hands"]


@final
class Hands:
    """The hooks of one worker.

    Args:
        actor: Whose hands they are.
        now: True time of the world.
        stir: Called when something happens.
        crash_at: Whether a crash was asked for at (step, moment).
        die: The actor dies here; does not return.
        interrupted: Told of a Ctrl-C in a step: it ends the test, and is no step's failure.
    """

    def __init__(
        self,
        actor: Actor,
        effects: Effects,
        trace: Trace,
        now: Callable[[], float],
        stir: Callable[[], None],
        crash_at: Callable[[str, str], bool],
        die: Callable[[Actor], Awaitable[None]],
        interrupted: Callable[[BaseException], None],
    ) -> None:
        self._actor = actor
        self._effects = effects
        self._trace = trace
        self._now = now
        self._stir = stir
        self._crash_at = crash_at
        self._die = die
        self._interrupted = interrupted

    async def carry_out(self, attempt: Attempt, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One attempt, begun and ended in the ledger; sync steps and those of other processes run inline."""
        if self._crash_at(spec.name, "before"):
            await self._die(self._actor)
        ran = StepRun.of(attempt, spec.name, spec.fn, args, kwargs, self._now(), self._actor.name)
        self._effects.all.append(ran)
        self._note("step.begin", ran, effect=spec.policy.effect)
        try:
            result = spec.fn(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except GeneratorExit:  # the burial of a killed worker: nothing of it happened
            raise
        except KeyboardInterrupt as asked:
            self._interrupted(asked)
            raise
        except BaseException as error:
            ran.ended, ran.error = True, error
            self._note("step.end", ran, error=type(error).__name__)
            raise
        ran.ended, ran.result = True, result
        self._note("step.end", ran, error=None)
        if self._crash_at(spec.name, "after"):
            await self._die(self._actor)
        return result

    def _note(self, kind: str, ran: StepRun, **data: Any) -> None:
        self._stir()
        self._trace.add(
            self._now(),
            self._actor.name,
            kind,
            run=ran.run,
            generation=ran.generation,
            call=ran.call,
            attempt=ran.attempt,
            key=ran.key,
            name=ran.name,
            **data,
        )
