"""``durable demo``."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from durable.cli.demo.board import Board, LineBoard, LiveBoard
from durable.cli.demo.orders import PACKAGED, read_orders
from durable.cli.demo.play import Played, Script, play
from durable.cli.failures import Exit, Failure
from durable.cli.ink import Line
from durable.cli.options import Command, seconds, settings_of
from durable.cli.output import Printer
from durable.cli.text import many, safe, span

__all__ = ["demo"]

_CHAOS_SECONDS = 20.0


@click.command(cls=Command)
@click.option("--chaos", "chaotic", is_flag=True, help="kill -9 a worker every 200 to 600 ms, and start another.")
@click.option("--seconds", "length", metavar="DURATION", help="Keep ordering for so long. With --chaos: 20 s.")
@click.option("--input", "path", type=click.Path(path_type=Path), help="Your own orders, as JSON lines.")
@click.option("--orders", "count", type=click.IntRange(1), help="Only the first so many of the file.")
@click.option("--workers", type=click.IntRange(1, 32), default=2, show_default=True, help="Processes.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Keep the files here; default: a fresh one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the dice that choose whom to kill and when.")
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    chaotic: bool,
    length: str | None,
    path: Path | None,
    count: int | None,
    workers: int,
    directory: Path | None,
    seed: int,
) -> int:
    """A shop on SQLite with worker processes, which may be killed at any moment, and the proof that nothing was lost.

    Every step writes what it does to a ledger, apart from the engine's journal; at the end the two are compared. The
    workflow is durable/cli/demo/shop.py. A card that ends in 0002, 9995 or 0069 is declined; for one that ends in 0119
    the bank does not answer at first.
    """
    settings = settings_of(ctx)
    printer = Printer(settings)
    if settings.timeout is not None:
        raise click.UsageError("The demo ends by itself: say how long it takes orders with --seconds.", ctx)
    if settings.store is not None:
        raise click.UsageError("The demo makes a store of its own: say where with --dir.", ctx)
    orders = read_orders(PACKAGED if path is None else path)[:count]
    place = _place(directory)
    lasting = seconds(length) if length is not None else _CHAOS_SECONDS if chaotic else None
    script = Script(orders, place, f"sqlite:///{place}/shop.db", workers, lasting, chaotic, seed)
    printer.say(_announcement(script))
    printer.say(f"Files: {place}")
    board: Board = LiveBoard(printer) if settings.live(sys.stderr) and settings.verbosity >= 0 else LineBoard(printer)
    try:
        played = asyncio.run(_cancellable(script, board))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Failure("Interrupted; the workers are stopped.", f"The files are in {place}", Exit.INTERRUPTED) from None
    _report(printer, script, played)
    return int(Exit.OK if played.proof.holds else Exit.FAILED)


async def _cancellable(script: Script, board: Board) -> Played:
    """SIGTERM ends the demo as Ctrl-C does: the workers are not left behind."""
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await play(script, board)


def _place(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="durable-demo-"))
    place = directory.resolve()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{place} cannot be made: {error}", "Choose another --dir.") from None
    if any((place / name).exists() for name in ("shop.db", "ledger.jsonl")):
        raise Failure(f"{place} holds an earlier demo.", "Choose another --dir, or delete it.", Exit.CONFLICT)
    return place


def _announcement(script: Script) -> str:
    lasting = "" if script.seconds is None else f", again and again for {script.seconds:g} s"
    workers = "1 worker process" if script.workers == 1 else f"{script.workers} worker processes"
    chaos = f"; every 200 to 600 ms one is killed (seed {script.seed})" if script.chaotic else ""
    return f"{many(len(script.orders), 'order')}{lasting}; {workers}{chaos}."


def _report(printer: Printer, script: Script, played: Played) -> None:
    proof = played.proof
    if printer.form != "table":
        printer.value(
            {
                "holds": proof.holds,
                "checks": [{"claim": c.claim, "holds": c.holds, "against": list(c.against)} for c in proof.checks],
                "effects": dict(proof.effects),
                "began_again": proof.repeats,
                "happened_twice": proof.happened_twice,
                "failed_attempts": proof.retries,
                "kills": played.kills,
                "resumed": played.resumed,
                "seconds": round(played.took, 3),
                "directory": str(script.directory),
                "store": script.url,
            }
        )
        return
    tick, cross = ("✓", "✗") if printer.settings.unicode(sys.stdout) else ("+", "x")
    for check in proof.checks:
        mark: Line = ((f"{tick} ", "ok"),) if check.holds else ((f"{cross} ", "bad"),)
        printer.line((*mark, (check.claim, "" if check.holds else "bad")))
        for against in check.against[:5]:
            printer.line(((f"    {safe(against)}", "bad"),))
        if len(check.against) > 5:
            printer.line(((f"    and {len(check.against) - 5} more", "bad"),))
    _figures(printer, played)
    _next(printer, script)


def _figures(printer: Printer, played: Played) -> None:
    proof = played.proof
    by_count = sorted(proof.effects.items(), key=lambda item: (-item[1], item[0]))
    effects = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in by_count)
    again = f"{proof.repeats:,} (with the same idempotency key; {proof.happened_twice:,} of them had happened already)"
    fields = {
        "effects": f"{sum(proof.effects.values()):,} committed",
        "": effects,
        "failed attempts": f"{proof.retries:,} (the bank did not answer; tried again)",
        "began again": again if proof.repeats else "0",
        "took": f"{span(played.took)}, {played.steps:,} steps, {played.kills} kills",
    }
    if played.resumed:
        fields["resumed"] = f"{played.resumed} runs that had lost too many workers in a row and were blocked"
    for death in played.deaths:
        fields["note"] = death
    printer.fields(fields)


def _next(printer: Printer, script: Script) -> None:
    first = f"order-{script.orders[0].id}"
    printer.line(())
    printer.line((("Now try:", "dim"),))
    program = _called()
    for command in ("runs list", f"runs show {first}", f"runs history {first}", "db stats"):
        printer.line(((f"  {program} {command} --store {script.url}", ""),))


def _called() -> str:
    """How this program is called here: by its name, or by its path where it is not on the PATH."""
    program = Path(sys.argv[0])
    if shutil.which("durable") is not None or program.name != "durable" or not program.is_file():
        return "durable"
    here = Path.cwd()
    return str(program.relative_to(here)) if program.is_relative_to(here) else str(program)
