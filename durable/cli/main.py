"""The ``durable`` command: its tree, and how every ending becomes an exit code."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

import click

from durable.cli.failures import Exit, Failure, told
from durable.cli.lazy import LazyGroup
from durable.cli.leaving import leave
from durable.cli.options import Settings, global_options
from durable.cli.plugins import COMMANDS
from durable.cli.text import safe
from durable.codec.redaction import redact

__all__ = ["cli", "run_cli"]

_RUN: Final = "durable.cli.run_commands"
_LOOK: Final = "durable.cli.runs_look"
_VERBS: Final = "durable.cli.runs_verbs"
_DB: Final = "durable.cli.db_commands"
_LAYOUT: Final = re.compile(r"[\n\t]+")  # click lists choices on lines of their own; an error of ours is one line


class Root(LazyGroup):
    """The root group; the only place where exceptions become exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, with our endings."""
        settings = extra.setdefault("obj", Settings())
        try:
            code: Any = super().main(args, prog_name or "durable", complete_var, standalone_mode=False, **extra)
        except BaseException as error:
            code = _ending(error, settings)
        code = int(code) if isinstance(code, int) else int(Exit.OK)
        if standalone_mode:
            sys.exit(code)
        return code


def _ending(error: BaseException, settings: Settings) -> int:
    """Say what happened, and return the exit code."""
    if isinstance(error, SystemExit):
        if "PacifyFlush" in type(sys.stdout).__name__:
            return Exit.OK  # whoever read our output has left (`| head`); click has seen to the rest
        return error.code if isinstance(error.code, int) else int(Exit.USAGE)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(f"{error.format_message()}\n")
        return Exit.USAGE
    if settings.debug and not isinstance(error, click.ClickException | click.Abort):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    failure = _failure(error)
    if failure is None:
        if not isinstance(error, Exception):
            raise error
        what = f"{type(error).__name__}: {error}"
        failure = Failure(what, "This is unexpected; --debug shows the traceback.", Exit.FAILED)
    _tell(failure, settings)
    return failure.code


def _failure(error: BaseException) -> Failure | None:
    if isinstance(error, click.Abort):
        return Failure("Interrupted.", code=Exit.INTERRUPTED)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "durable"
        return Failure(_LAYOUT.sub(" ", error.format_message()), f"See {path} --help")
    if isinstance(error, click.ClickException):
        return Failure(error.format_message())
    return told(error)


def _tell(failure: Failure, settings: Settings) -> None:
    red, dim, end = ("\x1b[31m", "\x1b[2m", "\x1b[0m") if settings.colored(sys.stderr) else ("", "", "")
    sys.stderr.write(f"{red}Error:{end} {safe(redact(failure.what))}\n")
    if failure.todo:
        sys.stderr.write(f"{dim}  {safe(redact(failure.todo))}{end}\n")


def run_cli() -> int:
    """Run the command line of this process; its exit code."""
    code: int = cli.main(standalone_mode=False)
    return leave(code)


runs = LazyGroup(
    "runs",
    help="Look at runs and act on them. An ID may be shortened to a unique prefix; @last is the newest run.",
    plugins=f"{COMMANDS}.runs",
    lazy={
        "list": ("durable.cli.runs_list:list_runs", "List runs, newest first."),
        "show": (f"{_LOOK}:show", "Draw one run as a timeline."),
        "watch": ("durable.cli.watch_command:watch", "Follow one run until it ends."),
        "history": (f"{_LOOK}:history", "Print a run's journal."),
        "why": (f"{_LOOK}:why", "Say in one sentence what a run waits for."),
        "result": ("durable.cli.watch_command:result", "Wait for a run's end and print its result."),
        "signal": (f"{_VERBS}:signal", "Send a signal to a run."),
        "cancel": (f"{_VERBS}:cancel", "Ask runs to end; they may clean up."),
        "terminate": (f"{_VERBS}:terminate", "End runs now, without clean-up."),
        "pause": (f"{_VERBS}:pause", "Begin no new step."),
        "resume": (f"{_VERBS}:resume", "Go on after a pause or a block."),
        "retry": (f"{_VERBS}:retry", "Begin ended runs again from what failed."),
        "fork": (f"{_VERBS}:fork", "Make a new run from a run's journal up to a step."),
        "settle": (f"{_VERBS}:settle", "Say what became of a step whose outcome is unknown."),
    },
)

db = LazyGroup(
    "db",
    help="Look after the store.",
    lazy={
        "check": (f"{_DB}:check", "Look the store over; exit code 1 if it has problems."),
        "stats": (f"{_DB}:stats", "Count what is in the store."),
        "gc": (f"{_DB}:gc", "Delete ended runs."),
    },
)


def _version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from durable.cli.about import version  # here, for nearly nobody asks

        ctx.invoke(version)
        ctx.exit()


_VERSION_OPTION: Final = click.Option(
    ["--version"], is_flag=True, expose_value=False, callback=_version, help="The same as `durable version`."
)

cli = Root(
    "durable",
    help=(
        "Durable execution for Python: start workflows, work on them, look at their runs.\n\n"
        "APP is module:attribute or path/file.py:attribute. Data goes to stdout, messages to stderr.\n\n"
        "Exit codes: 0 ok, 1 the run failed or a check found problems, 2 usage, 3 not found, 4 not possible in this "
        "state, 5 store or server unreachable, 6 token not accepted, 7 run cancelled, 124 timed out, 130 interrupted."
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[*global_options(), _VERSION_OPTION],
    plugins=COMMANDS,
    lazy={
        "run": (f"{_RUN}:run", "Start a run, work on it here, print its result."),
        "start": (f"{_RUN}:start", "Start a run for workers to take up."),
        "worker": ("durable.cli.worker_command:worker", "Work on runs until told to stop."),
        "plan": ("durable.cli.plan_command:plan", "Say what a deploy of APP would do to the open runs."),
        "replay": ("durable.cli.replay_command:replay", "Replay runs against APP, without effects."),
        "runs": ("durable.cli.main:runs", "Look at runs and act on them."),
        "db": ("durable.cli.main:db", "Look after the store."),
        "doctor": ("durable.cli.doctor_command:doctor", "Look for anything that needs attention; exit code 1 if so."),
        "demo": ("durable.cli.demo.command:demo", "A shop that survives kill -9, with proof."),
        "version": ("durable.cli.about:version", "Print the version."),
    },
)
