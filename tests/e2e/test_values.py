"""Values: falsy ones are values, and what the first run sees equals what replay sees (I30)."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel

from durable import Context, NotSerializable, PayloadTooLarge, RunFailed, Signal, connect, step, workflow

FALSY = [None, 0, False, "", [], {}, 0.0]


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_falsy_values_are_values_everywhere(rig: Any, value: Any) -> None:
    seen: list[Any] = []

    @step
    async def echo(given: Any) -> Any:
        return given

    @workflow
    async def child(ctx: Context, given: Any) -> Any:
        return given

    @workflow
    async def wf(ctx: Context, given: Any) -> Any:
        ctx.set("value", given)
        ctx.emit("stream", given)
        got = [
            given,
            await ctx.step(echo, given),
            await ctx.step("inline", lambda: given),
            await ctx.child(child, given),
            await ctx.wait_for_signal("signal"),
            (await ctx.map(echo, [given]))[0],
        ]
        seen.append(got)
        return given

    async with rig.serving(wf, child) as client:
        handle = await client.start(wf, value)
        await handle.signal("signal", value)
        assert same(await rig.end(handle), value)
        assert same((await handle.values())["value"], value)
        assert all(same(item, value) for item in [item async for item in handle.stream("stream")])
        again = await client.start("wf", value, id="by-name")
        await again.signal("signal", value)
        assert same(await rig.end(again), value)
    assert all(same(item, value) for got in seen for item in got)


async def test_empty_bytes_are_a_value(rig: Any) -> None:
    raw = Signal("raw", bytes)

    @step
    async def echo(given: bytes) -> bytes:
        return given

    @workflow
    async def wf(ctx: Context, given: bytes) -> bytes:
        return await ctx.step(echo, given) + await ctx.wait_for_signal(raw) + given

    async with rig.serving(wf) as client:
        handle = await client.start(wf, b"")
        await handle.signal(raw, b"")
        assert await rig.end(handle) == b""


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Box:
    points: tuple[Point, ...]
    tag: str | None = None


class Model(BaseModel):
    total: Decimal
    when: datetime


TYPED: list[tuple[Any, Any]] = [
    (Colour, Colour.RED),
    (Point, Point(1, 2)),
    (Box, Box((Point(0, 0),))),
    (Model, Model(total=Decimal("9.90"), when=datetime(2026, 1, 2, tzinfo=UTC))),
    (tuple[int, str], (1, "a")),
    (set[int], {3, 1, 2}),
    (frozenset[str], frozenset("ab")),
    (dict[int, str], {1: "a"}),
    (bytes, b"\x00\xff"),
    (Decimal, Decimal("1.10")),
    (UUID, UUID(int=7)),
    (date, date(2026, 1, 2)),
    (timedelta, timedelta(days=2, microseconds=3)),
    (int, 2**80),
    (str, "nul \x00 and 𝄞"),
    (float, 0.1 + 0.2),
    (PurePosixPath, PurePosixPath("/a/b")),
    (list[Point | None], [None, Point(1, 1)]),
]


def _named(given: object) -> str:
    """The same in every process, which parallel test runners ask for: sets have no order."""
    return repr(sorted(given)) if isinstance(given, set | frozenset) else str(given)[:30]


@pytest.mark.parametrize(("kind", "value"), TYPED, ids=_named)
async def test_the_first_run_sees_what_replay_sees(rig: Any, kind: Any, value: Any) -> None:
    """I30."""
    seen: list[Any] = []

    @step
    async def make(given: kind) -> kind:  # type: ignore[valid-type]
        return given

    @workflow
    async def wf(ctx: Context, given: kind) -> kind:  # type: ignore[valid-type]
        made = await ctx.step(make, given)
        seen.append((given, made))
        await ctx.wait_for_signal("go")
        return made

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf, value)
            await rig.waits(handle, "go")
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("go")
            assert same(await rig.end(handle), value)
    assert len(seen) >= 2
    assert all(same(given, value) and same(made, value) for given, made in seen)


async def test_mutating_a_result_does_not_reach_the_journal(rig: Any) -> None:
    shared = [1]

    @step
    async def lend() -> list[int]:
        return shared

    @workflow
    async def wf(ctx: Context) -> list[int]:
        got = await ctx.step(lend)
        got.append(2)
        return got

    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        assert await rig.end(handle) == [1, 2]
        assert [row.value for row in await handle.history()] == [[1]]
    assert shared == [1]


class Basket(BaseModel):
    items: list[int]


@pytest.mark.parametrize("kind", [Any, list[int], Basket], ids=["undeclared", "list", "model"])
async def test_a_step_that_changes_its_argument_changes_nothing_of_the_workflows(rig: Any, kind: Any) -> None:
    async def fill(name: str, given: Any) -> int:
        items = given.items if isinstance(given, Basket) else given
        items.append(2)
        return len(items)

    fill.__annotations__["given"] = kind
    filled = step(fill)

    @workflow
    async def wf(ctx: Context) -> list[int]:
        mine = [1]
        given = Basket.model_construct(items=mine) if kind is Basket else mine
        assert await ctx.step(filled, "plain", given) == 2
        return mine  # in replay no step runs that could have changed it

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == [1]


class Refund(Exception):
    def __init__(self, amount: int, reason: str) -> None:
        super().__init__(amount, reason)
        self.amount = amount
        self.reason = reason


async def test_an_error_is_the_same_in_the_first_run_and_in_replay(rig: Any) -> None:
    seen: list[Any] = []

    @step
    async def pay() -> None:
        error = Refund(5, "broken")
        error.add_note("called twice")
        raise error from ValueError("inner")

    @workflow
    async def wf(ctx: Context) -> int:
        try:
            await ctx.step(pay)
        except Refund as error:
            seen.append((type(error), error.args, error.amount, error.reason, error.__notes__, repr(error.__cause__)))
        await ctx.wait_for_signal("go")
        return 1

    async with connect(rig.url) as client:
        async with rig.worker(client, wf):
            handle = await client.start(wf)
            await rig.waits(handle, "go")
        async with connect(rig.url) as other, rig.worker(other, wf):
            await handle.signal("go")
            await rig.end(handle)
    assert len(seen) >= 2
    assert all(one == seen[0] for one in seen)
    assert seen[0][:4] == (Refund, (5, "broken"), 5, "broken")


async def test_a_result_of_the_run_that_cannot_be_stored_fails_the_run_with_its_name(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context, kind: str) -> Any:
        return object() if kind == "odd" else "x" * 2_000_000

    async with rig.serving(wf) as client:
        with pytest.raises(RunFailed, match="wf") as caught:
            await rig.run(client, wf, "odd")
        assert type(caught.value.__cause__) is NotSerializable
        with pytest.raises(RunFailed, match="wf") as caught:
            await rig.run(client, wf, "large")
        assert type(caught.value.__cause__) is PayloadTooLarge


@pytest.mark.parametrize("over", [-1, 0, 1, 1000])
async def test_the_payload_limit_at_one_over_and_far_over(rig: Any, over: int) -> None:
    @workflow
    async def wf(ctx: Context, text: str) -> int:
        return len(text)

    size = 1024 * 1024 - len('[""]') + over
    async with rig.serving(wf) as client:
        if over <= 0:
            assert await rig.run(client, wf, "x" * size) == size
        else:
            with pytest.raises(PayloadTooLarge, match="1048576|1 MiB|1,048,576"):
                await client.start(wf, "x" * size)
            assert await client.count() == 0


async def test_set_and_emit_refuse_what_is_no_json_where_they_are_called(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> list[str]:
        said = []
        for call in (lambda: ctx.set("k", object()), lambda: ctx.emit("s", {1, 2}), lambda: ctx.set("", 1)):
            try:
                call()
            except Exception as error:
                said.append(type(error).__name__)
        return said

    async with rig.serving(wf) as client:
        assert await rig.run(client, wf) == ["NotSerializable", "NotSerializable", "InvalidName"]


async def test_a_codec_hook_wraps_every_payload(rig: Any) -> None:
    key = 0x5A

    class Hook:
        def encode(self, data: bytes) -> bytes:
            return bytes(byte ^ key for byte in data)

        def decode(self, data: bytes) -> bytes:
            return bytes(byte ^ key for byte in data)

    @step
    async def secret(word: str) -> str:
        return word + "-result"

    @workflow
    async def wf(ctx: Context, word: str) -> str:
        ctx.set("v", word)
        ctx.emit("s", word)
        await ctx.wait_for_signal("go")
        return await ctx.step(secret, word)

    client = connect(rig.url, codec=Hook())
    async with client, rig.worker(client, wf):
        handle = await client.start(wf, "canary")
        await handle.signal("go", "canary")
        assert await rig.end(handle) == "canary-result"
        page = await client.store.journal(handle.id, 1)
        stored = b"".join(row.data for row in page.rows) + (await client.store.outcome(handle.id) or b"")
        stored += (await client.store.input(handle.id) or b"") + b"".join(
            (await client.store.values(handle.id)).values()
        )
    assert b"canary" not in stored


async def test_context_variables_do_not_leak_between_runs(rig: Any) -> None:
    """I21."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    tenant.set("the test")

    @workflow
    async def wf(ctx: Context, name: str) -> list[str]:
        before = tenant.get()
        tenant.set(name)
        await asyncio.sleep(0)
        await ctx.sleep(0.001)
        return [before, tenant.get()]

    async with rig.serving(wf) as client:
        handles = [await client.start(wf, name) for name in "abc"]
        assert [await rig.end(handle) for handle in handles] == [["nobody", name] for name in "abc"]
