"""The model of random workloads refuses what is wrong: each case is a real tale in which one thing is changed."""

import asyncio
import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from workload_rig import Case, carried_out

from durable_testing.workloads import Sending, Workload, random_workload
from durable_testing.workloads.interpreter import LAST
from durable_testing.workloads.ledger import Effect
from durable_testing.workloads.nodes import (
    Cancel,
    Chance,
    Child,
    Gather,
    Group,
    Limit,
    Loop,
    Map,
    Node,
    Note,
    Parallel,
    Race,
    Raise,
    Saga,
    Seq,
    Sleep,
    Step,
    Try,
    Wait,
)
from durable_testing.workloads.scenario import records

A_B_C = tuple(Sending("a", payload) for payload in ("a0", "a1", "a2"))


def plain(*items: Node, **options: Any) -> Workload:
    return Workload((Seq(items),), **options)


GIVEN: dict[str, Workload] = {
    "steps": plain(
        Step(value="x"),
        Step(value=False, tagged=False),
        Step(does="flaky", fails=1, attempts=2),
        Step(form="once", value=3),
        Step(form="queue", attempts=3, does="fail", error="declined"),
    ),
    "gather": Workload((Gather((Step(value=1), Step(value=2), Step(value=3))),)),
    "kept": Workload((Gather((Step(value=1), Raise()), keep=True),)),
    "signals": plain(Wait("a"), Wait("a"), drains=True, signals=A_B_C),
    "timeout": plain(Try(Wait("a", 0.0), Sleep()), Wait("a"), signals=(Sending("a", "a0", 30.0),)),
    "waiters": Workload((Gather((Wait("a"), Wait("a"))),), signals=A_B_C[:2]),
    "handled": Workload((Try(Raise(), Step(value=1), Step(value=2)),)),
    "unhandled": Workload((Try(Step(value=0), Step(value=1), Step(value=2)),)),
    "loop": Workload((Loop(Step(), 3),)),
    "rounds": Workload((Step(value=1), Step(value=2)), leaving="cleanup"),
    "child": Workload((Child((Step(value=1),)),)),
    "failed child": Workload((Child((Raise(),)),)),
    "told child": Workload((Child((Seq((Wait("a"), Wait("a"))),), tells=("a", "a")),)),
    "race": Workload((Race((Step(), Sleep(60_000.0))),)),
    "limit": Workload((Limit(Sleep(30.0), 0.5),)),
    "cancel": Workload((Cancel(Sleep(30.0), 0.5),)),
    "sleep": Workload((Sleep(2.0),)),
    "chance": plain(Chance(), Chance()),
    "notes": plain(Note("emit"), Note("emit"), Note("set", "l"), Note("set", "l")),
    "saga": Workload((Try(Saga(Seq((Step(form="undo", value=1), Step(form="undo", value=2), Raise()))), Step()),)),
    "kept saga": Workload((Saga(Step(form="undo")),)),
    "group": Workload((Group((Raise(), Raise("key"))),)),
    "parallel": Workload((Parallel((Step(), Step(does="fail"), Step()), tolerate=1),)),
    "map": Workload((Map((Step(value=1), Step(does="fail"), Step(value=3)), tolerate=1),)),
    "raises": Workload((Raise(),), raises=True),
}


@cache
def carried() -> dict[str, Case]:
    return dict(zip(GIVEN, asyncio.run(carried_out(list(GIVEN.values()))), strict=True))


def at(case: Case, path: str) -> Any:
    """The record at a path like ``0.2.1``: round, then places."""
    number, *places = map(int, path.split("."))
    record = case.ending.tale["rounds"][number]
    for place in places:
        record = record["parts"][place]
    return record


def tell(case: Case, path: str, value: Any) -> None:
    """Change what a node has returned, and the lists around it, so that the tale is at one with itself."""
    at(case, path)["end"] = ["ok", value]
    while "." in path:
        path, _, place = path.rpartition(".")
        at(case, path)["end"][1][int(place)] = value
        value = at(case, path)["end"][1]
    case.ending.tale["value"] = value


def both(case: Case, path: str, end: Any) -> None:
    """Change the end of a root node and of its run."""
    at(case, path)["end"] = end
    case.ending.tale["value"], case.ending.tale["error"] = (end[1], None) if end[0] == "ok" else (None, end[-1])


