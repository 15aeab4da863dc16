"""A run that leaves memory leaves nothing behind: no step, no log line, no other run is touched (rule 14, I21)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from replay_driver import Drive, Program, close_all, find_interpreters, record, replayed
from replay_programs import PROGRAMS, say

from durable import Context, workflow

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def begun(code: Any) -> Drive:
    drive = Drive(Program(code.__name__, workflow(code)))
    drive.start()
    return drive


def evict(drive: Drive) -> None:
    """Close the run, and see to it that nothing came of it."""
    state = drive.state
    made, fired = len(drive.turns), list(state.fired)
    state.new_calls.clear()
    state.close()
    assert state.new_calls == []
    assert state.fired == fired
    assert len(drive.turns) == made
    assert state.calls == {}
    assert state.poisoned


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_every_program_can_be_evicted_at_every_point(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    for seed in (0, 1):
        rows = record(program, seed).rows
        for length in range(len(rows) + 1):
            evict(replayed(program, rows[:length]))
    assert caplog.records == []


NOISE = """
import gc, sys
sys.path[:0] = {paths!r}
from replay_driver import close_all, record, replayed
from replay_programs import PROGRAMS

for program in PROGRAMS:
    rows = record(program, 5).rows
    for length in range(len(rows) + 1):
        replayed(program, rows[:length]).state.close()
    close_all()
    gc.collect()
