"""Marks: rare moments that a long run of simulations must have seen, or it has proved less than it says.

Each is a fact about one trace. A soak counts in how many simulations each was reached, and fails if one never was.
"""

from __future__ import annotations

from typing import Any, Final, final

from durable._model.entries import CancelAsked, decode_entry
from durable.store import (
    Blocked,
    Cancel,
    Claim,
    Commit,
    Committed,
    Continued,
    MessageKind,
    Running,
    Sent,
    VerbOutcome,
    Verdict,
    Waiting,
)
from durable_testing.trace import Event, Trace

__all__ = ["MARKS", "marks_of"]

MARKS: Final = (
    "a zombie's write was refused",
    "a lost acknowledgement was found out",
    "a worker heard that its run was lost",
    "a signal came before the first activation",
    "a signal and a due timer were found by one claim",
    "a cancel came too late",
    "a cancel was carried out",
    "a lease was taken in the middle of a gather",
    "a worker died during recovery",
    "a worker died in quarantine",
    "a timer came due while its run was out of memory",
    "a child's result came while its parent was at work",
    "a run continued as new with signals unread",
    "a write conflict was tried again",
    "a page boundary lay inside a journal that was replayed",
    "an at-most-once step was cut",
    "changed code was found out",
    "a run waited for code that nobody had",
    "the store's clock stepped back while a timer ran",
    "a drain ended before a step did",
    "the same poll was answered twice",
    "a commit was not due yet",
)


def marks_of(trace: Trace) -> set[str]:
    """The marks that this simulation reached."""
    seen = _Watcher()
    for event in trace:
        seen.see(event)
    return seen.marks


@final
class _Watcher:
    """One pass over a trace, with what must be remembered for it."""

    def __init__(self) -> None:
        self.marks: set[str] = set()
        self._fresh: dict[str, tuple[str, int, bool]] = {}  # run -> actor, epoch, lonely: claimed, no commit yet
        self._owner: dict[str, str] = {}
        self._gone: set[str] = set()  # actors that are dead
        self._wake: dict[str, float] = {}
        self._unread: dict[str, set[str]] = {}
        self._claimed: set[str] = set()
        self._calls: dict[str, set[str]] = {}  # run -> calls whose step has begun and not ended
        self._draining: set[str] = set()
        self._conflicts: set[str] = set()
        self._polls: set[str] = set()
        self._evicted: set[str] = set()
        self._waiting_for_code: set[str] = set()
        self._registered: set[str] = set()

    def see(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "up":
                self._registered |= {name for name, _ in data["registered"]}
            case "down":
                self._died(event.actor)
            case "drain":
                self._draining.add(event.actor)
            case "evict":
                self._evicted.add(event.actor)
            case "fault" if "set-back" in data["what"] and any(at > event.at for at in self._wake.values()):
                self.marks.add("the store's clock stepped back while a timer ran")
            case "step.begin":
                self._calls.setdefault(data["run"], set()).add(data["call"])
            case "step.end":
                if event.actor in self._draining and data["error"] == "CancelledError":
                    self.marks.add("a drain ended before a step did")
                self._calls.get(data["run"], set()).discard(data["call"])
            case "end" if data["error"] == "WriteConflict":
                self._conflicts.add(event.actor)
            case "effect":
                self._effect(event, data)
            case _:
                pass

    def _died(self, actor: str) -> None:
        self._gone.add(actor)
        for holder, epoch, lonely in self._fresh.values():
            if holder == actor and epoch > 1:
                self.marks.add("a worker died during recovery")
            if holder == actor and lonely:
                self.marks.add("a worker died in quarantine")

    def _effect(self, event: Event, data: dict[str, Any]) -> None:
        asked, answer = data["asked"], data["answer"]
        match data["method"]:
            case "create":
                if self._registered:
                    self._waiting_for_code |= {new.id for new in asked[0] if new.workflow not in self._registered}
            case "send":
                for message, sent in zip(asked[0], answer, strict=True):
                    if message.kind is MessageKind.SIGNAL and sent is Sent.ACCEPTED:
                        self._unread.setdefault(message.run, set()).add(message.id)
                        if message.run not in self._claimed:
                            self.marks.add("a signal came before the first activation")
            case "control":
                for control, done in zip(asked[0], answer, strict=True):
                    if isinstance(control.verb, Cancel) and done.outcome is VerbOutcome.NOT_ALLOWED:
                        self.marks.add("a cancel came too late")
            case "journal" if answer.next is not None:
                self.marks.add("a page boundary lay inside a journal that was replayed")
            case "poll":
                self._poll(event, asked[1].poll_id, answer)
            case "commit":
                if event.actor in self._conflicts:
                    self.marks.add("a write conflict was tried again")
                for commit, committed in zip(asked[0], answer, strict=True):
                    self._commit(commit, committed)
            case _:
                pass

    def _poll(self, event: Event, poll_id: str, answer: Any) -> None:
        if poll_id in self._polls:
            self.marks.add("the same poll was answered twice")
        self._polls.add(poll_id)
        if answer.lost:
            self.marks.add("a worker heard that its run was lost")
        for message in answer.messages:
            if message.message.kind is MessageKind.RESULT:
                self.marks.add("a child's result came while its parent was at work")
        for claim in answer.claims:
            self._claim(event.actor, claim, answer.now)

    def _claim(self, actor: str, claim: Claim, now: float) -> None:
        run = claim.run
        due = self._wake.get(run.id, now + 1.0) <= now
        if due and any(item.message.kind is MessageKind.SIGNAL for item in claim.messages):
            self.marks.add("a signal and a due timer were found by one claim")
        if due and actor in self._evicted and run.position > 0:
            self.marks.add("a timer came due while its run was out of memory")
        before = self._owner.get(run.id)
        if before not in (None, actor) and before not in self._gone and len(self._calls.get(run.id, ())) > 1:
            self.marks.add("a lease was taken in the middle of a gather")
        if run.id in self._waiting_for_code:
            self.marks.add("a run waited for code that nobody had")
        self._calls.pop(run.id, None)
        self._claimed.add(run.id)
        self._owner[run.id] = actor
        self._fresh[run.id] = (actor, run.epoch, claim.lonely)

    def _commit(self, commit: Commit, answer: Committed) -> None:
        match answer.verdict:
            case Verdict.LEASE_LOST:
                self.marks.add("a zombie's write was refused")
                return
            case Verdict.ALREADY_APPLIED:
                self.marks.add("a lost acknowledgement was found out")
            case Verdict.NOT_DUE:
                self.marks.add("a commit was not due yet")
                return
            case Verdict.APPLIED:
                pass
        self._fresh.pop(commit.run, None)
        self._wake.pop(commit.run, None)
        unread = self._unread.get(commit.run, set())
        unread -= set(commit.consumed)
        then = commit.then
        if isinstance(then, Waiting) and then.wake_at is not None:
            self._wake[commit.run] = then.wake_at
        if isinstance(then, Continued) and unread:
            self.marks.add("a run continued as new with signals unread")
        if isinstance(then, Blocked) and then.kind == "unknown_outcome":
            self.marks.add("an at-most-once step was cut")
        if isinstance(then, Blocked) and then.kind == "non_determinism":
            self.marks.add("changed code was found out")
        if not isinstance(then, Running):
            self._owner.pop(commit.run, None)
        for data in commit.append:
            if isinstance(decode_entry(data), CancelAsked):
                self.marks.add("a cancel was carried out")
