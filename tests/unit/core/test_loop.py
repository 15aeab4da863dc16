"""The loop itself: how it stands in the outer loop, and where asyncio's finer points are the same inside it."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from replay_driver import BEGAN, Drive, Program, record
from replay_programs import fails, say

from durable import Context, workflow
from durable._core.loop import HeldHooks
from durable._model.entries import CancelAsked, Settled

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def begun(code: Any) -> Drive:
    drive = Drive(Program(code.__name__, workflow(code)))
    drive.start()
    return drive


def settle(drive: Drive, name: str, seconds: float = 1.0) -> None:
    """Let one pending call come to its end."""
    call = next(call for call in drive.state.calls.values() if call.name == name)
    now = drive.state.now + seconds
    fired = Settled(call.kind, call.id, call.fingerprint, True, b"")
    drive.apply(fired if call.spec is None else drive.execute(call, now), now)


def cancel(drive: Drive) -> None:
    drive.apply(CancelAsked("cancel", b'"no"'), drive.state.now + 1)


# ── inside another loop ──────────────────────────────────────────────────────────────────────────────────────────────


async def _waits(ctx: Context) -> str:
    tenant.set("inside")
    return await ctx.step(say, "a")


def _outer_world() -> tuple[Any, ...]:
    return asyncio.get_running_loop(), asyncio.current_task(), sys.get_asyncgen_hooks(), tenant.get()


async def test_draining_from_an_outer_task_restores_loop_task_hooks_and_variables() -> None:
    tenant.set("outside")
    before = _outer_world()
    drive = begun(_waits)
    assert _outer_world() == before
    settle(drive, "say")
    assert _outer_world() == before
    assert drive.outcome() == 'returned "<a>"'
    other = begun(_waits)
    other.state.close()
    assert _outer_world() == before
    await asyncio.sleep(0)  # the outer task still knows itself
    async with asyncio.timeout(1):
        await asyncio.create_task(asyncio.sleep(0))


async def test_what_workflow_code_raises_restores_them_as_well() -> None:
    before = _outer_world()

    async def ends(ctx: Context) -> None:
        raise SystemExit(3)

    drive = begun(ends)
    assert _outer_world() == before
    assert isinstance(drive.state.outcome()[1], SystemExit)


async def test_hooks_that_are_held_over_several_activations_come_back_too() -> None:
    before = _outer_world()
    with HeldHooks():
        drive = begun(_waits)
        settle(drive, "say")
    assert _outer_world() == before


async def test_inside_the_running_loop_and_the_current_task_are_the_workflows() -> None:
    seen: dict[str, Any] = {}

    async def looks(ctx: Context) -> None:
        seen["loop"] = asyncio.get_running_loop()
        seen["same"] = asyncio.get_event_loop()
        seen["task"] = asyncio.current_task()
        seen["tenant"] = tenant.get()
        seen["outer"] = asyncio.current_task(outer)
        tenant.set("inside")

    outer = asyncio.get_running_loop()
    tenant.set("outside")
    drive = begun(looks)
    assert seen["loop"] is seen["same"] is drive.state.loop
    assert seen["task"].get_name() == "task 0"
    assert seen["tenant"] == "nobody"
    assert tenant.get() == "outside"


async def test_runs_drain_in_turns_without_seeing_each_other() -> None:
    async def writes(ctx: Context) -> list[str]:
        before = tenant.get()
        tenant.set(await ctx.step(say, "a"))
        await ctx.step(say.options(name="second"), "b")
        return [before, tenant.get()]

    drives = [begun(writes) for _ in range(3)]
    for name in ("say", "second"):
        for drive in drives:
            settle(drive, name)
    assert [drive.outcome() for drive in drives] == ['returned ["nobody", "<a>"]'] * 3


async def test_outer_generators_are_the_outer_loops_also_between_activations() -> None:
    closed: list[str] = []

    async def outer_pages() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("outer")

    pages = outer_pages()
    await anext(pages)
    drive = begun(_waits)
    del pages
    settle(drive, "say")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert closed == ["outer"]


def test_it_works_where_no_loop_runs_at_all() -> None:
    drive = begun(_waits)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    settle(drive, "say")
    assert drive.outcome() == 'returned "<a>"'


def test_time_is_that_of_the_last_entry() -> None:
    async def clocks(ctx: Context) -> list[float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await ctx.step(say, "a")
        return [before - BEGAN, loop.time() - BEGAN, ctx.now().timestamp() - BEGAN]

    drive = begun(clocks)
    settle(drive, "say", 7.0)
    assert drive.outcome() == "returned [0.0, 7.0, 7.0]"


# ── wait_for ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cancel_while_wait_for_ends_a_call_that_takes_no_time_is_not_taken_for_the_timeout() -> None:
    async def cleans() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(5)

    async def code(ctx: Context) -> str:
        task = asyncio.create_task(cleans())
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(task, 0)
        except TimeoutError:
            return "swallowed the cancel"
        return "?"

    drive = begun(code)
    cancel(drive)
    while not drive.state.finished:
        settle(drive, "timer", 5)
    assert drive.outcome() == "raised CancelledError() after cancel"


@pytest.mark.parametrize("timeout", [0, -1])
def test_wait_for_without_time_takes_what_is_there(timeout: float) -> None:
    async def code(ctx: Context) -> str:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ready.set_result("there")
        return await asyncio.wait_for(ready, timeout)

    assert begun(code).outcome() == 'returned "there"'


def test_wait_for_gives_the_result_of_a_call_that_ends_in_spite_of_its_cancel() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "ended anyway"
        return ""

    async def code(ctx: Context) -> str:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        return await asyncio.wait_for(task, 0)

    assert begun(code).outcome() == 'returned "ended anyway"'


def test_wait_for_passes_errors_on() -> None:
    async def code(ctx: Context) -> str:
        return await asyncio.wait_for(ctx.step(fails, "x"), 10)

    drive = begun(code)
    settle(drive, "fails")
    assert drive.outcome() == "raised ValueError('x')"


# ── as_completed ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_as_completed_takes_each_awaitable_once() -> None:
    async def code(ctx: Context) -> list[str]:
        call = ctx.step(say, "a")
        task = asyncio.create_task(ctx.step(say.options(name="second"), "b"))
        return [await one for one in asyncio.as_completed([call, task, call, task])]

    drive = begun(code)
    settle(drive, "second")
    settle(drive, "say")
    assert drive.outcome() == 'returned ["<b>", "<a>"]'


@pytest.mark.parametrize("given", [lambda ctx: ctx.step(say, "a"), lambda ctx: asyncio.create_task(ctx.sleep(1))])
def test_as_completed_wants_an_iterable(given: Callable[[Context], Any]) -> None:
    async def code(ctx: Context) -> str:
        one = given(ctx)
        try:
            asyncio.as_completed(one)
        except TypeError as error:
            one.cancel() if isinstance(one, asyncio.Task) else one.close()
            return str(error)
        return ""

    assert "expect an iterable of futures, not" in begun(code).outcome()


def test_as_completed_of_nothing_is_over_at_once() -> None:
    async def code(ctx: Context) -> list[Any]:
        got: list[Any] = list(asyncio.as_completed([]))
        async for one in asyncio.as_completed([], timeout=1):
            got.append(one)
        return got

    assert begun(code).outcome() == "returned []"


def test_a_result_of_as_completed_whose_waiter_is_cancelled_as_it_comes_goes_to_the_next_waiter() -> None:
    async def code(ctx: Context) -> list[str]:
        step = asyncio.create_task(ctx.step(say, "a"))
        first, second = asyncio.as_completed([step, asyncio.create_task(ctx.sleep(9))])
        got: list[str] = []

        async def takes(one: Any) -> None:
            got.append(await one)

        async def cancels() -> None:
            await step
            one.cancel()

        one, two = asyncio.create_task(takes(first)), asyncio.create_task(takes(second))
        watcher = asyncio.create_task(cancels())
        await asyncio.wait([one, two, watcher])
        assert one.cancelled()
        return got

    drive = begun(code)
    settle(drive, "say")
    assert drive.outcome() == 'returned ["<a>"]'


def test_as_completed_is_quick_with_ten_thousand() -> None:
    async def code(ctx: Context) -> int:
        async def ready(n: int) -> int:
            return n

        return sum([await one for one in asyncio.as_completed([ready(n) for n in range(10_000)])])

    assert begun(code).outcome() == f"returned {sum(range(10_000))}"


# ── cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cancel_reaches_the_main_task_once_and_its_clean_up_may_run_steps() -> None:
    async def code(ctx: Context) -> str:
        try:
            await ctx.sleep(100)
        except asyncio.CancelledError:
            await ctx.step(say, "clean")
            return "cleaned"
        return ""

    drive = begun(code)
    cancel(drive)
    cancel(drive)  # a second one is none
    settle(drive, "say")
    assert drive.outcome() == 'returned "cleaned" after cancel'


def test_a_cancel_and_a_result_that_come_together_are_both_seen_in_their_order() -> None:
    async def code(ctx: Context) -> list[str]:
        got = []
        try:
            got.append(await ctx.step(say, "a"))
            got.append(await ctx.step(say.options(name="second"), "b"))
        except asyncio.CancelledError:
            got.append("cancelled")
        return got

    drive = begun(code)
    settle(drive, "say", 0)
    cancel(drive)
    assert drive.outcome() == 'returned ["<a>", "cancelled"] after cancel'


def test_the_outcome_of_a_call_that_was_given_up_advances_time_and_delivers_nothing() -> None:
    async def code(ctx: Context) -> list[Any]:
        begin = ctx.now()
        task = asyncio.create_task(ctx.step(say, "slow"))
        await ctx.step(say.options(name="quick"), "q")
        task.cancel()
        await ctx.sleep(100)
        return [(ctx.now() - begin).total_seconds(), task.cancelled()]

    drive = begun(code)
    slow = next(call for call in drive.state.calls.values() if call.name == "say")
    late = drive.execute(slow, 0)
    settle(drive, "quick", 1)
    turns = len(drive.turns)
    drive.apply(late, BEGAN + 50)
    assert drive.turns[turns].made == ()
    settle(drive, "sleep", 51)
    assert drive.outcome() == "returned [101.0, true]"


def test_signal_and_timeout_of_one_wait_never_both_count() -> None:
    async def code(ctx: Context) -> str:
        try:
            return await ctx.wait_for_signal("go", str, timeout=5)
        except TimeoutError:
            return "timed out"

    for first, answer in (("go", '"x"'), ("timer", '"timed out"')):
        drive = begun(code)
        calls = {call.name: call for call in drive.state.calls.values()}
        for name in (first, *(name for name in calls if name != first)):
            call = calls[name]
            drive.apply(Settled(call.kind, call.id, call.fingerprint, True, b'"x"'), BEGAN + 5)
        assert drive.outcome() == f"returned {answer}"


def test_tasks_are_cancelled_in_the_order_of_their_creation() -> None:
    said: list[int] = []

    async def code(ctx: Context) -> None:
        async def waits(n: int) -> None:
            try:
                await ctx.sleep(1000)
            finally:
                said.append(n)

        for n in range(20):
            asyncio.create_task(waits(n))
        await ctx.sleep(1)

    drive = begun(code)
    call = next(c for c in drive.state.calls.values() if c.due == BEGAN + 1)
    drive.apply(Settled(call.kind, call.id, call.fingerprint, True, b""), BEGAN + 1)
    assert said == list(range(20))


# ── identities ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_identity_is_the_place_in_the_tree_the_kind_the_name_and_the_occurrence() -> None:
    async def code(ctx: Context) -> None:
        async def branch() -> None:
            await ctx.step(say, "x")
            await asyncio.gather(ctx.step(say, "y"), asyncio.create_task(ctx.sleep(1)))

        await ctx.step(say, "a")
        await ctx.step(say.options(key="k"), "b")
        await asyncio.gather(branch(), branch(), ctx.step(say, "c"))
        await asyncio.wait_for(ctx.sleep("nap", 1), 5)
        async with asyncio.timeout(3):
            await ctx.wait_for_signal("never", timeout=1)

    recording = record(Program("code", workflow(code)), 0)
    made = sorted(text.split()[0] for turn in recording.turns for text in turn.made)
    assert made == [
        "0.0/step/say#0",
        "0.0/step/say#1",
        "0.0/timer/sleep#0",
        "0.1/step/say#0",
        "0.1/step/say#1",
        "0.1/timer/sleep#0",
        "0/signal/never#0",
        "0/step/say#0",
        "0/step/say#1",
        "0/step/say[k]#0",
        "0/timer/nap#0",
        "0/timer/timer#0",
        "0/timer/timer#1",
        "0/timer/timer#2",
    ]


def test_an_edit_in_one_branch_shifts_nothing_in_another() -> None:
    def branches(extra: bool) -> Any:
        async def code(ctx: Context) -> list[str]:
            async def one() -> str:
                if extra:
                    await ctx.step(say, "extra")
                return await ctx.step(say, "one")

            async def two() -> str:
                return await ctx.step(say, "two")

            return list(await asyncio.gather(one(), two()))

        return code

    recordings = [record(Program("code", workflow(branches(extra))), 3) for extra in (False, True)]
    of_two = [
        [text for turn in recording.turns for text in turn.made if text.startswith("0.1/")] for recording in recordings
    ]
    assert of_two[0] == of_two[1] != []
