"""Random definitions, and executors that do what the drawing says."""

from __future__ import annotations

import json
import random
from typing import Any

from durable_dag.js import JsonValue, SyntaxProblem

JOINS = ("active", "active", "active", "all", "any", "done")
PLAIN = ("success?", "success?", "success?", "success", "failure", "skipped", "done")


class Literals:
    """Stands in for the JavaScript engine where an expression is a JSON literal: its value needs no engine."""

    async def evaluate(self, expression: str, variables: Any = None, **limits: Any) -> JsonValue:
        value: JsonValue = json.loads(expression)
        return value

    async def call(self, body: str, variables: Any = None, **limits: Any) -> JsonValue:
        return await self.evaluate(body.removeprefix("return "))

    async def check(self, source: str, kind: str, names: tuple[str, ...] = ()) -> SyntaxProblem | None:
        try:
            json.loads(source.removeprefix("return "))
        except ValueError as error:
            return SyntaxProblem(str(error), 1, 1)
        return None


def random_graph(seed: int, steps_max: int = 9) -> dict[str, dict[str, Any]]:
    """A graph for the model: what each step depends on, and what it would come to."""
    dice = random.Random(seed)
    graph: dict[str, dict[str, Any]] = {}
    for number in range(dice.randint(1, steps_max)):
        kind = dice.choice(("plain", "plain", "plain", "condition", "switch"))
        branch: str | None = None
        if kind == "condition":
            branch = dice.choice(("true", "false"))
        elif kind == "switch":
            branch = dice.choice(("gold", "silver", None))
        deps = [
            {"step": source, "on": dice.choice((*PLAIN, *_branches(graph[source]["kind"])))}
            for source in graph
            if dice.random() < 2.5 / (len(graph) + 1)
        ]
        if deps and dice.random() < 0.1:
            deps.append({"step": deps[0]["step"], "on": dice.choice(PLAIN)})
        graph[f"s{number}"] = {
            "deps": deps,
            "join": dice.choice(JOINS),
            "kind": kind,
            "branch": branch,
            "critical": dice.random() < 0.75,
            "fails": dice.random() < 0.3,
            "guard": dice.choice((None, None, None, None, True, False)),
            "delay": dice.choice((0, 0, 0, 1, 2, 5)),
        }
    return graph


def _branches(kind: str) -> tuple[str, ...]:
    return {"plain": (), "condition": ("true", "false"), "switch": ("gold", "silver")}[kind]


def definition_of(graph: dict[str, dict[str, Any]], id: str = "random", **more: Any) -> dict[str, Any]:
    """The graph as a definition for ``act`` and for conditions and switches of literals."""
    return {"id": id, "steps": [_step(name, step) for name, step in graph.items()], **more}


def _step(id: str, step: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": id,
        "join": step["join"],
        "critical": step["critical"],
        "dependencies": [d["step"] if d["on"] == "success?" else d for d in step["deps"]],
    }
    if step["guard"] is not None:
        made["when"] = json.dumps(step["guard"])
    if step["kind"] == "plain" or step["fails"]:
        made |= {"action": "act", "params": {"fails": step["fails"], "delay": step["delay"]}}
        if step["kind"] == "condition":
            made |= {"action": "condition", "params": {"expression": "no literal"}}
        elif step["kind"] == "switch":
            made |= {"action": "switch", "params": {"expression": "no literal", "cases": ["gold", "silver"]}}
    elif step["kind"] == "condition":
        made |= {"action": "condition", "params": {"expression": step["branch"]}}
    else:
        expression = json.dumps(step["branch"] or "neither")
        made |= {"action": "switch", "params": {"expression": expression, "cases": ["gold", "silver"]}}
    return made
