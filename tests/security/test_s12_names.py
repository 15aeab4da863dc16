"""S12: a name is looked up in a list of what was registered; no name from anywhere is imported."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import secured_app

from durable import Context, InvalidName, UnknownWorkflow, Worker, connect, workflow
from durable.errors import DurableError

# Modules that nothing here has imported: that they are not there afterwards says that no name was followed.
NAMES = [
    "os.system",
    "os:system",
    "builtins:eval",
    "builtins.exec",
    "antigravity",
    "antigravity:fly",
    "this",
    "turtle.Turtle",
    "xmlrpc.client:ServerProxy",
    "durable.demo",
    "secured_app:done",
    "secured_app.done",
    "__main__:done",
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "file.py:workflow",
    "./antigravity.py:fly",
    "done ",
    "DONE",
    "ｄｏｎｅ",
    "__class__",
    "__init__",
    "step:pack",
    "import antigravity",
    "{0.__class__}",
    "%s",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_nobody_has_registered_is_unknown(name: str, tmp_path: Path) -> None:
    async with connect(f"sqlite:///{tmp_path}/runs.db") as client, Worker(client, workflows=secured_app.ALL):
        before = set(sys.modules)
        with pytest.raises(UnknownWorkflow):
            await client.start(name, "x", id="x")
        assert set(sys.modules) == before
        assert await client.count() == 0


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "x" * 256, "\ud800"])
async def test_what_can_be_no_name_is_refused_before_it_is_looked_up(name: str) -> None:
    async with connect("memory://") as client:
        before = set(sys.modules)
        with pytest.raises(InvalidName):
            await client.start(name, "x")
        assert {module for module in set(sys.modules) - before if not module.startswith("encodings")} == set()


async def test_a_name_planted_in_a_store_is_claimed_by_nobody(tmp_path: Path) -> None:
    """As workflow of a run, in the lane it lies in, of a child, and as a version."""
    path = tmp_path / "runs.db"
    async with connect(f"sqlite:///{path}") as client:
        for number, name in enumerate(NAMES):
            # Whoever starts it may believe that another process has it: the name alone is written.
            await client.start(secured_app.done, "x", id=f"run-{number}")
            plant(path, f"run-{number}", name)
        before = set(sys.modules)
        async with Worker(client, workflows=secured_app.ALL, drain=0.1):
            await asyncio.sleep(0.3)
        assert {module for module in set(sys.modules) - before if not module.startswith("durable")} == set()
        for number, name in enumerate(NAMES):
            status = await client.handle(f"run-{number}").status()
            assert (status.state, (await client.store.get([f"run-{number}"]))[0].workflow) == ("pending", name)


def plant(path: Path, run: str, name: str) -> None:
    raw = sqlite3.connect(path, isolation_level=None)
    (lane,) = raw.execute("SELECT lane FROM runs WHERE id = ?", (run,)).fetchone()
    raw.execute("UPDATE runs SET workflow = ?, lane = ? WHERE id = ?", (name, lane.replace("done", name), run))
    raw.close()


async def test_a_name_planted_in_a_lane_that_is_served_is_blocked_or_left(tmp_path: Path) -> None:
    """The lane says that this worker has it; the row names something else."""
    path = tmp_path / "runs.db"
    async with connect(f"sqlite:///{path}") as client:
        for number, name in enumerate(NAMES):
            await client.start(secured_app.done, "x", id=f"run-{number}")
            raw = sqlite3.connect(path, isolation_level=None)
            raw.execute("UPDATE runs SET workflow = ? WHERE id = ?", (name, f"run-{number}"))
            raw.close()
        before = set(sys.modules)
        async with Worker(client, workflows=secured_app.ALL, drain=0.1):
            await asyncio.sleep(0.5)
        assert {module for module in set(sys.modules) - before if not module.startswith("durable")} == set()
        for number in range(len(NAMES)):
            assert (await client.handle(f"run-{number}").status()).state not in ("completed", "failed")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("runs", "show"), ("runs", "why"), ("start",)])
def test_the_command_line_imports_what_its_app_names_and_nothing_that_an_id_does(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """An APP is the operator's own word; ids and registered names are not."""
    (tmp_path / "evil.py").write_text("open('canary', 'w').close()\n")
    names = ["evil", "evil.done", "evil done"] + (["evil:done", "evil.py"] if command != ("start",) else [])
    program = (
        "import json, sys\nfrom click.testing import CliRunner\nfrom durable.cli.main import cli\n"
        "codes = [CliRunner().invoke(cli, ['--store', 'sqlite:///runs.db', *sys.argv[2:], name]).exit_code\n"
        "         for name in json.loads(sys.argv[1])]\n"
        "print(json.dumps([codes, 'evil' in sys.modules]))"
    )

    async def make() -> None:
        async with connect(f"sqlite:///{tmp_path}/runs.db") as client:
            await client.start(secured_app.done, "x", id="x")

    asyncio.run(make())
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(names), *command], capture_output=True, text=True, cwd=tmp_path
    )
    codes, imported = json.loads(done.stdout)
    assert 0 not in codes
    assert not imported
    assert not (tmp_path / "canary").exists()


async def test_two_functions_under_one_name_are_an_error() -> None:
    @workflow("done")
    async def other(ctx: Context, order: str) -> str:
        return order

    async with connect("memory://") as client:
        with pytest.raises(DurableError, match="Two workflows are named 'done'"):
            Worker(client, workflows=[secured_app.done, other])
