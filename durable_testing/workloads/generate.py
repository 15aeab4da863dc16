"""Random workloads, from whatever throws the dice: a seeded generator, or Hypothesis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, Protocol, TypeVar, final

from durable_testing.workloads import nodes
from durable_testing.workloads.behaviours import ERRORS, FINAL_ERRORS, VALUES
from durable_testing.workloads.nodes import Node
from durable_testing.workloads.plan import NAMES, Sending, Workload, demand

T = TypeVar("T")
Json = Any
LEAVES_MAX: Final = 12
DEPTH_MAX: Final = 4
DURATIONS: Final = (0.0, 0.001, 0.5, 2.0, 30.0)
_FALSY: Final[tuple[Json, ...]] = (None, False, 0, "", [], {})

__all__ = ["DEPTH_MAX", "DURATIONS", "LEAVES_MAX", "Dice", "SeededDice", "random_workload", "thrown"]


class Dice(Protocol):
    """What a generator asks of chance. The first of the options is the simplest."""

    def pick(self, options: Sequence[T], /) -> T:
        """One of them."""
        ...

    def one(self, make: Callable[[Dice], T], /) -> T:
        """What ``make`` throws; a unit for whoever shrinks."""
        ...

    def many(self, make: Callable[[Dice], T], least: int, most: int, /) -> tuple[T, ...]:
        """Several of what ``make`` throws."""
        ...


@final
class SeededDice:
    """Dice from ``random.Random``: the same seed, the same workload."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def pick(self, options: Sequence[T], /) -> T:
        return self._random.choice(options)

    def one(self, make: Callable[[Dice], T], /) -> T:
        return make(self)

    def many(self, make: Callable[[Dice], T], least: int, most: int, /) -> tuple[T, ...]:
        return tuple(make(self) for _ in range(self._random.randint(least, most)))


def random_workload(random: Random, *, max_depth: int = DEPTH_MAX, max_leaves: int = LEAVES_MAX) -> Workload:
    """A workload of this generator's choice; for long runs, where Hypothesis would cost more than the engine.

    Args:
        max_depth: Containers around one another, the leaf not counted.
        max_leaves: About how many leaves one round has; once they are used up, what is still needed is a plain step.
    """
    return thrown(SeededDice(random), max_depth, max_leaves)


def thrown(dice: Dice, max_depth: int, max_leaves: int) -> Workload:
    """A workload of these dice."""

    def a_round(dice: Dice) -> Node:
        return Thrower(dice, max_leaves).node(dice, max_depth)

    rounds = dice.many(a_round, 1, dice.pick((1, 1, 1, 2, 3)))
    last = dice.pick(("none", "none", "raises", "leaves", "drains", "drains"))
    workload = Workload(
        rounds,
        leaving=dice.pick(("plain", "saga", "cleanup")) if len(rounds) > 1 else "plain",
        raises=last == "raises" or dice.pick((False, False, True)),
        leaves=last == "leaves",
        drains=last == "drains",
    )
    return replace(workload, signals=_signals(dice, rounds))


def _signals(dice: Dice, rounds: tuple[Node, ...]) -> tuple[Sending, ...]:
    """As many as may be taken, and now and then one more; in some order, some of them late."""
    wanted: Counter[str] = sum((demand(one) for one in rounds), Counter())
    names = [name for name in NAMES for _ in range(wanted[name] + dice.pick((0, 0, 1)) * (wanted[name] > 0))]
    if dice.pick((False, True)):
        names = names[::2] + names[1::2]
    count: Counter[str] = Counter()
    sendings = []
    for name in names:
        payload = dice.pick((f"{name}{count[name]}", f"{name}{count[name]}", *_FALSY))
        count[name] += 1
        sendings.append(Sending(name, payload, dice.pick(DURATIONS)))
    return tuple(sendings)


