"""Durable execution for Python: an ordinary ``async def`` that survives crashes, restarts, deploys and long waits."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from durable._author.calls import StepCall
from durable._author.context import Context, Continue
from durable._author.decorators import step, workflow
from durable._author.definitions import AsyncStep, Done, Invocation, NotDone, Signal, Step, SyncStep, Unknown, Workflow
from durable._author.saga import Saga
from durable._author.secret import Secret
from durable._model.duration import Duration
from durable._model.retention import Retention
from durable._model.retry import Retry
from durable.codec.redaction import redact
from durable.errors import (
    Corrupt,
    DuplicateRegistration,
    DurableError,
    InvalidInput,
    InvalidName,
    LeaseLost,
    MissingExtra,
    NonDeterminismError,
    NonRetryable,
    NotSerializable,
    OutcomeUnknown,
    PayloadTooLarge,
    ReadOnly,
    RetryAfter,
    RunBlocked,
    RunCancelled,
    RunConflict,
    RunEnded,
    RunFailed,
    RunNotFound,
    SecretUnavailable,
    StepError,
    StepInterrupted,
    StoreError,
    StoreFull,
    Transient,
    UnknownStore,
    UnknownWorkflow,
    WorkflowCodeError,
    WriteConflict,
)

if TYPE_CHECKING:
    from durable._engine.attempts import attempt_number, heartbeat, idempotency_key
    from durable._engine.client import Client, RunList
    from durable._engine.closer import Completion
    from durable._engine.connect import connect
    from durable._engine.handle import Handle, RunSummary, Status
    from durable._engine.history import HistoryEntry
    from durable._engine.script import run
    from durable._engine.sync import SyncClient, SyncHandle
    from durable._engine.worker import Worker

__version__ = "0.1.0"

# The engine is loaded when one of its names is first asked for, so that a module of workflows imports fast.
_ENGINE: Final = {
    "Client": "client",
    "Completion": "closer",
    "Handle": "handle",
    "HistoryEntry": "history",
    "RunList": "client",
    "RunSummary": "handle",
    "Status": "handle",
    "SyncClient": "sync",
    "SyncHandle": "sync",
    "Worker": "worker",
    "attempt_number": "attempts",
    "connect": "connect",
    "heartbeat": "attempts",
    "idempotency_key": "attempts",
    "run": "script",
}


def __getattr__(name: str) -> Any:
    room = _ENGINE.get(name)
    if room is None:
        raise AttributeError(f"module 'durable' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"durable._engine.{room}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "AsyncStep",
    "Client",
    "Completion",
    "Context",
    "Continue",
    "Corrupt",
    "Done",
    "DuplicateRegistration",
    "DurableError",
    "Duration",
    "Handle",
    "HistoryEntry",
    "InvalidInput",
    "InvalidName",
    "Invocation",
    "LeaseLost",
    "MissingExtra",
    "NonDeterminismError",
    "NonRetryable",
    "NotDone",
    "NotSerializable",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "ReadOnly",
    "Retention",
    "Retry",
    "RetryAfter",
    "RunBlocked",
    "RunCancelled",
    "RunConflict",
    "RunEnded",
    "RunFailed",
    "RunList",
    "RunNotFound",
    "RunSummary",
    "Saga",
    "Secret",
    "SecretUnavailable",
    "Signal",
    "Status",
    "Step",
    "StepCall",
    "StepError",
    "StepInterrupted",
    "StoreError",
    "StoreFull",
    "SyncClient",
    "SyncHandle",
    "SyncStep",
    "Transient",
    "Unknown",
    "UnknownStore",
    "UnknownWorkflow",
    "Worker",
    "Workflow",
    "WorkflowCodeError",
    "WriteConflict",
    "attempt_number",
    "connect",
    "heartbeat",
    "idempotency_key",
    "redact",
    "run",
    "step",
    "workflow",
]
