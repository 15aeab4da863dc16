"""Every text at every door that takes a name: taken as it is, or refused by name, with nothing written."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable import (
    Client,
    Context,
    InvalidInput,
    InvalidName,
    NotSerializable,
    PayloadTooLarge,
    RunCancelled,
    Signal,
    Worker,
    connect,
    step,
    workflow,
)
from durable.store import Message, MessageId, MessageKind, RunId
from tests.input.hostile_texts import BAD, GOOD, SUBCLASSES, texts
from tests.input.tally import TRIED


@workflow
async def idle(ctx: Context) -> Any:
    return await ctx.wait_for_signal("go")


@step
async def work() -> None: ...


Door = Callable[[Client, Any], Awaitable[Any]]

# Doors of a client: what is written where, told by reading it back (None: nothing is kept).
CLIENT: dict[str, Door] = {
    "start id": lambda client, text: client.start(idle, id=text),
    "queue": lambda client, text: client.start(idle, queue=text),
    "label name": lambda client, text: client.start(idle, labels={text: "v"}),
    "label value": lambda client, text: client.start(idle, labels={"k": text}),
    "request id": lambda client, text: client.start(idle, if_exists="replace", request_id=text),
    "workflow name": lambda client, text: client.start(text),
    "signal id": lambda client, text: client.signal("standing", "s", 1, id=text),
    "signal name": lambda client, text: client.signal("standing", text, 1),
    "signalled run": lambda client, text: client.signal(text, "s"),
    "cancelled run": lambda client, text: client.cancel(text),
    "stream name": lambda client, text: anext(client.handle("standing").stream(text)),
    "fork id": lambda client, text: client.handle("standing").fork(at="work", id=text),
    "purged ids": lambda client, text: client.purge(ids=[text]),
    "listed workflow": lambda client, text: client.list(workflow=text),
    "listed queue": lambda client, text: client.list(queue=text),
    "listed parent": lambda client, text: client.list(parent=text),
    "listed prefix": lambda client, text: client.list(id_prefix=text),
    "listed label name": lambda client, text: client.list(labels={text: "v"}),
    "listed label value": lambda client, text: client.list(labels={"k": text}),
    "counted queue": lambda client, text: client.count(queue=text),
    "purged workflow": lambda client, text: client.purge(workflow=text),
}
EMPTY_IS_TEXT = {"label value", "listed label value", "listed prefix"}
UNHASHABLE = {"list", "dict", "raising-eq"}  # cannot be keys of a dict at all
OPTIONAL = {"start id", "signal id", "queue", "request id"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("durable").setLevel(logging.NOTSET)


@pytest.mark.parametrize("door", CLIENT)
async def test_a_bad_name_is_refused_by_the_client_and_leaves_nothing(rig: Any, door: str) -> None:
    async with connect(rig.url) as client:
        await client.start(idle, id="standing")
        for id, bad in BAD.items():
            if (id in UNHASHABLE and "label name" in door) or (id == "empty" and door in EMPTY_IS_TEXT):
                continue
            with pytest.raises((InvalidName, InvalidInput)) as refused:
                await CLIENT[door](client, bad)
            assert len(str(refused.value)) < 2_000, id
            assert (
                isinstance(refused.value, InvalidName)
                or door in ("label value", "listed label value")
                or (door == "workflow name" and not isinstance(bad, str))
            ), (id, refused.value)
            TRIED["names at doors"] += 1
        assert await client.count() == 1
        assert await client.store.messages(RunId("standing")) == []


async def test_a_good_name_is_taken_as_it_is_and_is_no_pattern(rig: Any) -> None:
    async with connect(rig.url) as client:
        for text in GOOD.values():
            handle = await client.start(idle, id=text, queue=text, labels={text: text})
            await handle.signal(text, text, id=text)
            await handle.signal(text, text, id=text)
            assert handle.id == text
        assert await client.count() == len(GOOD)
        for id, text in GOOD.items():
            for found in (
                await client.list(queue=text),
                await client.list(labels={text: text}),
                await client.list(labels={text: text}, id_prefix=text, queue=text, workflow="idle"),
            ):
                assert [run.id for run in found] == [text], id
            prefixed = [run.id for run in await client.list(id_prefix=text)]
            assert sorted(prefixed) == sorted(other for other in GOOD.values() if other.startswith(text)), id
            assert (await client.handle(text).status()).labels == {text: text}
            (message,) = await client.store.messages(RunId(text))
            assert message.message.name == text


async def test_a_kind_of_str_is_the_text_it_holds(rig: Any) -> None:
    async with rig.serving(idle) as client:
        for given_, plain in ((SUBCLASSES["subclass"], "sub"), (SUBCLASSES["lying"], "lie")):
            handle = await client.start(idle, id=given_, labels={"k": given_})
            assert type(handle.id) is str and handle.id == plain
            assert [run.id for run in await client.list(labels={"k": plain})] == [plain]
            await client.signal(given_, "go", 1, id=given_)
            assert await rig.end(client.handle(plain)) == 1


async def test_a_name_is_judged_in_a_workflow_as_it_is_outside(rig: Any) -> None:
    doors: dict[str, Callable[[Context, Any], Any]] = {
        "value key": lambda ctx, text: ctx.set(text, 1),
        "stream": lambda ctx, text: ctx.emit(text, 1),
        "inline step": lambda ctx, text: ctx.step(text, lambda: 1),
        "step name": lambda ctx, text: work.options(name=text),
        "step key": lambda ctx, text: work.options(key=text),
        "step queue": lambda ctx, text: work.options(queue=text),
        "timer": lambda ctx, text: ctx.sleep(text, 1),
        "signal waited for": lambda ctx, text: ctx.wait_for_signal(text),
        "signal sent": lambda ctx, text: ctx.signal("nobody", text),
        "run signalled": lambda ctx, text: ctx.signal(text, "s"),
        "change": lambda ctx, text: ctx.patched(text),
        "child id": lambda ctx, text: idle.options(id=text),
        "child queue": lambda ctx, text: idle.options(queue=text),
        "signal": lambda ctx, text: Signal(text),
    }
    wrong: list[str] = []

    @workflow
    async def wf(ctx: Context) -> str:
        for door, use in doors.items():
            for id, bad in BAD.items():
                if door == "inline step" and not isinstance(bad, str):
                    continue  # what is no text there is taken for a step
                try:
                    use(ctx, bad)
                    wrong.append(f"{door}: {id} was let in")
                except InvalidName as error:
                    if len(str(error)) > 2_000:
                        wrong.append(f"{door}: {id} has a long message")
                except Exception as error:
                    wrong.append(f"{door}: {id}: {type(error).__name__}: {error}")
        return "done"

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        assert await rig.end(handle) == "done"
        assert wrong == []
        TRIED["names at doors"] += len(doors) * len(BAD)
        assert await handle.values() == {}
        assert await handle.history() == []


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
async def test_a_good_name_works_for_everything_in_a_run(rig: Any, text: str) -> None:
    @workflow(text)
    async def child(ctx: Context) -> str:
        return await ctx.wait_for_signal(text)

    @workflow(text, version="2")
    async def wf(ctx: Context) -> list[Any]:
        ctx.set(text, text)
        ctx.emit(text, text)
        waiting = asyncio.ensure_future(ctx.child(child.options(id=f"c{text}"[:60])))
        await ctx.sleep(text, 0)
        ctx.signal(f"c{text}"[:60], text, text)
        return [
            await ctx.step(text, lambda: 1),
            await ctx.step(work.options(name=text, key=text)),
            ctx.patched(text),
            await waiting,
            await ctx.wait_for_signal(text),
        ]

    async with connect(rig.url) as client:
        async with Worker(client, workflows=[wf, child], queues=[text], name=text, cache=0):
            handle = await client.start(wf, id=text, queue=text)
            await handle.signal(text, text, id=text)
            assert await rig.end(handle) == [1, None, True, text, text]
            assert await handle.values() == {text: text}
            assert [item async for item in handle.stream(text)] == [text]
    TRIED["names at doors"] += 1


def test_declarations_and_workers_refuse_bad_names() -> None:
    client = connect("memory://")
    for id, bad in BAD.items():
        if not isinstance(bad, str):
            continue
        with pytest.raises(InvalidName):
            step(name=bad)
        with pytest.raises(InvalidName):
            workflow(bad)
        with pytest.raises(InvalidName):
            workflow("fine", version=bad)
        with pytest.raises(InvalidName):
            Worker(client, workflows=[idle], queues=[bad])
        if id != "empty":  # which is as good as none
            with pytest.raises(InvalidName):
                Worker(client, workflows=[idle], name=bad)


def test_a_function_with_a_bad_name_is_no_step_and_no_workflow() -> None:
    async def odd(ctx: Context) -> None: ...

    odd.__name__ = "a\nb"
    with pytest.raises(InvalidName):
        workflow(odd)
    with pytest.raises(InvalidName):
        step(odd)


# ── other arguments than names ───────────────────────────────────────────────────────────────────────────────────────

ODD: dict[str, Door] = {
    "labels of a list": lambda client, _: client.start(idle, labels=["ab"]),
    "labels of a text": lambda client, _: client.list(labels="ab"),
    "label of an int": lambda client, _: client.start(idle, labels={"k": 10**5000}),
    "status of an int": lambda client, _: client.list(status=5),
    "status of an object": lambda client, odd: client.count(status=[odd]),
    "priority": lambda client, odd: client.start(idle, priority=odd),
    "huge priority": lambda client, _: client.start(idle, priority=10**5000),
    "delay": lambda client, odd: client.start(idle, delay=odd),
    "huge delay": lambda client, _: client.start(idle, delay=10**5000),
    "long delay": lambda client, _: client.start(idle, delay="1" * 1_000_000 + "d"),
    "if_exists": lambda client, odd: client.start(idle, if_exists=odd),
    "on_complete": lambda client, _: client.start(idle, on_complete="idle"),
    "no workflow": lambda client, odd: client.start(odd),
    "limit": lambda client, odd: client.list(limit=odd),
    "huge limit": lambda client, _: client.list(limit=2**70),
    "cursor": lambda client, odd: client.list(cursor=odd),
    "cursor of bytes": lambda client, _: client.list(cursor=b"x"),
    "cursor of a surrogate": lambda client, _: client.list(cursor="\ud800"),
    "cursor of megabytes": lambda client, _: client.list(cursor="x" * 3_000_000),
    "created after": lambda client, odd: client.list(created_after=odd),
    "purge by text": lambda client, _: client.purge(ids="ab"),
    "purge by NaN": lambda client, _: client.purge(older_than=float("nan")),
    "stream from below": lambda client, _: anext(client.handle("standing").stream("s", start=-1)),
    "stream from beyond": lambda client, _: anext(client.handle("standing").stream("s", start=2**70)),
    "stream from half": lambda client, _: anext(client.handle("standing").stream("s", start=1.5)),
    "stream from anything": lambda client, odd: anext(client.handle("standing").stream("s", start=odd)),
    "timeout": lambda client, odd: client.handle("standing").result(timeout=odd),
    "retry from": lambda client, _: client.handle("standing").retry(from_step="\ud800" * 10_000),
    "fork at": lambda client, _: client.handle("standing").fork(at="x" * 1_000_000),
    "settle": lambda client, odd: client.handle("standing").settle("work", result=odd),
    "settle with no error": lambda client, _: client.handle("standing").settle("work", error="text"),
    "cancel reason": lambda client, odd: client.handle("standing").cancel(odd),
    "cancel without text": lambda client, _: client.handle("standing").cancel(5),
    "terminate reason": lambda client, odd: client.handle("standing").terminate(odd),
    "terminate without text": lambda client, _: client.handle("standing").terminate(None),
}


@pytest.mark.parametrize("door", ODD)
async def test_an_argument_without_sense_is_invalid_input_and_leaves_nothing(rig: Any, door: str) -> None:
    async with connect(rig.url) as client:
        await client.start(idle, id="standing")
        for odd in (BAD["raising-repr"], BAD["raising-eq"], float("nan"), [1]):
            with pytest.raises(InvalidInput) as refused:
                await asyncio.wait_for(ODD[door](client, odd), rig.soon(5))
            assert len(str(refused.value)) < 2_000
            TRIED["other arguments"] += 1
        assert await client.count() == 1
        assert (await client.handle("standing").status()).state == "pending"


REASONS = {
    "nul": "a\x00b",
    "escape": "\x1b[31mred\n",
    "right-to-left": "\u202eevil",
    "long": "\u00df" * 100_000,
    "empty": "",
}


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
async def test_a_reason_is_kept_whole_in_the_outcome_and_shown_as_one_line(rig: Any, verb: str) -> None:
    async with rig.serving(idle) as client:
        for started in (True, False):
            for reason in REASONS:
                handle = await client.start(idle, delay=None if started else "1h")
                if started:
                    await rig.waits(handle, "go")
                await getattr(handle, verb)(reason)
                with pytest.raises(RunCancelled) as ended:
                    await rig.end(handle)
                assert reason in str(ended.value)
                line = (await handle.status()).error
                assert line is not None and line.isprintable() and len(line) <= 300
        handle = await client.start(idle)
        for refused in ("\ud800", "x" * 2_000_000):
            with pytest.raises((NotSerializable, PayloadTooLarge)):
                await getattr(handle, verb)(refused)
        await rig.waits(handle, "go")


async def test_a_signal_id_cannot_pass_for_another_message(rig: Any) -> None:
    """A child's result has an id of the engine's; a client's signal of that id must not stand in its place."""
    long_id = "c" * 240

    @workflow
    async def child(ctx: Context) -> str:
        return "the child's"

    @workflow
    async def parent(ctx: Context) -> str:
        await ctx.wait_for_signal("go")
        return await ctx.child(child.options(id=long_id))

    async with rig.serving(parent, child) as client:
        handle = await client.start(parent)
        await handle.signal("other", "forged", id=f"result/{long_id}/1")
        await handle.signal("go")
        assert await rig.end(handle) == "the child's"


