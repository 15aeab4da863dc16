"""The benchmark suite runs, and its page says what was measured. Counts are looked at here, never times."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import PAGE, RAW, chosen, options
from benchmarks.page import number, page, section, targets
from benchmarks.passes import Figures, Plan, Ratio, Results, Row, Skipped, Table, measured
from benchmarks.sitting import Sitting
from benchmarks.tables import TABLES, table_of
from benchmarks.targets import TARGETS

TINY = Plan(passes=1, seconds=0.01, scale=0.002)
LEFT_OUT = ("relaxed", "50 runs", "5,000 steps", "2 processes", "--help", "runs list", "from durable")
NAMES = [table.name for table in TABLES]


def rows_of(table: Table) -> list[Row]:
    """Those that tests carry out: all kinds, but not on every store."""
    return [row for row in table.rows if row.extra is None and not any(text in row.name for text in LEFT_OUT)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_a_tiny_run_of_each_table_gives_what_its_targets_ask_for(name: str) -> None:
    table, results = table_of(name), Results()
    for row in rows_of(table):
        results.add(name, row.name, await row.measure(TINY))
    for figures in results.values[name].values():
        for figure, values in figures.items():
            assert len(values) == 1
            assert math.isfinite(values[0])
            assert values[0] > 0 or not figure.endswith("a second")
    asked = [target for target in TARGETS if target.table == name and "DBOS" not in target.text]
    assert [target.text for target in asked if target.value(results) is None] == []
    told = "\n".join(section(table, results))
    assert all(row.name in told for row in rows_of(table))


@pytest.mark.slow
async def test_no_timer_of_a_tiny_run_fires_early() -> None:
    for row in rows_of(table_of("timers")):
        assert (await row.measure(TINY))["early"] == 0


@pytest.mark.slow
async def test_a_step_takes_bytes_and_a_run_of_ten_steps_takes_more() -> None:
    figures = await table_of("size").row("SQLite").measure(replace(TINY, scale=0.05))
    assert 10 < figures["bytes a step"] < figures["bytes a run of ten steps"] < 10_000


@pytest.mark.slow
async def test_a_recorded_talk_takes_little_more_than_one_that_is_not() -> None:
    rows = table_of("size").rows[1:]
    bare, recorded = [(await row.measure(replace(TINY, scale=1.0)))["MB of a talk"] for row in rows]
    assert 1.0 < bare <= recorded < 1.2 * bare


@pytest.mark.slow
def test_each_row_is_measured_in_a_process_of_its_own_pass_after_pass() -> None:
    table = replace(table_of("machine"), rows=(table_of("machine").row("bare asyncio, tasks"),))
    results = measured([table], replace(TINY, passes=2))
    assert len(results.all("machine", "bare asyncio, tasks", "a second")) == 2
    assert results.skipped == {}


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_the_others_are_measured() -> None:
    async def never(plan: Plan) -> Figures:
        raise AssertionError("rows are measured in processes of their own, which do not know this one")

    rows = (Row("no such row", never), table_of("machine").row("bare asyncio, tasks"))
    results = measured([Table("machine", "", "", rows)], TINY)
    assert results.failed == {"machine: no such row": "machine: no such row gave no figures (exit code 1)."}
    assert list(results.values["machine"]) == ["bare asyncio, tasks"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_peer_that_is_not_installed_is_skipped_with_a_word(name: str, tmp_path: Path) -> None:
    for row in table_of(name).rows:
        if row.extra == "peers":
            with pytest.raises(Skipped, match="(DBOS|LangGraph) on SQLite is not installed in .*; --peers installs it"):
                await row.measure(replace(TINY, peers=str(tmp_path)))


def test_there_are_peers_for_what_peers_can_do() -> None:
    with_peers = {table.name for table in TABLES if any(row.extra == "peers" for row in table.rows)}
    assert with_peers == {"hello", "chain", "fanout", "signals", "timers", "recover", "startup"}


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_compared_with_rows_of_their_table(name: str) -> None:
    names = [row.name for row in table_of(name).rows]
    assert len(set(names)) == len(names)
    assert [ratio for row in table_of(name).rows for ratio in row.ratios if ratio.row not in names] == []


def test_a_ratio_is_the_median_of_the_passes_own_ratios() -> None:
    results = Results()
    for ours, bare in ((1.0, 10.0), (4.0, 8.0), (9.0, 9.0)):
        results.add("chain", "ours", {"rate": ours})
        results.add("chain", "bare", {"rate": bare})
    assert results.ratio("chain", "ours", Ratio("", "rate", "bare", "rate")) == 0.5
    assert results.ratio("chain", "ours", Ratio("", "rate", "bare", "rate", inverse=True)) == 2.0
    assert results.ratio("chain", "ours", Ratio("", "rate", "bare", "rate", 0.001, times=True)) == 0.032
    assert results.ratio("chain", "ours", Ratio("", "rate", "nothing", "rate")) is None
    assert results.median("chain", "ours", "rate") == 4.0


def test_a_target_is_reached_missed_or_not_measured() -> None:
    least = next(target for target in TARGETS if target.table == "chain" and "memory" in target.text)
    most = next(target for target in TARGETS if target.table == "size")
    results = Results()
    assert (least.reached(results), most.reached(results)) == (None, None)
    results.add("chain", "memory, 64 in flight", {"steps a second": 30_000})
    results.add("size", "SQLite", {"bytes a step": 260})
    assert (least.reached(results), most.reached(results)) == (True, False)
    told = list(targets(results, only_measured=True))[2:]
    assert told == [
        "| memory store, 64 runs in flight | ≥ 30,000 steps a second | 30,000 steps a second | yes |",
        "| a trivial step in the file | ≤ 250 bytes | 260 bytes | **no** |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (250.5, "250"), (99.94, "99.9"), (0.0123456, "0.0123"), (0.0, "0")]
)
def test_numbers_are_told_in_the_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_the_command_measures_what_it_is_asked_for() -> None:
    assert [table.name for table in chosen(options(["all"]))] == NAMES
    (table,) = chosen(options(["chain", "--only", "SQLite, 64"]))
    assert [row.name for row in table.rows if not row.bare] == ["SQLite, 64 in flight"]
    (table,) = chosen(options(["hello", "--peers"]))
    assert [row.name for row in table.rows if row.extra] == ["DBOS on SQLite", "LangGraph on SQLite"]


def test_the_page_says_what_the_raw_figures_say() -> None:
    sitting = Sitting.read(json.loads(RAW.read_text(encoding="utf-8")))
    assert PAGE.read_text(encoding="utf-8") == page(TABLES, sitting)
