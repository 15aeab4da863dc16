"""Runs a workflow on the core alone: a seed chooses what happens next, and a journal comes out that must replay.

It stands in for worker and store: it executes steps as plain functions, lets time pass, sends signals, ends children,
writes commits, and notes at each activation which calls were made, which were given up and which commands were fired.
It needs nothing but ``durable``, so that other Pythons can run it as a script: ``replay_driver.py check FILE``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable import Retry, Workflow
from durable._author import outcomes
from durable._author.calls import ChildSpec, Scope, SignalSpec, StepSpec
from durable._author.context import Context, Continue
from durable._core import plan
from durable._core.call import Call
from durable._core.inbox import select
from durable._core.state import RunFacts, RunState
from durable._model.commands import Command, StartChild
from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CallKind,
    CancelAsked,
    Entry,
    PatchMarked,
    Settled,
    decode_entry,
    encode_entry,
)
from durable._model.ids import MessageId, RunId
from durable._model.messages import InboxMessage, Message, MessageKind
from durable._model.retry import Failure, next_delay
from durable.codec import Codec, dump_error
from durable.errors import RunFailed

SEED = "5eed0123456789abcdef"
BEGAN = 1_700_000_000.0
RUN = "run-1"

_attempt = 1
DRIVES: list[Drive] = []


def close_all() -> None:
    """Evict what tests have left in memory, as a worker would; else the collector closes it, in the next test."""
    while DRIVES:
        DRIVES.pop().state.close()


def attempt_number() -> int:
    """For steps that fail at first: which attempt this is."""
    return _attempt


@dataclass(frozen=True)
class Program:
    """A workflow, and what the world does to it.

    Attributes:
        signals: (name, JSON payload) in the order in which they are sent.
        children: By workflow name: what the child makes of its arguments.
        cancelled: Whether somebody cancels the run somewhere on its way.
        deadline: Seconds after the begin at which the run's own time limit passes.
        good: What every result must satisfy, whatever the order of events; the exception, where it ends with one.
    """

    name: str
    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    signals: tuple[tuple[str, Any], ...] = ()
    children: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    cancelled: bool = False
    deadline: float | None = None
    good: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class Turn:
    """What one activation did, as the engine sees it."""

    position: int
    now: float
    made: tuple[str, ...]
    given_up: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """One commit.

    Attributes:
        rows: (bytes, at) of the entries it appended.
        flushes: How many commands it took.
        flushed: What it said about them.
    """

    rows: tuple[tuple[bytes, float], ...]
    flushes: int
    flushed: tuple[int, int]


@dataclass
class Recording:
    """A run from its begin to its end."""

    program: str
    commits: list[Written] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    outcome: str = ""
    executed: int = 0

    @property
    def rows(self) -> list[tuple[bytes, float]]:
        return [row for commit in self.commits for row in commit.rows]

    def packed(self) -> dict[str, Any]:
        """As JSON, for another process or another year."""
        return {
            "program": self.program,
            "outcome": self.outcome,
            "commands": self.commands,
            "commits": [[[[d.decode(), at] for d, at in c.rows], c.flushes, list(c.flushed)] for c in self.commits],
            "turns": [[t.position, t.now, list(t.made), list(t.given_up)] for t in self.turns],
        }

    @staticmethod
    def unpacked(data: Mapping[str, Any]) -> Recording:
        commits = [
            Written(tuple((d.encode(), at) for d, at in rows), flushes, (flushed[0], flushed[1]))
            for rows, flushes, flushed in data["commits"]
        ]
        turns = [Turn(p, now, tuple(made), tuple(given_up)) for p, now, made, given_up in data["turns"]]
        return Recording(data["program"], commits, turns, data["commands"], data["outcome"])


class Drive:
    """One state being driven; what a runner is to the engine."""

    def __init__(
        self,
        program: Program,
        *,
        flushed: tuple[int, int] = (0, 0),
        marked: frozenset[str] = frozenset(),
        tolerant: bool = False,
        seed: str = SEED,
    ) -> None:
        deadline = program.deadline
        self.program = program
        self.codec = Codec()
        self.state = RunState(RunFacts(RUN, 1, seed, BEGAN, flushed, tolerant, 0.0, deadline))
        self.context = Context(Scope(self.state, self.codec, "default", 0))
        self.turns: list[Turn] = []
        self.executed: list[str] = []
        self.children: dict[str, str] = {}
        self._marked = marked
        DRIVES.append(self)

    def start(self) -> None:
        workflow = self.program.workflow
        raw = workflow.arguments.dump(self.program.args, {}, "input")
        args, kwargs = workflow.arguments.load(raw, "input")
        self.state.start(lambda: workflow.fn(self.context, *args, **kwargs), self._marked)
        self._turn()

    def apply(self, entry: Entry, at: float) -> None:
        self.state.apply(entry, at)
        self._turn()

    def _turn(self) -> None:
        state = self.state
        made = tuple(f"{c.id} {c.fingerprint} {'' if c.due is None else c.due!r}" for c in state.new_calls)
        self.turns.append(Turn(state.position, state.now, made, tuple(c.id for c in state.abandoned_calls)))
        state.new_calls.clear()
        state.abandoned_calls.clear()
        if state.violation is not None:
            raise state.violation

    def flush(self) -> plan.Flush:
        """Take what the code has fired, as the next commit would."""
        taken = plan.flush(self.state)
        for child in taken.children:
            assert child.parent is not None
            self.children[child.parent.call] = child.workflow
        return taken

    def execute(self, call: Call, now: float) -> Entry:
        """Carry one attempt of a step out: the next entry about it."""
        global _attempt
        spec: StepSpec = call.spec
        number = max(call.failed, call.begun if call.failed >= call.begun else 0) + 1
        self.executed.append(call.id)
        args, kwargs = ((), {}) if spec.step is None else spec.step.arguments.load(call.raw or b"", spec.name)
        _attempt = number
        try:
            result = spec.fn(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = _driven(result)
            raw, loaded = spec.result.round_trip(result, f"result of step {spec.name!r}")
        except Exception as error:
            return self._failed(call, number, error, now)
        call.loaded = loaded
        return Settled(CallKind.STEP, call.id, call.fingerprint, True, self.codec.seal(raw, spec.name), number)

    def _failed(self, call: Call, number: int, error: Exception, now: float) -> Entry:
        error.__traceback__ = None  # its text names lines of this file
        payload = dump_error(error)
        policy: Retry = call.spec.policy.retry
        delay = next_delay(policy, error, Failure(number, now - call.issued_at, 0.5))
        if delay is None:
            return Settled(CallKind.STEP, call.id, call.fingerprint, False, payload, number)
        return AttemptFailed(call.id, call.fingerprint, number, delay, payload)

    def child_outcome(self, call: Call) -> bytes:
        """What a child's run ends with."""
        spec: ChildSpec = call.spec
        document = json.loads(spec.run.input)
        try:
            value = self.program.children[spec.run.workflow](*document)
        except Exception as error:
            error.__traceback__ = None
            return outcomes.failed(dump_error(error))
        return outcomes.completed(json.dumps(value).encode())

    def outcome(self) -> str:
        """How the run has ended, in words that can be compared."""
        result, error = self.state.outcome()
        cause = "" if self.state.cancel_cause is None else f" after {self.state.cancel_cause}"
        return (f"returned {json.dumps(result, default=str)}" if error is None else told(error)) + cause


