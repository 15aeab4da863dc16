"""What templates come to, retry policies and the start's context, as programs write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from durable import Retry
from durable_dag.errors import InvalidContext, InvalidOutput
from durable_dag.graph.definition import RetryPolicy
from durable_dag.graph.schemas import misfit, misfits
from durable_dag.graph.templates import MISSING, Path, lookup, shown_value
from durable_dag.problems import Problem
from durable_dag.running.retries import retry_of

Json: TypeAlias = Any

__all__ = ["check_context", "fitting", "joined", "pick", "retries"]


def pick(seen: Mapping[str, Json], root: str, *way: str | int, default: Json = MISSING) -> Json:
    """The value that a way leads to: ``pick(seen, "context", "validate", "userId")``.

    Args:
        default: Instead of null, and where the way leads nowhere.

    Raises:
        TemplateUnresolved: It leads nowhere, and there is no default.
    """
    source = root + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in way)
    return lookup(Path(source, root, way, default), seen)


def joined(*parts: Json) -> str:
    """One text: texts as they are, other values as JSON."""
    return "".join(shown_value(part) for part in parts)


def retries(
    max_attempts: int = 1,
    *,
    multiplier: float = 2.0,
    initial_delay: float = 1000.0,
    max_delay: float | None = None,
    jitter: float = 0.0,
    retry_on: tuple[str, ...] = (),
    do_not_retry_on: tuple[str, ...] = (),
    max_elapsed: float | None = None,
) -> Retry:
    """A definition's retry policy for ``@step(retry=...)``: it hears Retry-After and knows which statuses are worth it.

    Args:
        initial_delay: Milliseconds, as are ``max_delay`` and ``max_elapsed``.
        retry_on: Names of errors and HTTP statuses, as texts; if there are any, only these are retried.
    """
    return retry_of(
        RetryPolicy(max_attempts, multiplier, initial_delay, max_delay, jitter, retry_on, do_not_retry_on, max_elapsed)
    )


def check_context(context: Mapping[str, Json], schema: Json) -> None:
    """Hold the start's context against a JSON Schema.

    Raises:
        InvalidContext: It does not fit, with everything that is wrong.
    """
    wrong = misfits(dict(context), schema)
    if wrong:
        problems = [Problem("/context" + where, "schema", message) for where, message in wrong]
        raise InvalidContext("invalid_context", problems)


def fitting(value: Json, schema: Json) -> Json:
    """The value, if it fits a JSON Schema.

    Raises:
        InvalidOutput: It does not.
    """
    if (wrong := misfit(value, schema)) is not None:
        raise InvalidOutput(f"the result does not fit outputSchema: {wrong}")
    return value
