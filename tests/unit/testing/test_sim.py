"""``Sim``: one world of virtual time for one test."""

from __future__ import annotations

import asyncio
import datetime as dates
import inspect
import subprocess
import sys
import time
import unittest
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import Client, Context, Handle, Retry, RunCancelled, RunFailed, Signal, idempotency_key, step, workflow
from durable._engine.records import Records
from durable.errors import InvalidInput, UnknownWorkflow
from durable_testing import ScheduleFailed, Sim, SimulationError, SyncSim, crash_everywhere, explore, replay
from durable_testing.sim import SimHandle, SimRecords

told: list[str] = []


@step
def send_email(to: str, body: str) -> str:
    told.append(f"{to}: {body}")
    return body


@step(retry=Retry(3, initial="10s", factor=2, jitter=0))
async def charge(amount: int) -> str:
    return f"charged {amount}"


@step
async def clock_of_the_wall() -> str:
    return dates.datetime.now(dates.UTC).isoformat()


@step(timeout="5s")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@step(queue="other")
async def elsewhere(number: int) -> int:
    return number + 1


@workflow
async def reminder(ctx: Context, to: str) -> None:
    await ctx.step(send_email, to, "Welcome!")
    await ctx.sleep("24h")
    await ctx.step(send_email, to, "How is it going?")


answer = Signal("answer", str)


@workflow
async def approval(ctx: Context, who: str) -> str:
    try:
        return await ctx.wait_for_signal(answer, timeout="48h")
    except TimeoutError:
        return "timed out"


@workflow
async def paying(ctx: Context, amount: int) -> str:
    return await ctx.step(charge, amount)


@workflow
async def nightly(ctx: Context, nights: int) -> int:
    for _ in range(nights):
        await ctx.sleep("24h")
        await ctx.step(send_email, "me", "night")
    return nights


@workflow
async def counting(ctx: Context, numbers: int) -> int:
    for number in range(numbers):
        ctx.emit("numbers", number)
        ctx.set("at", number)
        await ctx.sleep(1)
    return numbers


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_day_passes_only_when_the_test_says_so() -> None:
    async with Sim(workflows=[reminder]) as sim:
        handle = await sim.start(reminder, "a@b.c")
        await sim.advance(hours=23)
        assert len(sim.calls(send_email)) == 1
        await sim.advance(hours=1)
        assert [call.args for call in sim.calls(send_email)] == [("a@b.c", "Welcome!"), ("a@b.c", "How is it going?")]
        await handle.result()


async def test_a_timeout_of_48_hours_takes_milliseconds() -> None:
    async with Sim(workflows=[approval]) as sim:
        handle = await sim.start(approval, "bob")
        await sim.advance(hours=47)
        assert (await handle.status()).state == "waiting"
        await sim.advance(hours=1)
        assert (await handle.status()).state == "completed"
        assert await handle.result() == "timed out"


async def test_awaiting_a_result_skips_idle_time() -> None:
    async with Sim(workflows=[approval]) as sim:
        handle = await sim.start(approval, "bob")
        assert await handle.result() == "timed out"
        assert timedelta(hours=48) <= sim.now() - datetime(2026, 1, 1, tzinfo=UTC) < timedelta(hours=48, seconds=1)


async def test_no_other_call_lets_time_pass() -> None:
    async with Sim(workflows=[approval]) as sim:
        handle = await sim.start(approval, "bob")
        began = sim.now()
        await handle.status()
        await handle.history()
        await sim.list()
        await sim.count()
        assert sim.now() == began


async def test_a_year_of_nights_does_not_drift_past_what_advance_reaches() -> None:
    async with Sim(workflows=[nightly]) as sim:
        sim.stub(send_email, lambda to, body: body)
        handle = await sim.start(nightly, 120)
        await sim.advance(days=119)
        assert len(sim.calls(send_email)) == 119
        await sim.advance(days=1)
        assert (await handle.status()).state == "completed"


async def test_run_until_idle_lets_everything_happen_that_needs_no_time() -> None:
    async with Sim(workflows=[reminder]) as sim:
        handle = await sim.start(reminder, "a@b.c")
        await sim.run_until_idle()
        assert len(sim.calls(send_email)) == 1
        assert (await handle.status()).current == ["timer sleep"]


