"""What exported programs stand on: the rules of skipping over tasks, the actions of definitions, and their values."""

from durable_dag.program.actions import Actions
from durable_dag.program.flow import Flow
from durable_dag.program.values import check_context, fitting, joined, pick, retries
from durable_dag.program.waits import Failed, delay, each, signal

__all__ = [
    "Actions",
    "Failed",
    "Flow",
    "check_context",
    "delay",
    "each",
    "fitting",
    "joined",
    "pick",
    "retries",
    "signal",
]
