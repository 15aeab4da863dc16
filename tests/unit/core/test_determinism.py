"""Changed code is reported at the first entry that does not fit, before any effect; unchanged code never is (I13)."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from replay_driver import Drive, Program, Recording, record, replayed
from replay_programs import add, child, fails, say

from durable import Context, NonDeterminismError, step, workflow
from durable._model.entries import AttemptBegun, CallKind, CancelAsked, Settled, decode_entry, encode_entry

Code = Callable[[Context], Coroutine[Any, Any, Any]]


@step
def other(word: str) -> str:
    return word


async def original(ctx: Context) -> str:
    a = await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await ctx.sleep("nap", 5)
    both = await asyncio.gather(ctx.step(say, "c"), ctx.step(say, "d"))
    return a + both[0]


def program(code: Code) -> Program:
    return Program(code.__name__, workflow(code), children={"child": lambda n: n})


def fifo(code: Code) -> Recording:
    """A journal whose entries are in the order of the calls."""
    for seed in range(200):
        recording = record(program(code), seed)
        kinds = [decode_entry(data) for data, _ in recording.rows]
        calls = [entry.call for entry in kinds if isinstance(entry, Settled)]
        made = [text.split()[0] for turn in recording.turns for text in turn.made]
        if calls == made and len(calls) == len(kinds):
            return recording
    raise AssertionError("no seed gave the plain order")


# ── the edits ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def first_dropped(ctx: Context) -> str:
    await ctx.step(add, 1, 2)
    await ctx.sleep("nap", 5)
    return str(await asyncio.gather(ctx.step(say, "c"), ctx.step(say, "d")))


async def last_dropped(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await ctx.sleep("nap", 5)
    return await ctx.step(say, "c")


async def inserted_first(ctx: Context) -> str:
    await ctx.step(other, "new")
    return await original(ctx)


async def inserted_in_the_middle(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(other, "new")
    await ctx.step(add, 1, 2)
    return ""


async def swapped(ctx: Context) -> str:
    await ctx.step(add, 1, 2)
    await ctx.step(say, "a")
    return ""


async def renamed(ctx: Context) -> str:
    await ctx.step(say.options(name="tell"), "a")
    return ""


async def arguments_changed(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 3)
    return ""


async def occurrence_changed(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(say, "b")
    await ctx.step(add, 1, 2)
    return ""


async def step_became_a_timer(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.sleep("add", 1)
    return ""


async def timer_became_a_signal(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await ctx.wait_for_signal("nap")
    return ""


async def step_became_a_child(ctx: Context) -> str:
    await ctx.child(child, 1)
    return ""


async def timer_of_another_length(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await ctx.sleep("nap", 6)
    return ""


async def timer_of_another_name(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await ctx.sleep("rest", 5)
    return ""


async def in_another_task(ctx: Context) -> str:
    await asyncio.create_task(ctx.step(say, "a"))
    await asyncio.create_task(original(ctx))
    return ""


async def extra_branch(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    await asyncio.gather(ctx.sleep("nap", 5), ctx.step(other, "extra"))
    await asyncio.gather(ctx.step(say, "c"), ctx.step(say, "d"))
    return ""


async def ended_early(ctx: Context) -> str:
    await ctx.step(say, "a")
    await ctx.step(add, 1, 2)
    return "done"


async def failed_early(ctx: Context) -> str:
    await ctx.step(say, "a")
    raise ValueError("new code fails")


EDITS: list[tuple[Code, int, str, str]] = [
    (first_dropped, 0, 'step "say"', 'calls step "add"'),
    (last_dropped, 4, 'step "say#2"', "has ended"),
    (inserted_first, 0, 'step "say"', 'calls step "other"'),
    (inserted_in_the_middle, 1, 'step "add"', 'calls step "other"'),
    (swapped, 0, 'step "say"', 'calls step "add"'),
    (renamed, 0, 'step "say"', 'calls step "tell"'),
    (arguments_changed, 1, 'step "add" with other arguments', ""),
    (occurrence_changed, 1, 'step "add"', 'calls step "say#1"'),
    (step_became_a_timer, 1, 'step "add"', 'calls timer "add"'),
    (timer_became_a_signal, 2, 'timer "nap"', 'calls wait for signal "nap"'),
    (step_became_a_child, 0, 'step "say"', 'calls child workflow "child"'),
    (timer_of_another_length, 2, 'timer "nap" with other arguments', ""),
    (timer_of_another_name, 2, 'timer "nap"', 'calls timer "rest"'),
    (in_another_task, 1, 'step "add"', 'calls step "say"'),
    (extra_branch, 3, 'step "say#1"', 'calls step "other"'),
    (ended_early, 2, 'timer "nap"', "has ended"),
    (failed_early, 1, 'step "add"', "has ended"),
]


@pytest.mark.parametrize(("changed", "position", "expected", "found"), EDITS, ids=lambda value: _name(value))
def test_a_changed_workflow_is_reported_where_it_first_differs_before_any_effect(
    changed: Code, position: int, expected: str, found: str
) -> None:
    recording = fifo(original)
    rows = recording.rows
    with pytest.raises(NonDeterminismError) as caught:
        replayed(program(changed), rows)
    report = str(caught.value)
    assert report.startswith(f"Run run-1 is blocked at entry {position}: the journal has {expected}"), report
    assert found in report
    assert 'ctx.patched("...")' in report
    if found != "has ended":
        line = re.search(r"\(test_determinism\.py:(\d+)\)", report)
        assert line is not None, report
        lines, first = inspect.getsourcelines(changed)
        inside_original = changed in (inserted_first, in_another_task)
        assert inside_original or first <= int(line[1]) < first + len(lines)
    drive = Drive(program(changed), flushed=(99, 0))
    drive.start()
    for data, at in rows[:position]:
        drive.apply(decode_entry(data), at)  # what comes before fits
    assert drive.executed == []
    assert drive.state.fired == []
    assert replayed(program(original), rows).outcome() == recording.outcome  # the old code can take it up again


def _name(value: Any) -> str:
    return value.__name__ if callable(value) else ""


@pytest.mark.parametrize("position", range(5))
def test_a_note_of_an_attempt_is_compared_as_well(position: int) -> None:
    rows = list(fifo(original).rows)
    entry = decode_entry(rows[position][0])
    assert isinstance(entry, Settled)
    stranger = AttemptBegun(entry.call.replace("say", "tell").replace("add", "sum"), entry.fingerprint, 1)  # type: ignore[arg-type]
    if entry.kind is not CallKind.STEP:
        return
    rows.insert(position, (encode_entry(stranger), rows[position][1]))
    with pytest.raises(NonDeterminismError, match=f"blocked at entry {position}"):
        replayed(program(original), rows)


def test_what_the_code_must_not_do_is_told_rather_than_what_it_brings_about() -> None:
    async def direct(ctx: Context) -> str:
        return say("a")

    with pytest.raises(NonDeterminismError, match=r"does what a workflow may not: Step 'say' was called directly"):
        drive = Drive(program(direct))
        drive.state.start(lambda: direct(drive.context))
        drive.state.apply(decode_entry(fifo(original).rows[0][0]), 1_700_000_001.0)


def test_branches_that_are_written_in_another_order_are_no_change() -> None:
    async def two(ctx: Context) -> list[str]:
        return list(await asyncio.gather(ctx.step(say, "x"), ctx.step(other, "y")))

    async def turned(ctx: Context) -> list[str]:
        return list(await asyncio.gather(ctx.step(other, "y"), ctx.step(say, "x")))

    for seed in range(4):
        recording = record(program(two), seed)
        assert replayed(program(turned), recording.rows).outcome() in ('returned ["y", "<x>"]',)


def test_calls_with_keys_keep_their_results_when_items_come_and_go() -> None:
    def mapping(items: list[str]) -> Code:
        async def maps(ctx: Context) -> list[str]:
            return await ctx.map(say, items, key=str)

        return maps

    recording = record(program(mapping(["a", "b", "c"])), 1)
    drive = replayed(program(mapping(["new", "c", "a", "b"])), recording.rows)
    assert [call.name for call in drive.state.calls.values()] == ["say[new]"]


# ── tolerant ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _finish(drive: Drive) -> str:
    """Go on live: execute what is pending, let timers fire."""
    now = 1_700_001_000.0
    while not drive.state.finished:
        call = next(iter(drive.state.calls.values()))
        now += 1
        if call.kind is CallKind.STEP:
            drive.apply(drive.execute(call, now), now)
        else:
            drive.apply(Settled(call.kind, call.id, call.fingerprint, True, b"", due=call.due), max(now, call.due or 0))
    return drive.outcome()


async def old_pair(ctx: Context) -> list[str]:
    return [await ctx.step(say, "a"), await ctx.step(say.options(name="second"), "b")]


def test_tolerant_an_appended_call_runs() -> None:
    async def appended(ctx: Context) -> list[str]:
        return [*await old_pair(ctx), await ctx.step(other, "new")]

    drive = replayed(program(appended), fifo(old_pair).rows, tolerant=True)
    assert _finish(drive) == 'returned ["<a>", "<b>", "new"]'
    assert drive.executed == ["0/step/other#0"]


def test_tolerant_an_inserted_call_runs_and_what_came_before_it_was_made_is_kept_for_its_call() -> None:
    async def inserted(ctx: Context) -> list[str]:
        first = await ctx.step(say, "a")
        new = await ctx.step(other, "new")
        return [first, new, await ctx.step(say.options(name="second"), "b")]

    drive = replayed(program(inserted), fifo(old_pair).rows, tolerant=True)
    assert _finish(drive) == 'returned ["<a>", "new", "<b>"]'
    assert drive.executed == ["0/step/other#0"]


def test_tolerant_a_deleted_call_is_ignored() -> None:
    async def deleted(ctx: Context) -> str:
        return await ctx.step(say.options(name="second"), "b")

    drive = replayed(program(deleted), fifo(old_pair).rows, tolerant=True)
    assert _finish(drive) == 'returned "<b>"'
    assert drive.executed == []


def test_tolerant_code_that_ends_early_ignores_the_rest() -> None:
    async def nothing(ctx: Context) -> str:
        return "nothing"

    assert replayed(program(nothing), fifo(old_pair).rows, tolerant=True).outcome() == 'returned "nothing"'


def test_tolerant_results_kept_aside_are_delivered_in_the_order_of_the_journal() -> None:
    async def three(ctx: Context) -> list[Any]:
        return list(await asyncio.gather(*(ctx.step(say.options(name=name), name) for name in "xyz")))

    async def later(ctx: Context) -> list[Any]:
        got: list[Any] = []

        async def one(name: str) -> None:
            got.append(await ctx.step(say.options(name=name), name))

        calls = {name: ctx.step(say.options(name=name), name) for name in "xyz"}
        await ctx.step(other, "first")

        async def awaits(name: str) -> None:
            got.append(await calls[name])

        await asyncio.gather(*(awaits(name) for name in "xyz"))
        return got

    recording = record(program(three), 5)
    order = [entry.call[-3] for entry in map(decode_entry, (data for data, _ in recording.rows))]  # type: ignore[union-attr]
    assert sorted(order) == ["x", "y", "z"]
    drive = replayed(program(later), recording.rows, tolerant=True)
    assert _finish(drive) == f"returned {[f'<{name}>' for name in order]}".replace("'", '"')
    assert drive.executed == ["0/step/other#0"]


@pytest.mark.parametrize("changed", [arguments_changed, timer_of_another_length])
def test_tolerant_changed_arguments_are_refused_too(changed: Code) -> None:
    with pytest.raises(NonDeterminismError, match="with other arguments"):
        replayed(program(changed), fifo(original).rows, tolerant=True)


def test_tolerant_changed_arguments_of_a_result_that_was_kept_aside_are_refused_when_its_call_is_made() -> None:
    async def both(ctx: Context) -> list[str]:
        first = await ctx.step(say, "a")
        await ctx.step(other, "new")
        return [first, await ctx.step(say.options(name="second"), "changed")]

    drive = replayed(program(both), fifo(old_pair).rows, tolerant=True)
    call = next(iter(drive.state.calls.values()))
    with pytest.raises(NonDeterminismError, match=r'step "second" with other arguments .*test_determinism\.py'):
        drive.apply(drive.execute(call, 1_700_001_000.0), 1_700_001_000.0)


def test_tolerant_a_cancel_still_comes_at_its_place() -> None:
    async def inserted(ctx: Context) -> list[str]:
        await ctx.step(other, "new")
        return await old_pair(ctx)

    rows = [*fifo(old_pair).rows[:1], (encode_entry(CancelAsked("cancel", b'"no"')), 1_700_000_002.0)]
    drive = replayed(program(inserted), rows, tolerant=True)
    assert drive.outcome() == "raised CancelledError() after cancel"


# ── no false positives ───────────────────────────────────────────────────────────────────────────────────────────────

UNORDERED = """
import sys
from typing import Any
from durable import step
from durable.codec import Arguments

