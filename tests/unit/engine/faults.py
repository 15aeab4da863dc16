"""A store between an engine and a real one, on which calls fail when a test says so."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from durable import Client
from durable.store import Store

Moment = Literal["before", "after"]
CALLS = [
    "open",
    "create",
    "poll",
    "renew",
    "leave",
    "commit",
    "send",
    "control",
    "now",
    "get",
    "input",
    "outcome",
    "list",
    "count",
    "journal",
    "messages",
    "values",
    "stream",
    "parts",
    "sessions",
    "purge",
    "put_record",
    "get_record",
    "list_records",
    "delete_record",
]


class FaultStore:
    """Passes every call on, but lets chosen ones fail before or after they took effect.

    Attributes:
        calls: How often each call was made.
        failed: How often each call was made to fail.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._plans: list[tuple[str, Callable[[int], bool], Moment, Callable[[], BaseException]]] = []
        self.held: asyncio.Event | None = None

    def fail(
        self,
        call: str,
        error: Callable[[], BaseException],
        *,
        moment: Moment = "before",
        when: Callable[[int], bool] = lambda n: n == 1,
    ) -> None:
        """Let a call fail whenever ``when`` says so of its number, counted from now on, 1, 2, 3, ..."""
        base = self.calls[call]
        self._plans.append((call, lambda n: when(n - base), moment, error))

    def clear(self) -> None:
        """Fine weather from here on."""
        self._plans.clear()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in CALLS:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            number = self.calls[name]
            planned = [(moment, error) for what, when, moment, error in self._plans if what == name and when(number)]
            for moment, error in planned:
                if moment == "before":
                    self.failed[name] += 1
                    raise error()
            answer = await method(*args, **kwargs)
            for moment, error in planned:
                if moment == "after":
                    self.failed[name] += 1
                    raise error()
            return answer

        return call

    def dedicated(self) -> Any:
        return self.inner.dedicated()


def faulty_client(url: str) -> tuple[Client, Any]:
    """A client on a ``FaultStore`` before the store of a URL."""
    from durable._engine.connect import open_store

    store: Any = FaultStore(open_store(url))
    return Client(store), store
