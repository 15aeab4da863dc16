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
class _LoopThread:
    """An event loop in a thread of its own, for a client that is open in no other."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.loop.call_soon(started.set)
        self._thread = threading.Thread(target=self._run, name="durable-sync", daemon=True)
        self._thread.start()
        started.wait()

    def _run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def stop(self) -> None:
        """End it, and the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


@final
class SyncClient:
    """``with connect(url).sync as client: client.start(order, ...).result()`` — the same verbs, without await.

    Any number of threads may enter it; the last that leaves closes the client. Of a client that is open in another
    thread's event loop it uses that loop, and leaves the client open.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._gate = threading.Lock()
        self._users = 0  # threads that have entered and not left; what follows is guarded by the gate, as this is
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: _LoopThread | None = None

    def __enter__(self) -> SyncClient:
        refuse_in_workflow()
        if asyncio.events._get_running_loop() is not None:
            raise _blocks()
        with self._gate:
            if self._users == 0:
                self._loop = self._client.link.loop
                if self._loop is None:
                    self._thread = _LoopThread()
                    self._loop = self._thread.loop
                elif not self._loop.is_running():
                    raise DurableError("The event loop that this client was opened in does not run. Connect again.")
            self._users += 1
        try:
            self._call(self._client.open())  # another thread may be opening it just now
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """The last of those for whom the loop was made closes the client."""
        with self._gate:
            self._users -= 1
            if self._users:
                return
            try:
                if self._thread is not None:
                    try:
                        self._call(self._client.close())
                    finally:
                        self._thread.stop()
            finally:
                self._loop = self._thread = None

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            work.close()
            raise DurableError("Use the blocking client inside `with connect(...).sync as client:`.")
        if not loop.is_running():
            work.close()
            raise _ended()
        if asyncio.events._get_running_loop() is loop:
            work.close()
            raise _blocks()
        answer = asyncio.run_coroutine_threadsafe(work, loop)
        while wait((answer,), _LOOK_SECONDS).not_done:
            if not loop.is_running():
                raise _ended()
        if answer.cancelled():
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


def _blocks() -> DurableError:
    return DurableError("client.sync would block this event loop; use the client itself, with await.")


def _ended() -> DurableError:
    return DurableError(
        "This client was closed, or its event loop has ended; a call under way may have been done. Connect again."
    )


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
