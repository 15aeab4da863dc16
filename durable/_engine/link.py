"""What a client's rooms share: the store, and how to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, final

from durable._author.registry import Registry
from durable._core.loop import WorkflowLoop
from durable._engine.ahead import Company
from durable._engine.gathering import Gathering
from durable._engine.wakeups import Changes
from durable._engine.watching import RunWatch
from durable._engine.weather import Weather
from durable._model.controls import Control, Controlled
from durable._model.messages import Message, Sent
from durable._model.runs import Created, Creation, NewRun
from durable.clock import Clock
from durable.codec import Codec
from durable.errors import DurableError
from durable.store import Joining, Store

T = TypeVar("T")

__all__ = ["Link", "refuse_in_workflow"]

_ATTEMPTS: Final = 12  # a client waits out some seconds of bad weather, then says so


@final
class Link:
    """One open (or not yet open) connection of a client.

    Attributes:
        registry: Workflows known in this process, for starts by name and for result types.
        changes: Hints for readers.
        work: Hints for workers.
        company: This process's workers, whose polls go along with starts and messages.
    """

    def __init__(self, store: Store, codec: Codec, clock: Clock) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.registry = Registry()
        self.changes = Changes(store, clock, lambda: self.store.changes())
        self.work = Changes(store, clock, store.work) if isinstance(store, Joining) else self.changes
        self.weather = Weather(clock)
        self.watch = RunWatch(store, clock, self.changes, self.weather)
        weather = self.weather
        self.company = Company(store)
        self._creates = Gathering(self._create_all, _run_bytes, weather, clock, _ATTEMPTS)
        self._sends = Gathering(self._send_all, _message_bytes, weather, clock, _ATTEMPTS)
        self._controls = Gathering(lambda verbs: self.store.control(verbs), _control_bytes, weather, clock, _ATTEMPTS)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._opened = False
        self._closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it was opened in, and that all its calls belong to; None while it is not open."""
        return None if self._closed else self._loop

    async def open(self) -> None:
        """Connect, once."""
        refuse_in_workflow()
        self._require_own_loop()
        async with self._opening:  # whoever asks meanwhile waits until it is
            if self._closed:
                raise DurableError("This client is closed; connect() again.")
            if self._opened:
                return
            self._loop = asyncio.get_running_loop()
            try:
                await self.weather.through(self.store.open, attempts=_ATTEMPTS)
            except BaseException:
                self._loop = None
                await self.store.close()
                raise
            if self._closed:
                await self.store.close()
                raise DurableError("This client was closed while it was being opened; connect() again.")
            self._opened = True
            for hints in dict.fromkeys((self.changes, self.work)):
                hints.start()

    async def close(self) -> None:
        """Let go of the store, once."""
        if self._loop is None or self._closed:
            return
        self._closed = True
        if self._opened:  # else whoever is opening it closes it
            for calls in (self._creates, self._sends, self._controls):
                await calls.close()
            await self.watch.stop()
            for hints in dict.fromkeys((self.changes, self.work)):
                await hints.stop()
            await self.store.close()

    def require_open(self) -> None:
        """Its futures are of one loop: whoever waited for them in another would not be woken.

        Raises:
            DurableError: It is not open, or was opened in another event loop.
            WorkflowCodeError: A workflow uses it.
        """
        refuse_in_workflow()
        if not self._opened or self._closed:
            raise DurableError("This client is not open. Use it inside `async with connect(...) as client:`.")
        self._require_own_loop()

    def _require_own_loop(self) -> None:
        if self.loop is not None and self.loop is not asyncio.get_running_loop():
            raise DurableError(
                "This client belongs to the event loop that it was opened in. In another thread use it by "
                "`with client.sync as blocking:`; in another event loop connect() again."
            )

    async def create(self, new: NewRun) -> Created:
        """Create a run; in one transaction with others that are asked for meanwhile."""
        self.require_open()
        created = await self._creates.ask(new)
        if created.outcome is not Creation.EXISTED:
            self.watch.created((new.id,))
        return created

    async def create_all(self, news: Sequence[NewRun]) -> list[Created]:
        """Create several, a page of them in one transaction.

        Raises:
            Exception: Of the first that failed; all were asked for.
        """
        self.require_open()
        answers = await self._creates.ask_all(news)
        pairs = zip(news, answers, strict=True)
        self.watch.created(new.id for new, answer in pairs if answer.outcome is not Creation.EXISTED)
        return answers

    async def send(self, message: Message) -> Sent:
        """Send a message; in one transaction with others that are sent meanwhile."""
        self.require_open()
        return await self._sends.ask(message)

    async def control(self, control: Control) -> Controlled:
        """Carry out a verb; in one transaction with others that are asked for meanwhile."""
        self.require_open()
        return await self._controls.ask(control)

    async def reach(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, waiting out short bad weather.

        Raises:
            StoreError: It is still bad after some seconds.
        """
        self.require_open()
        return await self.weather.through(call, attempts=_ATTEMPTS)

    def _create_all(self, news: Sequence[NewRun]) -> Awaitable[Sequence[Created]]:
        return self.company.take_along(self.store.create(news))

    def _send_all(self, messages: Sequence[Message]) -> Awaitable[Sequence[Sent]]:
        return self.company.take_along(self.store.send(messages))


def refuse_in_workflow() -> None:
    """A client is no part of a workflow.

    Raises:
        WorkflowCodeError: It is used in the code of one.
    """
    running = asyncio.events._get_running_loop()
    if isinstance(running, WorkflowLoop):
        running.refuse(
            "A workflow's code has used a client, and would do so again at every replay. Start another run by "
            "ctx.child(...); do what else the client is for in a step."
        )


def _run_bytes(new: NewRun) -> int:
    return len(new.input) + len(new.on_complete or b"")


def _message_bytes(message: Message) -> int:
    return len(message.payload)


def _control_bytes(control: Control) -> int:
    verb = control.verb
    return len(getattr(verb, "payload", b"")) + len(getattr(verb, "outcome", b""))
