"""The tree of commands, its options, and how every ending becomes an exit code."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_shell import Shell

from durable.cli.failures import Exit
from durable.cli.main import cli, db, runs
from durable.cli.options import Settings
from durable.cli.plugins import plugin_names
from durable.errors import (
    Corrupt,
    InvalidInput,
    ReadOnly,
    RunCancelled,
    RunConflict,
    RunEnded,
    RunFailed,
    RunNotFound,
    UnknownStore,
    UnknownWorkflow,
)


def all_commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, group in (("", cli), ("runs ", runs), ("db ", db)):
        ctx = click.Context(group)
        for command in group.list_commands(ctx):
            loaded = group.get_command(ctx, command)
            assert loaded is not None
            found.append((f"{name}{command}", loaded))
    return found


def test_the_commands_are_these(shell: Shell) -> None:
    assert [name for name, _ in all_commands()] == [
        *("run", "start", "worker", "plan", "replay", "runs", "db", "doctor", "demo", "version"),
        *plugin_names(),
        *("runs list", "runs show", "runs watch", "runs history", "runs why", "runs result", "runs signal"),
        *("runs cancel", "runs terminate", "runs pause", "runs resume", "runs retry", "runs fork", "runs settle"),
        *(f"runs {name}" for name in plugin_names("durable.commands.runs")),
        *("db check", "db stats", "db gc"),
    ]


def test_other_packages_bring_commands_of_their_own() -> None:
    assert {"dag", "server", "tokens", "webhooks"} <= set(plugin_names())
    assert "export" in plugin_names("durable.commands.runs")


@pytest.mark.parametrize("name", [name for name, _ in all_commands()])
def test_every_command_has_help(shell: Shell, name: str) -> None:
    result = shell(*name.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: durable {name}")


def test_the_list_of_commands_says_what_their_help_says() -> None:
    for group in (cli, runs, db):
        for name, (_, text) in group._lazy.items():
            command = group.get_command(click.Context(group), name)
            assert command is not None
            first = (command.help or "").split("\n")[0]
            assert first, name
            assert len(text) < 70


def test_nothing_is_a_usage_error_with_the_help_on_stderr(shell: Shell) -> None:
    result = shell()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--nonsense"], "No such option"),
        (["runs", "lisst"], "No such command 'lisst'"),
        (["runs", "show"], "Missing argument 'ID'"),
        (["runs", "list", "-o", "yaml"], "'yaml' is not one of"),
        (["runs", "list", "--timeout", "soon"], "'soon' is not a duration"),
        (["runs", "list", "--timeout", "nan"], "'nan' is not a duration"),
        (["runs", "list", "--limit", "0"], "not in the range"),
        (["runs", "list", "--label", "x"], "'x' is not name=value"),
        (["runs", "list", "--since", "yesterday"], "neither a duration like 1d nor a time"),
        (["run", "a:b", "--input", "{"], "not JSON"),
    ],
)
def test_misuse_is_exit_code_2_and_two_lines(shell: Shell, args: list[str], what: str) -> None:
    result = shell(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    error, todo = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert what in error
    assert "--help" in todo


def test_global_options_stand_before_or_behind_and_the_last_wins(shell: Shell, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    for args in (
        ["--store", other, "runs", "list"],
        ["runs", "list", "--store", other],
        ["--store", "memory://", "runs", "list", "--store", other],
    ):
        result = shell(*args)
        assert result.exit_code == 5, args
        assert f"There is no store {other}" in result.stderr
    assert shell("-o", "json", "--store", "memory://", "runs", "list").stdout == "[]\n"
    assert shell("-o", "json", "runs", "list", "-o", "jsonl", "--store", "memory://").stdout == ""


def test_the_store_comes_from_the_environment(shell: Shell) -> None:
    assert shell("runs", "list", DURABLE_STORE="memory://").exit_code == 0
    assert "sqlite:///durable.db" in shell("runs", "list", DURABLE_STORE=None).stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailed("x"), 1),
        (InvalidInput("x"), 2),
        (UnknownStore("x"), 2),
        (RunNotFound("x"), 3),
        (UnknownWorkflow("x"), 3),
        (RunConflict("x"), 4),
        (RunEnded("x"), 4),
        (ReadOnly("x"), 5),
        (Corrupt("x"), 5),
        (RunCancelled("x"), 7),
        (TimeoutError("x"), 124),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (RuntimeError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def broken(*args: object) -> None:
        raise error

    monkeypatch.setattr("durable.cli.about.Printer", broken)
    result = shell("version")
    assert result.exit_code == code
    assert result.stderr.lstrip().startswith("Error: ")  # after a ^C, on a line of its own
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("with \x1b[31mcolour")

    monkeypatch.setattr("durable.cli.about.Printer", broken)
    assert "Traceback (most recent call last)" in shell("version", "--debug").stderr
    assert shell("version").stderr.splitlines()[0] == "Error: RuntimeError: with \\x1b[31mcolour"


def test_the_version_is_printed(shell: Shell) -> None:
    assert shell("version").stdout.startswith("durable 0.")
    assert '"durable": "0.' in shell("version", "-o", "json").stdout
    assert shell("version", "-o", "none").stdout == ""


def test_colours_are_asked_of_option_environment_and_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert Settings().colored(terminal)  # type: ignore[arg-type]
    assert not Settings(color=False).colored(terminal)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "dumb")
    assert not Settings().colored(terminal)  # type: ignore[arg-type]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Settings().colored(terminal)  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Settings().colored(terminal)  # type: ignore[arg-type]
    assert Settings(color=True).colored(terminal)  # type: ignore[arg-type]


def test_the_exit_codes_are_these() -> None:
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 6, 7, 124, 130]


# ── as a process ─────────────────────────────────────────────────────────────────────────────────────────────────────

WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = ["durable", "version"]
runpy.run_module("durable", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_the_extra_the_command_says_how_to_get_it(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(name=name)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "The durable command needs its extra: pip install 'durable-engine[cli]'\n"


@pytest.mark.slow
def test_reading_draws_without_rich_and_without_the_demo(shell: Shell) -> None:
    code = (
        "import sys\nfrom durable.cli.main import cli\n"
        "cli.main(['runs', 'list', '--store', 'memory://'], standalone_mode=False)\n"
        "print([n for n in sys.modules if n.startswith(('rich.', 'durable.cli.demo', 'durable.cli.timeline'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(shell: Shell) -> None:
    done = subprocess.run(
        f"{sys.executable} -m durable --help | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
