"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import asyncio
from durable import Context, step, workflow
from durable_testing import Sim, SyncSim, explore

taken = []

@step
async def charge(amount: int) -> int:
    taken.append(amount)
    return amount

@workflow
async def buy(ctx: Context, amount: int) -> int:
    return await ctx.step(charge, amount)

async def scenario(sim):
    print("world", sim.world.schedule)
    taken.clear()
    await (await sim.start(buy, 30, id="order")).result()
    assert taken == [30]

def test_explored():
    asyncio.run(explore(scenario, workflows=[buy], examples=50))

def test_the_fixture_of_a_plain_test(sim):
    world = sim(workflows=[buy])
    assert isinstance(world, SyncSim)
    assert world.start(buy, 3).result() == 3

def test_a_crash_that_never_comes(sim):
    world = sim(workflows=[buy])
    world.crash(at="charg")
    assert world.start(buy, 3).result() == 3

def test_two_worlds_do_not_know_each_other(sim):
    one, two = sim(workflows=[buy]), sim(workflows=[buy])
    one.start(buy, 3, id="same").result()
    assert two.count() == 0
"""


def pytest_of_its_own(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (where / "test_shop.py").write_text(SUITE)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(where), *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=120,
        env=clean,
    )


@pytest.mark.slow
def test_a_report_under_pytest_has_the_command_that_repeats_it_and_the_command_does(tmp_path: Path) -> None:
    first = pytest_of_its_own(tmp_path)
    assert "3 passed, 1 error" in first.stdout and "1 failed" in first.stdout
    assert "crash(at='charg') never struck" in first.stdout
    (line,) = {line.strip(" E") for line in first.stdout.splitlines() if "--durable-seed=" in line}
    node, option = line.removeprefix("pytest ").split(" ")
    assert node.strip("'") == "test_shop.py::test_explored"
    schedule = option.removeprefix("--durable-seed=").strip("'")
    again = pytest_of_its_own(tmp_path, node.strip("'"), f"--durable-seed={schedule}")
    assert again.returncode == 1
    worlds = [line for line in again.stdout.splitlines() if line.startswith("world ")]
    assert worlds == [f"world {schedule}"]
    assert "Under the schedule that was asked for, the scenario fails." in again.stdout


@pytest.mark.slow
def test_a_schedule_that_is_none_is_refused_before_any_test(tmp_path: Path) -> None:
    refused = pytest_of_its_own(tmp_path, "--durable-seed=nonsense")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'nonsense' is not a schedule" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_help_has_the_option_and_fixtures_has_the_fixture(tmp_path: Path) -> None:
    assert "--durable-seed=SCHEDULE" in pytest_of_its_own(tmp_path, "--help").stdout
    assert "Makes simulated worlds that end with the test" in pytest_of_its_own(tmp_path, "--fixtures").stdout


@pytest.mark.slow
def test_the_plugin_loads_neither_the_simulator_nor_hypothesis_nor_freezegun(tmp_path: Path) -> None:
    code = (
        "import sys, durable_testing.pytest_plugin; "
        "heavy = ('durable_testing.sim', 'durable._engine.worker', 'hypothesis', 'freezegun'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
