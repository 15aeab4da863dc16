"""Exported programs: they are good Python, and do what the definition does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from exported import actions_for, ended, imported, place, source_of, workflow_in
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_dag import Engine
from durable_dag.export import NotExportable, python_program
from durable_dag.export.source import laid_out, literal, quoted
from durable_dag.graph.definition import read_definition
from durable_dag.graph.plan import Plan
from durable_dag.js import ProcessJs
from durable_testing import Sim, explore
from tests.unit.dag.graphs import Literals, definition_of, random_graph
from tests.unit.dag.model import outcome_of
from tests.unit.dag.support import Web

ROOT = Path(__file__).parents[4]
EXAMPLES = ("order-flow", "etl-pipeline", "cicd-pipeline")
ANSWERS = {
    "http://source-system/data": {
        "users": [{"id": 1, "name": "Ada", "x": 2}],
        "orders": [{"id": 7, "status": "active"}],
    },
    "http://validation/validate": {"valid": True},
    "http://inventory/check": {"inStock": True},
    "http://shipping/ship": {"parcel": 3},
    "http://notifications/email": {},
    "http://target-system/load": {"rows": 2},
}


def services() -> Web:
    web = Web()
    for url, answer in ANSWERS.items():
        web.serve(url, answer)
    web.serve("http://payment/charge", 503, 503, {"receipt": "r-1"})
    return web


def ruff(*arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_exported_example_comes_to_what_its_definition_comes_to(name: str, tmp_path: Path) -> None:
    document = json.loads((ROOT / "examples" / "dag" / f"{name}.json").read_text())
    real = name == "etl-pipeline"  # the only one with JavaScript
    async with ProcessJs() as real_js:
        js: Any = real_js if real else Literals()
        engine, context = Engine(js=js, outbound=services()), {"orderId": "o-1"}
        async with place(real, workflows=engine.workflows) as (client, inside):
            engine.bind(client)
            started = await inside(engine.start(definition=document, context=context))
            execution = await inside(engine.result(started.execution_id))
        web = services()
        program = workflow_in(imported(source_of(document), tmp_path, actions_for(js, web)))
        async with place(real, workflows=[program]) as (client, inside):
            end = await inside(ended(client, program, context, started.execution_id))
    wanted = {id: step.get("result") for id, step in execution["stepResults"].items()}
    assert (end.status, end.output) == (execution["status"], execution["output"]) == ("completed", end.output)
    assert {id: end.results.get(id) for id in wanted} == wanted
    assert {id: one["status"] for id, one in end.standings.items()} == dict.fromkeys(wanted, "success")
    keys = {request.headers.get("idempotency-key") for request in web.sent}
    assert f"{execution['executionId']}:ship-order" in keys or name != "order-flow"


@pytest.mark.slow
def test_exported_programs_are_good_python(tmp_path: Path) -> None:
    for name in EXAMPLES:
        document = json.loads((ROOT / "examples" / "dag" / f"{name}.json").read_text())
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(source_of(document))
    (tmp_path / "everything.py").write_text(source_of(EVERYTHING))
    for seed in range(5):
        (tmp_path / f"random_{seed}.py").write_text(source_of(definition_of(random_graph(seed))))
    assert ruff("check", str(tmp_path)) == ""
    assert ruff("format", "--check", str(tmp_path)) == ""


@pytest.mark.slow
async def test_a_program_skips_what_the_model_skips(tmp_path: Path) -> None:
    actions = actions_for(Literals())
    for seed in range(60):
        graph = random_graph(seed)
        document = definition_of(graph, f"g{seed}")
        program = workflow_in(imported(source_of(document), tmp_path, actions))
        async with Sim(workflows=[program], seed=seed) as sim:
            end = await sim.inside(ended(sim, program, {}, "r"))
        wanted, status = outcome_of(graph)
        found = {id: (one["status"], one.get("reason")) for id, one in end.standings.items()}
        assert (found, end.status) == (wanted, status), f"random_graph({seed})"


EVERYTHING: dict[str, Any] = {
    "id": "every-thing",
    "name": 'Every "thing"\\',
    "description": 'With a line\nand a quote """ in it.',
    "inputSchema": {"type": "object", "required": ["amount"]},
    "maxConcurrency": 4,
    "timeout": 86_400_000,
    "output": {"sum": "${{ context.sum }}", "text": "n=${{ context.amount }}", "js": "${{ context.amount * 2 }}"},
    "webhooks": {"onStep": "http://h/"},
    "steps": [
        {
            "id": "get",
            "action": "http.request",
            "params": {
                "url": "http://get/${{ context.amount }}",
                "query": {"a": "${{ context.missing ?? 'none' }}", "half": "${{ context.amount / 2 }}"},
                "headers": {"x-key": "${{ secrets.KEY }}", "x-try": "${{ step.attempt }}", "x-lit": "$${{ no }}"},
            },
            "retryPolicy": {"maxAttempts": 3, "initialDelay": 10, "retryOn": [503]},
            "outputSchema": {"type": "object"},
        },
        {
            "id": "tier",
            "action": "switch",
            "params": {"expression": "context.get.tier", "cases": ["gold", "tin"]},
            "dependencies": ["get"],
        },
        {"id": "gold", "action": "noop", "dependencies": [{"step": "tier", "on": "gold"}]},
        {
            "id": "tin",
            "action": "fail",
            "params": {"name": "Tin", "message": "x"},
            "dependencies": [{"step": "tier", "on": "tin"}],
        },
        {
            "id": "class",
            "when": "context.amount > 3",
            "action": "transform",
            "params": {"inputKey": "get", "code": "return input.tier + context.amount"},
            "dependencies": ["get"],
        },
        {"id": "nap", "action": "delay", "params": {"duration": "${{ context.amount * 10 }}"}},
        {
            "id": "ask",
            "action": "signal.wait",
            "params": {"name": "go", "timeout": 50, "onTimeout": "continue"},
            "dependencies": ["nap"],
        },
        {"id": "late", "action": "signal.wait", "timeout": 50, "critical": False},
        {
            "id": "sum",
            "action": "map",
            "params": {
                "items": [1, 2, 3],
                "concurrency": 2,
                "tolerateFailures": 1,
                "step": {
                    "action": "transform",
                    "params": {"code": "if (index == 1) throw 1; return item * context.amount"},
                },
            },
            "outputSchema": {"type": "array"},
        },
        {"id": "2nd", "action": "act", "params": {"fails": True}, "dependencies": ["sum"], "saveOutput": False},
        {
            "id": "catch",
            "action": "act",
            "params": {"result": ["${{ context.sum[2] }}", "é\u202e" * 50]},
            "dependencies": [{"step": "2nd", "on": "failure"}],
        },
        {
            "id": "bad",
            "action": "act",
            "params": {"result": "${{ context.get.nothing }}"},
            "dependencies": ["get"],
            "critical": False,
        },
    ],
}


