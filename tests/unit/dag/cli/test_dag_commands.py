"""``durable dag validate|register|list|show|diff|export|schema`` on a store and on files."""

import json
from pathlib import Path

import click
import pytest
from dag_shell import ORDER, Shell, write

from durable_dag.cli.group import dag

BAD = """{
  "id": "bad",
  "steps": [
    {"id": "a", "dependencies": ["b"]},
    {"id": "b", "action": "tranform",
     "dependencies": ["a"]}
  ]
}"""


def changed(**members: object) -> dict[str, object]:
    return {**ORDER, **members}


def test_validate_says_everything_with_its_place(durable: Shell) -> None:
    write("bad.json", BAD)
    result = durable("dag", "validate", "bad.json", "order.json")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "bad.json:4:17: error: /steps/0/dependencies: steps wait for each other in a circle: a → b → a [cycle]"
    )
    assert lines[1].startswith(
        "bad.json:5:17: error: /steps/1/action: no executor is registered for 'tranform'; did you"
    )
    assert "mean 'transform'? Known: condition, delay," in lines[1]
    assert lines[-2:] == ["bad.json: not ok: 2 errors, 1 warning", "order.json: ok"]


def test_a_missing_choice_is_told_in_one_line_without_escapes(durable: Shell) -> None:
    result = durable("dag", "export", "order.json")
    assert result.exit_code == 2
    first = result.stderr.splitlines()[0]
    assert first == "Error: Missing option '--format'. Choose from: python, mermaid, dot, svg, json"


def test_validate_needs_no_store_and_reads_stdin(durable: Shell, here: Path) -> None:
    assert durable("dag", "validate", "-", input=json.dumps(ORDER)).stdout == "stdin: ok\n"
    assert not (here / "runs.db").exists()
    broken = durable("dag", "validate", "-", input='{"id": }')
    assert (broken.exit_code, broken.stdout.splitlines()[-1]) == (1, "stdin: not ok: 1 error")
    assert broken.stdout.startswith("stdin:1:8: error: /: this is not JSON")


def test_strict_makes_warnings_count(durable: Shell) -> None:
    write("warned.json", {"id": "w", "steps": [{"id": "a"}]})
    assert durable("dag", "validate", "warned.json").exit_code == 0
    assert durable("dag", "validate", "--strict", "warned.json").exit_code == 1
    assert durable("dag", "register", "--strict", "warned.json").exit_code == 1
    assert durable("dag", "list").stdout.count("\n") == 1


def test_validate_gives_json_with_places(durable: Shell) -> None:
    write("bad.json", BAD)
    (found,) = json.loads(durable("dag", "validate", "bad.json", "-o", "json").stdout)
    assert (found["file"], found["valid"]) == ("bad.json", False)
    assert found["errors"][0]["at"] == {"line": 5, "column": 17}
    assert found["errors"][0]["hint"] == "transform"


def test_actions_of_an_app_are_known(durable: Shell, here: Path) -> None:
    (here / "shop_engine.py").write_text(
        "from durable_dag import Engine\nengine = Engine()\n\n@engine.executor('pay')\n"
        "async def pay(params):\n    return 1\n"
    )
    write("pay.json", {"id": "p", "steps": [{"id": "a", "action": "pay"}]})
    assert durable("dag", "validate", "pay.json").exit_code == 1
    assert durable("dag", "validate", "pay.json", "--app", "shop_engine.py").exit_code == 0
    assert durable("dag", "validate", "pay.json", "--allow-unknown").exit_code == 0
    assert "pay" in durable("dag", "schema", "--app", "shop_engine.py:engine").stdout
    (here / "empty_engine.py").write_text("")
    assert durable("dag", "validate", "pay.json", "--app", "empty_engine.py").exit_code == 3


