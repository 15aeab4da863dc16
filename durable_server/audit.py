"""Who has changed what: a record in the store and a line in the log for every call that is no mere look."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, final

from durable import Client
from durable.errors import DurableError
from durable_server.principals import Principal

Json = Any

__all__ = ["Audit", "Deed"]

KIND: Final = "durable_server.audit"
KEEP_SECONDS: Final = 90 * 86_400.0
_log = logging.getLogger("durable.server.audit")


@dataclass(frozen=True, slots=True)
class Deed:
    """A call that was to change something.

    Attributes:
        principal: Who; None if they have not shown it.
        status: Of the answer.
        about: What the handler said of it: ``execution``, ``reason``, ...
    """

    principal: Principal | None
    method: str
    path: str
    status: int
    about: dict[str, Json]


@final
class Audit:
    """The deeds of 90 days, newest last."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = count()

    async def note(self, deed: Deed) -> None:
        """Write it down. Calls of strangers are only logged: they must not fill the store."""
        who = "nobody" if deed.principal is None else deed.principal.name
        _log.info("%s %s by %s: %s", deed.method, ascii(deed.path)[1:-1], ascii(who)[1:-1], deed.status)
        if deed.principal is None:
            return
        store, link = self._client.store, self._client.link
        try:
            now = await link.reach(store.now)
            value = {
                "time": round(now * 1000),
                "principal": who,
                "principalId": deed.principal.id,
                "method": deed.method,
                "path": deed.path[:500],
                "status": deed.status,
                **deed.about,
            }
            # Of two deeds in one millisecond the first comes first; another server's may stand between them.
            key = f"{round(now * 1000):015d}-{next(self._numbers):012d}-{link.clock.token()[:8]}"
            raw = json.dumps(value).encode()
            await link.reach(lambda: store.put_record(KIND, key, raw, keep_seconds=KEEP_SECONDS))
        except DurableError:
            _log.exception("a deed could not be written down")

    async def list(self, after: str, limit: int) -> tuple[list[Json], str | None]:
        """Deeds in the order of time, and where to go on."""
        rows = await self._client.link.reach(lambda: self._client.store.list_records(KIND, after, limit))
        return [json.loads(row.value) for row in rows], rows[-1].key if len(rows) == limit else None
