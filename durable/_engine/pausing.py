"""A pause that was asked of a held run: no new attempt begins, and when those in flight have ended, the run pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

from durable._core.nobody import nobody
from durable._engine.services import Services
from durable._model.ids import RunId
from durable._model.messages import InboxMessage, MessageKind

__all__ = ["Pausing"]


@final
class Pausing:
    """Steps in flight may take long: before the run pauses, the store is asked whether a resume has come meanwhile.

    Args:
        stir: Called when the pause is confirmed.
        withdrawn: Called with the message when a resume has consumed it.
    """

    def __init__(
        self, run: RunId, services: Services, stir: Callable[[], None], withdrawn: Callable[[InboxMessage], None]
    ) -> None:
        self.message: InboxMessage | None = None
        self.confirmed = False
        self._run = run
        self._services = services
        self._stir = stir
        self._withdrawn = withdrawn
        self._work: asyncio.Task[None] | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody wants the run to pause."""
        return self.message is not None

    def close(self) -> None:
        """The run leaves this worker; what is being asked is asked in vain."""
        self._stir = nobody
        self._withdrawn = nobody

    def look(self, unread: Sequence[InboxMessage]) -> None:
        """Find the pause among the unread messages."""
        if self.message is None:
            self.message = next((item for item in unread if item.message.kind is MessageKind.PAUSE), None)

    def confirm(self) -> None:
        """Everything in flight has ended: ask whether the pause still stands."""
        if self._work is None and self.message is not None:
            self._work = asyncio.get_running_loop().create_task(self._confirm(self.message))

    async def _confirm(self, message: InboxMessage) -> None:
        read = partial(self._services.store.messages, self._run, message.seq - 1, 1)
        unread = await self._services.weather.through(read)
        self._work = None
        if any(item.message.id == message.message.id for item in unread):
            self.confirmed = True
            self._stir()
        else:
            self.message = None
            self._withdrawn(message)
