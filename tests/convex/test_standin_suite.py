"""The development server's own tests, in JavaScript: its types, then vitest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.convex.packages import DEPLOYMENT, installed

_SECONDS = 900


def _run(*command: str, within: Path) -> None:
    done = subprocess.run(command, cwd=within, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-8000:]}{done.stderr[-4000:]}"


@pytest.fixture(scope="module")
def server() -> Path:
    """The server's folder, with the npm packages of itself and of its tests."""
    installed(DEPLOYMENT / "test")
    return installed(DEPLOYMENT)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "test"])
def test_the_types_hold(server: Path, folder: str) -> None:
    _run("npx", "tsc", "--noEmit", within=server / folder)


@pytest.mark.slow
def test_published_clients_and_components_work_on_it_and_it_keeps_its_promises(server: Path) -> None:
    _run("npx", "vitest", "run", within=server / "test")
