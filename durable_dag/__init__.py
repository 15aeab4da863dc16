"""Workflows that are data: graphs of steps, as JSON, carried out by one durable workflow; and their JavaScript."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from durable_dag.egress import EgressPolicy, Outbound, Request, Response
    from durable_dag.engine import Engine
    from durable_dag.errors import (
        ConcurrencyLimit,
        DagError,
        EgressDenied,
        EndpointGone,
        ExecutionConflict,
        ExecutionFailed,
        ExecutionNotFound,
        HttpProblem,
        HttpStatusError,
        InvalidContext,
        InvalidDefinition,
        InvalidOutput,
        ScheduleTimeout,
        StepFailure,
        TemplateUnresolved,
        VersionConflict,
        WorkflowDisabled,
        WorkflowInUse,
        WorkflowNotFound,
    )
    from durable_dag.executors import StepContext
    from durable_dag.problems import Problem
    from durable_dag.signing import sign, verify
    from durable_dag.starting import Started
    from durable_dag.validation import Checked, definition_schema
    from durable_dag.versions import Registered, Stored

# Loaded when first asked for: who wants the JavaScript sandbox alone needs neither the engine nor its workflow.
_HOMES: Final = {
    "Checked": "validation",
    "ConcurrencyLimit": "errors",
    "DagError": "errors",
    "EgressDenied": "errors",
    "EgressPolicy": "egress",
    "EndpointGone": "errors",
    "Engine": "engine",
    "ExecutionConflict": "errors",
    "ExecutionFailed": "errors",
    "ExecutionNotFound": "errors",
    "HttpProblem": "errors",
    "HttpStatusError": "errors",
    "InvalidContext": "errors",
    "InvalidDefinition": "errors",
    "InvalidOutput": "errors",
    "Outbound": "egress",
    "Problem": "problems",
    "Registered": "versions",
    "Request": "egress",
    "Response": "egress",
    "ScheduleTimeout": "errors",
    "Started": "starting",
    "StepContext": "executors",
    "StepFailure": "errors",
    "Stored": "versions",
    "TemplateUnresolved": "errors",
    "VersionConflict": "errors",
    "WorkflowDisabled": "errors",
    "WorkflowInUse": "errors",
    "WorkflowNotFound": "errors",
    "definition_schema": "validation",
    "sign": "signing",
    "verify": "signing",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'durable_dag' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"durable_dag.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Checked",
    "ConcurrencyLimit",
    "DagError",
    "EgressDenied",
    "EgressPolicy",
    "EndpointGone",
    "Engine",
    "ExecutionConflict",
    "ExecutionFailed",
    "ExecutionNotFound",
    "HttpProblem",
    "HttpStatusError",
    "InvalidContext",
    "InvalidDefinition",
    "InvalidOutput",
    "Outbound",
    "Problem",
    "Registered",
    "Request",
    "Response",
    "ScheduleTimeout",
    "Started",
    "StepContext",
    "StepFailure",
    "Stored",
    "TemplateUnresolved",
    "VersionConflict",
    "WorkflowDisabled",
    "WorkflowInUse",
    "WorkflowNotFound",
    "definition_schema",
    "sign",
    "verify",
]
