"""The pure model: whether a tale, its signals and its effects are what the workload can lead to.

The model walks the nodes and the tale side by side. For each node it derives, from how its parts have ended, how it may
have ended itself. Where nothing races, that is one way, down to each value. Where something races (a race, a timeout,
a cancel, a failed sibling) it is each way that some order of events leads to: a part may have been cut as often as
scopes around it have in fact let go of it, and not otherwise. Crashes, evictions and delays are no part of it: they
must change nothing but how often attempts begin, and what becomes of an at-most-once step that a crash has cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_testing.workloads import nodes
from durable_testing.workloads.ledger import Effect
from durable_testing.workloads.plan import Workload
from durable_testing.workloads.runs import Case, RunJudge
from durable_testing.workloads.scenario import Ending
from durable_testing.workloads.traces import Expectations

Json = Any

__all__ = ["essence", "violations"]


def violations(
    workload: Workload,
    ending: Ending,
    effects: Sequence[Effect],
    *,
    scale: float = 1.0,
    crashes: bool = False,
    cancelled: bool = False,
) -> list[str]:
    """What is wrong with an ending; nothing, if it is legal.

    Args:
        effects: The ledger's lines of this scenario.
        scale: As given to ``scenario``.
        crashes: Whether workers may have died or lost their leases: attempts may then have begun again.
        cancelled: Whether somebody has asked the run to end.
    """
    case = Case(ending.tales, scale, Expectations(crashes))
    _root(case, workload, ending, cancelled)
    case.expected.check(effects, case.say)
    return case.problems


def essence(tale: Json) -> Json:
    """A tale without what may differ between two legal runs of one confluent workload: times, and what was drawn."""
    return {
        "rounds": [_essence(record) for record in tale["rounds"]],
        "error": tale["error"],
        "drained": {name: _payloads(got) for name, got in tale["drained"].items()},
    }


def _essence(record: Json) -> Json:
    if record is None:
        return None
    end = record["end"]
    derived = bool(record["parts"]) or record["kind"] in ("chance", "child")  # then the value adds nothing
    return {
        "at": record["at"],
        "end": end[:1] if end is not None and end[0] == "ok" and derived else end,
        "parts": [_essence(part) for part in record["parts"]],
        "got": _payloads(record.get("got", [])),
        "tale": None if "tale" not in record else essence(record["tale"]),
    }


def _payloads(got: Json) -> Json:
    return [payload for _, _, payload in got]


def _root(case: Case, workload: Workload, ending: Ending, cancelled: bool) -> None:
    """The root run: its tale, and what is known from outside."""
    who = ending.who
    if ending.status == "cancelled":
        case.expected.unknown.add(who)
        if not cancelled:
            case.say(who, "it ended cancelled, and nobody has asked for that")
        return
    if ending.tale is None:
        case.say(who, f"it ended {ending.status} without a tale: {ending.error}")
        case.expected.unknown.add(who)
        return
    fails = workload.raises and ending.tale["error"] is not None
    if (ending.status == "failed") != fails:
        case.say(who, f"it ended {ending.status}, and its tale says {ending.tale['error']}")
    if fails and ending.error != ["RunFailed", ["WorkloadFailed", who]]:
        case.say(who, f"it failed with {ending.error}")
    if workload.drains and ending.refused:
        case.say(who, f"it refused {ending.refused} before it had read the last signal")
    run = RunJudge(case, who, loose=workload.leaves)
    run.tale(ending.tale, workload.rounds, workload.drained)
    run.trail.check_receipts(who, [(one.name, one.payload) for one in ending.sent], workload.drained, case.say)
    run.trail.check_notes(who, ending.values, ending.streams, not workload.leaves, case.say)
    if workload.leaving == "cleanup":
        for number in range(len(workload.rounds) - 1):
            case.expected.step(f"{who}:{number}.leaving", nodes.Step(), certain=True)
