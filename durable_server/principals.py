"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from durable.errors import InvalidInput

Role = Literal["read", "operate", "worker", "admin"]

__all__ = ["EVERYBODY", "ROLES", "Principal", "Role", "roles_of"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

_INCLUDED: Final[dict[Role, frozenset[Role]]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "worker": frozenset({"worker"}),
    "admin": frozenset(ROLES),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who has shown who they are.

    Attributes:
        name: For people, in the audit.
        roles: ``read`` looks; ``operate`` also starts, signals, cancels, retries; ``worker`` settles steps of
            external work and nothing else; ``admin`` may do everything.
        id: Tells callers apart: idempotency keys of two of them never meet. Default: the name.
    """

    name: str
    roles: frozenset[Role] = frozenset({"read"})
    id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", roles_of(self.roles))
        if not self.id:
            object.__setattr__(self, "id", self.name)

    def may(self, needed: Iterable[Role]) -> bool:
        """Whether one of the roles that are needed is among theirs, or included in one of theirs."""
        held = {included for role in self.roles for included in _INCLUDED[role]}
        return not held.isdisjoint(needed)


def roles_of(given: Iterable[str]) -> frozenset[Role]:
    """The roles that texts name.

    Raises:
        InvalidInput: There is no such role, or none was given.
    """
    asked = [given] if isinstance(given, str) else list(given)
    found: frozenset[Role] = frozenset(role for role in ROLES if role in asked)
    if not found or len(found) != len(set(asked)):
        raise InvalidInput(f"Roles are of {', '.join(ROLES)}, not {', '.join(map(str, asked)) or 'none'}.")
    return found


EVERYBODY: Final = Principal("local", frozenset({"admin"}), "local")
"""Whoever speaks from this machine to a server without tokens."""
