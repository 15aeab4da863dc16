"""A run's journal told to the conductor again: where each step stands, from what has been written anyway. Pure.

Law: nothing is written for the sake of views. The interpreter gives each question a task, and tasks are numbered in the
order of their creation; so the path in a call's identity leads back to the question, and the answer to the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, final

from durable import HistoryEntry
from durable_dag.commands import Answer, Child, Err, Many, Ok, Sleep
from durable_dag.conductor import Conductor, Issue
from durable_dag.interpreter import LOAD, TIME, VERDICT
from durable_dag.tally import Tally

Json: TypeAlias = Any

__all__ = ["Attempt", "Story", "StepStory", "error_of"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that has ended."""

    number: int
    ended: datetime
    status: str
    error: str | None = None
    item: int | None = None


@dataclass(slots=True)
class StepStory:
    """What the journal says of one step beyond its outcome.

    Attributes:
        begun: The highest attempt that is known to have begun.
        call: Identity of the call that it waits for, or that it ended with; empty if it has made none.
        done: Of how many items of a map the outcome is known.
    """

    attempts: list[Attempt] = field(default_factory=list)
    begun: int = 0
    call: str = ""
    progress: Json = None
    done: int = 0


@final
class Story:
    """The conductor's state after a journal.

    Attributes:
        steps: By id, for those that have begun.
        ended_at: When each step ended that never began, and each other one, by id.
        verdict: Identity of the last question whether to try again; None if it was never asked.
        rounds: How often the run has come to a failed end.
        cancelled: Whether it was asked to end.
    """

    def __init__(self, conductor: Conductor, started: datetime, timed: bool) -> None:
        self.conductor = conductor
        self.steps: dict[str, StepStory] = {}
        self.ended_at: dict[str, datetime] = {}
        self.verdict: str | None = None
        self.rounds = 0
        self.cancelled = False
        self._timed = timed
        self._issues: dict[str, Issue] = {}
        self._timers: set[str] = set()
        self._tallies: dict[int, Tally] = {}
        self._tasks = 0
        self._arm()
        self._took(conductor.begin(started), started)

    def tell(self, rows: Sequence[HistoryEntry]) -> None:
        """Take entries in journal order."""
        for row in rows:
            self._row(row)

    def issue_of(self, call: str) -> Issue | None:
        """The question that a call belongs to."""
        return self._issues.get(".".join(call.partition("/")[0].split(".")[:2]))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

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
        elif row.name.partition("#")[0] != LOAD or path != "0":
            self._answer(row, path)

    def _verdict(self, row: HistoryEntry) -> None:
        if row.event != "step_completed":
            return
        self.verdict = row.call
        self.rounds += 1
        if row.value is not None:
            self._arm()
            again = row.value
            self._took(self.conductor.again(again["steps"], again.get("context") or {}, row.at), row.at)

    def _answer(self, row: HistoryEntry, path: str) -> None:
        issue = self.issue_of(row.call)
        if issue is None:
            return
        step = self.steps.setdefault(issue.step, StepStory())
        item = _item(path, issue)
        self._note(step, row, issue, item)
        answer = _answer_of(row, issue)
        if answer is None:
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

    def _note(self, step: StepStory, row: HistoryEntry, issue: Issue, item: int | None) -> None:
        step.call = row.call
        if row.name.partition(":")[0] in ("when", "render"):
            return
        if row.event == "attempt_begun":
            step.begun = max(step.begun, row.attempt)
            step.progress = row.value if row.value is not None else step.progress
        elif row.event == "attempt_failed":
            step.begun = max(step.begun, row.attempt)
            step.attempts.append(Attempt(row.attempt, row.at, "failed", row.error, item))
        elif row.event in ("step_completed", "step_failed"):
            step.begun = max(step.begun, row.attempt)
            word = "success" if row.event == "step_completed" else "failed"
            step.attempts.append(Attempt(max(row.attempt, 1), row.at, word, row.error, item))
        elif row.event == "child_ended" and isinstance(issue.command, Child):
            step.begun += 1
            word = "success" if row.error is None else "failed"
            step.attempts.append(Attempt(step.begun, row.at, word, row.error))

    def _took(self, issues: Sequence[Issue], at: datetime) -> None:
        for issue in issues:
            self._issues[f"0.{self._tasks}"] = issue
            self._tasks += 1
            self.steps.setdefault(issue.step, StepStory())
        for id in self.conductor.take_news():
            self.ended_at[id] = at
        self.conductor.dropped.clear()
        self.conductor.detached.clear()

    def _arm(self) -> None:
        if self._timed:
            self._timers.add(f"0.{self._tasks}")
            self._tasks += 1


def _item(path: str, issue: Issue) -> int | None:
    """The place of an item's task within a map's."""
    parts = path.split(".")
    if not isinstance(issue.command, Many) or len(parts) < 3 or not parts[2].isdecimal():
        return None
    return int(parts[2])


def _answer_of(row: HistoryEntry, issue: Issue) -> Answer | None:
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
