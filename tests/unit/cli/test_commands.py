"""Commands against a real store: what they print, and how they exit."""

import json
import re

import pytest
from cli_shell import Shell

from tests.hostile.configurations import patience

pytestmark = pytest.mark.slow


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# ── run and start ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_run_works_on_a_run_and_prints_its_result(shell: Shell) -> None:
    result = shell("run", "shop_app:hello", "--input", '"Ada"', "--id", "h1")
    assert (result.exit_code, result.stdout) == (0, '"hello Ada"\n')
    log = [re.sub(r"^[0-9:.]{12} ", "", line) for line in result.stderr.splitlines()]
    assert log == ["▷ run h1 of hello", "✓ step greet", "✓ run completed"]


def test_run_again_with_the_same_id_is_the_same_run(shell: Shell) -> None:
    assert shell.data("run", f"{shell.app}:hello", "-i", '"Ada"', "--id", "h1") == '"hello Ada"\n'
    assert shell.data("run", f"{shell.app}:hello", "-i", '"Ada"', "--id", "h1") == '"hello Ada"\n'
    assert len(rows(shell.data("runs", "list", "-o", "jsonl"))) == 1
    other = shell("run", f"{shell.app}:hello", "-i", '"Bob"', "--id", "h1")
    assert other.exit_code == 4
    assert "with another input" in other.stderr


def test_several_parameters_are_given_by_name_or_by_place(shell: Shell) -> None:
    assert shell.data("run", "shop_app:pair", "-i", '{"first": "a", "second": "b"}') == '"a and b"\n'
    assert shell.data("run", "shop_app:pair", "-i", '["c"]') == '"c and you"\n'
    assert shell.data("run", "shop_app:nothing") == "null\n"
    for wrong in ("7", '{"third": 1}', '["a", 7]', "[]"):
        assert shell("run", "shop_app:pair", "-i", wrong).exit_code == 2, wrong
    assert shell("run", "shop_app:hello").exit_code == 2


def test_input_comes_from_a_file_or_from_stdin(shell: Shell) -> None:
    (shell.directory / "in.json").write_text('"Größe"')
    assert shell.data("run", "shop_app:hello", "-i", "@in.json") == '"hello Größe"\n'
    assert shell("run", "shop_app:hello", "-i", "-", input='"pipe"').stdout == '"hello pipe"\n'
    assert "cannot be read" in shell("run", "shop_app:hello", "-i", "@none.json").stderr
    assert "stdin is not JSON" in shell("run", "shop_app:hello", "-i", "-", input="{").stderr
    assert "quotes" in shell("run", "shop_app:hello", "-i", "Ada").stderr
    assert "NaN is not a JSON number" in shell("run", "shop_app:hello", "-i", "NaN").stderr


