"""``durable server``."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from durable import Client, Worker, Workflow, connect
from durable.cli.apps import App, load_app, look_up
from durable.cli.connection import log_to_stderr
from durable.cli.failures import Exit, Failure
from durable.cli.options import Command, settings_of
from durable.cli.output import Printer
from durable.cli.process import run_alone
from durable.errors import MissingExtra
from durable.store import shown_url
from durable_server.fence import is_loopback
from durable_server.tokens import Tokens

if TYPE_CHECKING:
    from durable_dag import Engine

__all__ = ["server"]

_PORT: Final = 8585


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served.

    Attributes:
        engine: For definitions; None if their extra is not installed.
        names: By which the server may be called besides those of this machine.
    """

    url: str
    host: str
    port: int
    auth: str | None
    engine: Engine | None
    names: tuple[str, ...]
    origins: tuple[str, ...]
    worker: bool
    workflows: tuple[Workflow[..., Any], ...] = ()
    steps: tuple[Any, ...] = ()
    queues: tuple[str, ...] = field(default=("default",))


@click.command(cls=Command)
@click.argument("app", metavar="[APP]", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", default=_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@click.option(
    "--auth",
    type=click.Choice(["tokens", "none"]),
    help="Default: tokens if the store has any, else none, which serves this machine alone.",
)
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="A name by which it may be called.")
@click.option("--allow-origin", "origins", multiple=True, metavar="URL", help="An origin whose pages may call it.")
@click.option("--worker", is_flag=True, help="Work on runs in this process, too.")
@click.pass_context
def server(ctx: click.Context, /, *, app: str | None, worker: bool, **given: Any) -> None:
    """Serve the REST API until SIGTERM or Ctrl-C.

    APP is module:attribute or path/file.py:attribute, as for `durable worker`: its workflows check what they are
    started with, and its durable_dag.Engine, if it has one, brings its executors. Without an APP the server knows the
    workflows that workers have registered, and definitions with the built-in actions.
    """
    settings = settings_of(ctx)
    if settings.timeout is not None:
        raise click.UsageError("A server serves until it is told to stop; it has no --timeout.", ctx)
    log_to_stderr(settings)
    loaded, engine = (None, None) if app is None else _loaded(app)
    found = App((), ()) if loaded is None else loaded
    plan = Plan(
        settings.url,
        given["host"],
        given["port"],
        given["auth"],
        engine if engine is not None else _engine(),
        given["names"],
        given["origins"],
        worker,
        found.workflows,
        found.steps,
        found.queues,
    )
    try:
        run_alone(_serve(plan, Printer(settings)))
    except ImportError as error:
        raise MissingExtra(
            f"The server needs an optional part ({error.name}): pip install 'durable-engine[server]'."
        ) from error


def _loaded(text: str) -> tuple[App | None, Engine | None]:
    """An APP's workflows, and its engine."""
    module, attribute = look_up(text)
    try:
        from durable_dag import Engine  # its extra may not be installed
    except ImportError:
        return load_app(text), None
    engines = [value for value in (attribute, *vars(module).values()) if isinstance(value, Engine)]
    engine = engines[0] if engines else None
    if isinstance(attribute, Engine):
        return None, engine
    app = load_app(text) if engine is None or attribute is not None else _without_complaint(text)
    if app is not None and app.make_worker is not None:
        raise Failure(f"{text} makes a worker.", "Name the module itself, or its engine: module, module:engine")
    return app, engine


def _without_complaint(text: str) -> App | None:
    """A module with an engine needs no workflows of its own."""
    try:
        return load_app(text)
    except Failure:
        return None


def _engine() -> Engine | None:
    try:
        from durable_dag import Engine

        return Engine()
    except ImportError:  # the extra of definitions is not installed: the server does without
        return None


async def _serve(plan: Plan, printer: Printer) -> None:
    from durable_server.app import asgi
    from durable_server.serving import serve

    async with connect(plan.url) as client:
        auth = await _auth(plan, client)
        listening = _listen(plan)
        if plan.engine is not None:
            plan.engine.bind(client)
        for workflow in plan.workflows:
            client.link.registry.add(workflow)
        names = (*plan.names, plan.host) if plan.names or auth == "none" else None
        app = asgi(client, plan.engine, auth=auth, hosts=names, origins=plan.origins)
        port = listening.getsockname()[1]
        shown = f"[{plan.host}]" if ":" in plan.host else plan.host
        who = "this machine alone, without tokens" if auth == "none" else "whoever has a token"
        printer.say(f"Serving {shown_url(plan.url)} at http://{shown}:{port} to {who}. Ctrl-C stops.")
        try:
            async with _maybe_worker(plan, client):
                await serve(app, listening)
        finally:
            if plan.engine is not None:
                await plan.engine.close()
    printer.say("Stopped.")


async def _auth(plan: Plan, client: Client) -> Any:
    """What callers must show.

    Raises:
        Failure: Nobody could, or everybody in the network need not.
    """
    tokens = [token for token in await Tokens(client).list() if not token.revoked]
    local = is_loopback(plan.host)
    auth = plan.auth or ("tokens" if tokens or not local else "none")
    if auth == "none" and not local:
        raise Failure(
            f"Without tokens a server listens on this machine alone, and {plan.host} is more than that.",
            "Make a token, then leave --auth out: durable tokens create NAME --role operate",
        )
    if auth == "tokens" and not tokens:
        raise Failure(
            "The store has no token, so nobody could call this server.",
            "Make one: durable tokens create NAME --role operate",
        )
    return auth


def _listen(plan: Plan) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
        return socket.create_server((plan.host, plan.port), family=family, backlog=256)
    except OSError as error:
        raise Failure(
            f"{plan.host}:{plan.port} cannot be listened on: {error.strerror or error}.",
            "Choose another --port, or stop what has it.",
            Exit.UNREACHABLE,
        ) from None


class _Nothing:
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass


def _maybe_worker(plan: Plan, client: Client) -> Any:
    if not plan.worker:
        return _Nothing()
    parts = [] if plan.engine is None else plan.engine.workflows
    return Worker(client, workflows=[*plan.workflows, *parts], steps=plan.steps, queues=plan.queues)
