"""``concurrency``: no more executions than allowed are under way with one key, and everybody gets through."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from durable._model.entries import Settled, decode_entry
from durable_dag import ConcurrencyLimit, Engine, ExecutionConflict, InvalidContext
from durable_dag.bound import Bound
from durable_dag.running.slots import HOLDERS, WAITERS, Ask, Slots
from durable_server.problems import problem_of
from durable_testing import Sim, crash_everywhere, explore
from durable_testing.faults import FaultKind
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import World, statuses, step, world

ONE = {"key": "${{ context.customer }}", "limit": 1}


@pytest.fixture
async def w():
    async with world() as made:
        yield made


async def begun(w: World, executions: list[str]) -> list[str]:
    """Which of them have a step under way."""
    return [id for id in executions if (await w.now(id))["currentSteps"]]


async def line_is_empty(w: World) -> bool:
    """Nobody holds a slot, nobody waits for one."""
    holders = [row.value for row in await w.sim.records.list(HOLDERS)]
    return set(holders) <= {b"[]"} and await w.sim.records.list(WAITERS) == []


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_executions_with_one_key_go_one_after_the_other_in_their_order(w: World) -> None:
    await w.register(step("a", takes=10), step("b", "a"), concurrency=ONE)
    executions = []
    for _ in range(4):
        executions.append(await w.start({"customer": "x"}))
        await w.sim.advance(seconds=1)
    assert await begun(w, executions) == executions[:1]
    ends = [await w.end(id) for id in executions]
    assert [end["status"] for end in ends] == ["completed"] * 4
    times = [end["endTime"] for end in ends]
    assert [later - earlier for earlier, later in zip(times, times[1:], strict=False)] == [10_000] * 3
    await w.sim.run_until_idle()
    assert await line_is_empty(w)


async def test_other_keys_are_nobodys_affair(w: World) -> None:
    await w.register(step("a", takes=10), concurrency=ONE)
    executions = [await w.start({"customer": name}) for name in "xyxz"]
    await w.sim.advance(seconds=1)
    assert await begun(w, executions) == [executions[0], executions[1], executions[3]]


async def test_without_a_key_all_executions_of_the_workflow_share_the_slots(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={"limit": 2})
    await w.register(step("a", takes=10), id="other", concurrency={"limit": 1})
    executions = [await w.start() for _ in range(3)] + [await w.start(id="other")]
    await w.sim.advance(seconds=1)
    assert len(await begun(w, executions)) == 3
    await w.sim.advance(seconds=11)
    assert await begun(w, executions) == [executions[2]]


async def test_who_waits_for_a_slot_says_so_and_who_holds_it(w: World) -> None:
    await w.register(step("a", takes=10), concurrency=ONE)
    first, second = await w.start({"customer": "x"}), await w.start({"customer": "x"})
    await w.sim.advance(seconds=1)
    now = await w.now(second)
    assert (now["status"], now["currentSteps"], now["stepResults"]) == ("running", [], {})
    assert now["waitingOn"] == [{"stepId": None, "kind": "slot", "key": "x", "limit": 1, "holders": [first]}]
    assert (await w.now(first))["waitingOn"] == []
    assert (await w.end(second))["waitingOn"] == []


async def test_the_time_limit_of_a_run_begins_with_its_turn(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={}, timeout=15_000)
    executions = [await w.start() for _ in range(3)]
    assert [(await w.end(id))["status"] for id in executions] == ["completed"] * 3


async def test_a_failed_run_gives_its_slot_back_and_a_retry_takes_its_turn_again(w: World) -> None:
    await w.register(step("a", takes=10), step("bad", "a", failures=1), concurrency={})
    first, second = await w.start(), await w.start()
    assert (await w.end(first))["status"] == "failed"
    await w.sim.advance(seconds=1)
    assert await begun(w, [second]) == [second]
    await w.sim.inside(w.engine.retry(first))
    await w.sim.advance(seconds=1)
    assert (await w.now(first))["waitingOn"][0]["holders"] == [second]
    await w.end(second)
    end = await w.end(first)
    assert statuses(end) == {"a": "success", "bad": "failed"}
    assert await line_is_empty(w)


async def test_who_is_cancelled_in_the_line_leaves_it(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={})
    first, second, third = await w.start(), await w.start(), await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.cancel(second))
    assert (await w.end(second))["status"] == "cancelled"
    await w.end(first)
    await w.sim.advance(seconds=1)
    assert await begun(w, [third]) == [third]
    await w.sim.inside(w.engine.retry(second))
    assert (await w.end(second))["status"] == "completed"
    assert await line_is_empty(w)


async def test_what_is_cancelled_has_stopped_when_its_slot_is_given_to_another(w: World) -> None:
    under_way: set[str] = set()

    async def careful(params: Any, context: Any, one: Any) -> None:
        assert not under_way
        under_way.add(one.execution_id)
        try:
            await asyncio.sleep(20)
        finally:
            under_way.discard(one.execution_id)

    w.engine.register_executor("careful", careful)
    await w.register({"id": "a", "action": "careful"}, concurrency={})
    first, second = await w.start(), await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.cancel(first))
    assert (await w.end(second))["status"] == "completed"


@pytest.mark.parametrize("verb", ["terminate", "purge"])
async def test_the_slot_of_a_run_that_was_ended_without_a_word_is_found_by_who_is_next(w: World, verb: str) -> None:
    await w.register(step("a", takes=10_000), concurrency={})
    first, second, third = await w.start(), await w.start(), await w.start()
    await w.sim.advance(seconds=5)
    await w.sim.handle(first).terminate()
    if verb == "purge":
        await w.sim.advance(seconds=1)
        assert await w.sim.purge(ids=[first]) == 1
    await w.sim.advance(seconds=40)
    assert await begun(w, [second, third]) == [second]
    await w.sim.handle(second).terminate()
    await w.sim.handle(third).cancel()
    fourth = await w.start()
    await w.sim.advance(seconds=1)
    assert await begun(w, [fourth]) == [fourth]


async def test_who_has_died_in_the_line_is_passed_over(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={})
    _, second, third = await w.start(), await w.start(), await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.handle(second).terminate()
    await w.sim.advance(seconds=10)
    assert await begun(w, [third]) == [third]


async def test_whoever_is_behind_a_dead_one_looks_for_a_dead_holder(w: World) -> None:
    """Both can be left behind: a run is cancelled while its step is writing what nobody takes back any more."""
    await w.register(step("a", takes=1), concurrency={})
    dead = await w.start()
    await w.end(dead)
    await w.sim.run_until_idle()
    [row] = await w.sim.records.list(HOLDERS)
    waiter = json.dumps({"id": dead, "limit": 1, "generation": 1}).encode()
    await w.sim.records.put(HOLDERS, row.key, json.dumps([[dead, 0.0, 1, False]]).encode())
    await w.sim.records.put(WAITERS, f"{row.key}/{0:015d}/x", waiter)
    execution = await w.start()
    await w.sim.advance(seconds=5)
    assert (await w.now(execution))["status"] == "completed"


async def test_a_worker_of_old_gives_nothing_back_that_a_later_one_has_taken(w: World) -> None:
    slots, first = Slots(Bound(cast(Any, w.sim))), Ask("line", "", 1, "queue", "e", 1, generation=1)
    later = replace(first, since=2, generation=2)

    async def moves() -> list[list[str]]:
        found = []
        for move in (slots.ask(first), slots.ask(later), slots.leave(first), slots.leave(later)):
            await move
            found.append(await slots.holders("line"))
        return found

    assert await w.sim.inside(moves()) == [["e"], ["e"], ["e"], []]


async def test_a_cancelled_run_goes_on_only_when_there_is_a_slot_for_it(w: World) -> None:
    await w.register(step("a"), step("b", "a", takes=10), concurrency={})
    first, second = await w.start(), await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.cancel(first))
    await w.sim.advance(seconds=1)
    with pytest.raises(ConcurrencyLimit, match=second):
        await w.sim.inside(w.engine.retry(first))
    await w.end(second)
    await w.sim.run_until_idle()
    await w.sim.inside(w.engine.retry(first))
    third = await w.start()
    await w.sim.advance(seconds=1)
    assert await begun(w, [first, third]) == [first]
    assert (await w.end(third))["status"] == "completed"
    assert (await w.now(first))["status"] == "completed"
    assert await line_is_empty(w)


async def test_children_take_their_turn_like_everybody_else(w: World) -> None:
    await w.register(step("a", takes=10), id="inner", concurrency={})
    each = {"id": "each", "action": "map", "params": {"items": [1, 2, 3], "workflow": "inner"}}
    await w.register(each, id="outer")
    end = await w.end(await w.start(id="outer"))
    assert end["status"] == "completed"
    assert end["endTime"] - end["startTime"] == 30_000


# ── refusing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_execution_too_many_is_refused_at_its_start(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={**ONE, "policy": "reject"})
    first = await w.start({"customer": "x"}, execution_id="first")
    with pytest.raises(ConcurrencyLimit, match="1 at a time with the key 'x', and these are under way: first"):
        await w.start({"customer": "x"}, execution_id="second")
    assert not await w.sim.inside(w.engine.reading.exists("second"))
    assert await w.start({"customer": "x"}, execution_id="first") == first
    other = await w.start({"customer": "y"})
    assert (await w.end(first))["status"] == (await w.end(other))["status"] == "completed"
    await w.sim.run_until_idle()
    assert (await w.end(await w.start({"customer": "x"}, execution_id="second")))["status"] == "completed"
    again = await w.start({"customer": "x"}, execution_id="second", on_conflict="restart")
    with pytest.raises(ConcurrencyLimit):
        await w.start({"customer": "x"}, execution_id="first", on_conflict="restart")
    assert (await w.end(again))["status"] == "completed"
    await w.sim.run_until_idle()
    assert await line_is_empty(w)


async def test_of_many_that_start_at_once_so_many_are_accepted_as_there_are_slots(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={"limit": 3, "policy": "reject"})
    tries = [w.engine.start("flow", execution_id=f"e{n}") for n in range(10)]
    found = await w.sim.inside(_all(tries))
    accepted = [one for one in found if not isinstance(one, ConcurrencyLimit)]
    assert (len(accepted), len(found)) == (3, 10)
    assert [(await w.end(one.execution_id))["status"] for one in accepted] == ["completed"] * 3


async def _all(tries: list[Any]) -> list[Any]:
    return await asyncio.gather(*tries, return_exceptions=True)


async def test_a_start_that_comes_to_nothing_keeps_no_slot(w: World) -> None:
    await w.register(step("a"), concurrency={"policy": "reject"})
    with pytest.raises(ValueError, match="queue"):
        await w.start(queue="q" * 300)
    assert (await w.end(await w.start()))["status"] == "completed"


async def test_a_start_that_died_between_slot_and_run_keeps_the_slot_for_a_minute(w: World) -> None:
    await w.register(step("a"), concurrency={"policy": "reject"})
    line = (await w.sim.inside(w.engine.start("flow"))).execution_id
    await w.end(line)
    await w.sim.run_until_idle()
    [row] = await w.sim.records.list(HOLDERS)
    now = await w.sim.records.now()
    await w.sim.records.put(HOLDERS, row.key, f'[["ghost", {now}, 1, true]]'.encode())
    with pytest.raises(ConcurrencyLimit, match="ghost"):
        await w.start()
    await w.sim.advance(seconds=61)
    assert (await w.end(await w.start()))["status"] == "completed"


async def test_who_cannot_be_refused_at_the_start_fails_when_it_begins(w: World) -> None:
    await w.register(step("a", takes=10), id="inner", concurrency={"policy": "reject"})
    call = {"id": "call", "action": "workflow.run", "params": {"workflowId": "inner"}}
    policy = {"maxAttempts": 9, "initialDelay": 4000, "backoffMultiplier": 1}
    await w.register(call, id="once")
    await w.register({**call, "retryPolicy": {**policy, "retryOn": ["ConcurrencyLimit"]}}, id="patient")
    await w.start(id="inner")
    later = await w.start(id="inner", delay=5)
    patient = await w.start(id="patient")
    once = await w.end(await w.start(id="once"))
    assert once["stepResults"]["call"]["errorDetail"]["name"] == "ConcurrencyLimit"
    end = await w.end(later)
    assert (end["status"], end["error"].partition(":")[0]) == ("failed", "ConcurrencyLimit")
    assert (await w.end(patient))["status"] == "completed"
    with_slot = await w.start(id="inner")
    with pytest.raises(ConcurrencyLimit):
        await w.sim.inside(w.engine.retry(later))
    await w.end(with_slot)
    await w.sim.run_until_idle()
    await w.sim.inside(w.engine.retry(later))
    assert (await w.end(later))["status"] == "completed"


# ── displacing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_newest_execution_takes_the_place_of_the_oldest(w: World) -> None:
    await w.register(step("a", takes=10), concurrency={"limit": 2, "policy": "cancelOldest"})
    executions = []
    for _ in range(5):
        executions.append(await w.start())
        await w.sim.advance(seconds=1)
    ends = [await w.end(id) for id in executions]
    assert [end["status"] for end in ends] == ["cancelled"] * 3 + ["completed"] * 2
    assert ends[0]["cancelReason"] == f"execution {executions[2]} has taken its place"
    await w.sim.run_until_idle()
    assert await line_is_empty(w)


async def test_of_many_that_come_at_once_the_newest_is_left(w: World) -> None:
    await w.register(step("a", takes=3), concurrency={"policy": "cancelOldest"})
    executions = [await w.start() for _ in range(6)]
    ends = [(await w.end(id))["status"] for id in executions]
    assert sorted(ends) == ["cancelled"] * 5 + ["completed"]
    await w.sim.run_until_idle()
    assert await line_is_empty(w)


async def test_a_run_that_is_displaced_cleans_up_before_the_next_begins(w: World) -> None:
    """Its slot is free when its clean-up is done, and whoever waits for that may be displaced in turn."""
    cleanup = {**step("tidy", takes=8), "dependencies": [{"step": "a", "on": "done"}], "join": "done"}
    await w.register(step("a", takes=30), cleanup, concurrency={"policy": "cancelOldest"})
    executions = []
    for _ in range(3):
        executions.append(await w.start())
        await w.sim.advance(seconds=2)
    ends = [(await w.end(id))["status"] for id in executions]
    assert ends == ["cancelled", "cancelled", "completed"]


# ── the definition ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("concurrency", "path", "code"),
    [
        (3, "/concurrency", "invalid_type"),
        ({"limit": 0}, "/concurrency/limit", "limit_exceeded"),
        ({"limit": 1.5}, "/concurrency/limit", "invalid_type"),
        ({"policy": "wait"}, "/concurrency/policy", "invalid_type"),
        ({"key": 1}, "/concurrency/key", "invalid_type"),
        ({"key": "${{ contxt.a }}"}, "/concurrency/key", "reference_unknown"),
        ({"key": "${{ context.a"}, "/concurrency/key", "template_syntax"),
        ({"key": "${{ context.a + 1 }}"}, "/concurrency/key", "template_syntax"),
        ({"key": "${{ secrets.A }}"}, "/concurrency/key", "reference_unknown"),
        ({"key": "${{ execution.startTime }}"}, "/concurrency/key", "reference_unknown"),
        ({"key": "${{ context.a }} ${{ context.s.x }}"}, "/concurrency/key", "reference_not_upstream"),
    ],
)
async def test_what_is_no_concurrency_is_told(concurrency: Any, path: str, code: str) -> None:
    found = await Engine(js=Literals()).validate({"id": "f", "steps": [{"id": "s"}], "concurrency": concurrency})
    assert [(one.path, one.code) for one in found.errors] == [(path, code)]


async def test_a_key_that_the_context_does_not_give_is_told_at_the_start(w: World) -> None:
    await w.register(step("a"), concurrency=ONE)
    with pytest.raises(InvalidContext, match="leads nowhere"):
        await w.start({})
    await w.register(step("a"), concurrency={"key": "${{ workflow.id }}/${{ context.n }}/${{ execution.id }}"})
    assert (await w.end(await w.start({"n": [1, {"a": 2}]})))["status"] == "completed"


def test_a_refusal_is_a_conflict() -> None:
    assert issubclass(ConcurrencyLimit, ExecutionConflict)
    found = problem_of(ConcurrencyLimit("1 at a time"))
    assert found is not None
    assert (found.status, found.code) == (409, "concurrency_limit")


async def test_an_end_by_the_engine_gives_the_slot_back_at_once(w: World) -> None:
    await w.register(step("a", takes=100), concurrency={})
    first, second = await w.start(), await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.terminate(first))
    await w.sim.advance(seconds=1)
    assert await begun(w, [second]) == [second]


# ── whatever strikes ─────────────────────────────────────────────────────────────────────────────────────────────────

engine = Engine(js=Literals())


@engine.executor("pace")
async def pace(params: dict[str, Any]) -> None:
    await asyncio.sleep(params["takes"])


def paced(takes: int, **concurrency: Any) -> dict[str, Any]:
    def one(id: str, *after: str) -> dict[str, Any]:
        return {"id": id, "action": "pace", "params": {"takes": takes}, "dependencies": list(after)}

    return {"id": "paced", "steps": [one("a"), one("b", "a")], "concurrency": {**ONE, **concurrency}}


def most_at_once(sim: Sim, executions: Collection[str]) -> int:
    """The most of them that had steps under way together: from a slot to the last step's end, by the order of commits.

    The store's clock may be set back, and a worker that stood still may carry out what has been done since: neither is
    what this is about.
    """
    marks: list[tuple[int, int]] = []
    for id in executions:
        found: list[list[int]] = []
        for place, entry in settlements(sim, id):
            name = entry.call.split("/")[-1].partition("#")[0]
            if name == "slot:" and json.loads(entry.payload)["held"]:
                found.append([place, place])
            elif name in ("a", "b"):
                found[-1][1] = place
        marks += [mark for begin, end in found for mark in ((begin, 1), (end, -1))]
    most = now = 0
    for _, change in sorted(marks):
        now += change
        most = max(most, now)
    return most


def settlements(sim: Sim, id: str) -> list[tuple[int, Settled]]:
    """(place in the order of all things, entry) of what was written in a run's journal, as it came to stand there."""
    found: dict[int, tuple[int, Settled]] = {}
    for event in sim.world.trace.of("effect"):
        if event.data["method"] != "commit":
            continue
        for commit, done in zip(event.data["asked"][0], event.data["answer"], strict=True):
            if commit.run != id or done.at == 0.0:
                continue
            for number, data in enumerate(commit.append):
                entry = decode_entry(data)
                if isinstance(entry, Settled) and entry.ok:
                    found.setdefault(commit.position + number, (event.seq, entry))
    return list(found.values())


