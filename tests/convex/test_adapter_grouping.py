"""One call in flight, the rest goes with the next; what throws is halved down to the culprit."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from durable.errors import InvalidInput, Transient
from durable.store import Commit, Held, Lane, RunId, RunQuery, SessionId, Verdict, Waiting, Want, WorkerSession
from durable_convex import grouping
from durable_convex.grouping import Group, Limits, batched, single
from durable_testing.conformance.bench import LANES, new_run, signal
from tests.convex.conftest import opened
from tests.convex.lookalike import Lookalike

SESSION = WorkerSession(SessionId("s"), "s", 15.0, (("work", "1"),), ("default",))


def operations(look: Lookalike) -> list[list[str]]:
    """The operations of each ``sync`` that was sent."""
    return [[op["op"] for op in said["args"]["ops"]] for said in look.sent if said["path"] == "durable:sync"]


async def test_what_is_asked_at_one_moment_is_one_call(look: Lookalike) -> None:
    async with opened(look.url) as store:
        await asyncio.gather(*(store.create([new_run(f"r{n}")]) for n in range(20)), store.renew(SESSION))
    assert operations(look) == [["create", "renew"]]


async def test_what_is_asked_while_a_call_is_under_way_goes_with_the_next(look: Lookalike) -> None:
    async with opened(look.url) as store:
        first = asyncio.ensure_future(store.create([new_run("first")]))
        while not look.calls["sync"]:
            await asyncio.sleep(0)
        await asyncio.gather(
            first, *(store.create([new_run(f"r{n}")]) for n in range(5)), store.send([signal("m", "first")])
        )
    sent = operations(look)
    assert len(sent) <= 3
    assert sent[0] == ["create"]


async def test_what_an_answer_leads_to_goes_with_what_waited_for_the_call_to_end(look: Lookalike) -> None:
    async with opened(look.url) as store:

        async def one_after_the_other() -> None:
            await store.create([new_run("first")])
            for _ in range(5):  # turns of the loop: what an engine does between an answer and its next call
                await asyncio.sleep(0)
            await store.send([signal("m", "first")])

        both = asyncio.ensure_future(one_after_the_other())
        while not look.calls["sync"]:
            await asyncio.sleep(0)
        await asyncio.gather(both, store.renew(SESSION))
    assert operations(look) == [["create"], ["renew", "send"]]


async def test_a_hundred_commits_are_the_most_in_one_call(look: Lookalike) -> None:
    async with opened(look.url) as store:
        await store.create([new_run(f"r{n:03}") for n in range(120)])
        claims = (await store.poll(SESSION, Want("p", LANES, 120))).claims
        look.sent.clear()
        answers = await store.commit([Commit(claim.run.id, claim.run.epoch, 0, 0, (b"e",)) for claim in claims])
    assert {answer.verdict for answer in answers} == {Verdict.APPLIED}
    assert [len(said["args"]["ops"][0]["commits"]) for said in look.sent] == [100, 20]


async def test_four_mebibytes_are_the_most_in_one_call(look: Lookalike) -> None:
    async with opened(look.url) as store:
        await store.create([new_run(f"r{n}", input=b"x" * 1_000_000) for n in range(9)])
        assert [len(said["args"]["ops"][0]["runs"]) for said in look.sent[-3:]] == [4, 4, 1]


async def test_one_item_over_the_limit_goes_alone(look: Lookalike) -> None:
    async with opened(look.url) as store:
        await store.create([new_run("small"), new_run("large", input=b"x" * 5_000_000), new_run("small too")])
        assert await store.count(RunQuery()) == 3
    assert len(operations(look)) == 3


async def test_the_culprit_is_found_and_its_neighbours_are_done(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_ALONE_WAIT_SECONDS", 0.001)
    look.guilty = lambda body: "culprit" in body
    async with opened(look.url) as store:
        asked = [store.create([new_run(f"r{n}" if n != 13 else "culprit")]) for n in range(30)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[13], InvalidInput)
        assert "Nothing of it was written" in str(answers[13])
        assert [answer for n, answer in enumerate(answers) if n != 13 and isinstance(answer, BaseException)] == []
        assert await store.count(RunQuery()) == 29


async def test_one_call_with_a_culprit_raises_and_does_the_others(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_ALONE_WAIT_SECONDS", 0.001)
    look.guilty = lambda body: "culprit" in body
    async with opened(look.url) as store:
        with pytest.raises(InvalidInput):
            await store.create([new_run("a"), new_run("culprit"), new_run("b")])
        assert await store.count(RunQuery()) == 2


async def test_when_everything_throws_nobody_is_guilty(look: Lookalike, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that is paused, over its limits, or in the middle of a bad deploy fails every call."""
    monkeypatch.setattr(grouping, "_ALONE_WAIT_SECONDS", 0.001)
    async with opened(look.url) as store:
        look.guilty = lambda body: True
        with pytest.raises(Transient, match="does not work at the moment"):
            await store.create([new_run("r")])
        look.guilty = lambda body: False
        await store.create([new_run("r")])


