"""What code as it is now would do to the open runs of a store, told without doing it."""

import asyncio
from typing import Any

import pytest

from durable import Context, Signal, connect, step, workflow
from durable._author.registry import Registry
from durable._engine.survey import Survey
from durable.clock import SystemClock
from durable.codec import Codec
from durable.store import RunId, RunQuery
from durable_testing import Fit, Rehearsal, replay_all

effects: list[str] = []


@pytest.fixture(autouse=True)
def no_effects_yet() -> None:
    effects.clear()


@step
async def charge(order: str) -> str:
    effects.append(f"charge {order}")
    return f"charged {order}"


@step
async def check_fraud(order: str) -> bool:
    effects.append("fraud")
    return True


@step
async def ship(order: str) -> str:
    effects.append("ship")
    return "shipped"


@workflow("buy")
async def buy(ctx: Context, order: str) -> str:
    await ctx.step(charge, order)
    await ctx.wait_for_signal("go")
    return await ctx.step(ship, order)


async def facts_of(client: Any) -> Any:
    """What a write would change: the rows (each worker write raises an epoch or a position), and the figures."""
    return (await client.store.list(RunQuery())).runs, dict(await client.store.stats())


async def with_old_code(rig: Any, *started: tuple[str, Any, Any]) -> None:
    """Each run brought to its wait for ``go``."""
    async with connect(rig.url) as client, rig.worker(client, *dict.fromkeys(wf for _, wf, _ in started)):
        for run, wf, given in started:
            await rig.waits(await client.start(wf, given, id=run), "go")


async def told(rig: Any, *workflows: Any, **options: Any) -> dict[str, Rehearsal]:
    """The reports by run; that nothing was done to say them is asserted."""
    async with connect(rig.url) as client:
        before, done = await facts_of(client), list(effects)
        found = await replay_all(client, workflows, **options)
        after = await facts_of(client)
        assert before == after
        assert effects == done
        return {report.run: report for report in found}


async def test_the_same_code_leaves_every_run_unchanged(rig: Any) -> None:
    await with_old_code(rig, ("a", buy, "1"), ("b", buy, "2"))
    found = await told(rig, buy)
    assert [(r.run, r.fit, r.entries, r.in_motion) for r in found.values()] == [
        ("b", Fit.UNCHANGED, 1, False),
        ("a", Fit.UNCHANGED, 1, False),
    ]
    assert all(report.gains == report.drops == () and report.reason == "" for report in found.values())


async def test_a_call_in_front_conflicts_with_the_report_that_the_worker_gives(rig: Any) -> None:
    @workflow("buy")
    async def edited(ctx: Context, order: str) -> str:
        await ctx.step(check_fraud, order)
        await ctx.step(charge, order)
        await ctx.wait_for_signal("go")
        return "new"

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, edited))["a"]
    assert (report.fit, report.position, report.kind) == (Fit.CONFLICT, 0, "non_determinism")
    assert report.place.startswith("test_replay_all.py:")
    assert report.line == "await ctx.step(check_fraud, order)"
    async with connect(rig.url) as client, rig.worker(client, edited):
        await client.signal("a", "go")
        status = await rig.state(client.handle("a"), "blocked")
    assert status.error == report.reason
    # ... and a blocked run is looked at, too: the old code can go on with it.
    assert (await told(rig, buy))["a"].fit is Fit.UNCHANGED
    assert (await told(rig, edited))["a"].fit is Fit.CONFLICT


async def test_other_arguments_conflict_at_the_line_of_the_call(rig: Any) -> None:
    @workflow("buy")
    async def edited(ctx: Context, order: str) -> str:
        await ctx.step(charge, order + "!")
        return await ctx.wait_for_signal("go")

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, edited))["a"]
    assert (report.fit, report.position, report.line) == (Fit.CONFLICT, 0, 'await ctx.step(charge, order + "!")')
    assert "with other arguments" in report.reason


