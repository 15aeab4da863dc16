"""What can be seen of a worker from outside: its log, its events, its spans and figures, and its troubles."""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from durable import Client, Context, NonRetryable, Retry, Signal, Transient, Worker, connect, step, workflow
from durable._engine.connect import open_store
from durable.observing import (
    Activated,
    AttemptBegan,
    AttemptEnded,
    BatchWritten,
    Counters,
    Event,
    Polled,
    RunChanged,
    RunCommitted,
)
from tests.unit.engine.faults import FaultStore

go = Signal("go", str)


class Shop:
    """A step that fails once, a wait, and a step that can be stopped in the middle."""

    def __init__(self) -> None:
        self.calls = 0
        self.inside = asyncio.Event()
        self.open = asyncio.Event()

        @step(retry=Retry(3, initial=0.001))
        async def charge(order: str) -> str:
            self.calls += 1
            if self.calls == 1:
                raise ConnectionError("no answer")
            return f"paid {order}"

        @step
        async def pack(order: str) -> str:
            self.inside.set()
            await self.open.wait()
            return f"packed {order}"

        @step
        async def refuse(order: str) -> None:
            raise NonRetryable(f"no {order}")

        @workflow
        async def buy(ctx: Context, order: str) -> str:
            await ctx.step(charge, order)
            await ctx.wait_for_signal(go)
            return await ctx.step(pack, order)

        @workflow
        async def fail(ctx: Context, order: str) -> None:
            await ctx.step(refuse, order)

        self.buy, self.fail = buy, fail


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event, /) -> None:
        self.events.append(event)

    def changes(self) -> list[str]:
        return [event.change for event in self.events if isinstance(event, RunChanged)]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """The records of ``durable.run``, as (change, step, attempt)."""
    caplog.set_level(logging.INFO, logger="durable.run")

    def told(run: str) -> list[tuple[str, str | None, int | None]]:
        return [
            (record.__dict__["change"], record.__dict__["step"], record.__dict__["attempt"])
            for record in caplog.records
            if record.name == "durable.run" and record.__dict__.get("run_id") == run
        ]

    yield told


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_move_of_a_run_is_one_line_with_its_fields(rig: Any, lines: Any, caplog: Any) -> None:
    shop = Shop()
    shop.open.set()
    async with rig.serving(shop.buy, shop.fail) as client:
        handle = await client.start(shop.buy, "tea", id="o1")
        await rig.waits(handle, "go")
        await handle.pause()
        await rig.state(handle, "paused")
        await handle.resume()
        await rig.waits(handle, "go")
        await handle.signal(go, "now")
        assert await rig.end(handle) == "packed tea"
        failed = await client.start(shop.fail, "ink", id="o2")
        await rig.state(failed, "failed")
    told = lines("o1")
    assert told[0] == ("started", None, None)
    assert told.count(("attempt_retried", "charge", 1)) == 1
    changes = [change for change, _, _ in told]
    assert changes.count("paused") == changes.count("resumed") == changes.count("completed") == 1
    assert changes.count("started") == 1
    assert changes.index("paused") < changes.index("resumed") < changes.index("completed")
    assert "waiting" in changes
    assert "claimed" in changes
    assert [line for line in lines("o2") if line[0] != "waiting"][-2:] == [
        ("attempt_failed", "refuse", 1),
        ("failed", None, None),
    ]
    record = next(one for one in caplog.records if one.__dict__.get("change") == "failed")
    assert (record.workflow, record.epoch, record.levelno) == ("fail", 1, logging.INFO)
    assert record.getMessage() == "Run o2 of fail has failed: NonRetryable: no ink"
    json.dumps({name: record.__dict__[name] for name in ("run_id", "workflow", "step", "attempt", "epoch")})


async def test_replay_says_nothing_again(rig: Any, lines: Any) -> None:
    shop = Shop()
    shop.open.set()
    async with connect(rig.url) as client:
        async with rig.worker(client, shop.buy):
            handle = await client.start(shop.buy, "tea", id="o1")
            await rig.waits(handle, "go")
        before = lines("o1")
        async with rig.worker(client, shop.buy):
            await handle.signal(go, "now")
            await rig.end(handle)
    again = lines("o1")[len(before) :]
    assert again[0] == ("claimed", None, None)
    assert again[-1] == ("completed", None, None)
    assert all(change != "attempt_retried" for change, _, _ in again)


