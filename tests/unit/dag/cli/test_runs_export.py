"""``durable runs export``: runs of definitions and of code, as JSON and as pictures."""

import asyncio
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from dag_shell import Shell

from durable import Worker, connect
from durable_dag import Engine

pytestmark = pytest.mark.slow

GATE: dict[str, Any] = {
    "id": "gate",
    "steps": [
        {"id": "first", "name": "First <b>", "action": "give", "params": {"n": 1}},
        {"id": "no", "action": "fail", "params": {"message": "on purpose"}, "dependencies": ["first"]},
        {"id": "after", "dependencies": ["no"]},
    ],
}
APP = """
from durable import Context, step, workflow

@step
async def greet(name: str) -> dict[str, str]:
    return {"said": f"hello {name}", "password": "hunter2"}

@workflow
async def hello(ctx: Context, name: str) -> str:
    return (await ctx.step(greet, name))["said"]
"""


async def run_gate(store: str) -> None:
    async with connect(store) as client:
        engine = Engine(client)

        @engine.executor("give")
        async def give(params: dict[str, Any]) -> Any:
            return {**params, "token": "t-123"}

        async with Worker(client, **engine.worker_parts(), drain=0.2):
            await engine.start(definition=GATE, execution_id="gate-1", context={"password": "hunter2"})
            await engine.result("gate-1")
        await engine.close()


@pytest.fixture
def gate(here: Path) -> None:
    asyncio.run(run_gate(f"sqlite:///{here}/runs.db"))


def test_a_run_of_a_definition_is_drawn_with_its_states(durable: Shell, gate: None) -> None:
    drawn = durable("runs", "export", "gate-1", "--format", "svg")
    assert drawn.exit_code == 0, drawn.stderr
    boxes = [one.get("class") for one in ET.fromstring(drawn.stdout).iter() if one.get("data-step")]
    assert boxes == ["box success", "box failed", "box skipped"]
    assert "✗ no" in durable("runs", "export", "gate-1", "--format", "dot").stdout
    assert durable("runs", "export", "@last", "--format", "mermaid").stdout.startswith("flowchart LR\n")
    times = durable("runs", "export", "gate-1", "--format", "svg", "--timeline").stdout
    assert "✓ first" in times
    assert ET.fromstring(times).tag.endswith("svg")


def test_its_json_is_the_execution_and_its_history(durable: Shell, gate: None) -> None:
    found = json.loads(durable("runs", "export", "gate-1", "--format", "json").stdout)
    assert found["execution"]["failedSteps"] == ["no"]
    assert found["execution"]["stepResults"]["first"]["result"] == {"n": 1, "token": "[hidden]"}
    assert found["execution"]["context"]["password"] == "[hidden]"
    assert "step_completed" in [one["event"] for one in found["history"]]
    assert "t-123" not in json.dumps(found)


def test_a_run_of_code_is_a_timeline(durable: Shell, here: Path) -> None:
    (here / "hello_app.py").write_text(APP)
    assert durable("run", "hello_app.py:hello", "-i", '"Ada"', "--id", "h1").exit_code == 0
    assert "✓ greet" in durable("runs", "export", "h1", "--format", "svg").stdout
    assert "greet :done" in durable("runs", "export", "h1", "--format", "mermaid").stdout
    refused = durable("runs", "export", "h1", "--format", "dot")
    assert (refused.exit_code, "Only a definition's run has a graph." in refused.stderr) == (4, True)
    found = json.loads(durable("runs", "export", "h1", "--format", "json").stdout)
    assert found["execution"]["steps"][0]["name"] == "greet"
    assert "hunter2" not in json.dumps(found)
    assert durable("runs", "export", "h2", "--format", "json").exit_code == 3
