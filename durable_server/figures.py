"""Figures of the store and of this process, in the text format of Prometheus."""

from __future__ import annotations

from durable import Client
from durable.store import RunStatus
from durable_server.meter import Meter

__all__ = ["metrics_text"]


async def metrics_text(client: Client, meter: Meter) -> str:
    """All metrics."""
    figures = await client.link.reach(client.store.stats)
    sessions = await client.link.reach(client.store.sessions)
    alive = [session for session in sessions if session.alive]
    lines = ["# HELP durable_runs Runs by status.", "# TYPE durable_runs gauge"]
    lines += [
        f'durable_runs{{status="{status.value}"}} {figures.get(f"runs.{status.value}", 0)}' for status in RunStatus
    ]
    for name, what, count in (
        ("durable_journal_entries", "Entries of all journals.", figures.get("entries")),
        ("durable_messages", "Messages in all inboxes.", figures.get("messages")),
        ("durable_store_bytes", "Size of the store.", figures.get("bytes")),
        ("durable_workers_alive", "Workers with a live session.", len(alive)),
        ("durable_runs_held", "Runs that live workers hold.", sum(session.held for session in alive)),
    ):
        if count is not None:
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {count}"]
    return "\n".join([*lines, *meter.lines()]) + "\n"
