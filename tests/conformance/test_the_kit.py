"""The kit itself: it asks for everything, it reaches everything, and it finds stores that are broken."""

from __future__ import annotations

import asyncio
import inspect
import random
import unittest
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast, get_args

import pytest

from durable.store import (
    Creation,
    JournalPage,
    MessageId,
    Poll,
    RecordRow,
    RunPage,
    RunQuery,
    Store,
    Then,
    Verb,
    VerbOutcome,
    Verdict,
)
from durable_testing import ManualClock, MemoryStore
from durable_testing.conformance import RepeatContract, ScheduleContract, StoreContract, schedules
from durable_testing.conformance.aside import Aside
from durable_testing.conformance.bench import new_run
from durable_testing.conformance.operations import ELSEWHERE, OPERATIONS, READS, WRITES
from durable_testing.conformance.race import Race
from durable_testing.conformance.scenes import SITUATIONS
from durable_testing.conformance.schedules import partners
from durable_testing.conformance.steps import KINDS, RUNS, Step
from durable_testing.conformance.story import tell

MEMBERS = {name for name in vars(Store) if not name.startswith("_")}
WRITING = {operation.method for operation in WRITES}
LIFECYCLE = set(ELSEWHERE)
SLOW_SECONDS = 0.02  # between two steps of a store that takes two: more than two threads need to begin


class Behind:
    """A store behind another, which passes everything on; broken ones change one thing."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def dedicated(self) -> Store:
        return cast("Store", type(self)(self.inner.dedicated()))


class Recorder(Behind):
    """Remembers what was asked, and what came of it."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.asked: Counter[str] = Counter()
        self.did: Counter[object] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def ask(*said: Any, **named: Any) -> Any:
            self.asked[name] += 1
            answer = await method(*said, **named)
            self.note(name, said, answer)
            return answer

        return ask

    def note(self, name: str, said: Any, answer: Any) -> None:
        if name == "commit":
            for commit, one in zip(said[0], answer, strict=True):
                self.did[one.verdict] += 1
                self.did[type(commit.then)] += one.verdict is Verdict.APPLIED
        elif name == "control":
            for control, one in zip(said[0], answer, strict=True):
                self.did[one.outcome] += 1
                self.did[type(control.verb)] += one.outcome in (VerbOutcome.DONE, VerbOutcome.ASKED)
        elif name == "poll":
            self.did["claims"] += len(answer.claims)
            self.did["lost"] += len(answer.lost)
            self.did["lonely"] += sum(claim.lonely for claim in answer.claims)
            self.did["messages"] += len(answer.messages)
        elif name == "get":
            self.did["crash budget spent"] += any(row and row.blocked_kind == "crash_budget" for row in answer)
        elif name == "list":
            self.did["a further page"] += answer.cursor is not None
            self.did["pages of one"] += said[1:2] == (1,)
        elif name == "renew":
            self.did["renewed", answer] += 1


# ── it asks for everything ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_operation_of_the_protocol_is_in_the_table_or_has_its_place_elsewhere() -> None:
    in_table = {operation.method for operation in OPERATIONS}
    assert in_table | LIFECYCLE == MEMBERS
    assert in_table & LIFECYCLE == set()


def test_every_kind_of_then_and_every_verb_is_in_the_table() -> None:
    assert {one.kind for one in OPERATIONS if one.kind is not None} == {*get_args(Then), *get_args(Verb)}


def test_operations_that_write_and_that_read_are_told_apart() -> None:
    assert all(not operation.reads and set(operation.homes) <= set(SITUATIONS) for operation in WRITES)
    assert all(operation.reads for operation in READS)
    assert {home for operation in WRITES for home in operation.homes} >= set(SITUATIONS) - {"waiting", "paused"}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_the_schedules_hold_every_pair_of_operations_once() -> None:
    pairs = Counter(frozenset((one.name, other.name)) for one in OPERATIONS for other in partners(one))
    names = [operation.name for operation in OPERATIONS]
    assert pairs == Counter({frozenset((one, other)): 1 for one in names for other in names})
    tests = {name for name in dir(ScheduleContract) if name.startswith("test_")}
    assert tests == {f"test_{name}_at_once_with_each_operation_from_it_on" for name in names}


def test_each_operation_that_writes_is_said_again() -> None:
    tests = {name for name in dir(RepeatContract) if name.endswith("_said_again_after_a_lost_answer_is_applied_once")}
    assert len(tests) == len(WRITES)


# ── it reaches everything ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_story_asks_for_everything_that_writes() -> None:
    clock = ManualClock()
    recorder = Recorder(MemoryStore(clock=clock))
    await tell(cast("Store", recorder), clock)
    assert set(recorder.asked) >= WRITING
    assert [kind for kind in (*get_args(Then), *get_args(Verb)) if not recorder.did[kind]] == []


