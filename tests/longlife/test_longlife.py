"""A short life in every run of the tests; and each claim about a life finds what it is there to find."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from durable._engine import retention
from tests.longlife.life import Life, Plan, live_long
from tests.longlife.samples import Base, FileSample, ProcessSample
from tests.longlife.verdict import CLAIMS, against, slope

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")


@pytest.mark.slow
@pytest.mark.needs("polling", reason="the watch over runs goes at the first look after the last of them")
async def test_after_fifteen_hundred_short_runs_everything_is_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_EVERY_SECONDS", 0.5)  # so that the first quarter is like the others
    life = await live_long(tmp_path, Plan(1_500, wave=150, durability="relaxed"))
    assert against(life) == []


@pytest.mark.nightly
@pytest.mark.skipif("not config.getoption('-m')", reason="long: by its marker, or python -m tests.longlife")
@pytest.mark.parametrize("processes", [1, 2])
async def test_after_twenty_thousand_short_runs_everything_is_where_it_was(tmp_path: Path, processes: int) -> None:
    assert against(await live_long(tmp_path, Plan(20_000, processes=processes))) == []


# ── each claim finds what it is there to find ────────────────────────────────────────────────────────────────────────

BASE = Base(20, 8, ("durable-committer", "durable-poll"))


def calm() -> Life:
    """A life in which nothing grew, and memory went up and down a little."""
    life = Life(Plan(100_000), bases={"worker 1": BASE}, wal_max=9_000_000)
    for n in range(1, 101):
        wobble = (n % 7) * 40
        life.samples.append(ProcessSample("worker 1", n * 1000, 45_000_000 + wobble * 4096, 150_000 + wobble, BASE))
        life.files.append(FileSample(n * 1000, 1_000_000 + wobble * 1000, 0, 8_000_000, 3_000))
    return life


def keep_an_object_of_each_tenth_run(life: Life) -> None:
    life.samples = [replace(one, blocks=one.blocks + one.runs // 10) for one in life.samples]


def keep_memory_of_the_system(life: Life) -> None:
    life.samples = [replace(one, rss=one.rss + one.runs * 150) for one in life.samples]


def forget_a_descriptor(life: Life) -> None:
    life.samples[-1] = replace(life.samples[-1], base=replace(BASE, fds=BASE.fds + 1))


def leave_a_task(life: Life) -> None:
    life.samples[-1] = replace(life.samples[-1], base=replace(BASE, tasks=(*BASE.tasks, "forgotten")))


def lose_a_thread(life: Life) -> None:
    life.samples[-1] = replace(life.samples[-1], base=replace(BASE, threads=BASE.threads - 1))


def let_the_log_grow(life: Life) -> None:
    life.wal_max = 64 * 1024 * 1024


def let_the_file_grow(life: Life) -> None:
    life.files = [replace(one, file=one.file + one.runs * 60) for one in life.files]


def leave_rows(life: Life) -> None:
    life.left = {"labels": 1}


def end_otherwise(life: Life) -> None:
    life.odd.append("run 17 did not end as it should")


def stop_early(life: Life) -> None:
    del life.files[-1]


FAULTS: dict[Callable[[Life], None], str] = {
    keep_an_object_of_each_tenth_run: "memory_does_not_grow",
    keep_memory_of_the_system: "memory_does_not_grow",
    forget_a_descriptor: "handles_come_back_to_base",
    leave_a_task: "handles_come_back_to_base",
    lose_a_thread: "handles_come_back_to_base",
    let_the_log_grow: "the_log_is_bounded",
    let_the_file_grow: "the_file_is_bounded",
    leave_rows: "nothing_of_ended_runs_is_left",
    end_otherwise: "every_run_ends_as_it_should",
    stop_early: "every_run_ends_as_it_should",
}


def test_a_calm_life_has_nothing_against_it_and_each_claim_has_its_fault() -> None:
    assert against(calm()) == []
    assert set(FAULTS.values()) == {claim.__name__ for claim in CLAIMS}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_claim_finds_its_fault(fault: Callable[[Life], None]) -> None:
    life = calm()
    fault(life)
    found = against(life)
    assert found
    assert {line.partition(":")[0] for line in found} == {FAULTS[fault]}


def fill_a_cache_once(life: Life) -> None:
    life.samples = [replace(one, blocks=one.blocks + 4_000 * (one.runs > 80_000)) for one in life.samples]


def test_a_cache_that_is_filled_once_is_no_growth() -> None:
    life = calm()
    fill_a_cache_once(life)
    assert against(life) == []


def test_the_slope_is_that_of_most_pairs_of_points() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
    assert slope([(0, 1), (1, 1), (2, 1), (3, 1), (4, 9)]) == 0.0
    assert slope([(0, 5), (1, 5), (2, 5)]) == 0.0
    assert slope([(3, 4)]) == 0.0