@pytest.mark.slow
def test_definitions_are_registered_listed_and_shown(durable: Shell) -> None:
    first = durable("dag", "register", "order.json")
    assert (first.exit_code, first.stdout) == (0, "order: registered as version 1\n")
    assert durable("dag", "register", "order.json").stdout == "order: unchanged, still version 1\n"
    write("order2.json", changed(name="Orders"))
    assert durable("dag", "register", "order2.json", "--if-match", "3").exit_code == 4
    assert durable("dag", "register", "order2.json", "--if-match", "1").stdout == "order: registered as version 2\n"
    assert durable("dag", "register", "order.json", "order2.json", "--if-match", "1").exit_code == 2
    rows = durable("dag", "list").stdout.splitlines()
    assert [row.split()[:3] for row in rows[1:]] == [["order", "2", "3"]]
    assert durable("dag", "list", "--tag", "team=shop", "ORDERS", "-o", "json").stdout.count('"createdAt"') == 1
    assert durable("dag", "list", "--tag", "team=other").stdout.count("\n") == 1
    shown = durable("dag", "show", "order", "--version", "1").stdout
    assert shown.startswith("order v1  Order\n\n○ validate\n  ○ charge  ← validate\n    ○ tell  ← charge (failure)\n")
    assert json.loads(durable("dag", "show", "order", "--version", "1", "-o", "json").stdout) == ORDER
    assert durable("dag", "show", "nothing").exit_code == 3
    assert durable("dag", "show", "order", "--version", "9").exit_code == 3


def test_nothing_is_registered_if_one_file_is_bad(durable: Shell) -> None:
    write("bad.json", BAD)
    result = durable("dag", "register", "order.json", "bad.json")
    assert result.exit_code == 1
    assert "bad.json was not registered." in result.stderr
    assert durable("dag", "show", "order").exit_code == 3


@pytest.mark.slow
def test_versions_are_compared_with_each_other_and_with_files(durable: Shell) -> None:
    durable("dag", "register", "order.json")
    steps = [{**ORDER["steps"][0], "params": {"url": "http://new/"}}, *ORDER["steps"][2:], {"id": "end"}]
    steps[1] = {**steps[1], "dependencies": ["validate"]}
    write("order2.json", changed(steps=steps, name="New\x1b[31m"))
    result = durable("dag", "diff", "order", "order2.json")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:6] == [
        "~ workflow: name",
        "- step charge",
        "+ step end",
        "~ step validate: params.url, params.method, params.body",
        "~ step tell: dependencies",
        "",
    ]
    assert "--- order v1\n+++ order2.json\n" in result.stdout
    assert "\x1b" not in result.stdout
    durable("dag", "register", "order2.json")
    same = durable("dag", "diff", "order", "2", "order2.json")
    assert (same.exit_code, same.stdout) == (0, "")
    found = json.loads(durable("dag", "diff", "order", "1", "-o", "json").stdout)
    assert (found["removed"], found["equal"]) == (["charge"], False)
    assert durable("dag", "diff", "order", "1", "7").exit_code == 3
    assert durable("dag", "diff", "order", "x").exit_code == 2


def test_the_order_of_steps_is_a_difference(durable: Shell) -> None:
    durable("dag", "register", "order.json")
    write("turned.json", changed(steps=ORDER["steps"][::-1]))
    assert durable("dag", "diff", "order", "turned.json").stdout.startswith("~ workflow: order of steps\n")


def test_a_definition_is_exported_in_every_form(durable: Shell) -> None:
    durable("dag", "register", "order.json")
    first = {
        "python": '"""Order, from the definition order, version 1.',
        "mermaid": "flowchart LR",
        "dot": 'digraph "Order" {',
        "svg": "<svg ",
        "json": "{",
    }
    for form, begin in first.items():
        assert durable("dag", "export", "order", "--format", form).stdout.startswith(begin), form
    assert json.loads(durable("dag", "export", "order.json", "--format", "json").stdout) == ORDER
    write("bad.json", BAD)
    refused = durable("dag", "export", "bad.json", "--format", "python")
    assert refused.exit_code == 1
    assert "circle" in refused.stderr
    assert durable("dag", "export", "order.json", "--format", "svg", "--version", "1").exit_code == 2


def test_the_schema_is_one_and_the_definition_fits(durable: Shell) -> None:
    import jsonschema

    schema = json.loads(durable("dag", "schema").stdout)
    jsonschema.Draft202012Validator(schema).validate(ORDER)


def test_every_command_has_help_and_stands_in_the_list(durable: Shell) -> None:
    listed = durable("dag", "--help").stdout
    for name, (_, text) in dag._lazy.items():
        result = durable("dag", name, "--help")
        assert result.stdout.startswith(f"Usage: durable dag {name}")
        command = dag.get_command(click.Context(dag), name)
        assert command is not None
        assert command.get_short_help_str(1000).split()[0] == text.split()[0]
        assert text in " ".join(listed.split())
