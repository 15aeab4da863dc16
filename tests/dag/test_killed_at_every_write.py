"""The order flow, its process killed with ``kill -9`` at every write, and carried on by another.

Real processes, SQLite files, HTTP. The k-th write is the k-th call with which the process changes its store: the
definition, the start, each commit of the journal and of the deliveries of webhooks. It is killed before the write, or
when the write is durable but nobody has been told.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable import connect
from durable_dag import Engine
from durable_dag.signing import verify
from tests.dag.killing import EXECUTION, SECRETS, Maker, Task
from tests.dag.services import Reply, Sent, Services

STEPS = {
    "validate": "validation/validate",
    "check-inventory": "inventory/check",
    "charge-payment": "payment/charge",
    "ship-order": "shipping/ship",
    "send-confirmation": "notifications/email",
}
RESULTS = {
    "validate": {"valid": True},
    "check-inventory": {"inStock": True},
    "charge-payment": {"receipt": "r-1"},
    "ship-order": {"ok": True},
    "send-confirmation": {"status": 200, "sent": True},
}


class Till:
    """Refuses the first payment, for a moment; or every one, for good."""

    def __init__(self, good: bool) -> None:
        self.good = good
        self.asked = 0

    def __call__(self, sent: Sent) -> Any:
        self.asked += 1
        if not self.good:
            return Reply(402)
        return Reply(503) if self.asked == 1 else {"receipt": "r-1"}


@pytest.fixture(scope="module")
def maker() -> Iterator[Maker]:
    with Maker() as made:
        yield made


@pytest.fixture
def services() -> Iterator[Services]:
    with Services() as made:
        yield made


class Trial:
    """One store, one life of an order, and what the world has seen of it."""

    def __init__(self, maker: Maker, services: Services, folder: Path, good: bool) -> None:
        folder.mkdir()
        self.maker, self.services, self.folder, self.good = maker, services, folder, good
        self.store = f"sqlite:///{folder}/orders.db"
        services.forget()
        services.serve("payment/charge", Till(good))
        services.serve("validation/validate", {"valid": True})
        services.serve("inventory/check", {"inStock": True})

    def live(self, at: int | None = None, after: bool = False) -> tuple[int, int]:
        """A process, until it has done everything or is killed."""
        return self.maker.run(Task(self.store, self.services.port, at, after))

    def check(self, kills: int) -> None:
        """What must be so when all is done, however often somebody was killed."""
        self._called(kills)
        self._told(kills)
        asyncio.run(self._kept())
        shutil.rmtree(self.folder)

    def _called(self, kills: int) -> None:
        calls = {step: self.services.to(where) for step, where in STEPS.items()}
        attempts = dict.fromkeys(STEPS, 1) | {"charge-payment": 2 if self.good else 1}
        if not self.good:
            attempts |= {"ship-order": 0, "send-confirmation": 0}
        # One step is under way at a time; if its process is killed, nobody knows whether the call was heard.
        again = {step: len(calls[step]) - attempts[step] for step in STEPS}
        assert all(0 <= number <= kills for number in again.values()), again
        assert sum(again.values()) <= kills, again
        for step, sent in calls.items():
            assert {one.headers["idempotency-key"] for one in sent} <= {f"{EXECUTION}:{step}"}
            assert len({one.body for one in sent}) <= 1

    def _told(self, kills: int) -> None:
        ending = "analytics/order-complete" if self.good else "support/order-failed"
        other = "support/order-failed" if self.good else "analytics/order-complete"
        assert self.services.to(other) == []
        letters = [*self.services.to("analytics/step"), *self.services.to(ending)]
        now = time.time()
        for one in letters:
            event = "onStep" if one.where == "analytics/step" else "onComplete" if self.good else "onFailure"
            assert verify(SECRETS[event], one.headers, one.body, now)
        ids = Counter(one.headers["webhook-id"] for one in letters)
        assert max(ids.values()) <= 1 + kills
        bodies = {one.headers["webhook-id"]: one.value for one in letters}
        assert len({(one.headers["webhook-id"], one.body) for one in letters}) == len(bodies) == 6
        told = sorted(bodies.values(), key=lambda one: one["sequence"])
        assert [one["sequence"] for one in told] == [1, 2, 3, 4, 5, 6]
        assert [one["stepId"] for one in told[:5]] == list(STEPS)
        last = ["success"] * 2 if self.good else ["skipped"] * 2
        assert [one["status"] for one in told[:5]] == ["success", "success", self._payment, *last]
        if self.good:
            assert told[5]["results"] == RESULTS
        else:
            assert (told[5]["status"], told[5]["failedSteps"]) == ("failed", ["charge-payment"])

    @property
    def _payment(self) -> str:
        return "success" if self.good else "failed"

    async def _kept(self) -> None:
        async with connect(self.store) as client:
            execution = await Engine(client).get(EXECUTION)
            assert await client.store.check() == []
            runs = await client.list()
        assert len(runs) == 7  # the execution and six deliveries
        assert {run.state for run in runs if run.id != EXECUTION} == {"completed"}
        assert execution["status"] == ("completed" if self.good else "failed")
        results = {id: one["result"] for id, one in execution["stepResults"].items() if "result" in one}
        assert results == (RESULTS if self.good else {id: RESULTS[id] for id in ("validate", "check-inventory")})


GOOD = [pytest.param(True, id="completes"), pytest.param(False, id="fails")]
AFTER = [pytest.param(False, id="before"), pytest.param(True, id="after")]


@pytest.mark.slow
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("good", GOOD)
def test_a_process_killed_at_any_write_is_carried_on(
    maker: Maker, services: Services, tmp_path: Path, good: bool, after: bool
) -> None:
    for at in itertools.count(1):
        trial = Trial(maker, services, tmp_path / str(at), good)
        code, writes = trial.live(at, after)
        if code == 0:  # it was done before so many writes
            assert writes < at
            trial.check(kills=0)
            break
        assert code == -signal.SIGKILL
        assert trial.live()[0] == 0
        trial.check(kills=1)
    assert at > 10


@pytest.mark.nightly
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("good", GOOD)
def test_who_carries_on_may_be_killed_at_any_write_too(
    maker: Maker, services: Services, tmp_path: Path, good: bool, after: bool
) -> None:
    lived, trials = False, 0
    for at in itertools.count(1):
        for again in itertools.count(1):
            trial = Trial(maker, services, tmp_path / f"{at}-{again}", good)
            lived = trial.live(at, after)[0] == 0
            done = lived or trial.live(again, not after)[0] == 0
            if not done:
                assert trial.live()[0] == 0
            trial.check(kills=2)
            trials += 1
            if done:
                break
        if lived:
            break
    assert trials > 100
