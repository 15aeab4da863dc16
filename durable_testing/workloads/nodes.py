"""What a random workflow is made of: frozen values, and the same as JSON.

A node has no name of its own. It is known by its place in the tree (``child_at``), so that a tree can be shrunk freely
and the interpreter and the model still mean the same node by the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias

Json = Any
Does = Literal["return", "flaky", "fail", "unencodable", "huge"]
Form = Literal["async", "sync", "once", "undo", "queue", "inline", "inline sync"]
OnClose = Literal["cancel", "terminate", "abandon"]
QUEUE_ATTEMPTS: Final = 3

__all__ = [
    "KINDS",
    "Cancel",
    "Chance",
    "Child",
    "Gather",
    "Group",
    "Limit",
    "Listen",
    "Loop",
    "Map",
    "Node",
    "Note",
    "Parallel",
    "QUEUE_ATTEMPTS",
    "Race",
    "Raise",
    "Saga",
    "Seq",
    "Sleep",
    "Step",
    "Try",
    "Wait",
    "child_at",
    "dump",
    "kind_of",
    "load",
    "parts_of",
    "walk",
]


# ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a step.

    Attributes:
        does: ``flaky`` fails ``fails`` times and then returns; ``unencodable`` and ``huge`` return what cannot be kept.
        value: What it returns.
        tagged: Return ``value`` together with the call's uid; if not, bare, so that falsy values are falsy.
        form: How it is declared; ``once`` is at-most-once, ``queue`` is carried out on another queue.
        fails: Attempts that fail first.
        attempts: Allowed by its retry policy; 1 for no policy. On another queue always ``QUEUE_ATTEMPTS``.
        error: A key of ``behaviours.ERRORS``.
        seconds: How long an attempt takes.
        sour: Its undo fails.
    """

    does: Does = "return"
    value: Json = None
    tagged: bool = True
    form: Form = "async"
    fails: int = 0
    attempts: int = 1
    error: str = "value"
    seconds: float = 0.0
    sour: bool = False

    def __post_init__(self) -> None:
        assert self.fails < self.attempts
        assert self.attempts == (QUEUE_ATTEMPTS if self.form == "queue" else self.attempts)
        assert self.attempts == 1 or self.form != "once"
        assert self.tagged or self.form != "undo"


@dataclass(frozen=True, slots=True)
class Sleep:
    """A durable timer."""

    seconds: float = 0.0
    how: Literal["asyncio", "context", "named", "until"] = "asyncio"


@dataclass(frozen=True, slots=True)
class Wait:
    """Take the next signal of a name; ``seconds`` is its timeout, None to wait for ever."""

    name: str = "a"
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """Take ``count`` signals with ``async for``, then leave the iterator."""

    name: str = "a"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Chance:
    """Draw a uuid, a random number and the time, and let a step repeat them: its outcome is from the first run."""


@dataclass(frozen=True, slots=True)
class Note:
    """Publish the node's uid: ``set`` a value, or ``emit`` an item."""

    how: Literal["set", "emit"] = "set"
    key: str = "k"


@dataclass(frozen=True, slots=True)
class Raise:
    """Workflow code that raises."""

    error: str = "value"


# ── several, one after the other or at once ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other."""

    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop:
    """The same thing several times."""

    body: Node
    times: int = 2


@dataclass(frozen=True, slots=True)
class Gather:
    """``asyncio.gather``; with ``keep`` errors are values. Without it a failure leaves the others running."""

    items: tuple[Node, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Parallel:
    """``ctx.parallel``."""

    items: tuple[Node, ...] = ()
    limit: int | None = None
    tolerate: int = 0


@dataclass(frozen=True, slots=True)
class Map:
    """``ctx.map`` of one step over several orders."""

    orders: tuple[Step, ...] = ()
    limit: int | None = None
    tolerate: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """``asyncio.TaskGroup``."""

    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Race:
    """``asyncio.wait(FIRST_COMPLETED)``; who has not won is cancelled and awaited. A failure can win."""

    items: tuple[Node, ...] = ()


# ── around one thing ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Limit:
    """A timeout: ``asyncio.timeout`` or ``asyncio.wait_for``."""

    body: Node
    seconds: float = 1.0
    how: Literal["timeout", "wait_for"] = "timeout"


@dataclass(frozen=True, slots=True)
class Cancel:
    """A task that is cancelled by hand after ``seconds``, unless it has ended; its end is the value."""

    body: Node
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Try:
    """``try``, with ``except Exception`` if there is a handler, with ``finally`` if there is a cleanup."""

    body: Node
    handler: Node | None = None
    cleanup: Node | None = None


@dataclass(frozen=True, slots=True)
class Saga:
    """``ctx.saga``: if the body fails, its ``undo`` steps are undone, newest first."""

    body: Node


@dataclass(frozen=True, slots=True)
class Child:
    """A child run of the same workflow.

    Attributes:
        rounds: Its generations.
        tells: Names of the signals that the parent sends it as soon as it is started.
    """

    rounds: tuple[Node, ...] = ()
    on_close: OnClose = "cancel"
    tells: tuple[str, ...] = ()


Node: TypeAlias = (
    Step | Sleep | Wait | Listen | Chance | Note | Raise  # leaves
    | Seq | Loop | Gather | Parallel | Map | Group | Race | Limit | Cancel | Try | Saga | Child
)  # fmt: skip
KINDS: Final[dict[str, type[Node]]] = {
    kind.__name__.lower(): kind
    for kind in (
        Step, Sleep, Wait, Listen, Chance, Note, Raise,
        Seq, Loop, Gather, Parallel, Map, Group, Race, Limit, Cancel, Try, Saga, Child,
    )
}  # fmt: skip
_MANY: Final = ("items", "rounds", "orders")
_ONE: Final = ("body", "handler", "cleanup")


def kind_of(node: Node) -> str:
    """Its key in ``KINDS``."""
    return type(node).__name__.lower()


def child_at(at: str, place: int | str) -> str:
    """The uid of what stands at a place inside ``at``."""
    return f"{at}.{place}"


def parts_of(node: Node) -> Iterator[Node]:
    """The nodes directly inside."""
    for field in fields(node):
        found = getattr(node, field.name)
        if field.name in _MANY:
            yield from found
        elif field.name in _ONE and found is not None:
            yield found


def walk(node: Node) -> Iterator[Node]:
    """The node and all that is in it."""
    yield node
    for part in parts_of(node):
        yield from walk(part)


def dump(node: Node) -> Json:
    """As plain JSON."""
    found: dict[str, Any] = {"kind": kind_of(node)}
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name in _MANY:
            found[field.name] = [dump(part) for part in value]
        elif field.name in _ONE:
            found[field.name] = None if value is None else dump(value)
        else:
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def load(data: Json) -> Node:
    """And back."""
    given = dict(data)
    kind = KINDS[given.pop("kind")]
    for name, value in given.items():
        if name in _MANY:
            given[name] = tuple(load(part) for part in value)
        elif name in _ONE:
            given[name] = None if value is None else load(value)
        elif name == "tells":
            given[name] = tuple(value)
    return kind(**given)
