"""Wake-up hints: a subscription to ``durable:watch`` over Convex's sync protocol, and who listens to it.

The protocol is the one of Convex's own clients: ``Connect``, ``ModifyQuerySet``, then a ``Transition`` whenever the
query's answer has changed. Nothing here is needed for correctness: while the socket is down, polls are more frequent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import Any, Final, final

import aiohttp

from durable.clock import Clock, SystemClock
from durable.store import SessionId
from durable_convex import failures
from durable_convex.transport import Transport

__all__ = ["Listener", "Watch"]

_log = logging.getLogger("durable.convex")

_QUERY: Final = 0
_FIRST_WAIT_SECONDS: Final = 0.25
_LONGEST_WAIT_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 60.0  # the server says something, if only a ping, every 15 seconds
_CLOSE_SECONDS: Final = 0.5
_ECHO_SECONDS: Final = 0.25  # within which a subscription that stands tells us what we have written ourselves


@final
class Listener(AsyncIterator[None]):
    """One iterator of ``Store.changes``. It listens from its creation; several hints may come as one."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._hinted = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> None:
        while not self._hinted:
            if self._closed:
                raise StopAsyncIteration
            self._watch.begin()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._hinted = False

    def hint(self) -> None:
        """There may be news."""
        self._hinted = True
        self._wake()

    def close(self) -> None:
        """The store is closed: the iterator ends."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Broken(Exception):
    """The socket is of no more use; the message says why."""


@final
class Watch:
    """The subscription of one store, begun when somebody first listens.

    Attributes:
        live: Whether the subscription stands, so that what other processes write is heard of.
        heard: How many times it has told something new.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._clock: Clock = SystemClock()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._task: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session: SessionId | None = None
        self._token = ""
        self._version = 0
        self._subscription = 0
        self._last: Any = None
        self._polls = 0
        self._claimed: frozenset[str] = frozenset()
        self._gone: frozenset[str] = frozenset()
        self._echo: asyncio.TimerHandle | None = None
        self._connections = 0
        self._said = False
        self._closed = False
        self.live = False
        self.heard = 0

    # ── who listens ──────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self) -> Listener:
        """A new listener; of a closed store, one that ends at once."""
        listener = Listener(self)
        if self._closed:
            listener.close()
        else:
            self._listeners.add(listener)
        return listener

    def hint(self) -> None:
        """Tell everybody here."""
        self._drop_echo()
        for listener in list(self._listeners):
            listener.hint()

    def written(self, heard: int | None = None) -> None:
        """This store has written what may concern those who listen to it.

        The subscription tells them, too, if it shows there: one hint is enough, for each makes a worker look. Should it
        not, or should the socket be dead without our knowing, they are told all the same, a moment later.

        Args:
            heard: Of before the write, if the write is certain to show: it may have been told before its answer came.
        """
        if not self.live:
            self.hint()
        elif self._echo is None and (heard is None or heard == self.heard):
            self._echo = asyncio.get_running_loop().call_later(_ECHO_SECONDS, self.hint)

    @contextlib.contextmanager
    def polling(self) -> Generator[Callable[[Iterable[str]], None], None, None]:
        """Around a poll, which is to say what it has taken: that those runs are due no more is no news."""
        self._polls += 1
        try:
            yield self._take
        finally:
            self._polls -= 1
            gone, self._gone = self._gone, frozenset()
            if not gone <= self._claimed:
                self.hint()

    def _take(self, runs: Iterable[str]) -> None:
        self._claimed = frozenset(runs) or self._claimed

    def begin(self) -> None:
        """Have the deployment's changes heard of, from now on."""
        if self._closed or not self._transport.target.live:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="durable-convex-watch")

    def concern(self, session: SessionId) -> None:
        """From now on, messages for the runs of this session matter, too."""
        if session != self._session:
            self._session = session
            if self._socket is not None and self._version > 0:
                asyncio.get_running_loop().create_task(self._resubscribe(self._socket))

    async def close(self) -> None:
        """End every listener and the subscription, in bounded time."""
        self._closed = True
        self.live = False
        for listener in list(self._listeners):
            listener.close()
        self._listeners.clear()
        self._drop_echo()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(RuntimeError):  # its loop is another one, and closed
                await asyncio.wait([task], timeout=2 * _CLOSE_SECONDS)

    def _turned(self, gone: frozenset[str] | None) -> None:
        """The answer is another one: whether that is news."""
        if gone is not None and self._polls > 0:
            self._gone |= gone  # taken by a poll of ours, perhaps, whose answer is on its way
        elif gone is None or not gone <= self._claimed:
            self.heard += 1
            self.hint()

    def _drop_echo(self) -> None:
        echo, self._echo = self._echo, None
        if echo is not None:
            echo.cancel()

    # ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while not self._closed:
            began = self._clock.monotonic()
            try:
                await self._connected()
                why = "the server closed it"
            except asyncio.CancelledError:
                raise
            except Exception as error:
                why = str(error) or type(error).__name__
            was_live, self.live = self.live, False
            if was_live:
                self.hint()  # whoever waits looks again, and more often from now on
            if self._clock.monotonic() - began > _LONGEST_WAIT_SECONDS:
                wait = _FIRST_WAIT_SECONDS
            if not self._said:
                self._said = True
                _log.info("The subscription to Convex is down, so this process polls more often: %s.", why)
            await self._clock.sleep(wait * (0.5 + self._clock.random()))
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def _connected(self) -> None:
        """One connection, from its first message to its end."""
        self._version, self._last = 0, None
        jwt = await self._transport.access.jwt()
        async with asyncio.timeout(_CONNECT_SECONDS):
            socket = await self._transport.session.ws_connect(
                self._transport.target.socket,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),  # pyright: ignore[reportCallIssue]
                max_msg_size=16 * 1024 * 1024,
            )
        self._socket = socket
        try:
            await self._introduce(socket, jwt)
            await self._subscribe(socket)
            await self._listen(socket)
        finally:
            self._socket = None
            await socket.close()

    async def _introduce(self, socket: aiohttp.ClientWebSocketResponse, jwt: str | None) -> None:
        await socket.send_json(
            {
                "type": "Connect",
                "sessionId": str(uuid.UUID(self._clock.token())),
                "connectionCount": self._connections,
                "lastCloseReason": "InitialConnect" if self._connections == 0 else "Reconnect",
                "clientTs": int(self._clock.monotonic() * 1000),
            }
        )
        self._connections += 1
        if jwt is not None:
            await socket.send_json({"type": "Authenticate", "tokenType": "User", "value": jwt, "baseVersion": 0})

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._token = await self._transport.access.token()
        arguments: dict[str, Any] = {"token": self._token}
        if self._session is not None:
            arguments["session"] = self._session
        changes: list[dict[str, Any]] = []
        if self._version > 0:
            changes.append({"type": "Remove", "queryId": self._subscription})
        self._subscription += 1
        path = f"{self._transport.target.functions}:watch"
        changes.append({"type": "Add", "queryId": self._subscription, "udfPath": path, "args": [arguments]})
        base, self._version = self._version, self._version + 1
        await socket.send_json(
            {"type": "ModifyQuerySet", "baseVersion": base, "newVersion": self._version, "modifications": changes}
        )

    async def _resubscribe(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(Exception):  # the reader of the socket sees what is wrong with it
            await self._subscribe(socket)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        chunks: list[str] = []
        while True:
            frame = await socket.receive(timeout=_SILENCE_SECONDS)
            if frame.type is not aiohttp.WSMsgType.TEXT:
                raise _Broken(f"{frame.type.name} {frame.data or ''} {frame.extra or ''}".strip())
            message = json.loads(frame.data)
            if message.get("type") == "TransitionChunk":
                chunks.append(message["chunk"])
                if len(chunks) < message["totalParts"]:
                    continue
                message, chunks = json.loads("".join(chunks)), []
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "Transition":
                for change in message.get("modifications", ()):
                    if change.get("queryId") == self._subscription:
                        self._changed(change)
            case "FatalError" | "AuthError":
                raise _Broken(str(message.get("error")))
            case _:
                pass  # a ping, or an answer to something that we never ask

    def _changed(self, change: dict[str, Any]) -> None:
        match change.get("type"):
            case "QueryUpdated":
                self.live = True
                if self._said:
                    self._said = False
                    _log.info("The subscription to Convex stands again.")
                before, self._last = self._last, change.get("value")
                if before != self._last:
                    self._turned(_gone(before, self._last))
            case "QueryFailed":
                why = failures.masked(str(change.get("errorMessage")), self._token)
                raise _Broken(f"the function {self._transport.target.functions}:watch failed: {why}")
            case _:
                pass


def _gone(before: Any, after: Any) -> frozenset[str] | None:
    """The runs that are due no more, if nothing else has changed between two answers and no other run came up."""
    try:
        (*others, own), (*others_now, own_now) = json.loads(before), json.loads(after)
        (_, due, attention), (_, due_now, attention_now) = own, own_now
        gone = frozenset(run for run, at in due if [run, at] not in due_now)
        new = [one for one in due_now if one not in due] or [one for one in attention_now if one not in attention]
    except (TypeError, ValueError):
        return None  # the text of another component, or the first one
    return gone if others == others_now and not new else None
