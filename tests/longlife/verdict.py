"""What must hold of a long life, each claim a function from what was seen to what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import Final

from tests.longlife.life import Life
from tests.longlife.samples import ProcessSample

__all__ = ["CLAIMS", "against", "slope"]

WARM_SHARE: Final = 0.1
# Growth is the median slope between any two samples of the last half, times the runs of that half: what grows with the
# runs shows in nearly every pair, and a cache that is filled once (the source lines of a first traceback) in few. Of
# resident memory: pages come and go with the allocator's arenas, so a fixed part is allowed. Of allocated blocks: one
# object kept per run would be 1.0 a run; fifteen hundred runs, not warm at their end, have 0.7, more have 0.1.
RSS_BYTES_FIXED: Final = 2 * 1024 * 1024
RSS_BYTES_PER_RUN: Final = 64.0
BLOCKS_FIXED: Final = 700.0
BLOCKS_PER_RUN: Final = 0.05
WAL_BYTES_MAX: Final = 64 * 1024 * 1024
FILE_FACTOR_MAX: Final = 1.5
FILE_BYTES_FIXED: Final = 1024 * 1024  # in a short life, the first quarter is over before anything has expired


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between any two of the points; 0.0 for fewer than two."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) if slopes else 0.0


def last_half(life: Life, process: str) -> list[ProcessSample]:
    """Its samples over the last half of the runs."""
    return [one for one in life.samples if one.process == process and one.runs >= life.plan.runs / 2]


def every_run_ends_as_it_should(life: Life) -> Iterator[str]:
    """Or the other figures are those of a life that did not take place."""
    yield from life.odd[:10]
    measured = life.files[-1].runs if life.files else 0
    if measured != life.plan.runs:
        yield f"{measured} of {life.plan.runs} runs were lived through"


def memory_does_not_grow(life: Life) -> Iterator[str]:
    """Neither what the process has from the system nor what Python has handed out."""
    for process in life.bases:
        half = last_half(life, process)
        runs = half[-1].runs - half[0].runs if half else 0
        if not runs:
            yield f"{process}: there are not enough measurements to tell"
            continue
        rss = slope([(one.runs, one.rss) for one in half])
        if rss * runs > RSS_BYTES_FIXED + RSS_BYTES_PER_RUN * runs:
            yield f"{process}: resident memory grows by {rss:.0f} bytes a run over the last {runs} runs"
        blocks = slope([(one.runs, one.blocks) for one in half])
        if blocks * runs > BLOCKS_FIXED + BLOCKS_PER_RUN * runs:
            yield f"{process}: allocated blocks grow by {blocks:.2f} a run over the last {runs} runs"


def handles_come_back_to_base(life: Life) -> Iterator[str]:
    """Descriptors, threads and tasks, after each wave but those of the warm-up."""
    for sample in life.samples:
        base = life.bases[sample.process]
        if sample.runs > life.plan.runs * WARM_SHARE and sample.base != base:
            yield f"{sample.process} after {sample.runs} runs: {sample.base}, at first {base}"


def the_log_is_bounded(life: Life) -> Iterator[str]:
    """At every moment."""
    if life.wal_max >= WAL_BYTES_MAX:
        yield f"the write-ahead log had {life.wal_max} bytes"


def the_file_is_bounded(life: Life) -> Iterator[str]:
    """What is purged makes room for what comes."""
    first = [one.file for one in life.files if one.runs <= life.plan.runs / 4]
    last = [one.file for one in life.files if one.runs >= life.plan.runs / 2]
    if not first or not last:
        yield "there are not enough measurements to tell"
    elif max(last) > max(first) * FILE_FACTOR_MAX + FILE_BYTES_FIXED:
        yield f"the file had {max(first)} bytes at most in the first quarter, and {max(last)} in the last half"


def nothing_of_ended_runs_is_left(life: Life) -> Iterator[str]:
    """Every run ended, and each had a retention."""
    if life.left:
        yield f"rows are left: {life.left}"


CLAIMS: Final = (
    every_run_ends_as_it_should,
    memory_does_not_grow,
    handles_come_back_to_base,
    the_log_is_bounded,
    the_file_is_bounded,
    nothing_of_ended_runs_is_left,
)


def against(life: Life) -> list[str]:
    """Everything that speaks against a claim, with its name."""
    return [f"{claim.__name__}: {found}" for claim in CLAIMS for found in claim(life)]