print("quiet")
"""


@pytest.mark.slow
def test_no_task_is_destroyed_pending_and_no_coroutine_is_never_awaited_on_every_python() -> None:
    here = Path(__file__).parent
    script = NOISE.format(paths=[str(here), str(here.parents[2])])
    running = [
        subprocess.Popen(
            [interpreter, "-X", "dev", "-W", "error", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for interpreter in [sys.executable, *find_interpreters()]
    ]
    assert [process.communicate() for process in running] == [("quiet\n", "")] * len(running)


def test_finally_blocks_run_but_reach_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reached: list[str] = []

    async def code(ctx: Context) -> None:
        verbs: list[Any] = [
            lambda: ctx.step(say, "late"),
            lambda: ctx.step("inline", lambda: reached.append("step")),
            lambda: ctx.emit("stream", 1),
            lambda: ctx.set("key", 1),
            lambda: ctx.signal("other", "x"),
            lambda: ctx.sleep(1),
            lambda: ctx.uuid(),
            lambda: ctx.patched("change"),
            lambda: ctx.random.random(),
            lambda: asyncio.create_task(ctx.sleep(1)),
            lambda: asyncio.get_running_loop().call_later(1, print),
            lambda: say("direct"),
        ]
        try:
            await ctx.step(say, "first")
        finally:
            for number, verb in enumerate(verbs):
                with contextlib.suppress(BaseException):
                    verb()
                    reached.append(str(number))
            ctx.log.error("a line from a finally block")
            reached.append("end")

    evict(begun(code))
    assert reached == ["end"]
    assert caplog.records == []


# Of the two coroutines in the gather, the standard library closes the one whose task is refused, and not the other.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_finally_blocks_that_await_are_unwound_to_the_last_one_from_the_inside_out() -> None:
    said: list[str] = []

    async def inner(event: asyncio.Event) -> None:
        try:
            await event.wait()
        finally:
            for n in range(3):
                try:
                    await event.wait()
                finally:
                    said.append(f"inner {n}")

    async def code(ctx: Context) -> None:
        event = asyncio.Event()
        lock = asyncio.Lock()
        try:
            async with lock:
                await inner(event)
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                try:
                    await asyncio.gather(inner(event), inner(event))
                finally:
                    said.append(f"outer, lock {'held' if lock.locked() else 'free'}")

    evict(begun(code))
    assert said == ["inner 0", "outer, lock free"]
    gc.collect()
    assert said == ["inner 0", "outer, lock free"]


def test_what_a_finally_block_would_wait_for_under_a_timeout_never_begins_and_nobody_is_warned() -> None:
    reached: list[str] = []

    async def clean_up() -> None:
        reached.append("clean-up")

    async def code(ctx: Context) -> None:
        try:
            await ctx.sleep("30d")
        finally:
            await asyncio.wait_for(clean_up(), 5)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        evict(begun(code))
        gc.collect()
    assert reached == []
    assert [str(warning.message) for warning in said] == []


def test_code_that_catches_everything_is_left_alone_after_a_while() -> None:
    rounds = 0

    async def code(ctx: Context) -> None:
        nonlocal rounds
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except BaseException:
                rounds += 1

    evict(begun(code))
    assert rounds == 1000
    gc.collect()
    assert rounds == 1000


class Odd(BaseException):
    pass


@pytest.mark.parametrize("error", [Odd, SystemExit, KeyboardInterrupt, asyncio.CancelledError, ValueError])
def test_whatever_clean_up_raises_stays_inside(error: type[BaseException]) -> None:
    async def code(ctx: Context) -> None:
        try:
            await ctx.sleep(1)
        finally:
            raise error

    evict(begun(code))


def test_clean_up_sees_the_context_variables_of_its_task_and_changes_no_others() -> None:
    seen: list[str] = []

    async def code(ctx: Context) -> None:
        token = tenant.set("run")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        finally:
            seen.append(tenant.get())
            tenant.reset(token)
            seen.append(tenant.get())

    async def child(name: str) -> None:
        tenant.set(name)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append(tenant.get())
            tenant.set("changed")

    outer = tenant.set("worker")
    try:
        evict(begun(code))
        assert tenant.get() == "worker"
    finally:
        tenant.reset(outer)
    assert seen == ["b", "a", "run", "nobody"]


def test_clean_up_of_one_run_touches_no_other_run() -> None:
    shared: dict[str, Any] = {}

    async def victim(ctx: Context) -> None:
        shared["event"] = asyncio.Event()
        try:
            await shared["event"].wait()
        finally:
            shared["other"].emit("stream", "from the victim's finally")

    async def other(ctx: Context) -> None:
        shared["other"] = ctx
        await ctx.sleep(10)

    first, second = begun(victim), begun(other)
    evict(first)
    assert second.state.fired == []
    assert second.state.violation is None or "used outside its workflow" in str(second.state.violation)
    second.state.close()


def test_task_groups_timeouts_and_shields_are_evicted_together() -> None:
    said: list[str] = []

    async def child(n: int, ctx: Context) -> None:
        try:
            async with asyncio.timeout(100):
                await asyncio.shield(ctx.step(say, str(n)))
        finally:
            said.append(f"child {n}")
            await ctx.step(say, "clean up")
            said.append("never")

    async def code(ctx: Context) -> None:
        try:
            async with asyncio.timeout(50), asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(child(n, ctx))
        finally:
            said.append("main")

    evict(begun(code))
    assert said == ["child 2", "child 1", "child 0", "main"]


async def _pages(said: list[str], ctx: Context) -> AsyncIterator[int]:
    try:
        for n in range(10):
            yield n
    finally:
        said.append("closing")
        try:
            await asyncio.sleep(0)
            said.append("slept")
        finally:
            with contextlib.suppress(Exception):
                await ctx.step(say, "clean up")
            said.append("never")


@pytest.mark.parametrize("kept", [True, False])
def test_async_generators_are_closed_with_their_run_and_not_by_the_collector(kept: bool) -> None:
    said: list[str] = []

    async def code(ctx: Context) -> None:
        pages = _pages(said, ctx)
        async for _ in pages:
            break
        if not kept:
            del pages
        gc.collect()
        assert said == []
        await ctx.step(say, "a")

    drive = begun(code)
    gc.collect()
    assert said == []
    evict(drive)
    assert said == ["closing"]
    gc.collect()
    assert said == ["closing"]


def test_a_generator_that_is_being_iterated_is_closed_with_its_task() -> None:
    said: list[str] = []

    async def code(ctx: Context) -> None:
        async def pages() -> AsyncIterator[str]:
            try:
                while True:
                    yield await ctx.step(say, "page")
            finally:
                said.append("closed")

        try:
            async for _ in pages():
                pass
        finally:
            said.append("main")

    evict(begun(code))
    assert said == ["closed", "main"]


def test_generators_that_are_left_are_closed_at_the_end_of_the_run_and_their_clean_up_may_run_steps() -> None:
    async def code(ctx: Context) -> str:
        async def pages(name: str) -> AsyncIterator[str]:
            try:
                yield name
                yield name
            finally:
                await ctx.step(say, f"close {name}")
                ctx.emit("closed", name)

        async for first in pages("one"):
            break
        async for second in pages("two"):
            break
        return first + second

    program = Program("left", workflow(code))
    recording = record(program, 0)
    assert recording.outcome == 'returned "onetwo"'
    assert recording.executed == 2
    assert len(recording.commands) == 2
    made = [text.split()[0] for turn in recording.turns for text in turn.made]
    assert made == ["~.1/step/say#0", "~.2/step/say#0"]


def test_many_generators_are_forgotten_once_they_are_exhausted() -> None:
    async def code(ctx: Context) -> int:
        async def one() -> AsyncIterator[int]:
            yield 1

        total = 0
        for _ in range(1000):
            async for n in one():
                total += n
        return total + 1000 * (len(ctx._state.loop._generators) < 200)

    assert begun(code).outcome() == "returned 2000"


def test_a_closed_state_is_given_back_to_memory() -> None:
    async def code(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(ctx.step(say, str(n)))

    drive = begun(code)
    ghost = weakref.ref(drive.state)
    evict(drive)
    close_all()
    del drive
    gc.collect()
    assert ghost() is None


def test_closing_twice_is_closing_once() -> None:
    async def code(ctx: Context) -> None:
        await ctx.sleep(1)

    drive = begun(code)
    evict(drive)
    evict(drive)


def test_a_child_that_the_code_cancels_in_a_finally_block_is_not_cancelled_by_an_eviction() -> None:
    from replay_programs import child as child_workflow

    async def code(ctx: Context) -> None:
        task = asyncio.create_task(ctx.child(child_workflow, 1))
        try:
            await ctx.sleep(100)
        finally:
            task.cancel()

    drive = begun(code)
    del drive.state.fired[:]
    evict(drive)
    assert drive.state.fired == []


def test_a_saga_does_not_undo_when_its_run_is_evicted() -> None:
    from replay_programs import book

    async def code(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(book, "a")
            await ctx.sleep(100)

    drive = begun(code)
    call = next(iter(drive.state.calls.values()))
    drive.apply(drive.execute(call, 1_700_000_001.0), 1_700_000_001.0)
    evict(drive)
    assert drive.executed == [call.id]
