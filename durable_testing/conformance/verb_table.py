"""Every verb in every situation of a run, walked as a table (I9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from durable.store import (
    TRANSITIONS,
    Blocked,
    Cancel,
    Ended,
    Fork,
    Pause,
    Paused,
    Resume,
    Retry,
    RunId,
    RunStatus,
    Settle,
    Terminate,
    Then,
    Verb,
    VerbOutcome,
    Waiting,
)
from durable_testing.conformance.bench import Bench, new_run

__all__ = ["VerbTable"]

DONE, ASKED, ALREADY = VerbOutcome.DONE, VerbOutcome.ASKED, VerbOutcome.ALREADY
NOT_ALLOWED, NOT_FOUND = VerbOutcome.NOT_ALLOWED, VerbOutcome.NOT_FOUND
S = RunStatus

VERBS: Final[Mapping[str, Verb]] = {
    "cancel": Cancel("why", b"p", b"o"),
    "terminate": Terminate("why", b"o"),
    "pause": Pause(),
    "resume": Resume(),
    "retry": Retry(b"order"),
    "fork": Fork(new_run("fork"), b"order"),
    "settle": Settle(b"entry", 0),
}

# How a run comes into each situation: never claimed, or claimed and then left so.
SITUATIONS: Final[Mapping[str, Then | None]] = {
    "pending": None,
    "running": None,
    "unowned": None,  # RUNNING; its worker died
    "waiting": Waiting(None, 0),
    "paused": Paused(),
    "paused unclaimed": None,
    "blocked": Blocked("engine", "why"),
    "completed": Ended(S.COMPLETED, b""),
    "failed": Ended(S.FAILED, b"", "why"),
    "cancelled": Ended(S.CANCELLED, b"", "why"),
}

Row = Mapping[str, tuple[VerbOutcome, RunStatus]]

# What each verb answers in each situation, and the status that the run then has.
TABLE: Final[Mapping[str, Row]] = {
    "cancel": {
        "pending": (DONE, S.CANCELLED),
        "running": (ASKED, S.RUNNING),
        "unowned": (ASKED, S.RUNNING),
        "waiting": (ASKED, S.WAITING),
        "paused": (ASKED, S.WAITING),
        "paused unclaimed": (DONE, S.CANCELLED),
        "blocked": (DONE, S.CANCELLED),
        "completed": (NOT_ALLOWED, S.COMPLETED),
        "failed": (NOT_ALLOWED, S.FAILED),
        "cancelled": (ALREADY, S.CANCELLED),
    },
    "terminate": {
        "pending": (DONE, S.CANCELLED),
        "running": (DONE, S.CANCELLED),
        "unowned": (DONE, S.CANCELLED),
        "waiting": (DONE, S.CANCELLED),
        "paused": (DONE, S.CANCELLED),
        "paused unclaimed": (DONE, S.CANCELLED),
        "blocked": (DONE, S.CANCELLED),
        "completed": (NOT_ALLOWED, S.COMPLETED),
        "failed": (NOT_ALLOWED, S.FAILED),
        "cancelled": (ALREADY, S.CANCELLED),
    },
    "pause": {
        "pending": (DONE, S.PAUSED),
        "running": (ASKED, S.RUNNING),
        "unowned": (DONE, S.PAUSED),
        "waiting": (DONE, S.PAUSED),
        "paused": (ALREADY, S.PAUSED),
        "paused unclaimed": (ALREADY, S.PAUSED),
        "blocked": (NOT_ALLOWED, S.BLOCKED),
        "completed": (NOT_ALLOWED, S.COMPLETED),
        "failed": (NOT_ALLOWED, S.FAILED),
        "cancelled": (NOT_ALLOWED, S.CANCELLED),
    },
    "resume": {
        "pending": (ALREADY, S.PENDING),
        "running": (ALREADY, S.RUNNING),
        "unowned": (ALREADY, S.RUNNING),
        "waiting": (ALREADY, S.WAITING),
        "paused": (DONE, S.WAITING),
        "paused unclaimed": (DONE, S.PENDING),
        "blocked": (DONE, S.WAITING),
        "completed": (NOT_ALLOWED, S.COMPLETED),
        "failed": (NOT_ALLOWED, S.FAILED),
        "cancelled": (NOT_ALLOWED, S.CANCELLED),
    },
    "retry": {
        "pending": (NOT_ALLOWED, S.PENDING),
        "running": (NOT_ALLOWED, S.RUNNING),
        "unowned": (NOT_ALLOWED, S.RUNNING),
        "waiting": (NOT_ALLOWED, S.WAITING),
        "paused": (NOT_ALLOWED, S.PAUSED),
        "paused unclaimed": (NOT_ALLOWED, S.PAUSED),
        "blocked": (NOT_ALLOWED, S.BLOCKED),
        "completed": (DONE, S.PENDING),
        "failed": (DONE, S.PENDING),
        "cancelled": (DONE, S.PENDING),
    },
    "fork": {
        "pending": (DONE, S.PENDING),
        "running": (DONE, S.RUNNING),
        "unowned": (DONE, S.RUNNING),
        "waiting": (DONE, S.WAITING),
        "paused": (DONE, S.PAUSED),
        "paused unclaimed": (DONE, S.PAUSED),
        "blocked": (DONE, S.BLOCKED),
        "completed": (DONE, S.COMPLETED),
        "failed": (DONE, S.FAILED),
        "cancelled": (DONE, S.CANCELLED),
    },
    "settle": {
        "pending": (NOT_ALLOWED, S.PENDING),
        "running": (NOT_ALLOWED, S.RUNNING),
        "unowned": (NOT_ALLOWED, S.RUNNING),
        "waiting": (NOT_ALLOWED, S.WAITING),
        "paused": (NOT_ALLOWED, S.PAUSED),
        "paused unclaimed": (NOT_ALLOWED, S.PAUSED),
        "blocked": (DONE, S.WAITING),
        "completed": (NOT_ALLOWED, S.COMPLETED),
        "failed": (NOT_ALLOWED, S.FAILED),
        "cancelled": (NOT_ALLOWED, S.CANCELLED),
    },
}


class VerbTable(Bench):
    """One test per verb; each walks every situation."""

    async def bring(self, id: str, situation: str) -> None:
        """Create run ``id`` and bring it there."""
        await self.create(id)
        if situation == "pending":
            return
        if situation == "paused unclaimed":
            await self.control(Pause(), id, "prepare")
            return
        worker = self.worker(f"worker of {id}")
        grip = await worker.one()
        then = SITUATIONS[situation]
        if then is not None:
            await grip.commit(then=then)
        if situation == "unowned":
            self.expire()
            await self.worker("observer").poll(0)

    async def walk(self, name: str) -> None:
        for n, (situation, (outcome, status)) in enumerate(TABLE[name].items()):
            id = f"{n} {situation}"
            verb = VERBS[name]
            if isinstance(verb, Fork):
                verb = Fork(new_run(f"fork of {id}"), b"order")
            await self.bring(id, situation)
            before = await self.row(id)
            answer = await self.control(verb, id)
            after = await self.row(id)
            assert (answer.outcome, answer.status) == (outcome, status), situation
            assert after.status is status, situation
            assert answer.generation == after.generation, situation
            assert after.status is before.status or after.status in TRANSITIONS[before.status], situation
            if outcome in (ALREADY, NOT_ALLOWED):
                assert after == before, situation
            assert await self.control(verb, id) == answer, situation
            assert await self.row(id) == after, situation
            await self.clear(id)

    async def clear(self, id: str) -> None:
        """Out of the way of the situations that follow: nothing of this one is due."""
        for one in (id, f"fork of {id}"):
            await self.control(VERBS["terminate"], one, "clear")
        self.expire()
        await self.worker("sweeper").poll(100)

    async def test_cancel_in_every_situation(self) -> None:
        await self.walk("cancel")

    async def test_terminate_in_every_situation(self) -> None:
        await self.walk("terminate")

    async def test_pause_in_every_situation(self) -> None:
        await self.walk("pause")

    async def test_resume_in_every_situation(self) -> None:
        await self.walk("resume")

    async def test_retry_in_every_situation(self) -> None:
        await self.walk("retry")

    async def test_fork_in_every_situation(self) -> None:
        await self.walk("fork")

    async def test_settle_in_every_situation(self) -> None:
        await self.walk("settle")

    async def test_every_verb_on_a_run_that_is_not_there(self) -> None:
        for name, verb in VERBS.items():
            answer = await self.control(verb, "nobody", name)
            assert (answer.outcome, answer.status, answer.generation) == (NOT_FOUND, None, 0)
        assert await self.store.get([RunId("nobody"), RunId("fork")]) == [None, None]
