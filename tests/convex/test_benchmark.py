"""The benchmark runs, and its table says what was measured."""

from __future__ import annotations

import pytest

from benchmarks.convex import Plan, Row, idle, measured, table

pytestmark = pytest.mark.slow

FEW = Plan(latency=1.0, scale=0.05, passes=1, settle=0.0, idle=0.0)


@pytest.mark.parametrize("part", ["signals", "starts"])
async def test_a_part_of_the_benchmark_gives_rows_with_figures(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", "")  # what the benchmark sets is taken back
    rows = await measured(FEW, part)
    assert rows
    assert all(row.value > 0 for row in rows)
    assert len(table(rows)) == 2 + len(rows)


async def test_steps_are_counted_and_travel_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", "")
    rows = {row.name: row.value for row in await measured(FEW, "steps")}
    assert rows["steps, 64 runs in flight"] > rows["steps, 64 in flight, one item a call"]
    assert 0 < rows["function calls, 64 runs in flight"] < rows["function calls, 1 run in flight"]


async def test_a_worker_that_holds_something_calls_more_often_than_an_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", "benchmark")
    assert await idle(FEW, held=1) > 300_000, "a beat and a poll every five seconds are a million calls a month"


def test_a_row_shows_its_value_in_its_unit() -> None:
    rows = [Row("starts", 1234.5, "a second", "note", "target"), Row("calls", 0.0226, "a step")]
    assert table(rows)[2:] == ["| starts | 1,234 a second | note | target |", "| calls | 0.0226 a step |  |  |"]
