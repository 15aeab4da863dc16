"""Every program of the catalogue, in many orders of events, replays from every prefix of its journal (I11, I12)."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import Any

import pytest
from replay_driver import (
    Drive,
    Program,
    Recording,
    assert_replays,
    assert_replays_from_everywhere,
    record,
    replayed,
)
from replay_programs import BY_NAME, PROGRAMS, say

from durable import Context, workflow
from durable._core.state import RunFacts, RunState
from durable._model.commands import EmitItem, MarkPatch
from durable._model.defaults import COMMIT_ITEMS_MAX
from durable._model.entries import CallKind, Settled, decode_entry

SEEDS = 12

each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


@each_program
def test_every_order_of_events_replays_from_every_prefix(program: Program) -> None:
    for seed in range(SEEDS):
        recording = record(program, seed)
        try:
            assert_replays(program, recording)
            assert_replays(program, recording)  # twice is once
            assert_replays_from_everywhere(program, recording)
        except BaseException as error:
            error.add_note(f"program {program.name}, seed {seed}: record(BY_NAME[{program.name!r}], {seed})")
            raise


@each_program
def test_whatever_the_order_of_events_what_must_come_out_comes_out(program: Program) -> None:
    if program.good is None:
        pytest.skip("it may end in several ways")
    for seed in range(SEEDS):
        drive = _ended(program, record(program, seed))
        result, error = drive.state.outcome()
        assert program.good(result if error is None else error), f"seed {seed}: {drive.outcome()}"


@each_program
def test_tolerant_replay_of_unchanged_code_is_the_strict_one(program: Program) -> None:
    for seed in range(3):
        recording = record(program, seed)
        assert replayed(program, recording.rows, tolerant=True).turns == recording.turns


def _ended(program: Program, recording: Recording) -> Drive:
    return replayed(program, recording.rows, recording.commits[-1].flushed)


def test_orders_of_events_differ_and_so_do_the_journals() -> None:
    branches = BY_NAME["gather_of_branches"]
    assert len({tuple(data for data, _ in record(branches, seed).rows) for seed in range(SEEDS)}) > SEEDS // 2


def test_the_same_seed_gives_the_same_journal() -> None:
    for program in PROGRAMS:
        assert record(program, 7).packed() == record(program, 7).packed()


def test_the_state_is_the_same_wherever_the_memory_is() -> None:
    """Addresses decide nothing: garbage lies between the objects of one replay and not of the other."""
    gc.collect()
    for number, program in enumerate(PROGRAMS):
        recording = record(program, 3)
        litter: list[Any] = [bytearray(random.Random(number).randrange(500)) for _ in range(500)]
        del litter[::2]
        assert replayed(program, recording.rows).turns == recording.turns


def test_known_and_flushed_make_a_replay_silent_and_a_crash_before_the_flush_repeats_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @workflow
    async def logs(ctx: Context) -> None:
        ctx.log.warning("begin")
        await ctx.step(say, "a")
        ctx.log.warning("after a")
        await ctx.step(say, "b")
        ctx.log.warning("end")

    program = Program("logs", logs)
    recording = record(program, 0)
    assert [entry.message for entry in caplog.records] == ["begin", "after a", "end"]
    caplog.clear()
    replayed(program, recording.rows, (3, 0))
    assert caplog.records == []
    replayed(program, recording.rows, (2, 0))
    assert [entry.message for entry in caplog.records] == ["end"]


def test_two_outcomes_of_one_commit_do_not_make_new_code_take_the_old_path() -> None:
    """A worker that dies between a commit and its delivery has run nothing of what the commit brings about."""

    @workflow
    async def patched(ctx: Context) -> bool:
        tasks = [asyncio.create_task(ctx.step(say, "a")), asyncio.create_task(ctx.step(say, "b"))]
        await tasks[0]
        new = ctx.patched("new")
        await tasks[1]
        return new

    program = Program("patched", patched)
    recording = record(program, 0)
    rows = [row for row in recording.rows if isinstance(decode_entry(row[0]), Settled)]
    drive = Drive(program, flushed=(1, 0))  # one commit, made before either was delivered
    drive.start()
    for data, at in sorted(rows):
        drive.apply(decode_entry(data), at)
    assert drive.outcome() == "returned true"
    assert [command.change for command in drive.state.fired if isinstance(command, MarkPatch)] == ["new"]


def test_code_that_has_run_before_a_change_keeps_the_old_path() -> None:
    @workflow
    async def old(ctx: Context) -> str:
        await ctx.step(say, "a")
        return await ctx.step(say, "old")

    @workflow
    async def new(ctx: Context) -> str:
        await ctx.step(say, "a")
        return await ctx.step(say, "new" if ctx.patched("change") else "old")

    recording = record(Program("old", old), 0)
    drive = replayed(Program("new", new), recording.rows, recording.commits[-1].flushed)
    assert drive.outcome() == recording.outcome
    assert drive.state.fired == []


def _emits(state: RunState) -> list[bytes]:
    return [command.payload for command in state.fired if isinstance(command, EmitItem)]


@pytest.mark.parametrize("cut", [COMMIT_ITEMS_MAX - 1, COMMIT_ITEMS_MAX, COMMIT_ITEMS_MAX + 1, 150, 200])
def test_commands_of_two_activations_that_are_flushed_in_parts_are_each_sent_once(cut: int) -> None:
    """Two outcomes of one commit, many emits after each: a crash between two flushes neither loses nor repeats one."""

    async def code(ctx: Context) -> None:
        async def branch(word: str) -> None:
            await ctx.step(say, word)
            for n in range(150):
                ctx.emit("items", f"{word}{n}")

        await asyncio.gather(branch("a"), branch("b"))

    program = Program("emits", workflow(code))
    entries = [
        Settled(CallKind.STEP, call.id, call.fingerprint, True, b'"x"', 1)
        for call in replayed(program, []).state.calls.values()
    ]
    live = Drive(program)
    live.start()
    for entry in entries:
        live.apply(entry, 1_700_000_001.0)
    everything = _emits(live.state)
    assert len(everything) == 300
    flushed = live.state.flushed_part(cut)
    after = Drive(program, flushed=flushed)
    after.start()
    for entry in entries:
        after.apply(entry, 1_700_000_001.0)
    assert _emits(after.state) == everything[cut:]


def test_a_mark_of_a_patch_keeps_its_number_among_the_commands_of_its_activation() -> None:
    @workflow
    async def marks(ctx: Context) -> None:
        assert ctx.patched("new")
        for n in range(120):
            ctx.emit("items", n)
        await ctx.step(say, "a")

    program = Program("marks", marks)
    live = Drive(program)
    live.start()
    after = Drive(program, flushed=live.state.flushed_part(100), marked=frozenset({"new"}))
    after.start()
    assert _emits(after.state) == _emits(live.state)[99:]


def test_timers_that_are_equal_are_two_timers() -> None:
    """``TimerHandle`` compares by what it does and when; one's cancel must not strike the other."""
    recording = record(BY_NAME["timers_by_hand"], 0)
    first = recording.turns[0]
    assert [made.split()[0] for made in first.made[:4]] == [f"0/timer/timer#{n}" for n in range(4)]
    assert first.given_up == ("0/timer/timer#2",)


