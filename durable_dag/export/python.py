"""A definition as a program: one durable step for each step with effects, and the graph in a workflow.

Requests, JavaScript and custom actions are carried out by the same executors as in the definition. The rules of
skipping are those of ``durable_dag.program.Flow``, which asks the same tables as the interpreter.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, final

from durable.errors import DurableError
from durable_dag.export.expressions import Expressions, secrets_in, takes_a_step
from durable_dag.export.naming import Names
from durable_dag.export.source import COLUMNS, Atom, Group, Node, call, laid_out, literal
from durable_dag.graph.actions import BUILT_IN
from durable_dag.graph.definition import PLAIN_SUCCESS, STEP_TIMEOUT_MS, Definition, RetryPolicy, StepDef, read_retry
from durable_dag.graph.plan import Plan
from durable_dag.pictures.drawing import printable
from durable_dag.scheduling.life import UNTOUCHED

Json: TypeAlias = Any

__all__ = ["NotExportable", "python_program"]

_SEEN: Final = Atom("seen")
_CTX: Final = Atom("ctx")
_POLICY: Final = ("multiplier", "initial_delay", "max_delay", "jitter", "retry_on", "do_not_retry_on", "max_elapsed")
_SCRIPT_POLICY: Final = RetryPolicy(5, 2.0, 200, 5000)
_DURABLE: Final = ("Secret", "attempt_number")


class NotExportable(DurableError):
    """A definition has something that cannot be said in the other form.

    Attributes:
        reasons: All of it, a line each.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


def python_program(plan: Plan, *, version: int | None = None) -> tuple[str, list[str]]:
    """The source of a module with one workflow, and what of the definition is not in it, a line each.

    Raises:
        NotExportable: Steps start other definitions, or need what only an attempt has where there is none.
    """
    return _Program(plan, version).written()


