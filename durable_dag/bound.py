"""The client of an engine: given at once, or when the program has one."""

from __future__ import annotations

from typing import final

from durable import Client
from durable.errors import DurableError

__all__ = ["Bound"]


@final
class Bound:
    """Holds the client for all rooms of an engine."""

    def __init__(self, client: Client | None) -> None:
        self._client = client

    def bind(self, client: Client) -> None:
        """From now on this client is meant."""
        self._client = client

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            DurableError: There is none yet.
        """
        if self._client is None:
            raise DurableError("This engine has no client yet: Engine(client), or engine.bind(client).")
        return self._client

    def now(self) -> float:
        """Wall-clock time where the client is, seconds since the epoch."""
        return self.client.link.clock.now()