def told(error: BaseException | None) -> str:
    """An exception with its causes, notes and members."""
    if error is None:
        return ""
    if isinstance(error, Continue):
        return f"continued as {error.workflow.name} {error.raw!r}"
    text = f"raised {type(error).__name__}({', '.join(map(repr, error.args if type(error).__init__ else ()))})"
    if isinstance(error, BaseExceptionGroup):
        text = f"raised {type(error).__name__}({error.message!r}: {'; '.join(told(one) for one in error.exceptions)})"
    if isinstance(error, RunFailed):
        text = f"raised RunFailed({error.run_id})"
    notes = "".join(f" noted {note!r}" for note in getattr(error, "__notes__", ()))
    return text + notes + (f" from {told(error.__cause__)}" if error.__cause__ is not None else "")


def command_text(command: Command) -> str:
    """A command with everything in it."""
    return repr(dataclasses.astuple(command)) if not isinstance(command, StartChild) else repr(command.run)


def _driven(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("an async step of the catalogue must not wait")


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Recorder:
    """Lets a seed choose, until the run has ended."""

    def __init__(self, program: Program, seed: int) -> None:
        self.random = random.Random(seed)
        self.drive = Drive(program)
        self.now = BEGAN
        self.inbox: list[InboxMessage] = []
        self.unsent = [
            Message(RunId(RUN), MessageId(f"m{n}"), MessageKind.SIGNAL, name, json.dumps(payload).encode())
            for n, (name, payload) in enumerate(program.signals)
        ]
        self.to_cancel = program.cancelled
        self.ended_children: set[str] = set()
        self.arrived = 0
        self.recording = Recording(program.name)

    def record(self) -> Recording:
        drive, state = self.drive, self.drive.state
        drive.start()
        for _ in range(2_000):
            if state.fired and self.random.random() < 0.5:
                self._commit([])
            if state.finished:
                break
            self._commit(self._happens())
        while state.fired:
            self._commit([])
        assert state.finished, f"{self.drive.program.name} waits for ever: {list(state.calls)}"
        self.recording.turns = drive.turns
        self.recording.outcome = drive.outcome()
        self.recording.executed = len(drive.executed)
        return self.recording

    def _happens(self) -> list[Entry]:
        """Something in the world; the outcomes of attempts come back as entries."""
        state, dice = self.drive.state, self.random
        calls = list(state.calls.values())
        steps = [c for c in calls if c.kind is CallKind.STEP and (c.retry_at is None or c.retry_at <= self.now)]
        children = [c for c in calls if c.kind is CallKind.CHILD and c.id not in self.ended_children]
        wakes = [at for c in calls if (at := c.due if c.kind is CallKind.TIMER else c.retry_at) is not None]
        choices = ["step"] * (3 * bool(steps)) + ["child"] * bool(children) + ["signal"] * bool(self.unsent)
        choices += ["wake"] * bool(wakes) + ["cancel"] * self.to_cancel
        if not choices:
            return []
        match dice.choice(choices):
            case "step":
                self.now += dice.choice([0.0, 0.001, 0.2, 1.5])
                chosen = dice.sample(steps, min(len(steps), dice.choice([1, 1, 2])))
                notes: list[Entry] = [
                    AttemptBegun(c.id, c.fingerprint, c.failed + 1, None) for c in chosen if dice.random() < 0.2
                ]
                return notes + [self.drive.execute(call, self.now) for call in chosen]
            case "child":
                call = dice.choice(children)
                self.ended_children.add(call.id)
                outcome = self.drive.child_outcome(call)
                self._arrive(Message(RunId(RUN), MessageId(f"r/{call.id}"), MessageKind.RESULT, call.id, outcome, 1))
            case "signal":
                self._arrive(self.unsent.pop(0))
            case "cancel":
                self.to_cancel = False
                self._arrive(Message(RunId(RUN), MessageId("c"), MessageKind.CANCEL, "cancel", b'"enough"'))
            case _:
                self.now = max(self.now, min(wakes))
        return []

    def _arrive(self, message: Message) -> None:
        self.arrived += 1
        self.inbox.append(InboxMessage(message, self.arrived, self.now))

    def _commit(self, happened: list[Entry]) -> None:
        drive, state = self.drive, self.drive.state
        taken = drive.flush()
        entries = list(taken.notes)
        if taken.complete and not state.finished:
            chosen = select(state, self.inbox, self.now, self._unreadable)
            gone = {*chosen.consumed, *(letter.id for letter in chosen.dead)}
            self.inbox = [item for item in self.inbox if item.message.id not in gone]
            entries += chosen.entries + [e for e in happened if e.call in state.calls]  # type: ignore[union-attr]
        self.now += 0.000_25
        self.recording.commands += [command_text(c) for c in state.fired[: taken.count]]
        rows = tuple((encode_entry(entry), self.now) for entry in entries)
        self.recording.commits.append(Written(rows, taken.count, taken.flushed))
        state.taken(taken.count, taken.flushed)
        for entry in entries:
            drive.apply(entry, self.now)

    def _unreadable(self, call: Call, payload: bytes) -> str | None:
        spec: SignalSpec = call.spec
        try:
            spec.value_type.load(payload, "signal")
        except Exception as error:
            return str(error)
        return None


def record(program: Program, seed: int) -> Recording:
    """One run, its order of events chosen by a seed."""
    return Recorder(program, seed).record()


# ── replaying ────────────────────────────────────────────────────────────────────────────────────────────────────────


def marks(rows: Sequence[tuple[bytes, float]]) -> frozenset[str]:
    """The changes that these entries mark."""
    return frozenset(e.change for e in (decode_entry(data) for data, _ in rows) if isinstance(e, PatchMarked))


def replayed(
    program: Program, rows: Sequence[tuple[bytes, float]], flushed: tuple[int, int] = (0, 0), **options: Any
) -> Drive:
    """A fresh state brought to the end of these rows."""
    drive = Drive(program, flushed=flushed, marked=marks(rows), **options)
    drive.start()
    for data, at in rows:
        drive.apply(decode_entry(data), at)
    return drive


def assert_replays(program: Program, recording: Recording) -> None:
    """The whole journal, without any effect: the same calls in the same order, nothing fired, the same end."""
    flushed = recording.commits[-1].flushed if recording.commits else (0, 0)
    drive = replayed(program, recording.rows, flushed)
    assert drive.turns == recording.turns
    assert drive.executed == []
    assert drive.state.fired == []
    assert drive.state.finished
    assert drive.outcome() == recording.outcome
    drive.state.close()


def assert_replays_from_everywhere(program: Program, recording: Recording) -> None:
    """From every state that the store was ever in, and from the middle of every commit."""
    rows = recording.rows
    for length in range(len(rows) + 1):
        drive = replayed(program, rows[:length])
        assert drive.turns == recording.turns[: length + 1], f"prefix {length}"
        drive.state.close()
    for done in range(len(recording.commits) + 1):
        _go_on(program, recording, done)


def _go_on(program: Program, recording: Recording, done: int) -> None:
    """A crash after ``done`` commits: what another worker replays, and how it goes on to the end."""
    before, after = recording.commits[:done], recording.commits[done:]
    flushed = before[-1].flushed if before else (0, 0)
    drive = replayed(program, [row for commit in before for row in commit.rows], flushed)
    state = drive.state
    commands = recording.commands[: sum(commit.flushes for commit in before)]
    for commit in after:
        taken = drive.flush()
        assert taken.count == commit.flushes, f"after {done} commits"
        commands += [command_text(command) for command in state.fired[: taken.count]]
        state.taken(taken.count, taken.flushed)
        entries = [decode_entry(data) for data, _ in commit.rows]
        begun = [_again(drive, entry, row) for entry, row in zip(entries, commit.rows, strict=True)]
        for entry, (data, at) in zip(begun, commit.rows, strict=True):
            assert encode_entry(entry) == data
            drive.apply(entry, at)
    assert drive.turns == recording.turns
    assert commands == recording.commands
    assert drive.outcome() == recording.outcome
    drive.state.close()


def _again(drive: Drive, entry: Entry, row: tuple[bytes, float]) -> Entry:
    """What the world answers this time; it answers as before."""
    call = drive.state.calls.get(getattr(entry, "call", None))  # type: ignore[arg-type]
    if call is None or isinstance(entry, AttemptBegun | PatchMarked | CancelAsked):
        return entry
    if call.kind is CallKind.STEP:
        return drive.execute(call, row[1] - 0.000_25)
    return entry


# ── as a script: another Python, another hash seed ───────────────────────────────────────────────────────────────────


@functools.cache
def find_interpreters() -> list[str]:
    """Other supported Pythons of this machine that can import pydantic: those that DURABLE_PYTHONS names (paths, with
    the separator of PATH), on PATH, and of pyenv."""
    named = [path for path in os.environ.get("DURABLE_PYTHONS", "").split(os.pathsep) if path]
    for version in ("3.11", "3.12", "3.13", "3.14"):
        named.append(shutil.which(f"python{version}") or "")
        named += sorted(map(str, Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin/python")))
    found: dict[str, str] = {}
    probe = "import sys, importlib.util as u; print(*sys.version_info[:2], sep='.') if u.find_spec('pydantic') else 0"
    for path in filter(None, named):
        done = subprocess.run([path, "-c", probe], capture_output=True, text=True)
        if done.stdout.strip() not in ("", f"{sys.version_info[0]}.{sys.version_info[1]}"):
            found.setdefault(done.stdout.strip(), path)
    return list(found.values())


def find(programs: Sequence[Program], name: str) -> Program:
    return next(program for program in programs if program.name == name)


def _recordings(programs: Sequence[Program], seeds: Sequence[int]) -> Iterator[Recording]:
    for program in programs:
        for seed in seeds:
            yield record(program, seed)


def main(arguments: Sequence[str]) -> None:
    """``record FIRST COUNT [PROGRAM ...]`` prints recordings, one per line; ``check FILE`` replays them and counts."""
    from replay_programs import PROGRAMS

    if arguments[0] == "record":
        first, many, *names = arguments[1:]
        programs = [program for program in PROGRAMS if not names or program.name in names]
        for recording in _recordings(programs, range(int(first), int(first) + int(many))):
            print(json.dumps(recording.packed(), separators=(",", ":")))
        return
    count = 0
    with open(arguments[1], encoding="utf-8") as lines:
        for line in lines:
            recording = Recording.unpacked(json.loads(line))
            assert_replays(find(PROGRAMS, recording.program), recording)
            close_all()
            count += 1
    print(count)


if __name__ == "__main__":
    sys.modules["replay_driver"] = sys.modules["__main__"]
    main(sys.argv[1:])
