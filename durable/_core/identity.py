"""What a call is called: task path / kind / name # occurrence, fixed where the call is written.

The task path is made of the indices of asyncio tasks in creation order within their parent: ``0`` is the main task,
``0.2`` its third child. Structure and names, not a global counter: an edit somewhere shifts nothing elsewhere, and
after a crash no branch can take another branch's result.
"""

from __future__ import annotations

import hashlib
from typing import Final

from durable._model.ids import MessageId, RunId

MAIN_PATH: Final = "0"
OUTSIDE_PATH: Final = "~"  # callbacks that belong to no task

__all__ = [
    "MAIN_PATH",
    "OUTSIDE_PATH",
    "child_id",
    "derived_id",
    "follows",
    "idempotency_key",
    "kind_of",
    "matches",
    "name_of",
    "next_seed",
]


def name_of(call: str) -> str:
    """The part people know: ``charge`` of ``0.1/step/charge#0``, and ``charge#1`` for a second occurrence."""
    rest = call.split("/", 2)[-1]
    return rest.removesuffix("#0")


def kind_of(call: str) -> str:
    """``step`` of ``0/step/charge#0``."""
    parts = call.split("/", 2)
    return parts[1] if len(parts) == 3 else ""


def matches(asked: str, call: str) -> bool:
    """Whether a person who writes ``asked`` can mean this call: its identity, its name, or name#occurrence."""
    if asked == call:
        return True
    rest = call.split("/", 2)[-1]
    return asked in (rest, rest.rsplit("#", 1)[0])


def derived_id(*parts: str) -> str:
    """A deterministic id from identity; parts are joined with a character that no name can hold."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=12).hexdigest()


def next_seed(seed: str) -> str:
    """The seed of a run's next generation: another one, but whoever knows the first can tell that it follows."""
    return derived_id(seed, "next") + derived_id("next", seed)[:8]


def follows(seed: str, first: str, generations: int) -> bool:
    """Whether a seed is that of one of the first so many generations of a run that began with another."""
    for _ in range(generations):
        if first == seed:
            return True
        first = next_seed(first)
    return False


def child_id(run: str, generation: int, call: str) -> RunId:
    """The id of a child run whose caller chose none: readable, unique, at most 255 bytes."""
    stem = run.encode()[:200].decode(errors="ignore")
    return RunId(f"{stem}.{derived_id(run, str(generation), call)}")


def command_id(run: str, generation: int, call: str) -> MessageId:
    """The id of a message that workflow code sends."""
    return MessageId(f"cmd/{derived_id(run, str(generation), call)}")


def idempotency_key(run: str, generation: int, call: str) -> str:
    """The key of a step: run id / generation / identity, the same over attempts and crashes."""
    return f"{run}/{generation}/{call}"
