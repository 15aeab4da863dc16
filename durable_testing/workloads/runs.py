"""One run's tale, judged node by node beside what the run was to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never, final

from durable_testing.workloads import nodes, rules
from durable_testing.workloads.behaviours import expected_error, returned
from durable_testing.workloads.interpreter import LAST
from durable_testing.workloads.nodes import Node, child_at, dump, kind_of
from durable_testing.workloads.rules import CANCELLED, TIMED_OUT, Part
from durable_testing.workloads.traces import EARLY_SECONDS, Expectations, Receipt, Trail, same

Json = Any
Record = dict[str, Any]

__all__ = ["Case", "RunJudge"]


@final
@dataclass(slots=True)
class Case:
    """What the judgements of one scenario's runs share.

    Attributes:
        tales: Of failed children, by run id.
        scale: Factor of all durations.
        problems: Violations so far.
    """

    tales: dict[str, Json]
    scale: float
    expected: Expectations
    problems: list[str] = field(default_factory=list)

    def say(self, where: str, what: str) -> None:
        """Note a violation."""
        self.problems.append(f"{where}: {what}")


@final
class RunJudge:
    """One run's tale.

    Args:
        loose: Tasks that a failed ``gather`` has left may be open, for nobody has waited for them.
    """

    def __init__(self, case: Case, who: str, *, loose: bool) -> None:
        self.case = case
        self.expected = case.expected
        self.who = who
        self.loose = loose
        self.trail = Trail()
        self._uuids: set[str] = set()

    def say(self, at: str, what: str) -> None:
        """Note a violation."""
        self.case.say(at, what)

    def tale(self, tale: Json, rounds: Sequence[Node], drained: Sequence[str]) -> None:
        """All rounds, and what they came to."""
        if len(tale["rounds"]) != len(rounds):
            self.say(self.who, f"it told of {len(tale['rounds'])} rounds of {len(rounds)}")
            return
        end: Json = None
        for number, (node, record) in enumerate(zip(rounds, tale["rounds"], strict=True)):
            end = self.node(node, record, f"{self.who}:{number}", 0, loose=self.loose).end
            if end is None:
                self.say(f"{self.who}:{number}", "the round was left before its end")
                return
        value, error = (end[1], None) if end[0] == "ok" else (None, end[-1])
        if not same([value, error], [tale["value"], tale["error"]]):
            self.say(self.who, f"its last round ended {end}, the run with {[tale['value'], tale['error']]}")
        for name in drained:
            got = tale["drained"].get(name, [])
            self._got(name, got)
            if not got or got[-1][2] != LAST:
                self.say(self.who, f"it did not read the signals {name!r} to the last")
        self.trail.check_marks(self.who, self.say)

    # ── a node ───────────────────────────────────────────────────────────────────────────────────────────────────

    def node(self, node: Node, record: Json, at: str, cuts: int, *, loose: bool) -> Part:
        """Judge a node with all that is in it.

        Args:
            cuts: How many scopes around it have let go of it, at most.
            loose: It may be open.
        """
        if record is None:
            return rules.NEVER
        if (record["kind"], record["at"]) != (kind_of(node), at):
            self.say(at, f"here stands {record['kind']} {record['at']}")
            return rules.NEVER
        self._marks(record, at)
        legal = self._legal(node, record, at, cuts, loose)
        end = record["end"]
        if end is None:
            if not loose:
                self.say(at, "it is still open")
            self.expected.open.add(at)
            return Part(begun=True)
        if not any(same(end, one) for one in legal):
            self.say(at, f"it ended {end}, legal are {legal}")
        return Part(end, 0 if record["ended"] is None else record["ended"][0], True)

    def _legal(self, node: Node, record: Record, at: str, cuts: int, loose: bool) -> list[Json]:
        """All ends that the node may have come to; judges what is inside on the way."""
        cut = cuts > 0
        match node:
            case nodes.Note():
                return self._note(node, record, at)
            case nodes.Raise():
                return [["error", expected_error(node.error, at, crossed=False)]]
            case (
                nodes.Step() | nodes.Sleep() | nodes.Wait() | nodes.Listen() | nodes.Chance()
                | nodes.Map() | nodes.Child()
            ):  # fmt: skip
                ends = self._leaf(node, record, at)
                return [*ends, CANCELLED] if cut else ends
            case nodes.Gather() | nodes.Group() | nodes.Parallel() | nodes.Race():
                return self._at_once(node, record, at, cuts, loose)
            case nodes.Seq():
                return rules.sequence(self._parts(node.items, record, at, cuts, loose))
            case nodes.Loop():
                return rules.sequence(self._parts([node.body] * node.times, record, at, cuts, loose))
            case nodes.Try():
                return self._try(node, record, at, cuts, loose)
            case nodes.Saga():
                return self._saga(node, record, at, cuts, loose)
            case nodes.Limit():
                fired = self._lasted(record, node.seconds)
                (body,) = self._parts([node.body], record, at, cuts + fired, loose)
                return rules.limit(node, body, fired, cut)
            case nodes.Cancel():
                asked = record.get("asked")
                (body,) = self._parts([node.body], record, at, cuts + (asked is True), loose)
                return rules.cancel(body, asked, cut)
            case _ as never:
                assert_never(never)

    def _parts(self, many: Sequence[Node], record: Record, at: str, cuts: int, loose: bool) -> list[Part]:
        """What became of what is inside, in order; it may be open only where the node is, or was left by a gather."""
        given = record["parts"]
        left = record["kind"] == "gather" and (record["end"] is None or record["end"][0] != "ok")
        loose = loose and record["end"] is None or left and self.loose
        if len(given) != len(many):
            self.say(at, f"it has {len(given)} parts of {len(many)}")
            given = [None] * len(many)
        return [
            self.node(node, part, child_at(at, place), cuts, loose=loose)
            for place, (node, part) in enumerate(zip(many, given, strict=True))
        ]

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────

    def _at_once(
        self, node: nodes.Gather | nodes.Group | nodes.Parallel | nodes.Race, record: Record, at: str, cuts: int,
        loose: bool,
    ) -> list[Json]:  # fmt: skip
        cut = cuts > 0
        ended_well = record["end"] is not None and record["end"][0] == "ok"
        failures = sum(1 for part in record["parts"] if part and part["end"] and part["end"][0] == "error")
        match node:
            case nodes.Gather():
                # A failed gather leaves the others running, until the code or the run's end cancels them.
                parts = self._parts(node.items, record, at, cuts + (not ended_well), loose)
                return rules.gather(node.keep, parts, cut)
            case nodes.Group():
                parts = self._parts(node.items, record, at, cuts + (failures > 0), loose)
                return rules.group(parts, cut)
            case nodes.Parallel():
                parts = self._parts(node.items, record, at, cuts + (failures > node.tolerate), loose)
                return rules.parallel(parts, node.tolerate, cut)
            case nodes.Race():
                won = record.get("won")
                parts = self._parts(node.items, record, at, cuts + (won is not None), loose)
                if won and any(parts[place].end == CANCELLED for place in won) and not cut:
                    self.say(at, "a cancelled task has won")
                return rules.race(parts, won, cut)
            case _ as never:
                assert_never(never)

    def _try(self, node: nodes.Try, record: Record, at: str, cuts: int, loose: bool) -> list[Json]:
        """A handler runs if and only if the body failed, a cleanup if and only if the body has ended.

        One scope cuts once: what has cut the body does not cut the cleanup, too.
        """
        loose = loose and record["end"] is None
        given = record["parts"]
        result = self.node(node.body, given[0], child_at(at, 0), cuts, loose=loose)
        handler, cleanup = Part(), Part()
        if node.handler is not None:
            handler = self.node(node.handler, given[1], child_at(at, 1), cuts, loose=loose)
            if handler.begun != result.failed:
                self.say(
                    at, f"the body ended {result.end}, and the handler {'ran' if handler.begun else 'did not run'}"
                )
            result = handler if handler.begun else result
        if node.cleanup is not None:
            cleanup = self.node(node.cleanup, given[2], child_at(at, 2), cuts - (result.end == CANCELLED), loose=loose)
            if cleanup.begun != (result.end is not None):
                self.say(
                    at, f"the body ended {result.end}, and the cleanup {'ran' if cleanup.begun else 'did not run'}"
                )
            if not cleanup.ok:
                result = cleanup
        return [] if result.end is None else [result.end]

    def _saga(self, node: nodes.Saga, record: Record, at: str, cuts: int, loose: bool) -> list[Json]:
        """What succeeded in a saga that fails is undone, newest first; nothing else is."""
        (body,) = self._parts([node.body], record, at, cuts, loose)
        if body.end is None:
            return []
        if not body.ok:
            done: list[tuple[int, str]] = []
            for step in _undoable(node.body, record["parts"][0]):
                self.expected.undoable.add(step["at"])
                if step["end"] is not None and step["end"][0] == "ok" and step["ended"][0] < body.at:
                    done.append((step["ended"][0], step["at"]))
            if done and record["end"] is not None:
                self.expected.undone.append([uid for _, uid in sorted(done, reverse=True)])
        # A cancel that comes while it undoes is raised when it has.
        return [body.end, CANCELLED] if cuts > 0 and not body.ok else [body.end]

    def _marks(self, record: Record, at: str) -> None:
        began, ended = record["began"], record["ended"]
        self.trail.marks.append((began[0], began[1]))
        if (ended is None) != (record["end"] is None):
            self.say(at, "its end and its mark disagree")
        if ended is None:
            return
        self.trail.marks.append((ended[0], ended[1]))
        if ended[0] <= began[0]:
            self.say(at, "it ended before it began")
        for part in record["parts"]:
            if part is not None and not self._inside(record, part):
                self.say(part["at"], f"it began or ended outside of {at}")

    def _inside(self, record: Record, part: Record) -> bool:
        if part["began"][0] <= record["began"][0]:
            return False
        if part["ended"] is None or record["kind"] == "gather" and record["end"][0] != "ok":
            return True
        return bool(part["ended"][0] < record["ended"][0])

    def _lasted(self, record: Record, seconds: float) -> bool:
        """Whether at least so much workflow time went by inside (timers never fire early, I8)."""
        if record["ended"] is None:
            return False
        return bool(record["ended"][1] - record["began"][1] >= seconds * self.case.scale - EARLY_SECONDS)

    def _got(self, name: str, got: Json) -> None:
        for began, ended, payload in got:
            self.trail.marks += [(began[0], began[1]), (ended[0], ended[1])]
            self.trail.receipts.append(Receipt(began[0], ended[0], name, payload))

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _leaf(
        self,
        node: nodes.Step | nodes.Sleep | nodes.Wait | nodes.Listen | nodes.Chance | nodes.Map | nodes.Child,
        record: Record,
        at: str,
    ) -> list[Json]:
        match node:
            case nodes.Step():
                return self._step(node, record, at)
            case nodes.Sleep():
                return [["ok", None]] if self._lasted(record, node.seconds) else []
            case nodes.Wait():
                return self._wait(node, record)
            case nodes.Listen():
                return self._listen(node, record)
            case nodes.Chance():
                return self._chance(record, at)
            case nodes.Map():
                return self._map(node, record, at)
            case nodes.Child():
                return self._child(node, record, at)
            case _ as never:
                assert_never(never)

    def _step(self, node: nodes.Step, record: Record, at: str) -> list[Json]:
        """A step ends as it is told to; what a crash has cut of an at-most-once step is raised as such."""
        ends = [step_end(node, at)]
        if self.expected.crashes and node.form == "once":
            ends.append(["error", ["StepInterrupted"]])
        interrupted = record["end"] is not None and record["end"][-1] == ["StepInterrupted"]
        certain = record["end"] not in (None, CANCELLED) and not interrupted
        self.expected.step(at, node, certain=certain)
        return ends

    def _wait(self, node: nodes.Wait, record: Record) -> list[Json]:
        """A wait takes a signal, or none and times out, not before its time."""
        end = record["end"]
        ends: list[Json] = []
        if end is not None and end[0] == "ok":
            self.trail.receipts.append(Receipt(record["began"][0], record["ended"][0], node.name, end[1]))
            ends.append(end)
        if node.seconds is not None and self._lasted(record, node.seconds):
            ends.append(TIMED_OUT)
        return ends

    def _listen(self, node: nodes.Listen, record: Record) -> list[Json]:
        """An iterator over signals gives as many as were asked for."""
        got = record["got"]
        self._got(node.name, got)
        return [["ok", [payload for _, _, payload in got]]] if len(got) == node.count else []

    def _chance(self, record: Record, at: str) -> list[Json]:
        """What is drawn in replay is what was drawn at first, for a step has repeated that; no uuid comes twice."""
        drawn = record["drawn"]
        if drawn[0] in self._uuids:
            self.say(at, f"the uuid {drawn[0]} was drawn twice")
        self._uuids.add(drawn[0])
        node = nodes.Step(value=drawn)
        self.expected.step(at, node, certain=record["end"] not in (None, CANCELLED))
        return [step_end(node, at)]

    def _note(self, node: nodes.Note, record: Record, at: str) -> list[Json]:
        """Publishing is done at once."""
        self.trail.notes.append((record["began"][0], node.how, node.key, at))
        return [["ok", None]]

    def _map(self, node: nodes.Map, record: Record, at: str) -> list[Json]:
        """Each order is a step; tolerated failures are left out."""
        uids = [child_at(at, place) for place in range(len(node.orders))]
        ends = [step_end(order, uid) for order, uid in zip(node.orders, uids, strict=True)]
        failed = [end for end in ends if end[0] != "ok"]
        all_run = record["end"] is not None and record["end"][0] == "ok"
        for order, uid in zip(node.orders, uids, strict=True):
            self.expected.step(uid, order, certain=all_run)
        if len(failed) > node.tolerate:
            return failed
        return [["ok", [end[1] for end in ends if end[0] == "ok"]]]

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _child(self, node: nodes.Child, record: Record, at: str) -> list[Json]:
        """A child's outcome is that of its own tale; of one that was given up nobody knows."""
        end = record["end"]
        if end in (None, CANCELLED):
            self.expected.unknown.add(at)
            return []
        told = [[name, f"{at} {name}{number}"] for number, name in enumerate(node.tells)]
        if record.get("told") != told:
            self.say(at, f"it told its child {record.get('told')}, not {told}")
        tale = record.get("tale") if end[0] == "ok" else self.case.tales.get(record.get("run", ""))
        if tale is None or tale["who"] != at:
            self.say(at, f"its child ended {end} without a tale")
            self.expected.unknown.add(at)
            return []
        run = RunJudge(self.case, at, loose=False)
        run.tale(tale, node.rounds, ())
        run.trail.check_receipts(at, [(name, payload) for name, payload in told], (), self.say)
        if tale["error"] is None:
            return [["ok", tale["value"]]]
        return [["error", ["RunFailed", ["WorkloadFailed", at]]]]


def step_end(node: nodes.Step, uid: str) -> Json:
    """How a step's call ends when nothing happens to it."""
    match node.does:
        case "fail":
            return ["error", expected_error(node.error, uid, crossed=True)]
        case "unencodable":
            return ["error", ["NotSerializable"]]
        case "huge":
            return ["error", ["PayloadTooLarge"]]
        case _:
            return ["ok", returned(dump(node), uid)]


def _undoable(node: Node, record: Json) -> list[Record]:
    """The records of steps with an undo that belong to the saga around ``node``, not to one inside that failed."""
    if record is None or isinstance(node, nodes.Child):
        return []
    if isinstance(node, nodes.Step):
        return [record] if node.form == "undo" else []
    if isinstance(node, nodes.Saga) and (record["end"] is None or record["end"][0] != "ok"):
        return []
    if isinstance(node, nodes.Try):
        inside = [node.body, node.handler, node.cleanup]
    elif isinstance(node, nodes.Loop):
        inside = [node.body] * node.times
    else:
        inside = list(nodes.parts_of(node))
    pairs = zip(inside, record["parts"], strict=False)
    return [found for part, one in pairs if part is not None for found in _undoable(part, one)]
