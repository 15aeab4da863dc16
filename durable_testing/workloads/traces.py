"""What a tale tells apart from its tree: order, time, receipts of signals, published values, and effects."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, final

from durable_testing.workloads.behaviours import FINAL_ERRORS
from durable_testing.workloads.ledger import Effect
from durable_testing.workloads.nodes import Step

Json = Any
Say = Callable[[str, str], None]
EARLY_SECONDS: Final = 1e-4  # workflow time is told in microseconds

__all__ = ["EARLY_SECONDS", "Expected", "Expectations", "Receipt", "Trail", "attempts_of", "same"]


def same(one: Json, other: Json) -> bool:
    """Equal in type and value: 0 is not False, nor 0.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signal that was received: between which marks, and what."""

    began: int
    ended: int
    name: str
    payload: Json


@final
@dataclass(slots=True)
class Trail:
    """What one run has left behind, in the order of its marks.

    Attributes:
        marks: (number, workflow time).
        receipts: Signals received.
        notes: (mark, ``set`` or ``emit``, key, uid).
    """

    marks: list[tuple[int, float]] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    notes: list[tuple[int, str, str, str]] = field(default_factory=list)

    def check_marks(self, who: str, say: Say) -> None:
        """Marks are distinct, and time never goes back."""
        for (one, then), (other, now) in pairwise(sorted(self.marks)):
            if one == other:
                say(who, f"the mark {one} was made twice")
            if now < then:
                say(who, f"workflow time went back by {then - now} s after mark {one}")

    def check_receipts(self, who: str, sent: Sequence[tuple[str, Json]], drained: Iterable[str], say: Say) -> None:
        """Each name's signals were received in the order in which they were sent, each once, none skipped (I6, I7)."""
        drained = set(drained)
        for name in {name for name, _ in sent} | {receipt.name for receipt in self.receipts}:
            receipts = sorted((one for one in self.receipts if one.name == name), key=lambda one: one.ended)
            got = [one.payload for one in receipts]
            queue = [payload for each, payload in sent if each == name]
            if not same(got, queue if name in drained else queue[: len(got)]):
                say(who, f"received {got} of the signals {name!r}, sent were {queue}")
            for earlier, later in pairwise(receipts):
                if later.began < earlier.began:
                    say(who, f"a wait for {name!r} was served before the one that stood before it")

    def check_notes(
        self, who: str, values: dict[str, Json], streams: dict[str, list[Json]], complete: bool, say: Say
    ) -> None:
        """Streams hold each item once, in order; values are the last ones that were set.

        Args:
            complete: Nothing can have been published after the tale was told.
        """
        emitted: defaultdict[str, list[str]] = defaultdict(list)
        last: dict[str, str] = {}
        for _, how, key, uid in sorted(self.notes):
            if how == "emit":
                emitted[key].append(uid)
            else:
                last[key] = uid
        for key, items in streams.items():
            if (items if complete else items[: len(emitted[key])]) != emitted[key]:
                say(who, f"stream {key!r} holds {items}, emitted were {emitted[key]}")
        if complete and values != last:
            say(who, f"the values are {values}, set were {last}")


# ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def attempts_of(step: Step) -> int:
    """How many attempts a step's call takes when nothing happens to it."""
    if step.does == "flaky":
        return step.fails + 1
    return step.attempts if step.does == "fail" and step.error not in FINAL_ERRORS else 1


@dataclass(frozen=True, slots=True)
class Expected:
    """How often a call's attempts may begin."""

    least: int
    most: float


@final
@dataclass(slots=True)
class Expectations:
    """What the tales say about the ledger.

    Attributes:
        crashes: Whether attempts may have been cut, and begun again.
        begins: By uid.
        undone: Uids in the order in which a saga must undo them, one list for each saga.
        undoable: Uids that some saga may undo.
        unknown: Uids of children whose tale nobody knows.
        open: Uids of nodes that had not ended when the tale was told.
    """

    crashes: bool
    begins: dict[str, Expected] = field(default_factory=dict)
    undone: list[list[str]] = field(default_factory=list)
    undoable: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)

    def step(self, uid: str, step: Step, *, certain: bool) -> None:
        """A call was made; ``certain`` if its outcome was delivered."""
        attempts = attempts_of(step)
        most = attempts if not self.crashes or step.form == "once" else math.inf
        self.begins[uid] = Expected(attempts if certain else 0, most)

    def check(self, lines: Sequence[Effect], say: Say) -> None:
        """Begins, keys and undos are as expected."""
        begins = Counter(line.uid for line in lines if line.phase == "begin")
        for uid, expected in self.begins.items():
            if not expected.least <= begins[uid] <= expected.most:
                say(uid, f"{begins[uid]} attempts began, legal are {expected.least} to {expected.most}")
        for uid in begins.keys() - self.begins.keys():
            if not self._is_unknown(uid):
                say(uid, "a step began that nobody has called")
        self._check_keys(lines, say)
        self._check_undos(lines, say)

    def _check_keys(self, lines: Sequence[Effect], say: Say) -> None:
        calls: dict[tuple[bool, str], str] = {}
        keys: dict[tuple[bool, str], str] = {}
        for line in lines:
            undo = line.phase == "undo"
            if calls.setdefault((undo, line.uid), line.key) != line.key:
                say(line.uid, f"one call had the keys {calls[undo, line.uid]} and {line.key}")
            if keys.setdefault((undo, line.key), line.uid) != line.uid:
                say(line.uid, f"its key {line.key} is also that of {keys[undo, line.key]}")
        once = Counter(line.key for line in lines if line.phase == "begin" and line.once)
        for key, count in once.items():
            if count > 1:
                say(key, f"an at-most-once step began {count} times")

    def _check_undos(self, lines: Sequence[Effect], say: Say) -> None:
        undos = [line.uid for line in lines if line.phase == "undo"]
        first = list(dict.fromkeys(undos))
        for uid in first:
            if uid not in self.undoable and not self._is_unknown(uid):
                say(uid, "it was undone, though no saga around it failed")
            if undos.count(uid) > 1 and not self.crashes:
                say(uid, f"it was undone {undos.count(uid)} times")
        for uids in self.undone:
            if [uid for uid in first if uid in uids] != uids:
                say(uids[0], f"undone were {first}, in which {uids} are not in their order")

    def _is_unknown(self, uid: str) -> bool:
        if any(uid.startswith(f"{child}:") for child in self.unknown):
            return True
        return any(uid.startswith((f"{node}.", f"{node}:")) for node in self.open)
