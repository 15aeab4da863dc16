"""Whole runs of before replay on the code of today, through ``durable_testing.golden``; and it tells when not."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable import Context, Corrupt, InvalidInput, RunNotFound, connect, step, workflow
from durable._engine.rehearsal import rehearse
from durable.codec import Codec
from durable.store import RunStatus
from durable_testing import Fit, golden

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import runs  # noqa: E402

FILES = sorted(HERE.glob("runs-*.jsonl"))


def test_there_are_runs_of_every_supported_python() -> None:
    assert {file.stem.split("-")[1] for file in FILES} >= {"3.11", "3.12", "3.13"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_golden_run_replays(file: Path) -> None:
    reports = golden.replay(file, runs.WORKFLOWS, steps=runs.STEPS)
    assert {report.fit for report in reports} == {Fit.UNCHANGED}
    assert {report.run: report.entries for report in reports if report.run in ("all", "open")} == {"all": 14, "open": 4}


# ── the tool itself ──────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow("buy")
async def buy(ctx: Context, order: str) -> str:
    await ctx.step(charge, order)
    return await ctx.wait_for_signal("go")


async def recorded(rig: Any, path: Path, *, end: bool) -> None:
    async with connect(rig.url) as client, rig.worker(client, buy):
        handle = await client.start(buy, "1", id="b1")
        await rig.waits(handle, "go")
        if end:
            await handle.signal("go", "said")
            await rig.end(handle)
        await golden.record(client, "b1", path)


@pytest.mark.parametrize("end", [False, True])
async def test_a_recorded_run_replays_without_its_store(rig: Any, tmp_path: Path, end: bool) -> None:
    await recorded(rig, tmp_path / "b.jsonl", end=end)
    (report,) = golden.replay(tmp_path / "b.jsonl", [buy])
    assert (report.fit, report.end) == (Fit.UNCHANGED, 'returns "said"' if end else "")


async def test_a_conflict_a_gained_call_and_another_end_are_told(memory: Any, tmp_path: Path) -> None:
    @workflow("buy")
    async def other_arguments(ctx: Context, order: str) -> str:
        await ctx.step(charge, order + "!")
        return await ctx.wait_for_signal("go")

    @workflow("buy")
    async def another_end(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        return "told: " + await ctx.wait_for_signal("go")

    @workflow("buy")
    async def longer(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        await ctx.wait_for_signal("go")
        return await ctx.step(charge, "again")

    path = tmp_path / "b.jsonl"
    await recorded(memory, path, end=True)
    with pytest.raises(golden.GoldenMismatch, match="with other arguments") as found:
        golden.replay(path, [other_arguments])
    assert [report.fit for report in found.value.mismatches] == [Fit.CONFLICT]
    assert isinstance(found.value, AssertionError)
    with pytest.raises(golden.GoldenMismatch, match='it returns "said" then, and now it returns "told: said"'):
        golden.replay(path, [another_end])
    with pytest.raises(golden.GoldenMismatch, match=r"makes step 'charge#1' \(test_golden_runs.py:\d+\)"):
        golden.replay(path, [longer])
    with pytest.raises(golden.GoldenMismatch, match="no workflow 'buy' version '1' was given"):
        golden.replay(path, [])


async def test_several_runs_lie_in_one_file(memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    await recorded(memory, path, end=False)
    async with connect(memory.url) as client:
        await client.start(buy, "2", id="fresh")
        await golden.record(client.store, "fresh", path, append=True)
    assert [(one.copy.run.id, len(one.copy.rows), one.outcome) for one in golden.load(path)] == [
        ("b1", 1, None),
        ("fresh", 0, None),
    ]
    assert [report.run for report in golden.replay(path, [buy])] == ["b1", "fresh"]


class Scrambled:
    """A payload hook whose bytes are no text."""

    def encode(self, data: bytes) -> bytes:
        return bytes(255 - byte for byte in data)

    decode = encode


async def test_sealed_payloads_stay_sealed_and_need_their_hook(memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    async with connect(memory.url, codec=Scrambled()) as client, memory.worker(client, buy):
        handle = await client.start(buy, "1", id="b1")
        await handle.signal("go", "said")
        await memory.end(handle)
        await golden.record(client, "b1", path)
    assert "charged" not in path.read_text()
    assert golden.replay(path, [buy], codec=Scrambled())[0].end == 'returns "said"'
    with pytest.raises(golden.GoldenMismatch, match="cannot be read"):
        golden.replay(path, [buy])


async def test_a_run_that_is_not_there_or_not_yet_itself_is_refused(memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    await recorded(memory, path, end=True)
    async with connect(memory.url) as client:
        with pytest.raises(RunNotFound):
            await golden.record(client, "nobody", path)
        await client.handle("b1").retry()
        with pytest.raises(InvalidInput, match="has not been carried out yet"):
            await golden.record(client, "b1", path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{}\n", "KeyError: 'golden'"),
        ("not json\n", "JSONDecodeError"),
        ('{"golden":2}\n', "golden format 2; this version reads 1"),
        ("[]\n", "TypeError"),
    ],
)
def test_what_is_no_golden_journal_is_told_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text(text)
    with pytest.raises(Corrupt, match=what) as found:
        list(golden.load(path))
    assert f"{path}:1: " in str(found.value)


async def test_a_file_that_was_cut_is_not_taken_for_a_shorter_run(memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    await recorded(memory, path, end=True)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(Corrupt):
        golden.replay(path, [buy])


def test_keys_that_a_later_version_adds_are_ignored(tmp_path: Path) -> None:
    text = FILES[0].read_text().splitlines()
    path = tmp_path / "later.jsonl"
    path.write_text("".join(json.dumps({**json.loads(line), "later": [1]}) + "\n" for line in text))
    assert len(golden.replay(path, runs.WORKFLOWS, steps=runs.STEPS)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_prefix_of_a_golden_run_is_a_run_that_can_go_on(file: Path) -> None:
    registry = {(workflow.name, workflow.version): workflow for workflow in runs.WORKFLOWS}
    for one in golden.load(file):
        for length in range(len(one.copy.rows)):
            rows = one.copy.rows[:length]
            cut = replace(one.copy.run, position=length, status=RunStatus.RUNNING, waits=())
            workflow = registry[cut.workflow, cut.version or ""]
            with pytest.raises(StopIteration) as end:
                next(rehearse(cut, workflow, Codec(), one.copy.sealed, rows))
            assert (end.value.value.fit, end.value.value.end) == (Fit.UNCHANGED, ""), (cut.id, length)
