"""Runs in one SQLite file: ``SqliteStore``, the adapter behind ``sqlite:///`` URLs."""

from durable_sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
