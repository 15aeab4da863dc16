"""One trial: record a workload, cut the power at its moments, judge what is found.

Moments are after every acknowledgement, and after as many of the other events as are asked for.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

from durable.store import NewRun, RunId
from durable_sqlite import SqliteStore, schema
from durable_testing import ManualClock
from tests.power.choices import choices
from tests.power.disk import SECTORS, Disk, Fate, Image
from tests.power.events import Acked, Began
from tests.power.proof import Moment, Proof, lay_out
from tests.power.workload import FILE, Operation, Recording, record

__all__ = ["BEGINNINGS", "FULL", "RELAXED", "Effort", "Outcome", "examine", "run_trial", "workspace"]

FULL: Final = ""
RELAXED: Final = "?durability=relaxed"
BEGINNINGS: Final = ("nothing", "an empty file", "an older schema")
"""What is there when a recording begins; or what an earlier power cut has left."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried.

    Attributes:
        steps: Operations of the workload, about.
        share: Of the events that are no acknowledgement, how many are moments: 0 to 1.
        per_moment: Images of a moment, at most.
        pages: See ``workload.record``.
        violations: When so many are found, it is enough.
    """

    steps: int = 40
    share: float = 0.25
    per_moment: int = 6
    pages: int | None = None
    violations: int = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial has tried and found.

    Attributes:
        whole: Moments of which every combination of kept and lost sectors was tried.
        images, opened: Images that were judged, and the different ones among them, each of which was opened.
        lost: Acknowledged operations that images were without although they need not have lasted, by kind.
        left: One image with the state that was found in it, to begin another recording with.
    """

    events: int
    operations: tuple[Operation, ...]
    moments: int
    whole: int
    images: int
    opened: int
    lost: Counter[str]
    violations: tuple[str, ...]
    left: tuple[Image, str] | None

    @property
    def kinds(self) -> Counter[str]:
        return Counter(operation.kind for operation in self.operations)


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """An empty directory, gone afterwards; in memory where that can be had, since no test cuts the real power."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


async def run_trial(
    directory: Path, seed: int, options: str = FULL, beginning: str | Image = "nothing", effort: Effort | None = None
) -> Outcome:
    """Record one workload and examine it.

    Args:
        directory: Empty, and ours.
        seed: Of everything that is drawn.
        beginning: One of ``BEGINNINGS``, or the image that an earlier power cut has left.
    """
    effort = Effort() if effort is None else effort
    home = directory / "recorded"
    home.mkdir()
    await _prepare(home, beginning)
    recording = await record(home, seed, effort.steps, options, effort.pages)
    return await examine(directory / "image", recording, seed, effort)


async def examine(directory: Path, recording: Recording, seed: int, effort: Effort) -> Outcome:
    """Cut the power at moments of a recording, and judge what is found."""
    dice = random.Random(seed)
    proof = Proof(recording, directory)
    disk = Disk(recording.base)
    moment = Moment(0)
    moments = whole = candidates = 0
    left: tuple[Image, str] | None = None
    for number, event in enumerate(recording.log, 1):
        disk.apply(event)
        began = event.operation if isinstance(event, Began) else None
        acked = event.operation if isinstance(event, Acked) else None
        moment = proof.moment(moment, number, began, acked)
        if began is not None or (acked is None and dice.random() >= effort.share):
            continue
        if len(proof.violations) >= effort.violations:
            break
        moments += 1
        pieces = disk.pieces(dice.choice(SECTORS))
        whole += 2 ** len(pieces) <= effort.per_moment
        for fates in choices(pieces, effort.per_moment, dice):
            image = disk.image(pieces, fates, dice.randrange(256))
            found = await proof.judge(image, moment, _words(fates))
            if found.state is not None and FILE in image:
                candidates += 1
                if dice.randrange(candidates) == 0:  # each of them with the same chance
                    left = image, found.state
    return Outcome(
        len(recording.log),
        recording.operations,
        moments,
        whole,
        proof.images,
        proof.opened,
        proof.lost,
        tuple(proof.violations),
        left,
    )


def _words(fates: tuple[Fate, ...]) -> str:
    """How many pieces met which fate, for a violation's line."""
    counts = Counter(fate.value for fate in fates)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing under way"


async def _prepare(home: Path, beginning: str | Image) -> None:
    """Put there what is safely there when the recording begins."""
    if not isinstance(beginning, str):
        lay_out(home, beginning)
    elif beginning == "an empty file":
        (home / FILE).touch()
    elif beginning == "an older schema":
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(schema, "_MIGRATIONS", schema._MIGRATIONS[:1]))
            stack.enter_context(mock.patch.object(schema, "VERSION", 1))
            store = SqliteStore(f"sqlite:///{home / FILE}", clock=ManualClock())
            await store.open()
            await store.create([NewRun(RunId("old"), "w", "1", "q", b"input", "digest", "seed")])
            await store.close()
