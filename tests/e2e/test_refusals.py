"""Mistakes are typed errors at the call, which say what and what to do; nothing is written, and the worker lives on."""

import asyncio
import sys
from typing import Any

import pytest

from durable import (
    Client,
    Context,
    DuplicateRegistration,
    DurableError,
    InvalidInput,
    InvalidName,
    MissingExtra,
    RunNotFound,
    Signal,
    UnknownStore,
    UnknownWorkflow,
    Worker,
    WorkflowCodeError,
    connect,
    step,
    workflow,
)

BAD_IDS: list[Any] = ["", "a\nb", "nul\x00", "x" * 256, "é" * 128, "\ud800", "\u2028", 7, b"bytes"]


@workflow
async def wf(ctx: Context, n: int) -> int:
    return n


async def nothing_written(rig: Any, client: Any) -> None:
    assert await client.count() == 0
    assert await rig.run(client, wf, 5) == 5


@pytest.mark.parametrize("bad", BAD_IDS, ids=lambda bad: ascii(bad)[:12])
async def test_a_bad_id_is_refused(rig: Any, bad: Any) -> None:
    async with rig.serving(wf) as client:
        with pytest.raises(InvalidName):
            await client.start(wf, 1, id=bad)
        with pytest.raises(InvalidName):
            client.handle(bad)
        with pytest.raises(InvalidName):
            await client.start(wf, 1, queue=bad)
        await nothing_written(rig, client)


@pytest.mark.parametrize("good", ["x" * 255, "é" * 127, "a b/c:d%_'\";--", "名前", "A", "a"])
async def test_a_good_id_is_taken_as_it_is(rig: Any, good: str) -> None:
    async with rig.serving(wf) as client:
        handle = await client.start(wf, 1, id=good)
        assert handle.id == good
        assert await rig.end(handle) == 1
        assert [run.id for run in await client.list(id_prefix=good)] == [good]


@pytest.mark.parametrize(
    "options",
    [
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"delay": "tomorrow"},
        {"delay": True},
        {"priority": 1.5},
        {"priority": True},
        {"priority": 10**7},
        {"labels": {"a": 1}},
        {"labels": {"": "x"}},
        {"labels": {"a": "b\nc"}},
        {"if_exists": "perhaps"},
    ],
    ids=repr,
)
async def test_an_option_without_sense_is_refused(rig: Any, options: dict[str, Any]) -> None:
    async with rig.serving(wf) as client:
        with pytest.raises(ValueError, match="delay|priority|label|if_exists"):
            await client.start(wf, 1, **options)
        await nothing_written(rig, client)


@pytest.mark.parametrize("given", [(), (1, 2), ("seven",), (None,), ([],)], ids=repr)
async def test_an_input_that_does_not_fit_is_refused(rig: Any, given: tuple[Any, ...]) -> None:
    async with rig.serving(wf) as client:
        with pytest.raises(InvalidInput, match="wf"):
            await client.start(wf, *given)
        with pytest.raises(InvalidInput, match="wf"):
            await client.start("wf", *given)
        with pytest.raises(InvalidInput, match="wf"):
            await client.start(wf.bind(*given))
        await nothing_written(rig, client)


async def test_an_unknown_workflow_is_refused_by_name(rig: Any) -> None:
    async with rig.serving(wf) as client:
        for name in ("wrong", "os.system", "builtins:eval"):
            with pytest.raises(UnknownWorkflow, match="wf"):
                await client.start(name, 1)
        await nothing_written(rig, client)


async def test_what_is_no_workflow_is_refused(rig: Any) -> None:
    async def plain(ctx: Context) -> None: ...

    async with rig.serving(wf) as client:
        with pytest.raises(InvalidInput, match="workflow"):
            await client.start(plain)
        with pytest.raises(InvalidInput, match="no other input"):
            await client.start(wf.bind(1), 2)
        await nothing_written(rig, client)


async def test_a_workflow_is_started_by_name_through_another_client(rig: Any) -> None:
    async with rig.serving(wf), connect(rig.url) as other:
        handle = await other.start("wf", 5)
        assert await rig.end(handle) == 5


async def test_a_name_started_with_an_input_of_another_shape_blocks_its_run_alone(rig: Any) -> None:
    async with rig.serving(wf) as client, connect(rig.url) as other:
        handle = await other.start("wf", {"not": "a number"})
        status = await rig.state(handle, "blocked", "failed")
        assert "wf" in status.error
        assert await rig.run(client, wf, 1) == 1


def test_two_functions_of_one_name_are_refused() -> None:
    @workflow("same")
    async def one(ctx: Context) -> None: ...

    @workflow("same")
    async def two(ctx: Context) -> None: ...

    @workflow("same", version="2")
    async def three(ctx: Context) -> None: ...

    @step(name="same")
    async def step_one() -> None: ...

    @step(name="same")
    async def step_two() -> None: ...

    client = connect("memory://")
    with pytest.raises(DuplicateRegistration, match="version"):
        Worker(client, workflows=[one, two])
    with pytest.raises(DuplicateRegistration, match="two steps|Two steps"):
        Worker(client, steps=[step_one, step_two])
    Worker(connect("memory://"), workflows=[one, one, three], steps=[step_one, step_one])


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"queues": "default"},
        {"queues": []},
        {"queues": [""]},
        {"drain": -1},
        {"lease": "long"},
        {"workflows": [print]},
        {"steps": [print]},
        {"cache": -1},
        {"lease": 0},
        {"threads": 0},
    ],
    ids=repr,
)
def test_a_worker_without_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Worker|queue|lie between|not a"):
        Worker(connect("memory://"), **options)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"replay": "loose"}, {"timeout": -1}, {"version": ""}])
