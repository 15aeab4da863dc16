"""Helpers as processes: killed, shared, let go, never left behind."""

import asyncio
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from durable.errors import InvalidInput, MissingExtra
from durable_dag.js import JsCrash, JsFailure, JsInterrupted, JsTimeout, ProcessJs

ROOT = Path(__file__).parents[4]
BUSY = "const end = Date.now() + 400; while (Date.now() < end) {} return 'done'"
linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at processes through /proc")


def gone(pid: int) -> bool:
    """No such process, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(fact: Callable[[], bool]) -> None:
    """Wait for what must come."""
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.005)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def under_way(js: ProcessJs, body: str) -> "asyncio.Task[object]":
    """A call that its helper works on, as its processor time tells."""
    assert await js.evaluate("1") == 1
    (pid,) = js.pids

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    task = asyncio.ensure_future(js.call(body))
    await until(lambda: ticks() >= before + 2)
    return task


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGKILL, JsInterrupted),
        (signal.SIGTERM, JsInterrupted),
        (signal.SIGSEGV, JsCrash),
        (signal.SIGPROF, JsTimeout),
    ],
)
async def test_a_helper_that_dies_in_mid_call_says_why_and_the_next_call_works(
    js: ProcessJs, number: signal.Signals, error: type[JsFailure]
) -> None:
    task = await under_way(js, BUSY)
    (dead,) = js.pids
    os.kill(dead, number)
    with pytest.raises(JsFailure) as caught:
        await task
    assert type(caught.value) is error
    assert await js.evaluate("6 * 7") == 42
    assert dead not in js.pids
    await until(lambda: gone(dead))


async def test_a_helper_that_dies_between_calls_is_replaced_unnoticed(js: ProcessJs) -> None:
    assert await js.evaluate("1") == 1
    (dead,) = js.pids
    os.kill(dead, signal.SIGKILL)
    await until(lambda: os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None)
    assert await js.evaluate("6 * 7") == 42
    await until(lambda: gone(dead))


@pytest.mark.slow
async def test_a_helper_that_gets_no_time_is_killed_and_nobody_is_blamed(js: ProcessJs) -> None:
    assert await js.evaluate("1") == 1
    (stopped,) = js.pids
    os.kill(stopped, signal.SIGSTOP)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(JsInterrupted, match=r"0\.1 s of processor time within 0\.6 s"):
        await js.evaluate("1", timeout=0.1)
    assert loop.time() - began >= 0.6
    assert await js.evaluate("6 * 7") == 42
    await until(lambda: gone(stopped))


@pytest.mark.slow
@pytest.mark.parametrize("helpers", [1, 3])
async def test_a_hundred_calls_at_once_get_each_its_own_answer(helpers: int) -> None:
    async with ProcessJs(helpers=helpers) as js:
        calls = [js.call("return {n: input, twice: input * 2}", {"input": number}) for number in range(100)]
        assert await asyncio.gather(*calls) == [{"n": number, "twice": number * 2} for number in range(100)]
        assert 1 <= len(js.pids) <= helpers


async def test_calls_are_served_in_the_order_in_which_they_came(js: ProcessJs) -> None:
    order: list[int] = []

    async def call(number: int) -> None:
        await js.evaluate("1")
        order.append(number)

    await asyncio.gather(*(call(number) for number in range(20)))
    assert order == list(range(20))


@linux
@pytest.mark.slow
async def test_a_cancelled_call_leaves_the_helper_to_the_next(js: ProcessJs) -> None:
    task = await under_way(js, BUSY)
    (helper,) = js.pids
    waiting = asyncio.ensure_future(js.evaluate("1"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await js.evaluate("6 * 7") == 42
    assert js.pids == [helper]


@linux
async def test_after_close_no_process_and_no_descriptor_is_left() -> None:
    gc.collect()
    await asyncio.get_running_loop().run_in_executor(None, int)  # what the loop makes once, it makes now
    before = open_files()
    js = ProcessJs(helpers=3)
    await asyncio.gather(*(js.evaluate("1") for _ in range(9)))
    with pytest.raises(JsFailure):  # it is killed, by the kernel or, where the machine is busy, by the host
        await js.call("new Array(4294967295).join('')", timeout=0.01)
    pids = js.pids
    await js.close()
    assert js.pids == []
    assert all(gone(pid) for pid in pids)
    assert open_files() == before
    await js.close()
    with pytest.raises(JsInterrupted, match="closed"):
        await js.evaluate("1")


@linux
@pytest.mark.slow
async def test_close_interrupts_what_runs_and_what_waits(js: ProcessJs) -> None:
    running = await under_way(js, BUSY)
    waiting = asyncio.ensure_future(js.evaluate("1"))
    await asyncio.sleep(0)
    pids = js.pids
    await js.close()
    for task in (running, waiting):
        with pytest.raises(JsInterrupted):
            await task
    assert all(gone(pid) for pid in pids)


async def test_an_idle_helper_is_let_go_and_another_comes_when_needed() -> None:
    async with ProcessJs(idle=0.02) as js:
        assert await js.evaluate("1") == 1
        (first,) = js.pids
        await until(lambda: js.pids == [])
        assert gone(first)
        assert await js.evaluate("6 * 7") == 42


def test_each_event_loop_has_helpers_of_its_own() -> None:
    js = ProcessJs()
    seen: list[list[int]] = []

    async def use() -> None:
        assert await js.evaluate("6 * 7") == 42
        seen.append(js.pids)

    asyncio.run(use())
    asyncio.run(use())  # the first loop is closed, and its helper ended
    assert len(seen[0]) == len(seen[1]) == 1
    assert gone(seen[0][0])
    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    asyncio.run(js.close())
    assert all(gone(pid) for pids in seen for pid in pids)


def test_a_runtime_that_is_forgotten_leaves_no_process() -> None:
    pids: list[int] = []

    async def use() -> None:
        js = ProcessJs()
        await js.evaluate("1")
        pids.extend(js.pids)

    asyncio.run(use())
    gc.collect()
    assert all(gone(pid) for pid in pids)


PARENT = """
import asyncio, os, sys
from durable_dag.js import ProcessJs