async def test_steps_see_the_simulated_wall_clock() -> None:
    @workflow
    async def looking(ctx: Context) -> str:
        await ctx.sleep("36h")
        return await ctx.step(clock_of_the_wall)

    async with Sim(workflows=[looking], at=datetime(2030, 5, 1, tzinfo=UTC)) as sim:
        assert (await (await sim.start(looking)).result()).startswith("2030-05-02T12:00:00")
    assert datetime.now(UTC).year < 2030


async def test_a_step_may_take_time_and_time_out() -> None:
    @workflow
    async def patient(ctx: Context, seconds: float) -> str:
        return await ctx.step(slow, seconds)

    async with Sim(workflows=[patient]) as sim:
        assert await (await sim.start(patient, 4.0)).result() == "done"
        with pytest.raises(RunFailed) as failed:
            await (await sim.start(patient, 6.0)).result()
        assert isinstance(failed.value.__cause__, TimeoutError)


async def test_back_off_is_simulated_too() -> None:
    async with Sim(workflows=[paying]) as sim:
        tries: list[datetime] = []

        def fails(amount: int) -> str:
            tries.append(sim.now())
            if len(tries) < 3:
                raise ConnectionError("no")
            return "at last"

        sim.stub(charge, fails)
        assert await (await sim.start(paying, 3)).result() == "at last"
        gaps = [(after - before).total_seconds() for before, after in zip(tries, tries[1:], strict=False)]
        assert gaps == [pytest.approx(10, abs=0.1), pytest.approx(20, abs=0.1)]


# ── stubs and calls ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stub_stands_for_the_step_until_the_end_of_the_simulation() -> None:
    told.clear()
    async with Sim(workflows=[reminder]) as sim:
        sim.stub(send_email, lambda to, body: "stubbed")
        await (await sim.start(reminder, "x")).result()
        assert [call.result for call in sim.calls(send_email)] == ["stubbed", "stubbed"]
    assert told == []
    assert send_email("y", "real") == "real"
    assert told == ["y: real"]


async def test_a_sync_step_may_have_an_async_stub_and_the_reverse() -> None:
    async def waits(to: str, body: str) -> str:
        await asyncio.sleep(3)
        return "later"

    async with Sim(workflows=[reminder, paying]) as sim:
        sim.stub(send_email, waits)
        sim.stub(charge, lambda amount: f"free {amount}")
        await (await sim.start(reminder, "x")).result()
        assert {call.result for call in sim.calls(send_email)} == {"later"}
        assert await (await sim.start(paying, 5)).result() == "free 5"


async def test_a_step_that_another_step_calls_directly_is_stubbed_too() -> None:
    @workflow
    async def thanks(ctx: Context, to: str) -> None:
        await ctx.step("notify", lambda: send_email(to, "Thanks!"))

    told.clear()
    async with Sim(workflows=[thanks]) as sim:
        sim.stub(send_email, lambda to, body: body)
        await (await sim.start(thanks, "z")).result()
        assert [call.args for call in sim.calls(send_email)] == [("z", "Thanks!")]
        assert len(sim.calls("notify")) == 1
    assert told == []


async def test_a_call_shows_what_happened() -> None:
    async with Sim(workflows=[paying]) as sim:
        keys: list[str] = []

        def declined(amount: int) -> str:
            keys.append(idempotency_key())
            raise ValueError("declined")

        sim.stub(charge, declined)
        handle = await sim.start(paying, 7, id="p7")
        with pytest.raises(RunFailed):
            await handle.result()
        calls = sim.calls(charge)
        assert [call.attempt for call in calls] == [1, 2, 3]
        assert {call.key for call in calls} == set(keys)
        assert len({call.key for call in calls}) == 1
        assert all(call.run == "p7" and call.ended and isinstance(call.error, ValueError) for call in calls)


