"""Runs in a Convex deployment: ``ConvexStore``, the adapter behind ``convex+https://`` URLs.

``durable_convex.functions`` makes steps of Convex functions; ``python -m durable_convex`` installs the component.
"""

try:
    from durable_convex.store import ConvexStore
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("aiohttp", "convex"):
        raise
    _WORDS = "durable_convex needs its extra: pip install 'durable-engine[convex]'"
    raise ModuleNotFoundError(_WORDS, name=error.name) from None

__all__ = ["ConvexStore"]