def test_hashes_of_tasks_futures_calls_and_gathers_come_from_the_run() -> None:
    hashes: list[list[int]] = []

    @workflow
    async def collects(ctx: Context) -> None:
        call = ctx.step(say, "a")
        task = asyncio.create_task(asyncio.sleep(0))
        pair = asyncio.gather(task, asyncio.sleep(0))
        things = [call, task, pair, asyncio.shield(task), asyncio.get_running_loop().create_future()]
        hashes.append([hash(thing) for thing in things])
        await pair
        await call

    for _ in range(2):
        replayed(Program("collects", collects), []).state.close()
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 5


def test_all_tasks_are_this_runs_tasks_in_the_order_of_their_creation_whatever_else_runs() -> None:
    @workflow
    async def names(ctx: Context) -> list[str]:
        for n in range(40):
            asyncio.create_task(asyncio.sleep(n + 1), name=str(n))
            for _ in range(63):  # so that the hashes of the tasks collide in small sets
                asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks()]

    async def crowded(count: int) -> str:
        others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(count)]
        outcome = replayed(Program("names", names), []).outcome()
        await asyncio.gather(*others)
        return outcome

    assert len({asyncio.run(crowded(count)) for count in (0, 1, 10, 50, 100, 500)}) == 1


def test_a_state_knows_no_other_input_than_its_facts_and_entries() -> None:
    state = RunState(RunFacts("r", 1, "abc", 5.0))
    assert (state.now, state.position, state.finished, state.replaying) == (5.0, 0, False, False)
