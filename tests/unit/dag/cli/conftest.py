"""What the tests of ``durable dag`` share: a directory with a store and a definition."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dag_shell import ORDER, Shell, write

from durable.cli.main import cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURABLE_SERVER", raising=False)
    write("order.json", ORDER)
    return tmp_path


@pytest.fixture
def durable(here: Path) -> Shell:
    def run(*args: str, input: str | None = None) -> Result:
        env = {"DURABLE_STORE": f"sqlite:///{here}/runs.db", "COLUMNS": "110", "NO_COLOR": None, "FORCE_COLOR": None}
        return CliRunner(env=env).invoke(cli, list(args), input=input)

    return run
