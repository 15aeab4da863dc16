"""Exceptions of every kind leave a step or a workflow: told alike at first and in replay, and nothing hangs on them."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from durable import Context, Retry, RunFailed, StepError, connect, step, workflow
from tests.input.tally import TRIED

PLANTED = "planted_errors_of_a_deploy"


class Refund(Exception):
    """Needs arguments that are not its ``args``."""

    def __init__(self, amount: int, *, reason: str) -> None:
        super().__init__(f"refund {amount}: {reason}")
        self.amount = amount
        self.reason = reason


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


class Absent(Exception):
    """Its text needs what was not stored."""

    def __init__(self, held: object) -> None:
        super().__init__()
        self.held = held

    def __str__(self) -> str:
        return f"held: {self.held!r}"


class Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("reduce")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")


class Closed(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("getattr")


class Shapeless(Exception):
    def __new__(cls, *given: object) -> "Shapeless":
        if not given:
            raise RuntimeError("new")
        return super().__new__(cls, *given)

    def __init__(self, *given: object) -> None:
        if len(given) != 3:
            raise RuntimeError("init")
        super().__init__(*given)


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("of a function")


def gone() -> Exception:
    """Of a class whose module is there no longer."""
    kind: Any = type("Gone", (Exception,), {"__module__": PLANTED})
    assert PLANTED not in sys.modules
    made: Exception = kind("of yesterday")
    return made


def with_cause() -> Exception:
    error = ValueError("outer")
    error.__cause__ = Refund(1, reason="inner")
    error.__cause__.__cause__ = KeyError("deep")
    return error


def with_itself_as_cause() -> Exception:
    error = ValueError("circular")
    error.__cause__ = KeyError("k")
    error.__cause__.__cause__ = error
    return error


def with_notes() -> Exception:
    error = ValueError("noted")
    error.add_note("first\nnote \ud800")
    error.__notes__.append(5)  # type: ignore[arg-type]
    return error


def long_chain() -> Exception:
    error = ValueError("0")
    for number in range(2_000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    return error


def deep_args() -> Exception:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return ValueError(value)


def own_args() -> Exception:
    error = ValueError()
    error.args = (error,)
    return error


# What is raised, and the class that comes out of the step; None: its own.
ERRORS: dict[str, tuple[Callable[[], BaseException], type[BaseException] | None]] = {
    "plain": (lambda: ValueError("text"), None),
    "no-args": (lambda: ValueError(), None),
    "falsy-args": (lambda: ValueError(None, 0, "", [], {}, False), None),
    "own-constructor": (lambda: Refund(5, reason="broken"), None),
    "cause": (with_cause, None),
    "circular": (with_itself_as_cause, None),
    "chain": (long_chain, None),
    "notes": (with_notes, None),
    "group": (lambda: ExceptionGroup("many", [ValueError("a"), ExceptionGroup("in", [Refund(1, reason="x")])]), None),
    "local": (local, StepError),
    "gone": (gone, StepError),
    "nul": (lambda: ValueError("a\x00b"), None),
    "surrogate": (lambda: ValueError("x\ud800"), None),
    "right-to-left": (lambda: ValueError("\u202eevil\x1b[31m"), None),
    "huge-text": (lambda: ValueError("x" * 20_000_000), None),
    "huge-int": (lambda: ValueError(10**5000), None),
    "nan": (lambda: ValueError(float("nan")), None),
    "unencodable-args": (lambda: ValueError(object(), b"x", {1}), None),
    "deep-args": (deep_args, None),
    "its-own-args": (own_args, None),
    "mute": (lambda: Mute("x"), None),
    "absent": (lambda: Absent(object()), None),
    "stubborn": (lambda: Stubborn("x"), None),
    "closed": (lambda: Closed("x"), None),
    "shapeless": (lambda: Shapeless(1, 2, 3), None),
    "os-error": (lambda: FileNotFoundError(2, "no such file", "orders.csv"), None),
    "unicode-error": (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), StepError),  # its bytes are not JSON
    "syntax-error": (lambda: SyntaxError("bad", ("f.py", 1, 2, "x = (", 1, 3)), None),
    "key-error": (lambda: KeyError(("a", 1)), None),
    "stop-iteration": (lambda: StopIteration(5), RuntimeError),
    "stop-async": (lambda: StopAsyncIteration(5), None),
    "recursion": (lambda: RecursionError("deep"), None),
    "memory": (lambda: MemoryError(), None),
    "exit": (lambda: SystemExit(3), StepError),
    "interrupt": (lambda: KeyboardInterrupt(), StepError),
    "generator-exit": (lambda: GeneratorExit(), StepError),
    "cancelled": (lambda: asyncio.CancelledError("by itself"), StepError),
    "base-group": (lambda: BaseExceptionGroup("x", [KeyboardInterrupt()]), ExceptionGroup),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("durable").setLevel(logging.NOTSET)


def described(error: BaseException | None, room: int = 5) -> Any:
    """All that can be seen of an exception, past whatever it says of itself."""
    if error is None or room == 0:
        return None
    try:
        text = str(error)
    except Exception as mute:
        text = f"mute: {mute}"
    fields = BaseException.__dict__
    notes = fields["__dict__"].__get__(error).get("__notes__", [])
    members = BaseExceptionGroup.__dict__["exceptions"].__get__(error) if type(error) in GROUPS else ()
    return (
        type(error),
        text,
        repr(fields["args"].__get__(error)) if text[:4] != "mute" else None,
        list(notes),
        described(fields["__cause__"].__get__(error), room - 1),
        [described(member, room - 1) for member in members],
    )


GROUPS = (ExceptionGroup, BaseExceptionGroup)


async def test_an_error_of_a_step_is_told_alike_at_first_and_in_replay(rig: Any) -> None:
    seen: dict[str, list[Any]] = {name: [] for name in ERRORS}
    kinds: dict[str, set[Any]] = {name: set() for name in ERRORS}
    tried = dict.fromkeys(ERRORS, 0)

    @step(retry=Retry(2, initial=0, jitter=0))
    async def fail(name: str) -> None:
        tried[name] += 1
        raise ERRORS[name][0]()

    @workflow
    async def wf(ctx: Context, name: str) -> str:
        try:
            await ctx.step(fail, name)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and name != "generator-exit":
                raise
            kinds[name].add(type(error))
            seen[name].append(described(error))
        await ctx.wait_for_signal("go")
        return "told"

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handles = {name: await client.start(wf, name) for name in ERRORS}
            for name, handle in handles.items():
                await rig.waits(handle, "go")
        first = {name: len(outs) for name, outs in seen.items()}
        async with connect(rig.url) as other, rig.worker(other, wf):
            for name, handle in handles.items():
                await other.signal(handle.id, "go")
                assert await other.handle(handle.id).result(timeout=30) == "told", name
    for name, (make, kind) in ERRORS.items():
        assert kinds[name] == {type(make()) if kind is None else kind}, name
        assert len(seen[name]) > first[name] >= 1, name
        assert all(repr(out) == repr(seen[name][0]) for out in seen[name]), name
        assert tried[name] <= 2, name
    TRIED["exceptions"] += 2 * len(ERRORS)


async def test_an_error_of_a_run_is_its_outcome_and_the_next_run_is_right(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, name: str) -> str:
        if name in ERRORS:
            raise ERRORS[name][0]()
        return "fine"

    not_errors = {"exit", "interrupt", "generator-exit", "base-group"}
    async with rig.serving(wf) as client, connect(rig.url) as other:
        for name in ERRORS.keys() - not_errors:
            handle = await client.start(wf, name)
            with pytest.raises(RunFailed) as here:
                await handle.result(timeout=30)
            with pytest.raises(RunFailed) as there:
                await other.handle(handle.id).result(timeout=30)
            assert repr(described(here.value.__cause__)) == repr(described(there.value.__cause__)), name
            line = (await handle.status()).error
            assert line is not None and line.isprintable() and len(line) <= 300, name
        assert await rig.run(client, wf, "none") == "fine"


@pytest.mark.parametrize("name", ["exit", "interrupt", "generator-exit", "base-group"])
async def test_what_would_stop_a_process_does_not_stop_a_worker(rig: Any, name: str) -> None:
    @workflow
    async def wf(ctx: Context, name: str) -> str:
        if name in ERRORS:
            raise ERRORS[name][0]()
        return "fine"

    async with rig.serving(wf) as client:
        handle = await client.start(wf, name)
        with pytest.raises(RunFailed):
            await handle.result(timeout=30)
        assert await rig.run(client, wf, "none") == "fine"
