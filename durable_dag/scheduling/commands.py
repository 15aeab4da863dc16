"""What a step asks of the world, and what the world answers. Values only: the engine's calls stand behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from durable_dag.graph.definition import RetryPolicy

Json: TypeAlias = Any

__all__ = ["Answer", "Child", "Command", "Err", "Job", "Late", "Many", "Ok", "Sleep", "Wait", "Work"]


@dataclass(frozen=True, slots=True)
class Late:
    """A text in rendered params that is only known to the attempt: secrets, and the attempt's number.

    Attributes:
        path: Where it belongs in the params.
        parts: Texts as they are, and ways as lists: ``["secrets", "TOKEN"]``, ``["step", "attempt"]``.
    """

    path: tuple[str | int, ...]
    parts: tuple[str | tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One thing for an executor to do.

    Attributes:
        step: Id of the step that it belongs to.
        key: For services that can refuse a repeat: the same over all attempts.
        variables: What foreign code sees, made when it is needed; None for executors without such code.
        schema: That the result must fit; None for any.
        keep: Whether the result is wanted.
    """

    step: str
    action: str
    params: Mapping[str, Json]
    key: str
    late: tuple[Late, ...] = ()
    variables: Callable[[], dict[str, Json]] | None = None
    schema: Json = None
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """A durable step: one job, or several that are tried together.

    Attributes:
        name: In the journal.
        timeout: Milliseconds for one attempt; None for no limit.
        batched: Whether the result is the list of the jobs' results, rather than that of the only one.
        pick_up: Milliseconds until a worker of the queue must have taken it up; None for no limit.
    """

    name: str
    jobs: tuple[Job, ...]
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float | None = None
    queue: str | None = None
    batched: bool = False
    pick_up: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait until an instant."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a signal, until an instant if there is one.

    Attributes:
        form: What people who are to send it are shown: ``prompt``, ``schema``, ``assignees``.
    """

    signal: str
    until: datetime | None = None
    form: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Child:
    """An execution of another workflow.

    Attributes:
        request: Its input.
        limit: Milliseconds; None for no limit.
        detached: Id of a child that is started and not awaited; None for one that is.
        pick_up: As of ``Work``.
        retry: What one of several calls is tried again by; a single call is by its step.
    """

    request: Mapping[str, Json]
    queue: str | None = None
    limit: float | None = None
    detached: str | None = None
    pick_up: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class Many:
    """Several calls at once, their results in order.

    Attributes:
        limit: How many are under way at once; None for no limit.
        allowed: How many may fail; their results are None.
        time: Milliseconds for all; None for no limit.
    """

    calls: Sequence[Work | Child]
    limit: int | None
    allowed: int
    time: float | None = None


Command = Work | Sleep | Wait | Child | Many


@dataclass(frozen=True, slots=True)
class Ok:
    """It worked."""

    value: Json = None


@dataclass(frozen=True, slots=True)
class Err:
    """It did not.

    Attributes:
        name: Of the error, as ``retryOn`` has it.
    """

    name: str
    message: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.name}: {self.message}" if self.message else self.name


Answer = Ok | Err
