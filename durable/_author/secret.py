"""Secrets by reference: a journal learns where a value is kept, and never the value."""

from __future__ import annotations

import asyncio
import os
import stat
from fnmatch import fnmatchcase
from typing import Any, Final, NoReturn, cast, final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from durable._core.primitives import in_workflow
from durable._model.ids import check_name
from durable._model.privacy import SECRET_KEY
from durable.codec.redaction import remember
from durable.codec.values import Unstorable
from durable.errors import InvalidInput, SecretUnavailable

__all__ = ["ALLOWED", "Secret"]

ALLOWED: Final = "DURABLE_SECRETS"
"""The variable that says which references a process may follow: ``env:STRIPE_*, file:/run/secrets/*``."""

_ENV: Final = "env"
_FILE: Final = "file"
_FILE_BYTES_MAX: Final = 64 * 1024
_PATH_CHARS_MAX: Final = 1024


@final
class Secret:
    """A secret that travels as a reference: ``Secret.env("STRIPE_KEY")`` or ``Secret.file("/run/secrets/stripe")``.

    As an argument it is journaled as ``{"$secret": "env:STRIPE_KEY"}``; the worker that runs the step reads the value
    with ``reveal()``. No text of a Secret (``repr``, ``str``, ``format``) shows its value. Two are equal if they refer
    to the same place.

    ``Secret("value")`` holds a value itself, for a test that calls a step as the plain function it is; the codec
    refuses it.
    """

    __slots__ = ("_reference", "_value")

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise InvalidInput("Secret(...) takes a text that is not empty.")
        self._reference: str | None = None
        self._value = value

    @staticmethod
    def env(name: str) -> Secret:
        """The value of an environment variable of the process that reveals it.

        Raises:
            InvalidName: It cannot be a variable's name.
        """
        return _referring(_ENV, name)

    @staticmethod
    def file(path: str) -> Secret:
        """What a file holds, as UTF-8, without one line break at its end; at most 64 KiB.

        Args:
            path: Absolute, since workers have working directories of their own.

        Raises:
            InvalidInput: It is relative, or has ``..`` in it.
        """
        return _referring(_FILE, path)

    def reveal(self) -> str:
        """The value, read now, in this process; only in steps and outside of workflows.

        From now on ``redact`` knows it. A step that returns it has it journaled in clear, like any other result.

        Raises:
            SecretUnavailable: It is not there, or ``DURABLE_SECRETS`` does not allow it here.
            WorkflowCodeError: Called by workflow code: replay would read another value, or none.
        """
        if in_workflow():
            loop = cast(Any, asyncio.get_running_loop())
            loop.refuse(
                f"Workflow code reveals {self!r}. Hand the Secret to a step, and reveal it there: the value can be "
                "another one at the next replay, and must not come near the journal."
            )
        if self._reference is None:
            remember(self._value, "value")
            return self._value
        source, _, name = self._reference.partition(":")
        _check_allowed(self, self._reference)
        value = _from_environment(self, name) if source == _ENV else _from_file(self, name)
        remember(value, name)
        return value

    def __repr__(self) -> str:
        if self._reference is None:
            return "Secret(...)"
        source, _, name = self._reference.partition(":")
        return f"Secret.{source}({name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self is other or (self._reference is not None and self._reference == other._reference)

    def __hash__(self) -> int:
        return id(self) if self._reference is None else hash(self._reference)

    def __reduce__(self) -> Any:
        if self._reference is None:
            raise TypeError("A Secret that holds its value cannot be pickled; use Secret.env(...) or Secret.file(...).")
        return _read, (self._reference,)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(_dump)
        return core_schema.no_info_plain_validator_function(_load, serialization=written)


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _referring(source: str, name: str) -> Secret:
    if source == _ENV:
        check_name("name of a secret's environment variable", name)
        if "=" in name:
            raise InvalidInput("A secret's environment variable has no '=' in its name.")
    else:
        _check_path(name)
    made = Secret.__new__(Secret)
    made._reference = f"{source}:{name}"
    made._value = ""
    return made


def _check_path(path: str) -> None:
    # What was given is not shown: it may be the value itself, in the wrong place.
    if not isinstance(path, str) or not os.path.isabs(path):
        raise InvalidInput("Secret.file(...) takes an absolute path.")
    if not path.isprintable() or len(path) > _PATH_CHARS_MAX or ".." in path.split("/"):
        raise InvalidInput("Secret.file(...) takes a plain path: printable, without '..', of at most 1,024 characters.")


def _read(reference: str) -> Secret:
    """From a reference as it is journaled.

    Raises:
        InvalidInput: It names no source that is known.
    """
    source, colon, name = reference.partition(":")
    if not colon or source not in (_ENV, _FILE):
        raise InvalidInput("The reference of a secret begins with env: or file:.")
    return _referring(source, name)


def _dump(value: Any) -> dict[str, str]:
    if not isinstance(value, Secret):
        raise TypeError("not a Secret")
    if value._reference is None:
        raise Unstorable(
            "a Secret that holds its value would be stored in clear. Use Secret.env(...) or Secret.file(...)."
        )
    return {SECRET_KEY: value._reference}


def _load(given: Any) -> Secret:
    if isinstance(given, Secret):
        return given
    if isinstance(given, dict) and given.keys() == {SECRET_KEY} and isinstance(given[SECRET_KEY], str):
        return _read(given[SECRET_KEY])
    raise ValueError(f'a secret is given as {{"{SECRET_KEY}": "env:NAME"}} or {{"{SECRET_KEY}": "file:/path"}}')


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_allowed(secret: Secret, reference: str) -> None:
    # References come with a run's input; whoever may start runs must not choose what of this process is revealed.
    allowed = os.environ.get(ALLOWED)
    patterns = [] if allowed is None else [pattern.strip() for pattern in allowed.split(",")]
    if allowed is not None and not any(fnmatchcase(reference, pattern) for pattern in patterns):
        _unavailable(secret, f"{ALLOWED} does not allow it in this process. Add {reference!r}, or refuse such input.")


def _from_environment(secret: Secret, name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        _unavailable(secret, "there is no such variable in the environment of this process. Set it for every worker.")
    if any("\ud800" <= character <= "\udfff" for character in value):  # how Python shows bytes that are not UTF-8
        _unavailable(secret, "it is not UTF-8 text.")
    return _checked(secret, value)


def _from_file(secret: Secret, path: str) -> str:
    try:
        # Not blocking: a pipe in its place must not hold the worker up.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        _unavailable(secret, f"the file cannot be read ({error.strerror}). Mount it for every worker.")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        _unavailable(secret, "it is not a file.")
    with open(fd, "rb") as opened:
        raw = opened.read(_FILE_BYTES_MAX + 1)
    if len(raw) > _FILE_BYTES_MAX:
        _unavailable(secret, f"the file has more than {_FILE_BYTES_MAX:,} bytes.")
    try:
        return _checked(secret, raw.decode("utf-8").removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        _unavailable(secret, "the file is not UTF-8 text.")


def _checked(secret: Secret, value: str) -> str:
    if not value:
        _unavailable(secret, "it is empty.")
    return value


def _unavailable(secret: Secret, why: str) -> NoReturn:
    raise SecretUnavailable(f"{secret!r} cannot be revealed: {why}") from None
