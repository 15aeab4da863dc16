"""What the handlers of one server share."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, cast

from starlette.requests import Request

from durable import Client
from durable.errors import RunNotFound
from durable.store import RunId, RunRecord
from durable_server.audit import Audit
from durable_server.definitions import Definitions
from durable_server.feed import Feed
from durable_server.idempotency import UNDER_WAY_SECONDS, Ledger
from durable_server.meter import Meter
from durable_server.tokens import Tokens

__all__ = ["WAIT_SECONDS_MAX", "Server", "server_of"]

WAIT_SECONDS_MAX: Final = UNDER_WAY_SECONDS / 2


@dataclass(slots=True)
class Server:
    """One server.

    Attributes:
        definitions: The layer of workflows that are data; None if this server has none.
        closing: Set when it stops: whatever streams ends then.
        streams: Open streams by caller.
        streams_max: Of one caller.
    """

    client: Client
    definitions: Definitions | None
    tokens: Tokens
    ledger: Ledger
    audit: Audit
    meter: Meter
    feed: Feed
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: Counter[str] = field(default_factory=Counter)
    streams_max: int = 100

    async def run(self, id: str) -> RunRecord:
        """The row of a run.

        Raises:
            RunNotFound: There is none.
        """
        record: RunRecord | None = None
        if 0 < len(id) < 1000 and "\0" not in id and _encodes(id):
            record = (await self.client.link.reach(lambda: self.client.store.get([RunId(id)])))[0]
        if record is None:
            raise RunNotFound(f"There is no execution {id[:300]!r}.", id)
        return record

    async def now(self) -> float:
        """Store time."""
        return await self.client.link.reach(self.client.store.now)


def server_of(request: Request) -> Server:
    """The server that a request has come to."""
    app: Any = request.app
    return cast(Server, app.state.durable_server)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
