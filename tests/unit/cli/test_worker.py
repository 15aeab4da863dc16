"""``durable worker`` and ``durable run`` as processes: what signals do to them."""

import json
import os
import signal
import subprocess
import time

import pytest
from cli_shell import Shell

pytestmark = pytest.mark.slow


def ready(worker: "subprocess.Popen[str]") -> str:
    """Its first line on stderr: it is written when everything is loaded. In debug mode asyncio may have complained."""
    assert worker.stderr is not None
    line: str = worker.stderr.readline()
    while " WARNING asyncio: " in line:
        line = worker.stderr.readline()
    assert line.startswith("Worker "), line
    return line


def until(shell: Shell, run: str, state: str) -> None:
    """Wait for a run's status, or for one of its steps: ``step running``."""
    for _ in range(200):
        text = shell("runs", "show", run, "-o", "json").stdout
        if text:
            shown = json.loads(text)
            if state in (shown["status"], *(f"step {step['state']}" for step in shown["steps"])):
                return
        time.sleep(0.05)
    raise AssertionError(f"run {run} was never {state}: {text}")


def ended(process: "subprocess.Popen[str]", seconds: float = 15) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def test_a_worker_works_until_sigterm_and_exits_0(shell: Shell) -> None:
    worker = shell.process("worker", "shop_app:make")
    try:
        assert "works on hello, waits, refused, careful, sticky" in ready(worker)
        assert shell.data("start", "shop_app:hello", "-i", '"Ada"', "--id", "h1", "--wait") == '"hello Ada"\n'
        shell.data("start", "waits", "-i", '"by name"', "--id", "w1")
        shell.data("runs", "signal", "w1", "go", "-p", "1")
        assert shell.data("runs", "result", "w1", "--timeout", "10") == '"by name: 1"\n'
        assert json.loads(shell.data("db", "stats", "-o", "json"))["workers.alive"] == 1
        worker.send_signal(signal.SIGTERM)
        code, out, err = ended(worker)
        assert (code, out) == (0, "")
        assert err.endswith("Stopped.\n")
        assert json.loads(shell.data("db", "stats", "-o", "json"))["workers.alive"] == 0
    finally:
        worker.kill()


def test_a_worker_drains_on_ctrl_c(shell: Shell) -> None:
    shell.data("start", "shop_app:sticky", "-i", "0.8", "--id", "s1")
    worker = shell.process("worker", "shop_app", "--drain", "10s", "--name", "w-ü1", "-c", "5", "--queue", "default")
    try:
        assert ready(worker).startswith("Worker w-ü1 works on ")
        until(shell, "s1", "step running")
        worker.send_signal(signal.SIGINT)
        assert ended(worker)[0] == 0
        assert shell.data("runs", "result", "s1", "--timeout", "1") == "null\n"
    finally:
        worker.kill()


def test_a_worker_whose_name_would_steer_the_terminal_is_refused(shell: Shell) -> None:
    result = shell("worker", "shop_app", "--name", "w-\x1b1")
    assert result.exit_code == 2
    assert "holds the control character '\\x1b'" in result.stderr


def test_a_worker_leaves_threads_behind_that_outlive_the_drain(shell: Shell) -> None:
    shell.data("start", "shop_app:sticky", "-i", "60", "--id", "s1")
    worker = shell.process("worker", "shop_app:make")
    try:
        ready(worker)
        until(shell, "s1", "step running")
        begun = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        code, _, err = ended(worker)
        assert code == 0
        assert time.monotonic() - begun < 8
        assert "Steps still run in threads; they are left behind." in err
    finally:
        worker.kill()


def test_a_worker_says_what_is_wrong_with_its_app(shell: Shell) -> None:
    for args, code, what in (
        (["shop_app:make", "-c", "3"], 2, "makes its own worker, so --concurrency would not reach it"),
        (["shop_app:hello.fn"], 2, "shop_app:hello.fn failed: TypeError: hello() missing 1 required"),
        (["shop_app:Signal"], 2, "is type, which is nothing to run"),
        (["builtins:repr"], 2, "builtins:repr returned str, not a Worker"),
        (["shop_app:nope"], 3, "has no attribute 'nope'"),
        (["json"], 2, "json has no workflow"),
    ):
        worker = shell.process("worker", *args)
        done, _, err = ended(worker)
        assert done == code, err
        assert what in err


def test_a_killed_worker_leaves_an_unknown_outcome_that_a_person_settles(shell: Shell) -> None:
    shell.data("start", "shop_app:careful", "-i", '"x"', "--id", "c1")
    first = shell.process("worker", "shop_app:make")
    ready(first)
    until(shell, "c1", "step running")
    first.kill()
    first.wait()
    second = shell.process("worker", "shop_app:make")
    try:
        until(shell, "c1", "blocked")
        assert "settle 'once'" in shell.data("runs", "why", "c1")
        blocked = shell("runs", "result", "c1")
        assert blocked.exit_code == 4
        assert shell("runs", "settle", "c1", "once", "--result", '"settled"').exit_code == 0
        assert shell.data("runs", "result", "c1", "--timeout", "10") == '"settled"\n'
    finally:
        second.kill()
        second.wait()


def test_an_interrupted_run_is_kept_and_exits_130(shell: Shell) -> None:
    process = shell.process("run", "shop_app:waits", "-i", '"w"', "--id", "w1")
    try:
        until(shell, "w1", "waiting")
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
        assert (code, out) == (130, "")
        assert "Interrupted. Run w1 is kept" in err
    finally:
        process.kill()
    shell.data("runs", "signal", "w1", "go", "-p", "1")
    assert shell.data("run", "shop_app:waits", "-i", '"w"', "--id", "w1") == '"w: 1"\n'


def test_an_interrupted_watch_exits_130(shell: Shell) -> None:
    shell.data("start", "shop_app:waits", "-i", '"w"', "--id", "w1")
    process = shell.process("runs", "watch", "w1")
    assert process.stdout is not None
    assert "run w1 of waits" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "Traceback" not in err


def test_a_step_with_a_queue_is_served_by_a_module_worker(shell: Shell) -> None:
    (shell.directory / "far_app.py").write_text(
        "from durable import Context, step, workflow\n"
        "@step(queue='far')\n"
        "async def there(n: int) -> int:\n"
        "    return n + 1\n"
        "@workflow\n"
        "async def go(ctx: Context, n: int) -> int:\n"
        "    return await ctx.step(there, n)\n"
    )
    assert shell.data("run", "far_app.py:go", "-i", "1") == "2\n"
    assert os.path.exists(shell.directory / "runs.db")
