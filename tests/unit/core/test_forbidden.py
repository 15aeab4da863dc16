"""What a workflow may not do is refused where it is written, with the name of the cure; the run hears of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from replay_driver import Drive, Program, find_interpreters, record
from replay_programs import PROGRAMS, add, say

from durable import Context, WorkflowCodeError, step, workflow
from durable._core import loop as loop_module
from durable._core.loop import WorkflowLoop
from durable._engine.guard import activation

STEP_CURE = "Write a step (@step) that does it, and call it with ctx.step(...)."
MOVE_CURE = "Move it into a step (@step) and call that with ctx.step(...)."


def refused(code: Callable[..., Any]) -> str:
    """Run code as a workflow; what it was refused with."""
    drive = Drive(Program("refused", workflow(code)))
    with pytest.raises(WorkflowCodeError) as caught, activation:
        drive.start()
    assert drive.state.violation is caught.value  # the run is told, whatever the code makes of it
    assert drive.executed == []
    return str(caught.value)


def allowed(code: Callable[..., Any]) -> Any:
    drive = Drive(Program("allowed", workflow(code)))
    with activation:
        drive.start()
    result, error = drive.state.outcome()
    if error is not None:
        raise error
    return result


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_ANSWERED = """
    call_soon call_later call_at time create_future create_task get_debug set_debug is_running is_closed
    call_exception_handler default_exception_handler set_exception_handler get_exception_handler get_task_factory
    shutdown_asyncgens _timer_handle_cancelled
