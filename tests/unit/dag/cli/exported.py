"""Exported programs as modules, and their runs in a simulation."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable import RunFailed, Worker, Workflow, connect
from durable.clock import SystemClock
from durable_dag import Outbound
from durable_dag.export import python_program
from durable_dag.graph.definition import read_definition
from durable_dag.graph.plan import Plan
from durable_dag.js import JsRuntime
from durable_dag.program import Actions
from durable_testing import Sim


@dataclass(frozen=True)
class Ended:
    """How a run of a program ended.

    Attributes:
        results: Of the durable steps, by name.
    """

    status: str
    output: Any
    standings: Mapping[str, Any]
    results: Mapping[str, Any]


def source_of(document: Mapping[str, Any]) -> str:
    """The program that a definition is exported as."""
    text, _ = python_program(Plan.of(read_definition(document)))
    return text


def imported(text: str, directory: Path, actions: Actions) -> Any:
    """The module of a program, with other actions than its own."""
    file = directory / f"program_{abs(hash(text))}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.actions = actions  # type: ignore[attr-defined]
    return module


def workflow_in(module: Any) -> Workflow[..., Any]:
    """Its only workflow."""
    (found,) = [one for one in vars(module).values() if isinstance(one, Workflow)]
    return found


def actions_for(js: JsRuntime, outbound: Outbound | None = None, **options: Any) -> Actions:
    """Actions whose custom ``act`` does what its params say."""
    actions = Actions(js=js, outbound=outbound, **options)

    async def act(params: Mapping[str, Any]) -> Any:
        if params.get("fails"):
            raise ValueError("drawn to fail")
        return params.get("result", "done")

    actions.register_executor("act", act)
    return actions


async def ended(client: Any, workflow: Workflow[..., Any], context: Mapping[str, Any], id: str) -> Ended:
    """Start a program's workflow, and see it to its end."""
    handle = await client.start(workflow, dict(context), id=id)
    try:
        output, status = await handle.result(), "completed"
    except RunFailed:
        output, status = None, "failed"
    results = {row.name: row.value for row in await handle.history() if row.event == "step_completed"}
    standings = (await handle.values()).get("steps", {})
    return Ended(status, output, standings, results)


@asynccontextmanager
async def place(real: bool, **parts: Any) -> AsyncIterator[tuple[Any, Callable[[Any], Any]]]:
    """Where runs go on, and how to wait there: simulated time, or real time for helpers that are processes."""
    if real:
        async with connect(f"memory://{SystemClock().token()}") as client, Worker(client, **parts, drain=0.2):
            yield client, lambda waited: waited
    else:
        async with Sim(**parts) as sim:
            yield sim, sim.inside
