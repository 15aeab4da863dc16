"""``durable worker``."""

from __future__ import annotations

import inspect
from threading import Timer
from typing import Any, Final

import click

from durable import Client, Worker, connect
from durable.cli.apps import App, load_app
from durable.cli.connection import log_to_stderr
from durable.cli.failures import Failure
from durable.cli.leaving import leave_within
from durable.cli.options import Command, seconds, settings_of
from durable.cli.output import Printer
from durable.cli.process import run_alone

__all__ = ["worker", "worker_of"]

_GRACE_SECONDS: Final = 5.0


@click.command(cls=Command)
@click.argument("app", metavar="APP")
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Read this queue; may be given several times.")
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Runs at once. Default 100.")
@click.option("--drain", metavar="DURATION", help="Wait so long for steps in flight when told to stop. Default 30s.")
@click.option("--name", metavar="TEXT", help="For people; by default host and process id.")
@click.pass_context
def worker(
    ctx: click.Context,
    *,
    app: str,
    queues: tuple[str, ...],
    concurrency: int | None,
    drain: str | None,
    name: str | None,
) -> None:
    """Work on runs until SIGTERM or Ctrl-C; then steps in flight end and are committed, and no new one begins.

    APP is module:attribute or path/file.py:attribute. The attribute is a workflow, a list of them, or a function that
    takes a client and returns a Worker; without it, every workflow (and step with a queue) of the module.
    """
    settings = settings_of(ctx)
    if settings.timeout is not None:
        raise click.UsageError("A worker works until it is told to stop; it has no --timeout.", ctx)
    log_to_stderr(settings)
    printer = Printer(settings)
    loaded = load_app(app)
    options: dict[str, Any] = {
        "concurrency": concurrency,
        "drain": None if drain is None else seconds(drain),
        "name": name,
        "queues": queues or None,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if loaded.make_worker is not None and given:
        raise Failure(
            f"{app} makes its own worker, so --{next(iter(given))} would not reach it.", "Say it there, in the code."
        )
    run_alone(_work(settings.url, app, loaded, given, printer)).cancel()


async def _work(url: str, text: str, app: App, given: dict[str, Any], printer: Printer) -> Timer:
    async with connect(url) as client:
        made = await worker_of(client, text, app, given)
        names = ", ".join(made.registry.names()) or "steps only"
        printer.say(f"Worker {made.name} works on {names} (queues {', '.join(made.queues)}; {url}). Ctrl-C drains.")
        await made.run()
        # What is left now ignored its cancellation. It may not keep the process: its runs go to other workers.
        deadline = leave_within(_GRACE_SECONDS, 0)
    printer.say("Stopped.")
    return deadline


async def worker_of(client: Client, text: str, app: App, given: dict[str, Any]) -> Worker:
    """The worker that an APP makes, or one with all that it holds; not started.

    Args:
        text: The APP as it was typed, for messages.
        given: Options for a worker that the command line makes.

    Raises:
        Failure: The APP's own function does not make one.
    """
    if app.make_worker is None:
        return Worker(client, workflows=app.workflows, steps=app.steps, **{"queues": app.queues, **given})
    todo = "It takes a client: def worker(client): return Worker(client, workflows=[...])"
    try:
        made = app.make_worker(client)
        if inspect.isawaitable(made):
            made = await made
    except Exception as error:
        raise Failure(f"{text} failed: {type(error).__name__}: {error}", todo) from error
    if not isinstance(made, Worker):
        raise Failure(f"{text} returned {type(made).__name__}, not a Worker.", todo)
    return made