def lines(case: Case, change: Callable[[list[Effect]], list[Effect]]) -> None:
    case.effects = change(case.effects)


def sooner(case: Case, path: str) -> None:
    record = at(case, path)
    record["ended"][1] = record["began"][1]


def swap_marks(case: Case, one: str, other: str, which: str) -> None:
    first, second = at(case, one), at(case, other)
    first[which], second[which] = second[which], first[which]


WRONG: dict[str, tuple[str, Callable[[Case], Any], str]] = {
    # ── values and order ──
    "a falsy value became another": ("steps", lambda c: tell(c, "0.1", 0), "ended"),
    "a step returned what another did": ("steps", lambda c: tell(c, "0.0", at(c, "0.3")["end"][1]), "ended"),
    "gather mixed its results up": ("gather", lambda c: both(c, "0", ["ok", at(c, "0")["end"][1][::-1]]), "ended"),
    "gather lost a result": ("gather", lambda c: both(c, "0", ["ok", at(c, "0")["end"][1][:2]]), "ended"),
    "an error that was kept got lost": ("kept", lambda c: tell(c, "0.1", None), "ended"),
    "a step that must fail did not": ("steps", lambda c: at(c, "0.4").update(end=["ok", None]), "ended"),
    "an error lost its class": (
        "steps",
        lambda c: both(c, "0", ["error", ["StepError", "Declined", "text"]]),
        "ended",
    ),
    "parts ran in another order": ("steps", lambda c: at(c, "0")["parts"].reverse(), "here stands"),
    "an error was tolerated twice": ("parallel", lambda c: both(c, "0", ["ok", []]), "ended"),
    "a tolerated error was raised": ("map", lambda c: both(c, "0", ["error", ["ValueError", "w0 fails"]]), "ended"),
    "a group lost an error": ("group", lambda c: both(c, "0", ["error", ["ExceptionGroup", []]]), "ended"),
    "a part ended after what holds it": ("gather", lambda c: swap_marks(c, "0", "0.1", "ended"), "outside"),
    "a part began before what holds it": ("gather", lambda c: swap_marks(c, "0", "0.1", "began"), "outside"),
    # ── signals ──
    "a signal was skipped": ("signals", lambda c: tell(c, "0.0", "a1"), "received"),
    "a signal came twice": ("signals", lambda c: tell(c, "0.1", "a0"), "received"),
    "signals came newest first": ("signals", lambda c: (tell(c, "0.0", "a1"), tell(c, "0.1", "a0")), "received"),
    "a signal was lost after the last wait": ("signals", lambda c: c.ending.tale["drained"]["a"].pop(0), "received"),
    "a signal came from nowhere": ("timeout", lambda c: tell(c, "0.1", "a9"), "received"),
    "a timeout took a signal": (
        "signals",
        lambda c: (
            both(c, "0", ["error", ["TimeoutError", ""]]),
            at(c, "0.1").update(end=["error", ["TimeoutError", ""]]),
        ),
        "ended",
    ),
    "the last signal was not read": ("signals", lambda c: c.ending.tale["drained"]["a"].pop(), "to the last"),
    "a signal was refused by a run that waits for it": (
        "signals",
        lambda c: c.ending.refused.append(Sending("a", LAST)),
        "refused",
    ),
    "a later waiter was served first": ("waiters", lambda c: swap_marks(c, "0.0", "0.1", "began"), "before the one"),
    "a child missed what it was told": ("told child", lambda c: c.ending.tale["rounds"][0]["told"].pop(), "told"),
    "a child got its signals in the wrong order": (
        "told child",
        lambda c: swap_values(c.ending.tale["rounds"][0]["tale"]),
        "received",
    ),
    # ── except, finally, loops, generations ──
    "a handler did not run": ("handled", lambda c: at(c, "0")["parts"].__setitem__(1, None), "handler did not run"),
    "a handler ran without an error": (
        "unhandled",
        lambda c: at(c, "0")["parts"].__setitem__(1, {**at(c, "0.0"), "at": "w7:0.1"}),
        "handler ran",
    ),
    "a cleanup did not run": ("handled", lambda c: at(c, "0")["parts"].__setitem__(2, None), "cleanup did not run"),
    "a loop ended early": ("loop", lambda c: (at(c, "0")["parts"].pop(), at(c, "0")["end"][1].pop()), "parts"),
    "a loop skipped a turn": ("loop", lambda c: at(c, "0")["parts"].__setitem__(1, None), "ended"),
    "a generation forgot the one before": ("rounds", lambda c: c.ending.tale["rounds"].pop(0), "rounds"),
    "a generation changed the one before": ("rounds", lambda c: at(c, "0")["end"].__setitem__(1, None), "ended"),
    "the cleanup of a generation was left out": (
        "rounds",
        lambda c: lines(c, lambda all: [line for line in all if not line.uid.endswith("leaving")]),
        "0 attempts began",
    ),
    # ── children ──
    "a child's result was altered": ("child", lambda c: both(c, "0", ["ok", None]), "ended"),
    "a child's failure was not raised": ("failed child", lambda c: both(c, "0", ["ok", None]), "without a tale"),
    "a child's tale got lost": ("failed child", lambda c: c.ending.tales.clear(), "without a tale"),
    "a child was given another's tale": (
        "child",
        lambda c: c.ending.tale["rounds"][0]["tale"].update(who="w0"),
        "without a tale",
    ),
    # ── cancels, timeouts, time ──
    "a step was cancelled by nobody": ("gather", lambda c: at(c, "0.1").update(end=["cancelled"]), "ended"),
    "a run ended cancelled by nobody": ("gather", lambda c: setattr(c.ending, "status", "cancelled"), "asked"),
    "a loser of a race won": ("race", lambda c: at(c, "0")["won"].__setitem__(0, 1), "ended"),
    "a race was won by who ended later": ("race", lambda c: swap_marks(c, "0.0", "0.1", "ended"), "ended"),
    "a timer fired early": ("sleep", lambda c: sooner(c, "0"), "ended"),
    "a timeout fired early": ("limit", lambda c: sooner(c, "0"), "ended"),
    "a timeout was not raised": ("limit", lambda c: both(c, "0", ["cancelled", None]), "ended"),
    "what was cut came back with a result": ("limit", lambda c: both(c, "0", ["ok", None]), "ended"),
    "a task that was cancelled by hand goes on": (
        "cancel",
        lambda c: at(c, "0.0").update(end=None, ended=None),
        "still open",
    ),
    "workflow time went back": (
        "steps",
        lambda c: at(c, "0.3")["began"].__setitem__(1, at(c, "0.0")["began"][1] - 1),
        "went back",
    ),
    "two things happened at one mark": (
        "gather",
        lambda c: at(c, "0.1").update(began=at(c, "0.0")["began"]),
        "made twice",
    ),
    # ── chance, and what is published ──
    "a uuid came twice": ("chance", lambda c: repeat_uuid(c), "drawn twice"),
    "replay drew something else": ("chance", lambda c: at(c, "0.0")["drawn"].__setitem__(1, 0.5), "ended"),
    "an item was emitted twice": ("notes", lambda c: c.ending.streams["k"].append("w18:0.1"), "stream"),
    "an item was lost": ("notes", lambda c: c.ending.streams["k"].pop(), "stream"),
    "items changed places": ("notes", lambda c: c.ending.streams["k"].reverse(), "stream"),
    "an older value won": ("notes", lambda c: c.ending.values.update(l="w18:0.2"), "values"),
    # ── effects ──
    "a step is done that never began": ("gather", lambda c: lines(c, lambda all: all[2:]), "0 attempts began"),
    "a step that was done began again": ("gather", lambda c: lines(c, lambda all: [*all, all[0]]), "2 attempts"),
    "a failed attempt was not repeated": ("steps", lambda c: drop_first(c, "w0:0.2"), "1 attempts began"),
    "a step began that nobody called": (
        "gather",
        lambda c: lines(c, lambda all: [*all, Effect("begin", "w1:0.7", "k")]),
        "nobody has called",
    ),
    "a call had two keys": (
        "steps",
        lambda c: lines(c, lambda all: [*all[:-1], replace(all[-1], key="another")]),
        "had the keys",
    ),
    "two calls had one key": (
        "gather",
        lambda c: lines(c, lambda all: [replace(line, key=all[0].key) for line in all]),
        "is also that of",
    ),
    "nothing was undone": ("saga", lambda c: only(c, "begin", "end"), "not in their order"),
    "the oldest was undone first": ("saga", lambda c: lines(c, lambda all: [*undos(all)[::-1], *rest(all)]), "order"),
    "something was undone twice": ("saga", lambda c: lines(c, lambda all: [*all, undos(all)[0]]), "2 times"),
    "a saga that went well was undone": (
        "kept saga",
        lambda c: lines(c, lambda all: [*all, Effect("undo", "w20:0.0", "k")]),
        "no saga around it failed",
    ),
    # ── the run's own end ──
    "a run that failed completed": ("raises", lambda c: setattr(c.ending, "status", "completed"), "it ended completed"),
    "a run failed that did not": ("gather", lambda c: setattr(c.ending, "status", "failed"), "it ended failed"),
    "a run failed with something else": ("raises", lambda c: setattr(c.ending, "error", ["ValueError", ""]), "failed"),
    "a run lost its tale": ("gather", lambda c: setattr(c.ending, "tale", None), "without a tale"),
}


