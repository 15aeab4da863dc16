"""``durable-convex dev``: the stand-in for a Convex deployment on this machine, for development and tests.

It runs the app's own functions on Convex's own JavaScript runtime, without an account and without a network. It is not
Convex: see ``docs/convex.md``. It needs Node; its npm packages are installed into a cache directory at first use.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from durable.errors import DurableError

__all__ = ["MissingTool", "command", "prepared"]

_NODE_MAJOR: Final = 20


class MissingTool(DurableError):
    """Node or npm is not here, or too old, or has failed; the message says what to do."""


def command(arguments: list[str]) -> list[str]:
    """The command that starts the stand-in, its packages installed.

    Args:
        arguments: Of the stand-in: ``--dir``, ``--data``, ``--port``, ``--env``...

    Raises:
        MissingTool: It cannot be started here.
    """
    node = _node()
    return [node, str(prepared() / "start.mjs"), *arguments]


def prepared() -> Path:
    """The directory of the stand-in with its npm packages, installed at first use.

    Raises:
        MissingTool: npm is not here, or has failed.
    """
    with as_file(files("durable_convex") / "deployment") as source:
        # A clone of the repository, where they are installed in place; npm writes this file last.
        if (source / "node_modules" / ".package-lock.json").exists():
            return source
        place = _cache() / _fingerprint(source)
        if not place.exists():
            _install(source, place)
        return place


def _install(source: Path, place: Path) -> None:
    """Beside its place first, then moved there: two that come at once do not disturb each other."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingTool(f"npm is not found. It comes with Node {_NODE_MAJOR} or newer, from nodejs.org.")
    print(f"Installing the stand-in's npm packages into {place} (once)...", flush=True)
    draft = place.with_name(f"{place.name}-{os.getpid()}")
    shutil.copytree(source, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "test"))
    try:
        done = subprocess.run(
            [npm, "ci", "--omit=dev", "--no-audit", "--no-fund"], cwd=draft, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise MissingTool(f"`npm ci` failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
        with contextlib.suppress(OSError):  # somebody else was first
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise MissingTool(
            f"Node is not found. The stand-in runs your Convex functions on it: install Node {_NODE_MAJOR} or newer "
            "from nodejs.org."
        )
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = said.removeprefix("v").partition(".")[0]
    if not major.isdecimal() or int(major) < _NODE_MAJOR:
        raise MissingTool(f"{node} is Node {said or 'of no known version'}; the stand-in needs {_NODE_MAJOR} or newer.")
    return node


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "durable-convex"


def _fingerprint(source: Path) -> str:
    """Of every file, so that another version of this package has a directory of its own."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
