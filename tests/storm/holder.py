"""Somebody who takes the write lock and keeps it for a while: ``python -m tests.storm.holder <file> <seconds>``."""

from __future__ import annotations

import sqlite3
import sys
import time

__all__ = ["hold"]


def hold(path: str, seconds: float) -> None:
    """Hold the lock, write nothing. Prints a line when it is held."""
    raw = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=30)
    raw.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    time.sleep(seconds)
    raw.execute("ROLLBACK")
    raw.close()


if __name__ == "__main__":
    hold(sys.argv[1], float(sys.argv[2]))