def swap_values(tale: Any) -> None:
    seq = tale["rounds"][0]
    one, other = seq["parts"]
    one["end"], other["end"] = other["end"], one["end"]
    seq["end"][1].reverse()
    tale["value"] = seq["end"][1]


def repeat_uuid(case: Case) -> None:
    at(case, "0.1")["drawn"][0] = at(case, "0.0")["drawn"][0]
    tell(case, "0.1", {"uid": at(case, "0.1")["at"], "value": at(case, "0.1")["drawn"]})


def drop_first(case: Case, uid: str) -> None:
    case.effects.remove(next(line for line in case.effects if line.uid == uid))


def only(case: Case, *phases: str) -> None:
    case.effects = [line for line in case.effects if line.phase in phases]


def undos(all: list[Effect]) -> list[Effect]:
    return [line for line in all if line.phase == "undo"]


def rest(all: list[Effect]) -> list[Effect]:
    return [line for line in all if line.phase != "undo"]


@pytest.mark.parametrize("name", GIVEN)
def test_what_the_engine_does_is_legal(name: str) -> None:
    assert carried()[name].wrong() == []


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_refused(mistake: str) -> None:
    name, change, said = WRONG[mistake]
    case = copy.deepcopy(carried()[name])
    change(case)
    found = case.wrong()
    assert any(said in one for one in found), found


