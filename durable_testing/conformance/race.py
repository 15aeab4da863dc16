"""A store and its model, given the same operations one after the other; every pair of answers must be equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

from durable.store import (
    CLOSING_LANE,
    Blocked,
    Cancel,
    Closed,
    Commit,
    Continued,
    Control,
    DeadLetter,
    Emit,
    Ended,
    Fork,
    Held,
    Lane,
    Message,
    MessageId,
    MessageKind,
    NewRun,
    OnParentClose,
    Parent,
    Part,
    Pause,
    Paused,
    Poll,
    PurgeQuery,
    Released,
    Resume,
    Retry,
    Rewound,
    RunId,
    Running,
    RunRecord,
    RunStatus,
    SessionId,
    Settle,
    Store,
    Terminate,
    Then,
    Verb,
    Verdict,
    Wait,
    Waiting,
    WaitKind,
    Want,
    WorkerSession,
)
from durable_testing.clock import ManualClock
from durable_testing.conformance.looks import Looks
from durable_testing.conformance.plain import plain
from durable_testing.conformance.steps import RUNS, Ask, Step
from durable_testing.memory import MemoryStore

__all__ = ["Race"]

LANES = (Lane("q", "w", "1"), Lane("q", "w", None, pin="1"), Lane("q2", "w", "1"), CLOSING_LANE)


@final
class Grip:
    """What one worker believes about a claim; belief may be out of date, and that is part of the test."""

    def __init__(self, run: RunRecord) -> None:
        self.run = run.id
        self.epoch = run.epoch
        self.seq = 0
        self.position = run.position
        self.generation = run.generation
        self.ended = run.ended
        self.rewind = run.rewind is not None
        self.seen = 0


@final
class Race:
    """A store under test and its model, one operation after the other."""

    def __init__(
        self, clock: ManualClock, model: MemoryStore, stores: tuple[Store, Store], *, turns_back: bool = True
    ) -> None:
        self.clock = clock
        self.model = model
        self.stores = stores
        self.turns_back = turns_back
        self.count = 0
        self.grips: tuple[dict[RunId, Grip], dict[RunId, Grip]] = ({}, {})
        self.names = ["s0", "s1"]
        self.last_wants: list[Want | None] = [None, None]
        self.commits: list[Commit] = []
        self.creations: list[NewRun] = []
        self.looks = Looks(clock, model, self.both)

    async def both(self, worker: int, ask: Ask) -> Any:
        """Ask both; the answers must be the same. Returns the model's."""
        expected = await ask(self.model)
        answer = await ask(self.stores[worker])
        assert plain(answer) == plain(expected)
        return expected

    def fresh(self, what: str) -> str:
        self.count += 1
        return f"{what} {self.count}"

    async def begin(self) -> None:
        """Something to work on from the start."""
        for n in range(len(RUNS)):
            await self._create(Step("create", n, 0, 3 * (n % 2), 2 + 2 * n, 0))

    async def take(self, step: Step) -> None:
        if step.kind == "rest":
            return
        await getattr(self, f"_{step.kind}")(step)
        ids = [RunId(id) for id in (*RUNS, "fork")]
        await self.both(step.worker, lambda store: store.get(ids))

    async def _read(self, step: Step) -> None:
        await self.looks.read(step)

    async def _page(self, step: Step) -> None:
        await self.looks.page(step)

    async def compare_everything(self) -> None:
        await self.looks.compare_everything()
        for store in (self.model, *self.stores):
            assert list(await store.check()) == []

    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _create(self, step: Step) -> None:
        new = self.new(step, RUNS[step.run])
        self.creations.append(new)
        await self.both(step.worker, lambda store: store.create([new]))

    def new(self, step: Step, id: str) -> NewRun:
        on_close: OnParentClose = "cancel"
        parent = Parent(RunId("b"), f"call {id}", 1, on_close, notify=step.mood % 2 == 0)
        return NewRun(
            RunId(id),
            "w",
            None if step.mood % 4 == 1 else "1",
            "q2" if step.mood % 6 == 5 else "q",
            b"" if step.mood == 0 else b"input",
            self.fresh("digest"),
            self.fresh("seed"),
            priority=step.mood % 3 - 1,
            delay_seconds=(0.0, 0.0, 0.0, 5.0)[step.pick % 4],
            labels={"l": str(step.mood % 2)},
            parent=parent if step.pick % 3 == 0 else None,
            on_complete=b"" if step.pick % 5 == 0 else None,
            replace=self.fresh("replace") if step.pick in (7, 8) else None,
        )

    async def _create_again(self, step: Step) -> None:
        if self.creations:
            new = self.creations[step.pick % len(self.creations)]
            await self.both(step.worker, lambda store: store.create([new]))

    async def _poll(self, step: Step) -> None:
        mine = self.grips[step.worker]
        last = self.last_wants[step.worker]
        if step.mood == 0 and last is not None:
            want = last  # its answer was lost
        else:
            if step.mood == 1 and mine:
                mine.pop(sorted(mine)[step.pick % len(mine)])  # a claim whose answer was lost
            held = tuple(Held(grip.run, grip.epoch, grip.seen) for grip in mine.values())
            lanes = LANES[: 2 + step.pick % 3] if step.mood == 2 else LANES
            want = Want(self.fresh("poll"), lanes, step.pick % 5, held, crash_budget=1, lonely_after=1)
        self.last_wants[step.worker] = want
        poll: Poll = await self.both(step.worker, lambda store: store.poll(self.session(step.worker), want))
        for run in poll.lost:
            if step.mood != 3:  # else a zombie that has not understood
                mine.pop(run, None)
        for claim in poll.claims:
            mine[claim.run.id] = Grip(claim.run)
            mine[claim.run.id].seen = max((one.seq for one in claim.messages), default=0)

    def session(self, worker: int) -> WorkerSession:
        return WorkerSession(SessionId(self.names[worker]), f"worker {worker}", 15.0, (("w", "1"),), ("q",))

    async def _renew(self, step: Step) -> None:
        await self.both(step.worker, lambda store: store.renew(self.session(step.worker)))

    async def _leave(self, step: Step) -> None:
        if step.pick % 3 == 0:
            await self.both(step.worker, lambda store: store.leave(SessionId(self.names[step.worker])))

    async def _commit(self, step: Step) -> None:
        mine = self.grips[step.worker]
        if not mine:
            return
        grip = mine[sorted(mine)[step.run % len(mine)]]
        asked = await self.asked(step, grip)
        self.commits.append(asked)
        (answer,) = await self.both(step.worker, lambda store: store.commit([asked]))
        if answer.verdict is Verdict.APPLIED:
            grip.seq += 1
            grip.position += len(asked.append)
            if isinstance(asked.then, Rewound):
                grip.position = len(asked.then.keep)
                grip.rewind = False
            elif not isinstance(asked.then, Running | Closed) or grip.ended:
                mine.pop(grip.run, None)
        elif answer.verdict is Verdict.LEASE_LOST and step.twist > 3:  # below, it was a lie; or a zombie goes on
            mine.pop(grip.run, None)

    async def _commit_all(self, step: Step) -> None:
        """A batch: a plain commit for each held run, and one of somebody who is wrong about everything."""
        mine = [self.grips[step.worker][run] for run in sorted(self.grips[step.worker])]
        batch = [
            Commit(grip.run, grip.epoch, grip.seq, grip.position, append=(self.fresh("entry").encode(),))
            for grip in mine
            if not grip.ended and not grip.rewind
        ]
        batch.insert(step.pick % (len(batch) + 1), Commit(RunId(RUNS[step.run]), 900, step.mood, 0, append=(b"lie",)))
        answers = await self.both(step.worker, lambda store: store.commit(batch))
        for asked, answer in zip(batch, answers, strict=True):
            if answer.verdict is Verdict.APPLIED:
                self.commits.append(asked)
                grip = self.grips[step.worker][asked.run]
                grip.seq += 1
                grip.position += 1

    async def asked(self, step: Step, grip: Grip) -> Commit:
        then = await self.then(step, grip)
        if grip.rewind and isinstance(then, Rewound):
            return Commit(grip.run, grip.epoch, grip.seq, grip.position, then=then)
        unread = await self.model.messages(grip.run)
        first = tuple(one.message.id for one in unread[:1])
        entries = 0 if grip.ended else (step.mood + step.pick) % 3
        lie = step.twist
        return Commit(
            grip.run,
            grip.epoch + (lie == 1),
            grip.seq + (lie == 2),
            grip.position + (lie == 3),
            append=tuple(self.fresh("entry").encode() for _ in range(entries)),
            then=then,
            flushed=(step.mood, step.pick) if step.mood % 2 else None,
            consumed=first if step.mood % 3 == 0 else (),
            dead=tuple(DeadLetter(id, "dead") for id in first) if step.mood % 3 == 1 else (),
            messages=(self.message(step),) if step.pick % 2 else (),
            children=(replace(self.new(step, RUNS[step.mood % 4]), replace=None),) if step.mood in (4, 5) else (),
            values=((f"k{step.mood % 2}", b"" if step.pick % 2 else b"v"),) if step.mood > 5 else (),
            emits=(Emit("s", self.fresh("item").encode()), Emit("t", b"")) if step.mood == 7 else (),
            parts=(Part(f"h{step.pick % 2}", b"part"),) if step.mood == 8 else (),
            waits=(Wait(WaitKind.TIMER, "t", "c", 1.0, 2.0),) if step.mood == 9 else None,
            not_before=self.clock.now() + (step.mood - 9) if step.twist > 9 else None,
        )

    async def then(self, step: Step, grip: Grip) -> Then:
        if grip.ended:
            return (Running(), Released(), Closed())[step.pick % 3]
        if grip.rewind and step.mood < 9:
            return await self.rewound(step, grip)
        now = self.clock.now()
        choices: tuple[Then, ...] = (
            Running(),
            Running(),
            Waiting(None, grip.seen),
            Waiting(now + step.mood, grip.seen),
            Released(),
            Paused(),
            Blocked("engine", "reason", "call" if step.mood % 2 else None),
            Ended(RunStatus.COMPLETED, b"", None, None if step.mood % 2 else 5.0, closing=step.mood % 3 == 0),
            Ended(RunStatus.FAILED, b"outcome", "error", 0.0, closing=step.mood % 2 == 0),
            Continued("w", (None, "1")[step.mood % 2], b"again", "digest", self.fresh("seed"), float(step.mood % 3), 1),
            Closed(),
            Running(),
        )
        return choices[step.pick]

    async def rewound(self, step: Step, grip: Grip) -> Then:
        source, generation = grip.run, grip.generation - 1
        if generation == 0:  # a fork
            source = RunId(RUNS[step.run])
            (row,) = await self.model.get([source])
            generation = 1 if row is None else row.generation
        rows = (await self.model.journal(source, generation)).rows
        keep = tuple(row.position for row in rows if (row.position + step.pick) % 3)
        inbox = await self.model.messages(grip.run, unread_only=False)
        unread = tuple(one.message.id for one in inbox if one.seq % 2 and one.dead in (None, "dead"))
        return Rewound(source, generation, keep, (step.mood, 0), unread)

    async def _repeat(self, step: Step) -> None:
        """The last commit of its run, once more."""
        if not self.commits:
            return
        said = self.commits[-1 - step.pick % len(self.commits)]
        last = next(commit for commit in reversed(self.commits) if commit.run == said.run)
        await self.both(step.worker, lambda store: store.commit([last]))

    def message(self, step: Step) -> Message:
        kind = (MessageKind.SIGNAL, MessageKind.RESULT)[step.mood % 2]
        id = f"m{step.mood % 4}" if step.pick % 3 == 0 else self.fresh("m")
        return Message(RunId(RUNS[step.pick % 4]), MessageId(id), kind, "n", b"" if step.mood == 0 else b"p", step.mood)

    async def _send(self, step: Step) -> None:
        batch = [self.message(step), replace(self.message(step), run=RunId(RUNS[step.run]))]
        await self.both(step.worker, lambda store: store.send(batch))

    async def controlled(self, step: Step) -> RunId:
        """Any run, or one that may not be there; now and then a blocked one, which only few verbs move on."""
        if step.twist > 9:
            return RunId("fork")
        if step.twist > 5:
            rows = await self.model.get([RunId(id) for id in RUNS])
            for row in rows:
                if row is not None and row.status is RunStatus.BLOCKED:
                    return row.id
        return RunId(RUNS[step.run])

    async def _control(self, step: Step) -> None:
        run = await self.controlled(step)
        (row,) = await self.model.get([run])
        position = 0 if row is None else row.position
        verbs: tuple[Verb, ...] = (
            Cancel("reason", b"", b"cancelled"),
            Cancel("other", b"reason", b""),
            Terminate("reason", b""),
            Pause(),
            Pause(),
            Resume(),
            Resume(),
            Retry(b""),
            Retry(b"order"),
            Fork(replace(self.new(step, (*RUNS, "fork")[step.mood % 5]), replace=None), b"order"),
            Settle(b"settled", position),
            Settle(b"", position + 1),
        )
        verb = verbs[step.pick]
        if step.twist < 5 and row is not None and row.ended:
            verb = Retry(b"order")
        elif step.twist < 9 and row is not None and row.status is RunStatus.BLOCKED:
            verb = (Settle(b"settled", position), Resume(), Settle(b"", 0))[step.mood % 3]
        request = f"request {step.mood}" if step.mood < 2 else self.fresh("request")
        asked = [Control(run, request, verb)]
        await self.both(step.worker, lambda store: store.control(asked))

    async def _advance(self, step: Step) -> None:
        self.clock.advance((0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 14.0, 15.0, 16.0, 30.0, 61.0, 120.0)[step.pick])

    async def _crash(self, step: Step) -> None:
        """The worker's process dies; another takes its place, and soon finds the lease run out."""
        self.grips[step.worker].clear()
        self.last_wants[step.worker] = None
        self.names[step.worker] = self.fresh(f"s{step.worker}")
        self.clock.advance(16.0 * (step.mood % 3))

    async def _jump(self, step: Step) -> None:
        if self.turns_back:
            self.clock.jump(-float(step.pick))

    async def _purge(self, step: Step) -> None:
        query = PurgeQuery(
            ended_before=self.clock.now() - step.mood if step.pick % 2 else None,
            expired=step.pick % 3 == 0,
            runs=(RunId(RUNS[step.run]),) if step.pick % 4 == 0 else (),
            statuses=(RunStatus.COMPLETED,) if step.pick % 5 == 0 else (),
        )
        await self.both(step.worker, lambda store: store.purge(query))

    async def _record(self, step: Step) -> None:
        key = f"k{step.run}"
        keep_seconds = float(step.mood) if step.mood % 2 else None
        expect = (None, 0, 1, 2)[step.pick % 4]
        if step.pick > 8:
            await self.both(step.worker, lambda store: store.delete_record("k", key))
            return
        await self.both(
            step.worker, lambda store: store.put_record("k", key, b"v", expect=expect, keep_seconds=keep_seconds)
        )
