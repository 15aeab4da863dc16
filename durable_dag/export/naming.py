"""Names for Python: from ids to identifiers that nothing else has."""

from __future__ import annotations

import builtins
import keyword
import re
from typing import Final, final

__all__ = ["Names"]

_TAKEN: Final = frozenset(
    {
        "Actions",
        "Any",
        "Context",
        "Failed",
        "Flow",
        "Secret",
        "actions",
        "annotations",
        "attempt_number",
        "check_context",
        "delay",
        "durable",
        "each",
        "fitting",
        "joined",
        "pick",
        "retries",
        "signal",
        "step",
        "workflow",
    }
)
_LOCAL: Final = frozenset({"context", "ctx", "flow", "params", "seen"})


@final
class Names:
    """Gives every id one identifier."""

    def __init__(self) -> None:
        self._taken = {*_TAKEN, *dir(builtins)}

    def give(self, id: str, *, local: bool = True) -> str:
        """An identifier that resembles an id.

        Args:
            local: Whether functions call it, so that it must not be called like one of their variables.
        """
        plain = re.sub(r"[^0-9a-z]+", "_", id.lower()).strip("_") or "step"
        name = f"step_{plain}" if plain[0].isdigit() else plain
        number = 1
        found = name
        while (
            found in self._taken
            or (local and found in _LOCAL)
            or keyword.iskeyword(found)
            or keyword.issoftkeyword(found)
        ):
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found