@pytest.mark.slow
async def test_everything_that_can_be_exported_does_what_the_definition_does(tmp_path: Path) -> None:
    def web() -> Web:
        made = Web()
        made.serve("http://get/5", 503, {"tier": "gold"})
        return made

    async def act(params: Any) -> Any:
        if params.get("fails"):
            raise ValueError("drawn to fail")
        return params.get("result", "done")

    first, second = web(), web()
    async with ProcessJs() as js:
        engine = Engine(js=js, outbound=first, secrets={"KEY": "k-123456"})
        engine.register_executor("act", act)
        async with place(True, workflows=engine.workflows) as (client, _):
            engine.bind(client)
            started = await engine.start(definition=EVERYTHING, context={"amount": 5})
            execution = await engine.result(started.execution_id)
        actions = actions_for(js, second, secrets={"KEY": "k-123456"})
        program = workflow_in(imported(source_of(EVERYTHING), tmp_path, actions))
        async with place(True, workflows=[program]) as (client, _):
            end = await ended(client, program, {"amount": 5}, started.execution_id)
            wrong = await ended(client, program, {}, "wrong")
    steps = execution["stepResults"]
    assert {id: one["status"] for id, one in steps.items()} == {id: one["status"] for id, one in end.standings.items()}
    assert [id for id, one in end.standings.items() if one["status"] != "success"] == ["tin", "late", "2nd", "bad"]
    assert (end.status, end.output) == (execution["status"], execution["output"])
    assert end.output == {"sum": [5, None, 15], "text": "n=5", "js": 10}
    for id in ("get", "tier", "class", "catch"):
        assert end.results[id] == steps[id]["result"], id
    said = [[(one.url, {**one.headers}) for one in each.sent if "get" in one.url] for each in (first, second)]
    assert said[0] == said[1]
    assert len(said[1]) == 2
    assert wrong.status == "failed"


