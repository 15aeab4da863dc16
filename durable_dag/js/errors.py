"""What can go wrong with JavaScript, by what helps: repairing the code, or trying again."""

from __future__ import annotations

from durable.errors import DurableError, NonRetryable

__all__ = [
    "JsCrash",
    "JsError",
    "JsFailure",
    "JsInterrupted",
    "JsMemory",
    "JsResultError",
    "JsSyntaxError",
    "JsTimeout",
]


class JsFailure(DurableError):
    """The root: a piece of JavaScript gave no value."""


class JsError(JsFailure, NonRetryable):
    """The code threw. The same code and the same values would throw again, so it is not retried.

    Attributes:
        name: The error's name as JavaScript has it (``"TypeError"``); empty for what is not an error object.
        message: Its message, at most 4,000 characters.
        line: Where in the given source, counted from 1; None where unknown.
        column: Counted from 1, in UTF-16 units; None where unknown.
    """

    def __init__(
        self, message: str, *, name: str = "Error", line: int | None = None, column: int | None = None
    ) -> None:
        where = "" if line is None else f" (line {line}, column {column})"
        super().__init__((f"{name}: " if name else "") + message + where)
        self.name = name
        self.message = message
        self.line = line
        self.column = column


class JsSyntaxError(JsError):
    """The source is not JavaScript, or is not one expression where one is asked for."""


class JsTimeout(JsError):
    """The code computed for longer than it may. Processor time, so that a busy machine is not blamed on it."""


class JsMemory(JsError):
    """The code wanted more memory than it may have, or a string longer than the engine allows."""


class JsResultError(JsError):
    """The result is not JSON (a cycle, a BigInt, a function), is too large, or is a promise that never settles."""


class JsCrash(JsError):
    """The engine itself crashed on this code, in its own process. Not retried: the same code would crash it again."""


class JsInterrupted(JsFailure):
    """The helper was killed, was closed, or got no processor time. Says nothing about the code: try again."""