async def test_code_that_has_ended_conflicts_without_a_line(rig: Any) -> None:
    @workflow("buy")
    async def edited(ctx: Context, order: str) -> str:
        return "at once"

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, edited))["a"]
    assert (report.fit, report.position, report.place) == (Fit.CONFLICT, 0, "")
    assert "has ended" in report.reason


async def test_a_call_beside_the_wait_is_gained_and_one_instead_of_it_drops_it(rig: Any) -> None:
    @workflow("buy")
    async def beside(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        await asyncio.gather(ctx.wait_for_signal("go"), ctx.step(check_fraud, order), ctx.sleep("reminder", "1d"))
        return "new"

    @workflow("buy")
    async def instead(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        return await ctx.step(ship, order)

    @workflow("buy")
    async def shorter(ctx: Context, order: str) -> str:
        return await ctx.step(charge, order)

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, beside))["a"]
    assert report.fit is Fit.GAINS
    assert [(call.kind, call.name) for call in report.gains] == [("step", "check_fraud"), ("timer", "reminder")]
    assert "asyncio.gather" in report.gains[0].line
    assert report.drops == ()
    report = (await told(rig, instead))["a"]
    assert (report.fit, [call.name for call in report.gains], report.drops) == (Fit.GAINS, ["ship"], ("signal go",))
    report = (await told(rig, shorter))["a"]
    assert (report.fit, report.gains, report.drops) == (Fit.DROPS, (), ("signal go",))