async def main():
    js = ProcessJs(helpers=2)
    await asyncio.gather(js.evaluate("1"), js.evaluate("1"))
    task = asyncio.ensure_future(js.call("while (true) {}", timeout=30))
    await asyncio.sleep(0.05)
    print(*js.pids, flush=True)
    if sys.argv[1] == "exit":
        os._exit(0)
    if sys.argv[1] == "end":
        return
    await task

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exit", "end", "kill"])
async def test_helpers_end_with_their_parent(how: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, how, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    pids = [int(word) for word in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    if how == "kill":
        parent.kill()
    await parent.wait()
    # One of them is in the middle of a call that may compute for 30 s, for which nobody waits any more.
    await until(lambda: all(ended(pid) for pid in pids))


def ended(pid: int) -> bool:
    """Gone, or a zombie of some other parent's."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return gone(pid)


FORKED = """
import asyncio, os, sys
from durable_dag.js import ProcessJs

js = ProcessJs()

async def answer():
    assert await js.evaluate("6 * 7") == 42
    return js.pids

loop = asyncio.new_event_loop()
ours = loop.run_until_complete(answer())
if os.fork() == 0:
    theirs = asyncio.run(answer())
    asyncio.run(js.close())
    print("child", theirs != ours, flush=True)
    os._exit(0)  # the parent's loop is not this one's to close
os.wait()
assert loop.run_until_complete(answer()) == ours
loop.run_until_complete(js.close())
print("parent", js.pids)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_process_has_helpers_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.splitlines() == ["child True", "parent []"], done.stderr


@linux
async def test_a_helper_has_no_environment_no_files_and_a_session_of_its_own(
    js: ProcessJs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    assert await js.evaluate("1") == 1
    (pid,) = js.pids
    proc = Path(f"/proc/{pid}")
    assert (proc / "environ").read_bytes() == b""
    assert os.listdir(proc / "fd") == ["0", "1", "2"]
    assert os.readlink(proc / "fd" / "2").startswith("pipe:")  # nobody reads it: it tells that the host is gone
    assert os.getsid(pid) == pid
    limits = (proc / "limits").read_text()
    for name, most in (
        ("Max open files", "3"),
        ("Max file size", "0"),
        ("Max processes", "0"),
        ("Max core file size", "0"),
    ):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line.removeprefix(name).split()[:2] == [most, most]
    assert int(limits.split("Max address space")[1].split()[0]) == 512 * 1024 * 1024


async def test_a_helper_that_cannot_start_is_no_fault_of_the_code(
    js: ProcessJs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = tmp_path / "engine.so"
    engine.write_bytes(b"not a library")
    monkeypatch.setattr("durable_dag.js.child.engine_file", lambda: str(engine))
    with pytest.raises(JsInterrupted, match="did not start"):
        await js.evaluate("1")
    monkeypatch.undo()
    assert await js.evaluate("6 * 7") == 42


async def test_without_the_extra_the_message_has_the_command(js: ProcessJs, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "_quickjs" else find(name))
    with pytest.raises(MissingExtra, match=r"pip install 'durable-engine\[js\]'"):
        await js.evaluate("1")


@pytest.mark.parametrize("options", [{"helpers": 0}, {"helpers": 65}, {"idle": 0}, {"idle": float("nan")}])
def test_a_pool_that_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        ProcessJs(**options)  # type: ignore[arg-type]
