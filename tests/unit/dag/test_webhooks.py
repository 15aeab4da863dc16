"""Webhooks of a run: told durably, in order, signed; whatever becomes of them, the run's status stays."""

from __future__ import annotations

import pytest

from durable_dag import ExecutionConflict, HttpProblem, Response, sign, verify
from tests.unit.dag.support import World, step, world

HOOKS = {"onComplete": "http://n/complete", "onFailure": "http://n/failed", "onStep": "http://n/step"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def w():
    async with world(secrets={"HOOK": SECRET}) as made:
        for event in ("complete", "failed", "step"):
            made.web.serve(f"http://n/{event}", 200)
        yield made


def test_the_example_of_the_standard_has_this_signature() -> None:
    made = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_completed_run_tells_its_results(w: World) -> None:
    execution = await w.run(step("a", result=1), step("b", "a", result=2), webhooks=HOOKS)
    await w.sim.run_until_idle()
    [told] = w.web.bodies("http://n/complete")
    assert told["executionId"] == execution["executionId"]
    assert (told["type"], told["status"], told["results"]) == ("workflow.completed", "completed", {"a": 1, "b": 2})
    assert (told["workflowId"], told["version"], told["sequence"]) == ("flow", 1, 3)
    assert w.web.to("http://n/failed") == []


async def test_every_ending_of_a_step_is_told_in_order(w: World) -> None:
    await w.run(step("a", result=1), step("bad", "a", failures=1), step("c", "bad"), webhooks=HOOKS)
    await w.sim.run_until_idle()
    told = sorted(w.web.bodies("http://n/step"), key=lambda one: one["sequence"])
    assert [(one["stepId"], one["status"], one["sequence"]) for one in told] == [
        ("a", "success", 1),
        ("bad", "failed", 2),
        ("c", "skipped", 3),
    ]
    assert (told[0]["result"], told[1]["error"]) == (1, "ValueError: no luck")


async def test_a_failed_run_tells_which_steps_failed(w: World) -> None:
    await w.run(step("bad", failures=1), webhooks=HOOKS)
    await w.sim.run_until_idle()
    [told] = w.web.bodies("http://n/failed")
    assert (told["status"], told["failedSteps"], told["type"]) == ("failed", ["bad"], "workflow.failed")
    assert told["error"] == "bad: ValueError: no luck"


async def test_a_cancelled_run_tells_that_it_was_cancelled(w: World) -> None:
    await w.register(step("slow", takes=50), webhooks=HOOKS)
    execution = await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.cancel(execution))
    await w.end(execution)
    await w.sim.run_until_idle()
    assert [one["status"] for one in w.web.bodies("http://n/failed")] == ["cancelled"]


async def test_a_terminated_run_tells_what_its_code_could_not(w: World) -> None:
    steps = [step("bad", failures=1), step("slow", takes=50)]
    await w.register(*steps, webhooks=HOOKS)
    execution = await w.start()
    await w.sim.advance(seconds=1)
    for _ in range(2):  # the caller has died in between, and says it again
        await w.sim.inside(w.engine.terminate(execution, "enough"))
    await w.sim.run_until_idle()
    [told] = w.web.bodies("http://n/failed")
    assert (told["type"], told["status"], told["error"]) == ("workflow.cancelled", "cancelled", "enough")
    assert (told["failedSteps"], told["sequence"]) == (["bad"], 2)
    assert [one["sequence"] for one in w.web.bodies("http://n/step")] == [1]


async def test_each_termination_of_a_run_is_told(w: World) -> None:
    await w.register(step("slow", takes=50), webhooks=HOOKS)
    execution = await w.start()
    for _ in range(2):
        await w.sim.advance(seconds=1)
        await w.sim.inside(w.engine.terminate(execution))
        await w.sim.inside(w.engine.retry(execution))
    await w.end(execution)
    await w.sim.run_until_idle()
    assert len(w.web.bodies("http://n/failed")) == 2
    assert len(w.web.bodies("http://n/complete")) == 1


async def test_who_was_cancelled_first_is_not_told_of_again(w: World) -> None:
    await w.register(step("slow", takes=50), webhooks=HOOKS)
    execution = await w.start()
    await w.sim.advance(seconds=1)
    await w.sim.inside(w.engine.cancel(execution))
    await w.end(execution)
    await w.sim.inside(w.engine.tell_last(execution))
    await w.sim.run_until_idle()
    assert len(w.web.bodies("http://n/failed")) == 1


async def test_a_run_that_is_cancelled_before_it_began_tells_that_too(w: World) -> None:
    await w.register(step("a"), webhooks=HOOKS)
    execution = await w.start(delay=3600)
    await w.sim.inside(w.engine.cancel(execution))
    await w.sim.run_until_idle()
    assert [one["status"] for one in w.web.bodies("http://n/failed")] == ["cancelled"]


async def test_a_start_may_add_webhooks(w: World) -> None:
    await w.register(step("a"))
    await w.end(await w.start(webhooks={"onComplete": "http://n/complete"}))
    await w.sim.run_until_idle()
    assert len(w.web.to("http://n/complete")) == 1


