"""Runs in a Convex deployment: ``ConvexStore``, the adapter behind ``convex+https://`` URLs.

``durable_convex.functions`` makes steps of Convex functions; ``python -m durable_convex`` installs the component.
"""

from durable_convex.store import ConvexStore

__all__ = ["ConvexStore"]
