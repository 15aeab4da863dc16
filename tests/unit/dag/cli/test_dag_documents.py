"""Files with definitions: where things stand in them, and what they are when they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.cli.failures import Failure
from durable_dag.cli import yaml
from durable_dag.cli.documents import Unreadable, looks_like_file, read_document
from durable_dag.cli.positions import json_places, nearest_place

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def pointers(value: Any, path: str = "") -> dict[str, Any]:
    found = {path: value}
    if isinstance(value, dict):
        for name, one in value.items():
            found |= pointers(one, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            found |= pointers(one, f"{path}/{index}")
    return found


@given(json_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_value_of_a_text_has_its_place(value: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    places = json_places(text)
    lines = text.split("\n")
    assert set(places) == set(pointers(value))
    for path, one in pointers(value).items():
        line, column = places[path]
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        found, end = json.JSONDecoder().raw_decode(rest)
        last = path.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        if found != one:  # a member stands where its name stands
            assert found == last
            assert rest[end:].lstrip().startswith(":")


def test_what_is_missing_stands_where_it_is_missing_from() -> None:
    places = json_places('{\n  "steps": [\n    {"id": 1}]}')
    assert nearest_place(places, "/steps/0/action/x") == places["/steps/0"] == (3, 5)
    assert nearest_place({}, "/a") is None


def test_a_text_that_is_no_json_says_where(here: Path) -> None:
    (here / "bad.json").write_text('{\n  "id": }')
    with pytest.raises(Unreadable, match=r"^bad\.json:2:9: this is not JSON"):
        read_document("bad.json")
    (here / "nan.json").write_text('{"id": NaN}')
    with pytest.raises(Unreadable, match="NaN is not a JSON number"):
        read_document("nan.json")
    (here / "deep.json").write_text("[" * 100_000)
    with pytest.raises(Unreadable, match="nested too deeply"):
        read_document("deep.json")
    with pytest.raises(Failure, match="There is no file none"):
        read_document("none.json")


def test_yaml_means_the_json_that_it_looks_like(here: Path) -> None:
    pytest.importorskip("yaml")
    (here / "flow.yaml").write_text(
        "id: flow\nsteps:\n  - id: a\n    when: yes\n    x-since: 2026-01-01\n"
        "  - id: b\n    dependencies: [{step: a, on: success}]\n    critical: false\n"
    )
    document = read_document("flow.yaml")
    assert document.value == {
        "id": "flow",
        "steps": [
            {"id": "a", "when": "yes", "x-since": "2026-01-01"},
            {"id": "b", "dependencies": [{"step": "a", "on": "success"}], "critical": False},
        ],
    }
    assert document.where("/steps/1/dependencies/0/on") == "flow.yaml:7:30"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("a: [1\n", r"^flow\.yaml:2:1: this is not YAML"),
        ("1: a\n", "1 is no name for a member"),
        ("a: !!python/object/apply:os.getcwd []\n", "this is not YAML"),
    ],
)
def test_yaml_that_means_no_json_is_refused(here: Path, text: str, message: str) -> None:
    pytest.importorskip("yaml")
    (here / "flow.yaml").write_text(text)
    with pytest.raises(Unreadable, match=message):
        read_document("flow.yaml")


def test_without_the_library_yaml_is_a_clear_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(yaml, "import_module", missing)
    (here / "flow.yml").write_text("id: a")
    with pytest.raises(Failure, match="no library for it here"):
        read_document("flow.yml")


def test_a_name_is_a_file_if_it_looks_like_one_or_is_one(here: Path) -> None:
    (here / "plain").write_text("{}")
    assert [looks_like_file(one) for one in ("-", "a.json", "b/c", "plain", "order-flow")] == [True] * 4 + [False]
