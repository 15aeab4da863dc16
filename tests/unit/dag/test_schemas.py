"""JSON Schema, bounded: what a schema and a value may cost, and that the answers are the library's own."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_dag.graph.schemas import bad_schema, misfit

CHAIN: dict[str, Any] = {
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(30)},
        "d30": {"type": "integer"},
    },
    "$ref": "#/$defs/d0",
}


def test_a_pattern_that_would_go_back_for_ever_is_matched_at_once() -> None:
    assert misfit("a" * 200 + "b", {"pattern": "^(a+)+$"}) == f"{'a' * 200 + 'b'!r} does not match '^(a+)+$'"
    assert misfit({"a" * 200 + "b": 1}, {"patternProperties": {"^(a+)+$": False}, "additionalProperties": True}) is None


def test_references_that_double_at_each_step_are_given_up() -> None:
    assert misfit(1, CHAIN) == "the schema cannot be used: it takes more than 250,000 checks"
    assert misfit(1, {"type": "integer"}) is None, "the next check has a budget of its own"


def test_many_unlike_objects_are_told_apart_at_once() -> None:
    many = [{"n": n, "more": [n]} for n in range(20_000)]
    assert misfit(many, {"uniqueItems": True}) is None
    assert misfit([*many, {"more": [7.0], "n": 7}], {"uniqueItems": True}) is not None
    assert misfit([1, True, "1", 1.5], {"uniqueItems": True}) is None


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "("])
def test_a_pattern_that_cannot_be_bounded_is_refused_at_registration(pattern: str) -> None:
    for schema in ({"pattern": pattern}, {"items": [{"patternProperties": {pattern: True}}]}):
        found = bad_schema({"properties": {"x": schema}} if "pattern" in schema else {"allOf": schema["items"]})
        assert found is not None and "cannot be used" in found


def test_what_cannot_be_bounded_together_is_refused() -> None:
    assert "unevaluatedProperties" in str(bad_schema({"patternProperties": {"^x": {}}, "unevaluatedProperties": False}))


SCHEMAS: list[dict[str, Any]] = [
    {
        "properties": {"a": {"type": "integer"}},
        "patternProperties": {"^b": {"type": "string"}},
        "additionalProperties": False,
    },
    {"additionalProperties": {"type": "integer"}, "properties": {"a": True}},
    {"pattern": "^[a-c]+$"},
    {"uniqueItems": True},
    {"items": {"anyOf": [{"type": "integer"}, {"pattern": "b"}]}, "uniqueItems": True},
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.text("abc", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(SCHEMAS), values)
def test_a_value_fits_exactly_where_the_library_says_so(schema: dict[str, Any], value: Any) -> None:
    assert (misfit(value, schema) is None) == jsonschema.Draft202012Validator(schema).is_valid(value)