@step
def tags(names: set[str], more: frozenset[str], by_name: dict[str, int], loose: Any = None, **rest: Any) -> None: ...

words = {"pear", "fig", "apple", "plum", "kiwi", "lime", "date", "peach"}
nested = {word: {other: [1, {w: 2 for w in words}] for other in words} for word in words}
raw = tags.arguments.dump((words, frozenset(words), {w: len(w) for w in words}, nested), {w: w for w in words}, "it")
print(Arguments.fingerprint(raw))
"""


@pytest.mark.slow
def test_sets_and_dicts_in_arguments_have_the_same_fingerprint_whatever_the_hash_seed() -> None:
    root = Path(__file__).parents[3]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", UNORDERED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "7", "123")
    ]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert said != {""}


def test_the_order_in_which_a_dict_was_built_is_no_change_but_its_content_is() -> None:
    def takes(value: dict[str, Any]) -> Code:
        async def code(ctx: Context) -> Any:
            return await ctx.step(anything, value)

        return code

    recording = record(program(takes({"a": 1, "b": {"c": 2, "d": 3}})), 0)
    replayed(program(takes({"b": {"d": 3, "c": 2}, "a": 1})), recording.rows)
    with pytest.raises(NonDeterminismError, match="with other arguments"):
        replayed(program(takes({"b": {"d": 3, "c": 2}, "a": 2})), recording.rows)


@step
def anything(value: Any) -> Any:
    return value


def test_many_patches_in_one_task_are_no_change() -> None:
    async def many(ctx: Context) -> list[bool]:
        first = [ctx.patched(f"change-{n}") for n in range(5)]
        await ctx.step(say, "a")
        return first + [ctx.patched(f"change-{n}") for n in range(8)]

    for seed in range(5):
        recording = record(program(many), seed)
        assert replayed(program(many), recording.rows, recording.commits[-1].flushed).turns == recording.turns


def test_a_step_that_fails_is_replayed_with_its_error() -> None:
    async def catches(ctx: Context) -> str:
        try:
            await ctx.step(fails, "x")
        except ValueError as error:
            return repr(error)
        return ""

    recording = record(program(catches), 0)
    assert recording.outcome == "returned \"ValueError('x')\""
    assert replayed(program(catches), recording.rows).outcome() == recording.outcome