"""
ANSWERED = set(_ANSWERED.split())
OUTWARD = sorted(
    name
    for name, member in vars(asyncio.AbstractEventLoop).items()
    if inspect.isfunction(member) and name not in ANSWERED and not name.startswith("__")
)


@pytest.mark.parametrize("name", OUTWARD)
def test_every_method_of_a_loop_that_reaches_outside_is_refused(name: str) -> None:
    assert name in vars(WorkflowLoop), f"AbstractEventLoop.{name} is neither answered nor refused"

    async def reaches(ctx: Context) -> None:
        getattr(asyncio.get_running_loop(), name)()

    if name == "set_task_factory":
        return
    message = refused(reaches)
    assert message.startswith(f"loop.{name}() reaches outside, which a workflow may not.")
    assert "step" in message or "signal" in message


async def _to_thread(ctx: Context) -> None:
    await asyncio.to_thread(print)


async def _open_connection(ctx: Context) -> None:
    await asyncio.open_connection("localhost", 1)


async def _start_server(ctx: Context) -> None:
    await asyncio.start_server(lambda *_: None, port=0)


async def _subprocess_exec(ctx: Context) -> None:
    await asyncio.create_subprocess_exec("true")


async def _subprocess_shell(ctx: Context) -> None:
    await asyncio.create_subprocess_shell("true")


async def _wrapped_executor(ctx: Context) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, print)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (_to_thread, "A plain `def` step runs in a thread"),
        (_wrapped_executor, "A plain `def` step runs in a thread"),
        (_open_connection, STEP_CURE),
        (_start_server, STEP_CURE),
        (_subprocess_exec, STEP_CURE),
        (_subprocess_shell, STEP_CURE),
    ],
)
def test_what_asyncio_builds_on_those_methods_is_refused(code: Callable[..., Any], words: str) -> None:
    assert words in refused(code)


def test_a_task_factory_is_refused() -> None:
    async def sets(ctx: Context) -> None:
        asyncio.get_running_loop().set_task_factory(None)

    assert "tasks must know their place in the tree" in refused(sets)


def test_eager_tasks_are_refused() -> None:
    async def eager(ctx: Context) -> None:
        asyncio.get_running_loop().create_task(ctx.step(say, "a"), eager_start=True)  # type: ignore[call-arg]

    assert "Leave eager_start out" in refused(eager)


def test_a_set_of_coroutines_has_no_order_to_complete_in() -> None:
    async def branch() -> None:
        pass

    async def unordered(ctx: Context) -> None:
        both = {branch(), branch()}
        try:
            for earliest in asyncio.as_completed(both):
                await earliest
        finally:
            for one in both:
                one.close()

    assert "Give it a list" in refused(unordered)


def test_code_that_never_comes_to_rest_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_SPIN_MAX", 1000)

    async def spins(ctx: Context) -> None:
        while True:
            await asyncio.sleep(0)

    message = refused(spins)
    assert "never comes to rest" in message
    assert "await ctx.sleep(...)" in message


# ── steps and workflows called directly ──────────────────────────────────────────────────────────────────────────────


def test_a_step_called_directly_is_refused_with_the_call_to_write() -> None:
    async def direct(ctx: Context) -> None:
        say("a")

    async def direct_async(ctx: Context) -> None:
        await add(1, 2)

    assert "Write `await ctx.step(say, ...)` instead." in refused(direct)
    assert "Write `await ctx.step(add, ...)` instead." in refused(direct_async)
    assert say("outside") == "<outside>"


def test_a_refusal_that_the_code_swallows_still_stops_the_run() -> None:
    async def swallows(ctx: Context) -> str:
        try:
            say("a")
        except Exception:
            pass
        return "fine"

    refused(swallows)


def test_a_function_that_is_no_step_is_refused_with_both_cures() -> None:
    async def undecorated(ctx: Context) -> None:
        ctx.step(len, "abc")  # type: ignore[arg-type]

    with pytest.raises(WorkflowCodeError, match=r'Decorate it, or write ctx.step\("len", lambda: ...\)'):
        allowed(undecorated)


# ── the world, seen by the audit hook ────────────────────────────────────────────────────────────────────────────────


async def _opens(ctx: Context) -> None:
    open(os.devnull)  # noqa: SIM115


async def _reads_path(ctx: Context) -> None:
    Path(__file__).read_text()


async def _connects(ctx: Context) -> None:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


async def _looks_up(ctx: Context) -> None:
    socket.getaddrinfo("localhost", 80)


async def _runs(ctx: Context) -> None:
    subprocess.run(["true"])


async def _system(ctx: Context) -> None:
    os.system("true")


async def _lists(ctx: Context) -> None:
    os.listdir(".")


async def _threads(ctx: Context) -> None:
    threading.Thread(target=print).start()


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (_opens, "opens a file (open '/dev/null', at test_forbidden.py:"),
        (_reads_path, "opens a file"),
        (_connects, "opens a connection"),
        (_looks_up, "looks up a host"),
        (_runs, "starts a process"),
        (_system, "starts a process"),
        (_lists, "reads a directory"),
        (_threads, "starts a thread"),
    ],
)
def test_the_world_is_refused_with_the_place_and_the_cure(code: Callable[..., Any], what: str) -> None:
    message = refused(code)
    assert what in message
    assert MOVE_CURE in message


def test_time_sleep_is_refused_and_ctx_sleep_named() -> None:
    async def sleeps(ctx: Context) -> None:
        time.sleep(0.001)

    message = refused(sleeps)
    assert "sleeps (time.sleep 0.001, at test_forbidden.py:" in message
    assert "Write `await ctx.sleep(...)` instead." in message


def test_files_are_refused_in_child_tasks_callbacks_and_generators_as_well() -> None:
    async def in_task(ctx: Context) -> None:
        await asyncio.gather(_opens(ctx))

    async def in_callback(ctx: Context) -> None:
        asyncio.get_running_loop().call_soon(open, os.devnull)
        await asyncio.sleep(0)

    async def in_generator(ctx: Context) -> None:
        async def lines() -> Any:
            yield open(os.devnull)  # noqa: SIM115

        async for _ in lines():
            pass

    for code in (in_task, in_callback, in_generator):
        assert "opens a file" in refused(code)


def test_imports_time_zones_and_logging_are_free(tmp_path: Path) -> None:
    log = logging.getLogger("test.forbidden")
    handler = logging.FileHandler(tmp_path / "log.txt", delay=True)

    async def harmless(ctx: Context) -> str:
        import this_module_is_imported_by_a_workflow as imported

        log.addHandler(handler)
        try:
            log.error("said")
        finally:
            log.removeHandler(handler)
        return str(ZoneInfo("Pacific/Chatham")) + imported.WORD

    (tmp_path / "this_module_is_imported_by_a_workflow.py").write_text(
        "with open(__file__) as source:\n    WORD = source.read(4)\n"
    )
    sys.path.insert(0, str(tmp_path))
    ZoneInfo.clear_cache()
    try:
        assert allowed(harmless) == "Pacific/Chathamwith"
    finally:
        sys.path.remove(str(tmp_path))
        handler.close()
    assert (tmp_path / "log.txt").read_text() == "said\n"


def test_tracebacks_may_read_the_source() -> None:
    async def formats(ctx: Context) -> str:
        import linecache
        import traceback

        linecache.clearcache()
        try:
            raise ValueError("shown")
        except ValueError:
            return traceback.format_exc()

    assert 'raise ValueError("shown")' in allowed(formats)


def test_the_guard_leaves_other_threads_and_the_time_between_activations_alone() -> None:
    opened: list[str] = []

    def reads() -> None:
        with open(os.devnull) as file:
            opened.append(file.name)

    thread = threading.Thread(target=reads)
    with activation:
        thread.start()
        thread.join()
    reads()
    assert opened == [os.devnull] * 2


# ── the Context somewhere else ───────────────────────────────────────────────────────────────────────────────────────

ELSEWHERE = "A workflow's Context was used outside its workflow: in a step, in a thread or after the run's end."

VERBS: list[Callable[[Context], Any]] = [
    lambda ctx: ctx.step(say, "a"),
    lambda ctx: ctx.step("inline", lambda: 1),
    lambda ctx: ctx.sleep(1),
    lambda ctx: ctx.wait_for_signal("x"),
    lambda ctx: ctx.signal("run", "x", 1),
    lambda ctx: ctx.set("key", 1),
    lambda ctx: ctx.emit("stream", 1),
    lambda ctx: ctx.patched("change"),
    lambda ctx: ctx.uuid(),
    lambda ctx: ctx.random.random(),
]


@pytest.mark.parametrize("verb", VERBS, ids=range(len(VERBS)))
def test_a_context_is_refused_in_a_step_in_a_thread_and_after_the_end(verb: Callable[[Context], Any]) -> None:
    contexts: list[Context] = []

    async def ends(ctx: Context) -> None:
        contexts.append(ctx)

    allowed(ends)
    context = contexts[0]
    with pytest.raises(WorkflowCodeError, match=ELSEWHERE):
        verb(context)  # after the end

    async def as_a_step_would() -> None:
        verb(context)

    with pytest.raises(WorkflowCodeError, match=ELSEWHERE):
        asyncio.run(as_a_step_would())
    with ThreadPoolExecutor(1) as pool, pytest.raises(WorkflowCodeError, match=ELSEWHERE):
        pool.submit(verb, context).result()
    assert context._state.fired == []


def test_the_context_of_another_run_is_refused_and_blocks_the_one_that_uses_it() -> None:
    contexts: list[Context] = []

    async def first(ctx: Context) -> None:
        contexts.append(ctx)
        await ctx.sleep(100)

    drive = Drive(Program("first", workflow(first)))
    drive.start()

    async def second(ctx: Context) -> None:
        contexts[0].emit("stream", 1)

    assert refused(second).startswith(ELSEWHERE)
    assert drive.state.fired == []


# ── asyncio bound by name ────────────────────────────────────────────────────────────────────────────────────────────

BOUND = """
from asyncio import wait_for, as_completed, gather, timeout, TaskGroup, shield, sleep, wait, create_task, all_tasks
import asyncio, sys
sys.path[:0] = {paths!r}
from replay_driver import Drive, Program
from replay_programs import say
from durable import workflow, WorkflowCodeError

