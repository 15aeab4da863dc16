"""From a URL to a client: adapters are found by entry point, so the core imports none."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any

from durable._engine.client import Client
from durable._model import defaults
from durable._model.privacy import shown_url
from durable.clock import Clock
from durable.codec import PayloadHook
from durable.errors import InvalidInput, MissingExtra, UnknownStore
from durable.store import Store

__all__ = ["connect", "open_store"]

_EXTRAS = {"convex+https": "convex", "convex+http": "convex", "postgresql": "postgres"}


def connect(
    url: str | None = None,
    /,
    *,
    auth: Callable[[], Awaitable[str]] | str | None = None,
    codec: PayloadHook | None = None,
    clock: Clock | None = None,
) -> Client:
    """A client for the store at a URL; use it with ``async with``.

    Args:
        url: ``memory://`` (tests), ``sqlite:///orders.db`` (one host, any number of processes), or another installed
            adapter's. Default: the environment's ``DURABLE_STORE``, else ``sqlite:///durable.db``.
        auth: Token, or an async function that fetches one, for stores that ask for it.
        codec: Wraps every stored payload: compression, encryption.
        clock: For simulators.

    Raises:
        UnknownStore: No adapter is installed for this scheme.
        MissingExtra: The adapter is known but not installed; the message has the pip command.
        InvalidInput: The URL is malformed.
    """
    return Client(open_store(url, auth=auth, clock=clock), codec=codec, clock=clock)


def open_store(url: str | None = None, *, auth: Any = None, clock: Clock | None = None) -> Store:
    """The unopened store of a URL."""
    chosen = url if url is not None else os.environ.get("DURABLE_STORE") or defaults.STORE_URL
    if not isinstance(chosen, str):
        raise InvalidInput(f"A store URL is text like 'sqlite:///orders.db', not {chosen!r}.")
    scheme, separator, _ = chosen.partition("://")
    if not separator or not scheme:
        raise InvalidInput(
            f"{shown_url(chosen)!r} is not a store URL. Write it like 'sqlite:///orders.db' or 'memory://'."
        )
    from importlib.metadata import entry_points  # here, because it is slow to load and needed once

    found = {point.name: point for point in entry_points(group="durable.stores")}
    point = found.get(scheme)
    if point is None:
        if scheme in _EXTRAS:
            raise _missing(scheme)
        known = ", ".join(f"{name}://" for name in sorted(found)) or "none"
        raise UnknownStore(f"No adapter is installed for {scheme}:// (installed: {known}).")
    try:
        adapter = point.load()
    except ImportError as error:
        if scheme in _EXTRAS:
            raise _missing(scheme) from error
        raise MissingExtra(f"The adapter for {scheme}:// cannot be imported: {error}.") from error
    options: dict[str, Any] = {}
    if clock is not None:
        options["clock"] = clock
    if auth is not None:
        if "auth" not in inspect.signature(adapter).parameters:
            raise InvalidInput(f"The store {scheme}:// takes no auth=.")
        options["auth"] = auth
    store: Store = adapter(chosen, **options)
    return store


def _missing(scheme: str) -> MissingExtra:
    return MissingExtra(
        f"The store {scheme}:// needs an optional part: pip install 'durable-engine[{_EXTRAS[scheme]}]'."
    )
