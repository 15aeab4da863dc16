"""Sagas on the core: what is undone, in which order, and that nothing gets in between (rule 18)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from replay_driver import Drive, Program, attempt_number, record
from replay_programs import BY_NAME, book, fails, say, unbook

from durable import Context, Retry, step, workflow
from durable._model.entries import CallKind, Settled, decode_entry


def journal(code: Any, seed: int = 0) -> tuple[list[str], str]:
    """The steps in the order of their commits, with what they gave; and how the run ended."""
    recording = record(code if isinstance(code, Program) else Program(code.__name__, workflow(code)), seed)
    entries = [decode_entry(data) for data, _ in recording.rows]
    settled = [entry for entry in entries if isinstance(entry, Settled) and entry.ok and entry.payload]
    return [f"{e.call.split('/')[2]} {e.payload.decode()}".replace('"', "") for e in settled], recording.outcome


def undone(steps: list[str]) -> list[str]:
    return [text.split("free ")[1] for text in steps if "free " in text]


def done(steps: list[str]) -> list[str]:
    return [text.split(" ", 1)[1] for text in steps if text.startswith("book")]


@pytest.mark.parametrize("seed", range(12))
def test_what_was_done_is_undone_newest_commit_first_in_flight_steps_included(seed: int) -> None:
    async def trip(ctx: Context) -> None:
        async with ctx.saga():
            calls = [asyncio.create_task(ctx.step(book, str(n))) for n in range(4)]
            await asyncio.sleep(0)
            await ctx.step(fails, "x")
            await asyncio.gather(*calls)

    steps, outcome = journal(trip, seed)
    assert undone(steps) == done(steps)[::-1]
    assert sorted(done(steps)) == ["0", "1", "2", "3"]
    assert outcome == "raised ValueError('x')"


@pytest.mark.parametrize("seed", range(12))
def test_undoing_in_a_task_that_the_end_of_the_main_task_catches_goes_on_to_its_end(seed: int) -> None:
    steps, outcome = journal(BY_NAME["saga_in_a_task_that_is_left_behind"], seed)
    assert undone(steps) == done(steps)[::-1]
    assert outcome == 'returned "main"'


def test_the_end_of_the_main_task_in_the_middle_of_an_undoing_does_not_stop_it() -> None:
    drive = Drive(BY_NAME["saga_in_a_task_that_is_left_behind"])
    drive.start()

    def settle(*names: str) -> None:
        for name in names:
            call = next(call for call in drive.state.calls.values() if call.name == name)
            if call.kind is CallKind.STEP:
                drive.apply(drive.execute(call, drive.state.now), drive.state.now)
            else:
                drive.apply(Settled(call.kind, call.id, call.fingerprint, True, b""), drive.state.now + 1)

    settle("book", "book", "fails", "unbook")
    settle("sleep")
    assert drive.state.ending
    assert not drive.state.finished
    settle("unbook")
    assert drive.state.finished
    assert drive.outcome() == 'returned "main"'


@pytest.mark.parametrize("seed", range(12))
def test_a_saga_inherits_what_the_one_inside_it_left_in_flight(seed: int) -> None:
    steps, _ = journal(BY_NAME["saga_that_inherits_what_is_in_flight"], seed)
    assert sorted(done(steps)) == ["inner", "late"]
    assert undone(steps) == done(steps)[::-1]


@pytest.mark.parametrize("seed", range(6))
def test_a_cancelled_saga_undoes_and_the_run_ends_cancelled(seed: int) -> None:
    steps, outcome = journal(BY_NAME["cancelled_saga"], seed)
    ended_before = outcome == "returned null"
    assert undone(steps) == ([] if ended_before else done(steps)[::-1])
    assert ended_before or outcome == "raised CancelledError() after cancel"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), BaseExceptionGroup("many", [SystemExit()])])
def test_every_failure_is_one(error: BaseException) -> None:
    async def leaves(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(book, "a")
            raise error

    assert undone(journal(leaves)[0]) == ["a"]


def test_continue_as_is_not_a_failure() -> None:
    @workflow
    async def next_one(ctx: Context) -> None: ...

    async def leaves(ctx: Context) -> None:
        async with ctx.saga():
            await ctx.step(book, "a")
            raise ctx.continue_as(next_one)

    steps, outcome = journal(leaves)
    assert undone(steps) == []
    assert outcome == "continued as next_one b'[]'"


def test_an_undo_that_fails_is_noted_and_the_others_go_on() -> None:
    @step(retry=Retry(2, initial=1, jitter=0))
    def sticks(result: str) -> None:
        raise RuntimeError(f"stuck at attempt {attempt_number()}")

    @step(undo=sticks)
    def glue(word: str) -> str:
        return word

    async def trip(ctx: Context) -> None:
        async with ctx.saga() as saga:
            await ctx.step(book, "a")
            await ctx.step(glue, "b")
            saga.on_failure(unbook, "c")
            await ctx.step(fails, "x")

    steps, outcome = journal(trip)
    assert undone(steps) == ["c", "a"]
    assert outcome == "raised ValueError('x') noted 'undo glue failed: RuntimeError: stuck at attempt 2'"


def test_a_plain_function_may_undo_too() -> None:
    freed: list[str] = []

    async def trip(ctx: Context) -> None:
        async with ctx.saga() as saga:
            await ctx.step(say, "a")
            saga.on_failure(freed.append, "by hand")
            raise LookupError("over")

    journal(trip)
    assert freed == ["by hand"]


def test_a_saga_that_ends_well_undoes_nothing() -> None:
    async def trip(ctx: Context) -> str:
        async with ctx.saga():
            return await ctx.step(book, "a")

    assert journal(trip) == (["book#0 a"], 'returned "a"')
