"""``durable demo`` from its first order to its proof, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from durable.cli.demo.ledger import read_ledger

pytestmark = pytest.mark.slow


def demo(*args: str, directory: Path) -> "subprocess.Popen[str]":
    env = {key: value for key, value in os.environ.items() if key != "DURABLE_STORE"}
    return subprocess.Popen(
        [sys.executable, "-m", "durable", "demo", "--dir", str(directory), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**env, "PYTHONIOENCODING": "utf-8"},
    )


def ended(process: "subprocess.Popen[str]", seconds: float = 120) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def workers_of(directory: Path) -> list[str]:
    """Processes that still speak of this demo's store."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if f"{directory}/" in line and " worker " in line]


def test_the_demo_proves_itself(tmp_path: Path) -> None:
    code, out, err = ended(demo("--orders", "20", directory=tmp_path / "shop"))
    assert code == 0, out + err
    lines = out.splitlines()
    assert lines[0] == "✓ 20 orders, each with the one end that its input demands: 19 completed, 1 refused"
    assert "✓ commits run twice: 0" in lines
    assert not [line for line in lines if line.startswith("✗")]
    assert workers_of(tmp_path) == []
    ledger, broken = read_ledger(tmp_path / "shop" / "ledger.jsonl")
    assert broken == []
    assert {line.mark for line in ledger} == {"begin", "end", "error"}
    assert len({line.key for line in ledger}) == 20 + 20 + 19 + 19 + 19 + 1 + 1
    for command in [line.strip() for line in lines if line.startswith("  durable ")]:
        shown = subprocess.run(
            [sys.executable, "-m", *command.split()], capture_output=True, text=True, encoding="utf-8"
        )
        assert shown.returncode == 0, (command, shown.stderr)


def test_the_demo_takes_the_users_own_orders(tmp_path: Path) -> None:
    order = {"id": "ö/7 \u202e", "customer": "Ada", "email": "a@b.c", "city": "Bath\u0007", "card": "4000000000000002"}
    order["items"] = [{"sku": "T", "quantity": 2, "price": "2.50"}]  # type: ignore[assignment]
    (tmp_path / "mine.jsonl").write_text(json.dumps({**order, "city": "Bath"}) + "\n")
    process = demo("--input", str(tmp_path / "mine.jsonl"), "-o", "json", directory=tmp_path / "shop")
    code, out, err = ended(process)
    assert code == 0, out + err
    proof = json.loads(out)
    assert proof["effects"] == {"reserve_stock": 1, "release_stock": 1, "notify": 1}
    assert proof["holds"]
    again = ended(demo(directory=tmp_path / "shop"))
    assert again[0] == 4
    assert "holds an earlier demo" in again[2]


def test_bad_input_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"id": "7"}\n')
    code, out, err = ended(demo("--input", str(tmp_path / "mine.jsonl"), directory=tmp_path / "shop"))
    assert (code, out) == (2, "")
    assert "mine.jsonl, line 1: customer: is missing" in err
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_worker(tmp_path: Path, number: signal.Signals) -> None:
    process = demo("--seconds", "60", directory=tmp_path / "shop")
    for _ in range(200):
        if (tmp_path / "shop" / "ledger.jsonl").exists():
            break
        time.sleep(0.05)
    assert len(workers_of(tmp_path)) == 2
    process.send_signal(number)
    code, _, err = ended(process, 30)
    assert code == 130, err
    assert "Interrupted; the workers are stopped." in err
    assert workers_of(tmp_path) == []


def test_chaos_loses_nothing(tmp_path: Path) -> None:
    process = demo("--chaos", "--seconds", "5", "--seed", "7", "-o", "json", directory=tmp_path / "shop")
    code, out, err = ended(process)
    assert code == 0, out + err
    proof = json.loads(out)
    assert proof["holds"]
    assert proof["kills"] >= 5
    assert proof["checks"][-1]["claim"] == "commits run twice: 0"
    assert workers_of(tmp_path) == []
