"""Every value at every door: it comes back as it was, or is refused with a typed error, alike on every store (I30).

Carried values are looked at twice: when they came through, and in the replay of another worker with another client.
"""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from durable import Client, Completion, Context, Handle, Signal, connect, workflow
from durable.errors import RunFailed
from tests.input import hostile_doors as doors
from tests.input.hostile_doors import HELD, INSIDE, SEEN, Refused
from tests.input.hostile_values import CARRIED, KINDS, ROWS, Row, alike
from tests.input.tally import TRIED

CASES = [(row, True) for row in ROWS if row.kind is not None] + [(row, False) for row in ROWS]


SAMPLED = {"inline-result": 4, "thread-result": 4}
"""Doors that lead into the same corridor as the others: every so manieth value is tried there."""


@pytest.fixture(scope="module", autouse=True)
def _values() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL)  # of thousands of refusals
    HELD.update({row.id: row.make() for row in ROWS})
    yield
    HELD.clear()
    SEEN.clear()
    logging.getLogger("durable").setLevel(logging.NOTSET)


def name_of(row: Row, declared: bool) -> str:
    return f"{row.id} {'declared' if declared else 'plain'}"


def misjudged(row: Row, verdict: type[Exception] | None, out: Any) -> str | None:
    """What is wrong with what came out of a door; None if nothing is."""
    if isinstance(out, Refused):
        if verdict is CARRIED:
            return f"refused: {out.kind.__name__}: {out.text[:200]}"
        if out.kind is not verdict:
            return f"{out.kind.__name__} for {verdict.__name__}: {out.text[:200]}"
        return None if len(out.text) < 2_000 else f"a message of {len(out.text)} characters"
    if verdict is not CARRIED:
        return f"let in: {type(out).__name__}"
    return None if alike(out, HELD[row.id]) else f"came out as {type(out).__name__}"


async def settled(rig: Any, client: Client, handles: dict[str, Handle[Any]]) -> None:
    """Until every run has come by, and come to rest."""

    async def rest() -> bool:
        if not all(SEEN[handle.id] for handle in handles.values()):
            return False
        return await client.count(status=["pending", "running"]) == 0

    await rig.until(rest, 30)


async def judged_twice(
    rig: Any, handles: dict[str, Handle[Any]], workflows: list[Any], verdicts: dict[str, Any]
) -> dict[str, str]:
    """What is wrong with what the runs saw, at first and in another worker's replay; they are told to go on there."""
    wrong: dict[str, str] = {}
    first = {name: len(SEEN[handle.id]) for name, handle in handles.items()}
    async with connect(rig.url) as other, rig.worker(other, *workflows):
        for handle in handles.values():
            await other.signal(handle.id, "go")
        for name, handle in handles.items():
            assert await other.handle(handle.id).result(timeout=30) == "passed", name
            outs = SEEN[handle.id]
            row, verdict = verdicts[name]
            faults = [fault for out in outs if (fault := misjudged(row, verdict, out)) is not None]
            if len(outs) <= first[name]:
                faults.append("not seen in replay")
            if faults:
                wrong[name] = faults[0]
    return wrong


@pytest.mark.parametrize("door", INSIDE)
async def test_a_value_handed_over_in_a_workflow_is_carried_or_refused_where_it_is_handed_over(
    rig: Any, door: str
) -> None:
    make, declares, takes_arguments = INSIDE[door]
    by_kind = {doors.number_of(kind): make(kind) for kind in ([*KINDS, Any] if declares else [Any])}
    workflows = [wf for made in by_kind.values() for wf in made]
    cases = [(row, declared) for row, declared in CASES if declares or not declared][:: SAMPLED.get(door, 1)]
    verdicts = {
        name_of(row, declared): (row, row.verdict(declared=declared, argument=takes_arguments))
        for row, declared in cases
    }
    async with connect(rig.url) as client:
        async with rig.worker(client, *workflows):
            handles = {
                name_of(row, declared): await client.start(
                    by_kind[doors.number_of(row.kind if declared else Any)][0], row.id
                )
                for row, declared in cases
            }
            await settled(rig, client, handles)
            if door == "published":
                await look_from_outside(handles, verdicts)
        wrong = await judged_twice(rig, handles, workflows, verdicts)
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(verdicts)


async def look_from_outside(handles: dict[str, Handle[Any]], verdicts: dict[str, Any]) -> None:
    """What was published is what anybody reads."""
    for name, handle in handles.items():
        row, verdict = verdicts[name]
        values = await handle.values()
        if verdict is not CARRIED:
            assert values == {}, name
            continue
        assert alike(values["key"], HELD[row.id]), name
        async for item in handle.stream("items"):
            assert alike(item, HELD[row.id]), name
            break


