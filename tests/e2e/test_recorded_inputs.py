"""Arguments that are recorded: what they repeat of earlier ones is stored once, and people see them whole."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from durable import Client, Context, Handle, RunFailed, Signal, connect, step, workflow
from durable._engine import recording
from durable._engine.connect import open_store
from durable.store import COMMIT_BYTES_MAX, COMMIT_ITEMS_MAX, Commit, Part

Message = dict[str, str]
SIZE = 2000
go: Signal[Message] = Signal("go", Message)


def message(n: int, size: int = SIZE) -> Message:
    return {"role": "assistant", "content": f"{n} " + random.Random(n).randbytes(size // 2).hex()}


def talk_of(count: int, size: int = SIZE) -> list[Message]:
    return [message(n, size) for n in range(count)]


@step(record_input=True)
async def answer(messages: list[Message]) -> Message:
    return message(len(messages))


@step(record_input=True)
async def count(messages: list[Message], turn: int) -> int:
    return len(messages)


@workflow
async def talk(ctx: Context, calls: int) -> int:
    messages: list[Message] = []
    for _ in range(calls):
        messages.append(await ctx.step(answer, messages))
    return len(messages)


class Watched:
    """A store that keeps what is said to it, and hides parts from those who read."""

    def __init__(self, url: str) -> None:
        self._inner = open_store(url)
        self.commits: list[Commit] = []
        self.hidden: set[str] = set()

    async def commit(self, commits: Sequence[Commit]) -> Any:
        self.commits += commits
        return await self._inner.commit(commits)

    async def parts(self, run: Any, hashes: Sequence[str]) -> Any:
        return await self._inner.parts(run, [hash for hash in hashes if hash not in self.hidden])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def stored(self) -> dict[str, Part]:
        return {part.hash: part for commit in reversed(self.commits) for part in reversed(commit.parts)}

    @property
    def stored_bytes(self) -> int:
        return sum(len(part.data) for part in self.stored.values())


async def inputs(handle: Handle[Any], name: str) -> list[Any]:
    rows = [row for row in await handle.history() if row.event == "step_completed"]
    return [row.input for row in rows if row.name.split("#")[0] == name]


async def test_calls_over_a_growing_talk_cost_their_new_messages_only(rig: Any) -> None:
    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, talk):
        handle = await client.start(talk, 50)
        assert await handle.result(timeout=rig.soon(20)) == 50
        assert await inputs(handle, "answer") == [[talk_of(n)] for n in range(50)]
    whole = sum(n * SIZE for n in range(50))
    assert store.stored_bytes < whole / 15
    if rig.cache:  # a worker that has the run in memory knows that the messages are in the journal
        assert store.stored_bytes < 50 * SIZE / 2
        assert sum(len(part.data) for commit in store.commits for part in commit.parts) < 50 * SIZE / 2


async def test_messages_that_no_step_has_returned_are_stored_once(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for turn in range(30):
            await ctx.step(count, talk_of(turn), turn)

    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        await handle.result(timeout=rig.soon(20))
        assert await inputs(handle, "count") == [[talk_of(n), n] for n in range(30)]
    assert 29 * SIZE < store.stored_bytes < 1.5 * 29 * SIZE


async def test_another_worker_goes_on_and_all_arguments_are_there(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        messages = talk_of(5)
        for _ in range(3):
            messages.append(await ctx.step(answer, messages))
            messages.append(await ctx.wait_for_signal(go))

    async with connect(rig.url) as client:
        handle = await client.start(wf)
        for n in range(3):
            async with connect(rig.url) as own, rig.worker(own, wf):
                await rig.waits(handle, "go")
                await handle.signal(go, message(100 + n))
                if n == 2:
                    await rig.end(handle)
        expected, found = talk_of(5), []
        for n in range(3):
            found.append([list(expected)])
            expected += [message(len(expected)), message(100 + n)]
        assert await inputs(handle, "answer") == found


async def test_a_retry_and_a_fork_have_the_arguments_of_what_they_keep_and_of_what_they_do(rig: Any) -> None:
    broken = True

    @step
    async def fragile() -> None:
        if broken:
            raise ValueError("not yet")

    @workflow
    async def wf(ctx: Context) -> None:
        messages = talk_of(3)
        for n in range(6):
            messages.append(await ctx.step(answer, messages))
            if n == 3:
                await ctx.step(fragile)

    expected = [[talk_of(3 + n)] for n in range(6)]
    async with rig.serving(wf) as client:
        handle = await client.start(wf)
        with pytest.raises(RunFailed):
            await rig.end(handle)
        assert await inputs(handle, "answer") == expected[:4]
        broken = False
        await handle.retry()
        await rig.end(handle)
        assert await inputs(handle, "answer") == expected
        fork = await handle.fork(at="fragile")
        await rig.end(fork)
        assert await inputs(fork, "answer") == expected
        assert await client.purge(ids=[handle.id]) == 1
        assert await inputs(fork, "answer") == expected


async def test_the_next_generation_has_its_arguments_though_their_pieces_lie_in_an_earlier_journal(rig: Any) -> None:
    """More of them than one commit takes."""
    first = 130

    @workflow
    async def wf(ctx: Context, messages: list[Message]) -> int:
        calls = first if not messages else 3
        for _ in range(calls):
            messages.append(await ctx.step(answer, messages))
        if ctx.generation < 3:
            raise ctx.continue_as(wf, messages)
        return len(messages)

    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, wf, cache=1000):
        handle = await client.start(wf, [])
        assert await handle.result(timeout=rig.soon(30)) == first + 6
        assert await inputs(handle, "answer") == [[talk_of(first + 3 + n)] for n in range(3)]
        assert store.stored_bytes < 2 * (first + 6) * SIZE


async def test_calls_with_the_same_arguments_are_recorded_once(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for _ in range(5):
            await ctx.step(answer, talk_of(4))

    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, wf, cache=1000):
        handle = await client.start(wf)
        await rig.end(handle)
        assert await inputs(handle, "answer") == [[talk_of(4)]] * 5
    assert len([part for commit in store.commits for part in commit.parts]) == len(store.stored)


async def test_many_large_arguments_at_once_keep_to_the_limits_of_a_commit(rig: Any) -> None:
    calls = 8

    @workflow
    async def wf(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            for turn in range(calls):
                group.create_task(ctx.step(count, [message(1000 * turn + n, 600) for n in range(1500)], turn))

    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        await handle.result(timeout=rig.soon(30))
        for commit in store.commits:
            assert len(commit.parts) <= COMMIT_ITEMS_MAX
            size = sum(len(part.data) for part in commit.parts) + sum(map(len, commit.append))
            assert size <= COMMIT_BYTES_MAX
        found = {row[1]: row[0] for row in await inputs(handle, "count")}
    assert found == {turn: [message(1000 * turn + n, 600) for n in range(1500)] for turn in range(calls)}


async def test_arguments_that_an_older_release_has_stored_whole_are_read(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "split", lambda raw, key: (raw, {}))
    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, talk):
        handle = await client.start(talk, 5)
        await rig.end(handle)
        monkeypatch.undo()
        assert all(part.data.startswith(b"[[") for part in store.stored.values())
        assert await inputs(handle, "answer") == [[talk_of(n)] for n in range(5)]


async def test_arguments_with_an_absent_piece_are_shown_as_absent(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for turn in (1, 2, 3):
            await ctx.step(count, talk_of(turn), turn)

    store: Any = Watched(rig.url)
    async with Client(store) as client, rig.worker(client, wf):
        handle = await client.start(wf)
        await rig.end(handle)
        store.hidden = {hash for hash, part in store.stored.items() if message(1)["content"].encode() in part.data}
        assert store.hidden
        assert await inputs(handle, "count") == [[talk_of(1), 1], None, None]
        store.hidden = set(store.stored)
        assert await inputs(handle, "count") == [None] * 3
        assert [row.event for row in await handle.history()] == ["step_completed"] * 3


class Hook:
    """Another text each time, as an encryption with a nonce gives."""

    def __init__(self, key: int) -> None:
        self._key = key

    def encode(self, data: bytes) -> bytes:
        nonce = random.randrange(8, 256)  # and the keys are smaller, so that something is always changed
        return bytes([nonce, self._key ^ nonce]) + bytes(byte ^ self._key ^ nonce for byte in data)

    def decode(self, data: bytes) -> bytes:
        if data[0] ^ data[1] != self._key:
            raise ValueError("another key")
        return bytes(byte ^ self._key ^ data[0] for byte in data[2:])


async def test_with_a_payload_hook_each_piece_is_wrapped_and_its_name_tells_nothing(rig: Any) -> None:
    @workflow
    async def wf(ctx: Context) -> None:
        for turn in range(12):
            await ctx.step(count, talk_of(turn), turn)

    store: Any = Watched(rig.url)
    names = []
    for _ in range(2):
        before = set(store.stored)
        async with Client(store, codec=Hook(7)) as client, rig.worker(client, wf, cache=1000):
            handle = await client.start(wf)
            await rig.end(handle)
            assert await inputs(handle, "count") == [[talk_of(n), n] for n in range(12)]
            names.append({name for name in set(store.stored) - before if len(name) == 32})
    assert names[0]
    assert not names[0] & names[1]
    assert not any(b"content" in part.data for part in store.stored.values())
    assert store.stored_bytes < 2 * 1.5 * 12 * SIZE
    async with Client(store, codec=Hook(6)) as stranger:
        assert await inputs(stranger.handle(handle.id), "count") == [None] * 12