def test_what_cannot_be_exported_is_refused_with_reasons() -> None:
    steps = [
        {"id": "a", "action": "workflow.run", "params": {"workflowId": "x"}},
        {"id": "b", "action": "map", "params": {"items": [], "workflow": "x"}},
        {"id": "c", "action": "delay", "params": {"duration": "${{ secrets.D }}"}},
    ]
    with pytest.raises(NotExportable) as caught:
        source_of({"id": "x", "steps": steps, "output": "${{ secrets.X }}"})
    assert [reason.partition(":")[0] for reason in caught.value.reasons] == ["step a", "step b", "step c", "output"]


def test_what_is_left_out_is_said() -> None:
    _, left_out = python_program(Plan.of(read_definition(EVERYTHING)))
    assert left_out == ["its webhooks (onStep): this program tells nobody"]


ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
hostile = st.text(max_size=40) | st.sampled_from(
    ['"""', "\\", '"\n\nimport os\n', "'''", "\u202e", "\r", "x" * 300, "{}"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ids, min_size=1, max_size=4, unique=True), hostile, hostile)
def test_no_name_and_no_text_gets_out_of_its_place(names: list[str], label: str, text: str) -> None:
    steps = [{"id": id, "name": label, "action": "act", "params": {"text": text.replace("${{", "")}} for id in names]
    document = {"id": names[0], "name": label, "description": text, "steps": steps}
    source = source_of(document)
    compile(source, "program", "exec")
    plain = {
        "id": names[0],
        "name": "l",
        "description": "d",
        "steps": [{**one, "name": "l", "params": {}} for one in steps],
    }
    assert source.count("\n@step(") == len(names) == source_of(plain).count("\n@step(")
    assert all(line.isprintable() for line in source.splitlines())


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_a_literal_reads_back_as_it_was(value: Any) -> None:
    import ast

    assert ast.literal_eval(laid_out(literal(value))) == value


@given(st.text())
def test_a_quoted_text_reads_back_as_it_was(text: str) -> None:
    import ast

    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()


def test_importing_a_program_starts_no_helper() -> None:
    assert asyncio.run(_pids()) == []


async def _pids() -> list[int]:
    js = ProcessJs()
    actions_for(js)
    return js.pids


@pytest.mark.slow
async def test_a_program_skips_what_the_model_skips_whatever_strikes(tmp_path: Path) -> None:
    graph = random_graph(345, 7)
    program = workflow_in(imported(source_of(definition_of(graph, "g")), tmp_path, actions_for(Literals())))
    wanted, status = outcome_of(graph)

    async def struck(sim: Sim) -> None:
        end = await ended(sim, program, {}, "r")
        found = {id: (one["status"], one.get("reason")) for id, one in end.standings.items()}
        assert (found, end.status) == (wanted, status)

    await explore(struck, workflows=[program], examples=25)