async def test_calls_behind_the_wait_are_not_gained_by_a_run_that_has_not_come_there(rig: Any) -> None:
    @workflow("buy")
    async def longer(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        await ctx.wait_for_signal("go")
        await ctx.step(check_fraud, order)
        return await ctx.step(ship, order)

    await with_old_code(rig, ("a", buy, "1"))
    assert (await told(rig, longer))["a"].fit is Fit.UNCHANGED


async def test_a_guarded_change_leaves_runs_of_before_unchanged(rig: Any) -> None:
    @workflow("buy")
    async def guarded(ctx: Context, order: str) -> str:
        if ctx.patched("fraud"):
            await ctx.step(check_fraud, order)
        await ctx.step(charge, order)
        await ctx.wait_for_signal("go")
        return "new"

    await with_old_code(rig, ("old", buy, "1"))
    await with_old_code(rig, ("new", guarded, "2"))
    found = await told(rig, guarded)
    assert {run: (r.fit, r.entries) for run, r in found.items()} == {
        "old": (Fit.UNCHANGED, 1),
        "new": (Fit.UNCHANGED, 3),
    }
    assert (await told(rig, buy))["new"].fit is Fit.CONFLICT


async def test_tolerant_code_gains_what_was_inserted_and_drops_what_was_taken_out(rig: Any) -> None:
    @workflow("job", replay="tolerant")
    async def before(ctx: Context, order: str) -> None:
        await ctx.step(charge, order)
        await ctx.step(check_fraud, order)
        await ctx.wait_for_signal("go")

    @workflow("job", replay="tolerant")
    async def inserted(ctx: Context, order: str) -> None:
        await ctx.step(charge, order)
        await ctx.step(ship, order)
        await ctx.step(check_fraud, order)
        await ctx.wait_for_signal("go")

    @workflow("job", replay="tolerant")
    async def removed(ctx: Context, order: str) -> None:
        await ctx.step(charge, order)
        await ctx.wait_for_signal("go")

    await with_old_code(rig, ("a", before, "1"))
    report = (await told(rig, inserted))["a"]
    assert (report.fit, [call.name for call in report.gains]) == (Fit.GAINS, ["ship"])
    assert report.gains[0].line == "await ctx.step(ship, order)"
    report = (await told(rig, removed))["a"]
    assert (report.fit, report.gains, report.drops) == (Fit.DROPS, (), ("step check_fraud",))
    assert (await told(rig, before))["a"].fit is Fit.UNCHANGED


async def test_runs_whose_code_is_not_there_are_told_apart(rig: Any) -> None:
    @workflow("buy", version="2")
    async def second(ctx: Context, order: str) -> str:
        return await ctx.wait_for_signal("go")

    await with_old_code(rig, ("one", buy, "1"), ("two", second, "2"))
    found = await told(rig, second)
    assert {run: (r.fit, r.version) for run, r in found.items()} == {
        "one": (Fit.NO_CODE, "1"),
        "two": (Fit.UNCHANGED, "2"),
    }
    assert found["one"].reason == "No workflow 'buy' version '1' was given."
    assert not found["one"].fit.goes_on


async def test_ended_runs_are_left_out_and_runs_that_have_not_begun_are_unchanged(rig: Any) -> None:
    async with connect(rig.url) as client, rig.worker(client, buy):
        handle = await client.start(buy, "1", id="ended")
        await handle.signal("go")
        assert await rig.end(handle) == "shipped"
    async with connect(rig.url) as client:
        await client.start(buy, "2", id="fresh")
        await client.start("buy", "3", id="named")
    found = await told(rig, buy)
    assert {run: (r.fit, r.in_motion) for run, r in found.items()} == {
        "fresh": (Fit.UNCHANGED, True),
        "named": (Fit.UNCHANGED, True),
    }
    assert found["named"].version == "1"  # the version that the first claim would pin


async def test_an_input_that_does_not_fit_any_more_is_unreadable(rig: Any) -> None:
    @workflow("buy")
    async def counted(ctx: Context, order: int) -> str:
        return await ctx.wait_for_signal("go")

    await with_old_code(rig, ("a", buy, "one"))
    report = (await told(rig, counted))["a"]
    assert (report.fit, report.kind, report.position) == (Fit.UNREADABLE, "payload", None)
    assert "'buy'" in report.reason


async def test_a_result_that_is_not_of_the_declared_type_is_unreadable_at_its_entry(rig: Any) -> None:
    @step(name="charge")
    async def charge_number(order: str) -> int:
        return 7

    @workflow("buy")
    async def numbered(ctx: Context, order: str) -> int:
        await ctx.step(charge_number, order)
        return await ctx.wait_for_signal("go", int)

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, numbered))["a"]
    assert (report.fit, report.kind, report.position) == (Fit.UNREADABLE, "payload", 0)
    assert "cannot be read by this code" in report.reason