def test_a_workflow_without_sense_is_refused(options: dict[str, Any]) -> None:
    async def fn(ctx: Context) -> None: ...

    with pytest.raises(ValueError, match=r"workflow|lie between"):
        workflow(**options)(fn)


def test_a_function_that_is_no_workflow_is_refused() -> None:
    def plain(ctx: Context) -> None: ...

    async def without_context() -> None: ...

    with pytest.raises(InvalidInput, match="async def"):
        workflow(plain)  # type: ignore[call-overload]
    with pytest.raises(InvalidInput, match="first parameter"):
        workflow(without_context)  # type: ignore[call-overload]


def test_a_workflow_is_not_called_directly() -> None:
    with pytest.raises(WorkflowCodeError, match=r"client\.start"):
        wf(1)  # type: ignore[call-arg]


@pytest.mark.parametrize("url", ["nosuch://x", "", "orders.db", "://", 7])
def test_an_unknown_url_is_refused_with_what_there_is(url: Any) -> None:
    with pytest.raises((UnknownStore, InvalidInput), match=r"memory://|sqlite://"):
        connect(url)


@pytest.mark.parametrize(
    ("url", "extra"), [("convex+https://x.convex.cloud", "convex"), ("postgresql://x", "postgres")]
)
def test_a_store_that_needs_an_extra_says_which(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "durable_convex"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "aiohttp", None)  # as where the extra is not installed
    with pytest.raises(MissingExtra, match=rf"pip install .*\[{extra}\]"):
        connect(url)


async def test_a_client_that_is_not_open_says_so(memory: Any) -> None:
    client = connect(memory.url)
    with pytest.raises(DurableError, match="async with"):
        await client.start(wf, 1)
    async with client:
        await client.count()
    with pytest.raises(DurableError, match="not open|closed"):
        await client.count()
    with pytest.raises(DurableError, match="closed"):
        await client.open()


async def test_what_is_asked_of_no_run_is_run_not_found(rig: Any) -> None:
    async with connect(rig.url) as client:
        handle = client.handle("nobody")
        for ask in (
            handle.status,
            handle.result,
            handle.explain,
            handle.history,
            handle.cancel,
            handle.terminate,
            handle.pause,
            handle.resume,
            handle.retry,
            handle.values,
            lambda: handle.fork(at="x"),
            lambda: handle.settle("x", result=1),
            lambda: handle.signal("x"),
        ):
            with pytest.raises(RunNotFound, match="nobody"):
                async with asyncio.timeout(5):
                    await ask()


async def test_bad_names_inside_a_workflow_are_refused_there(rig: Any) -> None:
    @workflow
    async def naming(ctx: Context) -> list[str]:
        said = []
        for call in (
            lambda: ctx.step("", lambda: 1),
            lambda: ctx.step("x" * 256, lambda: 1),
            lambda: ctx.sleep("", 1),
            lambda: ctx.wait_for_signal("a\nb"),
            lambda: ctx.emit("", 1),
            lambda: ctx.signal("", "x"),
            lambda: ctx.patched(""),
            lambda: wf.options(id=""),
            lambda: ctx.step("x", 7),  # type: ignore[call-overload]
            lambda: ctx.child(print, 1),  # type: ignore[arg-type]
        ):
            try:
                call()
                said.append("nothing")
            except DurableError as error:
                said.append(type(error).__name__)
        return said

    async with rig.serving(naming) as client:
        assert await rig.run(client, naming) == ["InvalidName"] * 8 + ["WorkflowCodeError"] * 2


def test_a_signal_needs_a_name() -> None:
    with pytest.raises(InvalidName):
        Signal("")


async def test_too_many_children_are_refused_with_the_cure(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from durable._model import defaults

    monkeypatch.setattr(defaults, "CHILDREN_MAX", 3)

    @workflow
    async def parent(ctx: Context) -> str:
        for n in range(3):
            await ctx.child(wf, n)
        try:
            await ctx.child(wf, 4)
        except WorkflowCodeError as error:
            return str(error)
        return "no error"

    async with memory.serving(parent, wf) as client:
        assert "continue_as" in await memory.run(client, parent)


async def test_a_journal_over_its_limit_blocks_the_run(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from durable._model import defaults

    monkeypatch.setattr(defaults, "JOURNAL_ENTRIES_MAX", 20)

    @step
    async def tick(n: int) -> int:
        return n

    @workflow
    async def long(ctx: Context, steps: int) -> int:
        for n in range(steps):
            await ctx.step(tick, n)
        return steps

    async with memory.serving(long) as client:
        assert await memory.run(client, long, 20) == 20
        handle = await client.start(long, 22)
        status = await memory.state(handle, "blocked")
        assert "entries" in status.error
        assert "continue_as" in await handle.explain()


def test_the_client_is_public() -> None:
    assert isinstance(connect("memory://"), Client)
