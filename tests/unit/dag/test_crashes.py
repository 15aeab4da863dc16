"""The order flow under every crash: no charge is made twice under two keys, and everybody is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durable_dag import Engine, Response
from durable_testing import Sim, crash_everywhere
from durable_testing.faults import FaultKind
from tests.unit.dag.graphs import Literals
from tests.unit.dag.support import Web

URLS = {
    "validate": "http://validation/validate",
    "check-inventory": "http://inventory/check",
    "charge-payment": "http://payment/charge",
    "ship-order": "http://shipping/ship",
    "send-confirmation": "http://notifications/email",
}


def order_flow() -> dict[str, Any]:
    """The seed's flow, its payment failing once."""
    ids = list(URLS)
    policy = {"maxAttempts": 3, "backoffMultiplier": 2, "initialDelay": 1000, "maxDelay": 5000}
    steps = [
        {
            "id": id,
            "action": "webhook" if id == "send-confirmation" else "http.request",
            "params": {"url": url, "method": "POST"}
            | ({"payload": {"type": "order-confirmation"}} if id == "send-confirmation" else {"body": {"id": id}}),
            "dependencies": ids[number - 1 : number] if number else [],
            "retryPolicy": policy,
        }
        for number, (id, url) in enumerate(URLS.items())
    ]
    hooks = {"onComplete": "http://analytics/order-complete", "onFailure": "http://support/order-failed"}
    return {"id": "order-flow", "name": "E-commerce Order Flow", "steps": steps, "webhooks": hooks}


class Till(Web):
    """Answers like the services, and books each key once."""

    def __init__(self) -> None:
        super().__init__()
        self.booked: set[str] = set()
        for url in URLS.values():
            self.serve(url, {"ok": True})
        self.serve("http://payment/charge", 503, self._charge)
        self.serve("http://analytics/order-complete", 200)

    def _charge(self, request: Any) -> Response:
        self.booked.add(request.headers["idempotency-key"])
        return Response(200, {"content-type": "application/json"}, json.dumps({"receipt": "r"}).encode())


current: list[Till] = []


class Passing:
    """Sends to the till of the simulation that runs now."""

    async def send(self, request: Any) -> Response:
        return await current[-1].send(request)


engine = Engine(js=Literals(), outbound=Passing())


async def scenario(sim: Sim) -> None:
    till = Till()
    current.append(till)
    engine.bind(sim)
    await engine.register_workflow(order_flow())
    started = await engine.start("order-flow", {"orderId": "123"}, execution_id="order-123")
    execution = await engine.result(started.execution_id)
    assert execution["status"] == "completed", execution
    assert execution["completedSteps"] == list(URLS)
    assert till.booked == {"order-123:charge-payment"}
    delivered = await sim.list(workflow="dag.webhook")
    for run in delivered:
        await sim.handle(run.id).result()
    told = {request.headers["webhook-id"] for request in till.to("http://analytics/order-complete")}
    assert len(told) == 1
    assert till.to("http://support/order-failed") == []
    for id, url in URLS.items():
        assert till.to(url), id
    assert {len(set(till.bodies(url)[0])) for url in URLS.values()} == {1}


@pytest.mark.needs("polling", reason="who was killed says nothing: another one has to look")
@pytest.mark.slow
async def test_the_order_flow_survives_a_crash_at_every_operation_of_the_store() -> None:
    faults = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER, FaultKind.UNKNOWN)
    tried = await crash_everywhere(scenario, workflows=engine.workflows, faults=faults)
    assert tried.operations > 10
    assert tried.trials == 3 * tried.operations


@pytest.mark.nightly
async def test_the_order_flow_survives_every_mishap_at_every_operation_of_the_store() -> None:
    tried = await crash_everywhere(scenario, workflows=engine.workflows)
    assert tried.failed == []


@pytest.mark.needs("polling", reason="it counts operations, looks among them")
async def test_the_scenario_without_faults_takes_few_operations() -> None:
    """One commit for a step: the flow of five steps, with one attempt more and one delivery."""
    tried = await crash_everywhere(scenario, workflows=engine.workflows, faults=())
    assert tried.operations < 80
