"""A run's journal told to the conductor again: where each step stands, from what has been written anyway. Pure.

Law: nothing is written for the sake of views. The interpreter gives each question a task, and tasks are numbered in the
order of their creation; so the path in a call's identity leads back to the question, and the answer to the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, final

from durable import HistoryEntry
from durable_dag.errors import ScheduleTimeout
from durable_dag.graph.backoff import another
from durable_dag.running.calls import AGAIN, PICK_UP
from durable_dag.running.interpreter import LOAD, OUTPUT, TIME, VERDICT
from durable_dag.running.turns import LEAVE, SLOT
from durable_dag.scheduling.commands import Answer, Child, Err, Many, Ok, Sleep
from durable_dag.scheduling.conductor import Conductor, Issue
from durable_dag.scheduling.settling import SETTLE
from durable_dag.scheduling.tally import Tally

Json: TypeAlias = Any

__all__ = ["Attempt", "Begin", "Story", "StepStory", "error_of"]


NOTE_AFTER: Final = timedelta(seconds=0.1)
"""An attempt that lasts so long is noted in the journal."""


@dataclass(slots=True)
class Begin:
    """What is known of an attempt's begin.

    Attributes:
        earliest: It was asked for then, or the back-off before it was over.
        noted: When a note that it had begun was written; None if it has (or had) not lasted long enough for one.
    """

    earliest: datetime | None = None
    noted: datetime | None = None

    @property
    def latest(self) -> datetime | None:
        """It had begun by then; None if there is no note."""
        if self.noted is None:
            return None
        latest = self.noted - NOTE_AFTER
        return latest if self.earliest is None else max(latest, self.earliest)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that has ended.

    Attributes:
        not_before: If another follows: when the back-off after this one is over.
    """

    number: int
    ended: datetime
    status: str
    error: str | None = None
    item: int | None = None
    begin: Begin = field(default_factory=Begin)
    not_before: datetime | None = None


@dataclass(slots=True)
class StepStory:
    """What the journal says of one step beyond its outcome.

    Attributes:
        begun: The highest attempt that is known to have begun.
        call: Identity of the call that it waits for, or that it ended with; empty if it has made none.
        done: Of how many items of a map the outcome is known.
        begins: Of the attempts that have not ended, by item of a map.
    """

    attempts: list[Attempt] = field(default_factory=list)
    begun: int = 0
    call: str = ""
    progress: Json = None
    done: int = 0
    begins: dict[int | None, Begin] = field(default_factory=dict)