def test_no_crash_excuses_what_crashes_cannot_do() -> None:
    excused = {mistake for mistake in WRONG if _is_legal_with_crashes(mistake)}
    assert excused == {"a step that was done began again", "something was undone twice"}


def _is_legal_with_crashes(mistake: str) -> bool:
    name, change, _ = WRONG[mistake]
    case = copy.deepcopy(carried()[name])
    change(case)
    return case.wrong(crashes=True) == []


def test_an_at_most_once_step_that_begins_twice_is_refused_even_under_crashes() -> None:
    case = copy.deepcopy(carried()["steps"])
    case.effects.append(next(line for line in case.effects if line.once and line.phase == "begin"))
    assert any("at-most-once step began 2 times" in one for one in case.wrong(crashes=True))


def test_an_at_most_once_step_that_a_crash_cut_is_raised_as_such_and_only_then() -> None:
    given = Workload((Step(form="once", error="os"),))
    (case,) = asyncio.run(carried_out([given]))
    both(case, "0", ["error", ["StepInterrupted"]])
    case.effects = case.effects[:1]
    assert case.wrong(crashes=True) == []
    assert case.wrong() != []


def test_a_cancelled_run_is_legal_if_somebody_asked_for_it() -> None:
    case = copy.deepcopy(carried()["gather"])
    case.ending.status, case.ending.tale = "cancelled", None
    assert case.wrong(cancelled=True) == []
    assert case.wrong() != []


@pytest.mark.slow
def test_no_result_in_any_random_tale_can_be_another() -> None:
    """Each record of each tale in turn gets another end; the model refuses every one of them."""
    checked = 0
    for case in asyncio.run(carried_out([random_workload(Random(seed)) for seed in range(150)])):
        for record in records(case.ending.tale):
            kept = record["end"]
            if kept is None:
                continue
            for end in (["ok", "something else"], ["error", ["ValueError", "something else"]]):
                record["end"] = end
                assert case.wrong() != [], (case.workload, record)
                checked += 1
            record["end"] = kept
        assert case.wrong() == []
    assert checked > 2_000
