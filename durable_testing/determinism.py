"""``check_determinism``: does a workflow do the same again, whatever the world around it is like?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

from durable._author.definitions import Invocation, Signal, Workflow
from durable.clock import SystemClock
from durable.errors import InvalidInput
from durable_testing._determinism.actors import Actors, Stub, Stubbed
from durable_testing._determinism.differences import Cause, Difference, difference, told
from durable_testing._determinism.elsewhere import Elsewhere, stop, why_not_elsewhere
from durable_testing._determinism.first_take import first_take, inbox_of
from durable_testing._determinism.scene import Scene, Setting, Target, find_targets, other_locale, zones_can_vary
from durable_testing._determinism.takes import Take, replayed

__all__ = ["Cause", "Determinism", "Difference", "NotDeterministic", "check_determinism"]

# How far the clock of each other take is off: fractions, other minutes, hours, weekdays, months and years.
_DAY: Final = 86_400.0
_LATER_SECONDS: Final = (0.0371, 67.0, 3_700.0, 43_261.0, 2.5 * _DAY, 4.3 * _DAY, 200.6 * _DAY, 801 * _DAY)
_ZONES: Final = ("AAA-13:30", "BBB+11", "CCC-5:30", "DDD+3", "EEE-9", "FFF+7:15", "GGG-1", "HHH+0")
_PARTS: Final = ("clock", "dice", "entropy", "environ", "zone", "locale")


@final
class NotDeterministic(AssertionError):
    """A workflow does something else when it is replayed against its own journal.

    It is an ``AssertionError``, for it is a test's verdict about the code under test; the engine never raises it.

    Attributes:
        difference: The first one.
        causes: What it probably comes from; empty if nothing shows it alone.
    """

    def __init__(self, message: str, difference: Difference, causes: tuple[Cause, ...]) -> None:
        super().__init__(message)
        self.difference = difference
        self.causes = causes


@dataclass(frozen=True, slots=True)
class Determinism:
    """What was checked, and found to be the same.

    Attributes:
        entries: Length of the journal.
        issued: How many calls and commands were compared.
        end: How the workflow ended, as ``returns "..."``; empty if it has not ended.
        waits_for: What it waited for in the end, where nothing more could happen.
        varied: What was different in the other takes.
        not_varied: What could not be varied here, and why.
    """

    entries: int
    issued: int
    end: str
    waits_for: tuple[str, ...]
    varied: tuple[str, ...]
    not_varied: Mapping[str, str]


def check_determinism(
    workflow: Workflow[..., Any] | Invocation[Any],
    /,
    *args: Any,
    stubs: Mapping[Stubbed, Stub] | None = None,
    run_steps: bool = False,
    signals: Sequence[tuple[Signal[Any] | str, Any]] = (),
    hash_seeds: Sequence[int] = (1, 2, 3),
) -> Determinism:
    """Run a workflow once, then replay it in other worlds, and compare all that it issues.

    The first take needs no store and no worker: time is virtual, timers fire by themselves, steps are answered by
    ``stubs``. Its journal is then replayed with another clock, other random numbers, other environment variables, in
    another time zone and locale, as code that has run before, and in processes with other hash seeds. Compared are the
    calls and commands (kind, identity, arguments, content, order), and how the workflow ends. When something differs,
    one thing at a time is varied to find out why.

    While workflow code runs here, time zone and locale of the whole process may be changed for some microseconds.

    Args:
        workflow: Or, for arguments by name, ``workflow.bind(...)``.
        stubs: Called instead of steps, with their arguments; by step, or by name. Children need one, too: it is given
            the child's arguments and returns its result. Each call is answered once, and its outcome replayed.
        run_steps: Steps without a stub are carried out by their own functions, once each, in the first take only. By
            default they are refused: their effects would be real.
        signals: In the inbox from the begin, in this order.
        hash_seeds: One more process for each; empty to start none.

    Returns:
        What was compared. A workflow that waits for a signal that was not given is compared up to there, one without an
        end up to its thousandth entry: look at ``end`` and ``waits_for``.

    Raises:
        NotDeterministic: An ``AssertionError`` that shows the first difference and its probable cause.
        InvalidInput: The arguments do not fit, or nobody answers for a step or child.
        WorkflowCodeError: The workflow does what it may not.
    """
    if isinstance(workflow, Invocation):
        if args:
            raise InvalidInput("Give the arguments to bind(), or to check_determinism(), not to both.")
        bound = workflow
    elif isinstance(workflow, Workflow):
        bound = workflow.bind(*args)
    else:
        raise InvalidInput(f"check_determinism takes a function decorated with @workflow, not {workflow!r}.")
    code = bound.workflow
    sealed = code.arguments.dump(bound.args, bound.kwargs, f"workflow {code.name!r}")
    check = _Check(code, sealed, tuple(dict.fromkeys(hash_seeds)))
    with Actors(stubs or {}, run_steps) as actors:
        check.record(actors, signals)
    return check.compare()


@final
class _Check:
    def __init__(self, workflow: Workflow[..., Any], sealed: bytes, seeds: tuple[int, ...]) -> None:
        self._workflow = workflow
        self._sealed = sealed
        self._seeds = seeds
        self._base = Setting(SystemClock().now())
        self._targets: list[Target] = find_targets()
        self._locale = other_locale()
        self._first = Take()

    def record(self, actors: Actors, signals: Sequence[tuple[Signal[Any] | str, Any]]) -> None:
        """The first take."""
        scene = Scene(self._base, self._targets)
        self._first = first_take(self._workflow, self._sealed, scene, actors, inbox_of(signals))
        self._targets = find_targets()  # workflow code may have imported more

    def compare(self) -> Determinism:
        """The others."""
        elsewhere = Elsewhere(self._workflow, self._sealed, self._base)
        hindrance = "none was asked for" if not self._seeds else why_not_elsewhere(self._workflow)
        others = [] if hindrance is not None else elsewhere.begin(self._first, self._seeds)
        try:
            self._here()
            for take in elsewhere.takes(others):
                found = difference(self._first, take)
                if found is not None:
                    self._fail(found, (Cause(self._hash_or_process(elsewhere)),), " in another process")
        finally:
            stop(others)
        return self._same(hindrance or elsewhere.problem)

    def _here(self) -> None:
        """In this process: nothing varied, then everything, then as code that has run before."""
        found, _ = self._again(self._base)
        if found is not None:
            self._fail(found, (Cause("state"),), "")
        for setting in self._varied():
            found, _ = self._again(setting)
            if found is not None:
                self._fail(found, tuple(self._causes()), " in another world")
        found, _ = self._again(self._base, known=self._first.patches)
        if found is not None:
            self._fail(found, (Cause("replaying"),), " as code that has run before")

    def _again(self, setting: Setting, known: tuple[str, ...] | None = None) -> tuple[Difference | None, Scene]:
        scene = Scene(setting, self._targets)
        take = replayed(self._workflow, self._sealed, self._first.rows, scene, known)
        return difference(self._first, take), scene

    def _varied(self, *parts: str) -> Iterator[Setting]:
        """Other settings, eight of them; of given parts only."""
        for number, later in enumerate(_LATER_SECONDS):
            other = Setting(
                self._base.clock + later,
                _DICE[number],
                number + 1,
                number,
                _ZONES[number] if zones_can_vary() else None,
                self._locale,
            )
            yield other if not parts else replace(self._base, **{part: getattr(other, part) for part in parts})

    def _causes(self) -> Iterator[Cause]:
        seen: set[str] = set()
        for part in _PARTS:
            if part in ("zone", "locale") and "clock" in seen:
                continue  # the local time and its name are other ones, too, but ctx.now() is the cure
            for setting in self._varied(part):
                found, scene = self._again(setting)
                if found is not None:
                    seen.add(part)
                    yield Cause(part, tuple(read for read in scene.reads if read.part == part))
                    break

    def _hash_or_process(self, elsewhere: Elsewhere) -> str:
        """Two processes of one hash seed that differ do not differ by their hashes."""
        begun = elsewhere.begin(self._first, (self._seeds[0], self._seeds[0]))
        try:
            pair = list(elsewhere.takes(begun))
        finally:
            stop(begun)
        return "process" if len(pair) == 2 and difference(*pair) is not None else "hash"

    def _fail(self, found: Difference, causes: tuple[Cause, ...], varied: str) -> None:
        raise NotDeterministic(told(self._workflow.name, found, causes, varied), found, causes)

    def _same(self, hindrance: str) -> Determinism:
        varied = ["clock", "random numbers", "entropy", "environment variables", "replaying"]
        missing: dict[str, str] = {}
        for part, reason in (
            ("time zone", "" if zones_can_vary() else "this system cannot change it while a process runs"),
            ("locale", "" if self._locale is not None else "no other locale is installed"),
            ("hash seed", hindrance),
        ):
            if reason:
                missing[part] = reason
            else:
                varied.append(part)
        first = self._first
        issued = sum(len(turn.issued) for turn in first.turns)
        return Determinism(len(first.rows), issued, first.end, first.waits_for, tuple(varied), missing)


def _spread(seeds: int) -> tuple[int, ...]:
    """Seeds of which the first numbers are spread evenly over [0, 1), so that few takes see both sides of a branch."""
    found: dict[int, int] = {}
    seed = 1
    while len(found) < seeds:
        found.setdefault(int(random.Random(seed).random() * seeds), seed)
        seed += 1
    return tuple(found[part] for part in sorted(found, key=lambda part: (part * 5) % seeds))


_DICE: Final = _spread(len(_LATER_SECONDS))
