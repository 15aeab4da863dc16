"""Doing executions again: retries keep what has succeeded, forks take it over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable.errors import InvalidInput
from durable_dag import ExecutionConflict, InvalidContext
from tests.unit.dag.support import statuses, step, world


class Flaky:
    """Steps that fail until they are mended, and how often each was done."""

    def __init__(self) -> None:
        self.broken = {"bad", "worse"}
        self.done: dict[str, int] = {}
        self.keys: dict[str, set[str]] = {}

    async def __call__(self, params: dict[str, Any], context: dict[str, Any], one: Any) -> Any:
        self.done[one.id] = self.done.get(one.id, 0) + 1
        self.keys.setdefault(one.id, set()).add(one.idempotency_key)
        if one.id in self.broken:
            raise ValueError(f"{one.id} is broken")
        return context.get("word", one.id)


def flaky(id: str, *dependencies: Any) -> dict[str, Any]:
    return {"id": id, "action": "flaky", "dependencies": list(dependencies)}


@pytest.fixture
async def w():
    async with world() as made:
        made.flaky = Flaky()  # type: ignore[attr-defined]
        made.engine.register_executor("flaky", made.flaky)  # type: ignore[attr-defined]
        yield made


GRAPH = (
    flaky("a"),
    flaky("bad", "a"),
    flaky("after", "bad"),
    {**flaky("slow"), "dependencies": ["wait"]},
    {"id": "wait", "action": "delay", "params": {"duration": 5000}},
    flaky("worse", "slow"),
    flaky("end", "after", "worse"),
)


async def test_a_retry_does_again_what_failed_and_what_was_skipped_and_nothing_else(w: Any) -> None:
    execution = await w.run(*GRAPH)
    assert (execution["status"], execution["failedSteps"]) == ("failed", ["bad", "worse"])
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(execution["executionId"]))
    end = await w.end(execution["executionId"])
    assert end["status"] == "completed"
    assert set(statuses(end).values()) == {"success"}
    assert w.flaky.done == {"a": 1, "bad": 2, "after": 1, "slow": 1, "worse": 2, "end": 1}


async def test_every_attempt_in_every_retry_has_the_same_key(w: Any) -> None:
    execution = await w.run(*GRAPH)
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(execution["executionId"]))
    await w.end(execution["executionId"])
    assert w.flaky.keys["bad"] == {f"{execution['executionId']}:bad"}


async def test_an_execution_can_be_retried_until_it_succeeds(w: Any) -> None:
    execution = (await w.run(*GRAPH))["executionId"]
    w.flaky.broken = {"worse"}
    await w.sim.inside(w.engine.retry(execution))
    assert (await w.end(execution))["failedSteps"] == ["worse"]
    w.flaky.broken = set()
    await w.sim.inside(w.engine.retry(execution))
    assert (await w.end(execution))["status"] == "completed"
    assert (w.flaky.done["bad"], w.flaky.done["worse"], w.flaky.done["a"]) == (2, 3, 1)


async def test_a_retry_may_change_the_context(w: Any) -> None:
    execution = (await w.run(*GRAPH))["executionId"]
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(execution, context={"word": "new"}))
    end = await w.end(execution)
    assert (end["stepResults"]["a"]["result"], end["stepResults"]["bad"]["result"]) == ("a", "new")
    assert end["context"]["word"] == "new"


async def test_a_retry_from_named_steps_does_what_depends_on_them_too(w: Any) -> None:
    execution = (await w.run(*GRAPH))["executionId"]
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(execution, steps=["slow", "bad"]))
    assert (await w.end(execution))["status"] == "completed"
    assert w.flaky.done == {"a": 1, "bad": 2, "after": 1, "slow": 2, "worse": 2, "end": 1}


async def test_a_cancelled_execution_goes_on_where_it_stood(w: Any) -> None:
    await w.register(*GRAPH)
    w.flaky.broken.clear()
    execution = await w.start()
    await w.sim.advance(seconds=2)
    await w.sim.inside(w.engine.cancel(execution))
    assert (await w.end(execution))["status"] == "cancelled"
    await w.sim.inside(w.engine.retry(execution))
    assert (await w.end(execution))["status"] == "completed"
    assert w.flaky.done["a"] == 1


async def test_an_execution_whose_time_was_over_gets_its_time_again(w: Any) -> None:
    await w.register(step("a"), step("slow", "a", takes=4), step("slower", "slow", takes=4), timeout=6000)
    execution = await w.start()
    assert (await w.end(execution))["status"] == "failed"
    await w.sim.inside(w.engine.retry(execution))
    end = await w.end(execution)
    assert (end["status"], end["completedSteps"]) == ("completed", ["a", "slow", "slower"])


async def test_what_has_completed_or_is_live_is_not_retried(w: Any) -> None:
    done = await w.run(step("a"))
    with pytest.raises(ExecutionConflict, match="fork"):
        await w.sim.inside(w.engine.retry(done["executionId"]))
    await w.register(step("a", takes=50), id="long")
    with pytest.raises(ExecutionConflict, match="ended"):
        await w.sim.inside(w.engine.retry(await w.start(id="long")))


async def test_a_retry_of_an_unknown_step_is_refused_with_a_hint(w: Any) -> None:
    execution = await w.run(*GRAPH)
    with pytest.raises(InvalidInput, match="Did you mean 'worse'"):
        await w.sim.inside(w.engine.retry(execution["executionId"], steps=["wors"]))


async def test_a_fork_takes_over_what_comes_before_and_does_the_rest(w: Any) -> None:
    w.flaky.broken.clear()
    execution = (await w.run(*GRAPH))["executionId"]
    fork = await w.sim.inside(w.engine.fork(execution, step="bad", context={"word": "new"}))
    end = await w.end(fork.execution_id)
    assert end["status"] == "completed"
    assert w.flaky.done == {"a": 1, "bad": 2, "after": 2, "slow": 1, "worse": 1, "end": 2}
    assert (end["context"]["a"], end["context"]["bad"]) == ("a", "new")
    assert (await w.now(execution))["context"]["bad"] == "bad"


async def test_a_fork_may_go_to_another_version(w: Any) -> None:
    w.flaky.broken.clear()
    execution = (await w.run(flaky("a"), flaky("b", "a")))["executionId"]
    await w.register(flaky("a"), flaky("b", "a"), flaky("c", "b"))
    fork = await w.sim.inside(w.engine.fork(execution, step="b", version=2))
    end = await w.end(fork.execution_id)
    assert (fork.version, end["completedSteps"], w.flaky.done["a"]) == (2, ["a", "b", "c"], 1)


async def test_a_retry_of_a_retry_is_shown_as_it_was(w: Any) -> None:
    """The view reads the rounds back from the journal."""
    execution = (await w.run(*GRAPH))["executionId"]
    await w.sim.inside(w.engine.retry(execution))
    shown = await w.end(execution)
    assert shown["failedSteps"] == ["bad", "worse"]
    assert w.flaky.done["bad"] == 2


async def test_of_two_retries_at_once_only_the_one_that_is_granted_says_what_is_done_again(w: Any) -> None:
    """A refused retry that named a step which had succeeded made it run once more."""
    execution = await w.run(flaky("paid"), flaky("bad", "paid"))
    id = execution["executionId"]

    async def both() -> list[Any]:
        asked = [w.engine.retry(id), w.engine.retry(id, steps=["paid"])]
        return await asyncio.gather(*asked, return_exceptions=True)

    w.flaky.broken.clear()
    granted, refused = await w.sim.inside(both())
    assert granted is None
    assert isinstance(refused, ExecutionConflict)
    assert (await w.end(id))["status"] == "completed"
    assert w.flaky.done == {"paid": 1, "bad": 2}


async def test_a_retry_whose_process_died_in_the_middle_hinders_others_for_half_a_minute_only(w: Any) -> None:
    execution = await w.run(flaky("bad"))
    id = execution["executionId"]
    await w.sim.inside(w.sim.records.put("dag.retrying", id, b"{}", expect=0, keep=30.0))
    with pytest.raises(ExecutionConflict, match="by somebody else"):
        await w.sim.inside(w.engine.retry(id))
    await w.sim.advance(seconds=31)
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(id))
    assert (await w.end(id))["status"] == "completed"


@pytest.mark.parametrize("context", [{"word": 5}, {"bad": "forged"}])
async def test_a_retry_may_say_nothing_in_its_context_that_a_start_may_not(w: Any, context: Any) -> None:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}}
    execution = await w.run(flaky("bad"), inputSchema=schema, context={"word": "old"})
    with pytest.raises(InvalidContext):
        await w.sim.inside(w.engine.retry(execution["executionId"], context=context))
    assert (await w.now(execution["executionId"]))["status"] == "failed"
    w.flaky.broken.clear()
    await w.sim.inside(w.engine.retry(execution["executionId"], context={"word": "new"}))
    assert (await w.end(execution["executionId"]))["stepResults"]["bad"]["result"] == "new"