async def test_steps_with_a_queue_are_carried_out_by_who_was_given_them() -> None:
    @workflow
    async def far(ctx: Context, number: int) -> int:
        return await ctx.step(elsewhere, number)

    async with Sim(workflows=[far], steps=[elsewhere], workers=2) as sim:
        assert await (await sim.start(far, 1)).result() == 2
        assert len(sim.calls(elsewhere)) == 1


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_signals_cancel_values_and_streams_are_those_of_a_client() -> None:
    async with Sim(workflows=[approval, counting]) as sim:
        first = await sim.start(approval, "bob")
        await first.signal(answer, "yes")
        assert await first.result() == "yes"
        await sim.start(approval, "eve", id="second")
        await sim.signal("second", answer, "no")
        assert await sim.handle("second", approval).result() == "no"
        third = await sim.start(approval, "zoe")
        await sim.cancel(third.id, "changed my mind")
        with pytest.raises(RunCancelled):
            await third.result()
        fourth = await sim.start(counting, 3)
        assert [number async for number in fourth.stream("numbers")] == [0, 1, 2]
        assert (await fourth.values())["at"] == 2


async def test_many_are_started_at_once_as_by_a_client() -> None:
    @workflow
    async def double(ctx: Context, number: int) -> int:
        await ctx.sleep("1h")
        return 2 * number

    async with Sim(workflows=[double]) as sim:
        began = sim.now()
        handles = await sim.start_many(double, range(3), ids=["a", "b", "c"])
        handles += await sim.start_many(double.bind(number) for number in (3, 4))
        assert [await handle.result() for handle in handles] == [0, 2, 4, 6, 8]
        assert timedelta(hours=1) <= sim.now() - began < timedelta(hours=1, seconds=1)
        with pytest.raises(UnknownWorkflow, match="No worker of this simulation"):
            await sim.start_many([paying.bind(1)])
        for strange in ({double.bind(1): 1}, "double", b"double", [double]):
            with pytest.raises(InvalidInput, match="start_many takes"):
                await sim.start_many(strange)  # type: ignore[call-overload]
        assert await sim.count() == 5


async def test_records_are_those_of_the_simulated_world() -> None:
    async with Sim(workflows=[paying]) as sim:
        began = sim.now()
        await sim.records.put("kind", "key", b"1", keep="1h")
        assert [row.value for row in await sim.records.list("kind")] == [b"1"]
        assert await sim.records.now() == began.timestamp()
        await sim.advance(hours=2)
        assert await sim.records.get("kind", "key") is None


def test_no_verb_of_a_client_is_carried_out_outside_the_simulated_world() -> None:
    """``sim.start_many`` and ``sim.records`` were: in the test's own loop, with real waits."""
    through_its_handle = {"signal", "cancel"}
    for kind, simulated in ((Client, Sim), (Handle, SimHandle), (Records, SimRecords)):
        for name, verb in inspect.getmembers(kind):
            if name.startswith("_") or not (inspect.iscoroutinefunction(verb) or inspect.isasyncgenfunction(verb)):
                continue
            assert getattr(simulated, name) is not verb or (kind is Client and name in through_its_handle), name


async def test_two_results_can_be_awaited_at_once() -> None:
    async with Sim(workflows=[approval, nightly]) as sim:
        sim.stub(send_email, lambda to, body: body)
        one, two = await sim.start(approval, "a"), await sim.start(nightly, 3)
        assert await asyncio.gather(one.result(), two.result()) == ["timed out", 3]


async def test_another_task_of_the_test_comes_in_before_time_is_skipped() -> None:
    async with Sim(workflows=[approval]) as sim:
        handle = await sim.start(approval, "a")
        result, _ = await asyncio.gather(handle.result(), handle.signal(answer, "in time"))
        assert result == "in time"


async def test_the_same_test_makes_the_same_ids_and_the_same_trace() -> None:
    async def once(seed: int) -> tuple[str, str]:
        async with Sim(workflows=[approval], seed=seed, workers=3) as sim:
            handle = await sim.start(approval, "a")
            await handle.result()
            return handle.id, sim.world.trace.hash()

    assert await once(1) == await once(1)
    assert await once(1) != await once(2)


# ── mishaps ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_crash_after_a_step_makes_it_run_again_with_the_same_key() -> None:
    async with Sim(workflows=[paying]) as sim:
        sim.crash(at="charge")
        assert await (await sim.start(paying, 1)).result() == "charged 1"
        calls = sim.calls(charge)
        assert len(calls) == 2
        assert calls[0].key == calls[1].key
        assert calls[0].worker != calls[1].worker