async def crowd(sim: Sim) -> None:
    """Some executions of a few customers, at odd moments; a few of them are cancelled or terminated."""
    dice = Random(zlib.crc32(str(sim.world.schedule).encode()))
    limit, takes = dice.choice((1, 1, 2)), dice.choice((0, 1, 4))
    engine.bind(sim)
    policy = dice.choice(("queue", "queue", "cancelOldest"))
    await engine.register_workflow(paced(takes, limit=limit, policy=policy))
    customers: dict[str, str] = {}
    for number in range(dice.randint(2, 6)):
        customer = dice.choice("xy")
        id = (await engine.start("paced", {"customer": customer}, execution_id=f"e{number}")).execution_id
        customers[id] = customer
        if dice.random() < 0.5:
            await asyncio.sleep(dice.choice((0, 1, 3)))
        if dice.random() < 0.15:
            victim = dice.choice(list(customers))
            try:
                await (sim.handle(victim).terminate() if dice.random() < 0.5 else engine.cancel(victim))
            except Exception as ended:
                assert "has ended" in str(ended) or "completed" in str(ended)
    for id in customers:
        assert (await engine.result(id))["status"] in ("completed", "cancelled")
    for customer in "xy":
        assert most_at_once(sim, [id for id, whose in customers.items() if whose == customer]) <= limit


@pytest.mark.slow
async def test_whatever_strikes_no_more_than_the_limit_are_under_way_and_everybody_gets_through() -> None:
    await explore(crowd, workflows=engine.workflows, examples=60)


async def pair(sim: Sim) -> None:
    """Two executions for one slot."""
    engine.bind(sim)
    await engine.register_workflow(paced(1))
    for number in range(2):
        await engine.start("paced", {"customer": "x"}, execution_id=f"e{number}")
    for number in range(2):
        assert (await engine.result(f"e{number}"))["status"] == "completed"
    assert most_at_once(sim, ["e0", "e1"]) == 1


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_a_slot_survives_a_crash_at_every_operation_of_the_store() -> None:
    faults = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
    tried = await crash_everywhere(pair, workflows=engine.workflows, faults=faults)
    assert tried.trials == 2 * tried.operations


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_strikes_for_a_night(seed: int) -> None:
    await explore(crowd, workflows=engine.workflows, examples=3000, seed=seed)
