"""The page about definitions: its commands answer as shown, and its tables agree with the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from durable_dag import definition_schema
from durable_dag.graph.actions import BUILT_IN
from durable_dag.graph.definition import PLAIN_SUCCESS
from durable_dag.graph.edges import Ended, edge_state

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dag.md").read_text()


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


def table(head: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins so: the first cell's text → the other cells."""
    found: dict[str, list[str]] = {}
    lines = PAGE.splitlines()
    heads = [number for number, line in enumerate(lines[1:]) if line.startswith("|---")]
    [at] = [number for number in heads if lines[number].startswith(f"| {head} |")]
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        first, *others = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        found[first] = others
    assert found
    return found


def words(cells: dict[str, list[str]]) -> set[str]:
    """Everything in code marks in the first cells."""
    return {word for first in cells for word in re.findall(r"`([^`]+)`", first)}


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def shown() -> list[tuple[str, str]]:
    """Each curl of the page, with what it answers."""
    found: list[tuple[str, str]] = []
    for block in fenced("console"):
        for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.M)[1:]:
            command, _, answer = part.partition("\n")
            if command.startswith("curl"):
                found.append((command, answer))
    return found


@contextmanager
def serving(where: Path) -> Iterator[str]:
    """``durable server shop.py --worker`` on any free port; ``localhost:port``."""
    command = [sys.executable, "-u", "-m", "durable", "server", "shop.py", "--worker"]
    process = subprocess.Popen(
        [*command, "--store", "sqlite:///shop.db", "--port", "0"], cwd=where, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if said := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                yield f"localhost:{said[1]}"
                break
        else:
            pytest.fail("the server has not said where it listens")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands are curl's")
def test_the_commands_of_the_page_answer_as_shown(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    (tmp_path / "shop.py").write_text(fenced("python")[0])
    subprocess.run([sys.executable, "shop.py"], cwd=tmp_path, check=True, timeout=30, capture_output=True)
    assert len(shown()) == 3
    with serving(tmp_path) as address:
        for command, answer in shown():
            told = subprocess.run(
                command.replace("localhost:8585", address), shell=True, cwd=tmp_path, capture_output=True, text=True
            )
            assert told.returncode == 0, told.stderr
            assert told.stdout.strip() == answer.strip(), command
    execution = (tmp_path / "order-43.json").read_text()
    assert '"status":"completed"' in execution
    assert "nothing was charged" in execution


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

BEING_WRITTEN = {"concurrency", "scheduleTimeout"}
"""Members that the page may have and need not: they are described elsewhere on it."""


def test_every_member_of_the_format_is_in_a_table_and_no_other() -> None:
    schema = definition_schema()
    for head, members in (
        ("workflow", schema["properties"]),
        ("step", schema["$defs"]["step"]["properties"]),
        ("`retryPolicy`", schema["$defs"]["retryPolicy"]["properties"]),
    ):
        told = words(table(head))
        assert told <= set(members), head
        assert set(members) - told <= BEING_WRITTEN, head


def test_every_action_is_in_the_table_with_its_params() -> None:
    cells = table("`action`")
    assert words(cells) == set(BUILT_IN)
    for first, (params, _) in cells.items():
        known = set(BUILT_IN[first.strip("`")]["properties"])
        assert set(re.findall(r"`([^`]+)`", params)) == known, first


SOURCES = {
    "succeeded": Ended("success"),
    "is a condition that held": Ended("success", "condition", "true"),
    "is a condition that did not": Ended("success", "condition", "false"),
    "is a switch": Ended("success", "switch", "taken"),
    "failed": Ended("failed"),
    "failed, and some arrow on `failure` leaves it": Ended("failed", handled=True),
    "failed, with `critical: false`": Ended("failed", critical=False),
    "was skipped by a condition or by hand": Ended("skipped", reason="manual"),
    "was skipped because of a failure": Ended("skipped", reason="dependency_failed"),
}


def test_the_table_of_arrows_is_the_rule() -> None:
    rows = table("the source")
    assert set(rows) == set(SOURCES)
    for source, cells in rows.items():
        ended = SOURCES[source]
        for on, cell in zip((PLAIN_SUCCESS, "success", "failure", "skipped", "done"), cells, strict=False):
            assert cell.split()[0] == edge_state(on, ended), (source, on)
        pairs = re.findall(r"`(\w+)` (\w+)", cells[-1]) or [("taken", cells[-1].split()[0])]
        for branch, state in pairs:
            assert edge_state(branch, ended) == state, (source, branch)
    assert edge_state(PLAIN_SUCCESS, Ended("success", "switch", None)) == "dead", "no case was taken"
    by_condition = Ended("skipped", reason="condition")
    for on in (PLAIN_SUCCESS, "success", "failure", "skipped", "done"):
        assert edge_state(on, by_condition) == edge_state(on, SOURCES["was skipped by a condition or by hand"])