class Reversed:
    """A payload hook; with the wrong key it raises."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def encode(self, data: bytes) -> bytes:
        return self.key + data[::-1]

    def decode(self, data: bytes) -> bytes:
        if not data.startswith(self.key):
            raise ValueError("wrong key")
        return data[len(self.key) :][::-1]


async def test_payloads_need_their_hook(memory: Any) -> None:
    @workflow
    async def quiet(ctx: Context) -> str:
        try:
            await ctx.step(charge, "1")
        except ValueError:
            pass  # a hook's error must not pass for one of the step
        return await ctx.wait_for_signal("go")

    async with connect(memory.url, codec=Reversed(b"k")) as client, memory.worker(client, quiet):
        await memory.waits(await client.start(quiet, id="a"), "go")
        assert [r.fit for r in await replay_all(client, [quiet])] == [Fit.UNCHANGED]
        assert [r.fit for r in await replay_all(client.store, [quiet], codec=Reversed(b"k"))] == [Fit.UNCHANGED]
        without = (await replay_all(client.store, [quiet]))[0]
        assert (without.fit, without.kind) == (Fit.UNREADABLE, "payload")
        wrong = (await replay_all(client.store, [quiet], codec=Reversed(b"w")))[0]
        assert (wrong.fit, wrong.reason[-10:]) == (Fit.UNREADABLE, " wrong key")


async def test_forbidden_code_conflicts_where_it_stands(rig: Any) -> None:
    @workflow("buy")
    async def prying(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        open("/etc/hostname").close()
        return "x"

    await with_old_code(rig, ("a", buy, "1"))
    report = (await told(rig, prying))["a"]
    assert (report.fit, report.kind, report.position) == (Fit.CONFLICT, "workflow_code", 0)
    assert report.line == 'open("/etc/hostname").close()'


async def test_a_run_in_motion_is_only_asked_for_conflicts(rig: Any) -> None:
    @step
    async def slow(order: str) -> None:
        effects.append("slow")
        await asyncio.sleep(60)

    @workflow("buy")
    async def before(ctx: Context, order: str) -> None:
        await ctx.step(charge, order)
        await ctx.step(slow, order)

    @workflow("buy")
    async def other(ctx: Context, order: str) -> None:
        await ctx.step(charge, order)
        await asyncio.gather(ctx.step(slow, order), ctx.step(ship, order))

    async with connect(rig.url) as client:
        worker = rig.worker(client, before)
        await worker._start()
        handle = await client.start(before, "1", id="a")
        await rig.until(lambda: "slow" in effects)
        report = (await replay_all(client, [other]))[0]  # nothing is noted of ``slow`` yet
        assert (report.fit, report.in_motion, report.status) == (Fit.UNCHANGED, True, "running")
        await rig.until(lambda: _noted(handle))  # a slow attempt leaves a note, and then the row tells of it
        report = (await replay_all(client, [other]))[0]
        assert (report.fit, report.in_motion) == (Fit.GAINS, False)
        assert [call.name for call in report.gains] == ["ship"]
        assert (await replay_all(client, [before]))[0].fit is Fit.UNCHANGED
        await rig.crash(worker)


async def _noted(handle: Any) -> bool:
    return any(entry.event == "attempt_begun" for entry in await handle.history())


async def test_live_workers_go_on_while_their_runs_are_looked_at(rig: Any) -> None:
    @workflow("count")
    async def count(ctx: Context, start: int) -> int:
        for number in range(10):
            await ctx.step(charge, str(number))
        if start < 30:
            raise ctx.continue_as(count, start + 10)
        return start

    async with connect(rig.url) as client, rig.worker(client, count):
        handles = [await client.start(count, 0, id=f"c{number}") for number in range(10)]
        ends = asyncio.gather(*(rig.end(handle) for handle in handles))
        seen: list[Rehearsal] = []
        while not ends.done():
            seen += await replay_all(client, [count])
            await asyncio.sleep(0)
        assert await ends == [30] * 10
    assert {report.fit for report in seen} <= {Fit.UNCHANGED}, [r for r in seen if r.fit is not Fit.UNCHANGED][:1]
    assert len(effects) == 400
    assert await told(rig, count) == {}


async def test_many_pending_calls_of_which_a_row_tells_twenty(rig: Any) -> None:
    @workflow("wide")
    async def wide(ctx: Context, order: str) -> None:
        await asyncio.gather(*(ctx.wait_for_signal(f"go-{number}") for number in range(30)))

    @workflow("wide")
    async def wider(ctx: Context, order: str) -> None:
        waits = [ctx.wait_for_signal(f"go-{number}") for number in range(30)]
        await asyncio.gather(*waits[:3], ctx.step(charge, order), *waits[3:])

    await with_old_code(rig, ("a", wide, "1"))
    assert (await told(rig, wide))["a"].fit is Fit.UNCHANGED
    report = (await told(rig, wider))["a"]
    assert (report.fit, [call.name for call in report.gains]) == (Fit.GAINS, ["charge"])


async def test_timeouts_and_the_runs_own_limit_are_nothing_new(rig: Any) -> None:
    def job(limit: str | None) -> Any:
        @workflow("limited", timeout=limit)
        async def limited(ctx: Context, order: str) -> None:
            try:
                await ctx.wait_for_signal("go", timeout="2h")
            except TimeoutError:
                pass

        return limited

    await with_old_code(rig, ("with", job("1d"), "1"))
    assert (await told(rig, job("1d")))["with"].fit is Fit.UNCHANGED
    report = (await told(rig, job(None)))["with"]
    assert (report.fit, report.drops) == (Fit.UNCHANGED, ())


async def test_a_retry_that_no_worker_has_carried_out_is_rehearsed_from_what_it_keeps(rig: Any) -> None:
    broken = [True]

    @step
    async def shaky() -> str:
        if broken:
            raise ConnectionError("no carrier")
        return "delivered"

    @workflow("buy")
    async def deliver(ctx: Context, order: str) -> str:
        await ctx.step(charge, order)
        return await ctx.step(shaky)

    @workflow("buy")
    async def edited(ctx: Context, order: str) -> str:
        await ctx.step(ship, order)
        await ctx.step(charge, order)
        return await ctx.step(shaky)

    async with connect(rig.url) as client, rig.worker(client, deliver):
        handle = await client.start(deliver, "1", id="a")
        await rig.state(handle, "failed")
    async with connect(rig.url) as client:
        await client.handle("a").fork(at="shaky", id="b")
        await client.handle("a").retry()
    found = await told(rig, deliver)
    assert {run: (r.fit, r.entries) for run, r in found.items()} == {"a": (Fit.UNCHANGED, 1), "b": (Fit.UNCHANGED, 1)}
    found = await told(rig, edited)
    assert {run: (r.fit, r.position) for run, r in found.items()} == {"a": (Fit.CONFLICT, 0), "b": (Fit.CONFLICT, 0)}


async def test_steps_of_other_queues_are_runs_that_need_their_step(rig: Any) -> None:
    @step(queue="mail")
    async def post(order: str) -> str:
        return "posted"

    @workflow("sends")
    async def sends(ctx: Context, order: str) -> str:
        return await ctx.step(post, order)

    async with connect(rig.url) as client, rig.worker(client, sends):
        handle = await client.start(sends, "1", id="a")
        await rig.until(lambda: _has_child(client))
        await rig.waits(handle, "child")
    found = await told(rig, sends)
    assert sorted(report.fit for report in found.values()) == [Fit.NO_CODE, Fit.UNCHANGED]
    found = await told(rig, sends, steps=[post])
    assert [report.fit for report in found.values()] == [Fit.UNCHANGED, Fit.UNCHANGED]


async def _has_child(client: Any) -> bool:
    return len((await client.store.list(RunQuery())).runs) == 2


async def test_a_signal_of_another_type_than_the_journal_has_is_unreadable(rig: Any) -> None:
    words, numbers = Signal("word", str), Signal("word", int)

    def job(signal: Any) -> Any:
        @workflow("typed")
        async def typed(ctx: Context, order: str) -> None:
            await ctx.wait_for_signal(signal)
            await ctx.wait_for_signal("go")

        return typed

    async with connect(rig.url) as client, rig.worker(client, job(words)):
        handle = await client.start(job(words), "1", id="a")
        await handle.signal(words, "seven")
        await rig.waits(handle, "go")
    report = (await told(rig, job(numbers)))["a"]
    assert (report.fit, report.kind, report.position) == (Fit.UNREADABLE, "payload", 0)


async def test_a_purged_run_is_left_out_and_one_can_be_asked_about_alone(memory: Any) -> None:
    await with_old_code(memory, ("a", buy, "1"))
    registry = Registry()
    registry.add(buy)
    async with connect(memory.url) as client:
        survey = Survey(client.store, registry, Codec(), SystemClock())
        row = (await client.store.get([RunId("a")]))[0]
        report = await survey.run(row)
        assert report is not None
        assert (report.run, report.fit) == ("a", Fit.UNCHANGED)
        await client.handle("a").terminate()
        assert await survey.run(row) is None
