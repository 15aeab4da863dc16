"""Lost answers: whatever is said again with the same ids is applied once, and leaves the store as if said once.

A worker whose answer was lost cannot know whether the store did what it asked; it says the same again, perhaps over a
new connection, perhaps while the first call is still under way. Each operation of the table is said again so, in each
of its situations; and a whole story is told over lines that lose calls in every way.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from durable.store import Created, Creation, RecordRow, Sent, Verdict
from durable_testing.clock import ManualClock
from durable_testing.conformance.aside import Aside
from durable_testing.conformance.bench import Bench, on_its_own_loop
from durable_testing.conformance.lossy import Loss, Plan, losing
from durable_testing.conformance.operations import WRITES, Ask, Operation
from durable_testing.conformance.scenes import SITUATIONS, Scene
from durable_testing.conformance.snapshot import Picture, canonical, differences, picture
from durable_testing.conformance.story import CAST, tell

__all__ = ["RepeatContract", "answer_again"]

Telling = Callable[[Aside, Scene, Ask], Awaitable[tuple[Any, Any]]]
"""Says it twice; the answers, the one of the call that was first first."""


def answer_again(operation: Operation, first: Any) -> Any:
    """What a repeat is answered, given the answer of the first time."""
    match operation.method:
        case "create":
            return [_created_again(one) for one in first]
        case "commit":
            applied, again = Verdict.APPLIED, Verdict.ALREADY_APPLIED
            return [replace(one, verdict=again) if one.verdict is applied else one for one in first]
        case "send":
            return [Sent.DUPLICATE if one is Sent.ACCEPTED else one for one in first]
        case "purge":
            return 0
        case "put_record":
            return None
        case "delete_record":
            return False
        case _:
            return first


def _created_again(one: Created) -> Created:
    return replace(one, outcome=Creation.EXISTED) if one.outcome is Creation.CREATED else one


# ── ways to say it twice ─────────────────────────────────────────────────────────────────────────────────────────────


async def _again(aside: Aside, scene: Scene, ask: Ask) -> tuple[Any, Any]:
    return await ask(scene.store), await ask(scene.store)


async def _elsewhere(aside: Aside, scene: Scene, ask: Ask) -> tuple[Any, Any]:
    return await ask(scene.store), await aside.there(ask)


async def _at_once(aside: Aside, scene: Scene, ask: Ask) -> tuple[Any, Any]:
    return await aside.at_once(ask, ask)


_WAYS: Final[dict[str, Telling]] = {
    "by the same session": _again,
    "by another session": _elsewhere,
    "by two sessions at once": _at_once,
}


class RepeatContract(Bench):
    """One test for each operation that writes, and the story with lost calls.

    Attributes:
        story_examples: How many random mixtures of losses the story is told with.
    """

    story_examples = 8

    # ── one by one ───────────────────────────────────────────────────────────────────────────────────────────────

    async def said_twice(self, operation: Operation) -> None:
        """In each of its situations and in every way; the store must then stand as if it had been said once."""
        numbers = itertools.count(1)
        async with Aside(self.store, lambda: self.second(self.store)) as aside:
            for situation in operation.homes:
                async with self._scene(next(numbers), situation) as scene:
                    await operation.make(scene, "a")(scene.store)
                    once = await scene.picture()
                for way, telling in _WAYS.items():
                    where = f"{operation.name} said again {way}, the run {situation}"
                    async with self._scene(next(numbers), situation) as scene:
                        answers = await telling(aside, scene, operation.make(scene, "a"))
                        self._compare_answers(operation, scene, answers, where)
                        twice = await scene.picture()
                    assert twice == once, f"{where}:\n{differences(once, twice)}"

    @asynccontextmanager
    async def _scene(self, number: int, situation: str) -> AsyncGenerator[Scene]:
        scene = Scene(self.store, self.clock, number)
        await SITUATIONS[situation](scene)
        yield scene
        await scene.sweep()

    def _compare_answers(self, operation: Operation, scene: Scene, answers: tuple[Any, Any], where: str) -> None:
        """One is the first answer and the other that of a repeat; said at once, either may have been first."""

        def plainly(answer: object) -> str:
            return canonical(answer, scene.tag, scene.zero, scene.base)

        orders = [answers, answers[::-1]] if where.count("at once") else [answers]
        assert any(plainly(second) == plainly(answer_again(operation, first)) for first, second in orders), (
            f"{where}: answered\n  {plainly(answers[0])}\nand then\n  {plainly(answers[1])}"
        )

    async def test_an_unconditional_put_said_again_keeps_the_value_and_says_so_by_its_version(self) -> None:
        """It carries no id, so it is the one call that a store can tell from its repeat by the version alone."""
        first = await self.store.put_record("k", "a", b"1")
        again = await self.store.put_record("k", "a", b"1")
        assert isinstance(first, RecordRow)
        assert again == replace(first, version=2)

    # ── the story ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _told(self, plan: Plan) -> Picture:
        """The story on a fresh store, over a line that loses what the plan says; the store as it then stands."""
        clock = ManualClock()
        zero = clock.now()
        store = await self.make_store(clock)
        try:
            await tell(losing(store, plan), clock)
            assert list(await store.check()) == []
            return await picture(store, "", CAST, zero, 0) | {
                "records": canonical(await store.list_records("kind"), "", zero, 0)
            }
        finally:
            await store.close()

    async def _same_as_without(self, plan: Plan, what: str) -> None:
        expected = await self._told(lambda call: Loss.NOTHING)
        found = await self._told(plan)
        assert found == expected, f"{what}:\n{differences(expected, found)}"

    async def test_the_story_is_the_same_if_every_call_is_lost_before_it_reaches_the_store(self) -> None:
        await self._same_as_without(lambda call: Loss.BEFORE, "every call lost before")

    async def test_the_story_is_the_same_if_every_answer_is_lost(self) -> None:
        await self._same_as_without(lambda call: Loss.AFTER, "every answer lost")

    async def test_the_story_is_the_same_if_every_answer_is_lost_twice(self) -> None:
        await self._same_as_without(lambda call: Loss.AFTER_TWICE, "every answer lost twice")

    async def test_the_story_is_the_same_if_the_caller_gives_every_call_up_midway_and_says_it_again(self) -> None:
        await self._same_as_without(lambda call: Loss.MIDWAY, "every call given up midway")

    async def test_the_story_is_the_same_with_losses_of_every_kind(self) -> None:
        for seed in range(self.story_examples):
            dice = random.Random(seed)
            losses = [dice.choice(list(Loss)) for _ in range(1_000)]
            await self._same_as_without(losses.__getitem__, f"losses of seed {seed}")


def _test_of(operation: Operation) -> Callable[[RepeatContract], Awaitable[None]]:
    async def test(self: RepeatContract) -> None:
        await self.said_twice(operation)

    return test


for _operation in WRITES:  # so that no operation of the table can be without its test
    _name = f"test_{_operation.name}_said_again_after_a_lost_answer_is_applied_once"
    setattr(RepeatContract, _name, on_its_own_loop(_test_of(_operation)))
