"""What is not shown to people because of where it stands: values under telling names, passwords in URLs."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["HIDDEN", "SECRET_KEY", "is_private", "masked", "shown_url"]

HIDDEN: Final = "[hidden]"
SECRET_KEY: Final = "$secret"
"""The one key of a secret's reference as it is journaled: ``{"$secret": "env:STRIPE_KEY"}``."""

_WORDS: Final = (
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "token",
)
_WHOLE: Final = frozenset({"auth", "pass", "pwd"})  # inside other words they mean something else: author, compass
_OPTION: Final = re.compile(r"(?<=[?&;])([^=&;]*)=([^&;]*)")


def is_private(name: str) -> bool:
    """Whether a key is one under which secrets lie, as in ``X-Api-Key`` or ``accessToken``."""
    plain = "".join(filter(str.isalnum, name.lower()))
    return plain in _WHOLE or any(word in plain for word in _WORDS)


def masked(value: Any) -> Any:
    """A JSON value for people's eyes: texts under private keys are ``[hidden]``; numbers and references stay."""
    if isinstance(value, dict):
        return {
            key: _hidden(part) if isinstance(key, str) and key != SECRET_KEY and is_private(key) else masked(part)
            for key, part in value.items()
        }
    return [masked(part) for part in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return HIDDEN
    if isinstance(value, dict):
        return value if value.keys() == {SECRET_KEY} else {key: _hidden(part) for key, part in value.items()}
    return [_hidden(part) for part in value] if isinstance(value, list) else value


def shown_url(url: str) -> str:
    """A URL for messages and logs: without its user and password, and without the values of private options."""
    scheme, mark, rest = url.partition("://")
    if mark and not rest.startswith("/") and "@" in rest:
        # The last one, since a password may hold an unescaped "@", "/" or "?".
        rest = f"***@{rest.rpartition('@')[2]}"
    return f"{scheme}{mark}{_OPTION.sub(_shown_option, rest)}"


def _shown_option(found: re.Match[str]) -> str:
    # In an option every key opens something; among the names of a payload most keys are those of dictionaries.
    return f"{found[1]}=***" if is_private(found[1]) or found[1].lower().endswith("key") else found[0]
