"""What the layers above may ask of a JavaScript engine, whichever it is and wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

__all__ = [
    "MEMORY_BYTES",
    "MEMORY_BYTES_MAX",
    "TIMEOUT_SECONDS",
    "TIMEOUT_SECONDS_MAX",
    "JsRuntime",
    "JsonValue",
    "Kind",
    "SyntaxProblem",
]

JsonValue: TypeAlias = "None | bool | int | float | str | list[JsonValue] | dict[str, JsonValue]"
Kind = Literal["expression", "body"]

TIMEOUT_SECONDS: Final = 0.5
TIMEOUT_SECONDS_MAX: Final = 60.0
MEMORY_BYTES: Final = 32 * 1024 * 1024
MEMORY_BYTES_MAX: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a piece of source does not compile.

    Attributes:
        message: As the engine says it.
        line: Counted from 1 in the given source; None where the engine does not know.
        column: Counted from 1, in UTF-16 units.
    """

    message: str
    line: int | None
    column: int | None


class JsRuntime(Protocol):
    """Evaluates JavaScript that nobody vouches for. Each call has a context of its own and leaves nothing behind.

    Values go in and come out as JSON. What JavaScript's numbers cannot hold loses exactness on the way: integers beyond
    2**53, which come back as a ``float``, and ``-0.0``; a smaller whole ``float`` comes back as an ``int``, NaN and
    infinities as None. ``undefined`` is None.
    Clock and chance are real: a result that must not change belongs into a step, whose journal keeps it.

    All methods raise:
        JsError: The code is to blame; its subclasses say how. Not retried in a step.
        JsInterrupted: The code is not to blame. Retried in a step.
        InvalidInput: A limit, a variable's name or a variable's value is not possible. Nothing was run.
        MissingExtra: The engine is not installed, or cannot run on this system.
    """

    async def evaluate(
        self,
        expression: str,
        variables: Mapping[str, JsonValue] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        memory: int = MEMORY_BYTES,
    ) -> JsonValue:
        """The value of one expression (``"context.amount > 100"``).

        Args:
            variables: Names that the expression sees, each a JavaScript identifier.
            timeout: Seconds of processor time. The whole call may take half a second more than that, never longer.
            memory: Bytes that the engine may allocate.
        """
        ...

    async def call(
        self,
        body: str,
        variables: Mapping[str, JsonValue] | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        memory: int = MEMORY_BYTES,
    ) -> JsonValue:
        """What a function with this body returns (``"return input.map(x => x * 2)"``); a promise is waited for.

        Args: As for ``evaluate``; the variables are the function's parameters.
        """
        ...

    async def check(self, source: str, kind: Kind, names: tuple[str, ...] = ()) -> SyntaxProblem | None:
        """Compile only; None when the source is good.

        Args:
            kind: Whether the source is for ``evaluate`` or for ``call``.
            names: Of the variables that it will see.
        """
        ...
