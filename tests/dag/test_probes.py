"""What the original server gets wrong, probe by probe, and what is right here: over HTTP, each row of the table a test.

The original was run against these probes; ``theirs`` is what it answered.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from durable_server.app import asgi
from tests.dag.desk import Desk, at_a_desk, http_step, noop
from tests.dag.services import Reply, Services
from tests.unit.dag.support import world
from tests.unit.server.serving_rig import Caller

Check = Callable[[Desk], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Probe:
    """A row."""

    name: str
    theirs: str
    check: Check


TABLE: list[Probe] = []


def probe(name: str, theirs: str) -> Callable[[Check], Check]:
    """The function below it says what is so here."""

    def added(check: Check) -> Check:
        TABLE.append(Probe(name, theirs, check))
        return check

    return added


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services() as made:
        yield made


@pytest.fixture
async def desk(services: Services) -> AsyncIterator[Desk]:
    services.forget()
    async with at_a_desk(services) as made:
        yield made


def is_(on: str, step: str = "check") -> dict[str, str]:
    return {"step": step, "on": on}


def condition(expression: str, id: str = "check", *dependencies: Any) -> dict[str, Any]:
    return {"id": id, "action": "condition", "params": {"expression": expression}, "dependencies": list(dependencies)}


def transform(code: str, *dependencies: Any, **params: Any) -> dict[str, Any]:
    return {"id": "t", "action": "transform", "params": {"code": code, **params}, "dependencies": list(dependencies)}


def hold(id: str, *dependencies: Any, **more: Any) -> dict[str, Any]:
    return {"id": id, "action": "hold", "dependencies": list(dependencies), **more}


# ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────────────


@probe("unknown dependency id", "200; the execution ends completed, the step stays pending")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("a"), noop("b", "nobody")) == ["unknown_dependency"]


@probe("two steps with the same unknown dependency", "400, but says that there is a cycle")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("a", "nobody"), noop("b", "nobody")) == ["unknown_dependency"] * 2


@probe("duplicate step ids", "200; both run, and the second result overwrites the first")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("a"), noop("a")) == ["duplicate_step_id"]


@probe("cycle", "400 without its path")
async def _(desk: Desk) -> None:
    answer = await desk.register(noop("a", "b"), noop("b", "a"))
    assert answer.status_code == 400
    [detail] = answer.json()["details"]
    assert detail["code"] == "cycle"
    assert "a → b → a" in detail["message"]


@probe("self-dependency", "400, as a cycle")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("a", "a")) == ["self_dependency"]


@probe("unknown action", "200; fails when it runs")
async def _(desk: Desk) -> None:
    answer = await desk.register({"id": "a", "action": "http.requst"})
    assert answer.status_code == 400
    [detail] = answer.json()["details"]
    assert (detail["code"], detail["hint"]) == ("unknown_action", "http.request")
    assert {"http.request", "delay", "transform", "condition", "webhook"} <= set(detail["known"])


@probe("no action, as in the README's own CI/CD example", "200; fails when it runs: no executor for undefined")
async def _(desk: Desk) -> None:
    answer = await desk.register({"id": "a"})
    assert (answer.status_code, [one["code"] for one in answer.json()["warnings"]]) == (201, ["step_has_no_action"])
    assert (await desk.run({"id": "a"}))["status"] == "completed"


@probe("no dependencies", "400 with the text of a TypeError")
async def _(desk: Desk) -> None:
    assert (await desk.run({"id": "a", "action": "noop"}))["completedSteps"] == ["a"]


@probe("no steps", "400 with the text of a TypeError")
async def _(desk: Desk) -> None:
    answer = await desk.call("POST", "/workflows", {"id": "flow"})
    assert answer.status_code == 400
    assert [(one["code"], one["path"]) for one in answer.json()["details"]] == [("missing_field", "/steps")]
    assert "TypeError" not in answer.text


@probe("no id", "200, stored as undefined")
async def _(desk: Desk) -> None:
    answer = await desk.call("POST", "/workflows", {"steps": [noop("a")]})
    assert answer.status_code == 400
    assert [(one["code"], one["path"]) for one in answer.json()["details"]] == [("missing_field", "/id")]
    assert await desk.call.value("GET", "/workflows") == []


@probe("__proto__ as a step's id", "its result is lost")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("__proto__")) == ["invalid_id"]


@probe("maxAttempts: 0", "200; fails without an attempt: Unknown error")
async def _(desk: Desk) -> None:
    assert await desk.refusal(noop("a", retryPolicy={"maxAttempts": 0})) == ["bad_retry_policy"]


@probe("registering an id again", "replaces it; running executions see a mixture")
async def _(desk: Desk) -> None:
    old = await desk.start(hold("a"), hold("b", "a", params={"result": "old"}))
    await desk.until(old, lambda found: found["currentSteps"] == ["a"])
    again = await desk.register(hold("a"), hold("b", "a", params={"result": "new"}), hold("c", "b"))
    assert (again.status_code, again.json()["version"]) == (201, 2)
    desk.free.set()
    done = await desk.end(old)
    assert (done["version"], done["output"], done["completedSteps"]) == (1, {"b": "old"}, ["a", "b"])
    new = await desk.end(await desk.call.start("flow"))
    assert (new["version"], new["completedSteps"]) == (2, ["a", "b", "c"])
    first = await desk.call.value("GET", "/workflows/flow/versions/1")
    assert [step["id"] for step in first["steps"]] == ["a", "b"]


# ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@probe("a condition that is false", "what depends on it runs anyway")
async def _(desk: Desk) -> None:
    done = await desk.run(condition("context.amount > 100"), noop("yes", "check"), noop("no", is_("false")))
    assert (done["completedSteps"], done["skippedSteps"]) == (["check", "no"], ["yes"])
    assert done["stepResults"]["yes"]["skipReason"] == "condition"


@probe("a condition", "is evaluated twice")
async def _(desk: Desk) -> None:
    await desk.run(condition("context.amount > 100"), noop("yes", "check"), noop("no", is_("false")))
    assert desk.js.evaluated == ["context.amount > 100"]


@probe("a step that fails", "what depends on it stays pending for ever")
async def _(desk: Desk) -> None:
    fail = {"id": "bad", "action": "fail"}
    done = await desk.run(fail, noop("after", "bad"), noop("later", "after"), noop("beside"), noop("more", "beside"))
    assert (done["status"], done["failedSteps"]) == ("failed", ["bad"])
    assert (done["completedSteps"], done["skippedSteps"]) == (["beside", "more"], ["after", "later"])
    assert {done["stepResults"][id]["skipReason"] for id in ("after", "later")} == {"dependency_failed"}


@probe("a slow and a fast step at the root", "the fast one's child waits for the slow one")
async def _(desk: Desk) -> None:
    id = await desk.start(hold("slow"), noop("fast"), noop("child", "fast"), noop("last", "slow", "child"))
    found = await desk.until(id, lambda found: "child" in found["completedSteps"])
    assert found["currentSteps"] == ["slow"]
    desk.free.set()
    assert (await desk.end(id))["completedSteps"] == ["slow", "fast", "child", "last"]


@probe("currentSteps", "never shrinks: a completed execution lists every step")
async def _(desk: Desk) -> None:
    id = await desk.start(noop("a"), hold("b", "a"))
    await desk.until(id, lambda found: found["currentSteps"] == ["b"])
    desk.free.set()
    assert (await desk.end(id))["currentSteps"] == []
    assert (await desk.call.value("GET", "/executions"))[0]["currentSteps"] == []


@probe("stepResults in the list of executions", "{}: a Map through JSON.stringify")
async def _(desk: Desk) -> None:
    await desk.run(noop("a"))
    [short] = await desk.call.value("GET", "/executions")
    assert "stepResults" not in short
    [full] = await desk.call.value("GET", "/executions?include=stepResults,context")
    assert full["stepResults"]["a"]["status"] == "success"
    assert full["context"] == {"a": None}


@probe("a transform of 0, an empty text, or false", "takes params.input instead")
async def _(desk: Desk) -> None:
    for value in (0, "", False, None):
        said = json.dumps(value).encode()
        desk.services.serve("source/value", Reply(200, {"content-type": "application/json"}, said))
        step = transform("return [input]", "source", inputKey="source", input="another")
        done = await desk.run(http_step("source", "source/value"), step)
        assert done["output"] == {"t": [value]}


@probe("a context with a member that is called like a step", "silently overwritten by the step's result")
async def _(desk: Desk) -> None:
    await desk.register(noop("a"))
    answer = await desk.call("POST", "/executions/start", {"workflowId": "flow", "context": {"a": 1}})
    assert (answer.status_code, answer.json()["code"]) == (400, "context_conflict")


@probe("http.request that is answered 204", "fails: Unexpected end of JSON input")
async def _(desk: Desk) -> None:
    desk.services.serve("service/nothing", 204)
    done = await desk.run(http_step("a", "service/nothing"))
    assert (done["status"], done["output"]) == ("completed", {"a": None})


@probe("the body of http.request", "sent as text/plain")
async def _(desk: Desk) -> None:
    await desk.run(http_step("a", "service/do", params={"method": "POST", "body": {"key": "value"}}))
    [sent] = desk.services.to("service/do")
    assert (sent.headers["content-type"], sent.value) == ("application/json", {"key": "value"})


@probe("a webhook step that is answered 500", "success, with {status: 500}")
async def _(desk: Desk) -> None:
    desk.services.serve("hooks/tell", 500, 500, 200)
    step = {"id": "a", "action": "webhook", "params": {"url": "http://hooks/tell", "payload": {"n": 1}}}
    failed = await desk.run(step)
    assert (failed["status"], failed["stepResults"]["a"]["attempts"]) == ("failed", 1)
    done = await desk.run({**step, "retryPolicy": {"maxAttempts": 3, "initialDelay": 10}})
    assert (done["status"], done["stepResults"]["a"]["attempts"]) == ("completed", 2)


@probe("a delay of more than a minute", "fails: step timeout after 60 s")
async def _(desk: Desk) -> None:
    async with world() as w:  # where days take no time
        call = Caller(asgi(w.sim, w.engine, auth="none"))
        step = {"id": "a", "action": "delay", "params": {"duration": 86_400_000}}
        await w.sim.inside(call.value("POST", "/workflows", {"id": "flow", "steps": [step]}))
        id = await w.sim.inside(call.start("flow"))
        await w.end(id)
        done = await w.sim.inside(call.value("GET", f"/executions/{id}"))
    assert (done["status"], done["output"]) == ("completed", {"a": {"delayed": 86_400_000}})
    assert done["stepResults"]["a"]["duration"] == pytest.approx(86_400_000, abs=5000)


@probe("a step that takes longer than its timeout", "is given up on, and goes on in the background")
async def _(desk: Desk) -> None:
    done = await desk.run(hold("a", timeout=30))
    assert (done["status"], done["failedSteps"], desk.cut) == ("failed", ["a"], ["a"])


@probe("the code of a transform", "has the whole host: typeof process is object")
async def _(desk: Desk) -> None:
    names = ("process", "require", "fetch", "Deno", "Elide", "std", "os", "WebAssembly")
    done = await desk.run(transform(f"return [{', '.join(f'typeof {name}' for name in names)}]"))
    assert done["output"] == {"t": ["undefined"] * len(names)}


@probe("params", "no templates: the README's POST requests carry nothing")
async def _(desk: Desk) -> None:
    bare = await desk.register(http_step("a", "service/bare", params={"method": "POST"}))
    assert [one["code"] for one in bare.json()["warnings"]] == ["request_without_body"]
    body = {"order": "${{ context.orderId }}", "found": "${{ context.look }}", "text": "no. ${{ context.orderId }}"}
    desk.services.serve("service/look", {"n": [1, 2]})
    post = http_step("a", "service/do", "look", params={"method": "POST", "body": body})
    await desk.run(http_step("look", "service/look"), post, context={"orderId": 7})
    [sent] = desk.services.to("service/do")
    assert sent.value == {"order": 7, "found": {"n": [1, 2]}, "text": "no. 7"}


@probe("the webhook onStep", "on success only, waited for in the step, errors swallowed, never tried again")
async def _(desk: Desk) -> None:
    desk.services.serve("hooks/step", 503)
    steps = (noop("a"), {"id": "b", "action": "fail", "dependencies": ["a"]}, noop("c", "b"))
    done = await desk.run(*steps, webhooks={"onStep": "http://hooks/step"})
    assert done["status"] == "failed"  # whatever became of the letters
    async with asyncio.timeout(20):
        while len(desk.services.to("hooks/step")) < 3:
            await asyncio.sleep(0.01)
    told = sorted((one.value for one in desk.services.to("hooks/step")), key=lambda one: one["sequence"])
    assert [(one["stepId"], one["status"]) for one in told] == [("a", "success"), ("b", "failed"), ("c", "skipped")]
    letters = await desk.call.value("GET", f"/webhook-deliveries?executionId={done['executionId']}")
    assert len(letters) == 3
    assert {one["status"] for one in letters} <= {"sending", "waiting"}  # to be tried again in five seconds


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────────


@probe("an unknown route", "200: Workflow Orchestrator")
async def _(desk: Desk) -> None:
    assert (await desk.call("GET", "/nothing")).status_code == 404
    assert (await desk.call("POST", "/executions/none/nothing", {})).status_code == 404


@probe("a wrong method", "200: Workflow Orchestrator")
async def _(desk: Desk) -> None:
    answer = await desk.call("PUT", "/workflows", {})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@probe("an unknown workflow or execution", "400 at the start; 404 where one looks")
async def _(desk: Desk) -> None:
    start = await desk.call("POST", "/executions/start", {"workflowId": "x", "context": {}})
    assert (start.status_code, start.json()["error"], start.json()["code"]) == (
        404,
        "Workflow not found: x",
        "workflow_not_found",
    )
    for path in ("/workflows/x", "/executions/x", "/executions/x/visualize"):
        assert (await desk.call("GET", path)).status_code == 404


@probe("a restart", "all definitions and executions are lost")
async def _(desk: Desk) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/runs.db"
        async with at_a_desk(desk.services, url) as before:
            id = await before.start(noop("a"), hold("b", "a"))
            await before.until(id, lambda found: found["currentSteps"] == ["b"])
        async with at_a_desk(desk.services, url) as after:
            assert [one["id"] for one in await after.call.value("GET", "/workflows")] == ["flow"]
            assert [one["executionId"] for one in await after.call.value("GET", "/executions")] == [id]
            after.free.set()
            assert (await after.end(id))["completedSteps"] == ["a", "b"]


# ── what the README says twice, and differently ──────────────────────────────────────────────────────────────────────


@probe("startTime: 1234567890", "seconds in the README, milliseconds in the code")
async def _(desk: Desk) -> None:
    done = await desk.run(noop("a"))
    assert 1_600_000_000_000 < done["startTime"] <= done["endTime"] < 10_000_000_000_000


@probe("exec-abc-123", "the code makes a bare UUID")
async def _(desk: Desk) -> None:
    assert re.fullmatch(r"exec-[0-9A-HJKMNP-TV-Z]{26}", await desk.start(noop("a")))


@probe("attempts", "1 in the execution where the picture says 2")
async def _(desk: Desk) -> None:
    desk.services.serve("service/do", 503, 503, {"ok": True})
    policy = {"maxAttempts": 3, "initialDelay": 10}
    done = await desk.run(http_step("a", "service/do", retryPolicy=policy))
    drawn = await desk.call.value("GET", f"/executions/{done['executionId']}/visualize")
    assert done["stepResults"]["a"]["attempts"] == drawn["steps"][0]["attempts"] == 3


@probe("critical steps", "the README has them, the code does not")
async def _(desk: Desk) -> None:
    bad = {"id": "bad", "action": "fail"}
    assert (await desk.run(bad, noop("after", "bad")))["status"] == "failed"
    done = await desk.run({**bad, "critical": False}, noop("after", "bad"))
    assert (done["status"], done["failedSteps"], done["completedSteps"]) == ("completed", ["bad"], ["after"])


NEEDS_JS = {"a condition that is false", "a condition", "a transform of 0, an empty text, or false"}
NEEDS_JS |= {"the code of a transform"}


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
async def test_what_goes_wrong_there_goes_right_here(row: Probe, desk: Desk) -> None:
    if row.name in NEEDS_JS:
        pytest.importorskip("quickjs")
    await row.check(desk)
