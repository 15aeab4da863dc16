"""asyncio without a world: an event loop whose only inputs are delivered entries and whose time is the journal's.

Law: nothing here waits. ``spin`` runs callbacks until none is ready; what remains is waiting for an entry. Ready
callbacks run in the order in which they became ready, timers are handed to ``on_timer`` and fire when their entry is
delivered, tasks know their place in the tree, and tasks and futures hash by creation order, so that sets of them
iterate alike in every process.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

from durable._core import primitives
from durable._core.identity import MAIN_PATH, OUTSIDE_PATH
from durable._core.nobody import nobody
from durable.errors import WorkflowCodeError

T = TypeVar("T")

__all__ = ["HeldHooks", "Inside", "Poisoned", "WorkflowFuture", "WorkflowLoop", "WorkflowTask"]

_current_task: Final = asyncio.current_task
# Looked up once, for each activation asks them.
_get_running_loop: Final = events._get_running_loop
_set_running_loop: Final = events._set_running_loop
_get_hooks: Final = sys.get_asyncgen_hooks
_ONE_TASK_AT_A_TIME: Final = sys.version_info >= (3, 12)  # before, each loop has a current task of its own
_SPIN_MAX: Final = 2_000_000
_HASH_STEP: Final = 0x9E3779B97F4A7C15  # odd, so that successive hashes of one run never collide
_HASH_MASK: Final = 0x1FFFFFFFFFFFFFFF


class Poisoned(BaseException):
    """Raised at a call of an evicted run, so that no ``finally`` of user code reaches a step. Stays in the engine."""


class WorkflowFuture(asyncio.Future[T]):
    """A future that hashes by creation order."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        loop._hash = self._hash = (loop._hash + _HASH_STEP) & _HASH_MASK
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class WorkflowTask(asyncio.Task[T]):
    """A task that knows its path in the tree of tasks, and counts the calls written in it.

    Attributes:
        variables: Its context variables.
        sheltered: It is not cancelled when the main task ends, but awaited (the undoing of a saga).
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: WorkflowLoop,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        self._hash = loop.next_hash()
        self.path = loop.next_path()
        self.children = 0
        self.written: dict[str, int] = {}
        self.sheltered = False
        self.variables = contextvars.copy_context() if context is None else context
        super().__init__(coro, loop=loop, name=name or f"task {self.path}", context=self.variables)

    def __hash__(self) -> int:
        return self._hash


class _Outside:
    """Stands in for a task where code runs in none (a bare ``call_soon`` callback)."""

    def __init__(self) -> None:
        self.path = OUTSIDE_PATH
        self.children = 0
        self.written: dict[str, int] = {}


class WorkflowLoop(asyncio.AbstractEventLoop):
    """The loop of one run.

    Args:
        seed: Number from which hashes are made; the run's, so that hashes of different runs do not collide.
        on_timer: Called with (due, handle) when code sets a timer; the handle runs when its entry is delivered.
        on_timer_cancelled: Called with a handle whose timer the code has cancelled.
        on_violation: Called with each ``WorkflowCodeError`` before it is raised.

    Attributes:
        poisoned: The run is leaving memory: no task begins any more.
    """

    _is_workflow_loop = True

    def __init__(
        self,
        seed: int,
        on_timer: Callable[[float, asyncio.TimerHandle], None],
        on_timer_cancelled: Callable[[asyncio.TimerHandle], None],
        on_violation: Callable[[WorkflowCodeError], None],
    ) -> None:
        self.now = 0.0
        self.poisoned = False
        self.complaints: list[dict[str, Any]] = []
        self._hash = seed & _HASH_MASK
        self._ready: deque[events.Handle] = deque()
        self._tasks: list[WorkflowTask[Any]] = []
        self._tasks_swept = 64
        self._outside = _Outside()
        self._generators: list[Any] = []
        self._on_timer = on_timer
        self._on_timer_cancelled = on_timer_cancelled
        self._on_violation = on_violation
        self._running = False

    # ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────

    def next_hash(self) -> int:
        self._hash = (self._hash + _HASH_STEP) & _HASH_MASK
        return self._hash

    def place(self) -> WorkflowTask[Any] | _Outside:
        """The task whose code runs now."""
        task = _current_task(self)
        return task if isinstance(task, WorkflowTask) else self._outside

    def next_path(self) -> str:
        """The path of the task that is being created."""
        if not self._tasks and self._outside.children == 0:
            self._outside.children = 1
            return MAIN_PATH
        parent = self.place()
        index = parent.children
        parent.children = index + 1
        return f"{parent.path}.{index}"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────

    def spin(self) -> None:
        """Run callbacks until none is ready; swaps the running loop, the current task and the generator hooks."""
        ready = self._ready
        if not ready:
            return
        with Inside(self):
            for _ in range(_SPIN_MAX):
                if not ready:
                    return
                handle = ready.popleft()
                if not handle.cancelled():
                    try:
                        handle._run()
                    except (SystemExit, KeyboardInterrupt):
                        pass  # the task that raised it has kept it as its outcome (B86)
            ready.clear()
            self._on_violation(
                WorkflowCodeError(
                    "The workflow never comes to rest: it goes round without waiting for anything durable. Wait for "
                    "what it looks at (an asyncio.Event, a signal, a step), or sleep between two looks with "
                    "`await ctx.sleep(...)`."
                )
            )

    def inside(self) -> Inside:
        """For a caller that must run user code (closing coroutines) as if from this loop."""
        return Inside(self)

    def ready(self, handle: events.Handle) -> None:
        """Let a fired timer's callback run at the next spin."""
        self._ready.append(handle)

    @property
    def quiet(self) -> bool:
        """Whether nothing is ready."""
        return not self._ready

    def live_tasks(self) -> list[WorkflowTask[Any]]:
        """Unfinished tasks in creation order."""
        return [task for task in self._tasks if not task.done()]

    def close_for_good(self) -> None:
        """Forget what is ready, the tasks and whose loop this was: no cycle is left for the collector."""
        self._ready.clear()
        self._tasks.clear()
        self._on_timer = self._on_timer_cancelled = self._on_violation = nobody

    def take_generators(self) -> list[Any]:
        """Asynchronous generators that were begun and are not exhausted, in the order in which they were begun."""
        taken, self._generators = self._generators, []
        return [generator for generator in taken if generator.ag_frame is not None]

    def refuse(self, message: str) -> NoReturn:
        """Raise a ``WorkflowCodeError``, after having told the run."""
        error = WorkflowCodeError(message)
        self._on_violation(error)
        raise error

    # ── what asyncio asks of a loop ──────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        pass

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.TimerHandle:
        if (complaint := primitives.unreplayable_caller(1)) is not None:
            self.refuse(complaint)
        return self._timer(self.now + delay, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> events.TimerHandle:
        if (complaint := primitives.unreplayable_caller(3)) is not None:  # through asyncio.timeout, since 3.12
            self.refuse(complaint)
        return self._timer(when, callback, args, context)

    def _timer(
        self, when: float, callback: Callable[..., Any], args: Any, context: contextvars.Context | None
    ) -> events.TimerHandle:
        handle = events.TimerHandle(when, callback, args, self, context)
        self._on_timer(when, handle)
        return handle

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        self._on_timer_cancelled(handle)

    def create_future(self) -> WorkflowFuture[Any]:
        return WorkflowFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **options: Any) -> WorkflowTask[Any]:
        if self.poisoned:
            coro.close()
            raise Poisoned
        if (complaint := primitives.unreplayable_caller(3)) is not None:
            self.refuse(complaint)
        if options.get("eager_start"):
            self.refuse("Eager tasks start before their place in the tree is known. Leave eager_start out.")
        task = WorkflowTask(coro, loop=self, name=None if name is None else str(name), context=context)
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_swept:
            self._tasks = self.live_tasks()
            self._tasks_swept = max(64, 2 * len(self._tasks))
        return task

    def set_task_factory(self, factory: Any) -> None:
        self.refuse("A task factory cannot be set in a workflow: tasks must know their place in the tree.")

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

    # ── asynchronous generators ──────────────────────────────────────────────────────────────────────────────────

    def generator_begun(self, generator: Any) -> None:
        """Hold on to it, so that the collector cannot close it at a moment of its own, or on another loop (B76)."""
        self._generators.append(generator)
        if len(self._generators) > 64 and len(self._generators) % 64 == 1:
            self._generators = [kept for kept in self._generators if kept.ag_frame is not None]