@final
class Story:
    """The conductor's state after a journal.

    Attributes:
        steps: By id, for those that have begun.
        ended_at: When each step ended that never began, and each other one, by id.
        verdict: Identity of the last question whether to try again; None if it was never asked.
        rounds: How often the run has come to a failed end.
        cancelled: Whether it was asked to end.
        told: How often a step has ended: so many messages its webhooks have had.
        refused: Identity of the question that was answered: there is no slot, and the policy is not to wait.
    """

    def __init__(self, conductor: Conductor, started: datetime, timed: bool) -> None:
        self.conductor = conductor
        self.steps: dict[str, StepStory] = {}
        self.ended_at: dict[str, datetime] = {}
        self.verdict: str | None = None
        self.rounds = 0
        self.cancelled = False
        self.told = 0
        self._asked: dict[int, datetime] = {}
        self._timed = timed
        self.refused: str | None = None
        self._next: Json = _FIRST
        self._issues: dict[str, Issue] = {}
        self._timers: set[str] = set()
        self._tallies: dict[int, Tally] = {}
        self._attempts: dict[tuple[int, int], int] = {}
        self._tasks = 0
        if conductor.plan.definition.concurrency is None:
            self._round(started)

    def tell(self, rows: Sequence[HistoryEntry]) -> None:
        """Take entries in journal order."""
        for row in rows:
            self._row(row)

    def issue_of(self, call: str) -> Issue | None:
        """The question that a call belongs to."""
        return self._issues.get(".".join(call.partition("/")[0].split(".")[:2]))

    def asked(self, id: str) -> datetime | None:
        """When what a step waits for now was asked for; None if it waits for nothing."""
        record = self.conductor.records.get(id)
        return None if record is None or record.issue is None else self._asked.get(record.issue.number)

    @property
    def waits_for_slot(self) -> bool:
        """Whether nothing (more) begins before the run holds a slot."""
        return self._next is not None and self.refused is None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _round(self, at: datetime) -> None:
        """The run begins, or does again what a retry asks for."""
        again, self._next = self._next, None
        self._arm()
        if again is _FIRST:
            self._took(self.conductor.begin(at), at)
        else:
            self._took(self.conductor.again(again["steps"], again.get("context") or {}, at), at)

    def _slot(self, row: HistoryEntry) -> None:
        if row.event == "step_completed" and row.name.partition("#")[0] == SLOT:
            self.refused = row.call if row.value["rejected"] else None
            if row.value["held"] and self._next is not None:
                self._round(row.at)

    def _row(self, row: HistoryEntry) -> None:
        if row.event == "cancelled":
            self.cancelled = True
            return
        path = row.call.partition("/")[0]
        if path in self._timers and row.event == "timer_fired" and row.name == TIME:
            if not self.conductor.over:
                self.conductor.stop(row.at)
                self._took([], row.at)
        elif row.name.partition("#")[0] == VERDICT and path == "0":
            self._verdict(row)
        elif row.name.partition("#")[0] == SETTLE and "." not in path:
            self._took(self.conductor.settle(row.value, row.at), row.at)
        elif row.name.partition("#")[0] in (SLOT, LEAVE) and path == "0":
            self._slot(row)
        elif row.name == OUTPUT and path == "0":
            self.conductor.scripts = row.value or []
        elif row.name.partition("#")[0] != LOAD or path != "0":
            self._answer(row, path)

    def _verdict(self, row: HistoryEntry) -> None:
        if row.event != "step_completed":
            return
        self.verdict = row.call
        self.rounds += 1
        if row.value is not None:
            self._next = row.value
            if self.conductor.plan.definition.concurrency is None:
                self._round(row.at)

    def _answer(self, row: HistoryEntry, path: str) -> None:
        issue = self.issue_of(row.call)
        if issue is None:
            return
        step = self.steps.setdefault(issue.step, StepStory())
        item = _item(path, issue)
        if row.name.partition("#")[0] != PICK_UP:
            self._note(step, row, issue, item)
        answer = _answer_of(row, issue)
        if answer is None or (item is not None and self._is_tried_again(issue, item, answer)):
            return
        if isinstance(issue.command, Many) and item is not None:
            tally = self._tallies.get(issue.number)
            if tally is None:
                tally = self._tallies[issue.number] = Tally(len(issue.command.calls), issue.command.allowed)
            total = tally.add(item, answer)
            step.done = tally.done
            if total is None:
                return
            answer = total
        self._took(self.conductor.answer(issue.number, answer, row.at), row.at)

    def _is_tried_again(self, issue: Issue, item: int, answer: Answer) -> bool:
        """Whether a child of a map is, as its run decides it."""
        call = issue.command.calls[item] if isinstance(issue.command, Many) else None
        if not isinstance(call, Child) or isinstance(answer, Ok):
            return False
        attempt = self._attempts[issue.number, item] = self._attempts.get((issue.number, item), 0) + 1
        return another(call.retry, attempt, answer.name) is not None

    def _note(self, step: StepStory, row: HistoryEntry, issue: Issue, item: int | None) -> None:
        step.call = row.call
        if row.name.partition(":")[0] in ("when", "render") or row.event in ("timer_fired", "signal_received"):
            return
        begin = step.begins.setdefault(item, Begin(self._asked.get(issue.number)))
        if row.event == "attempt_begun":
            step.begun = max(step.begun, row.attempt)
            step.progress = row.value if row.value is not None else step.progress
            begin.noted = begin.noted or row.at
        elif row.event == "attempt_failed":
            step.begun = max(step.begun, row.attempt)
            step.attempts.append(Attempt(row.attempt, row.at, "failed", row.error, item, begin, row.not_before))
            step.begins[item] = Begin(row.not_before)
        elif row.event in ("step_completed", "step_failed"):
            step.begun = max(step.begun, row.attempt)
            word = "success" if row.event == "step_completed" else "failed"
            step.attempts.append(Attempt(max(row.attempt, 1), row.at, word, row.error, item, begin))
            del step.begins[item]
        elif row.event == "child_ended" and isinstance(issue.command, Child):
            step.begun += 1
            word = "success" if row.error is None else "failed"
            step.attempts.append(Attempt(step.begun, row.at, word, row.error, None, begin))
            del step.begins[item]

    def _took(self, issues: Sequence[Issue], at: datetime) -> None:
        for issue in issues:
            self._issues[f"0.{self._tasks}"] = issue
            self._tasks += 1
            self._asked[issue.number] = at
            self.steps.setdefault(issue.step, StepStory()).begins.clear()
        for id in self.conductor.take_news():
            self.ended_at[id] = at
            self.told += 1
        self.conductor.dropped.clear()
        self.conductor.detached.clear()

    def _arm(self) -> None:
        if self._timed:
            self._timers.add(f"0.{self._tasks}")
            self._tasks += 1


_FIRST: Final = object()


def _item(path: str, issue: Issue) -> int | None:
    """The place of an item's task within a map's."""
    parts = path.split(".")
    if not isinstance(issue.command, Many) or len(parts) < 3 or not parts[2].isdecimal():
        return None
    return int(parts[2])


def _answer_of(row: HistoryEntry, issue: Issue) -> Answer | None:
    if row.name.partition("#")[0] == PICK_UP:
        late = row.value if row.event == "step_completed" else None
        return None if late is None else Err(ScheduleTimeout.__name__, late)
    if row.name.partition("#")[0] == AGAIN:
        return None
    match row.event:
        case "step_completed" | "signal_received":
            return Ok(row.value)
        case "step_failed":
            return error_of(row.error)
        case "child_ended":
            return Ok(row.value) if row.error is None else error_of(row.error)
        case "timer_fired":
            return Ok() if isinstance(issue.command, Sleep) else Err("TimeoutError", "")
        case _:
            return None


def error_of(line: str | None) -> Err:
    """``HttpStatusError: POST ... answered 500``, in its parts."""
    name, mark, message = (line or "").partition(": ")
    if mark and name.replace("_", "").isalnum():
        return Err("RunCancelled" if name == "cancelled" else name, message)
    return Err("Error" if mark else name or "Error", line or "" if mark else "")
