"""``durable plan`` and ``durable replay``: what they print and how they exit, for gates and for people."""

import json

import pytest
from cli_shell import Shell

pytestmark = pytest.mark.slow

HEAD = "from durable import Client, Context, Worker, step, workflow\n\n"
GREET = "@step\nasync def greet(name: str) -> str:\n    return name\n\n"
CHECK = "@step\nasync def look(name: str) -> str:\n    print('an effect')\n    return name\n\n"
BODY = "@workflow\nasync def {name}(ctx: Context, name: str) -> str:\n    {code}\n\n"
WAITS = 'return await ctx.wait_for_signal("go")'


def app(shell: Shell, file: str, *parts: str) -> str:
    """An APP in a file of its own."""
    path = shell.directory / f"{file}.py"
    path.write_text(HEAD + GREET + CHECK + "".join(parts))
    return str(path)


def body(name: str, *lines: str) -> str:
    return BODY.format(name=name, code="\n    ".join(lines))


@pytest.fixture
def old(shell: Shell) -> str:
    """The code that runs were begun with, and three of its runs at their waits."""
    text = app(
        shell,
        "durable_app_old",
        body("meet", "await ctx.step(greet, name)", WAITS),
        body("part", "await ctx.step(greet, name)", WAITS),
    )
    for run, name in (("m1", "meet"), ("m2", "meet"), ("p1", "part")):
        assert shell("run", f"{text}:{name}", "-i", '"Ada"', "--id", run, "--timeout", "0.3", "-q").exit_code == 124
    return text


def test_code_that_has_not_changed_passes_the_gate(shell: Shell, old: str) -> None:
    result = shell("plan", old)
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split("  ")[0] == "WORKFLOW"
    assert [row.split() for row in rows] == [
        ["meet", "1", "2", "2", "0", "0", "0", "0", "0"],
        ["part", "1", "1", "1", "0", "0", "0", "0", "0"],
    ]
    assert result.stderr == "All 3 can go on.\n"
    assert shell("plan", old, "-o", "none").stdout == ""


def test_a_conflict_is_exit_code_1_and_is_shown_once_with_its_runs_and_its_line(shell: Shell, old: str) -> None:
    new = app(
        shell,
        "durable_app_new",
        body("meet", "await ctx.step(look, name)", "await ctx.step(greet, name)", WAITS),
        body("part", "await ctx.step(greet, name)", WAITS),
    )
    result = shell("plan", new)
    assert (result.exit_code, result.stderr) == (1, "2 of 3 runs could not go on with this code.\n")
    _, meet, part, *found = result.stdout.splitlines()
    assert meet.split() == ["meet", "1", "2", "0", "0", "0", "2", "0", "0"]
    assert part.split() == ["part", "1", "1", "1", "0", "0", "0", "0", "0"]
    assert found == [
        "",
        "2 runs of meet v1: conflicts at entry 0 (durable_app_new.py:14)",
        "    > await ctx.step(look, name)",
        '    the journal has step "greet" where the code now calls step "look" (durable_app_new.py:14).',
        "    m2, m1",
    ]
    data = json.loads(shell("plan", new, "-o", "json").stdout)
    assert (data["goes_on"], data["runs"]) == (False, 3)
    assert data["workflows"][0] == {
        "workflow": "meet",
        "version": "1",
        "runs": 2,
        "unchanged": 0,
        "gains": 0,
        "drops": 0,
        "conflict": 2,
        "unreadable": 0,
        "no_code": 0,
    }
    (finding,) = data["findings"]
    assert (finding["runs"], finding["examples"], finding["fit"]) == (2, ["m2", "m1"], "conflict")
    assert finding["place"] == "durable_app_new.py:14"
    assert shell("runs", "list", "--status", "blocked", "-o", "jsonl").stdout == ""  # nothing was written


def test_gained_and_dropped_calls_pass_the_gate_and_are_named(shell: Shell, old: str) -> None:
    new = app(
        shell,
        "durable_app_new",
        body("meet", "await ctx.step(greet, name)", "await ctx.step(look, name)", WAITS),
        body("part", "return await ctx.step(greet, name)"),
    )
    result = shell("plan", new)
    assert result.exit_code == 0
    assert "2 runs of meet v1: gains step look (durable_app_new.py:15); drops signal go" in result.stdout
    assert "1 run of part v1: drops signal go" in result.stdout
    assert "an effect" not in result.stdout
    only = shell("plan", new, "--workflow", "part")
    assert (only.exit_code, only.stderr) == (0, "The only one can go on.\n")


