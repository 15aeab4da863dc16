"""The subscription: hints of what others write, and never in anybody's way."""

import asyncio
import contextlib

import pytest

from durable.store import SessionId, Want, WorkerSession
from durable_convex import ConvexStore, watching
from durable_testing.conformance.bench import LANES, new_run
from tests.convex.conftest import opened
from tests.convex.lookalike import TOKEN, Lookalike

SESSION = WorkerSession(SessionId("a session"), "s", 15.0, (("work", "1"),), ("default",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FIRST_WAIT_SECONDS", 0.02)


async def until_live(store: ConvexStore, live: bool = True) -> None:
    async with asyncio.timeout(5):
        while store.hinted is not live:
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def following(store: ConvexStore) -> asyncio.Queue[None]:  # type: ignore[misc]
    """The store's hints, from now on."""
    hints: asyncio.Queue[None] = asyncio.Queue()

    async def follow() -> None:
        async for _ in store.changes():
            hints.put_nowait(None)

    task = asyncio.ensure_future(follow())
    try:
        yield hints
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_is_hinted_only_while_somebody_listens_and_the_socket_stands(look: Lookalike) -> None:
    async with opened(look.url) as store:
        assert store.hinted is False
        async with following(store):
            await until_live(store)


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_another_process_writes_gives_a_hint(look: Lookalike, chunked: bool) -> None:
    look.chunked = chunked
    async with opened(look.url) as store, opened(look.url) as other, following(store) as hints:
        await until_live(store)
        while not hints.empty():
            hints.get_nowait()
        await other.create([new_run("r")])
        async with asyncio.timeout(5):
            await hints.get()


async def test_a_socket_that_is_cut_comes_back_and_tells_what_was_missed(look: Lookalike) -> None:
    async with opened(look.url) as store, opened(look.url) as other, following(store) as hints:
        await until_live(store)
        look.sockets_refused = True
        look.cut_sockets()
        await until_live(store, False)
        await other.create([new_run("r")])
        while not hints.empty():
            hints.get_nowait()
        look.sockets_refused = False
        await until_live(store)
        async with asyncio.timeout(5):
            await hints.get()


async def test_when_the_socket_falls_whoever_waits_looks_at_once_for_polls_will_be_more_frequent(
    look: Lookalike,
) -> None:
    async with opened(look.url) as store, following(store) as hints:
        await until_live(store)
        await asyncio.sleep(0)
        while not hints.empty():
            hints.get_nowait()
        look.sockets_refused = True
        look.cut_sockets()
        async with asyncio.timeout(5):
            await hints.get()
        assert store.hinted is False


async def test_from_its_first_poll_a_worker_hears_of_its_own_messages_too(look: Lookalike) -> None:
    async with opened(look.url) as store, following(store):
        await until_live(store)
        await store.poll(SESSION, Want("p", LANES, 0))
        async with asyncio.timeout(5):
            while len(look.watched) < 2:
                await asyncio.sleep(0.005)
        assert [asked.get("session") for asked in look.watched] == [None, "a session"]
        await until_live(store)


async def test_the_session_is_remembered_over_connections(look: Lookalike) -> None:
    async with opened(look.url) as store, following(store):
        await store.poll(SESSION, Want("p", LANES, 0))
        await until_live(store)
        look.cut_sockets()
        await until_live(store, False)
        await until_live(store)
        assert look.watched[-1].get("session") == "a session"


async def test_a_watch_that_is_refused_leaves_polling_and_hangs_nothing(look: Lookalike) -> None:
    async with opened(look.url) as store, following(store):
        await until_live(store)
        look.token = "rotated"
        look.cut_sockets()
        await until_live(store, False)
        await asyncio.sleep(0.1)
        assert store.hinted is False
        look.token = TOKEN
        await until_live(store)


async def test_without_live_no_socket_is_opened(look: Lookalike) -> None:
    async with opened(look.url + "?live=false") as store, following(store) as hints:
        await store.create([new_run("r")])
        await asyncio.wait_for(hints.get(), 5)
        assert store.hinted is False
        assert look.calls["watch"] == 0


async def test_closing_is_quick_whatever_the_socket_does(look: Lookalike, unused_tcp_port: int) -> None:
    for silent in (False, True):
        async with opened(look.url) as store:
            if silent:
                server = await asyncio.start_server(
                    lambda reader, writer: asyncio.sleep(60), "127.0.0.1", unused_tcp_port
                )
                object.__setattr__(store._transport.target, "base", f"http://127.0.0.1:{unused_tcp_port}")
            async with following(store):
                await asyncio.sleep(0.05)
                async with asyncio.timeout(2):
                    await store.close()
            if silent:
                server.close()
