"""What makes a deployment call functions, and what does not: each call is counted, and each hint makes for one more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from durable.store import Commit, Ended, RunStatus, SessionId, Waiting, Want, WorkerSession
from durable_convex import ConvexStore, watching
from durable_convex.install import install
from durable_testing.conformance.bench import LANES, new_run
from tests.convex.deployments import TOKEN
from tests.convex.standin import ADMIN_KEY, StandIn, running

SESSION = WorkerSession(SessionId("s"), "s", 15.0, (("work", "1"),), ("default",))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    install(tmp_path / "convex")
    with running(tmp_path / "convex", tmp_path, "--env", f"DURABLE_TOKEN={TOKEN}") as server:
        yield server


@contextlib.asynccontextmanager
async def opened(server: StandIn) -> AsyncIterator[ConvexStore]:
    store = ConvexStore(f"convex+{server.url}", auth=TOKEN)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Follower:
    """A worker's ear: its session's subscription stands, and each hint is counted as it comes."""

    def __init__(self, store: ConvexStore, server: StandIn) -> None:
        self.hints = 0
        self._store = store
        self._server = server
        self._task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        async for _ in self._store.changes():
            self.hints += 1

    async def begin(self) -> None:
        await until(lambda: self._store.hinted)
        await self._store.poll(SESSION, Want("first", LANES, 0))
        await until(lambda: not str(self._store._watch._last).endswith(',""]'))  # an answer for the session
        await self._store.sessions()
        self.hints = 0

    async def until(self, reruns: int) -> None:
        """Until the subscribed queries have been run so often; their answers come before those of later calls."""
        async with asyncio.timeout(10):
            while (await asyncio.to_thread(calls, self._server))["reruns"] < reruns:
                await asyncio.sleep(0.005)
        await self._store.sessions()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@contextlib.asynccontextmanager
async def following(store: ConvexStore, server: StandIn) -> AsyncIterator[Follower]:
    follower = Follower(store, server)
    try:
        await follower.begin()
        yield follower
    finally:
        await follower.stop()


def calls(server: StandIn) -> dict[str, int]:
    request = urllib.request.Request(
        f"{server.url}/api/development/stats", headers={"Authorization": f"Convex {ADMIN_KEY}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        found: dict[str, int] = json.load(response)["calls"]
        return found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.slow
async def test_a_poll_that_finds_nothing_and_a_heartbeat_are_one_call_each_and_run_no_subscription_again(
    server: StandIn,
) -> None:
    async with opened(server) as store, opened(server) as other, following(store, server) as follower:
        before = calls(server)
        await store.poll(SESSION, Want("second", LANES, 0))
        await store.poll(SESSION, Want("third", LANES, 0))
        await store.renew(SESSION)
        assert calls(server) == before | {"mutations": before["mutations"] + 3}
        await other.create([new_run("r")])
        await follower.until(reruns=before["reruns"] + 1)  # one that has something to say is run again
        await until(lambda: follower.hints == 1)


@pytest.mark.slow
async def test_what_a_worker_claims_itself_is_no_news_to_it_and_what_another_claims_is(server: StandIn) -> None:
    theirs = WorkerSession(SessionId("t"), "t", 15.0, (("work", "1"),), ("default",))
    async with opened(server) as store, opened(server) as other, following(store, server) as follower:
        await other.create([new_run("mine")])
        await until(lambda: follower.hints == 1)
        reruns = calls(server)["reruns"]
        assert len((await store.poll(SESSION, Want("takes", LANES, 1))).claims) == 1
        await follower.until(reruns=reruns + 1)
        await other.create([new_run("theirs")])
        await until(lambda: follower.hints > 1)
        assert follower.hints == 2, "its own claim gave none"
        assert len((await other.poll(theirs, Want("takes", LANES, 1))).claims) == 1
        await until(lambda: follower.hints == 3)  # it looks, and learns when that worker's lease ends


@pytest.mark.slow
async def test_what_a_store_writes_itself_gives_one_hint_whether_it_shows_in_the_subscription_or_not(
    server: StandIn,
) -> None:
    async with opened(server) as store, following(store, server) as follower:
        await store.create([new_run("r")])
        await until(lambda: follower.hints == 1)
        (claim,) = (await store.poll(SESSION, Want("takes", LANES, 1))).claims
        run, epoch = claim.run.id, claim.run.epoch
        await until(lambda: store._watch._echo is None)
        reruns, hints = calls(server)["reruns"], follower.hints
        await store.commit([Commit(run, epoch, 0, 0, (b"e",), then=Waiting(None, 0))])
        assert store._watch._echo is not None
        await until(lambda: follower.hints == hints + 1)
        assert calls(server)["reruns"] == reruns, "nothing of it shows"
        await store.create([new_run("s")])
        await follower.until(reruns=reruns + 1)
        await until(lambda: follower.hints == hints + 2)


@pytest.mark.slow
async def test_the_end_of_a_run_is_told_although_the_worker_itself_has_claimed_it(server: StandIn) -> None:
    async with opened(server) as store, following(store, server) as follower:
        await store.create([new_run("r")])
        await until(lambda: follower.hints == 1)
        (claim,) = (await store.poll(SESSION, Want("takes", LANES, 1))).claims
        await store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, then=Ended(RunStatus.COMPLETED, b"1"))])
        await until(lambda: follower.hints == 2)


async def test_over_a_socket_that_is_dead_without_our_knowing_own_writes_are_heard_of_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "_ECHO_SECONDS", 0.01)
    store = ConvexStore("convex+http://127.0.0.1:1?live=false", auth=TOKEN)
    hints = store.changes()
    store._watch.live = True
    store._watch.written()
    store._watch.written(0)
    await asyncio.wait_for(anext(hints), 5)
    assert store._watch._echo is None
    await store.close()


async def test_what_the_subscription_has_told_before_the_answer_came_is_not_told_again() -> None:
    store = ConvexStore("convex+http://127.0.0.1:1?live=false", auth=TOKEN)
    before = store._watch.heard
    store._watch._changed({"type": "QueryUpdated", "value": "the run is there"})
    store._watch.written(before)
    assert store._watch._echo is None
    store._watch.written(store._watch.heard)
    assert store._watch._echo is not None, "the end of another run was told, perhaps"
    await store.close()
    assert store._watch._echo is None


NOBODY: list[object] = [[], None]
DUE = ["r", 1.0]


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ([1.0, [DUE], []], [None, [], []], ["r"]),
        ([1.0, [DUE], [["m", 1]]], [None, [], []], ["r"]),
        ([1.0, [DUE], [["m", 1]]], [1.0, [DUE], []], []),
        ([1.0, [DUE], []], [2.0, [["other", 2.0]], []], None),
        ([1.0, [DUE], []], [2.0, [["r", 2.0]], []], None),
        ([1.0, [DUE], []], [None, [], [["r", 1]]], None),
        ("", [None, [], []], None),
        (None, [None, [], []], None),
    ],
)
def test_what_is_gone_and_nothing_else_is_told_from_news(before: object, after: object, gone: list[str] | None) -> None:
    texts = json.dumps([*NOBODY, before]), json.dumps([*NOBODY, after])
    assert watching._gone(*texts) == (None if gone is None else frozenset(gone))
    assert watching._gone(texts[0], json.dumps([[["r", 1]], None, after])) is None, "a run has ended"
    assert watching._gone("another component's", texts[1]) is None
    assert watching._gone(None, texts[1]) is None


async def test_what_went_while_a_poll_was_under_way_is_judged_by_its_answer() -> None:
    store = ConvexStore("convex+http://127.0.0.1:1?live=false", auth=TOKEN)
    hints = store.changes()
    assert isinstance(hints, watching.Listener)
    for mine in ("r", "another"):
        with store._watch.polling() as taken:
            store._watch._turned(frozenset(["r"]))
            assert not hints._hinted
            taken([mine])
        assert hints._hinted is (mine != "r")
    await store.close()
