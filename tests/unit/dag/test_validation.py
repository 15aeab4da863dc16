"""What is wrong with a definition: each code, with its place, and all of them at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_dag import Engine, InvalidDefinition, definition_schema
from durable_dag.graph.schemas import misfits
from durable_dag.js import ProcessJs
from durable_dag.validation import Checks, check
from tests.unit.dag.graphs import Literals

engine = Engine(js=Literals(), secrets={"TOKEN": "x"})
TOKEN = "${{ secrets.TOKEN }}"


async def problems(document: Any, **options: Any) -> list[tuple[str, str]]:
    """(code, path) of each error."""
    checks = Checks(engine.executors.schemas(), {"TOKEN"}, js=Literals(), **options)
    return [(one.code, one.path) for one in (await check(document, checks)).errors]


async def warnings(document: Any) -> list[tuple[str, str]]:
    """(code, path) of each warning."""
    return [(one.code, one.path) for one in (await engine.validate(document)).warnings]


def flow(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"id": "flow", "steps": list(steps), **more}


def http(id: str, **params: Any) -> dict[str, Any]:
    return {"id": id, "action": "http.request", "params": {"url": "http://x/", **params}}


CASES: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("no object", [1], [("invalid_json", "")]),
    ("no steps", {"id": "x"}, [("missing_field", "/steps")]),
    ("no id", {"steps": [{"id": "a"}]}, [("missing_field", "/id")]),
    ("an empty list of steps", flow(), [("limit_exceeded", "/steps")]),
    ("too many steps", flow(*[{"id": f"s{n}"} for n in range(1001)]), [("limit_exceeded", "/steps")]),
    ("steps that are none", flow("a", 1), [("invalid_type", "/steps/0"), ("invalid_type", "/steps/1")]),
    ("a step without an id", flow({}), [("missing_field", "/steps/0/id")]),
    ("an id that is none", flow({"id": "__proto__"}), [("invalid_id", "/steps/0/id")]),
    ("ids that are said twice", flow({"id": "a"}, {"id": "a"}), [("duplicate_step_id", "/steps/1/id")]),
    (
        "unknown dependencies",
        flow({"id": "a", "dependencies": ["b"]}, {"id": "c", "dependencies": ["b"]}),
        [("unknown_dependency", "/steps/0/dependencies/0"), ("unknown_dependency", "/steps/1/dependencies/0")],
    ),
    ("a step on itself", flow({"id": "a", "dependencies": ["a"]}), [("self_dependency", "/steps/0/dependencies/0")]),
    (
        "a circle",
        flow(
            {"id": "a", "dependencies": ["b"]}, {"id": "b", "dependencies": ["a"]}, {"id": "c", "dependencies": ["b"]}
        ),
        [("cycle", "/steps/0/dependencies")],
    ),
    (
        "a circle through sugar",
        flow({"id": "a", "onSuccess": ["b"]}, {"id": "b", "onSuccess": ["a"]}),
        [("cycle", "/steps/0/dependencies")],
    ),
    ("an unknown action", flow({"id": "a", "action": "http.requst"}), [("unknown_action", "/steps/0/action")]),
    (
        "no attempts",
        flow({**http("a"), "retryPolicy": {"maxAttempts": 0}}),
        [("bad_retry_policy", "/steps/0/retryPolicy/maxAttempts")],
    ),
    (
        "a shrinking and a negative wait",
        flow({**http("a"), "retryPolicy": {"backoffMultiplier": 0.5, "initialDelay": -1}}),
        [
            ("bad_retry_policy", "/steps/0/retryPolicy/backoffMultiplier"),
            ("bad_retry_policy", "/steps/0/retryPolicy/initialDelay"),
        ],
    ),
    (
        "no time",
        flow({**http("a"), "timeout": 0}, timeout=-1),
        [("bad_timeout", "/timeout"), ("bad_timeout", "/steps/0/timeout")],
    ),
    ("a url of another kind", flow(http("a", url="file:///etc/passwd")), [("bad_url", "/steps/0/params/url")]),
    ("a url without a host", flow(http("a", url="http:///x")), [("bad_url", "/steps/0/params/url")]),
    ("a webhook's url", flow({"id": "a"}, webhooks={"onComplete": "nowhere"}), [("bad_url", "/webhooks/onComplete")]),
    ("a missing url", flow({"id": "a", "action": "http.request"}), [("missing_field", "/steps/0/params/url")]),
    (
        "code that does not compile",
        flow({"id": "a", "action": "condition", "params": {"expression": "1 +"}}),
        [("js_syntax", "/steps/0/params/expression")],
    ),
    ("an open template", flow(http("a", body="${{ context.x")), [("template_syntax", "/steps/0/params/body")]),
    ("an unknown root", flow(http("a", body="${{ contxt.x }}")), [("reference_unknown", "/steps/0/params/body")]),
    ("an unknown secret", flow(http("a", body="${{ secrets.NONE }}")), [("reference_unknown", "/steps/0/params/body")]),
    (
        "an item outside of a map",
        flow(http("a", body={"deep/er": ["${{ item.x }}"]})),
        [("reference_unknown", "/steps/0/params/body/deep~1er/0")],
    ),
    (
        "a step that does not come before",
        flow(http("a", body="${{ context.b.x }}"), http("b")),
        [("reference_not_upstream", "/steps/0/params/body")],
    ),
    (
        "an input that does not come before",
        flow({"id": "a", "action": "transform", "params": {"inputKey": "b", "code": "return 1"}}, http("b")),
        [("reference_not_upstream", "/steps/0/params/inputKey")],
    ),
    (
        "a branch that nobody takes",
        flow(
            {"id": "c", "action": "condition", "params": {"expression": "true"}},
            {"id": "a", "dependencies": [{"step": "c", "on": "maybe"}]},
        ),
        [("branch_unknown", "/steps/1/dependencies/0/on")],
    ),
    (
        "a branch of a plain step",
        flow({"id": "c"}, {"id": "a", "dependencies": [{"step": "c", "on": "true"}]}),
        [("branch_unknown", "/steps/1/dependencies/0/on")],
    ),
    (
        "types that are none",
        flow({"id": "a", "join": "some", "critical": "yes", "params": []}),
        [("invalid_type", "/steps/0/join"), ("invalid_type", "/steps/0/critical"), ("invalid_type", "/steps/0/params")],
    ),
    ("a decision that does not choose", flow({**http("a"), "type": "decision"}), [("invalid_type", "/steps/0/type")]),
    ("a schema that is none", flow({"id": "a"}, inputSchema={"type": "nonsense"}), [("invalid_type", "/inputSchema")]),
    (
        "a map of nothing",
        flow({"id": "a", "action": "map", "params": {"items": []}}),
        [("missing_field", "/steps/0/params/step")],
    ),
    ("a delay of no length", flow({"id": "a", "action": "delay"}), [("missing_field", "/steps/0/params/duration")]),
    ("not JSON", flow({"id": "a", "x-note": {1, 2}}), [("invalid_json", "")]),
]


@pytest.mark.parametrize(("document", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_what_is_wrong_is_told_with_its_place(document: Any, expected: list[tuple[str, str]]) -> None:
    assert await problems(document) == expected


WARNED: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("no action", flow({"id": "a"}), [("step_has_no_action", "/steps/0")]),
    ("no body", flow(http("a", method="POST")), [("request_without_body", "/steps/0/params")]),
    (
        "an unknown field",
        flow({**http("a"), "dependecies": []}, colour="red"),
        [("unknown_field", "/colour"), ("unknown_field", "/steps/0/dependecies")],
    ),
    ("a note", flow({**http("a"), "x-colour": "red"}), []),
    ("a type that means nothing", flow({**http("a"), "type": "parallel"}), [("type_has_no_effect", "/steps/0/type")]),
    (
        "a cut wait",
        flow({**http("a"), "retryPolicy": {"initialDelay": 10, "maxDelay": 5}}),
        [("max_delay_below_initial", "/steps/0/retryPolicy/maxDelay")],
    ),
    (
        "a join of both branches",
        flow(
            {"id": "c", "action": "condition", "params": {"expression": "true"}},
            {**http("a"), "join": "all", "dependencies": [{"step": "c", "on": "true"}, {"step": "c", "on": "false"}]},
        ),
        [("unreachable_branch", "/steps/1/dependencies")],
    ),
]


@pytest.mark.parametrize(("document", "expected"), [case[1:] for case in WARNED], ids=[case[0] for case in WARNED])
async def test_what_is_odd_is_told_and_accepted(document: Any, expected: list[tuple[str, str]]) -> None:
    assert await problems(document) == []
    assert await warnings(document) == expected


@pytest.mark.parametrize(
    ("action", "params", "at"),
    [
        ("workflow.run", {"workflowId": "y", "context": {"k": "${{ secrets.TOKEN }}"}}, "context/k"),
        ("signal.wait", {"name": "${{ secrets.TOKEN }}"}, "name"),
        ("fail", {"message": "attempt ${{ step.attempt }}"}, "message"),
        ("map", {"items": ["${{ secrets.TOKEN }}"], "step": {"action": "noop"}}, "items/0"),
        ("map", {"items": [1], "workflow": "y", "context": {"k": "${{ secrets.TOKEN }}"}}, "context/k"),
    ],
)
async def test_what_only_an_attempt_knows_is_refused_where_there_is_none(action: str, params: Any, at: str) -> None:
    found = await problems(flow({"id": "a", "action": action, "params": params}))
    assert ("reference_unknown", f"/steps/0/params/{at}") in found


async def test_what_only_an_attempt_knows_may_stand_in_what_a_map_does_and_in_webhooks() -> None:
    inner = {"action": "http.request", "params": {"url": "http://x/${{ step.attempt }}", "auth": {"bearer": TOKEN}}}
    document = flow({"id": "a", "action": "map", "params": {"items": [1], "step": inner}})
    document["webhooks"] = {"onComplete": {"url": "http://x/", "secret": TOKEN}}
    assert await problems(document) == []
    assert await problems({**document, "output": TOKEN}) == [("reference_unknown", "/output")]


async def test_a_misspelt_param_of_a_built_in_action_is_told() -> None:
    (told,) = (await engine.validate(flow(http("a", methd="POST")))).warnings
    assert (told.code, told.path) == ("unknown_field", "/steps/0/params/methd")
    assert told.message == "nobody reads 'methd'; did you mean 'method'?"
    assert await warnings(flow(http("a", **{"x-note": 1}))) == []


async def test_what_was_expected_is_said_in_words() -> None:
    wrong = flow({"id": "a", "action": "delay", "params": {"duration": "5m"}}, {"id": "b", "action": "odd"}, timeout=-3)
    told = {one.path: one.message for one in (await engine.validate(wrong)).errors}
    assert told["/steps/0/params/duration"] == "duration is a number, not '5m'"
    assert told["/timeout"] == "timeout is from 1 to 3,153,600,000,000, not -3"
    assert told["/steps/1/action"].startswith("no executor is registered for 'odd'. Known: condition, delay,")


async def test_everything_is_told_at_once() -> None:
    document = {
        "steps": [
            {"id": "a", "action": "nothing", "dependencies": ["b", "a"], "timeout": -1},
            {"id": "a", "params": {"x": "${{ "}},
        ]
    }
    codes = sorted(code for code, _ in await problems(document))
    assert codes == [
        "bad_timeout",
        "duplicate_step_id",
        "missing_field",
        "self_dependency",
        "template_syntax",
        "unknown_action",
        "unknown_dependency",
    ]


async def test_a_circle_is_told_with_its_path() -> None:
    document = flow(*[{"id": id, "dependencies": [on]} for id, on in (("a", "c"), ("b", "a"), ("c", "b"))])
    [problem] = (await engine.validate(document)).errors
    assert problem.message == "steps wait for each other in a circle: a → b → c → a"
    assert problem.as_json()["cycle"] == ["a", "b", "c", "a"]


async def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    found = (await engine.validate(flow({"id": "validate"}, {"id": "b", "dependencies": ["validte"]}))).errors
    assert found[0].as_json()["hint"] == "validate"
    found = (await engine.validate(flow({"id": "a", "action": "http.requst"}))).errors
    assert found[0].as_json()["hint"] == "http.request"
    assert "transform" in found[0].as_json()["known"]


async def test_the_layers_are_those_of_the_longest_paths() -> None:
    steps = [("a", []), ("b", ["a"]), ("c", ["a", "b"]), ("d", [])]
    checked = await engine.validate(flow(*[{"id": id, "dependencies": deps} for id, deps in steps]))
    assert checked.layers == [["a", "d"], ["b"], ["c"]]


async def test_strictly_taken_a_warning_is_an_error() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        await engine._checked(flow({"id": "a"}), strict=True)
    assert caught.value.problems[0].code == "step_has_no_action"


async def test_an_unknown_action_may_come_with_a_worker() -> None:
    assert await problems(flow({"id": "a", "action": "later"}), allow_unknown_actions=True) == []


async def test_params_of_a_custom_executor_are_held_against_its_schema() -> None:
    own = Engine(js=Literals())
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    own.register_executor("own", lambda params: None, params_schema=schema)
    found = (await own.validate(flow({"id": "a", "action": "own", "params": {"n": "one", "m": 1}}))).errors
    assert {one.code for one in found} == {"invalid_type"}
    assert (await own.validate(flow({"id": "a", "action": "own", "params": {"n": "${{ context.n }}"}}))).valid


async def test_a_deep_document_is_refused_and_not_a_recursion_error() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert [code for code, _ in await problems(flow({"id": "a", "params": {"x": deep}}))] == ["limit_exceeded"]


@pytest.fixture
async def real() -> AsyncIterator[ProcessJs]:
    async with ProcessJs() as js:
        yield js


@pytest.mark.slow
async def test_javascript_is_compiled_and_its_place_is_told(real: ProcessJs) -> None:
    own = Engine(js=real)
    document = flow({"id": "a", "action": "transform", "params": {"code": "let x = 1;\nreturn (x + ;"}})
    [problem] = (await own.validate(document)).errors
    assert (problem.code, problem.as_json()["line"]) == ("js_syntax", 2)


async def test_the_schema_accepts_what_the_validator_accepts() -> None:
    schema = definition_schema(engine.executors.schemas())
    for _, document, _ in WARNED:
        assert misfits(document, schema) == []
    assert misfits({"id": "x", "steps": []}, schema) != []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = [
    "id",
    "steps",
    "name",
    "action",
    "params",
    "dependencies",
    "retryPolicy",
    "timeout",
    "when",
    "join",
    "webhooks",
    "output",
    "onSuccess",
    "inputKey",
]
documents = st.dictionaries(
    st.sampled_from(MEMBERS),
    json_values | st.lists(st.dictionaries(st.sampled_from(MEMBERS), json_values, max_size=6), max_size=4),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(documents)
async def test_no_document_makes_the_validator_stumble(document: Any) -> None:
    checked = await engine.validate(document)
    assert json.dumps([one.as_json() for one in (*checked.errors, *checked.warnings)])


async def test_a_definition_that_is_wrong_in_a_thousand_places_is_hinted_at_in_the_first_few_only() -> None:
    """The nearest of a thousand names, looked for a thousand times, kept everybody else waiting for ten seconds."""
    steps = [{"id": f"{'a' * 100}{n}", "action": "noop", "dependencies": [f"{'b' * 100}{n}"]} for n in range(1000)]
    steps[0]["dependencies"] = ["a" * 100 + "x"]
    checked = await engine.validate(flow(*steps))
    unknown = [one for one in checked.errors if one.code == "unknown_dependency"]
    assert len(unknown) == 1000
    assert "hint" in dict(unknown[0].data)
    assert sum("hint" in dict(one.data) for one in unknown) <= 20


async def test_names_after_the_first_few_get_no_hint() -> None:
    steps = [{"id": f"step{n}", "action": "noop", "dependencies": [f"stepp{n}"]} for n in range(50)]
    checked = await engine.validate(flow(*steps))
    assert ["hint" in dict(one.data) for one in checked.errors] == [True] * 20 + [False] * 30
