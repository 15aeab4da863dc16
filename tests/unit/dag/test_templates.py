"""``${{ path }}``: the grammar, the values, and what stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_dag.errors import TemplateUnresolved
from durable_dag.graph.definition import read_definition
from durable_dag.graph.plan import Plan
from durable_dag.graph.templates import MISSING, Path, Script, TemplateSyntax, lookup, parse
from durable_dag.scheduling.scope import Facts, Scope, Scopes, filled, scripts_in

SCOPE = {"context": {"a": {"b-c": [1, {"d": None}]}, "any key": "x", "n": 0, "empty": ""}}


def scope_of(context: dict[str, Any]) -> Scope:
    plan = Plan.of(read_definition({"id": "w", "steps": [{"id": "s"}]}))
    scopes = Scopes(plan, Facts("x", "w", 1, 0), context)
    return scopes.of(plan.steps["s"])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("context.a.b-c[0]", 1),
        ("context.a['b-c'][1].d", None),
        ('context["any key"]', "x"),
        ("context . a . b-c [ 0 ]", 1),
        ("context.n ?? 5", 0),
        ("context.a.b-c[1].d ?? 'else'", "else"),
        ("context.none ?? null", None),
        ("context.none ?? {}", {}),
        ("context.none.deeper ?? -1.5", -1.5),
        ("context.empty ?? 1", ""),
        ("context.a.b-c.length", 2),
    ],
)
def test_a_path_leads_to_its_value(source: str, value: Any) -> None:
    whole = parse("${{ " + source + " }}").whole
    assert isinstance(whole, Path)
    assert lookup(whole, SCOPE) == value


@pytest.mark.parametrize("source", ["context.none", "context.a.b-c[9]", "context.n.x", "context['a'].z"])
def test_a_path_that_leads_nowhere_says_so(source: str) -> None:
    whole = parse("${{" + source + "}}").whole
    assert isinstance(whole, Path)
    with pytest.raises(TemplateUnresolved, match="leads nowhere"):
        lookup(whole, SCOPE)


@pytest.mark.parametrize(
    "source",
    ["context.a + 1", "context.items.map(x => ({ y: x }))", "a.b ?? c", "`}}`", "({a: {b: '}}'}})", "!context.x"],
)
def test_whatever_is_no_path_is_javascript(source: str) -> None:
    assert parse("${{ " + source + " }}").whole == Script(source)


@pytest.mark.parametrize("text", ["${{", "${{ a", "x ${{ }} y", "${{ 'a }}", "${{ {a: 1 }}"])
def test_a_template_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(TemplateSyntax):
        parse(text)


def test_a_dollar_before_it_takes_it_as_it_is() -> None:
    assert scope_of({}).render("cost: $${{ context.x }}").value == "cost: ${{ context.x }}"
    assert scope_of({"x": 1}).render("$${{ a ${{ context.x }}").value == "${{ a 1"


def test_texts_go_in_raw_and_other_values_as_json() -> None:
    context = {"t": "text", "n": 1.5, "o": {"a": [None, True]}, "ü": "ß"}
    rendered = scope_of(context).render("${{context.t}}/${{context.n}}/${{context.o}}/${{ context['ü'] }}")
    assert rendered.value == 'text/1.5/{"a":[null,true]}/ß'


def test_what_a_template_brings_is_not_a_template() -> None:
    context = {"evil": "${{ secrets.TOKEN }}", "list": ["${{ context.evil }}"]}
    rendered = scope_of(context).render({"a": "${{ context.evil }}", "b": "${{ context.list }}"})
    assert rendered.value == {"a": "${{ secrets.TOKEN }}", "b": ["${{ context.evil }}"]}
    assert rendered.late == ()


def test_secrets_are_put_in_by_the_attempt() -> None:
    rendered = scope_of({"user": "u"}).render(
        {"h": {"auth": "Basic ${{ context.user }}:${{ secrets.PASS }}"}, "k": "${{ secrets.K }}"}
    )
    assert "PASS" not in json.dumps(rendered.value)
    params = filled(rendered.value, rendered.late, lambda way: f"<{way[1]}>")
    assert params == {"h": {"auth": "Basic u:<PASS>"}, "k": "<K>"}
    assert rendered.value["k"] is None


def test_the_attempts_number_is_known_to_the_attempt() -> None:
    rendered = scope_of({}).render("${{ step.attempt }}")
    assert filled(rendered.value, rendered.late, lambda way: 3) == 3


def test_each_piece_of_javascript_is_found_once() -> None:
    assert scripts_in({"a": ["${{ 1 + 1 }}", "x${{ 1 + 1 }}${{ 2 + 2 }}"], "b": "${{ context.x }}"}) == [
        "1 + 1",
        "2 + 2",
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(alphabet=st.sampled_from("${}. ab'\"\\`??[]0"), max_size=30))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    try:
        template = parse(text)
    except TemplateSyntax:
        return
    assert all(template.parts) or text == ""


@given(json_values)
def test_a_whole_template_keeps_the_type(value: Any) -> None:
    assert scope_of({"v": value}).render("${{ context.v }}").value == value


@given(st.text(), json_values)
def test_any_key_can_be_reached_in_quotes(key: str, value: Any) -> None:
    source = json.dumps(key, ensure_ascii=False)
    assert scope_of({"o": {key: value}}).render("${{ context.o[" + source + "] }}").value == value


@given(json_values)
def test_values_without_templates_stay_as_they_are(value: Any) -> None:
    rendered = scope_of({}).render({"v": value} if "${{" not in json.dumps(value) else 1)
    assert rendered.value in ({"v": value}, 1)


def test_a_path_sees_outputs_of_ancestors_only() -> None:
    steps = [{"id": "a"}, {"id": "b"}, {"id": "c", "dependencies": ["a"]}]
    plan = Plan.of(read_definition({"id": "w", "steps": steps}))
    scopes = Scopes(plan, Facts("x", "w", 1, 0), {"start": 0}, {"a": 1, "b": 2})
    scope = scopes.of(plan.steps["c"])
    assert scope.render("${{ context }}").value == {"start": 0, "a": 1}
    assert scope.render("${{ context.b ?? 'unseen' }}").value == "unseen"
    assert scopes.whole() == {"start": 0, "a": 1, "b": 2}


def test_missing_is_not_null() -> None:
    assert parse("${{ context.a ?? null }}").whole == Path("context.a ?? null", "context", ("a",), None)
    assert parse("${{ context.a }}").whole == Path("context.a", "context", ("a",), MISSING)
