"""Pictures: where things go, and that no name gets out of its box."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_dag.builder import Flow, on
from durable_dag.graph.definition import read_definition
from durable_dag.graph.layout import BOX_WIDTH, layout
from durable_dag.graph.plan import Plan
from durable_dag.pictures import Drawing, ascii_text, dot, drawing_of, mermaid, svg
from durable_dag.pictures.drawing import Arrow, Mark
from tests.unit.dag.graphs import definition_of, random_graph
from tests.unit.dag.support import statuses, step, world

GOLDEN = Path(__file__).parent / "golden"
RESULTS = {
    "validate": {"status": "success"},
    "check": {"status": "success", "branch": "true"},
    "charge": {"status": "running"},
    "refuse": {"status": "skipped", "skipReason": "condition"},
}


def order() -> Drawing:
    flow = Flow("order", name="Order")
    validate = flow.http("validate", "http://validation/validate").set(name="Validate Order")
    check = flow.step("check", "condition", {"expression": "context.amount > 100"}, after=[validate])
    charge = flow.http("charge", "http://payment/charge", after=[check])
    refuse = flow.step("refuse", after=[on(check, "false")])
    flow.step("tell", after=[charge, refuse, on(validate, "failure")], join="done")
    return drawing_of(Plan.of(read_definition(flow.document())), RESULTS)


@pytest.mark.parametrize(
    ("name", "draw"), [("order.svg", svg), ("order.mmd", mermaid), ("order.dot", dot), ("order.txt", ascii_text)]
)
def test_pictures_are_as_they_were(name: str, draw: Any) -> None:
    """``python -m tests.unit.dag.test_pictures`` draws them anew; look at them then."""
    assert draw(order()) == (GOLDEN / name).read_text()


def test_a_name_is_cut_where_its_box_ends_however_wide_its_letters_are() -> None:
    flow = Flow("names")
    flow.step("narrow").set(name="n" * 30)
    flow.step("wide").set(name="名" * 30)
    drawn = svg(drawing_of(Plan.of(read_definition(flow.document())), {}))
    assert f">○ {'n' * 19}…</text>" in drawn
    assert f">○ {'名' * 9}…</text>" in drawn


def test_a_plain_terminal_gets_plain_characters() -> None:
    assert ascii_text(order(), unicode=False).isascii()


def test_the_seeds_pipeline_has_three_layers_side_by_side() -> None:
    placed = layout({"extract": [], "users": ["extract"], "orders": ["extract"], "load": ["users", "orders"]})
    x = {box.id: box.x for box in placed.boxes}
    assert x["extract"] < x["users"] == x["orders"] < x["load"]
    assert len({(box.x, box.y) for box in placed.boxes}) == 4


def test_two_lines_that_would_cross_are_untangled() -> None:
    placed = layout({"a": [], "b": [], "c": ["b"], "d": ["a"]})
    y = {box.id: box.y for box in placed.boxes}
    assert (y["a"] < y["b"]) == (y["d"] < y["c"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_no_box_lies_on_another_and_every_line_goes_from_left_to_right(seed: int) -> None:
    plan = Plan.of(read_definition(definition_of(random_graph(seed, 25))))
    placed = layout(plan.graph)
    assert {box.id for box in placed.boxes} == set(plan.steps)
    for one in placed.boxes:
        assert 0 <= one.x <= placed.width - one.width
        assert 0 <= one.y <= placed.height - one.height
        for other in placed.boxes:
            apart = abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= one.height
            assert one.id == other.id or apart
    for line in placed.lines:
        xs = [x for x, _ in line.points]
        assert xs == sorted(xs)
    assert placed == layout(plan.graph)


@pytest.mark.slow
def test_a_thousand_steps_are_laid_out_in_a_moment() -> None:
    wide = {"root": [], **{f"s{n}": ["root"] for n in range(998)}, "end": [f"s{n}" for n in range(998)]}
    long = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(1000)}
    skipping = {f"s{n}": [f"s{m}" for m in (n - 1, 0) if m >= 0] for n in range(1, 300)} | {"s0": []}
    for graph in (wide, long, skipping):
        assert len(layout(graph).boxes) == len(graph)


hostile = st.text(max_size=30) | st.sampled_from(
    [
        '"><script>alert(1)</script>',
        "]] --> x",
        '"; x',
        "end",
        "\\",
        'a"]\nb --> c',
        "\u202eevil",
        "\x1b[31m",
        "&amp;",
        "|",
        "#quot;",
    ]
)


@given(hostile, hostile, hostile)
def test_no_name_gets_out_of_its_box(title: str, label: str, word: str) -> None:
    drawing = Drawing(title, (Mark("a", label), Mark("b", label, "failed")), (Arrow("a", "b", word),))
    tree = ET.fromstring(svg(drawing))
    plain = Drawing("t", (Mark("a", "l"), Mark("b", "l", "failed")), (Arrow("a", "b", "w" if word else ""),))
    assert [one.tag for one in tree.iter()] == [one.tag for one in ET.fromstring(svg(plain)).iter()]
    assert len(mermaid(drawing).splitlines()) == 4
    assert len(dot(drawing).splitlines()) == 7
    assert len(ascii_text(drawing).splitlines()) == 2
    for text in (svg(drawing), mermaid(drawing), dot(drawing), ascii_text(drawing)):
        assert "\x1b" not in text
        assert "\u202e" not in text


async def test_an_execution_is_drawn_with_its_states() -> None:
    async with world() as w:
        execution = await w.run(step("a"), step("bad", "a", failures=1), step("c", "bad"))
        shown = await w.sim.inside(w.engine.visualize(execution["executionId"], layout=True))
        wanted = [(id, status.partition(":")[0]) for id, status in statuses(execution).items()]
        assert [(one["id"], one["status"]) for one in shown["steps"]] == wanted
        assert [one["state"] for one in shown["layout"]["edges"]] == ["live", "broken"]
        assert (await w.sim.inside(w.engine.drawing(execution["executionId"]))).title == "flow"


def test_the_builder_makes_the_json_and_nothing_else() -> None:
    flow = Flow("f", webhooks={"onComplete": "http://n/"})
    first = flow.http("a", "http://x/", method="POST", body={"n": 1}).retry(3, max_delay=5000)
    flow.step("b", "act", {"from": first.output}, after=[first, on("a", "failure")], critical=False)
    assert flow.document() == {
        "id": "f",
        "webhooks": {"onComplete": "http://n/"},
        "steps": [
            {
                "id": "a",
                "action": "http.request",
                "params": {"url": "http://x/", "method": "POST", "body": {"n": 1}},
                "dependencies": [],
                "retryPolicy": {"maxAttempts": 3, "backoffMultiplier": 2, "initialDelay": 1000, "maxDelay": 5000},
            },
            {
                "id": "b",
                "action": "act",
                "params": {"from": '${{ context["a"] }}'},
                "dependencies": ["a", {"step": "a", "on": "failure"}],
                "critical": False,
            },
        ],
    }


if __name__ == "__main__":
    for name, draw in (("order.svg", svg), ("order.mmd", mermaid), ("order.dot", dot), ("order.txt", ascii_text)):
        (GOLDEN / name).write_text(draw(order()))
