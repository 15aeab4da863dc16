"""The npm packages that tests need, installed from their lock files where they are used, once."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

__all__ = ["DEPLOYMENT", "installed"]

DEPLOYMENT = Path(__file__).parents[2] / "durable_convex" / "deployment"


def installed(folder: Path) -> Path:
    """The folder, with the packages of its lock file; one process installs them while the others wait.

    A machine without npm skips the test: neither ``pip install`` nor the adapter needs it.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    mark = folder / "node_modules" / f".installed-{wanted[:16]}"
    if mark.exists():
        return folder
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    with open(Path(tempfile.gettempdir()) / f"durable-npm-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            command = [npm, "ci", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, f"npm ci in {folder}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
            mark.touch()
    return folder