def _generator_begun(generator: Any) -> None:
    loop = events._get_running_loop()
    if isinstance(loop, WorkflowLoop):
        loop.generator_begun(generator)


class HeldHooks:
    """Context manager: the generator hooks stay swapped over several spins; setting them is dear."""

    __slots__ = ("_hooks",)

    def __enter__(self) -> None:
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=_generator_begun, finalizer=None)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._hooks)


class Inside:
    """Context manager: code inside runs as on this loop, and the outer loop finds everything as it was.

    Args:
        loop: Driven by hand: a workflow's, or a simulator's. It has an attribute ``_running``.
    """

    __slots__ = ("_hooks", "_loop", "_outer", "_task")

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        outer = self._outer = _get_running_loop()
        self._task = _leave_task(outer) if _ONE_TASK_AT_A_TIME and outer is not None else None
        hooks = _get_hooks()
        self._hooks = None if hooks.firstiter is _generator_begun else hooks
        if self._hooks is not None:
            sys.set_asyncgen_hooks(firstiter=_generator_begun, finalizer=None)
        _set_running_loop(self._loop)
        self._loop._running = True

    def __exit__(self, *_: object) -> None:
        self._loop._running = False
        _set_running_loop(self._outer)
        if self._hooks is not None:
            sys.set_asyncgen_hooks(*self._hooks)
        if self._task is not None:
            asyncio.tasks._enter_task(self._outer, self._task)  # type: ignore[arg-type]


def _leave_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    return task


def _refusing(name: str, hint: str) -> Any:
    def method(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        self.refuse(f"loop.{name}() reaches outside, which a workflow may not. {hint}")

    method.__name__ = name
    return method


_STEP_HINT: Final = "Write a step (@step) that does it, and call it with ctx.step(...)."
_HINTS: Final = {
    "run_in_executor": "A plain `def` step runs in a thread: write a step (@step) and call it with ctx.step(...). "
    "asyncio.to_thread ends here too.",
    "call_soon_threadsafe": "Nothing outside may touch a workflow's loop; send the run a signal instead.",
}
_REFUSED: Final = (
    "run_forever run_until_complete stop close call_soon_threadsafe run_in_executor set_default_executor "
    "shutdown_default_executor getaddrinfo getnameinfo create_connection create_server start_tls sendfile "
    "create_unix_connection create_unix_server connect_accepted_socket create_datagram_endpoint connect_read_pipe "
    "connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer remove_writer sock_recv "
    "sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile "
    "add_signal_handler remove_signal_handler"
)
for _name in _REFUSED.split():
    setattr(WorkflowLoop, _name, _refusing(_name, _HINTS.get(_name, _STEP_HINT)))

primitives.install()