def test_a_failed_run_is_exit_code_1(shell: Shell) -> None:
    result = shell("run", "shop_app:refused", "-i", '"x"', "--id", "r1", "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: Run r1 failed: Refused: not x\n  See where: durable runs show r1\n"
    assert shell("runs", "result", "r1").exit_code == 1
    assert shell("runs", "watch", "r1").exit_code == 1


def test_a_run_that_takes_too_long_is_exit_code_124_and_goes_on(shell: Shell) -> None:
    seconds = f"{0.3 * patience():g}"
    result = shell("run", "shop_app:waits", "-i", '"w"', "--id", "w1", "--timeout", seconds)
    assert result.exit_code == 124
    assert f"Not done after {seconds} s." in result.stderr
    assert shell("runs", "result", "w1", "--timeout", "0").exit_code == 124
    assert shell.data("runs", "list", "-o", "jsonl", "--status", "waiting").startswith('{"id": "w1"')


def test_start_prints_the_id_and_leaves_the_run_to_workers(shell: Shell) -> None:
    assert shell.data("start", "shop_app:waits", "-i", '"w"', "--id", "w1", "--label", "team=ops") == "w1\n"
    assert shell.data("start", "shop_app:waits", "-i", '"w"', "--id", "w2", "-o", "jsonl") == '{"id": "w2"}\n'
    assert len(shell.data("start", "shop_app:waits", "-i", '"w"').strip()) == 32
    assert "No live worker has workflow waits" in shell.data("runs", "why", "w1")
    assert shell("start", "shop_app:waits", "-i", '"w"', "--id", "w1", "--if-exists", "reject").exit_code == 4
    unknown = shell("start", "nobody-has-it")
    assert unknown.exit_code == 3


def test_start_with_wait_prints_the_result(shell: Shell) -> None:
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1")
    assert shell.data("start", "shop_app:hello", "-i", '"Ada"', "--id", "h1", "--wait") == '"hello Ada"\n'
    late = shell("start", "shop_app:waits", "-i", '"w"', "--wait", "--timeout", "0.2")
    assert late.exit_code == 124


@pytest.mark.parametrize(
    ("app", "code", "what"),
    [
        ("no_such_module:x", 3, "There is no module 'no_such_module'"),
        ("nowhere/app.py:x", 3, "There is no file nowhere/app.py"),
        ("shop_app:absent", 3, "has no attribute 'absent'"),
        ("shop_app:number", 2, "is int, which is nothing to run"),
        ("shop_app:some", 2, "does not name one workflow (it has: hello, waits)"),
        ("shop_app", 2, "does not name one workflow"),
        ("json:", 2, "json has no workflow"),
        ("broken_app:x", 2, "broken_app cannot be imported: ZeroDivisionError"),
        (":x", 2, "names no module"),
    ],
)
def test_an_app_that_cannot_be_had_says_why(shell: Shell, app: str, code: int, what: str) -> None:
    (shell.directory / "broken_app.py").write_text("1 / 0")
    result = shell("run", app)
    assert (result.exit_code, result.stdout) == (code, "")
    assert what in result.stderr


def test_a_missing_dependency_of_an_app_is_told_from_a_missing_app(shell: Shell) -> None:
    (shell.directory / "broken_app.py").write_text("import not_installed_anywhere")
    assert "it needs the module 'not_installed_anywhere'" in shell("run", "broken_app:x").stderr


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_list_is_a_table_json_or_lines(shell: Shell) -> None:
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1", "--label", "team=ops")
    shell("run", "shop_app:refused", "-i", '"x"', "--id", "r1")
    head, newest, oldest = shell.data("runs", "list").splitlines()
    assert head.split() == ["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK", "ERROR"]
    assert newest.split()[:3] == ["r1", "refused", "failed"]
    assert newest.endswith("Refused: not x")
    assert oldest.split()[:3] == ["h1", "hello", "completed"]
    (value,) = json.loads(shell.data("runs", "list", "-o", "json", "--label", "team=ops"))
    assert value["id"] == "h1"
    assert value["labels"] == {"team": "ops"}
    assert value["created_at"].endswith("Z")
    (value,) = rows(shell.data("runs", "list", "-o", "jsonl", "--status", "failed", "--time", "unix"))
    assert isinstance(value["created_at"], float)
    assert shell.data("runs", "list", "-o", "none") == ""


def test_list_filters_and_limits(shell: Shell) -> None:
    for number in range(3):
        shell.data("start", "shop_app:waits", "-i", '"w"', "--id", f"w{number}", "--queue", f"q{number}")
    assert [row["id"] for row in rows(shell.data("runs", "list", "-o", "jsonl", "--queue", "q1"))] == ["w1"]
    limited = shell("runs", "list", "--limit", "2", "-o", "jsonl")
    assert [row["id"] for row in rows(limited.stdout)] == ["w2", "w1"]
    assert "There are more than these 2" in limited.stderr
    assert len(rows(shell.data("runs", "list", "--all", "-o", "jsonl"))) == 3
    assert rows(shell.data("runs", "list", "--until", "1h", "-o", "jsonl")) == []
    assert len(rows(shell.data("runs", "list", "--since", "1h", "--workflow", "waits", "-o", "jsonl"))) == 3
    assert shell("runs", "list", "--workflow", "other").stderr == "No runs.\n"


def test_a_run_is_named_by_id_unique_prefix_or_last(shell: Shell) -> None:
    for id in ("abc", "abcd", "abe"):
        shell.data("start", "shop_app:waits", "-i", '"w"', "--id", id)
    seen = {asked: shell("runs", "why", asked, "-o", "jsonl") for asked in ("abc", "abe", "@last", "ab", "x", "abcd")}
    assert {asked: result.exit_code for asked, result in seen.items()} == {
        "abc": 0,
        "abe": 0,
        "@last": 0,
        "abcd": 0,
        "ab": 2,
        "x": 3,
    }
    assert json.loads(seen["abc"].stdout)["id"] == "abc"
    assert json.loads(seen["@last"].stdout)["id"] == "abe"
    assert "Several runs begin with 'ab': abe, abcd, abc" in seen["ab"].stderr
    assert shell("runs", "why", "@last", "--store", "memory://").exit_code == 3
    assert shell("runs", "why", "").exit_code == 2


def test_show_draws_the_steps_and_says_why(shell: Shell) -> None:
    shell.data("run", "shop_app:pair", "-i", '["a", "b"]', "--id", "p1")
    head, columns, step, reason = shell.data("runs", "show", "p1").splitlines()
    assert head.startswith("✓ p1  pair v1  completed")
    assert columns.split()[:3] == ["STEP", "TRY", "TIME"]
    assert step.split()[:3] == ["✓", "shaky", "2"]
    assert reason.startswith("Completed")


def test_history_lists_the_journal(shell: Shell) -> None:
    shell.data("run", "shop_app:pair", "-i", '["a", "b"]', "--id", "p1")
    first, second = rows(shell.data("runs", "history", "p1", "-o", "jsonl"))
    assert (first["event"], first["error"]) == ("attempt_failed", "ConnectionError: no answer")
    assert (second["event"], second["value"], second["attempt"]) == ("step_completed", "a and b", 2)
    assert "attempt_failed" in shell.data("runs", "history", "p1")


def test_watch_prints_events_as_lines_or_json(shell: Shell) -> None:
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1")
    lines = shell.data("runs", "watch", "h1", "--ascii").splitlines()
    assert [line[13:] for line in lines] == ["> run h1 of hello", "+ step greet", "+ run completed"]
    events = rows(shell.data("runs", "watch", "h1", "-o", "json"))
    assert [event["event"] for event in events] == ["created", "step_completed", "completed"]
    assert shell.data("runs", "watch", "h1", "-o", "none") == ""


def test_hostile_names_and_values_cannot_steer_the_terminal(shell: Shell) -> None:
    evil = "\x1b[2J\x1b]0;x\x07\nfake\u202e"
    shell("run", "shop_app:refused", "-i", json.dumps(evil), "--id", "e1", "--label", f"l={'x' * 3}")
    shell("run", "shop_app:hello", "-i", json.dumps(evil), "--id", "e2")
    for args in (
        *(("runs", command, id) for command in ("show", "history", "why", "result", "watch") for id in ("e1", "e2")),
        ("runs", "list"),
        ("run", "shop_app:hello", "-i", json.dumps(evil), "--id", "e2"),
    ):
        for form in ("table", "json", "jsonl"):
            result = shell(*args, "-o", form)
            for line in (result.stdout + result.stderr).split("\n"):
                assert line.isprintable(), (args, form, line)
    assert json.loads(shell.data("runs", "result", "e2")) == f"hello {evil}"


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pending_run_is_paused_resumed_cancelled_and_retried(shell: Shell) -> None:
    shell.data("start", "shop_app:waits", "-i", '"w"', "--id", "w1")
    assert shell("runs", "pause", "w1").stderr == "Run w1: asked to pause.\n"
    assert "Paused" in shell.data("runs", "why", "w1")
    assert shell("runs", "resume", "w1").exit_code == 0
    assert shell("runs", "cancel", "w1", "--reason", "no need").exit_code == 0
    ended = shell("runs", "result", "w1")
    assert ended.exit_code == 7
    assert "was cancelled: no need" in ended.stderr
    assert shell("runs", "cancel", "w1").exit_code == 0  # a second cancel is a no-op
    assert shell("runs", "pause", "w1").exit_code == 4
    assert shell("runs", "signal", "w1", "go").exit_code == 4
    assert shell("runs", "retry", "w1").exit_code == 0
    assert shell("runs", "retry", "w1").exit_code == 4
    assert shell("runs", "terminate", "w1", "-o", "jsonl").stdout == '{"id": "w1", "done": "terminated"}\n'
    assert "terminated" in shell.data("runs", "list")


def test_one_refusal_does_not_stop_the_others(shell: Shell) -> None:
    for id in ("a1", "a2", "a3"):
        shell.data("start", "shop_app:waits", "-i", '"w"', "--id", id)
    shell("runs", "terminate", "a2")
    result = shell("runs", "pause", "a1", "a2", "a3")
    assert result.exit_code == 4
    assert "Run a2 is cancelled; it cannot be paused." in result.stderr
    assert len(rows(shell.data("runs", "list", "--status", "paused", "-o", "jsonl"))) == 2
    assert shell("runs", "pause", "a1", "nope").exit_code == 3


def test_a_filter_counts_and_asks_first(shell: Shell) -> None:
    for number in range(3):
        shell.data("start", "shop_app:waits", "-i", '"w"', "--id", f"w{number}", "--label", f"n={number}")
    refused = shell("runs", "cancel", "--filter", "workflow=waits status=pending")
    assert refused.exit_code == 2
    assert "3 runs would be asked to end" in refused.stderr
    dry = shell("runs", "cancel", "--filter", "label.n=1", "--dry-run")
    assert (dry.stdout, dry.stderr) == ("w1\n", "1 run.\n")
    assert shell("runs", "cancel", "--filter", "workflow=waits status=pending since=1d", "-y").exit_code == 0
    assert len(rows(shell.data("runs", "list", "--status", "cancelled", "-o", "jsonl"))) == 3
    assert shell("runs", "cancel").exit_code == 2
    assert shell("runs", "cancel", "w1", "--filter", "workflow=waits").exit_code == 2
    assert "is not a status" in shell("runs", "cancel", "--filter", "status=odd").stderr
    assert "is none of workflow" in shell("runs", "cancel", "--filter", "color=red").stderr


def test_a_signal_reaches_a_run_and_a_fork_goes_its_own_way(shell: Shell) -> None:
    shell.data("start", "shop_app:waits", "-i", '"w"', "--id", "w1")
    assert shell("runs", "signal", "w1", "go", "--payload", '{"n": 1}', "--id", "click-1").exit_code == 0
    assert shell("runs", "signal", "w1", "go", "--payload", '{"n": 1}', "--id", "click-1").exit_code == 0
    assert shell.data("run", "shop_app:waits", "-i", '"w"', "--id", "w1") == "\"w: {'n': 1}\"\n"
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1")
    assert shell.data("runs", "fork", "h1", "--at", "greet", "--id", "h2") == "h2\n"
    assert shell("runs", "fork", "h1", "--at", "greet", "--id", "h2").exit_code == 4
    assert "has no outcome of 'nope'" in shell("runs", "fork", "h1", "--at", "nope").stderr
    assert shell("runs", "settle", "h1", "greet", "--not-done").exit_code == 2
    assert shell("runs", "settle", "h1", "greet").exit_code == 2


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_is_not_there_is_exit_code_5_and_is_not_made(shell: Shell) -> None:
    result = shell("runs", "list")
    assert (result.exit_code, result.stdout) == (5, "")
    assert not (shell.directory / "runs.db").exists()
    (shell.directory / "other.db").write_bytes(b"this is no database" * 100)
    assert shell("runs", "list", "--store", f"sqlite:///{shell.directory}/other.db").exit_code == 5
    assert shell("runs", "list", "--store", "gopher://x").exit_code == 2
    assert shell("runs", "list", "--store", "nonsense").exit_code == 2


def test_db_checks_counts_and_cleans(shell: Shell) -> None:
    shell.data("run", "shop_app:hello", "-i", '"Ada"', "--id", "h1")
    shell("run", "shop_app:refused", "-i", '"x"', "--id", "r1")
    assert shell("db", "check").stderr == "The store is sound.\n"
    assert json.loads(shell.data("db", "check", "-o", "json")) == {"ok": True, "problems": []}
    stats = json.loads(shell.data("db", "stats", "-o", "json"))
    assert (stats["runs.completed"], stats["runs.failed"], stats["workers.alive"]) == (1, 1, 0)
    assert "runs.completed" in shell.data("db", "stats")
    assert shell("db", "gc", "--older-than", "0s").exit_code == 2  # nobody is there to be asked
    assert shell("db", "gc", "--status", "failed").exit_code == 2
    assert shell.data("db", "gc", "--older-than", "0s", "--status", "failed", "-y").startswith("1 run deleted")
    told = json.loads(shell.data("db", "gc", "--older-than", "0", "-y", "-o", "json"))
    assert (told["deleted"], told["expired"]) == (1, 0)
    assert shell.data("db", "gc").startswith("0 runs deleted")


@pytest.mark.needs("memory", reason="it lets that store find a problem")
def test_db_check_with_problems_is_exit_code_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(store: object) -> list[str]:
        return ["entry 3 of run \x1b[31mx is missing"]

    monkeypatch.setattr("durable_testing.memory.MemoryStore.check", check)
    result = shell("db", "check", "--store", "memory://")
    assert (result.exit_code, result.stdout) == (1, "entry 3 of run \\x1b[31mx is missing\n")
    assert result.stderr == "1 problem.\n"
