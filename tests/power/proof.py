"""Opens a disk as a power cut has left it, and says whether what the store promised is there.

An image is opened as in production: by the real store, with the interpreter's own SQLite, and with ``create=false`` as
soon as the store's first ``open()`` has been answered. It must open, pass ``store.check()`` (``PRAGMA integrity_check``
and each row against the others), hold exactly what was there after one of the operations, and take a new write:

* at ``durability=full`` that operation is not older than the last acknowledged one that promises to last;
* at ``durability=relaxed`` it may be any: a suffix of the operations is lost, and nothing before it.

"Exactly": every row of every table is compared. So no operation is there by half, and none that came later is there
without those before it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, final

from durable.errors import InvalidInput, StoreError
from durable_sqlite import SqliteStore
from durable_testing import ManualClock
from tests.power.disk import Image
from tests.power.workload import FILE, UNPROMISED, Recording, content

__all__ = ["Moment", "Proof", "lay_out"]


_TOMORROW: Final = 1
"""A seed of its own: no name that is drawn for a new file was drawn before the power cut."""
_LEFT_OF_INDEX: Final = b"\xa5" * 32_768


@dataclass(frozen=True, slots=True)
class Moment:
    """What the store had been asked for and had answered when the power went.

    Attributes:
        event: How many events of the log had happened.
        began: The last operation that had begun; -1: none.
        acked: The last operation that had been answered; -1: none.
        promised: The last operation that had been answered and promises to last; -1: none.
    """

    event: int
    began: int = -1
    acked: int = -1
    promised: int = -1


@dataclass(frozen=True, slots=True)
class Found:
    """What an image holds: a state, or a sentence about what is wrong with it."""

    state: str | None
    trouble: str = ""


@final
@dataclass
class Proof:
    """The judge of one recording.

    Args:
        directory: A place for images; it is emptied before each.

    Attributes:
        images: Image and moment pairs that were judged.
        opened: Different images among them, each of which was opened.
        lost: Acknowledged operations that images were without, by kind, although they need not have lasted.
        violations: One line each.
    """

    recording: Recording
    directory: Path
    images: int = 0
    opened: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _known: dict[tuple[bytes, bool], Found] = field(default_factory=dict)

    def moment(self, before: Moment, event: int, began: int | None, acked: int | None) -> Moment:
        """The next moment, at which an operation may have begun or been answered."""
        promised = before.promised
        if acked is not None and self._promises(acked):
            promised = acked
        return Moment(
            event, before.began if began is None else began, before.acked if acked is None else acked, promised
        )

    def _promises(self, operation: int) -> bool:
        if operation == 0:
            return True  # the store was opened, so it is there
        if "durability=relaxed" in self.recording.options:
            return False
        # An answer that changed nothing (a start that was there, a commit without a lease) has nothing to keep; what
        # it tells of was kept by the operation that did it.
        before, asked = self.recording.operations[operation - 1], self.recording.operations[operation]
        return asked.kind not in UNPROMISED and asked.state != before.state

    async def judge(self, image: Image, moment: Moment, how: str) -> Found:
        """Open the image, unless it is known, and hold it against the promises of this moment."""
        self.images += 1
        create = moment.acked < 0
        key = (_digest(image), create)
        found = self._known.get(key)
        if found is None:
            self.opened += 1
            found = self._known[key] = await self._look(image, create)
        trouble = self._trouble(found, moment)
        if trouble is not None:
            self.violations.append(f"power cut after event {moment.event} ({how}): {trouble}")
        return found

    def _trouble(self, found: Found, moment: Moment) -> str | None:
        if found.state is None:
            return found.trouble
        operations = self.recording.operations
        last = max(0, moment.began)
        places = [n for n in range(last + 1) if operations[n].state == found.state]
        if not places:
            return "the store holds what no operation has left: one is there by half, or without one before it"
        place = places[-1]
        if place < moment.promised:
            kind = operations[moment.promised].kind
            lost = moment.promised - place
            return (
                f"operation {moment.promised} ({kind}) was acknowledged and is lost; the store is as it was after "
                f"operation {place} ({operations[place].kind}), {lost} before"
            )
        after = operations[place : moment.acked + 1]
        self.lost.update(one.kind for before, one in pairwise(after) if one.state != before.state)
        return None

    async def _look(self, image: Image, create: bool) -> Found:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        lay_out(self.directory, image)
        if len(image) > 1:  # what is left of the shared index may be anything, and means nothing
            (self.directory / f"{FILE}-shm").write_bytes(_LEFT_OF_INDEX)
        option = "true" if create else "false"
        store = SqliteStore(f"sqlite:///{self.directory / FILE}?create={option}", clock=ManualClock(seed=_TOMORROW))
        try:
            try:
                await store.open()
            except (StoreError, InvalidInput) as error:
                return Found(None, f"the store does not open: {type(error).__name__}: {error}")
            problems = await store.check()
            if problems:
                return Found(None, f"the store does not pass its check: {problems[0]}")
            state = await store._database.read(content)
            if await store.put_record("power", "is back", b"") is None:
                return Found(None, "the store takes no new write")
            return Found(state)
        except Exception as error:  # on a damaged file anything may come up, and nothing may be passed over
            return Found(None, f"the store cannot be read: {type(error).__name__}: {error}")
        finally:
            await store.close()


def lay_out(directory: Path, image: Image) -> None:
    """Write an image into an empty directory. What is the same under two names is one file with two names."""
    laid: dict[bytes, Path] = {}
    for name, data in sorted(image.items()):
        path = directory / name
        if data and data in laid:
            path.hardlink_to(laid[data])
        else:
            path.write_bytes(data)
            laid[data] = path


def _digest(image: Image) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(image):
        digest.update(f"{name}\0{len(image[name])}\0".encode())
        digest.update(image[name])
    return digest.digest()
