"""What goes in and what comes out: JSON, and errors that say where."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable.codec import dump_error, load_error
from durable.errors import DurableError, InvalidInput, NonRetryable
from durable_dag.js import (
    JsError,
    JsFailure,
    JsInterrupted,
    JsMemory,
    JsResultError,
    JsSyntaxError,
    JsTimeout,
    ProcessJs,
    SyntaxProblem,
)

EXACT = 2**53
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: math.copysign(1, number) > 0 or number)
    | st.text(st.characters(codec=None))  # lone surrogates, too
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=20
)
module_loop = pytest.mark.asyncio(loop_scope="module")


@module_loop
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES)
async def test_a_json_value_comes_back_as_it_went(shared: ProcessJs, value: Any) -> None:
    assert await shared.evaluate("value", {"value": value}) == value
    assert await shared.call("return Promise.resolve({value})", {"value": value}) == {"value": value}


@module_loop
@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("undefined", None),
        ("NaN", None),
        ("-0", 0),
        ("1e21", 1e21),
        ("2 ** 60", 2.0**60),
        ("2 ** 53", EXACT),
        ("'\\u0000é😀\\ud800'", "\0é😀\ud800"),
        ("{a: undefined, b: [undefined], c: () => 1}", {"b": [None]}),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Map([[1, 2]])", {}),
        ("1, 2", 2),
        ("1 // a comment", 1),
        ("`${1 + 1}`", "2"),
        ("Promise.resolve(1).then(x => Promise.resolve(x + 1))", 2),
        ("{then: (f) => f(3)}", 3),
        ("this === globalThis", True),
        ("'x'.repeat(1048574).length", 1048574),
    ],
)
async def test_a_value_of_javascript_is_the_json_that_it_stringifies_to(
    shared: ProcessJs, source: str, value: object
) -> None:
    assert await shared.evaluate(source) == value


@module_loop
@pytest.mark.parametrize("size", [10, 10_000, 1_048_574])
async def test_a_text_of_any_size_up_to_the_limit_comes_back(shared: ProcessJs, size: int) -> None:
    assert await shared.call("return text.slice(1) + text[0]", {"text": "ab" * (size // 2)}) == "ba" * (size // 2)


@module_loop
async def test_one_character_more_than_the_limit_is_refused(shared: ProcessJs) -> None:
    with pytest.raises(JsResultError, match="too large: 1048584 characters of JSON; at most 1,048,576 bytes"):
        await shared.evaluate("'x'.repeat(1048575)")
    with pytest.raises(JsResultError, match="too large"):  # few characters, many bytes
        await shared.evaluate("'é'.repeat(1048000)")


@module_loop
@pytest.mark.parametrize(
    ("body", "name", "message", "line", "column"),
    [
        ("\n  null.x", "TypeError", "cannot read property 'x' of null", 2, 3),
        ("throw new RangeError('far')", "RangeError", "far", 1, 11),
        ("const f = () => {\n  return missing;\n};\nreturn f();", "ReferenceError", "missing is not defined", 2, 10),
        ("return Promise.reject(new Error('late'))", "Error", "late", 1, 27),
        ("throw 'text'", "", "text", None, None),
        ("throw {code: 7}", "", '{"code":7}', None, None),
        ("throw {name: 'Mine', message: 'own'}", "Mine", "own", None, None),
        ("throw Symbol('s')", "", "Symbol(s)", None, None),
        ("throw undefined", "", "undefined", None, None),
    ],
)
async def test_an_error_says_what_javascript_said_and_where(
    shared: ProcessJs, body: str, name: str, message: str, line: int | None, column: int | None
) -> None:
    with pytest.raises(JsError) as caught:
        await shared.call(body)
    error = caught.value
    assert (error.name, error.message, error.line, error.column) == (name, message, line, column)
    assert str(error).startswith(f"{name}: {message}" if name else message)
    assert str(error).endswith(f"(line {line}, column {column})") == (line is not None)


@module_loop
async def test_a_place_in_an_expression_counts_from_its_own_beginning(shared: ProcessJs) -> None:
    with pytest.raises(JsError) as caught:
        await shared.evaluate("1 +\n  a.b.c", {"a": {}})
    assert (caught.value.line, caught.value.column) == (2, 3)


@module_loop
@pytest.mark.parametrize(
    ("kind", "source", "problem"),
    [
        ("expression", "context.amount > 100", None),
        ("expression", "{a: context}", None),
        ("body", "return context", None),
        ("body", "", None),
        ("expression", "", SyntaxProblem("unexpected end", 1, 1)),
        ("expression", "x =>", SyntaxProblem("unexpected end", 1, 5)),
        ("expression", "return 1", SyntaxProblem("unexpected token in expression: 'return'", 1, 1)),
        ("expression", "1); (2", SyntaxProblem("Unexpected token ')'", 1, 2)),
        ("expression", "(1) + [2", SyntaxProblem("unexpected end", 1, 9)),
        ("expression", "a +\n + * b", SyntaxProblem("unexpected token in expression: '*'", 2, 4)),
        ("body", "return (", SyntaxProblem("unexpected end", 1, 9)),
        ("body", "return {{", SyntaxProblem("invalid property name", 1, 9)),
        ("body", "let a = 1;\nlet a = 2;", SyntaxProblem("invalid redefinition of lexical identifier", 2, 7)),
        ("body", "}); (function(){", SyntaxProblem("braces that do not match", None, None)),
    ],
)
async def test_a_check_finds_what_does_not_compile_and_where(
    shared: ProcessJs, kind: Any, source: str, problem: SyntaxProblem | None
) -> None:
    assert await shared.check(source, kind, ("context",)) == problem


@module_loop
async def test_a_check_does_not_run_the_code(shared: ProcessJs) -> None:
    assert await shared.check("while (true) {}", "body") is None
    assert await shared.check("missing.thing()", "expression") is None


@module_loop
@pytest.mark.parametrize("trick", ["1); (2", "1] + [2", "1) + (2", "1;", "1 /*", "'", "`${", ")(", "a\n) { ("])
async def test_what_is_not_one_expression_is_no_expression(shared: ProcessJs, trick: str) -> None:
    with pytest.raises(JsSyntaxError):
        await shared.evaluate(trick, {"a": 1})


@module_loop
@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"a": math.nan}, "not JSON"),
        ({"a": object()}, "not JSON"),
        ({"a": {1, 2}}, "not JSON"),
        ({"a-b": 1}, "not a JavaScript identifier"),
        ({"a, b": 1}, "not a JavaScript identifier"),
        ({"": 1}, "not a JavaScript identifier"),
        ({"a": "x" * 9_000_000}, "at most 8,388,608"),
    ],
)
async def test_variables_that_cannot_cross_are_refused(shared: ProcessJs, variables: Any, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        await shared.evaluate("1", variables)


@module_loop
async def test_values_that_are_nested_too_deeply_are_refused_on_either_side(shared: ProcessJs) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput, match="not JSON"):
        await shared.evaluate("1", {"deep": deep})
    for depth in (900, 2_000, 100_000):
        try:
            await shared.call("let a = []; for (let i = 0; i < depth; i++) a = [a]; return a", {"depth": depth})
        except JsResultError:
            continue
        assert depth < 2_000


@module_loop
@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": math.nan}, {"timeout": 61}, {"memory": 1}])
async def test_limits_that_make_no_sense_are_refused(shared: ProcessJs, limits: Any) -> None:
    with pytest.raises(InvalidInput):
        await shared.evaluate("1", **limits)


@module_loop
async def test_source_that_is_too_long_or_no_text_is_refused(shared: ProcessJs) -> None:
    with pytest.raises(InvalidInput, match="at most 1,048,576"):
        await shared.evaluate(" " * 1_048_577)
    with pytest.raises(InvalidInput, match="not text"):
        await shared.evaluate("'\ud800'")


@module_loop
async def test_limits_are_those_of_the_call(shared: ProcessJs) -> None:
    hungry = "const a = []; for (let i = 0; i < 2e6; i++) a.push(i + 0.5); return a.length"
    with pytest.raises(JsMemory):
        await shared.call(hungry, memory=4 * 1024 * 1024)
    assert await shared.call(hungry, memory=128 * 1024 * 1024, timeout=5) == 2_000_000
    with pytest.raises(JsTimeout, match=r"0\.05 s"):
        await shared.call("while (true) {}", timeout=0.05)


def test_what_the_code_is_to_blame_for_is_not_retried_and_what_it_is_not_is() -> None:
    for blamed in (JsError, JsSyntaxError, JsTimeout, JsMemory, JsResultError):
        assert issubclass(blamed, NonRetryable)
        assert issubclass(blamed, JsFailure)
    assert issubclass(JsFailure, DurableError)
    assert not issubclass(JsInterrupted, NonRetryable)


def test_an_error_survives_the_journal() -> None:
    error = JsSyntaxError("no good", name="SyntaxError", line=3, column=9)
    again = load_error(dump_error(error))
    assert isinstance(again, JsSyntaxError)
    assert (again.name, again.message, again.line, again.column) == ("SyntaxError", "no good", 3, 9)
    assert str(again) == "SyntaxError: no good (line 3, column 9)"
