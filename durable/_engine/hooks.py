"""What may stand between a worker and the user's code."""

from __future__ import annotations

from typing import Any, Protocol

from durable._author.calls import StepSpec
from durable._engine.attempts import Attempt

__all__ = ["Hooks"]


class Hooks(Protocol):
    """Given to ``Worker(hooks=)``; a simulator carries steps out itself, sees each begin and end, and stubs some."""

    async def carry_out(self, attempt: Attempt, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the step's function (or what stands for it) and return its result, or raise its error."""
        ...
