"""Random workflows: what they are made of, the one workflow that carries them out, and the model that judges them.

A test is three calls: ``random_workload`` (or ``strategies.workloads``, for who has Hypothesis); ``scenario``, inside
``recording``; and ``violations``.
"""

from durable_testing.workloads.generate import random_workload
from durable_testing.workloads.interpreter import WORKFLOWS
from durable_testing.workloads.ledger import Effect, Ledger, recording
from durable_testing.workloads.model import essence, violations
from durable_testing.workloads.plan import Sending, Workload, is_confluent
from durable_testing.workloads.scenario import Ending, scenario
from durable_testing.workloads.steps import SIDE_QUEUE, STEPS

QUEUES = ("default", SIDE_QUEUE)

__all__ = [
    "QUEUES",
    "STEPS",
    "WORKFLOWS",
    "Effect",
    "Ending",
    "Ledger",
    "Sending",
    "Workload",
    "essence",
    "is_confluent",
    "random_workload",
    "recording",
    "scenario",
    "violations",
]
