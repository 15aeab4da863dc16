"""Concurrent calls of a client share transactions, and nothing else: neither errors, nor patience, nor an end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from durable._engine.gathering import ITEMS_MAX, Gathering
from durable._engine.weather import Weather
from durable._model.defaults import COMMIT_BYTES_MAX
from durable.clock import SystemClock
from durable.errors import Corrupt, DurableError, InvalidInput, StoreError, Transient

ATTEMPTS = 4


class Calls:
    """A call of a store that waits until a test lets it go on.

    Attributes:
        said: What each call was given.
        faults: Asked of each call; what it returns is raised.
    """

    def __init__(self, faults: Callable[[Sequence[str]], Exception | None] = lambda items: None) -> None:
        self.said: list[list[str]] = []
        self.open = asyncio.Event()
        self.begun = asyncio.Event()
        self.faults = faults
        clock = SystemClock()
        self.gathering: Gathering[str, str] = Gathering(self._call, len, Weather(clock), clock, ATTEMPTS)

    async def _call(self, items: Sequence[str]) -> Sequence[str]:
        self.said.append(list(items))
        self.begun.set()
        await asyncio.sleep(0)
        await self.open.wait()
        fault = self.faults(items)
        if fault is not None:
            raise fault
        return [item.upper() for item in items]

    async def next(self) -> None:
        """The call under way ends, and the next one begins and waits."""
        self.begun.clear()
        self.open.set()
        await self.begun.wait()
        self.open.clear()

    async def crowd(self, *items: str) -> list[asyncio.Task[str]]:
        """One item under way, and these behind it."""
        first = asyncio.create_task(self.gathering.ask("first"))
        await self.begun.wait()
        asked = [first, *(asyncio.create_task(self.gathering.ask(item)) for item in items)]
        await asyncio.sleep(0)
        return asked


async def test_who_asks_alone_is_not_kept_waiting() -> None:
    calls = Calls()
    asked = asyncio.create_task(calls.gathering.ask("a"))
    await asyncio.sleep(0)
    assert calls.said == [["a"]]  # at the first turn of the loop
    calls.open.set()
    assert await asked == "A"


async def test_what_is_asked_while_a_call_is_under_way_goes_with_the_next_in_order() -> None:
    calls = Calls()
    asked = await calls.crowd("a", "b", "c")
    calls.open.set()
    assert await asyncio.gather(*asked) == ["FIRST", "A", "B", "C"]
    assert calls.said == [["first"], ["a", "b", "c"]]


async def test_those_who_go_on_asking_stay_together() -> None:
    calls = Calls()
    calls.open.set()

    async def ask(name: str) -> None:
        for _ in range(10):
            await calls.gathering.ask(name)

    await asyncio.gather(*(ask(f"{n}") for n in range(20)))
    assert len(calls.said) < 30  # and not 200


async def test_a_thousand_calls_are_a_few_and_none_is_larger_than_allowed() -> None:
    calls = Calls()
    asked = await calls.crowd(*(f"{n}" for n in range(1000)))
    calls.open.set()
    assert (await asyncio.gather(*asked))[1:] == [f"{n}" for n in range(1000)]
    assert [len(said) for said in calls.said] == [1, ITEMS_MAX, ITEMS_MAX, ITEMS_MAX, 1000 - 3 * ITEMS_MAX]


async def test_what_is_too_much_for_one_call_goes_with_several() -> None:
    calls = Calls()
    large = "x" * (COMMIT_BYTES_MAX // 2)
    asked = await calls.crowd(large, large, large, 3 * large)
    calls.open.set()
    await asyncio.gather(*asked)
    assert [len(said) for said in calls.said] == [1, 2, 1, 1]


async def test_one_bad_item_is_told_and_no_other_hears_of_it() -> None:
    calls = Calls(lambda items: InvalidInput("bad") if "bad" in items else None)
    asked = await calls.crowd("a", "bad", "b", "c", "d")
    calls.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers.pop(2), InvalidInput)
    assert answers == ["FIRST", "A", "B", "C", "D"]


@pytest.mark.parametrize("kind", [Transient, StoreError, Corrupt])
async def test_an_item_that_looks_like_bad_weather_does_not_take_its_neighbours_down(
    kind: type[Exception], hurried: None
) -> None:
    calls = Calls(lambda items: kind("no") if "bad" in items else None)
    asked = await calls.crowd("bad", "a", "b", "c", "d", "e")
    calls.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers.pop(1), kind)
    assert answers == ["FIRST", "A", "B", "C", "D", "E"]


async def test_nobody_waits_out_anothers_bad_weather() -> None:
    bad = asyncio.Event()

    def faults(items: Sequence[str]) -> Exception | None:
        if "bad" in items:
            bad.set()
            return Transient("no")
        return None

    calls = Calls(faults)
    calls.open.set()
    stuck = asyncio.create_task(calls.gathering.ask("bad"))
    await bad.wait()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(calls.gathering.ask(f"{n}") for n in range(5))) == [f"{n}" for n in range(5)]
    assert not stuck.done()
    stuck.cancel()
    await asyncio.wait([stuck])


async def test_weather_that_passes_is_waited_out_by_all(hurried: None) -> None:
    left = [3]

    def faults(items: Sequence[str]) -> Exception | None:
        left[0] -= 1
        return Transient("busy") if left[0] >= 0 else None

    calls = Calls(faults)
    asked = await calls.crowd("a", "b", "c")
    calls.open.set()
    assert await asyncio.gather(*asked) == ["FIRST", "A", "B", "C"]


async def test_weather_that_stays_is_told_to_all(hurried: None) -> None:
    calls = Calls(lambda items: Transient("gone"))
    asked = await calls.crowd("a", "b")
    calls.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Transient] * 3


@pytest.mark.parametrize("who", [0, 1])
async def test_who_gives_up_disturbs_nobody(who: int) -> None:
    calls = Calls()
    asked = await calls.crowd("a", "b", "c")
    asked.pop(who).cancel()
    calls.open.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked)
    assert answers == (["A", "B", "C"] if who == 0 else ["FIRST", "B", "C"])
    if who == 1:
        assert calls.said == [["first"], ["b", "c"]]  # what was not yet said need not be


async def test_who_gives_up_under_way_disturbs_nobody() -> None:
    calls = Calls()
    asked = await calls.crowd("a", "b", "c")
    await calls.next()
    asked.pop(2).cancel()
    calls.open.set()
    assert await asyncio.gather(*asked) == ["FIRST", "A", "C"]


async def test_several_at_once_are_answered_in_order_and_the_first_error_is_raised_after_all_were_asked() -> None:
    calls = Calls(lambda items: InvalidInput("bad") if "bad" in items else None)
    calls.open.set()
    assert await calls.gathering.ask_all(["a", "b"]) == ["A", "B"]
    assert await calls.gathering.ask_all([]) == []
    with pytest.raises(InvalidInput):
        await calls.gathering.ask_all(["a", "bad", "z"])
    assert any("z" in said and "bad" not in said for said in calls.said)


async def test_whoever_still_waits_when_the_client_is_closed_is_told() -> None:
    calls = Calls()
    asked = await calls.crowd("a", "b")
    await calls.next()
    late = asyncio.create_task(calls.gathering.ask("late"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await calls.gathering.close()
        answers = await asyncio.gather(*asked, late, return_exceptions=True)
    assert answers[0] == "FIRST"
    assert [type(answer) for answer in answers[1:]] == [DurableError] * 3
    assert calls.said == [["first"], ["a", "b"]]


async def test_a_store_that_answers_too_few_is_found_out() -> None:
    calls = Calls()
    gathering = calls.gathering

    async def forgetful(items: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        return [item.upper() for item in items if item != "b"]

    gathering._call = forgetful
    answers = await asyncio.gather(*(gathering.ask(item) for item in "abc"), return_exceptions=True)
    assert answers[0] == "A"
    assert any(isinstance(answer, ValueError) for answer in answers)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    from durable._engine import weather

    monkeypatch.setattr(weather, "_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(weather, "_LONGEST_SECONDS", 0.002)


# ── through a client ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_concurrent_starts_and_signals_are_few_calls_and_each_has_its_own_answer(rig: Any) -> None:
    from durable import Context, RunEnded, RunNotFound, workflow
    from tests.unit.engine.faults import faulty_client

    @workflow
    async def wf(ctx: Context, n: int) -> int:
        return n + await ctx.wait_for_signal("go", int)

    client, store = faulty_client(rig.url)
    gate = asyncio.Event()
    inner = store.inner

    class Slow:
        """The memory store answers at once; this one takes a turn of the loop, as others do."""

        def __getattr__(self, name: str) -> Any:
            method = getattr(inner, name)
            if name not in ("create", "send"):
                return method

            async def call(items: Any) -> Any:
                await gate.wait()
                return await method(items)

            return call

    store.inner = Slow()
    async with client, rig.worker(client, wf):
        starting = [asyncio.create_task(client.start(wf, n)) for n in range(200)]
        await asyncio.sleep(0)
        gate.set()
        handles = await asyncio.gather(*starting)
        assert store.calls["create"] <= 3
        gate.clear()
        handles.insert(100, client.handle("nobody"))
        sending = [asyncio.create_task(handle.signal("go", 1)) for handle in handles]
        await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*sending, return_exceptions=True)
        assert isinstance(answers.pop(100), RunNotFound)
        assert answers == [None] * 200
        assert store.calls["send"] <= 3
        del handles[100]
        assert await asyncio.gather(*(rig.end(handle) for handle in handles)) == [n + 1 for n in range(200)]
        with pytest.raises(RunEnded):
            await handles[0].signal("go", 1)