async def test_a_blocked_and_a_cancelled_run_are_told(rig: Any, lines: Any) -> None:
    import random

    @workflow
    async def forbidden(ctx: Context) -> None:
        await asyncio.to_thread(random.random)

    shop = Shop()
    async with rig.serving(forbidden, shop.buy) as client:
        await rig.state(await client.start(forbidden, id="b1"), "blocked")
        handle = await client.start(shop.buy, "tea", id="c1")
        await rig.waits(handle, "go")
        await handle.cancel()
        await rig.state(handle, "cancelled")
    assert [change for change, _, _ in lines("b1")][-1] == "blocked"
    assert [change for change, _, _ in lines("c1")][-1] == "cancelled"


async def test_errors_stay_out_of_the_log_when_payloads_are_wrapped(caplog: Any) -> None:
    class Reversed:
        def encode(self, data: bytes) -> bytes:
            return data[::-1]

        def decode(self, data: bytes) -> bytes:
            return data[::-1]

    caplog.set_level(logging.INFO, logger="durable.run")
    shop, notes = Shop(), Notes()
    async with (
        connect("memory://wrapped", codec=Reversed()) as client,
        Worker(client, workflows=[shop.fail], observer=notes),
    ):
        handle = await client.start(shop.fail, "secret", id="o1")
        while (await handle.status()).state != "failed":
            await asyncio.sleep(0.005)
    said = [record.getMessage() for record in caplog.records if record.name == "durable.run"]
    assert any("failed" in line for line in said)
    assert not any("secret" in line for line in said)
    assert all(event.error is None for event in notes.events if isinstance(event, AttemptEnded))


async def test_nothing_is_formatted_when_nobody_listens(rig: Any, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, logger="durable.run")
    shop = Shop()
    async with rig.serving(shop.fail) as client:
        await rig.state(await client.start(shop.fail, "ink"), "failed")
    assert [record for record in caplog.records if record.name == "durable.run"] == []


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_observer_is_told_of_everything(rig: Any) -> None:
    shop, notes, counters = Shop(), Notes(), Counters()
    shop.open.set()

    class Both:
        def observe(self, event: Event, /) -> None:
            notes.observe(event)
            counters.observe(event)

    async with connect(rig.url) as client, rig.worker(client, shop.buy, name="w1", observer=Both()):
        handle = await client.start(shop.buy, "tea", id="o1")
        await rig.waits(handle, "go")
        await handle.signal(go, "now")
        await rig.end(handle)
        await rig.until(lambda: "w1" in counters.held, 10.0)
    kinds = {type(event) for event in notes.events}
    assert {AttemptBegan, AttemptEnded, Activated, RunCommitted, BatchWritten, Polled, RunChanged} <= kinds
    assert notes.changes()[0] == "started"
    assert notes.changes()[-1] == "completed"
    assert counters.changes["buy", "completed"] == 1
    assert counters.attempts["charge", "retried"] == counters.attempts["charge", "completed"] == 1
    assert counters.attempts["pack", "completed"] == 1
    assert counters.attempts_running == 0
    assert counters.step_seconds["charge"] >= 0.0
    assert counters.commits >= counters.batches >= 1
    assert counters.claims >= 1
    assert counters.entries == len(await _history(rig, "o1"))


async def _history(rig: Any, run: str) -> list[Any]:
    async with connect(rig.url) as client:
        return await client.handle(run).history()


async def test_an_attempt_that_nobody_wants_any_more_is_dropped(rig: Any) -> None:
    notes, shop = Notes(), Shop()
    shop.calls = 1

    async with connect(rig.url) as client, rig.worker(client, shop.buy, observer=notes):
        handle = await client.start(shop.buy, "tea")
        await handle.signal(go, "now")
        await asyncio.wait_for(shop.inside.wait(), rig.soon(5))
        await handle.terminate()
        await rig.until(lambda: any(isinstance(e, AttemptEnded) and e.outcome == "dropped" for e in notes.events))
    assert "lost" in notes.changes()


async def test_what_an_observer_raises_hurts_no_run_and_is_said_once(rig: Any, caplog: Any) -> None:
    class Broken:
        times = 0

        def observe(self, event: Event, /) -> None:
            self.times += 1
            raise RuntimeError("the metrics server is down")

    shop, broken = Shop(), Broken()
    shop.open.set()
    async with connect(rig.url) as client, rig.worker(client, shop.buy, observer=broken):
        handle = await client.start(shop.buy, "tea")
        await handle.signal(go, "now")
        assert await rig.end(handle) == "packed tea"
    assert broken.times > 5
    assert sum("The observer failed" in record.getMessage() for record in caplog.records) == 1


