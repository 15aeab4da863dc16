"""The blocking twin of the client, for code without an event loop: the client's own, or one in a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import wait
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar, final, overload

from durable._author.definitions import Invocation, Workflow
from durable._engine.handle import Handle, Status
from durable._engine.link import refuse_in_workflow
from durable._model.duration import Duration
from durable.errors import DurableError

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
I = TypeVar("I")  # noqa: E741

__all__ = ["Caller", "SyncClient", "SyncHandle"]

_LOOK_SECONDS: Final = 1.0  # at a loop that is somebody else's and may have ended


@final
class SyncClient:
    """``with connect(url).sync as client: client.start(order, ...).result()`` — the same verbs, without await.

    Of a client that is open in another thread's event loop it uses that loop, and leaves the client open.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SyncClient:
        refuse_in_workflow()
        if asyncio.events._get_running_loop() is not None:
            raise DurableError("client.sync would block this event loop; use the client itself, with await.")
        theirs = self._client.link.loop
        if theirs is not None and theirs.is_running():
            self._loop = theirs
            return self
        self._serve()
        try:
            self._call(self._client.open())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._thread is not None:
                self._call(self._client.close())
        finally:
            self._stop()

    def _serve(self) -> None:
        """A loop of its own, in a thread of its own."""
        started = threading.Event()

        def serve() -> None:
            loop = asyncio.new_event_loop()
            self._loop = loop
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        self._thread = threading.Thread(target=serve, name="durable-sync", daemon=True)
        self._thread.start()
        started.wait()

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            work.close()
            raise DurableError("Use the blocking client inside `with connect(...).sync as client:`.")
        if not loop.is_running():
            work.close()
            raise _ended()
        answer = asyncio.run_coroutine_threadsafe(work, loop)
        while wait((answer,), _LOOK_SECONDS).not_done:
            if not loop.is_running():
                raise _ended()
        if answer.cancelled():  # by the end of the loop; nobody else can
            raise _ended()
        return answer.result()

    @overload
    def start(self, wf: Workflow[[I], R], input: I, /, **options: Any) -> SyncHandle[R]: ...
    @overload
    def start(self, wf: Workflow[[], R], /, **options: Any) -> SyncHandle[R]: ...
    @overload
    def start(self, call: Invocation[R], /, **options: Any) -> SyncHandle[R]: ...
    @overload
    def start(self, name: str, input: Any = None, /, **options: Any) -> SyncHandle[Any]: ...
    def start(self, wf: Any, /, *input: Any, **options: Any) -> SyncHandle[Any]:
        """As ``Client.start``."""
        return SyncHandle(self, self._call(self._client.start(wf, *input, **options)))

    @overload
    def start_many(self, wf: Workflow[[I], R], inputs: Iterable[I], /, **options: Any) -> list[SyncHandle[R]]: ...
    @overload
    def start_many(self, calls: Iterable[Invocation[R]], /, **options: Any) -> list[SyncHandle[R]]: ...
    @overload
    def start_many(self, name: str, inputs: Iterable[Any], /, **options: Any) -> list[SyncHandle[Any]]: ...
    def start_many(self, wf: Any, /, *inputs: Any, **options: Any) -> list[SyncHandle[Any]]:
        """As ``Client.start_many``."""
        return [SyncHandle(self, handle) for handle in self._call(self._client.start_many(wf, *inputs, **options))]

    @overload
    def handle(self, id: str, wf: Workflow[..., R], /) -> SyncHandle[R]: ...
    @overload
    def handle(self, id: str, wf: None = None, /) -> SyncHandle[Any]: ...
    def handle(self, id: str, wf: Any = None, /) -> SyncHandle[Any]:
        """As ``Client.handle``."""
        return SyncHandle(self, self._client.handle(id, wf))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(method(*args, **kwargs))


def _ended() -> DurableError:
    return DurableError("The event loop of this client has ended; a call under way may have been done. Connect again.")


class Caller(Protocol):
    """Whoever can carry out asynchronous work while its caller waits."""

    def _call(self, work: Coroutine[Any, Any, T]) -> T: ...


@final
class SyncHandle(Generic[R_co]):
    """As ``Handle``, without await."""

    def __init__(self, client: Caller, handle: Handle[R_co]) -> None:
        self._client = client
        self._handle = handle
        self.id = handle.id

    def result(self, *, timeout: Duration | None = None) -> R_co:
        """As ``Handle.result``."""
        return self._client._call(self._handle.result(timeout=timeout))

    def status(self) -> Status:
        """As ``Handle.status``."""
        return self._client._call(self._handle.status())

    def stream(self, name: str, /, *, start: int = 0) -> Iterator[Any]:
        """As ``Handle.stream``."""
        items = aiter(self._handle.stream(name, start=start))
        while True:
            try:
                yield self._client._call(_next(items))
            except StopAsyncIteration:
                return

    def fork(self, *, at: str, id: str | None = None) -> SyncHandle[R_co]:
        """As ``Handle.fork``."""
        return SyncHandle(self._client, self._client._call(self._handle.fork(at=at, id=id)))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._handle, name)
        if not inspect.iscoroutinefunction(method):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._client._call(method(*args, **kwargs))


async def _next(items: Any) -> Any:
    return await anext(items)