async def test_random_sequences_reach_every_operation_and_every_turn_of_events() -> None:
    did: Counter[object] = Counter()
    asked: Counter[str] = Counter()
    dice = random.Random(7)
    for _ in range(60):
        clock = ManualClock()
        model = Recorder(MemoryStore(clock=clock))
        store = MemoryStore(clock=clock)
        race = Race(clock, cast("MemoryStore", model), (store, store.dedicated()))
        await race.begin()
        for _ in range(60):
            numbers = (dice.randrange(len(RUNS)), dice.randrange(2), *(dice.randrange(12) for _ in range(3)))
            await race.take(Step(dice.choice(KINDS), *numbers))
        await race.compare_everything()
        did += model.did
        asked += model.asked
    assert set(asked) == MEMBERS - LIFECYCLE
    turns = ("claims", "lost", "lonely", "messages", "crash budget spent", "a further page", "pages of one")
    expected = (*get_args(Then), *get_args(Verb), *Verdict, *VerbOutcome, *turns, ("renewed", True), ("renewed", False))
    assert [one for one in expected if did[one] < 3] == []


# ── it finds what is broken ──────────────────────────────────────────────────────────────────────────────────────────


def behind(contract: type[Any], broken: type[Behind]) -> Any:
    """A contract's tests, on a broken store."""

    class OfTheBroken(contract):  # type: ignore[misc]
        pairs_one_in = 1

        async def make_store(self, clock: ManualClock) -> Store:
            return cast("Store", broken(MemoryStore(clock=clock)))

    return OfTheBroken()


class ReadsThenPuts(Behind):
    """Compares the version in one step and puts in another."""

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        row = await self.inner.get_record(kind, key)
        await asyncio.sleep(SLOW_SECONDS)
        if expect is not None and expect != (0 if row is None else row.version):
            return None
        return await self.inner.put_record(kind, key, value, keep_seconds=keep_seconds)


class ReadsOneByOne(Behind):
    """Reads the first of several runs in one step, and the others in another."""

    async def get(self, runs: Any) -> Any:
        first = list(await self.inner.get(runs[:1]))
        await asyncio.sleep(2 * SLOW_SECONDS)
        return [*first, *await self.inner.get(runs[1:])]

    async def commit(self, commits: Any) -> Any:
        await asyncio.sleep(SLOW_SECONDS)
        return await self.inner.commit(commits)


class LooksThenCreates(Behind):
    """Looks in one step whether a run is there, and says so whatever has happened since."""

    async def create(self, runs: Any) -> Any:
        rows = await self.inner.get([new.id for new in runs])
        await asyncio.sleep(SLOW_SECONDS)
        answers = await self.inner.create(runs)
        found = zip(answers, rows, strict=True)
        return [one if row is not None else replace(one, outcome=Creation.CREATED) for one, row in found]


class ClaimsTwice(Behind):
    """Looks who is due in one step, and claims in another whoever it saw."""

    async def poll(self, session: Any, want: Any) -> Poll:
        try:
            return await self.inner.poll(session, want)
        finally:
            await self.inner.leave(session.id)


class NamesMessagesAnew(Behind):
    async def send(self, messages: Any) -> Any:
        named = [replace(one, id=MessageId(f"{one.id} {random.random()}")) for one in messages]
        return await self.inner.send(named)


class ForgetsPolls(Behind):
    async def poll(self, session: Any, want: Any) -> Poll:
        return await self.inner.poll(session, replace(want, poll_id=f"{random.random()}"))


class ForgetsRequests(Behind):
    async def control(self, controls: Any) -> Any:
        return await self.inner.control([replace(one, request_id=f"{random.random()}") for one in controls])


class DeletesTwice(Behind):
    async def delete_record(self, kind: str, key: str) -> bool:
        await self.inner.delete_record(kind, key)
        return True


class ListsByOffset(Behind):
    """Its cursor counts rows, so a new one shifts all that follow."""

    async def list(self, query: Any, limit: int = 100, cursor: str | None = None) -> RunPage:
        runs = (await self.inner.list(query, 1_000)).runs
        start = 0 if cursor is None else int(cursor)
        more = start + limit < len(runs)
        return RunPage(runs[start : start + limit], str(start + limit) if more else None)


class SkipsAnEntry(Behind):
    """Goes on one entry too late."""

    async def journal(self, run: Any, generation: int, start: int = 0, limit: int = 1_000) -> JournalPage:
        page = await self.inner.journal(run, generation, start, limit)
        return page if page.next is None or limit > 1 else replace(page, next=page.next + 1)


class ReadsRecordsFromTheirKey(Behind):
    """Begins with the record at ``after``, not behind it."""

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Any:
        at = await self.inner.get_record(kind, after) if after else None
        rest = await self.inner.list_records(kind, after, limit)
        return list(rest) if at is None else [at, *rest][:limit]


