"""A process that does all that people and workers do with stores which somebody has tampered with.

``python security_victim.py APP HEALTHY PLANTED...``: everything is done to the healthy store first, so that whatever
is imported in the course of it is there; then to the others. Prints, as JSON, which modules these have brought in.
"""

import asyncio
import contextlib
import json
import logging
import sys

from click.testing import CliRunner

from durable import Worker, connect
from durable.cli.apps import load_app
from durable.cli.main import cli

LOOKS = (
    ("runs", "list"),
    ("runs", "list", "-o", "json"),
    ("db", "check"),
    ("db", "stats"),
    ("doctor",),
    ("runs", "show", "@last"),
)
OF_A_RUN = (
    ("runs", "show", "{run}", "--all"),
    ("runs", "history", "{run}", "-o", "json"),
)
RUNS = [f"{kind}-{number}" for kind in ("done", "failed", "caught", "parent") for number in range(5)]


def command(url: str, *words: str) -> None:
    CliRunner().invoke(cli, ["--store", url, *words])


async def work(url: str, app: str) -> None:
    """What a worker, and a program that looks, meet; surprises are theirs, code that runs is ours."""
    loaded = load_app(app)
    async with connect(url) as client:
        with contextlib.suppress(Exception, asyncio.CancelledError):
            async with asyncio.timeout(5), Worker(client, workflows=loaded.workflows, drain=0.05):
                await asyncio.sleep(0.2)
        for record in await runs_of(url):
            handle = client.handle(record)
            for look in (handle.status, handle.history, handle.explain):
                with contextlib.suppress(Exception):
                    await look()
            with contextlib.suppress(Exception):
                await handle.result(timeout=0.001)


async def runs_of(url: str) -> list[str]:
    try:
        async with connect(url) as client:
            return [run.id for run in await client.list(limit=100)]
    except Exception:
        return RUNS  # the list itself fails


def live_through(url: str, app: str) -> None:
    for words in LOOKS:
        command(url, *words)
    for run in asyncio.run(runs_of(url)):
        for words in OF_A_RUN:
            command(url, *(word.format(run=run) for word in words))
    command(url, "plan", app)
    command(url, "replay", app)
    with contextlib.suppress(Exception):
        asyncio.run(work(url, app))
    command(url, "db", "gc", "--older-than", "0s", "-y")


def main(app: str, healthy: str, *planted: str) -> None:
    logging.disable()
    live_through(f"sqlite:///{healthy}", app)
    before = set(sys.modules)
    for path in planted:
        live_through(f"sqlite:///{path}", app)
    print(json.dumps(sorted(set(sys.modules) - before)))


if __name__ == "__main__":
    main(*sys.argv[1:])