def test_runs_without_code_fail_the_gate_unless_they_are_of_another_app(shell: Shell, old: str) -> None:
    new = app(shell, "durable_app_new", body("meet", "await ctx.step(greet, name)", WAITS))
    result = shell("plan", new)
    assert result.exit_code == 1
    assert "1 run of part v1: has no code here" in result.stdout
    assert "No workflow 'part' version '1' was given." in result.stdout
    assert shell("plan", new, "--only-known").exit_code == 0
    later = app(
        shell, "durable_app_later", 'meet_2 = None\n\n@workflow("meet", version="2")\n' + body("meet", WAITS)[10:]
    )
    assert shell("plan", later, "--only-known").exit_code == 1  # a version that its runs still need is not another app


def test_replay_reports_on_each_run_in_full(shell: Shell, old: str) -> None:
    new = app(
        shell,
        "durable_app_new",
        body("meet", "await ctx.step(look, name)", WAITS),
        body("part", "await ctx.step(greet, name)", WAITS),
    )
    result = shell("replay", new)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:4] == [
        "p1  part v1  waiting  1 entry  unchanged",
        "m2  meet v1  waiting  1 entry  conflicts at entry 0 (durable_app_new.py:14)",
        "    > await ctx.step(look, name)",
        '    Run m2 is blocked at entry 0: the journal has step "greet" where the code now calls step "look" '
        "(durable_app_new.py:14).",
    ]
    assert result.stderr == "3 runs replayed; 2 could not go on with this code.\n"
    alone = shell("replay", new, "p1")
    assert (alone.exit_code, alone.stdout) == (0, "p1  part v1  waiting  1 entry  unchanged\n")
    assert shell("replay", new, "m1", "p1").exit_code == 1
    lines = [json.loads(line) for line in shell("replay", new, "-o", "jsonl", "--workflow", "meet").stdout.splitlines()]
    assert [(line["id"], line["fit"], line["position"], line["goes_on"]) for line in lines] == [
        ("m2", "conflict", 0, False),
        ("m1", "conflict", 0, False),
    ]
    assert [line["id"] for line in json.loads(shell("replay", new, "-o", "json").stdout)] == ["p1", "m2", "m1"]


def test_an_ended_run_can_be_replayed_when_it_is_named(shell: Shell) -> None:
    text = app(shell, "durable_app_old", body("meet", "return await ctx.step(greet, name)"))
    assert shell("run", f"{text}:meet", "-i", '"Ada"', "--id", "m1").exit_code == 0
    assert shell.data("replay", text, "m1") == "m1  meet v1  completed  1 entry  unchanged\n"
    assert shell("replay", text).stdout == ""
    longer = app(
        shell, "durable_app_new", body("meet", "await ctx.step(greet, name)", "return await ctx.step(look, name)")
    )
    assert "gains step look (durable_app_new.py:15)" in shell.data("replay", longer, "m1")


def test_what_cannot_be_done_has_exit_codes_of_its_own(shell: Shell, old: str) -> None:
    assert shell("plan").exit_code == 2
    assert shell("plan", "durable_app_none").exit_code == 3
    assert shell("plan", old, "--store", f"sqlite:///{shell.directory}/none.db").exit_code == 5
    assert shell("replay", old, "no-such-run").exit_code == 3
    assert shell("replay", old, "m1", "--workflow", "meet").exit_code == 2


def test_an_app_that_makes_its_worker_is_asked_for_what_it_has(shell: Shell, old: str) -> None:
    made = app(
        shell,
        "durable_app_new",
        body("meet", "await ctx.step(greet, name)", WAITS),
        "def make(client: Client) -> Worker:\n    return Worker(client, workflows=[meet])\n",
    )
    rows = json.loads(shell("plan", f"{made}:make", "-o", "json").stdout)["workflows"]
    assert [(row["workflow"], row["unchanged"], row["no_code"]) for row in rows] == [("meet", 2, 0), ("part", 0, 1)]


def test_a_store_without_open_runs_passes(shell: Shell) -> None:
    text = app(shell, "durable_app_old", body("meet", "return await ctx.step(greet, name)"))
    shell.data("run", f"{text}:meet", "-i", '"Ada"', "--id", "m1")
    result = shell("plan", text)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No open run.\n")