SCHEDULES: list[tuple[type[Behind], str, str]] = [
    (ReadsThenPuts, "put_record", "put_record"),
    (ReadsOneByOne, "commit_ended", "get"),
    (LooksThenCreates, "create", "create"),
]
REPEATS: list[tuple[type[Behind], str]] = [
    (NamesMessagesAnew, "send"),
    (ForgetsPolls, "poll"),
    (ForgetsRequests, "fork"),
    (DeletesTwice, "delete_record"),
    (ClaimsTwice, "poll"),
    (ReadsThenPuts, "put_record"),
]
PAGES: list[tuple[type[Behind], str]] = [
    (ListsByOffset, "test_runs_that_come_and_change_between_pages_disturb_none_of_the_pages_that_follow"),
    (SkipsAnEntry, "test_journal_inbox_stream_and_records_in_small_pages_are_what_they_are"),
    (ReadsRecordsFromTheirKey, "test_inbox_stream_and_records_grow_while_they_are_read"),
]


@pytest.mark.parametrize(("broken", "first", "second"), SCHEDULES)
def test_schedules_find_a_store_that(
    broken: type[Behind], first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = tuple(one for one in OPERATIONS if one.name in (first, second))
    monkeypatch.setattr(schedules, "OPERATIONS", pair)
    test = getattr(behind(ScheduleContract, broken), f"test_{first}_at_once_with_each_operation_from_it_on")
    with pytest.raises(AssertionError, match=f"{first} (and|at once with) {second}"):
        for _ in range(5):  # a thread that a busy machine holds back may come too late to be in the way
            test()


@pytest.mark.parametrize(("broken", "operation"), REPEATS)
def test_repeats_find_a_store_that(broken: type[Behind], operation: str) -> None:
    tests = behind(RepeatContract, broken)
    with pytest.raises(AssertionError, match=f"{operation} said again"):
        getattr(tests, f"test_{operation}_said_again_after_a_lost_answer_is_applied_once")()


@pytest.mark.parametrize("broken", [ForgetsPolls, NamesMessagesAnew, ForgetsRequests])
def test_the_story_finds_a_store_that(broken: type[Behind]) -> None:
    tests = behind(RepeatContract, broken)
    with pytest.raises(AssertionError):
        tests.test_the_story_is_the_same_if_every_answer_is_lost()


@pytest.mark.parametrize(("broken", "test"), PAGES)
def test_pages_find_a_store_that(broken: type[Behind], test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(behind(StoreContract, broken), test)()


# ── its tools ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_sessions_are_really_under_way_at_once() -> None:
    """Each waits for the other within its call, which sessions that took turns could not survive."""
    store = MemoryStore()

    async def opened() -> Store:
        return store.dedicated()

    met = asyncio.Event()
    home = asyncio.get_running_loop()

    async def here(store: Store) -> str:
        await met.wait()
        await store.create([new_run("here")])
        return "here"

    async def there(store: Store) -> str:
        home.call_soon_threadsafe(met.set)
        await store.create([new_run("there")])
        return "there"

    async with Aside(store, opened) as aside:
        assert await asyncio.wait_for(aside.at_once(here, there), 30) == ("here", "there")
        assert await store.count(RunQuery()) == 2


async def test_an_error_of_either_session_comes_back() -> None:
    store = MemoryStore()

    async def opened() -> Store:
        return store.dedicated()

    async def fails(store: Store) -> None:
        raise LookupError("broken")

    async def works(store: Store) -> float:
        return await store.now()

    pairs: list[tuple[Callable[..., Any], Callable[..., Any]]] = [(fails, works), (works, fails)]
    async with Aside(store, opened) as aside:
        for one, other in pairs:
            with pytest.raises(LookupError):
                await aside.at_once(one, other)


async def test_a_second_session_that_cannot_be_opened_is_an_error_and_not_a_hang() -> None:
    async def opened() -> Store:
        raise OSError("no second session")

    with pytest.raises(OSError, match="no second session"):
        async with Aside(MemoryStore(), opened):
            pytest.fail("there is no second session")


def test_a_store_whose_clock_is_never_set_back_skips_the_tests_of_it() -> None:
    class Forward(StoreContract):
        clock_turns_back = False

        async def make_store(self, clock: ManualClock) -> Store:
            return MemoryStore(clock=clock)

    with pytest.raises(unittest.SkipTest, match="clock_turns_back"):
        Forward().test_the_stamp_never_goes_back_even_if_the_clock_does()


def test_what_fails_in_the_kit_is_explained_with_the_values_on_either_side() -> None:
    with pytest.raises(AssertionError, match="At index 1 diff"):
        behind(StoreContract, NamesMessagesAnew).test_the_same_id_twice_in_one_batch_is_accepted_once()
