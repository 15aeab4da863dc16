"""Workers, queues, figures."""

import re

from serving_rig import Rig

from durable import Worker
from durable_server.meter import Meter


async def test_workers_and_queues_are_told(rig: Rig) -> None:
    assert await rig.local.value("GET", "/workers") == []
    assert await rig.local.value("GET", "/queues") == []
    workflows = rig.client.link.registry.all()
    async with Worker(rig.client, workflows=workflows, queues=("default", "mail"), name="w-1", drain=0.1):
        waiting = await rig.local.start("waits")
        await rig.local.until(waiting, waiting="signal")
        found = (await rig.local.value("GET", "/workers"))[0]
        assert (found["name"], found["alive"], found["queues"]) == ("w-1", True, ["default", "mail"])
        assert {"name": "hello", "version": "1"} in found["workflows"]
        queues = {one["name"]: one for one in await rig.local.value("GET", "/queues")}
        assert (queues["default"]["waiting"], queues["default"]["workers"]) == (1, 1)
    late = await rig.local.start("hello")
    queues = {one["name"]: one for one in await rig.local.value("GET", "/queues")}
    created = (await rig.local.value("GET", f"/executions/{late}"))["createdAt"]
    assert (queues["default"]["depth"], queues["default"]["workers"]) == (1, 0)
    assert queues["default"]["oldestQueuedAt"] == created
    assert (await rig.local.value("GET", "/workers"))[0]["alive"] is False


async def test_figures_are_of_the_store(rig: Rig) -> None:
    await rig.local.start("hello")
    found = await rig.local.value("GET", "/stats")
    assert found["runs"]["pending"] == 1
    assert found["workers"] == {"alive": 0, "held": 0}


async def test_metrics_are_in_the_format_of_prometheus(rig: Rig) -> None:
    await rig.local.start("hello")
    for path in ("/executions/one", "/executions/two", "/nothing-here"):
        await rig.local("GET", path)
    answer = await rig.local("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'durable_runs{status="pending"} 1' in lines
    # Paths of callers are no labels: only routes are.
    assert 'durable_http_requests_total{method="GET",route="/executions/{executionId}",status="404"} 2' in lines
    assert 'durable_http_requests_total{method="any",route="other",status="404"} 1' in lines
    assert not [line for line in lines if "nothing-here" in line or "/one" in line]
    sample = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')
    assert [line for line in lines if not line.startswith("# ") and not sample.fullmatch(line)] == []
    kinds = [line for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds))


def test_the_meter_counts_into_buckets_that_add_up(rig: Rig) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    meter = Meter(clock)  # type: ignore[arg-type]
    for took in (0.001, 0.01, 1.0, 100.0):
        began = meter.begin()
        clock.now += took
        meter.end(began, {"method": "GET"}, 200)
    counts = [int(line.split()[-1]) for line in meter.lines() if "_bucket" in line]
    assert counts == [1, 2, 2, 2, 3, 3, 4]
    assert "durable_http_request_seconds_count 4" in meter.lines()
