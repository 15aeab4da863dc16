"""JavaScript that nobody vouches for: conditions and transforms, evaluated where they can do no harm."""

from durable_dag.js.errors import (
    JsCrash,
    JsError,
    JsFailure,
    JsInterrupted,
    JsMemory,
    JsResultError,
    JsSyntaxError,
    JsTimeout,
)
from durable_dag.js.process import ProcessJs
from durable_dag.js.runtime import JsonValue, JsRuntime, SyntaxProblem

__all__ = [
    "JsCrash",
    "JsError",
    "JsFailure",
    "JsInterrupted",
    "JsMemory",
    "JsResultError",
    "JsRuntime",
    "JsSyntaxError",
    "JsTimeout",
    "JsonValue",
    "ProcessJs",
    "SyntaxProblem",
]
