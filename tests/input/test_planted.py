"""Bytes in the store that this engine has not written: whoever reads them says so, and the worker lives on.

They are planted through the store's own protocol, so every adapter gets them.
"""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from durable import Client, Context, Corrupt, DurableError, RunCancelled, connect, step, workflow
from durable.codec import Arguments, digest
from durable.store import (
    Cancel,
    Commit,
    Control,
    Emit,
    Ended,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    Retry,
    RunId,
    Running,
    RunStatus,
    SessionId,
    Then,
    Want,
    WorkerSession,
)
from tests.input.tally import TRIED

DEEP = 100_000
PLANTED: dict[str, bytes] = {
    "nothing": b"",
    "no-json": b"hunter2",
    "cut": b'["a',
    "binary": bytes(range(256)),
    "not-utf8": b'["\xff"]',
    "surrogate": b'["\\ud800"]',
    "nan": b"[NaN]",
    "huge-int": b"[" + b"9" * 5_000 + b"]",
    "huge-float": b"[1e999]",
    "deep-list": b"[" * DEEP + b"]" * DEEP,
    "deep-dict": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "another-shape": b'{"args": 5, "kwargs": []}',
    "another-type": b"[[1]]",
    "too-many": b'["a", "b", "c"]',
    "trailing": b'["a"] ["b"]',
}
TWICE = b'[{"key": 1, "key": 2}]'
"""Duplicate keys are JSON; the last one counts, everywhere."""


@workflow
async def takes(ctx: Context, given: str) -> str:
    return given


@workflow
async def takes_dict(ctx: Context, given: dict[str, int]) -> dict[str, int]:
    return given


@workflow
async def waits(ctx: Context) -> str:
    return await ctx.wait_for_signal("s", str)


@step
async def one() -> int:
    return 1


@workflow
async def works(ctx: Context) -> int:
    return await ctx.step(one) + await ctx.wait_for_signal("s", int)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("durable").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("durable").setLevel(logging.NOTSET)


def planted(id: str, workflow: str, input: bytes, **more: Any) -> NewRun:
    return NewRun(RunId(id), workflow, "1", "default", input, digest(workflow, b"[]"), "0" * 32, **more)


async def written(client: Client, run: NewRun, *entries: bytes, then: Then | None = None, **more: Any) -> None:
    """What a worker might have written about a run."""
    TRIED["planted bytes"] += 1
    await client.store.create([run])
    session = WorkerSession(SessionId(f"planter {run.id}"), "planter", 15.0, ((run.workflow, "1"),), ("default",))
    poll = await client.store.poll(session, Want(f"poll {run.id}", (Lane("default", run.workflow, "1"),), 1))
    (claim,) = poll.claims
    commit = Commit(run.id, claim.run.epoch, 0, 0, append=entries, then=Running(), **more)
    await client.store.commit([commit])
    if then is not None:
        await client.store.commit([Commit(run.id, claim.run.epoch, 1, len(entries), then=then)])


async def let_go(client: Client, *ids: str) -> None:
    """Now somebody else may have what was written about."""
    for id in ids:
        await client.store.leave(SessionId(f"planter {id}"))


async def rests(rig: Any, client: Client, id: str, *states: str) -> Any:
    """The status of a run that has come to rest: nobody claims it over and over."""
    status = await rig.state(client.handle(id), *states)
    (before,) = await client.store.get([RunId(id)])
    assert await rig.run(client, takes, "meanwhile") == "meanwhile"
    (after,) = await client.store.get([RunId(id)])
    assert before is not None and after is not None
    assert (after.epoch, after.position) == (before.epoch, before.position)
    assert after.epoch < 10
    return status


async def test_a_planted_input_blocks_its_run_alone(rig: Any) -> None:
    async with rig.serving(takes, takes_dict) as client:
        await client.store.create([planted(name, "takes", raw) for name, raw in PLANTED.items()])
        TRIED["planted bytes"] += len(PLANTED)
        for name in PLANTED:
            status = await rests(rig, client, name, "blocked", "completed")
            assert status.state == "blocked", name
            assert "takes" in status.error and "hunter2" not in status.error, name
        await client.store.create([planted("twice", "takes_dict", TWICE)])
        assert await rig.end(client.handle("twice", takes_dict)) == {"key": 2}


async def test_a_planted_signal_is_a_dead_letter_and_the_next_one_is_received(rig: Any) -> None:
    async with rig.serving(takes, waits) as client:
        handle = await client.start(waits)
        run = RunId(handle.id)
        unfit = {name: raw.removeprefix(b"[").removesuffix(b"]") for name, raw in PLANTED.items() if raw[:1] == b"["}
        letters = {**PLANTED, **{f"bare {name}": raw for name, raw in unfit.items()}}
        letters = {name: raw for name, raw in letters.items() if raw not in (b'"a"',)}
        await client.store.send(
            [Message(run, MessageId(name), MessageKind.SIGNAL, "s", raw) for name, raw in letters.items()]
        )
        TRIED["planted bytes"] += len(letters)
        await handle.signal("s", "good")
        assert await rig.end(handle) == "good"
        dead = [item for item in await client.store.messages(run, unread_only=False) if item.dead is not None]
        assert len(dead) == len(letters)
        assert all("hunter2" not in (item.dead or "") for item in dead)