async def test_a_crash_before_a_step_leaves_no_trace_of_it() -> None:
    async with Sim(workflows=[paying]) as sim:
        sim.crash(at="before charge")
        assert await (await sim.start(paying, 1)).result() == "charged 1"
        assert len(sim.calls(charge)) == 1


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
async def test_no_finally_of_a_killed_worker_runs_while_the_simulation_lasts() -> None:
    said: list[str] = []

    @step
    async def tidy() -> None:
        said.append("begins")
        try:
            await asyncio.sleep(60)
        finally:
            said.append("finally")

    @workflow
    async def tidying(ctx: Context) -> None:
        try:
            await ctx.step(tidy)
        finally:
            said.append("workflow finally")

    async with Sim(workflows=[tidying]) as sim:
        handle = await sim.start(tidying)
        await sim.advance(seconds=5)
        sim.world.kill(sim.world.berths[0])
        await sim.advance(seconds=30)
        assert said == ["begins", "begins"]
        await handle.result()
        assert said == ["begins", "begins", "finally", "workflow finally"]


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_scenario_that_never_ends_says_what_every_run_waits_for() -> None:
    @workflow
    async def for_ever(ctx: Context) -> str:
        return await ctx.wait_for_signal(answer)

    async with Sim(workflows=[for_ever]) as sim:
        handle = await sim.start(for_ever, id="stuck")
        with pytest.raises(SimulationError, match=r"(?s)never ends.*result\(\) of run stuck.*signal answer"):
            await handle.result()


async def test_a_step_that_never_ends_is_named() -> None:
    @step
    async def hangs() -> None:
        await asyncio.Event().wait()

    @workflow
    async def hanging(ctx: Context) -> None:
        await ctx.step(hangs)

    async with Sim(workflows=[hanging]) as sim:
        with pytest.raises(SimulationError, match=r"(?s)never ends.*Step hangs is executing"):
            await (await sim.start(hanging)).result()


async def test_real_connections_are_refused_with_the_cure() -> None:
    import socket

    @step(retry=Retry(5))
    def reaches_out() -> None:
        socket.create_connection(("127.0.0.1", 9))

    @step
    async def reaches_out_async() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    @workflow
    async def reaching(ctx: Context, sync: bool) -> None:
        await ctx.step(reaches_out if sync else reaches_out_async)

    async with Sim(workflows=[reaching]) as sim:
        with pytest.raises(SimulationError, match=r"test_sim\.py:\d+.*sim\.stub"):
            await (await sim.start(reaching, True)).result()
    async with Sim(workflows=[reaching]) as sim:
        with pytest.raises(SimulationError, match=r"sim\.stub"):
            await (await sim.start(reaching, False)).result()


async def test_a_real_sleep_is_refused() -> None:
    @step
    def naps() -> None:
        time.sleep(0.01)

    @workflow
    async def napping(ctx: Context) -> None:
        await ctx.step(naps)

    async with Sim(workflows=[napping]) as sim:
        with pytest.raises(SimulationError, match=r"time\.sleep.*test_sim\.py"):
            await (await sim.start(napping)).result()
    time.sleep(0)  # and outside it works again


async def test_a_workflow_that_was_not_given_is_refused_at_the_start() -> None:
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(UnknownWorkflow, match=r"workflows=\[\.\.\., approval\]"):
            await sim.start(approval, "bob")


async def test_a_child_that_no_worker_has_is_named() -> None:
    @workflow
    async def parent(ctx: Context) -> str:
        return await ctx.child(approval, "x")

    async with Sim(workflows=[parent]) as sim:
        with pytest.raises(SimulationError, match="No live worker has workflow approval"):
            await (await sim.start(parent)).result()


async def test_a_crash_that_never_comes_is_an_error_at_the_end() -> None:
    with pytest.raises(SimulationError, match=r"crash\(at='before charg'\) never struck: .* Steps that ran: charge\."):
        async with Sim(workflows=[paying]) as sim:
            sim.crash(at="before charg")
            await (await sim.start(paying, 1)).result()
    with pytest.raises(SimulationError, match=r"crash\(at='charge'\) never struck 2 times"):
        with SyncSim(workflows=[paying]) as sync:
            sync.crash(at="charge", times=3)
            sync.start(paying, 1)
            sync.advance(seconds=10)
    with pytest.raises(ZeroDivisionError):
        async with Sim(workflows=[paying]) as sim:
            sim.crash(at="charge")
            raise ZeroDivisionError


