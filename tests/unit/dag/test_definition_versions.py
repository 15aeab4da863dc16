"""Definitions in the store: versions, lists, and what may be done to them."""

from __future__ import annotations

import pytest

from durable_dag import VersionConflict, WorkflowDisabled, WorkflowInUse, WorkflowNotFound
from tests.unit.dag.support import World, step, world


@pytest.fixture
async def w():
    async with world() as made:
        yield made


def flow(n: int, id: str = "flow") -> dict[str, object]:
    return {"id": id, "steps": [step("a", result=n)]}


async def test_each_new_content_is_a_version_and_the_same_one_is_none(w: World) -> None:
    done = [await w.sim.inside(w.engine.register_workflow(flow(n))) for n in (1, 1, 2, 1)]
    assert [(one.version, one.created) for one in done] == [(1, True), (1, False), (2, True), (3, True)]
    assert done[0].digest == done[3].digest != done[2].digest
    assert (await w.sim.inside(w.engine.get_workflow("flow", 2))).document == flow(2)
    assert (await w.sim.inside(w.engine.get_workflow("flow"))).version == 3


async def test_the_order_of_members_makes_no_version_and_is_kept(w: World) -> None:
    first = {"steps": [step("a")], "id": "flow", "name": "n"}
    await w.sim.inside(w.engine.register_workflow(first))
    again = await w.sim.inside(w.engine.register_workflow({"id": "flow", "name": "n", "steps": [step("a")]}))
    assert not again.created
    assert list((await w.sim.inside(w.engine.get_workflow("flow"))).document) == ["steps", "id", "name"]


async def test_who_believes_another_version_to_be_the_newest_is_refused(w: World) -> None:
    await w.sim.inside(w.engine.register_workflow(flow(1), if_match=0))
    with pytest.raises(VersionConflict, match="is 1, not 0"):
        await w.sim.inside(w.engine.register_workflow(flow(2), if_match=0))
    await w.sim.inside(w.engine.register_workflow(flow(2), if_match=1))


async def test_what_is_disabled_takes_no_start_but_its_runs_go_on(w: World) -> None:
    await w.register(step("a", takes=5, result=1))
    execution = await w.start()
    await w.sim.inside(w.engine.enable_workflow("flow", False))
    with pytest.raises(WorkflowDisabled):
        await w.start()
    assert (await w.end(execution))["status"] == "completed"
    await w.sim.inside(w.engine.enable_workflow("flow", True))
    await w.end(await w.start())


async def test_what_is_live_is_not_deleted_unless_somebody_insists(w: World) -> None:
    await w.register(step("a", takes=5))
    execution = await w.start()
    with pytest.raises(WorkflowInUse):
        await w.sim.inside(w.engine.delete_workflow("flow"))
    await w.end(execution)
    await w.sim.inside(w.engine.delete_workflow("flow"))
    with pytest.raises(WorkflowNotFound):
        await w.start()
    assert (await w.now(execution))["completedSteps"] == ["a"]
    again = await w.sim.inside(w.engine.register_workflow(flow(1)))
    assert (again.version, again.created) == (2, True)


async def test_definitions_are_listed_in_pages(w: World) -> None:
    for n in range(5):
        await w.sim.inside(w.engine.register_workflow(flow(n, f"w{n}")))
    await w.sim.inside(w.engine.delete_workflow("w1"))
    listed = await w.sim.inside(w.engine.versions.list(limit=2))
    assert [head.id for head in listed] == ["w0", "w2"]
    listed = await w.sim.inside(w.engine.versions.list(after="w2"))
    assert [(head.id, head.latest, head.enabled) for head in listed] == [("w3", 1, True), ("w4", 1, True)]


async def test_a_version_that_is_not_there_is_told(w: World) -> None:
    await w.register(step("a"))
    with pytest.raises(WorkflowNotFound, match="no version 7; the newest is 1"):
        await w.start(version=7)


async def test_executions_are_listed_by_workflow_status_and_tag(w: World) -> None:
    await w.register(step("a"))
    await w.register(step("a", failures=1), id="bad")
    good = await w.start(tags={"customer": "c1"})
    bad = await w.start(id="bad")
    for execution in (good, bad):
        await w.end(execution)
    reading = w.engine.reading
    everything, _ = await w.sim.inside(reading.list())
    assert {one["executionId"] for one in everything} == {good, bad}
    for found, expected in (
        (reading.list(workflow_id="bad"), bad),
        (reading.list(status=["failed"]), bad),
        (reading.list(status=["running", "completed"]), good),
        (reading.list(tags={"customer": "c1"}), good),
    ):
        rows, cursor = await w.sim.inside(found)
        assert ([one["executionId"] for one in rows], cursor) == ([expected], None)
    assert await w.sim.inside(reading.count(status=["failed"])) == 1
    assert next(one for one in everything if one["executionId"] == good)["tags"] == {"customer": "c1"}