@final
class _Program:
    def __init__(self, plan: Plan, version: int | None) -> None:
        self._plan = plan
        self._definition: Definition = plan.definition
        self._version = version
        self._names = Names()
        self._uses: set[str] = {"Actions", "Flow"}
        self._expressions = Expressions(self._uses)
        self._functions: list[str] = []
        self._has_steps = False
        self._refused: list[str] = []
        self._left_out: list[str] = []

    def written(self) -> tuple[str, list[str]]:
        """Everything, in the order of the definition."""
        name = self._names.give(self._definition.id, local=False)
        adds = [self._added(step) for step in self._plan.steps.values()]
        ending = self._ending()
        if self._definition.hooks:
            events = ", ".join(dict.fromkeys(hook.event for hook in self._definition.hooks))
            self._left_out.append(f"its webhooks ({events}): this program tells nobody")
        if self._definition.concurrency is not None:
            self._left_out.append("a limit of executions at once: here as many run as are started")
        late = [step.id for step in self._plan.steps.values() if step.schedule_timeout is not None]
        if late:
            self._left_out.append(
                f"a time until a worker must have taken up {', '.join(late)}: here that may take long"
            )
        if self._refused:
            raise NotExportable(self._refused)
        main = self._workflow(name, adds, ending)
        parts = [self._head(name), *self._functions, main]
        return "\n\n\n".join(parts) + "\n", self._left_out

    # ── the frame ────────────────────────────────────────────────────────────────────────────────────────────────

    def _head(self, name: str) -> str:
        definition, actions, assigned = self._definition, self._custom(), laid_out(self._actions(), 0, 10)
        version = "" if self._version is None else f", version {self._version}"
        paragraphs = [f"{_said(definition.name)}, from the definition {definition.id}{version}."]
        if definition.description:
            paragraphs.append(_said(definition.description))
        paragraphs.append(f"Try it: durable run {name}.py:{name} --input '{{}}'")
        if actions:
            named = ", ".join(actions)
            paragraphs.append(
                f"Before that, say who carries these actions out, with actions.register_executor(): {named}."
            )
        if self._left_out:
            paragraphs.append("The definition also has " + "; and ".join(self._left_out) + ".")
        said = "\n\n".join(textwrap.fill(one, 118, break_long_words=False) for one in paragraphs)
        doc = f'"""{said}\n"""' if "\n" in said else f'"""{said}"""'
        durable = [
            "Context",
            *(one for one in _DURABLE if one in self._uses),
            *(["step"] * self._has_steps),
            "workflow",
        ]
        program = sorted(self._uses - set(_DURABLE), key=lambda one: (one[0].islower(), one))
        lines = [doc, "", "from __future__ import annotations", "", "from typing import Any", ""]
        lines.append(f"from durable import {', '.join(durable)}")
        lines.append(_imported("durable_dag.program", program))
        return "\n".join([*lines, "", f"actions = {assigned}"])

    def _actions(self) -> Node:
        names = [one for one in self._secrets() if one != "step.attempt"]
        if not names:
            return call("Actions")
        given = Group("{", [(laid_out(literal(one)) + ": ", call("Secret.env", literal(one))) for one in names], "}")
        return call("Actions", secrets=given)

    def _secrets(self) -> list[str]:
        found = secrets_in([dict(step.params) for step in self._plan.steps.values()])
        if any(one != "step.attempt" for one in found):
            self._uses.add("Secret")
        return found

    def _custom(self) -> list[str]:
        inner = [step.params.get("step") for step in self._plan.steps.values() if step.action == "map"]
        actions = [step.action for step in self._plan.steps.values()]
        actions += [one["action"] for one in inner if isinstance(one, Mapping) and isinstance(one.get("action"), str)]
        return sorted(set(actions) - set(BUILT_IN))

    def _workflow(self, name: str, adds: list[Node], ending: list[str]) -> str:
        definition = self._definition
        more: dict[str, Node] = {"workflow": literal(definition.id)}
        for member, value in (
            ("version", self._version),
            ("limit", definition.limit),
            ("timeout", definition.timeout),
            ("fail_fast", definition.fail_fast or None),
        ):
            if value is not None:
                more[member] = literal(value)
        lines = [laid_out(call("@workflow", literal(definition.id)))]
        lines.append(f"async def {name}(ctx: Context, context: dict[str, Any]) -> Any:")
        if definition.input_schema is not None:
            self._uses.add("check_context")
            lines.append(_line("", call("check_context", Atom("context"), literal(definition.input_schema))))
        lines.append(_line("flow = ", call("Flow", _CTX, Atom("context"), Atom("actions"), **more)))
        lines += [_line("", add) for add in adds]
        return "\n".join([*lines, "    await flow.run()", *ending])

    def _ending(self) -> list[str]:
        definition = self._definition
        if not definition.has_output:
            return ["    return flow.results()"]
        if secrets_in(definition.output):
            self._refused.append("output: secrets are for actions that an executor carries out")
        output = self._expressions.of(definition.output)
        if takes_a_step(definition.output):
            name = self._names.give(f"{definition.id}_output")
            self._durable(name, "output:", "What the run comes to", [_line("return ", output)], _SCRIPT_POLICY)
            return [f"    return await ctx.step({name}, flow.seen())"]
        seen = ["    seen = flow.seen()"] if "pick(" in laid_out(output) else []
        return [*seen, _line("return ", output)]

    def _added(self, step: StepDef) -> Node:
        name = self._function(step)
        after = [
            literal(edge.step)
            if edge.on == PLAIN_SUCCESS
            else Group("(", [("", literal(edge.step)), ("", literal(edge.on))], ")")
            for edge in step.edges
        ]
        more: dict[str, Node] = {"after": Group("[", [("", one) for one in after], "]")} if after else {}
        key = step.params.get("inputKey")
        for member, value, usual in (
            ("join", step.join, "active"),
            ("kind", step.kind, "plain"),
            ("critical", step.critical, True),
            ("when", step.when, None),
            ("priority", step.priority, 0),
            ("save", step.save_output, True),
            ("input_key", key if isinstance(key, str) else None, None),
        ):
            if value != usual:
                more[member] = literal(value)
        return call("flow.add", literal(step.id), Atom(name), **more)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _function(self, step: StepDef) -> str:
        """Write what a step does; the name of that."""
        match step.action:
            case "noop" if not secrets_in(step.params) and "${{" not in repr(step.params):
                return "None"
            case "workflow.run":
                self._refused.append(
                    f"step {step.id}: it starts another definition; export that, too, and call it with ctx.child()"
                )
                return "None"
            case "map" if isinstance(step.params.get("workflow"), str):
                self._refused.append(
                    f"step {step.id}: it starts another definition for each item; export that, too, and use ctx.map()"
                )
                return "None"
            case "noop" | "fail" | "delay" | "signal.wait" | "map":
                return self._in_workflow(step)
            case _:
                name = self._names.give(step.id)
                params = self._params(step.action, step.params)
                self._durable(
                    name, step.id, step.name, self._performed(step, params), step.retry, step.timeout, step.queue
                )
                return name

    def _performed(self, step: StepDef, params: Node) -> list[str]:
        schema = {} if step.output_schema is None else {"schema": literal(step.output_schema)}
        performed = call("actions.perform", literal(step.action), params, _SEEN, **schema)
        return [_line("return await " if step.save_output or step.kind != "plain" else "await ", performed)]

    def _params(self, action: str, given: Mapping[str, Json], item: bool = False) -> Node:
        """Params as an executor gets them."""
        untouched = UNTOUCHED.get(action, frozenset())
        items = [
            (laid_out(literal(name)) + ": ", literal(value) if name in untouched else self._expressions.of(value))
            for name, value in given.items()
            if action != "transform" or name not in ("inputKey", "input")
        ]
        if action == "transform":
            items.append(('"input": ', self._input(given, item)))
        return Group("{", items, "}")

    def _input(self, given: Mapping[str, Json], item: bool) -> Node:
        """Whether the key is there decides, not what is there."""
        key = given.get("inputKey")
        other = self._expressions.of(given["input"]) if "input" in given else literal(None)
        if item:
            return other if "input" in given else Atom('seen["item"]')
        if not isinstance(key, str):
            return other
        self._uses.add("pick")
        if "input" not in given:
            return call("pick", _SEEN, literal("context"), literal(key), default=literal(None))
        named = laid_out(literal(key))
        return Atom(f'seen["context"][{named}] if {named} in seen["context"] else {laid_out(other, taken=-10_000)}')

    def _durable(
        self,
        name: str,
        id: str,
        label: str,
        body: list[str],
        retry: RetryPolicy,
        timeout: float | None = None,
        queue: str | None = None,
    ) -> None:
        self._has_steps = True
        options: dict[str, Node] = {"name": literal(id)}
        options["timeout"] = literal((STEP_TIMEOUT_MS if timeout is None else timeout) / 1000)
        usual = RetryPolicy()
        if retry != usual:
            self._uses.add("retries")
            changed = {
                one: _value(getattr(retry, one)) for one in _POLICY if getattr(retry, one) != getattr(usual, one)
            }
            options["retry"] = call("retries", literal(int(retry.max_attempts)), **changed)
        if queue is not None:
            options["queue"] = literal(queue)
        head = [laid_out(call("@step", **options)), f"async def {name}(seen: dict[str, Any]) -> Any:"]
        doc = [f'    """{_said(label)}."""'] if label != id else []
        self._functions.append("\n".join([*head, *doc, *body]))

    # ── what workflows do themselves ─────────────────────────────────────────────────────────────────────────────

    def _in_workflow(self, step: StepDef) -> str:
        """A function of the workflow; params with JavaScript in them are written out by a step of its own."""
        untouched = UNTOUCHED.get(step.action, frozenset())
        mine = {name: value for name, value in step.params.items() if name not in untouched}
        if secrets_in(mine):
            self._refused.append(
                f"step {step.id}: secrets and step.attempt are for actions that an executor carries out"
            )
        name = self._names.give(step.id)
        lines: list[str] = []
        if takes_a_step(mine):
            values = self._names.give(f"{step.id}_params")
            body = [_line("return ", self._expressions.of(mine))]
            self._durable(values, f"render:{step.id}", f"Params of {step.name}", body, _SCRIPT_POLICY)
            lines.append(f"    params = await ctx.step({values}, seen)")
            params: Node = Atom("params")
        else:
            params = self._expressions.of(mine)
        lines += self._body(step, mine, params)
        doc = [f'    """{_said(step.name)}."""'] if step.name != step.id else []
        head = f"async def {name}(ctx: Context, seen: dict[str, Any]) -> Any:"
        self._functions.append("\n".join([head, *doc, *lines]))
        return name

    def _body(self, step: StepDef, mine: Mapping[str, Json], params: Node) -> list[str]:
        def param(name: str, otherwise: str = "") -> Node:
            if isinstance(params, Atom):
                return call("params.get", literal(name), literal(otherwise))
            return self._expressions.of(mine.get(name, otherwise))

        match step.action:
            case "noop":
                return [_line("_ = ", params), "    return None"]
            case "fail":
                self._uses.add("Failed")
                return [_line("raise ", call("Failed", param("name", "StepFailure"), param("message")))]
            case "delay":
                self._uses.add("delay")
                return [_line("return await ", call("delay", _CTX, _SEEN, params))]
            case "signal.wait":
                self._uses.add("signal")
                timeout = {} if step.timeout is None else {"timeout": literal(step.timeout)}
                return self._fitted(step, call("signal", _CTX, _SEEN, params, **timeout))
            case _:
                return self._mapped(step, params)

    def _mapped(self, step: StepDef, params: Node) -> list[str]:
        self._uses.add("each")
        inner: Mapping[str, Json] = step.params.get("step") or {}
        action, given = inner.get("action", "noop"), inner.get("params") or {}
        name = self._names.give(f"{step.id}_item")
        body = [
            _line("return await ", call("actions.perform", literal(action), self._params(action, given, True), _SEEN))
        ]
        retry = read_retry(inner["retryPolicy"]) if inner.get("retryPolicy") else step.retry
        self._durable(
            name, f"item:{step.id}", f"One item of {step.name}", body, retry, inner.get("timeout"), step.queue
        )
        if step.params.get("batch") is not None:
            self._left_out.append(f"a batch size in step {step.id}: here each item is a call of its own")
        more: dict[str, Node] = {} if step.timeout is None else {"timeout": literal(step.timeout)}
        for member, argument in (("concurrency", "limit"), ("tolerateFailures", "tolerate")):
            if member in step.params:
                value = call("params.get", literal(member)) if isinstance(params, Atom) else None
                more[argument] = value or self._expressions.of(step.params[member])
        items = call("params.get", literal("items")) if isinstance(params, Atom) else None
        found = items or self._expressions.of(step.params.get("items"))
        return self._fitted(step, call("each", _CTX, Atom(name), _SEEN, found, **more))

    def _fitted(self, step: StepDef, value: Group) -> list[str]:
        if step.output_schema is None:
            return [_line("return await ", value)]
        self._uses.add("fitting")
        awaited = Group(f"await {value.opening}", value.items, value.closing)
        return [_line("return ", call("fitting", awaited, literal(step.output_schema)))]


def _imported(module: str, names: Iterable[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= COLUMNS:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def _line(before: str, node: Node) -> str:
    return f"    {before}{laid_out(node, 4, 4 + len(before))}"


def _value(value: Json) -> Node:
    if isinstance(value, tuple):
        return Atom("(" + ", ".join(laid_out(literal(one)) for one in value) + ("," if len(value) == 1 else "") + ")")
    return literal(value)


def _said(text: str) -> str:
    """A text that can stand in a docstring."""
    return printable(" ".join(text.split()), 300).replace("\\", "/").replace('"', "'").rstrip(".")
