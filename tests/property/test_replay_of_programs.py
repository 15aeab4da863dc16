"""Random workflows, in random orders of events, replay from every prefix of their journals (I11, I12)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "core"))

from replay_driver import Program, assert_replays, assert_replays_from_everywhere, close_all, record, replayed
from replay_programs import book, child, fails, flaky, say

from durable import Context, workflow

Node = tuple[Any, ...]

names = st.sampled_from("abc")
delays = st.sampled_from([0, 0.001, 0.5, 2, 30])

leaves = st.one_of(
    st.tuples(st.sampled_from(["step", "fails", "flaky", "book", "emit", "set", "chance"]), names),
    st.tuples(st.sampled_from(["sleep", "nap", "hang"]), delays),
    st.tuples(st.just("signal"), names, st.none() | delays.filter(bool)),
    st.tuples(st.just("child"), st.sampled_from([-1, 1])),
    st.tuples(st.just("patched"), names),
)


def _grown(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["then", "gather", "gather all", "race", "group", "completed", "parallel"]), several),
        st.tuples(st.sampled_from(["race of gathers", "completed set"]), st.lists(inner, min_size=2, max_size=4)),
        st.tuples(st.just("wait_for"), inner, delays),
        st.tuples(st.just("timeout"), inner, delays),
        st.tuples(st.just("try"), inner, inner),
        st.tuples(st.just("catch"), inner, inner),
        st.tuples(st.just("loop"), st.integers(1, 3), inner),
        st.tuples(st.just("shield"), inner),
        st.tuples(st.just("saga"), inner),
        st.tuples(st.just("spawn"), inner),
        st.tuples(st.just("locked"), several),
        st.tuples(st.just("cancelled after"), inner, delays),
    )


programs = st.recursive(leaves, _grown, max_leaves=10)


async def interpreted(ctx: Context, node: Node) -> Any:
    """One workflow function for them all."""
    kind, *rest = node
    match kind:
        case "step":
            return await ctx.step(say, rest[0])
        case "fails":
            return await ctx.step(fails, rest[0])
        case "flaky":
            return await ctx.step(flaky, rest[0])
        case "book":
            return await ctx.step(book, rest[0])
        case "emit":
            return ctx.emit("stream", rest[0])
        case "set":
            return ctx.set(rest[0], 1)
        case "chance":
            return await ctx.step(say, f"{ctx.random.random()} {ctx.uuid()} {ctx.now()}")
        case "sleep":
            return await asyncio.sleep(rest[0], "slept")
        case "nap":
            return await ctx.sleep("nap", rest[0])
        case "hang":
            async with asyncio.timeout(rest[0] + 1):
                return await asyncio.get_running_loop().create_future()
        case "signal":
            return await ctx.wait_for_signal(rest[0], str, timeout=rest[1] or 60)
        case "child":
            return await ctx.child(child, rest[0])
        case "patched":
            return ctx.patched(rest[0])
        case "then":
            return [await interpreted(ctx, one) for one in rest[0]]
        case "gather":
            return list(await asyncio.gather(*(interpreted(ctx, one) for one in rest[0])))
        case "gather all":
            got = await asyncio.gather(*(interpreted(ctx, one) for one in rest[0]), return_exceptions=True)
            return [repr(one) for one in got]
        case "race":
            tasks = {asyncio.create_task(interpreted(ctx, one)) for one in rest[0]}
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            return [task.result() for task in done]
        case "race of gathers":
            pairs = [asyncio.gather(interpreted(ctx, one), ctx.step(say, "pair")) for one in rest[0]]
            won, lost = await asyncio.wait(pairs, return_when=asyncio.FIRST_COMPLETED)
            for pair in lost:
                pair.cancel()
            await asyncio.gather(*lost, return_exceptions=True)
            return [await ctx.step(say, str(pairs.index(pair))) for pair in (*won, *lost)]
        case "completed set":
            calls = {ctx.step(say, str(n)) for n in range(len(rest[0]))}
            got = [await one for one in asyncio.as_completed(calls)]
            return [got, await interpreted(ctx, rest[0][0])]
        case "group":
            async with asyncio.TaskGroup() as group:
                members = [group.create_task(interpreted(ctx, one)) for one in rest[0]]
            return [member.result() for member in members]
        case "completed":
            return [await one for one in asyncio.as_completed([interpreted(ctx, one) for one in rest[0]], timeout=20)]
        case "parallel":
            return await ctx.parallel([interpreted(ctx, one) for one in rest[0]], limit=2, tolerate=1)
        case "wait_for":
            return await asyncio.wait_for(interpreted(ctx, rest[0]), rest[1])
        case "timeout":
            async with asyncio.timeout(rest[1]):
                return await interpreted(ctx, rest[0])
        case "try":
            try:
                return await interpreted(ctx, rest[0])
            finally:
                await interpreted(ctx, rest[1])
        case "catch":
            try:
                return await interpreted(ctx, rest[0])
            except Exception as error:
                return [type(error).__name__, await interpreted(ctx, rest[1])]
        case "loop":
            return [await interpreted(ctx, rest[1]) for _ in range(rest[0])]
        case "shield":
            return await asyncio.shield(interpreted(ctx, rest[0]))
        case "saga":
            async with ctx.saga():
                return await interpreted(ctx, rest[0])
        case "spawn":
            asyncio.create_task(interpreted(ctx, rest[0]))
            return "spawned"
        case "locked":
            gate = asyncio.Semaphore(1)

            async def inside(one: Node) -> Any:
                async with gate:
                    return await interpreted(ctx, one)

            return list(await asyncio.gather(*(inside(one) for one in rest[0])))
        case "cancelled after":
            task = asyncio.create_task(interpreted(ctx, rest[0]))
            await asyncio.wait([task], timeout=rest[1])
            task.cancel()
            return await task
    raise AssertionError(kind)


def _child(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


# A gather that is refused its first task, because the run leaves memory, does not close the coroutines after it.
_STANDARD_LEFTOVERS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def made(node: Node, cancelled: bool = False) -> Program:
    @workflow
    async def generated(ctx: Context) -> Any:
        return await interpreted(ctx, node)

    signals = tuple((name, f"{name}{n}") for n in range(2) for name in "abc")
    return Program("generated", generated, signals=signals, children={"child": _child}, cancelled=cancelled)


@_STANDARD_LEFTOVERS
@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(programs, st.integers(0, 10_000), st.booleans())
def test_random_programs_replay_from_every_prefix_in_any_order_of_events(
    node: Node, seed: int, cancelled: bool
) -> None:
    program = made(node, cancelled)
    try:
        recording = record(program, seed)
        assert_replays(program, recording)
        assert_replays_from_everywhere(program, recording)
        tolerant = replayed(program, recording.rows, tolerant=True)
        assert tolerant.turns == recording.turns
    finally:
        close_all()


@_STANDARD_LEFTOVERS
@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(programs, st.integers(0, 10_000), st.data())
def test_random_programs_can_be_evicted_anywhere(node: Node, seed: int, data: st.DataObject) -> None:
    program = made(node)
    try:
        rows = record(program, seed).rows
        drive = replayed(program, rows[: data.draw(st.integers(0, len(rows)))])
        fired = list(drive.state.fired)
        drive.state.new_calls.clear()
        drive.state.close()
        assert drive.state.new_calls == []
        assert drive.state.fired == fired
        assert drive.state.calls == {}
    finally:
        close_all()
