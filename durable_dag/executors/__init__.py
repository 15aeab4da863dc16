"""Who carries steps out: the executors that are built in, and those that programs add."""

from durable_dag.executors.registry import Executor, Executors
from durable_dag.executors.request import StepContext

__all__ = ["Executor", "Executors", "StepContext"]
