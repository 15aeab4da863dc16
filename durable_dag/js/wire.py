"""Requests to bytes and answers to values: what crosses between host and helper, as the host sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from durable.errors import InvalidInput
from durable_dag.js.errors import JsError, JsMemory, JsResultError, JsSyntaxError, JsTimeout
from durable_dag.js.runtime import MEMORY_BYTES_MAX, TIMEOUT_SECONDS_MAX, JsonValue, Kind

__all__ = ["RESULT_BYTES_MAX", "SOURCE_BYTES_MAX", "VARIABLES_BYTES_MAX", "Request", "value_of"]

SOURCE_BYTES_MAX: Final = 1024 * 1024
VARIABLES_BYTES_MAX: Final = 8 * 1024 * 1024
RESULT_BYTES_MAX: Final = 1024 * 1024

_EXACT: Final = 2**53
_AROUND_BYTES: Final = len('{"ok":}')
_MEMORY_BYTES_MIN: Final = 1024 * 1024  # the engine itself takes a tenth of it
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_PLACE: Final = re.compile(r"<input>:(\d{1,9}):(\d{1,9})")
# Lines that the engine and the prelude put before the source.
_LINES_BEFORE: Final[Mapping[Kind, int]] = {"body": 2, "expression": 3}


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        act: Whether the code is run or only compiled.
        variables: Values by name, in the order of the parameters.
        timeout: Seconds of processor time.
        memory: Bytes.

    Raises:
        InvalidInput: A limit or a name is not possible.
    """

    act: Literal["run", "check"]
    kind: Kind
    source: str
    variables: Mapping[str, JsonValue]
    timeout: float
    memory: int

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= TIMEOUT_SECONDS_MAX:
            raise InvalidInput(f"A time limit is above 0 and at most {TIMEOUT_SECONDS_MAX:g} s, not {self.timeout!r}.")
        if not _MEMORY_BYTES_MIN <= self.memory <= MEMORY_BYTES_MAX:
            raise InvalidInput(
                f"A memory limit is from {_MEMORY_BYTES_MIN:,} to {MEMORY_BYTES_MAX:,} bytes, not {self.memory!r}."
            )
        if self.kind not in _LINES_BEFORE:
            raise InvalidInput(f"JavaScript is an 'expression' or a 'body', not {self.kind!r}.")
        for name in self.variables:
            if _IDENTIFIER.fullmatch(name) is None:
                raise InvalidInput(f"The variable {name!r} is not a JavaScript identifier of at most 128 characters.")

    def encode(self) -> bytes:
        """The frame without its length.

        Raises:
            InvalidInput: A value is not JSON, or something is too large.
        """
        try:
            size = len(self.source.encode())
        except UnicodeEncodeError as error:
            raise InvalidInput(f"The source is not text: {error}.") from error
        if size > SOURCE_BYTES_MAX:
            raise InvalidInput(f"The source has {size:,} bytes; at most {SOURCE_BYTES_MAX:,} are allowed.")
        try:
            variables = json.dumps(dict(self.variables), allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"The variables of this JavaScript are not JSON: {error}.") from error
        if len(variables) > VARIABLES_BYTES_MAX:
            raise InvalidInput(
                f"The variables are {len(variables):,} bytes of JSON; at most {VARIABLES_BYTES_MAX:,} are allowed."
            )
        asked = {
            "act": self.act,
            "kind": self.kind,
            "source": self.source,
            "seconds": self.timeout,
            "memory_bytes": self.memory,
            "result_max": RESULT_BYTES_MAX + _AROUND_BYTES,
        }
        return json.dumps(asked).encode() + b"\n" + variables.encode()


def value_of(request: Request, answer: bytes) -> JsonValue:
    """The value in an answer.

    Raises:
        JsError: The answer is a failure, or no value that fits.
        InvalidInput: The engine could not read the variables, which only their depth can bring about.
    """
    if len(answer) > RESULT_BYTES_MAX + _AROUND_BYTES:
        raise _too_large(f"{len(answer):,} bytes")
    try:
        told = json.loads(answer, parse_int=_number)
    except RecursionError as error:
        raise JsResultError("the result is nested too deeply to be read", name="RangeError") from error
    except ValueError as error:
        raise JsResultError(f"the result cannot be read: {error}", name="RangeError") from error
    if "ok" in told:
        return cast(JsonValue, told["ok"])
    raise _failure(request, told)


def _failure(request: Request, told: Mapping[str, str]) -> JsError | InvalidInput:
    name, message = told["name"], told["message"]
    line, column = _place(request.kind, told["stack"])
    match told["kind"]:
        case "thrown":
            return JsError(message, name=name, line=line, column=column)
        case "syntax":
            return _syntax_error(request.source, name, message, line, column)
        case "time":
            return JsTimeout(f"computed for longer than {request.timeout:g} s", name="Timeout")
        case "memory":
            threw = "threw null, as the engine does when it " if message == "null" else ""
            message = f"{threw}wanted more than {request.memory:,} bytes of memory, or too long a string"
            return JsMemory(message, name=name or "InternalError", line=line, column=column)
        case "result":
            return JsResultError(f"the result is not JSON: {message}", name=name)
        case "large":
            return _too_large(message)
        case "input":
            return InvalidInput(f"JavaScript cannot take these variables: {message}.")
        case kind:
            raise AssertionError(f"an answer of an unknown kind: {kind!r}")


def _number(digits: str) -> int | float:
    """JavaScript writes large floats as digits that are not those of the float, so that an ``int`` would be another."""
    return int(digits) if abs(number := float(digits)) <= _EXACT else number


def _syntax_error(source: str, name: str, message: str, line: int | None, column: int | None) -> JsSyntaxError:
    lines = source.split("\n")
    if line is not None and line > len(lines):
        # The engine stumbles over a bracket of ours.
        message, line, column = "unexpected end", len(lines), len(lines[-1]) + 1
    return JsSyntaxError(message, name=name, line=line, column=column)


def _too_large(size: str) -> JsResultError:
    return JsResultError(f"the result is too large: {size}; at most {RESULT_BYTES_MAX:,} bytes", name="RangeError")


def _place(kind: Kind, stack: str) -> tuple[int | None, int | None]:
    """Line and column of the topmost frame that lies in the given source."""
    found = _PLACE.search(stack)
    if found is None:
        return None, None
    line = int(found[1]) - _LINES_BEFORE[kind]
    return (line, int(found[2])) if line > 0 else (None, None)
