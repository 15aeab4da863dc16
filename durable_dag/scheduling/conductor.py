"""One run of a definition as a machine: answers in, things to be asked out. Pure.

Law: the same answers in the same order ask the same things, numbered in the same order. The interpreter gives each
thing that is asked a task of its own, so its number is its place in the journal; the view reads it back from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias, final

from durable_dag.graph.plan import Plan
from durable_dag.scheduling.board import Board, Outcome
from durable_dag.scheduling.commands import Answer, Child, Command, Err, Work
from durable_dag.scheduling.life import Ending, Steps, life, script
from durable_dag.scheduling.scope import Facts, Scope, Scopes, scripts_in
from durable_dag.scheduling.settling import ending_of

Json: TypeAlias = Any

__all__ = ["Conductor", "Issue", "Record"]


@dataclass(frozen=True, slots=True)
class Issue:
    """A thing that is asked.

    Attributes:
        number: Counted from 0 over the whole run.
        attempt: Of the run in which it was asked.
    """

    number: int
    step: str
    command: Command
    attempt: int


@dataclass(slots=True)
class Record:
    """What is known of a step that has begun, in its latest attempt of the run.

    Attributes:
        issue: What it waits for now; None if for nothing.
    """

    started: datetime
    ended: datetime | None = None
    ending: Ending | None = None
    issue: Issue | None = None


@final
class Conductor:
    """Leads the steps of one run.

    Args:
        given: Results of steps that need not be done, because another run has done them: ``{"value", "branch"}`` by id.

    Attributes:
        stopped: The run's time was over before its steps were.
        scripts: The values of the output template's JavaScript expressions.
        detached: Children to be started that nobody awaits; whoever drives empties the list.
        dropped: Numbers of issues whose answers are of no interest any more; likewise.
    """

    def __init__(
        self, plan: Plan, facts: Facts, context: Mapping[str, Json], given: Mapping[str, Json] | None = None
    ) -> None:
        self.plan = plan
        self._given = dict(given or {})
        self.board = Board(plan)
        self.scopes = Scopes(plan, facts, dict(context))
        self.records: dict[str, Record] = {}
        self.scripts: list[Json] = []
        self.detached: list[Child] = []
        self.dropped: list[int] = []
        self._lives: dict[str, Steps] = {}
        self._open: dict[int, Issue] = {}
        self._count = 0
        self._settled: list[str] = []
        self._now: datetime | None = None
        self.stopped = False

    # ── moves ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now: datetime) -> list[Issue]:
        """What is asked first."""
        self._now = now
        return self._start(self.board.begin())

    def answer(self, number: int, answer: Answer, now: datetime) -> list[Issue]:
        """What is asked upon an answer; one that nobody waits for any more asks nothing."""
        self._now = now
        issue = self._open.pop(number, None)
        if issue is None:
            return []
        return self._go_on(issue.step, self._lives[issue.step], answer)

    def settle(self, said: Json, now: datetime) -> list[Issue]:
        """What is asked when somebody has said what became of a step; nothing if it is not under way."""
        self._now = now
        if not isinstance(said, dict) or said.get("attempt") != self.scopes.facts.attempt:
            return []
        step = self.plan.steps.get(str(said.get("step")))
        ending = None if step is None else ending_of(said, step)
        if step is None or ending is None or self.board.place(step.id).standing not in ("running", "ready"):
            return []
        self.records.setdefault(step.id, Record(now))
        self._let_go(step.id)
        return self._start(self._settle(step.id, ending))

    def stop(self, now: datetime) -> None:
        """The run's time is over."""
        self._now = now
        self.stopped = True
        self.board.stop()
        self._drop()

    def again(self, ids: Iterable[str], context: Mapping[str, Json], now: datetime) -> list[Issue]:
        """Do steps anew that have ended; what is asked then.

        Args:
            context: Members that replace those of the start's context.
        """
        self._now = now
        self.stopped = False
        chosen = list(ids)
        facts = self.scopes.facts
        self.scopes.facts = replace(facts, attempt=facts.attempt + 1)
        self.scopes.initial |= context
        for id in chosen:
            self.scopes.outputs.pop(id, None)
            self.records.pop(id, None)
        return self._start(self.board.again(chosen))

    # ── what can be asked ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def over(self) -> bool:
        """Whether every step has ended."""
        return self.board.all_over

    @property
    def failed(self) -> bool:
        """Whether the run, if it ended now, would have failed."""
        return self.stopped or bool(self.board.blocking)

    def failure_text(self) -> str:
        """Why it failed, in one line."""
        if self.stopped:
            return f"the run took longer than its limit of {self.plan.definition.timeout:g} ms"
        told = []
        for id in self.board.blocking[:3]:
            record = self.records.get(id)
            error = None if record is None or record.ending is None else record.ending.error
            told.append(id if error is None else f"{id}: {error.text[:300]}")
        more = len(self.board.blocking) - len(told)
        return "; ".join(told) + (f"; and {more} more" if more > 0 else "")

    @property
    def issues(self) -> Mapping[int, Issue]:
        """What is under way, by number."""
        return self._open

    def take_news(self) -> list[str]:
        """Steps that have ended since this was last asked, in that order."""
        news, self.board.news = self.board.news, []
        return news

    def result_of(self, id: str) -> Json:
        """What a step that has succeeded came to; None for others."""
        record = self.records.get(id)
        return None if record is None or record.ending is None else record.ending.value

    def output(self) -> Json:
        """What the run comes to: the ``output`` template's value, or the results of the leaves that succeeded.

        Raises:
            TemplateUnresolved: The template asks for what is not there.
        """
        definition = self.plan.definition
        if definition.has_output:
            scripts = dict(zip(scripts_in(definition.output), self.scripts, strict=False))
            return Scope(self.scopes, None, {}).render(definition.output, scripts).value
        return {id: self.result_of(id) for id in self.plan.leaves if self.board.place(id).standing == "success"}

    def output_work(self) -> Work | None:
        """What the output's template needs the JavaScript engine for; None if for nothing."""
        sources = scripts_in(self.plan.definition.output)
        return script("output:", "", Scope(self.scopes, None, {}), sources) if sources else None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, ids: Iterable[str]) -> list[Issue]:
        """Begin steps, and those that follow at once on steps that need nothing."""
        issues: list[Issue] = []
        waiting = deque(ids)
        while waiting:
            id = waiting.popleft()
            assert self._now is not None
            self.records[id] = Record(self._now)
            step = self.plan.steps[id]
            if id in self._given:
                steps = _known(self._given.pop(id))
            else:
                steps = life(step, self.scopes.of(step), self.scopes.facts, self._clock)
            self._lives[id] = steps
            issue = self._ask(id, steps, None)
            if issue is None:
                waiting.extend(self._settled)
            else:
                issues.append(issue)
        self._drop()
        return issues

    def _go_on(self, id: str, steps: Steps, answer: Answer) -> list[Issue]:
        issue = self._ask(id, steps, answer)
        if issue is not None:
            return [issue]
        return self._start(self._settled)

    def _ask(self, id: str, steps: Steps, answer: Answer | None) -> Issue | None:
        """Let a step go on to its next question; None if it has ended, and then ``_settled`` says what begins."""
        record = self.records[id]
        try:
            command = next(steps) if answer is None else steps.send(answer)
            while isinstance(command, Child) and command.detached is not None:
                self.detached.append(command)
                command = next(steps)
        except StopIteration as end:
            self._settled = self._settle(id, end.value)
            return None
        issue = Issue(self._count, id, command, self.scopes.facts.attempt)
        self._count += 1
        self._open[issue.number] = issue
        record.issue = issue
        return issue

    def _settle(self, id: str, ending: Ending) -> list[str]:
        record = self.records[id]
        record.ended, record.ending, record.issue = self._now, ending, None
        step = self.plan.steps[id]
        status = ending.outcome.status
        if step.save_output and (status == "success" or (status == "failed" and not step.critical)):
            self.scopes.outputs[id] = ending.value
        self._lives.pop(id, None)
        return self.board.settle(id, ending.outcome)

    def _drop(self) -> None:
        """Steps that were cut off: nobody waits for their answers."""
        for id in self.board.dropped:
            self._let_go(id)
            record = self.records[id]
            skipped = Ending(Outcome("skipped", None, "cancelled"), None, Err("Cancelled", ""))
            record.ended, record.ending = self._now, skipped
        self.board.dropped = []

    def _let_go(self, id: str) -> None:
        """Leave a step's life where it is: nobody waits for the answer that it waits for."""
        record = self.records[id]
        if record.issue is not None:
            self._open.pop(record.issue.number, None)
            self.dropped.append(record.issue.number)
            record.issue = None
        steps = self._lives.pop(id, None)
        if steps is not None:
            steps.close()

    def _clock(self) -> datetime:
        assert self._now is not None
        return self._now


def _known(given: Mapping[str, Json]) -> Steps:
    """The life of a step whose result another run has brought."""
    yield from ()
    return Ending(Outcome("success", given.get("branch")), given.get("value"))