async def test_signals_whose_ids_differ_at_the_end_are_two(rig: Any) -> None:
    async with connect(rig.url) as client:
        handle = await client.start(idle)
        ids = ["x" * 254 + "a", "x" * 254 + "b", "y" * 239, "sig/" + "y" * 239, "\u00df" * 127, "\u00df" * 126 + "xx"]
        for id in [*ids, *ids]:
            await handle.signal("s", id, id=id)
        messages = await client.store.messages(RunId(handle.id))
        assert len(messages) == len(ids)
        assert not any(len(item.message.id.encode()) > 255 + len("sig/") for item in messages)


async def test_a_signal_is_known_again_by_the_id_that_its_first_release_stored(rig: Any) -> None:
    """It may be sent again after an upgrade: how ids are stored must not change."""
    stored = {
        "a": "sig/a",
        "y" * 239: "sig/" + "y" * 239,
        "y" * 240: "y" * 240,
        "y" * 255: "y" * 255,
        "\u00df" * 127: "sig/" + "\u00df" * 127,
    }
    async with connect(rig.url) as client:
        handle = await client.start(idle)
        messages = [Message(RunId(handle.id), MessageId(id), MessageKind.SIGNAL, "s", b"1") for id in stored.values()]
        await client.store.send(messages)
        for id in stored:
            await handle.signal("s", 2, id=id)
        assert [item.message.payload for item in await client.store.messages(RunId(handle.id))] == [b"1"] * len(stored)


# ── the same answers from every store ────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(texts(), min_size=1, max_size=5, unique=True),
    st.lists(texts(nul=True, max_size=3), min_size=1, max_size=5),
)
def test_what_is_found_is_what_the_memory_store_finds(
    tmp_path_factory: Any, named: list[str], asked: list[str]
) -> None:
    asyncio.run(_compared(tmp_path_factory.mktemp("runs"), named, asked))


async def _compared(directory: Any, named: list[str], asked: list[str]) -> None:
    from tests.input.conftest import STORES

    answers = []
    for make in STORES.values():
        async with connect(make(directory)) as client:
            for text in named:
                await client.start(idle, id=text, queue=text, labels={text: text, "of": text})
            answers.append([await _answers(client, text) for text in [*named, *asked]])
    assert all(answer == answers[0] for answer in answers)


async def _answers(client: Client, text: str) -> list[Any]:
    found: list[Any] = []
    for query in ({"id_prefix": text}, {"queue": text}, {"workflow": text}, {"parent": text}, {"labels": {"of": text}}):
        try:
            found.append(sorted(run.id for run in await client.list(**query)))
            found.append(await client.count(**query))
        except InvalidInput as error:
            found.append(type(error).__name__)
    return found
