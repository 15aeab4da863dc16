"""The storm's client, a process that may be killed too: it starts runs, sends signals, and notes what was acknowledged.

A line is written and synced only after the acknowledgement has come, so that the notes never claim too much. Who comes
after a kill goes on from the notes and says again whatever they do not have.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, final

from durable import Client, connect
from durable.errors import RunEnded, StoreError
from durable.store import RunId
from tests.storm.app import SIGNALS, journey, news

__all__ = ["Acks", "run_id"]

_HANDS: Final = 8
_ENDED: Final = ["completed", "failed", "cancelled"]


def run_id(number: int) -> str:
    """What run so-and-so is called."""
    return f"run-{number}"


@final
class Acks:
    """The notes: ``start <number>`` and ``signal <number> <n>``, one line each.

    Attributes:
        started: Numbers of runs whose start was acknowledged.
        signals: (number, n) of the signals that were.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.started: set[int] = set()
        self.signals: set[tuple[int, int]] = set()
        for line in path.read_text().splitlines() if path.exists() else ():
            kind, number, *rest = line.split()
            if kind == "start":
                self.started.add(int(number))
            else:
                self.signals.add((int(number), int(rest[0])))

    def write(self, *words: str | int) -> None:
        """Note one, synced."""
        line = " ".join(map(str, words)) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)


async def _insist(call: Callable[[], Awaitable[object]]) -> bool:
    """Say it until it is acknowledged; False if the run has ended, which it does only with all its signals."""
    while True:
        try:
            await call()
        except RunEnded:
            return False
        except StoreError:
            await asyncio.sleep(0.05)
        else:
            return True


async def _look_after(client: Client, number: int, acks: Acks, dice: random.Random) -> None:
    """Start one run and send its signals in order, some of them twice."""
    run = run_id(number)
    if number not in acks.started:
        await _insist(lambda: client.start(journey, number, id=run))
        acks.write("start", number)
    for n in range(SIGNALS):
        if (number, n) in acks.signals:
            continue
        for _ in range(1 + (dice.random() < 0.2)):
            if not await _insist(lambda n=n: client.signal(run, news, n, id=f"news-{n}")):  # type: ignore[misc]
                return
        acks.write("signal", number, n)
        await asyncio.sleep(dice.random() * 0.05)


async def _hand(client: Client, folder: Path, at_once: int, numbers: list[int], acks: Acks) -> None:
    """One of several at work; it takes the next number while there is room for another run."""
    dice = random.Random(os.getpid() * 1000 + id(numbers) % 1000)
    while True:
        number, numbers[0] = numbers[0], numbers[0] + 1
        known = number in acks.started or await _exists(client, number)
        while not known and number >= at_once and await _open_runs(client) >= at_once:
            if (folder / "enough").exists():
                return
            await asyncio.sleep(0.2)
        if not known and number >= at_once and (folder / "enough").exists():
            return
        await _look_after(client, number, acks, dice)


async def _exists(client: Client, number: int) -> bool:
    """Whether a client that was killed has started this run without noting it: it waits for its signals, too."""
    while True:
        try:
            return (await client.store.get([RunId(run_id(number))]))[0] is not None
        except StoreError:
            await asyncio.sleep(0.05)


async def _open_runs(client: Client) -> int:
    while True:
        try:
            return await client.count() - await client.count(status=_ENDED)  # type: ignore[arg-type]
        except StoreError:
            await asyncio.sleep(0.05)


async def main(url: str, folder: Path, at_once: int) -> None:
    acks = Acks(folder / "acks")
    async with connect(url) as client:
        numbers = [0]
        await asyncio.gather(*(_hand(client, folder, at_once, numbers, acks) for _ in range(_HANDS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
