"""How long one waits for a program to begin."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.beds import directory
from benchmarks.limits import interpreter
from benchmarks.passes import ROOT, Figures, Plan, Ratio, Row, Skipped, Table
from benchmarks.peers.known import DBOS, LANGGRAPH
from benchmarks.peers.rows import cold, imported

INTERPRETER: Final = "Python itself"
MS: Final = "ms"
REPEATED: Final = 3

PROGRAM: Final = """
from durable import Context, run, step, workflow

@step
async def one() -> int:
    return 1

@workflow
async def hello(ctx: Context) -> int:
    return await ctx.step(one)

assert run(hello, store="sqlite:///cold.db") == 1
"""


def importing(statement: str) -> Row:
    """Milliseconds of the statement alone, in a fresh interpreter."""
    code = f"import time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1000)"

    async def measure(plan: Plan) -> Figures:
        return {MS: min(float(_run("-c", code, cwd=ROOT)) for _ in range(REPEATED))}

    return Row(f"`{statement}`", measure, _ratios())


def program(name: str, *command: str, store: bool = False) -> Row:
    """Milliseconds from the start of the process to its end, the interpreter's included."""

    async def measure(plan: Plan) -> Figures:
        if "durable" in command and not _has_command_line():
            raise Skipped("the command line needs the extra `cli`.")
        with directory(plan) as folder:
            if store:
                _run("-c", PROGRAM, cwd=folder)
            taken = list[float]()
            for number in range(REPEATED):
                place = folder if store else folder / str(number)
                place.mkdir(exist_ok=True)
                began = time.perf_counter()
                _run(*command, cwd=place)
                taken.append((time.perf_counter() - began) * 1000)
        return {MS: min(taken)}

    return Row(name, measure, _ratios())


def _run(*arguments: str, cwd: Path) -> str:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=True).stdout


def _has_command_line() -> bool:
    return subprocess.run([sys.executable, "-c", "import click, rich"], capture_output=True).returncode == 0


async def _interpreter(plan: Plan) -> Figures:
    return {MS: min([(await interpreter(plan))[MS] for _ in range(REPEATED)])}


def _ratios() -> tuple[Ratio, ...]:
    return (Ratio("{} starts of Python", MS, INTERPRETER, MS),)


IMPORT: Final = "import durable"
EVERYTHING: Final = "from durable import Client, Worker, connect"
FIRST: Final = "first result"

TABLE: Final = Table(
    "startup",
    "Startup",
    f"The fastest of {REPEATED} in each pass. Imports are the statement alone; programs are from the start of the "
    "process to its end. *First result*: a new process, a new SQLite file, a run of one step.",
    (
        Row(INTERPRETER, _interpreter, bare=True),
        importing(IMPORT),
        importing(EVERYTHING),
        program(FIRST, "-c", PROGRAM),
        program("`durable --help`", "-m", "durable", "--help"),
        program("`durable runs list`", "-m", "durable", "--store", "sqlite:///cold.db", "runs", "list", store=True),
        *(imported(peer, "import", f"`{EVERYTHING}`") for peer in (DBOS, LANGGRAPH)),
        *(cold(peer, FIRST, FIRST) for peer in (DBOS, LANGGRAPH)),
    ),
)