async def test_a_redeploy_may_bring_a_workflow_that_was_not_there_before() -> None:
    async with Sim(workflows=[paying]) as sim:
        sim.redeploy([approval])
        assert await (await sim.start(approval, "bob")).result() == "timed out"


async def test_nothing_works_before_the_begin_and_after_the_end() -> None:
    sim = Sim(workflows=[paying])
    with pytest.raises(SimulationError, match="not begun"):
        await sim.start(paying, 1)
    async with sim:
        handle = await sim.start(paying, 1)
    with pytest.raises(SimulationError, match="has ended"):
        await handle.result()
    with SyncSim(workflows=[paying]) as sync:
        pass
    with pytest.raises(SimulationError, match="has ended"):
        sync.start(paying, 1)


async def test_bad_arguments_are_refused_where_they_are_given() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        Sim(workflows=[], at=datetime(2026, 1, 1))
    with pytest.raises(InvalidInput, match="workers"):
        Sim(workflows=[], workers=-1)
    with pytest.raises(InvalidInput, match="workflows= is a list"):
        Sim(workflows=paying)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="steps= is a list of functions under @step"):
        Sim(workflows=[], steps=[paying])  # type: ignore[list-item]
    async with Sim(workflows=[paying]) as sim:
        with pytest.raises(InvalidInput, match="back in time"):
            await sim.advance(hours=-1)
        with pytest.raises(InvalidInput, match="advance"):
            await sim.advance(fortnights=1)
        with pytest.raises(InvalidInput, match="stub"):
            sim.stub(len, lambda x: 1)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="stub"):
            sim.stub(charge, 3)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="crash"):
            sim.crash(at="")


# ── other ways in ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plain_test_needs_no_event_loop() -> None:
    with SyncSim(workflows=[approval, reminder]) as sim:
        sim.stub(send_email, lambda to, body: body)
        handle = sim.start(approval, "bob")
        sim.advance(hours=48)
        assert handle.result() == "timed out"
        other = sim.start(approval, "eve", id="eve")
        sim.signal("eve", answer, "yes")
        assert sim.handle("eve").result() == "yes"
        assert other.status().state == "completed"
        sim.start(reminder, "x").result()
        assert len(sim.calls(send_email)) == 2
        assert sim.count() == 3


class UnitTest(unittest.IsolatedAsyncioTestCase):
    async def test_unittest_works(self) -> None:
        async with Sim(workflows=[approval]) as sim:
            self.assertEqual(await (await sim.start(approval, "bob")).result(), "timed out")


async def test_the_fixture_makes_an_async_world(sim: Any) -> None:
    world = sim(workflows=[approval])
    assert await (await world.start(approval, "bob")).result() == "timed out"


def test_the_fixture_makes_a_blocking_world(sim: Any) -> None:
    assert sim(workflows=[approval]).start(approval, "bob").result() == "timed out"


async def test_a_sim_runs_on_sqlite_too(tmp_path: Any) -> None:
    async with Sim(workflows=[reminder], store=f"sqlite:///{tmp_path}/sim.db", workers=2) as sim:
        sim.stub(send_email, lambda to, body: body)
        await (await sim.start(reminder, "x")).result()
        assert len(sim.calls(send_email)) == 2
        sim.crash(at="send_email")
        again = await sim.start(reminder, "y")
        await again.result()
        assert len(sim.calls(send_email)) == 5