async def test_a_delivery_is_signed_and_its_id_stays_over_attempts(w: World) -> None:
    w.web.serve("http://n/complete", 500, HttpProblem("away"), 200)
    await w.run(step("a"), webhooks={"onComplete": {"url": "http://n/complete", "secret": "${{ secrets.HOOK }}"}})
    await w.sim.advance(hours=1)
    sent = w.web.to("http://n/complete")
    assert len(sent) == 3
    assert len({request.headers["webhook-id"] for request in sent}) == 1
    assert len({request.headers["webhook-timestamp"] for request in sent}) == 3
    for request in sent:
        at = float(request.headers["webhook-timestamp"])
        assert verify(SECRET, request.headers, request.body or b"", at)
        assert not verify(SECRET, request.headers, (request.body or b"") + b" ", at)
        assert not verify(SECRET, request.headers, request.body or b"", at + 600)
        assert not verify("whsec_AAAA", request.headers, request.body or b"", at)
        assert verify(f"whsec_AAAA {SECRET}", request.headers, request.body or b"", at)


async def test_the_waits_between_attempts_are_those_of_the_standard(w: World) -> None:
    w.web.serve("http://n/complete", 500)
    await w.run(step("a"), webhooks=HOOKS)
    await w.sim.advance(days=5)
    stamps = [int(request.headers["webhook-timestamp"]) for request in w.web.to("http://n/complete")]
    waits = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
    wanted = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert len(waits) == len(wanted)
    assert all(one <= wait <= one * 1.1 + 2 for one, wait in zip(wanted, waits, strict=True))


async def test_a_dead_letter_is_visible_and_can_be_sent_again(w: World) -> None:
    w.web.serve("http://n/complete", 500)
    execution = await w.run(step("a"), webhooks=HOOKS)
    await w.sim.advance(days=5)
    dead = (await w.sim.list(workflow="dag.webhook", status="failed")).runs
    assert [run.labels["dag.delivery"] for run in dead] == [execution["executionId"]]
    w.web.serve("http://n/complete", 200)
    await w.sim.inside(w.engine.redeliver(dead[0].id))
    assert await w.sim.handle(dead[0].id).result() == {"status": 200, "sent": True}
    assert (await w.now(execution["executionId"]))["status"] == "completed"
    with pytest.raises(ExecutionConflict):
        await w.sim.inside(w.engine.redeliver((await w.sim.list(workflow="dag", limit=1)).runs[0].id))


async def test_an_endpoint_that_is_gone_is_asked_no_more_until_somebody_says_so(w: World) -> None:
    w.web.serve("http://n/complete", 410)
    await w.register(step("a"), webhooks=HOOKS)
    await w.end(await w.start())
    await w.end(await w.start())
    await w.sim.advance(hours=1)
    assert len(w.web.to("http://n/complete")) == 1
    dead = (await w.sim.list(workflow="dag.webhook", status="failed")).runs
    assert len(dead) == 2
    w.web.serve("http://n/complete", 200)
    await w.sim.inside(w.engine.redeliver(dead[0].id))
    await w.sim.handle(dead[0].id).result()
    assert len(w.web.to("http://n/complete")) == 2


async def test_an_endpoint_whose_url_holds_a_secret_is_asked_again_when_somebody_says_so() -> None:
    async with world(secrets={"PLACE": "T0/B1"}) as made:
        made.web.serve("http://n/T0/B1", 410)
        await made.register(step("a"), webhooks={"onComplete": "http://n/${{ secrets.PLACE }}"})
        await made.end(await made.start())
        await made.end(await made.start())
        await made.sim.run_until_idle()
        assert len(made.web.to("http://n/T0/B1")) == 1
        [dead, _] = (await made.sim.list(workflow="dag.webhook", status="failed")).runs
        made.web.serve("http://n/T0/B1", 200)
        await made.sim.inside(made.engine.redeliver(dead.id))
        await made.sim.handle(dead.id).result()
        assert len(made.web.to("http://n/T0/B1")) == 2


async def test_large_results_are_replaced_by_where_to_read_them(w: World) -> None:
    execution = await w.run(step("a", result="x" * 30_000), webhooks=HOOKS)
    await w.sim.run_until_idle()
    [told] = w.web.bodies("http://n/complete")
    assert "results" not in told
    assert told["resultsUrl"] == f"/executions/{execution['executionId']}"


async def test_an_endpoint_gets_only_the_events_that_it_wants(w: World) -> None:
    await w.run(
        step("a"), step("b", failures=1), webhooks={"onStep": {"url": "http://n/step", "events": ["step.failed"]}}
    )
    await w.sim.run_until_idle()
    assert [one["stepId"] for one in w.web.bodies("http://n/step")] == ["b"]


async def test_a_retry_after_is_heeded(w: World) -> None:
    w.web.serve("http://n/complete", Response(503, {"retry-after": "120"}), 200)
    await w.run(step("a"), webhooks=HOOKS)
    await w.sim.advance(seconds=100)
    assert len(w.web.to("http://n/complete")) == 1
    await w.sim.advance(seconds=30)
    assert len(w.web.to("http://n/complete")) == 2


async def test_a_webhook_step_that_is_answered_500_fails_and_is_tried_again(w: World) -> None:
    w.web.serve("http://n/mail", 500, 200)
    hook = {
        "id": "mail",
        "action": "webhook",
        "params": {"url": "http://n/mail", "payload": {"type": "x"}, "secret": SECRET},
    }
    execution = await w.run({**hook, "retryPolicy": {"maxAttempts": 3, "initialDelay": 10}})
    assert execution["stepResults"]["mail"]["result"] == {"status": 200, "sent": True}
    assert execution["stepResults"]["mail"]["attempts"] == 2
    sent = w.web.to("http://n/mail")[-1]
    assert verify(SECRET, sent.headers, sent.body or b"", float(sent.headers["webhook-timestamp"]))
