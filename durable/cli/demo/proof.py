"""The proof: ledger against journal. A pure function, so that tests can hand it forged evidence.

The ledger says what steps did, when and in which process; the journal says what was committed, and when. Both are on
one machine and one clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from durable._core.identity import idempotency_key, kind_of, name_of
from durable._model.entries import AttemptFailed, Entry, Settled
from durable.cli.demo.ledger import Line
from durable.cli.demo.orders import Expected

__all__ = ["Check", "Evidence", "Proof", "prove"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the store holds about one order's run.

    Attributes:
        status: Of the run.
        state: What its workflow returned: ``completed`` or ``refused``; None if it has not.
        journal: All entries with their times.
    """

    status: str
    state: str | None
    generation: int
    journal: Sequence[tuple[Entry, float]]


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: how it reads, and what speaks against it (nothing, if it holds)."""

    claim: str
    against: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against


@dataclass(frozen=True, slots=True)
class Proof:
    """The claims, and what was counted on the way.

    Attributes:
        effects: Completed effects by step, each counted once.
        repeats: Effects that began again since their worker was killed before the commit.
        happened_twice: Of those, how many had reached their end before.
        retries: Attempts that failed, as the shop means them to.
    """

    checks: tuple[Check, ...]
    effects: Mapping[str, int]
    repeats: int
    happened_twice: int
    retries: int

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(check.holds for check in self.checks)


@dataclass(slots=True)
class _Call:
    """What is known about one step of one order, from both sides."""

    name: str
    failed_at: list[float] = field(default_factory=list)
    settled: list[tuple[float, bool]] = field(default_factory=list)
    begins: list[Line] = field(default_factory=list)
    ends: list[Line] = field(default_factory=list)


def prove(
    plan: Mapping[str, Expected],
    evidence: Mapping[str, Evidence],
    ledger: Sequence[Line],
    broken_lines: Collection[str],
    killed: Collection[int],
) -> Proof:
    """Check every claim.

    Args:
        plan: Run id → what must come of it.
        evidence: Run id → what the store says.
        ledger: All its lines.
        broken_lines: Those that cannot be read.
        killed: Process ids of the workers that were killed.
    """
    calls = _calls(evidence)
    strangers: list[str] = []
    for line in ledger:
        call = calls.get(line.key)
        if call is None or call.name != line.step:
            strangers.append(f"{line.step} of order {line.order} (key {line.key}, process {line.pid})")
        elif line.mark == "begin":
            call.begins.append(line)
        else:
            call.ends.append(line)
    repeats = [line for call in calls.values() for line in _repeated(call)]
    twice = sum(max(sum(line.mark == "end" for line in call.ends) - 1, 0) for call in calls.values())
    done = Counter(call.name for call in calls.values() if call.settled and call.settled[0][1])
    return Proof(
        (
            _ends(plan, evidence),
            _effects(plan, evidence),
            Check("every committed effect is in the ledger, begun and ended before its commit", _unwitnessed(calls)),
            Check(
                "every line of the ledger belongs to a step in an order's journal",
                (*strangers, *(f"a line that cannot be read: {line[:60]!r}" for line in broken_lines)),
            ),
            Check("every effect that began again had lost its worker to kill -9", _unexplained(repeats, killed)),
            _run_twice(calls),
        ),
        dict(done),
        len(repeats),
        twice,
        sum(len(call.failed_at) for call in calls.values()),
    )


def _calls(evidence: Mapping[str, Evidence]) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}
    for run, facts in evidence.items():
        for entry, at in facts.journal:
            if isinstance(entry, Settled | AttemptFailed) and kind_of(entry.call) == "step":
                key = idempotency_key(run, facts.generation, entry.call)
                call = calls.setdefault(key, _Call(name_of(entry.call)))
                if isinstance(entry, Settled):
                    call.settled.append((at, entry.ok))
                else:
                    call.failed_at.append(at)
    return calls


def _ends(plan: Mapping[str, Expected], evidence: Mapping[str, Evidence]) -> Check:
    """Each order has one end, and it is the one that the input demands."""
    against: list[str] = []
    for run, wanted in plan.items():
        found = evidence.get(run)
        if found is None:
            against.append(f"{run} is not in the store")
        elif found.status != "completed" or found.state != wanted.state:
            against.append(f"{run} is {found.state or found.status}, not {wanted.state}")
    against += [f"{run} was never ordered" for run in evidence if run not in plan]
    counts = Counter(wanted.state for wanted in plan.values())
    claim = f"{len(plan):,} orders, each with the one end that its input demands: "
    return Check(f"{claim}{counts['completed']:,} completed, {counts['refused']:,} refused", tuple(against))


def _effects(plan: Mapping[str, Expected], evidence: Mapping[str, Evidence]) -> Check:
    """Each order's journal has exactly the effects that the input demands, once each."""
    against: list[str] = []
    for run, wanted in plan.items():
        facts = evidence.get(run)
        done = Counter(
            name_of(entry.call)
            for entry, _ in (facts.journal if facts is not None else ())
            if isinstance(entry, Settled) and entry.ok and kind_of(entry.call) == "step"
        )
        if done != Counter(wanted.effects):
            against.append(f"{run} has {dict(done)}, not one each of {sorted(wanted.effects)}")
    return Check("every order has exactly its effects, each committed once", tuple(against))


def _produced(call: _Call) -> list[Line]:
    """The begins that led to a committed outcome: before each outcome, the last one that led to none before."""
    left = sorted(call.begins, key=lambda line: line.at)
    produced: list[Line] = []
    for at in sorted([*call.failed_at, *(at for at, _ in call.settled)]):
        candidates = [line for line in left if line.at <= at]
        if candidates:
            produced.append(candidates[-1])
            left = left[left.index(candidates[-1]) + 1 :]
    return produced


def _repeated(call: _Call) -> list[Line]:
    produced = set(map(id, _produced(call)))
    return [line for line in call.begins if id(line) not in produced]


def _unwitnessed(calls: Mapping[str, _Call]) -> tuple[str, ...]:
    against: list[str] = []
    for key, call in calls.items():
        outcomes = len(call.failed_at) + len(call.settled)
        if len(_produced(call)) < outcomes:
            against.append(f"{key} has {outcomes} committed outcomes, but begins for {len(_produced(call))} of them")
        for at, ok in call.settled:
            if ok and not any(line.mark == "end" and line.at <= at for line in call.ends):
                against.append(f"{key} was committed as done, but the ledger has no end of it before that")
    return tuple(against)


def _unexplained(repeats: Sequence[Line], killed: Collection[int]) -> tuple[str, ...]:
    return tuple(
        f"{line.key} began in process {line.pid}, which was not killed, and led to no outcome"
        for line in repeats
        if line.pid not in killed
    )


def _run_twice(calls: Mapping[str, _Call]) -> Check:
    """A step that begins after its outcome was committed, or an outcome that was committed twice."""
    against: list[str] = []
    for key, call in calls.items():
        if len(call.settled) > 1:
            against.append(f"{key} was committed {len(call.settled)} times")
        for line in call.begins:
            late = line.at - min((at for at, _ in call.settled), default=line.at)
            if late > 0:
                against.append(f"{key} began in process {line.pid} {late * 1000:.1f} ms after its commit")
    return Check(f"commits run twice: {len(against)}", tuple(against))
