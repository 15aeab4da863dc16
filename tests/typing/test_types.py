"""The interface infers without a cast, and wrong calls are refused: by mypy and by pyright alike."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GOOD = ("programs.py", "inference.py")
BAD = "programs_bad.py"
Errors = dict[str, dict[int, str]]

pytestmark = pytest.mark.slow


def mypy(directory: Path, *files: str) -> Errors:
    """(file → line → message) of what ``mypy --strict`` refuses."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={ROOT / '.mypy_cache'}",
        *files,
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors: Errors = {}
    for line in done.stdout.splitlines():
        found = re.match(r"(.+?):(\d+): error: (.*)", line)
        if found:
            errors.setdefault(Path(found[1]).name, {})[int(found[2])] = found[3]
    assert errors or done.returncode == 0, done.stdout
    return errors


def pyright(directory: Path, *files: str) -> Errors:
    """(file → line → message) of what pyright refuses."""
    pytest.importorskip("pyright")
    environment = dict(os.environ)
    if shutil.which("node"):
        environment["PYRIGHT_PYTHON_GLOBAL_NODE"] = "on"
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *files]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, env=environment)
    if not done.stdout.lstrip().startswith("{"):
        pytest.skip(f"pyright cannot run on this machine: {(done.stdout + done.stderr)[-300:]}")
    errors: Errors = {}
    for found in json.loads(done.stdout)["generalDiagnostics"]:
        if found["severity"] == "error":
            line = found["range"]["start"]["line"] + 1
            errors.setdefault(Path(found["file"]).name, {})[line] = found["message"]
    return errors


CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_what_is_right_is_accepted_and_exactly_the_marked_lines_are_refused(checker, tmp_path: Path) -> None:
    for name in (*GOOD, BAD):
        shutil.copy(HERE / name, tmp_path)  # a user's directory: no package around it
    errors = checker(tmp_path, *GOOD, BAD)
    refused = errors.pop(BAD, {})
    assert errors == {}
    lines = (HERE / BAD).read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "  # wrong: " in line}
    assert len(marked) >= 30
    missed = {number: lines[number - 1] for number in marked - set(refused)}
    surplus = {number: refused[number] for number in set(refused) - marked}
    assert (missed, surplus) == ({}, {})


@pytest.mark.parametrize("name", [*GOOD, BAD])
def test_nothing_is_cast_or_ignored(name: str) -> None:
    text = (HERE / name).read_text()
    assert not re.search(r"\bcast\(|type: ignore|pyright:", text)
