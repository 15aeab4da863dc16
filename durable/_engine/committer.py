"""Group commit: while one store transaction is in flight, commits queue; the next transaction takes them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, final

from durable._author.logs import logger
from durable._core.loop import HeldHooks
from durable._engine.guard import activation
from durable._engine.telling import Teller
from durable._engine.weather import Weather
from durable._model.commits import Commit, Committed
from durable.clock import Clock
from durable.errors import StoreError
from durable.store import Store

_log = logger("durable.worker")

__all__ = ["Committer", "Writer"]

_BATCH_MAX = 256


class Writer(Protocol):
    """Somebody with something to write: a runner."""

    def build(self) -> Commit | None:
        """The next commit; None if there is nothing to write now."""
        ...

    def committed(self, commit: Commit, answer: Committed) -> None:
        """The store's answer."""
        ...

    def broken(self, error: BaseException) -> None:
        """This writer's commit, and no other, cannot be written."""
        ...


@final
class Committer:
    """One per worker and store.

    Args:
        heard: Told the store time of each answer.
    """

    def __init__(
        self, store: Store, weather: Weather, clock: Clock, teller: Teller, heard: Callable[[float], None]
    ) -> None:
        self._store = store
        self._heard = heard
        self._weather = weather
        self._clock = clock
        self._teller = teller
        self._dirty: dict[Writer, None] = {}
        self._wake = asyncio.Event()
        self.transactions = 0
        self.commits = 0

    def submit(self, writer: Writer) -> None:
        """Have ``writer.build()`` called for the next transaction."""
        if not self._dirty:
            self._wake.set()
        self._dirty[writer] = None

    async def write(self, *commits: Commit) -> list[Committed]:
        """Write ready-made commits with the next transaction, in this order."""
        loop = asyncio.get_running_loop()
        written = [_Ready(commit, loop.create_future()) for commit in commits]
        for ready in written:
            self.submit(ready)
        return [await ready.answer for ready in written]

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()  # what was ready by then is done by now, and joins this transaction
            self._wake.clear()
            while self._dirty:
                batch = self._collect()
                if batch:
                    await self._write(batch)
                    await self._clock.sleep(0)  # what is ready to finish now joins the next one

    def _collect(self) -> list[tuple[Writer, Commit]]:
        batch: list[tuple[Writer, Commit]] = []
        taken = list(self._dirty)[:_BATCH_MAX]
        for writer in taken:
            del self._dirty[writer]
            try:
                commit = writer.build()
            except Exception as error:
                _guarded_broken(writer, error)
                continue
            if commit is not None:
                batch.append((writer, commit))
        return batch

    async def _write(self, batch: Sequence[tuple[Writer, Commit]]) -> None:
        commits = [commit for _, commit in batch]
        began = self._teller.moment()
        try:
            answers = await self._weather.through(lambda: self._store.commit(commits))
        except StoreError:
            raise
        except Exception as error:
            await self._halve(batch, error)
            return
        self.transactions += 1
        self.commits += len(batch)
        assert len(answers) == len(batch)
        self._teller.wrote(commits, began)
        if answers[-1].now:
            self._heard(answers[-1].now)
        with HeldHooks(), activation:  # for all of them: to enter them is dear
            for (writer, commit), answer in zip(batch, answers, strict=True):
                try:
                    writer.committed(commit, answer)
                except Exception as error:
                    _guarded_broken(writer, error)

    async def _halve(self, batch: Sequence[tuple[Writer, Commit]], error: Exception) -> None:
        """A surprise in a batch: find the one item that causes it; said again, the others are already applied."""
        if len(batch) == 1:
            _guarded_broken(batch[0][0], error)
            return
        middle = len(batch) // 2
        await self._write(batch[:middle])
        await self._write(batch[middle:])


@final
class _Ready:
    """A ready-made commit on its way through the committer."""

    def __init__(self, commit: Commit, answer: asyncio.Future[Committed]) -> None:
        self.commit = commit
        self.answer = answer

    def build(self) -> Commit | None:
        return self.commit

    def committed(self, commit: Commit, answer: Committed) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def broken(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _guarded_broken(writer: Writer, error: BaseException) -> None:
    try:
        writer.broken(error)
    except Exception:
        _log.exception("A run could not be set aside after an engine error.")