async def test_a_poll_is_never_guilty_for_a_worker_that_cannot_poll_is_to_try_on(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_ALONE_WAIT_SECONDS", 0.001)
    look.guilty = lambda body: "a lane" in body
    async with opened(look.url) as store:
        with pytest.raises(Transient):
            await store.poll(SESSION, Want("p", (Lane("a lane", "w", None),), 1, (Held(RunId("r"), 1),)))
        assert await store.renew(SESSION)


async def test_whoever_gives_up_before_the_call_goes_out_is_not_in_it(look: Lookalike) -> None:
    async with opened(look.url) as store:
        first = asyncio.ensure_future(store.create([new_run("first")]))
        while not look.calls["sync"]:
            await asyncio.sleep(0)
        given_up = asyncio.ensure_future(store.create([new_run("given up")]))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        await first
        assert await store.get([RunId("given up")]) == [None]


async def test_the_commits_of_a_run_keep_their_order_over_halves_and_repeats(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_ALONE_WAIT_SECONDS", 0.001)
    async with opened(look.url) as store:
        await store.create([new_run("r"), new_run("x")])
        claims = {claim.run.id: claim.run for claim in (await store.poll(SESSION, Want("p", LANES, 2))).claims}
        look.guilty = lambda body: "poison" in body
        look.lose = lambda name, count: name == "sync" and count % 2 == 0
        epoch = claims[RunId("r")].epoch
        commits: list[Any] = [Commit(RunId("r"), epoch, n, n, (b"entry %d" % n,)) for n in range(10)]
        commits.insert(5, Commit(RunId("x"), claims[RunId("x")].epoch, 0, 0, (b"poison",)))
        commits[-1] = replace(commits[-1], then=Waiting(None, 0))
        answers = await asyncio.gather(*(store.commit([commit]) for commit in commits), return_exceptions=True)
        assert isinstance(answers[5], InvalidInput)
        look.guilty, look.lose = lambda body: False, lambda name, count: False
        assert [row.data for row in (await store.journal(RunId("r"), 1)).rows] == [b"entry %d" % n for n in range(10)]


async def test_reads_are_one_call_at_one_moment_too_and_several_may_be_under_way(look: Lookalike) -> None:
    async with opened(look.url) as store:
        await asyncio.gather(*(store.get([RunId(f"r{n}")]) for n in range(30)))
        assert look.calls["read"] == 1
        await asyncio.gather(*(store.journal(RunId(f"r{n}"), 1) for n in range(12)))
        assert look.calls["read"] == 1 + 3, "pages may weigh 4 MiB each, so four go in one call"


async def test_an_answer_of_the_wrong_shape_is_told_and_not_believed(look: Lookalike) -> None:
    look.answers["sync"] = lambda args: {"now": 1.0, "results": []}
    async with opened(look.url) as store:
        with pytest.raises(Exception, match="one result per operation"):
            await store.now()


async def test_items_of_one_kind_share_an_operation_only_if_they_stand_together() -> None:
    class Line:
        def __init__(self) -> None:
            self.said: list[str] = []

        async def ask(self, function: str, kind: str, rest: str) -> Any:
            self.said.append(rest)
            return {"now": 0.0, "results": [["a"], None, ["b", "c"]]}

    async def well() -> None: ...

    line: Any = Line()
    group = Group(line, "sync", "mutation", "ops", Limits(10, 100, 1000), well)
    items = [batched("x", "xs", 1.0, 1), single({"op": "y"}), batched("x", "xs", 2.0, 1), batched("x", "xs", 3.0, 1)]
    assert [answer for answer, _ in await group.ask(items)] == ["a", None, "b", "c"]
    assert line.said == [',"ops":[{"op":"x","xs":[1.0]},{"op":"y"},{"op":"x","xs":[2.0,3.0]}]']