async def test_trouble_with_the_store_is_told_when_it_begins_and_when_it_ends() -> None:
    counters, shop = Counters(), Shop()
    shop.open.set()
    store: Any = FaultStore(open_store("memory://told"))
    async with Client(store) as client, Worker(client, workflows=[shop.buy], observer=counters):
        store.fail("commit", lambda: Transient("the disk is busy"), when=lambda number: number <= 3)
        handle = await client.start(shop.buy, "tea")
        await handle.signal(go, "now")
        assert await handle.result(timeout=20) == "packed tea"
        assert (counters.troubles, counters.in_trouble) == (1, False)
        assert counters.trouble_seconds > 0.0


async def test_trouble_that_lasts_is_seen_by_others_until_it_is_over(monkeypatch: Any, rig: Any) -> None:
    from durable._engine import troubles

    monkeypatch.setattr(troubles, "_PATIENCE_SECONDS", 0.01)
    shop = Shop()
    shop.open.set()
    store: Any = FaultStore(open_store(rig.url))
    async with Client(store) as client, rig.worker(client, shop.buy, name="w1"):
        async with connect(rig.url) as other:
            store.fail("commit", lambda: Transient("the disk is busy"), when=lambda number: True)
            handle = await client.start(shop.buy, "tea", id="o1")
            looked = other.handle("o1")

            async def seen() -> Any:
                said = await looked.explain()
                return said if "Worker w1 has trouble with the store since" in said else None

            said = await rig.until(seen, 10.0)
            assert said.startswith("Running on w1.")
            assert said.endswith(": Transient: the disk is busy.")
            assert "w1" in (await troubles.troubles(other.store))[0].worker
            store.clear()
            await handle.signal(go, "now")
            assert await handle.result(timeout=rig.soon(20)) == "packed tea"

            async def passed() -> bool:
                return (await troubles.troubles(other.store))[0].until is not None

            await rig.until(passed, 10.0)


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("inside_a_task", [False, True])
async def test_a_step_that_blocks_the_loop_is_named(caplog: Any, inside_a_task: bool) -> None:
    seen = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "has not turned" in record.getMessage() or "from turning" in record.getMessage():
                seen.set()

    async def sleeps() -> None:
        limit = time.monotonic() + 30
        while not seen.is_set() and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.3)

    @step
    async def rude(order: str) -> str:
        await (asyncio.create_task(sleeps()) if inside_a_task else sleeps())
        return order

    @workflow
    async def shop(ctx: Context, order: str) -> str:
        return await ctx.step(rude, order)

    watch = Watch()
    logging.getLogger("durable.worker").addHandler(watch)
    counters = Counters()
    try:
        async with (
            connect("memory://rude") as client,
            Worker(client, workflows=[shop], observer=counters) as worker,
        ):
            assert worker.held == 0
            assert await (await client.start(shop, "tea", id=f"o{inside_a_task}")).result(timeout=60) == "tea"
            async with asyncio.timeout(10):
                while not counters.lag_seconds_most:
                    await asyncio.sleep(0.05)
    finally:
        logging.getLogger("durable.worker").removeHandler(watch)
    record = next(one for one in caplog.records if "turn" in one.getMessage())
    if inside_a_task and sys.version_info < (3, 12):
        assert "The worker's event loop has not turned for" in record.getMessage()
    else:
        assert f"Step rude of run o{inside_a_task} (attempt 1) has kept" in record.getMessage()
        assert (record.run_id, record.step, record.attempt) == (f"o{inside_a_task}", "rude", 1)
    assert "in sleeps" in record.getMessage()
    assert counters.lag_seconds_most >= 1.0


# ── OpenTelemetry ────────────────────────────────────────────────────────────────────────────────────────────────────


