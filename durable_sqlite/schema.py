"""The tables, and how a file gets them: a list of versions, each applied once under an exclusive lock."""

from __future__ import annotations

import sqlite3
from typing import Final

from durable.errors import Corrupt, StoreError

__all__ = ["APPLICATION_ID", "VERSION", "inspect", "is_empty", "migrate", "require_sqlite"]

APPLICATION_ID: Final = 0x44555231  # "DUR1"

# The rows of ``runs`` are written with every commit, and SQLite rewrites a row whole, so what is large or seldom
# changes (inputs, outcomes, labels, seeds, parents, reasons) lies in other tables. ``key`` is a small stand-in
# for the id.
_RUNS: Final = """
CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    lane TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    flushed_activation INTEGER NOT NULL,
    flushed_count INTEGER NOT NULL,
    strikes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    at REAL NOT NULL,
    ended_at REAL,
    expires_at REAL,
    due_at REAL,
    owner TEXT,
    parent TEXT,
    closing INTEGER NOT NULL,
    waits TEXT NOT NULL,
    CHECK (owner IS NULL OR due_at IS NULL)
)"""

_TABLES: Final = (
    _RUNS,
    "CREATE UNIQUE INDEX runs_id ON runs (id)",
    "CREATE INDEX runs_due ON runs (lane, priority DESC, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX runs_owner ON runs (owner, lane) WHERE owner IS NOT NULL",
    "CREATE INDEX runs_created ON runs (created_at, id)",
    "CREATE INDEX runs_workflow ON runs (workflow, created_at, id)",
    "CREATE INDEX runs_parent ON runs (parent, created_at, id) WHERE parent IS NOT NULL",
    "CREATE INDEX runs_live ON runs (created_at, id) WHERE ended_at IS NULL",
    "CREATE INDEX runs_stuck ON runs (status, created_at, id) WHERE status IN ('paused', 'blocked')",
    "CREATE INDEX runs_ended ON runs (status, created_at, id) WHERE ended_at IS NOT NULL",
    "CREATE INDEX runs_closed ON runs (ended_at) WHERE ended_at IS NOT NULL AND closing = 0",
    "CREATE INDEX runs_expiring ON runs (expires_at) WHERE expires_at IS NOT NULL AND closing = 0",
    """
CREATE TABLE details (
    run INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    seed TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    parent_call TEXT,
    parent_generation INTEGER,
    parent_on_close TEXT,
    parent_notify INTEGER,
    replaced_by TEXT,
    terminated INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    blocked TEXT,
    blocked_kind TEXT,
    blocked_call TEXT,
    on_complete BLOB,
    rewind BLOB
)""",
    "CREATE TABLE inputs (run INTEGER PRIMARY KEY, input BLOB NOT NULL)",
    "CREATE TABLE outcomes (run INTEGER PRIMARY KEY, outcome BLOB NOT NULL)",
    """
CREATE TABLE labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at REAL NOT NULL,
    id TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (name, value, created_at, id)
) WITHOUT ROWID""",
    "CREATE INDEX labels_run ON labels (run)",
    # Entries of all runs lie in the order in which they came, and only the index is by run: a batch of many runs'
    # entries then fills a few pages at the end of the table rather than touching one page per run.
    """
CREATE TABLE journal (
    run INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at REAL NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL
)""",
    "CREATE UNIQUE INDEX journal_place ON journal (run, generation, position)",
    # The stamps of commits that left no entry, of the current epoch; entries carry their own.
    """
CREATE TABLE stamps (
    run INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (run, epoch, seq)
) WITHOUT ROWID""",
    "CREATE TABLE inboxes (run INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, unread_signals INTEGER NOT NULL)",
    """
CREATE TABLE messages (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    at REAL NOT NULL,
    consumed INTEGER NOT NULL DEFAULT 0,
    dead TEXT,
    payload BLOB NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX messages_id ON messages (run, id)",
    "CREATE INDEX messages_unread ON messages (run, seq) WHERE consumed = 0",
    "CREATE TABLE run_values (run INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (run, key)) "
    "WITHOUT ROWID",
    """
CREATE TABLE streams (
    run INTEGER NOT NULL,
    stream TEXT NOT NULL,
    place INTEGER NOT NULL,
    item BLOB NOT NULL,
    PRIMARY KEY (run, stream, place)
) WITHOUT ROWID""",
    "CREATE TABLE parts (run INTEGER NOT NULL, hash TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, hash)) "
    "WITHOUT ROWID",
    """
CREATE TABLE requests (
    run INTEGER NOT NULL,
    request TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (run, request)
) WITHOUT ROWID""",
    """
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    registered TEXT NOT NULL,
    queues TEXT NOT NULL,
    started_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    lease_seconds REAL NOT NULL,
    lost_runs INTEGER NOT NULL DEFAULT 0,
    last_poll TEXT,
    last_claims TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID""",
    """
CREATE TABLE records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at REAL NOT NULL,
    expires_at REAL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID""",
    "CREATE INDEX records_expiring ON records (expires_at) WHERE expires_at IS NOT NULL",
    # Raised by each transaction after which somebody may have something to do: what other processes look at.
    "CREATE TABLE tide (one INTEGER PRIMARY KEY CHECK (one = 1), level INTEGER NOT NULL)",
    "INSERT INTO tide (one, level) VALUES (1, 0)",
)

# One tuple of statements per version; a new version is one more tuple, and older ones never change.
_MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    _TABLES,
    ("ALTER TABLE tide ADD COLUMN epochs_purged INTEGER NOT NULL DEFAULT 0",),
)
VERSION: Final = len(_MIGRATIONS)
_EXPECTED: Final = frozenset(
    statement.split()[index]
    for statement in _TABLES
    for index in [3 if statement.startswith("CREATE UNIQUE") else 2]
    if statement.split()[0] == "CREATE"
)


def require_sqlite() -> None:
    """Refuse a SQLite library that is too old, before it fails in words that nobody understands.

    Raises:
        StoreError: It is older than 3.35 (RETURNING).
    """
    if sqlite3.sqlite_version_info < (3, 35, 0):
        raise StoreError(
            f"Python was built with SQLite {sqlite3.sqlite_version}; durable_sqlite needs 3.35 or later. "
            "Use a newer Python build or a newer system SQLite."
        )


def is_empty(raw: sqlite3.Connection) -> bool:
    """Whether nobody has put anything into this database yet."""
    (tables,) = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0 and _pragma(raw, "PRAGMA application_id") == 0)


def inspect(raw: sqlite3.Connection, file: str) -> int:
    """Look whether this database is ours, without changing it; returns its schema version.

    Raises:
        Corrupt: It belongs to something else, is newer than this code, or lacks what it should have.
    """
    if _pragma(raw, "PRAGMA application_id") != APPLICATION_ID:
        raise Corrupt(
            f"{file} is a SQLite database of something else; it was left as it is. "
            "Give the store a file name of its own."
        )
    version = _pragma(raw, "PRAGMA user_version")
    if version > VERSION:
        raise Corrupt(
            f"{file} was written by a newer release (schema version {version}; this one knows {VERSION}); "
            "it was left as it is. Upgrade this installation."
        )
    if version == VERSION:
        names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")}
        if names != _EXPECTED:
            odd = ", ".join(sorted(str(name) for name in names ^ _EXPECTED)[:5])
            raise Corrupt(
                f"{file} does not have the tables it should have (see {odd}); it was left as it is. "
                "Restore it from a backup."
            )
    return version


def migrate(raw: sqlite3.Connection, file: str) -> None:
    """Bring a fresh or older database to this version, in one exclusive transaction; harmless to repeat.

    Raises:
        Corrupt: See ``inspect``.
        sqlite3.OperationalError: It is busy; nothing was changed.
    """
    raw.execute("BEGIN EXCLUSIVE")
    try:
        version = 0 if is_empty(raw) else inspect(raw, file)
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                raw.execute(statement)
        if version < VERSION:
            raw.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            raw.execute(f"PRAGMA user_version = {VERSION:d}")
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def _pragma(raw: sqlite3.Connection, text: str) -> int:
    (value,) = raw.execute(text).fetchone()
    return int(value)
