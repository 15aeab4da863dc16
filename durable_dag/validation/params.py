"""A step's action and its params: known, complete, of the right types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from durable_dag.graph.actions import BUILT_IN, INTERPRETED
from durable_dag.graph.schemas import misfits
from durable_dag.graph.templates import is_templated, templates_in
from durable_dag.problems import Report, pointer
from durable_dag.validation.reader import Reader, told
from durable_dag.validation.shape import bad_url, check_policy

Json: TypeAlias = Any

__all__ = ["check_params"]

_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")
_BODIES: Final = ("POST", "PUT", "PATCH")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_NAMES: Final[Mapping[str, str]] = {
    "string": "a text",
    "object": "an object",
    "array": "a list",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def check_params(
    raw: Mapping[str, Json], at: str, actions: Mapping[str, Json], report: Report, *, allow_unknown: bool = False
) -> None:
    """Check one step's ``action`` and ``params``.

    Args:
        actions: Schema of the params by action; None for any.
        allow_unknown: Whether a worker may bring the action later.
    """
    action = raw.get("action")
    params = raw.get("params")
    if params is not None and not isinstance(params, Mapping):
        report.error(at + "/params", "invalid_type", f"params is an object, not {told(params)}")
        return
    if action is None:
        report.warn(at, "step_has_no_action", "a step without an action does nothing, and succeeds at once")
        return
    if not isinstance(action, str):
        report.error(at + "/action", "invalid_type", f"action is a text, not {told(action)}")
        return
    if action not in actions:
        if not allow_unknown:
            _unknown_action(action, at, actions, report)
        return
    given: Mapping[str, Json] = params or {}
    if actions[action] is not None:
        _check_schema(given, at + "/params", actions[action], report)
        if actions[action] == BUILT_IN.get(action):
            Reader(given, at + "/params", report).unknown(actions[action]["properties"])
    _check_special(action, given, at + "/params", actions, report, allow_unknown)


def _unknown_action(action: str, at: str, actions: Mapping[str, Json], report: Report) -> None:
    known = sorted(actions)
    hint = report.meant(action, known)
    meant = "." if hint is None else f"; did you mean {hint!r}?"
    data: dict[str, Json] = {"known": known} if hint is None else {"known": known, "hint": hint}
    message = f"no executor is registered for {action[:140]!r}{meant} Known: {', '.join(known)}"
    report.error(at + "/action", "unknown_action", message, **data)


def _check_schema(given: Mapping[str, Json], at: str, schema: Mapping[str, Json], report: Report) -> None:
    """Required members and, where no template stands in the way, types."""
    for member in schema.get("required", ()):
        if given.get(member) is None:
            report.error(at + pointer(member), "missing_field", f"{member} is missing")
    if set(schema) - {"type", "properties", "required"} and not any(templates_in(given)):
        for where, message in misfits(given, {**schema, "required": []}):
            report.error(at + where, "invalid_type", message)
        return
    for member, expected in schema.get("properties", {}).items():
        value = given.get(member)
        if value is not None and not (isinstance(value, str) and is_templated(value)):
            _check_member(value, at + pointer(member), member, expected, report)


def _check_member(value: Json, at: str, member: str, expected: Mapping[str, Json], report: Report) -> None:
    if "enum" in expected:
        if value not in expected["enum"]:
            listed = ", ".join(map(str, expected["enum"]))
            report.error(at, "invalid_type", f"{member} is one of {listed}, not {told(value)}")
        return
    types = expected.get("type")
    if types is None:
        return
    names: Sequence[str] = types if isinstance(types, list) else [types]
    fits = any(
        isinstance(value, _KINDS[name]) and not (isinstance(value, bool) and name in ("number", "integer"))
        for name in names
    )
    if not fits:
        report.error(
            at, "invalid_type", f"{member} is {' or '.join(map(_NAMES.__getitem__, names))}, not {told(value)}"
        )
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < expected.get("minimum", value):
        report.error(at, "invalid_type", f"{member} is {expected['minimum']} or more, not {value!r}")


def _check_special(
    action: str, given: Mapping[str, Json], at: str, actions: Mapping[str, Json], report: Report, allow_unknown: bool
) -> None:
    if action in ("http.request", "webhook"):
        _check_request(action, given, at, report)
    elif action == "switch":
        _check_cases(given, at, report)
    elif action == "map":
        _check_map(given, at, actions, report, allow_unknown)
    elif action == "delay" and given.get("duration") is None and given.get("until") is None:
        report.error(at + "/duration", "missing_field", "duration (or until) is missing")


def _check_request(action: str, given: Mapping[str, Json], at: str, report: Report) -> None:
    url = given.get("url")
    if isinstance(url, str) and (wrong := bad_url(url)) is not None:
        report.error(at + "/url", "bad_url", wrong)
    method = given.get("method", "GET")
    if not isinstance(method, str):
        return
    if not is_templated(method) and not _METHOD.fullmatch(method):
        report.error(at + "/method", "invalid_type", f"{method[:50]!r} is no HTTP method")
    if action == "http.request" and method.upper() in _BODIES and "body" not in given:
        report.warn(at, "request_without_body", f"{method.upper()} without a body: nothing of the context is sent")


def _check_cases(given: Mapping[str, Json], at: str, report: Report) -> None:
    cases = given.get("cases")
    if not isinstance(cases, list | dict):
        return
    if not cases:
        report.error(at + "/cases", "invalid_type", "cases names one branch at least")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        if not isinstance(case, str):
            report.error(at + "/cases" + pointer(index), "invalid_type", f"a branch's name, not {told(case)}")


def _check_map(
    given: Mapping[str, Json], at: str, actions: Mapping[str, Json], report: Report, allow_unknown: bool
) -> None:
    items, step, workflow = given.get("items"), given.get("step"), given.get("workflow")
    if items is not None and not isinstance(items, list) and not (isinstance(items, str) and is_templated(items)):
        report.error(at + "/items", "invalid_type", f"items is a list, or a template that gives one, not {told(items)}")
    if (step is None) == (workflow is None):
        report.error(at + "/step", "missing_field", "either step or workflow says what is done with each item")
    if not isinstance(step, Mapping):
        return
    inner = at + "/step"
    reader = Reader(step, inner, report)
    check_policy(reader)
    reader.number("timeout", "bad_timeout", least=1)
    reader.unknown({"action", "params", "retryPolicy", "timeout", "name"})
    if step.get("action") in INTERPRETED:
        report.error(
            inner + "/action", "unknown_action", f"{step['action']!r} cannot be done for each item; use workflow"
        )
    else:
        check_params(step, inner, actions, report, allow_unknown=allow_unknown)