async def test_an_input_is_carried_or_refused_at_the_start_and_a_refused_one_leaves_nothing(rig: Any) -> None:
    by_kind = {doors.number_of(kind): doors.input(kind)[0] for kind in [*KINDS, Any]}
    handles, verdicts, wrong = {}, {}, {}
    async with connect(rig.url) as client:
        async with rig.worker(client, *by_kind.values()):
            for row, declared in CASES:
                name, verdict = name_of(row, declared), row.verdict(declared=declared, argument=True)
                target = by_kind[doors.number_of(row.kind if declared else Any)]
                before = await client.count()
                try:
                    handles[name] = await client.start(target, HELD[row.id])
                except Exception as error:
                    fault = misjudged(row, verdict, Refused(error))
                    if fault is None and await client.count() != before:
                        fault = "something was written"
                    if fault is not None:
                        wrong[name] = fault
                    continue
                verdicts[name] = (row, verdict)
            await settled(rig, client, handles)
        wrong.update(await judged_twice(rig, handles, list(by_kind.values()), verdicts))
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(CASES)


async def test_an_input_by_name_is_json_or_refused(rig: Any) -> None:
    (taking,) = doors.input(Any)
    handles, verdicts, wrong = {}, {}, {}
    async with connect(rig.url) as client:
        async with rig.worker(client, taking), connect(rig.url) as stranger:
            for row in ROWS:
                try:
                    handles[row.id] = client.handle((await stranger.start(taking.name, HELD[row.id])).id)
                    verdicts[row.id] = (row, row.plain)
                except Exception as error:
                    fault = misjudged(row, row.plain, Refused(error))
                    if fault is not None:
                        wrong[row.id] = fault
            await settled(rig, client, handles)
        wrong.update(await judged_twice(rig, handles, [taking], verdicts))
        assert await client.count() == len(handles)
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(ROWS)


async def test_a_signal_from_outside_is_carried_or_refused_at_the_call(rig: Any) -> None:
    by_kind = {doors.number_of(kind): (doors.signal_outside(kind)[0], Signal("said", kind)) for kind in [*KINDS, Any]}
    workflows = [wf for wf, _ in by_kind.values()]
    handles, verdicts, wrong = {}, {}, {}
    async with connect(rig.url) as client:
        async with rig.worker(client, *workflows):
            for row, declared in CASES:
                name, verdict = name_of(row, declared), row.verdict(declared=declared, argument=False)
                wf, said = by_kind[doors.number_of(row.kind if declared else Any)]
                handle = await client.start(wf, row.id)
                try:
                    await handle.signal(said, HELD[row.id])
                except Exception as error:
                    fault = misjudged(row, verdict, Refused(error))
                    if fault is not None:
                        wrong[name] = fault
                    if await client.store.messages(handle.id):
                        wrong[name] = "something was written"
                    await handle.terminate()
                    continue
                handles[name], verdicts[name] = handle, (row, verdict)
            await settled(rig, client, handles)
        wrong.update(await judged_twice(rig, handles, workflows, verdicts))
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(CASES)


async def test_the_result_of_a_run_is_carried_or_fails_the_run_once(rig: Any) -> None:
    by_kind = {doors.number_of(kind): doors.result(kind)[0] for kind in [*KINDS, Any]}
    wrong: dict[str, str] = {}
    async with rig.serving(*by_kind.values()) as client, connect(rig.url) as other:
        handles = {}
        for row, declared in CASES:
            handle = await client.start(by_kind[doors.number_of(row.kind if declared else Any)], row.id)
            await handle.signal("go")
            handles[name_of(row, declared)] = (row, row.verdict(declared=declared, argument=False), handle)
        for name, (row, verdict, handle) in handles.items():
            for reader in (handle, other.handle(handle.id)):
                out: Any
                try:
                    out = await reader.result(timeout=30)
                    if reader is not handle:
                        continue  # without the workflow at hand it is read as JSON
                except RunFailed as failed:
                    assert isinstance(failed.__cause__, Exception)
                    out = Refused(failed.__cause__)
                fault = misjudged(row, verdict, out)
                if fault is not None:
                    wrong[name] = fault
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(handles)


async def test_what_is_handed_to_on_complete_is_json_or_refused_at_the_start(rig: Any) -> None:
    got: dict[str, Any] = {}

    @workflow
    async def ending(ctx: Context) -> None: ...

    @workflow
    async def after(ctx: Context, completion: Completion) -> None:
        got[completion.run_id] = completion.context

    wrong: dict[str, str] = {}
    started: dict[str, Row] = {}
    async with rig.serving(ending, after) as client:
        for row in ROWS:
            try:
                handle = await client.start(ending, on_complete=after, on_complete_context=HELD[row.id])
                started[handle.id] = row
            except Exception as error:
                fault = misjudged(row, row.plain, Refused(error))
                if fault is not None:
                    wrong[row.id] = fault
        await rig.until(lambda: len(got) == len(started), 30)
        for id, row in started.items():
            fault = misjudged(row, row.plain, got[id])
            if fault is not None:
                wrong[row.id] = fault
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    TRIED["values at doors"] += len(ROWS)