ENTRIES = {
    **PLANTED,
    "deep-head": b'{"k":' * DEEP + b"1" + b"}" * DEEP + b"\n",
    "unknown-kind": b'{"k":"os.system","c":"x"}\n',
    "no-call": b'{"k":"step"}\n',
    "odd-call": b'{"k":"step","c":[1],"p":"","ok":1}\n1',
    "strange-call": b'{"k":"step","c":"0/step/none#0","p":"","ok":1}\n1',
}


async def test_a_planted_journal_blocks_its_run_alone(rig: Any) -> None:
    async with connect(rig.url) as client:
        for name, raw in ENTRIES.items():
            await written(client, planted(name, "works", b"[]"), raw)
        await let_go(client, *ENTRIES)
        async with rig.worker(client, takes, works):
            for name in ENTRIES:
                status = await rests(rig, client, name, "blocked")
                assert len(status.error) < 10_000, name
                try:
                    await client.handle(name).history()
                except Corrupt as error:
                    assert len(str(error)) < 1_000, name
                await client.handle(name).resume()
                await rests(rig, client, name, "blocked")


async def test_a_planted_result_in_a_journal_blocks_its_run_alone(rig: Any) -> None:
    head = b'{"k":"step","c":"0/step/one#0","p":"%s","ok":%d,"n":1}\n'
    print_ = Arguments.fingerprint(b"[]").encode()
    async with connect(rig.url) as client:
        for name, raw in PLANTED.items():
            await written(client, planted(name, "works", b"[]"), head % (print_, 1) + raw)
            await written(client, planted(f"error {name}", "works", b"[]"), head % (print_, 0) + raw)
        await let_go(client, *PLANTED, *(f"error {name}" for name in PLANTED))
        async with rig.worker(client, takes, works):
            for name in PLANTED:
                await rests(rig, client, name, "blocked")
                failed = await rests(rig, client, f"error {name}", "failed")
                assert failed.error.startswith("StepError"), name


async def test_a_planted_outcome_is_a_typed_error_for_whoever_asks(rig: Any) -> None:
    async with connect(rig.url) as client:
        words = (b"", b"completed\n", b"failed\n", b"cancelled\n", b"unheard-of\n")
        for number, word in enumerate(words):
            for name, raw in PLANTED.items():
                id = f"{number} {name}"
                then = Ended(RunStatus.COMPLETED, word + raw)
                await written(client, planted(id, "takes", b'["x"]'), then=then)
                with pytest.raises(DurableError) as told:
                    await client.handle(id, takes).result(timeout=5)
                assert len(str(told.value)) < 2_000, id
                assert "hunter2" not in str(told.value) or word in (b"", b"unheard-of\n"), id


async def test_planted_values_and_items_are_typed_errors_for_whoever_reads(rig: Any) -> None:
    async with connect(rig.url) as client:
        for name, raw in PLANTED.items():
            run = planted(name, "works", b"[]")
            await written(client, run, values=(("k", raw),), emits=(Emit("s", raw),))
            if name in ("another-shape", "another-type", "too-many", "huge-float"):
                continue  # JSON it is
            with pytest.raises(DurableError):
                await client.handle(name).values()
            with pytest.raises(DurableError):
                await anext(client.handle(name).stream("s"))


async def test_a_planted_cancel_still_cancels(rig: Any) -> None:
    async with rig.serving(takes, waits) as client:
        for name, raw in PLANTED.items():
            handle = await client.start(waits, id=name)
            await rig.waits(handle, "s")
            await client.store.control([Control(RunId(name), "request", Cancel("reason", raw, b"cancelled\n" + raw))])
            with pytest.raises(RunCancelled):
                await rig.end(handle)


async def test_a_planted_order_to_retry_or_to_follow_up_harms_nobody_else(rig: Any) -> None:
    async with rig.serving(takes) as client:
        for name, raw in PLANTED.items():
            follow = planted(f"follow {name}", "takes", b'["x"]', on_complete=raw)
            again = planted(f"again {name}", "takes", b'["x"]')
            await client.store.create([follow, again])
            assert await rig.end(client.handle(follow.id)) == "x"
            assert await rig.end(client.handle(again.id)) == "x"
            await client.store.control([Control(again.id, "request", Retry(raw))])
            assert await rig.run(client, takes, "meanwhile") == "meanwhile"
        for name in PLANTED:
            status = await rig.state(client.handle(f"again {name}"), "blocked", "completed", "failed")
            assert status.state == "blocked", name
