"""More than one transaction takes, and calls that come late: on the stand-in, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable.errors import StoreError
from durable.store import Held, NewRun, RunId, SessionId, Want
from durable_convex import ConvexStore
from durable_convex.install import install
from durable_testing.clock import ManualClock
from durable_testing.conformance.bench import LANES, new_run
from tests.convex.conftest import SESSION, opened
from tests.convex.standin import running

pytestmark = pytest.mark.slow

OTHER = """
import { mutationGeneric, queryGeneric } from "convex/server";
export { info } from "./durable";
export const sync = mutationGeneric({ args: {}, handler: async () => null });
export const watch = queryGeneric({ args: {}, handler: async () => null });
"""


async def create(store: ConvexStore, runs: Sequence[NewRun]) -> None:
    for start in range(0, len(runs), 100):
        await store.create(runs[start : start + 100])


async def test_a_function_that_repeats_its_arguments_in_an_error_does_not_bring_the_token_into_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    install(tmp_path / "convex")
    (tmp_path / "convex" / "other.ts").write_text(OTHER)
    with running(tmp_path / "convex", tmp_path, "--env", "DURABLE_TOKEN=a-secret-token") as server:
        async with opened(f"{server.url}?functions=other", auth="a-secret-token") as store:
            with pytest.raises(StoreError, match="extra field"):
                await store.poll(SESSION, Want("p", LANES, 10))
            listening = asyncio.ensure_future(anext(store.changes()))
            while "watch failed" not in caplog.text:
                await asyncio.sleep(0.01)
            listening.cancel()
    assert "extra field" in caplog.text
    assert "a-secret-token" not in caplog.text


class Sent:
    """What a store has sent, to be sent once more: a call that was held up on its way."""

    def __init__(self, store: ConvexStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._ask = store._transport.ask

        async def ask(function: str, kind: Any, rest: str) -> Any:
            self.said.append(rest)
            return await self._ask(function, kind, rest)

        monkeypatch.setattr(store._transport, "ask", ask)

    async def again(self, operation: str) -> Any:
        """The first such operation once more; what the deployment answers."""
        rest = next(said for said in self.said if json.loads("{" + said[1:] + "}")["ops"][0]["op"] == operation)
        return (await self._ask("sync", "mutation", rest))["results"][0]


async def test_a_worker_that_has_room_for_thousands_gets_its_claims_in_portions(store: ConvexStore) -> None:
    await create(store, [new_run(f"r{n}") for n in range(600)])
    held: list[Held] = []
    for number in range(3):
        poll = await store.poll(SESSION, Want(f"p{number}", LANES, 5_000, tuple(held)))
        assert len(held) + len(poll.claims) == 600 or poll.next_due_at is not None, "it hears that there is more"
        held += [Held(claim.run.id, claim.run.epoch) for claim in poll.claims]
    assert len({one.run for one in held}) == 600


async def test_thousands_of_priorities_do_not_stop_a_lane_and_the_highest_come_first(
    store: ConvexStore, clock: ManualClock
) -> None:
    await create(store, [replace(new_run(f"r{n}"), priority=n) for n in range(4_200)])
    await store.create([replace(new_run("low"), priority=-1)])
    clock.advance(1)
    found = [claim.run.id for claim in (await store.poll(SESSION, Want("p", LANES, 40))).claims]
    assert found[:32] == [f"r{n}" for n in range(4_199, 4_167, -1)]
    assert len(set(found)) == 40


async def test_a_run_of_a_low_priority_is_not_hidden_by_sleeping_ones_of_many_higher_priorities(
    store: ConvexStore, clock: ManualClock
) -> None:
    await create(store, [replace(new_run(f"r{n}"), priority=n, delay_seconds=600.0) for n in range(100)])
    assert (await store.poll(SESSION, Want("p1", LANES, 10))).next_due_at == clock.now() + 600.0
    await store.create([replace(new_run("low"), priority=-1, delay_seconds=5.0)])
    assert (await store.poll(SESSION, Want("p2", LANES, 10))).next_due_at == clock.now() + 5.0
    clock.advance(5)
    assert [claim.run.id for claim in (await store.poll(SESSION, Want("p3", LANES, 10))).claims] == ["low"]


async def test_a_worker_among_thousands_can_poll(store: ConvexStore) -> None:
    others = [replace(SESSION, id=SessionId(f"s{n}")) for n in range(4_200)]
    await asyncio.gather(*(store.renew(other) for other in others))
    await store.create([new_run("r")])
    assert len((await store.poll(SESSION, Want("p", LANES, 1))).claims) == 1


async def test_a_poll_that_comes_after_the_next_one_takes_nothing_away(
    store: ConvexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was lost and it was said again; the first copy conflicted with the second, and was begun anew."""
    sent = Sent(store, monkeypatch)
    await store.poll(SESSION, Want("p1", LANES, 10))
    await store.create([new_run("r")])
    (claim,) = (await store.poll(SESSION, Want("p2", LANES, 10))).claims
    late = await sent.again("poll")
    assert late["claims"] == []
    (row,) = await store.get([RunId("r")])
    assert row is not None
    assert (row.epoch, row.owner) == (claim.run.epoch, SESSION.id)


async def test_a_put_whose_answer_was_lost_is_told_what_it_has_done(
    store: ConvexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(store, monkeypatch)
    put = await store.put_record("kind", "key", b"mine", expect=0)
    assert put is not None
    assert (await sent.again("put_record"))["version"] == 1.0
    assert await store.put_record("kind", "key", b"another's", expect=0) is None
    assert await store.get_record("kind", "key") == put
    assert await store.put_record("kind", "key", b"another's", expect=1) is not None
    assert await sent.again("put_record") is None, "others have written since"
