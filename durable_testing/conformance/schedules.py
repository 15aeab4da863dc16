"""Two sessions, every pair of operations: what they do at once must be what they could have done one after the other.

For each pair of operations A and B of the table, and each situation in which either has something to do, the first
session asks A and the second B: A before B, B before A, and at once, from two threads that start together; and at once
again with the sessions changed about. The answers and all that can be read afterwards (``picture``) must be those of
one of the two orders. Of an operation that only reads there is less to do: at once with another, it must answer as it
answers before or after, and the other as if nobody had read.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, final

from durable_testing.conformance.aside import Aside
from durable_testing.conformance.bench import Bench, on_its_own_loop
from durable_testing.conformance.operations import OPERATIONS, Ask, Operation
from durable_testing.conformance.scenes import SITUATIONS, Scene
from durable_testing.conformance.snapshot import Picture, canonical, differences

__all__ = ["ScheduleContract"]

# How long a thread keeps the interpreter while the other wants it: short, so that pure Python stores interleave, too.
_SWITCH_SECONDS: Final = 1e-5


@final
class _Row:
    """One operation beside every other: the scenes that it takes."""

    def __init__(self, bench: ScheduleContract, aside: Aside, first: Operation) -> None:
        self.bench = bench
        self.aside = aside
        self.first = first
        self._numbers = itertools.count(1)
        self._alone: dict[str, Picture] = {}

    @asynccontextmanager
    async def scene(self, situation: str) -> AsyncGenerator[Scene]:
        scene = Scene(self.bench.store, self.bench.clock, next(self._numbers))
        await SITUATIONS[situation](scene)
        yield scene
        await scene.sweep()

    # ── two that write ───────────────────────────────────────────────────────────────────────────────────────────

    async def two_writes(self, second: Operation, situation: str) -> None:
        before = await self.one_by_one(second, situation, swapped=False)
        after = await self.one_by_one(second, situation, swapped=True)
        for swapped in (False, True):
            found = await self.both(second, situation, swapped=swapped)
            if found not in (before, after):
                first, other = self.first.name, second.name
                raise AssertionError(
                    f"{first} and {other} at once, the run {situation}: as in neither order.\n"
                    f"unlike {first}, then {other}:\n{differences(before, found)}\n"
                    f"unlike {other}, then {first}:\n{differences(after, found)}"
                )

    async def one_by_one(self, second: Operation, situation: str, *, swapped: bool) -> Picture:
        async with self.scene(situation) as scene:
            here, there = self.first.make(scene, "a"), second.make(scene, "b")
            if swapped:
                theirs = await self.aside.there(there)
                mine = await here(scene.store)
            else:
                mine = await here(scene.store)
                theirs = await self.aside.there(there)
            return await _result(scene, mine, theirs)

    async def both(self, second: Operation, situation: str, *, swapped: bool) -> Picture:
        async with self.scene(situation) as scene:
            mine, theirs = await self.at_once(self.first.make(scene, "a"), second.make(scene, "b"), swapped)
            return await _result(scene, mine, theirs)

    async def at_once(self, first: Ask, second: Ask, swapped: bool) -> tuple[Any, Any]:
        if swapped:
            theirs, mine = await self.aside.at_once(second, first)
            return mine, theirs
        return await self.aside.at_once(first, second)

    # ── one that reads ───────────────────────────────────────────────────────────────────────────────────────────

    async def beside_a_read(self, read: Operation, situation: str) -> None:
        alone = await self.alone(situation)
        for swapped in (False, True):
            async with self.scene(situation) as scene:
                ask = read.make(scene, "b")
                before = canonical(await ask(scene.store), scene.tag, scene.zero, scene.base)
                mine, theirs = await self.at_once(self.first.make(scene, "a"), ask, swapped)
                after = canonical(await ask(scene.store), scene.tag, scene.zero, scene.base)
                found = canonical(theirs, scene.tag, scene.zero, scene.base)
                where = f"{self.first.name} at once with {read.name}, the run {situation}"
                if found not in (before, after):
                    raise AssertionError(f"{where}: read {found}\nbefore {before}\nafter  {after}")
                result = await _result(scene, mine, None)
            if result != alone:
                raise AssertionError(f"{where}: not as if nobody had read.\n{differences(alone, result)}")

    async def alone(self, situation: str) -> Picture:
        if situation not in self._alone:
            async with self.scene(situation) as scene:
                answer = await self.first.make(scene, "a")(scene.store)
                self._alone[situation] = await _result(scene, answer, None)
        return self._alone[situation]

    async def two_reads(self, others: Sequence[Operation]) -> None:
        """Nothing changes, so one scene serves them all, and every answer must be what it is anyway."""
        async with self.scene("held") as scene:
            first = self.first.make(scene, "a")
            expected = canonical(await first(scene.store), scene.tag, scene.zero, scene.base)
            for other in others:
                second = other.make(scene, "b")
                theirs = canonical(await second(scene.store), scene.tag, scene.zero, scene.base)
                for swapped in (False, True):
                    answers = await self.at_once(first, second, swapped)
                    found = tuple(canonical(answer, scene.tag, scene.zero, scene.base) for answer in answers)
                    assert found == (expected, theirs), f"{self.first.name} at once with {other.name}"


async def _result(scene: Scene, mine: object, theirs: object) -> Picture:
    """Both answers, and all that can be read."""
    answers = {"answer a": mine, "answer b": theirs}
    said = {name: canonical(answer, scene.tag, scene.zero, scene.base) for name, answer in answers.items()}
    return {**said, **await scene.picture()}


def partners(first: Operation) -> Sequence[Operation]:
    """The operations that come with it in the table, itself included: each pair once."""
    return OPERATIONS[OPERATIONS.index(first) :]


def situations(first: Operation, second: Operation) -> Sequence[str]:
    """Where the pair has something to do; beside a read, where the first is most at home."""
    return first.homes[:1] if second.reads else tuple(dict.fromkeys((*first.homes, *second.homes)))


class ScheduleContract(Bench):
    """One test for each operation of the protocol, beside each of the others.

    Attributes:
        pairs_one_in: Take only each n-th pair; for a store that is slow to reach. 1 takes all.
    """

    pairs_one_in = 1

    async def beside_all(self, first: Operation) -> None:
        """The operation with each of its partners, in each situation of either."""
        with _switching_often():
            async with Aside(self.store, lambda: self.second(self.store)) as aside:
                row = _Row(self, aside, first)
                others = partners(first)[:: self.pairs_one_in]
                if first.reads:
                    await row.two_reads(others)
                    return
                for other in others:
                    for situation in situations(first, other):
                        await (row.beside_a_read if other.reads else row.two_writes)(other, situation)


@contextmanager
def _switching_often() -> Generator[None]:
    """Threads take turns often, as long as this lasts."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _test_of(first: Operation) -> Callable[[ScheduleContract], Awaitable[None]]:
    async def test(self: ScheduleContract) -> None:
        await self.beside_all(first)

    return test


for _operation in OPERATIONS:  # so that no operation of the table can be without its test
    _name = f"test_{_operation.name}_at_once_with_each_operation_from_it_on"
    setattr(ScheduleContract, _name, on_its_own_loop(_test_of(_operation)))