class Thrower:
    """Throws the nodes of one round, with so many leaves to give away."""

    def __init__(self, dice: Dice, leaves: int) -> None:
        self._left = leaves

    def node(self, dice: Dice, depth: int, names: Sequence[str] = NAMES) -> Node:
        """A node with at most ``depth`` containers; its waits ask for these names."""
        if self._left <= 0:
            return nodes.Step()
        if depth == 0 or dice.pick((True, False, False, False, False)):
            self._left -= 1
            return self._leaf(dice, names)
        return self._container(dice, depth - 1, names)

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _leaf(self, dice: Dice, names: Sequence[str]) -> Node:
        kinds = LEAVES if names else tuple(kind for kind in LEAVES if kind not in ("wait", "listen"))
        match dice.pick(kinds):
            case "plain":
                return nodes.Step()
            case "step":
                return self.step(dice)
            case "sleep":
                return nodes.Sleep(dice.pick(DURATIONS), dice.pick(("asyncio", "context", "named", "until")))
            case "wait":
                return nodes.Wait(dice.pick(names), dice.pick((None, *DURATIONS)))
            case "listen":
                return nodes.Listen(dice.pick(names), dice.pick((1, 2, 3)))
            case "note":
                return nodes.Note(dice.pick(("set", "emit")), dice.pick(("k", "l")))
            case "raise":
                return nodes.Raise(dice.pick(tuple(ERRORS)))
            case _:
                return nodes.Chance()

    def step(
        self,
        dice: Dice,
        forms: Sequence[nodes.Form] | None = None,
    ) -> nodes.Step:
        """A step in one of these forms."""
        form = dice.pick(FORMS if forms is None else forms)
        does: nodes.Does = dice.pick(DOES)
        # At-most-once steps that are tried again begin more than once, which the ledger could not tell from a mistake.
        attempts = {"once": 1, "queue": nodes.QUEUE_ATTEMPTS}.get(form) or dice.pick((1, 2, 3))
        if does == "flaky" and attempts == 1:
            does = "fail"
        return nodes.Step(
            does=does,
            value=dice.pick(VALUES),
            tagged=form == "undo" or dice.pick((True, False)),
            form=form,
            fails=dice.pick(range(1, attempts)) if does == "flaky" else 0,
            attempts=attempts,
            error=dice.pick(RETRIED) if does == "flaky" else dice.pick(tuple(ERRORS)),
            seconds=0.0 if form in ("sync", "inline sync") else dice.pick(DURATIONS),
            sour=form == "undo" and dice.pick((False, False, False, True)),
        )

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────

    def _container(self, dice: Dice, depth: int, names: Sequence[str]) -> Node:
        def inside(dice: Dice) -> Node:
            return self.node(dice, depth, names)

        match dice.pick(CONTAINERS):
            case "loop":
                return nodes.Loop(dice.one(inside), dice.pick((1, 2, 3)))
            case "map":
                return self._map(dice)
            case "limit":
                return nodes.Limit(dice.one(inside), dice.pick(DURATIONS), dice.pick(("timeout", "wait_for")))
            case "cancel":
                return nodes.Cancel(dice.one(inside), dice.pick(DURATIONS))
            case "saga":
                return nodes.Saga(dice.one(inside))
            case "try":
                return self._try(dice, inside)
            case "child":
                return self._child(dice, depth)
            case kind:
                return self._several(dice, kind, dice.many(inside, 1, 4))

    def _several(self, dice: Dice, kind: str, items: tuple[Node, ...]) -> Node:
        match kind:
            case "gather":
                return nodes.Gather(items, dice.pick((False, True)))
            case "parallel":
                return nodes.Parallel(items, dice.pick((None, 1, 2)), dice.pick((0, 0, 1)))
            case "group":
                return nodes.Group(items)
            case "race":
                return nodes.Race(items)
            case _:
                return nodes.Seq(items)

    def _map(self, dice: Dice) -> Node:
        self._left -= 2
        orders = dice.many(lambda dice: replace(self.step(dice, ("async",)), attempts=1, fails=0), 1, 4)
        plain = tuple(replace(one, does="fail") if one.does == "flaky" else one for one in orders)
        return nodes.Map(plain, dice.pick((None, 1, 2)), dice.pick((0, 1, 2)))

    def _try(self, dice: Dice, inside: Callable[[Dice], Node]) -> Node:
        shape = dice.pick(("handler", "cleanup", "both"))
        body = dice.one(inside)
        handler = dice.one(inside) if shape != "cleanup" else None
        return nodes.Try(body, handler, dice.one(inside) if shape != "handler" else None)

    def _child(self, dice: Dice, depth: int) -> Node:
        """A child waits only for what its parent tells it."""
        names = NAMES[: dice.pick((0, 0, 1, 2))]
        rounds = dice.many(lambda dice: self.node(dice, depth, names), 1, dice.pick((1, 1, 2)))
        wanted: Counter[str] = sum((demand(one) for one in rounds), Counter())
        return nodes.Child(rounds, dice.pick(("cancel", "terminate", "abandon")), tuple(sorted(wanted.elements())))


RETRIED: Final = tuple(kind for kind in ERRORS if kind not in FINAL_ERRORS)
# The simplest first; how often each stands there is how often it comes.
LEAVES: Final = (
    *("plain",) * 2,
    *("step",) * 7,
    *("sleep", "sleep", "wait", "wait", "wait", "wait", "listen", "chance", "note", "raise"),
)
DOES: Final[tuple[nodes.Does, ...]] = (
    "return", "return", "return", "return", "return", "return", "return", "return", "return",
    "flaky", "flaky", "flaky", "fail", "fail", "unencodable", "huge",
)  # fmt: skip
FORMS: Final[tuple[nodes.Form, ...]] = ("async", "sync", "once", "undo", "undo", "queue", "inline", "inline sync")
CONTAINERS: Final = (
    *("seq", "seq", "gather", "parallel", "group", "race", "race", "limit", "limit", "cancel"),
    *("try", "try", "loop", "saga", "saga", "child", "map"),
)
