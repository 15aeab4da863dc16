"""asyncio under virtual time: the mirror of ``durable._core.loop`` for whole workers, clients and stores.

Law: nothing here waits. What is ready runs, one callback at a time, in an order that the seed decides; when nothing is
ready, whoever drives the loop moves its time to the next timer. Whose callback it is, its context says: callbacks of a
killed actor are forgotten, those of a stopped one are kept until it goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
import random
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NoReturn, final

from durable._core.loop import Inside
from durable.errors import DurableError

__all__ = ["Actor", "SimLoop", "SimulationError"]

_TURNS_MAX: Final = 1_000_000  # callbacks at one instant


class SimulationError(DurableError, AssertionError):
    """The scenario cannot be simulated as it is written: it never ends, or reaches for the real world."""


@final
class Actor:
    """A process, as the simulator sees it: whatever runs in its context can be stopped, or killed, as one.

    Attributes:
        dead: Killed: nothing of it runs any more, nothing is thrown into it.
        stopped: As by SIGSTOP: it goes on, late, when it is continued.
    """

    __slots__ = ("dead", "kept", "name", "stopped")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        self.kept: list[events.Handle] = []

    def __repr__(self) -> str:
        return self.name

    def context(self) -> contextvars.Context:
        """A fresh context for its first task."""
        context = contextvars.Context()
        context.run(_actor.set, self)
        return context


_actor: ContextVar[Actor] = ContextVar("durable_actor")


class SimLoop(asyncio.AbstractEventLoop):
    """An event loop that is driven by hand.

    Args:
        seed: Of the order in which ready callbacks run; None: in the order in which they became ready.

    Attributes:
        complaints: What ``call_exception_handler`` was told.
        problems: What cannot be simulated; whoever drives raises the first.
        turns: Callbacks so far.
        stubs: What stands for which step here.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.complaints: list[dict[str, Any]] = []
        self.problems: list[BaseException] = []
        self.stubs: dict[Any, Callable[..., Any]] = {}
        self.turns = 0
        self._now = 0.0
        self._dice = None if seed is None else random.Random(seed)
        self._ready: deque[events.Handle] = deque()
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        self._pauses: list[tuple[float, int, events.TimerHandle]] = []
        self._count = 0
        self._halted = False
        self._running = False
        self._thread = threading.get_ident()

    # ── driving ──────────────────────────────────────────────────────────────────────────────────────────────────

    def spin(self) -> None:
        """Run what is ready, and what becomes ready by that, until nothing is, or ``halt`` was called.

        Raises:
            SimulationError: It never comes to rest.
        """
        self._halted = False
        ready, dice = self._ready, self._dice
        turns = 0
        with Inside(self):
            while ready and not self._halted:
                if dice is None or len(ready) == 1:
                    handle = ready.popleft()
                else:
                    ready.rotate(int(dice.random() * len(ready)))
                    handle = ready.popleft()
                if handle._cancelled:
                    continue
                context: contextvars.Context = handle._context  # type: ignore[attr-defined]
                actor = context.get(_actor)
                if actor is not None and (actor.dead or actor.stopped):
                    if not actor.dead:
                        actor.kept.append(handle)
                    continue
                handle._run()
                turns += 1
                if turns > _TURNS_MAX:
                    raise SimulationError(
                        "The simulation never comes to rest: something goes round without waiting for anything "
                        "(a `while` loop around `await asyncio.sleep(0)`?)."
                    )
        self.turns += turns

    def halt(self, *_: object) -> None:
        """Let ``spin`` return after the current callback."""
        self._halted = True

    def refuse(self, message: str) -> NoReturn:
        """Raise it here, and to whoever drives: a step's error might be caught, or retried."""
        error = SimulationError(message)
        self.give_up(error)
        raise error

    def give_up(self, error: BaseException) -> None:
        """Whoever drives raises this as soon as the current callback has returned."""
        self.problems.append(error)
        self.halt()

    @property
    def quiet(self) -> bool:
        """Whether nothing is ready."""
        return not self._ready

    def next_timer(self) -> float:
        """When the next timer is due; infinity if there is none."""
        return _head(self._timers)

    def next_pause(self) -> float:
        """When the next ``pause`` is over; infinity if there is none."""
        return _head(self._pauses)

    def skip_to(self, instant: float) -> None:
        """Move time, and make ready what is due then."""
        self._now = max(self._now, instant)
        for heap in (self._timers, self._pauses):
            while heap and heap[0][0] <= self._now:
                handle = heapq.heappop(heap)[2]
                if not handle._cancelled:
                    self._ready.append(handle)

    def go_on(self, actor: Actor) -> None:
        """A stopped actor continues with what it was about to do."""
        actor.stopped = False
        self._ready.extend(actor.kept)
        actor.kept.clear()

    async def pause(self, seconds: float, due: float = math.inf) -> None:
        """Sleep so long; where nothing happens, whoever drives may let it last longer, but not until after ``due``."""
        future: asyncio.Future[None] = self.create_future()
        handles = [self._timer(self._now + seconds, _set, (future,), None, self._pauses)]
        if due < math.inf:
            handles.append(self.call_later(due, _set, future))
        try:
            await future
        finally:
            for handle in handles:
                handle.cancel()

    # ── what asyncio asks of a loop ──────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        pass

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def close(self) -> None:
        self._ready.clear()
        self._timers.clear()
        self._pauses.clear()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.Handle:
        if threading.get_ident() != self._thread:
            raise SimulationError(
                "A real thread speaks to the simulated loop. In the simulator only `def` steps and asyncio.to_thread "
                "stand for threads; stub the step that starts one (sim.stub(step, fn))."
            )
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.TimerHandle:
        return self._timer(self._now + delay, callback, args, context, self._timers)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.TimerHandle:
        return self._timer(when, callback, args, context, self._timers)

    def _timer(
        self,
        when: float,
        callback: Callable[..., Any],
        args: Any,
        context: contextvars.Context | None,
        heap: list[tuple[float, int, events.TimerHandle]],
    ) -> events.TimerHandle:
        handle = events.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(heap, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        pass  # it is skipped when it comes up

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """The thread's work is done here, at a later turn."""
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except BaseException as error:
                future.set_exception(error)

        self.call_soon(work)
        return future

    def set_task_factory(self, factory: Any) -> None:
        raise SimulationError("A task factory cannot be set in the simulator.")

    def get_task_factory(self) -> None:
        return None

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    def set_exception_handler(self, handler: Any) -> None:
        pass

    def get_exception_handler(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        pass

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass


def _head(heap: list[tuple[float, int, events.TimerHandle]]) -> float:
    while heap:
        when, _, handle = heap[0]
        if not handle._cancelled:
            return when
        heapq.heappop(heap)
    return math.inf


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _refusing(name: str) -> Any:
    def method(self: SimLoop, *args: Any, **kwargs: Any) -> NoReturn:
        self.refuse(
            f"loop.{name}() reaches for the real world, which the simulator does not have. "
            "Stub the step that does it: sim.stub(step, fn)."
        )

    method.__name__ = name
    return method


_REFUSED: Final = (
    "run_forever run_until_complete stop set_default_executor getaddrinfo getnameinfo create_connection create_server "
    "start_tls sendfile create_unix_connection create_unix_server connect_accepted_socket create_datagram_endpoint "
    "connect_read_pipe connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer "
    "remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect "
    "sock_accept sock_sendfile add_signal_handler remove_signal_handler"
)
for _name in _REFUSED.split():
    setattr(SimLoop, _name, _refusing(_name))
