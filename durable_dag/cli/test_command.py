"""``durable dag test``: a definition carried out here, with made-up answers for what has effects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import click

from durable.cli.failures import Exit, Failure
from durable.cli.ink import Meaning, Span
from durable.cli.inputs import json_value
from durable.cli.options import Command, settings_of
from durable.cli.output import Column, Printer
from durable.cli.text import json_text
from durable_dag.cli.documents import Document, one_document
from durable_dag.cli.engines import engine_of
from durable_dag.cli.findings import tell_findings
from durable_dag.cli.trial import Mocks, Trial, carried_out
from durable_dag.cli.validate_command import checked_with
from durable_dag.errors import InvalidContext
from durable_dag.problems import nearest

Json: TypeAlias = Any

__all__ = ["test"]

_COLUMNS: Final[tuple[Column, ...]] = (
    ("step", "<"),
    ("status", "<"),
    ("try", ">"),
    ("reason", "<"),
    ("result or error", "<"),
)
_FAILURE: Final = ("name", "message", "status")
_MEANINGS: Final[Mapping[str, Meaning]] = {"success": "ok", "failed": "bad", "skipped": "dim"}


@click.command("test", cls=Command)
@click.argument("file", metavar="FILE")
@click.option("--context", metavar="JSON|@FILE", help="The start's context. Default: {}.")
@click.option(
    "--mock",
    "mocks",
    multiple=True,
    metavar="STEP=JSON|STEP=@FILE",
    help="What a step comes to, instead of being carried out; said again, that of its next attempt. "
    '{"$fail": {"name": "Late", "message": "..."}} fails, and {"$fail": {"status": 503}} as a request would.',
)
@click.option("--allow-http", is_flag=True, help="Requests without a mock are really sent; secrets are variables.")
@click.pass_context
def test(ctx: click.Context, *, file: str, context: str | None, mocks: tuple[str, ...], allow_http: bool) -> int:
    """Carry a definition out in this process, and print what became of each step; exit code 1 if it fails.

    JavaScript runs for real. Requests, custom actions, signals and other definitions need a mock when they are reached.
    Delays, and the waits between attempts, are not waited for; webhooks of the workflow are not sent.
    """
    printer = Printer(settings_of(ctx))
    document = one_document(file)
    given = {} if context is None else json_value(context, "--context")

    async def work() -> Trial | int:
        if not await _is_good(printer, document):
            return int(Exit.FAILED)
        answers = Mocks(_answers(mocks, [step["id"] for step in document.value["steps"]]))
        return await carried_out(document.value, given, answers, allow_http=allow_http)

    limit = printer.settings.timeout
    try:
        found = asyncio.run(asyncio.wait_for(work(), limit))
    except TimeoutError:
        raise Failure(f"Not done after {limit:g} s.", "", Exit.TIMED_OUT) from None
    except InvalidContext as error:
        raise Failure(f"--context: {error}") from error
    return found if isinstance(found, int) else _told(printer, found)


async def _is_good(printer: Printer, document: Document) -> bool:
    engine = engine_of(None, allow_unknown=True)
    try:
        checked = await checked_with(engine, document.value, strict=False)
    finally:
        await engine.close()
    if not checked["valid"]:
        tell_findings(printer, document, checked["errors"], ())
    return bool(checked["valid"])


def _answers(mocks: Sequence[str], steps: Sequence[str]) -> dict[str, list[Json]]:
    """Answers by step, in the order in which they were given."""
    found: dict[str, list[Json]] = {}
    for text in mocks:
        step, equals, answer = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not STEP=JSON.", param_hint="--mock")
        if step not in steps:
            hint = nearest(step, steps)
            meant = "" if hint is None else f"; did you mean {hint!r}?"
            raise click.BadParameter(f"there is no step {step!r}{meant}", param_hint="--mock")
        found.setdefault(step, []).append(_answer(json_value(answer, f"--mock {step}"), step))
    return found


def _answer(answer: Json, step: str) -> Json:
    """One answer; a failure with a member that nobody reads would be another one than its writer meant."""
    failure = answer.get("$fail") if isinstance(answer, dict) else None
    for member in failure if isinstance(failure, dict) else ():
        if member not in _FAILURE:
            what = f"$fail has name, message and status, not {member!r}."
            raise click.BadParameter(what, param_hint=f"--mock {step}")
    return answer


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(printer: Printer, trial: Trial) -> int:
    """Print what came of it; the exit code."""
    execution = trial.execution
    if printer.form == "table":
        printer.table(_COLUMNS, [_row(step) for step in execution["stepResults"].values()])
    else:
        printer.value({**execution, "missingMocks": dict(trial.missing)})
    if trial.skipped_waits:
        printer.say(f"Not waited for: {', '.join(dict.fromkeys(trial.skipped_waits))}.")
    if trial.hooks:
        printer.say("The workflow's webhooks were not sent.")
    if trial.missing:
        first, action = next(iter(trial.missing.items()))
        told = ", ".join(f"{step} ({what})" for step, what in trial.missing.items())
        http = " or --allow-http" if action in ("http.request", "webhook") else ""
        raise Failure(f"Reached without a mock: {told}.", f"Say what it comes to: --mock '{first}={{}}'{http}")
    if execution["status"] != "completed":
        printer.say(f"{execution['status'].capitalize()}: {execution['error'] or ''}".rstrip(": "))
        return int(Exit.FAILED)
    if printer.form == "table":
        printer.line((("Completed: ", "ok"), (json_text(execution["output"]), "")))
    return int(Exit.OK)


def _row(step: Mapping[str, Json]) -> list[Span]:
    said = "" if step.get("result") is None else json_text(step["result"])
    branch = f"branch {step['branch']}" if step.get("branch") is not None else ""
    return [
        (step["stepId"], ""),
        (step["status"], _MEANINGS.get(step["status"], "")),
        (str(step["attempts"] or ""), "dim"),
        (step.get("skipReason") or branch, "dim"),
        (step.get("error") or said, ""),
    ]