def test_importing_the_package_loads_no_test_library() -> None:
    code = (
        "import sys, durable_testing; from durable_testing import Sim, MemoryStore, SyncSim, FaultStore; "
        "print([m for m in ('hypothesis', 'pytest', 'freezegun') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ── several at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_simulations_at_once_have_their_own_stubs_and_clocks() -> None:
    @workflow
    async def looking(ctx: Context) -> str:
        await ctx.sleep("1d")
        return await ctx.step(clock_of_the_wall)

    early, late = datetime(2030, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    async with Sim(workflows=[paying, looking], at=early) as one, Sim(workflows=[paying, looking], at=late) as other:
        one.stub(charge, lambda amount: f"one {amount}")
        other.stub(charge, lambda amount: f"other {amount}")
        assert await (await one.start(paying, 1)).result() == "one 1"
        assert await (await other.start(paying, 2)).result() == "other 2"
        assert (await (await other.start(looking)).result()).startswith("2040-01-02")
        assert (await (await one.start(looking)).result()).startswith("2030-01-02")
        assert (len(one.calls(charge)), len(other.calls(charge))) == (1, 1)
        assert await charge(3) == "charged 3"


async def test_simulations_may_end_in_any_order() -> None:
    one, other = Sim(workflows=[paying]), Sim(workflows=[paying])
    await one.__aenter__()
    await other.__aenter__()
    one.stub(charge, lambda amount: "one")
    other.stub(charge, lambda amount: "other")
    await one.__aexit__(None, None, None)
    assert await (await other.start(paying, 1)).result() == "other"
    await other.__aexit__(None, None, None)
    assert await charge(1) == "charged 1"
    with pytest.raises(SimulationError, match="has ended"):
        one.stub(charge, lambda amount: "late")


async def test_a_step_of_a_whole_day_is_no_endless_scenario() -> None:
    @step
    async def train() -> str:
        await asyncio.sleep(25 * 3600)
        return "trained"

    @workflow
    async def training(ctx: Context) -> str:
        return await ctx.step(train)

    async with Sim(workflows=[training]) as sim:
        assert await (await sim.start(training)).result() == "trained"


async def test_a_worker_that_cannot_be_made_is_told_at_once() -> None:
    for options in ({"cashe": 0}, {"cache": -1}):
        with pytest.raises(InvalidInput, match="cashe|cache"):
            Sim(workflows=[paying], worker_options=options)
    with pytest.raises(InvalidInput, match="list of queue names"):
        Sim(workflows=[paying], queues="gpu")


async def test_an_interrupt_in_a_step_ends_the_test() -> None:
    def interrupted(amount: int) -> str:
        raise KeyboardInterrupt

    async with Sim(workflows=[paying]) as sim:
        sim.stub(charge, interrupted)
        with pytest.raises(KeyboardInterrupt):
            await (await sim.start(paying, 1)).result()


async def test_a_cancelled_test_stops_between_two_worlds() -> None:
    worlds: list[int] = []

    async def scenario(sim: Sim) -> None:
        worlds.append(1)
        if len(worlds) == 5:
            asker.cancel()
        await (await sim.start(paying, 1)).result()

    asker = asyncio.ensure_future(explore(scenario, workflows=[paying]))
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert len(worlds) == 5


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
async def test_a_signal_that_comes_a_second_late_is_among_what_is_tried() -> None:
    """A scenario that only a short delay breaks: the signal is sent a moment before its wait ends."""

    @workflow
    async def in_time(ctx: Context) -> str:
        try:
            return await ctx.wait_for_signal(answer, timeout="48h")
        except TimeoutError:
            return "too late"

    async def scenario(sim: Sim) -> None:
        handle = await sim.start(in_time)
        await sim.advance(hours=47, minutes=59, seconds=59.5)
        await handle.signal(answer, "yes")
        assert await handle.result() == "yes"

    with pytest.raises(ScheduleFailed, match="RunEnded|assert|AssertionError"):
        await explore(scenario, workflows=[in_time])
    with pytest.raises(ScheduleFailed):
        await crash_everywhere(scenario, workflows=[in_time])


async def test_a_schedule_whose_faults_strike_no_more_is_refused_as_a_test() -> None:
    async def scenario(sim: Sim) -> None:
        await (await sim.start(paying, 1)).result()

    await replay(scenario, workflows=[paying], schedule="1w/0/3:crash-after")
    with pytest.raises(InvalidInput, match="has struck"):
        await replay(scenario, workflows=[paying], schedule="1w/0/9999:kill")


async def test_a_freeze_of_the_users_own_inside_a_simulation_wins() -> None:
    from freezegun import freeze_time

    @workflow
    async def looking(ctx: Context) -> str:
        return await ctx.step(clock_of_the_wall)

    async with Sim(workflows=[looking]) as sim:
        with freeze_time("2040-05-05"):
            assert (await (await sim.start(looking)).result()).startswith("2040-05-05")
        assert (await (await sim.start(looking)).result()).startswith("2026-01-01")