async def waits(ctx): await wait_for(ctx.step(say, "a"), 5)
async def waits_a_moment(ctx): await wait_for(asyncio.get_running_loop().create_future(), 0.001)
async def waits_for_nothing(ctx): await wait_for(ctx.step(say, "a"), 0)
async def completes(ctx):
    for one in as_completed([ctx.step(say, "a"), ctx.step(say, "b")]): await one
async def completes_soon(ctx):
    for one in as_completed([create_task(ctx.step(say, "a"))], timeout=5): await one
async def others(ctx):
    async with timeout(5), TaskGroup() as group:
        group.create_task(shield(gather(ctx.step(say, "a"), sleep(1))) if False else ctx.step(say, "b"))
        await wait([create_task(sleep(1))], timeout=3)

for code in (waits, waits_a_moment, waits_for_nothing, completes, completes_soon, others):
    drive = Drive(Program("bound", workflow(code)))
    try:
        drive.start()
    except WorkflowCodeError as error:
        assert drive.state.violation is error
        print(code.__name__, "imported by name before durable was" in str(error), "Import durable first" in str(error))
    else:
        print(code.__name__, "runs")
    drive.state.close()
"""


@pytest.mark.slow
def test_standard_functions_that_were_bound_by_name_before_durable_was_imported_are_refused_on_every_python() -> None:
    here = Path(__file__).parent
    script = BOUND.format(paths=[str(here), str(here.parents[2])])
    running = [
        subprocess.Popen([interpreter, "-c", script], stdout=subprocess.PIPE, text=True)
        for interpreter in [sys.executable, *find_interpreters()]
    ]
    for process in running:
        assert process.communicate()[0].splitlines() == [
            "waits True True",
            "waits_a_moment True True",
            "waits_for_nothing True True",
            "completes True True",
            "completes_soon True True",
            "others runs",
        ], process.args


def test_outside_workflows_the_standard_functions_answer() -> None:
    async def outside() -> list[Any]:
        first = [await one for one in asyncio.as_completed([asyncio.sleep(0, "a")], timeout=1)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 0.001)
        pair = asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        assert hash(pair) == object.__hash__(pair)
        await pair
        return [first, await asyncio.wait_for(asyncio.sleep(0, "b"), 1), len(asyncio.all_tasks())]

    assert asyncio.run(outside()) == [["a"], "b", 1]
    assert inspect.iscoroutinefunction(asyncio.wait_for)
    assert asyncio.wait_for.__name__ == "wait_for"
    assert asyncio.as_completed is asyncio.tasks.as_completed


def test_allowed_programs_violate_nothing_under_the_guard() -> None:
    with activation:
        for program in random.Random(0).sample(PROGRAMS, 20):
            record(program, 1)


def test_a_step_may_do_it_all() -> None:
    @step
    def does() -> str:
        time.sleep(0)
        with open(os.devnull) as file:
            return file.read()

    async def calls(ctx: Context) -> str:
        return await ctx.step(does)

    assert record(Program("calls", workflow(calls)), 0).outcome == 'returned ""'
