"""``durable-convex doctor``: what stands between this machine and a deployment, told line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from durable.clock import SystemClock
from durable.errors import DurableError
from durable.store import shown_url
from durable_convex import url as _url
from durable_convex.store import PROTOCOL, ConvexStore

__all__ = ["examine"]

_LIVE_SECONDS: Final = 5.0


async def examine(address: str, say: Callable[[str], object]) -> bool:
    """Look at the URL, the deployment, the token, the component and the subscription, in this order.

    Args:
        say: Given each line.

    Returns:
        Whether a worker could work there.
    """
    clock = SystemClock()
    try:
        target = _url.parse(address)
        store = ConvexStore(address)
    except DurableError as error:
        say(f"URL            no: {error}")
        return False
    say(f"URL            {shown_url(address)}, functions in convex/{target.functions}.ts")
    say(f"token          {await _token()}")
    began = clock.monotonic()
    try:
        await store.open()
        info = await store.info()
        say(f"deployment     answers; {(clock.monotonic() - began) / 2 * 1000:.0f} ms a call")
        protocol, shards = info.get("protocol", 0), info.get("shards", 1)
        say(f"component      protocol {protocol:g} (this package: {PROTOCOL}), shards {shards:g}")
        ahead = await store.now() - clock.now()
        side = "ahead" if ahead >= 0 else "behind"
        say(f"clock          the deployment's is {abs(ahead):.1f} s {side}; it is the one that counts")
        say(f"subscription   {await _subscription(store)}")
    except DurableError as error:
        say(f"deployment     no: {error}")
        return False
    finally:
        await store.close()
    return True


async def _token() -> str:
    if not await _url.token_of(None):
        return f"none: neither {' nor '.join(_url.VARIABLES)} is set in the environment"
    return "found in the environment"


async def _subscription(store: ConvexStore) -> str:
    changes = store.changes()
    try:
        async with asyncio.timeout(_LIVE_SECONDS):
            await anext(changes)
    except (TimeoutError, StopAsyncIteration):
        return f"none within {_LIVE_SECONDS:.0f} s: workers will poll every few seconds, which costs function calls"
    return "stands: workers hear of new work at once"
