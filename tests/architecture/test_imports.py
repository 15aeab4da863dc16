"""The floors of the house: who may import whom, and what an import brings along."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What only some programs need. Adapters, the command line and the harness are found when they are asked for.
NOT_WITH_DURABLE = {
    "aiosqlite",
    "click",
    "durable.cli",
    "durable_dag",
    "durable_otel",
    "durable_server",
    "durable_sqlite",
    "durable_testing",
    "fastapi",
    "httpx",
    "hypothesis",
    "opentelemetry",
    "pytest",
    "rich",
    "sqlite3",
    "uvicorn",
}


def loaded_by(statement: str) -> set[str]:
    """Modules in a fresh interpreter after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


@pytest.mark.slow
def test_the_import_contract_is_kept() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(
        [*command, "--no-cache"], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_importing_durable_loads_no_extra_and_no_adapter() -> None:
    assert loaded_by("from durable import *") & NOT_WITH_DURABLE == set()


def test_the_memory_store_needs_neither_pytest_nor_hypothesis_nor_sqlite() -> None:
    assert loaded_by("import durable_testing") & {"pytest", "hypothesis", "sqlite3", "aiosqlite"} == set()


def test_the_sqlite_adapter_loads_no_engine() -> None:
    loaded = loaded_by("import durable_sqlite")
    assert "sqlite3" in loaded
    assert loaded & {"click", "rich", "pytest", "hypothesis", "durable_testing"} == set()


def test_the_server_package_and_its_commands_load_no_framework_before_it_is_needed() -> None:
    loaded = loaded_by("import durable_server, durable_server.commands.server_command, durable.cli.main")
    assert loaded & {"fastapi", "starlette", "uvicorn", "httpx", "durable_dag", "durable_testing"} == set()


@pytest.mark.parametrize(
    "package", ["durable", "durable_dag", "durable_otel", "durable_server", "durable_sqlite", "durable_testing"]
)
def test_each_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