class Exported:
    """An observer with in-memory exporters behind it."""

    def __init__(self, *, ids: bool = True) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        from durable_otel import RunIds, Telemetry

        self.spans = InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=RunIds(RandomIdGenerator()) if ids else None)
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.telemetry = Telemetry(tracer_provider=self.provider, meter_provider=MeterProvider([self.reader]))

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans.get_finished_spans() if span.name == name]

    def points(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


async def crash_between_two_workers(rig: Any, first: Exported, second: Exported, **start: Any) -> None:
    """A run is begun by one worker, which dies in a step; another ends it."""
    one, two = Shop(), Shop()
    two.calls = 1
    two.open.set()
    async with connect(rig.url) as client, connect(rig.url) as other:
        doomed = rig.worker(client, one.buy, name="one", observer=first.telemetry)
        await doomed.__aenter__()
        handle = await client.start(one.buy, "tea", id="o1", **start)
        await handle.signal(go, "now")
        await asyncio.wait_for(one.inside.wait(), rig.soon(5))
        await rig.crash(doomed)
        async with rig.worker(other, two.buy, name="two", observer=second.telemetry):
            assert await rig.end(handle) == "packed tea"


async def test_a_trace_goes_on_in_another_worker_after_a_crash(rig: Any) -> None:
    first, second = Exported(), Exported()
    await crash_between_two_workers(rig, first, second)
    (run,) = second.named("run buy")
    assert first.named("run buy") == []
    assert run.parent is None
    assert run.attributes["durable.change"] == "completed"
    spans = [*first.spans.get_finished_spans(), *second.spans.get_finished_spans()]
    assert {span.context.trace_id for span in spans} == {run.context.trace_id}
    parts = [span for span in spans if span is not run]
    assert {span.parent.span_id for span in parts} == {run.context.span_id}
    assert len({span.context.span_id for span in spans}) == len(spans)
    assert len(first.named("step charge")) == 2
    assert [span.attributes["durable.outcome"] for span in first.named("step charge")] == ["retried", "completed"]
    assert [span.status.is_ok for span in first.named("step charge")] == [False, True]
    assert [span.attributes["durable.outcome"] for span in second.named("step pack")] == ["completed"]
    assert second.named("replay") and second.named("activation") and second.named("commit")
    assert all(span.start_time <= span.end_time for span in spans)
    epochs = {span.attributes["durable.epoch"] for span in spans}
    assert len(epochs) >= 2
    points = second.points()
    completed = [point for point in points["durable.run.changes"] if point.attributes["durable.change"] == "completed"]
    assert [point.value for point in completed] == [1]
    assert sum(point.count for point in points["durable.step.duration"]) == 1
    assert sum(point.value for point in points["durable.step.running"]) == 0
    assert {"durable.batch.size", "durable.commits", "durable.poll.duration", "durable.claims"} <= set(points)


async def test_a_run_hangs_below_the_span_that_started_it() -> None:
    from durable_otel import trace_labels

    rig_url, exported, shop = "memory://below", Exported(), Shop()
    shop.open.set()
    assert trace_labels() == {}
    async with connect(rig_url) as client, Worker(client, workflows=[shop.buy], observer=exported.telemetry):
        with exported.provider.get_tracer("web").start_as_current_span("request") as request:
            handle = await client.start(shop.buy, "tea", labels=trace_labels())
        await handle.signal(go, "now")
        await handle.result(timeout=10)
    (run,) = exported.named("run buy")
    assert run.parent.span_id == request.get_span_context().span_id
    assert {span.context.trace_id for span in exported.spans.get_finished_spans()} == {run.context.trace_id}


async def test_spans_that_a_step_makes_are_inside_the_attempts_span() -> None:
    exported = Exported()
    tracer = exported.provider.get_tracer("http")

    @step
    async def calls(order: str) -> None:
        with tracer.start_as_current_span("GET"):
            await asyncio.sleep(0)

    @step
    def blocks(order: str) -> None:
        with tracer.start_as_current_span("GET in a thread"):
            pass

    @workflow
    async def both(ctx: Context, order: str) -> None:
        await asyncio.gather(ctx.step(calls, order), ctx.step(blocks, order))

    async with connect("memory://inside") as client, Worker(client, workflows=[both], observer=exported.telemetry):
        await (await client.start(both, "tea")).result(timeout=10)
    for name, attempt in (("GET", "step calls"), ("GET in a thread", "step blocks")):
        assert exported.named(name)[0].parent.span_id == exported.named(attempt)[0].context.span_id


async def test_without_the_id_generator_everything_is_still_one_trace(rig: Any) -> None:
    first, second = Exported(ids=False), Exported(ids=False)
    await crash_between_two_workers(rig, first, second)
    spans = [*first.spans.get_finished_spans(), *second.spans.get_finished_spans()]
    assert len({span.context.trace_id for span in spans}) == 1
    assert len({span.parent.span_id for span in spans}) == 1
    assert second.named("run buy")


async def test_one_id_in_two_stores_is_two_traces() -> None:
    traces = []
    for number in range(2):
        exported, shop = Exported(), Shop()
        async with (
            connect(f"memory://twice-{number}") as client,
            Worker(client, workflows=[shop.fail], observer=exported.telemetry),
        ):
            handle = await client.start(shop.fail, "ink", id="o1")
            while (await handle.status()).state != "failed":
                await asyncio.sleep(0.005)
        (run,) = exported.named("run fail")
        assert not run.status.is_ok
        traces.append(run.context.trace_id)
    assert traces[0] != traces[1]
