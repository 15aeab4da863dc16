"""Every default and every limit of the engine, in one place; ``docs/limits.md`` prints this table."""

from __future__ import annotations

from typing import Final

# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────
PAYLOAD_BYTES_MAX: Final = 1024 * 1024
NAME_BYTES_MAX: Final = 255
UNREAD_SIGNALS_MAX: Final = 10_000
JOURNAL_ENTRIES_WARN: Final = 10_000
JOURNAL_ENTRIES_MAX: Final = 50_000
CHILDREN_MAX: Final = 10_000
PAGE_SIZE_MAX: Final = 1_000
TIMER_SECONDS_MAX: Final = 100 * 366 * 86_400.0
COMMIT_ITEMS_MAX: Final = 100
COMMIT_BYTES_MAX: Final = 4 * 1024 * 1024

# ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────────
LEASE_SECONDS: Final = 15.0
BEAT_SECONDS: Final = 5.0
POLL_SECONDS: Final = 1.0
POLL_UNHINTED_SECONDS: Final = 0.1
CACHE_RUNS: Final = 1_000
CONCURRENCY: Final = 100
DRAIN_SECONDS: Final = 30.0
STALL_SECONDS: Final = 300.0
CRASH_BUDGET: Final = 10
LONELY_AFTER: Final = 3
ACTIVATION_SECONDS_WARN: Final = 1.0
STARTED_NOTE_SECONDS: Final = 0.1
LATE_SECONDS: Final = 0.00002  # added to waits for an instant, so that float rounding never makes them end before it
LINGER_SECONDS: Final = 0.2
SLEEP_SECONDS_WARN: Final = 365 * 86_400.0
QUEUE: Final = "default"
VERSION: Final = "1"
STORE_URL: Final = "sqlite:///durable.db"

# ── a retry policy, when ``Retry()`` is given without arguments ──────────────────────────────────────────────────────
RETRY_ATTEMPTS: Final = 5
RETRY_INITIAL_SECONDS: Final = 1.0
RETRY_FACTOR: Final = 2.0
RETRY_INTERVAL_SECONDS_MAX: Final = 60.0
RETRY_JITTER: Final = 0.1
