"""Random workloads as values: their JSON, their dice, their demand for signals, and the ledger."""

import json
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import find, settings

from durable_testing.workloads import Effect, Sending, Workload, is_confluent, nodes, plan, random_workload, recording
from durable_testing.workloads.generate import DOES, FORMS
from durable_testing.workloads.ledger import current
from durable_testing.workloads.nodes import (
    Chance,
    Child,
    Gather,
    Limit,
    Listen,
    Loop,
    Node,
    Race,
    Raise,
    Seq,
    Step,
    Wait,
)
from durable_testing.workloads.strategies import workloads

SEEDS = range(400)


def depth(node: Node) -> int:
    return 1 + max((depth(part) for part in nodes.parts_of(node)), default=-1)


def test_a_workload_is_plain_json() -> None:
    for seed in SEEDS:
        workload = random_workload(Random(seed))
        assert plan.load(json.loads(json.dumps(plan.dump(workload)))) == workload


def test_the_same_seed_throws_the_same_workload() -> None:
    assert [random_workload(Random(seed)) for seed in SEEDS] == [random_workload(Random(seed)) for seed in SEEDS]


def test_each_kind_of_node_and_each_option_comes_soon() -> None:
    thrown = [random_workload(Random(seed)) for seed in SEEDS]
    found = [node for workload in thrown for node in plan.nodes_of(workload)]
    assert {nodes.kind_of(node) for node in found} == set(nodes.KINDS)
    steps = [node for node in found if isinstance(node, Step)]
    assert {step.form for step in steps} == set(FORMS)
    assert {step.does for step in steps} == set(DOES)
    assert {node.how for node in found if isinstance(node, Limit)} == {"timeout", "wait_for"}
    children = [node for node in found if isinstance(node, Child)]
    assert {child.on_close for child in children} == {"cancel", "terminate", "abandon"}
    assert any(child.tells for child in children)
    assert {workload.leaving for workload in thrown} == {"plain", "saga", "cleanup"}
    for option in ("raises", "leaves", "drains"):
        assert 20 < sum(getattr(workload, option) for workload in thrown) < 300, option


def test_no_tree_is_deeper_than_asked_for() -> None:
    for seed in SEEDS:
        assert all(depth(one) <= 2 for one in random_workload(Random(seed), max_depth=2).rounds)
    assert max(depth(one) for seed in SEEDS for one in random_workload(Random(seed)).rounds) == 4


def test_the_signals_of_a_random_workload_are_enough_for_all_its_waits() -> None:
    for seed in SEEDS:
        workload = random_workload(Random(seed))
        wanted = sum((plan.demand(one) for one in workload.rounds), Counter())
        sent = Counter(sending.name for sending in workload.signals)
        assert all(sent[name] >= count for name, count in wanted.items())


def test_demand_counts_what_loops_repeat_and_leaves_children_out() -> None:
    node = Seq((Loop(Seq((Wait("a"), Listen("b", 2))), 3), Wait("a", 1.0), Child((Wait("c"),), tells=("c",))))
    assert plan.demand(node) == Counter(a=4, b=6)


@pytest.mark.slow
def test_the_simplest_workload_is_one_leaf() -> None:
    (leaf,) = find(workloads(), lambda workload: True, random=Random(1)).rounds
    assert leaf in (Step(), Chance())  # the first of them, and the one with the fewest choices


@pytest.mark.slow
def test_a_failing_workload_shrinks_to_what_matters() -> None:
    def a_failure_in_a_race(workload: Workload) -> bool:
        races = [node for node in plan.nodes_of(workload) if isinstance(node, Race)]
        return any(isinstance(part, Raise) for race in races for part in nodes.walk(race))

    found = find(
        workloads(), a_failure_in_a_race, settings=settings(max_examples=2_000, database=None), random=Random(1)
    )
    (race,) = found.rounds
    assert isinstance(race, Race)
    assert len(race.items) <= 2
    assert set(race.items) <= {Step(), Raise()}


@pytest.mark.parametrize(
    ("node", "confluent"),
    [
        (Seq((Step(), Wait("a"))), True),
        (Gather((Step(), Step(does="flaky", fails=1, attempts=2))), True),
        (Gather((Step(), Step(does="fail")), keep=True), True),
        (Gather((Step(), Raise())), False),
        (Gather((Wait("a"), Wait("a")), keep=True), False),
        (Wait("a", 1.0), False),
        (Child((Race((Step(), Step())),)), False),
        (Limit(Step()), False),
    ],
)
def test_confluent_is_what_no_order_of_events_can_change(node: Node, confluent: bool) -> None:
    assert is_confluent(Workload((node,))) is confluent


def test_a_run_that_drains_is_sent_a_last_signal_of_each_name() -> None:
    workload = Workload((Wait("a"),), drains=True, signals=(Sending("b", 1), Sending("a", 2), Sending("a", 3)))
    assert [sending.name for sending in workload.sendings] == ["b", "a", "a", "a", "b"]


def test_steps_write_into_the_ledger_that_was_opened_last() -> None:
    line = Effect("begin", "w:0", "key")
    with recording() as outer:
        with recording() as inner:
            current().write(line)
        assert (outer.lines, inner.lines) == ([], [line])
        assert inner.begins("key") == 1
        assert (inner.of("w"), inner.of("v")) == ([line], [])


def test_workloads_need_neither_hypothesis_nor_pytest() -> None:
    code = (
        "import sys, durable_testing.workloads; print(sorted({'hypothesis', 'pytest', 'freezegun'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
