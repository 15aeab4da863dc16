"""A store as everybody can read it, as text: two pictures are equal if nobody could tell the stores apart.

Names begin with a tag, so that many scenes fit in one store; times count from the scene's beginning. Both are taken
out, and so is what the protocol leaves open (``plain``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final

from durable.store import RunId, RunQuery, RunRecord, Store
from durable_testing.conformance.plain import plain

__all__ = ["Picture", "canonical", "differences", "picture"]

Picture = dict[str, str]

# Store times are seconds since the epoch; nothing else that a scene says is a number of this size.
_INSTANTS_FROM: Final = 1e9
# Where runs are purged, later ones begin with higher epochs; 0 stays 0: never claimed.
_EPOCH: Final = re.compile(r"epoch=([1-9]\d*)")


def canonical(value: object, tag: str, zero: float, base: int | None = None) -> str:
    """The value as text, without the scene's tag, and counted from its time zero and its first epoch.

    Args:
        base: The epoch below the scene's first; None: there was no claim before, so the value's lowest is the first.
    """
    text = _text(plain(value), zero).replace(tag, "")
    if base is None:
        base = min((int(epoch) for epoch in _EPOCH.findall(text)), default=1) - 1
    return _EPOCH.sub(lambda found: f"epoch={int(found[1]) - base}", text)


def _text(value: object, zero: float) -> str:
    if value is None or isinstance(value, str | bytes | int):
        return repr(value)
    if isinstance(value, float):
        return f"T{value - zero:+}" if value >= _INSTANTS_FROM else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join([_text(plain(one), zero) for one in value])}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{key!r}: {_text(one, zero)}' for key, one in value.items()))}}}"
    kind: type = type(value)
    said = [f"{name}={_text(getattr(value, name), zero)}" for name in _fields(kind)]
    return f"{kind.__name__}({', '.join(said)})"


@functools.cache
def _fields(kind: Hashable) -> tuple[str, ...]:
    assert is_dataclass(kind), f"answers are made of values; {kind} is none"
    return tuple(field.name for field in fields(kind))


async def picture(store: Store, tag: str, ids: Sequence[RunId], zero: float, base: int | None = None) -> Picture:
    """Everything that the store says of these runs (the first is the parent of one that is listed), of the records of
    kind ``tag``, and of the tag's sessions.
    """
    found: dict[str, object] = {}
    rows = [row for row in await store.get(ids) if row is not None]
    for row in rows:
        found.update(await _of_run(store, row, whole=row.epoch > 0 or row.ended))
    found["list"] = await store.list(RunQuery(parent=ids[0]), 10)
    found["records"] = await store.list_records(tag)
    found["sessions"] = sorted(_text(one, zero) for one in await store.sessions() if one.id.startswith(tag))
    return {name.replace(tag, ""): canonical(value, tag, zero, base) for name, value in found.items()}


async def _of_run(store: Store, row: RunRecord, *, whole: bool) -> dict[str, object]:
    """What is to be read of one run; of one that no worker has seen, only what others can have put there."""
    run = row.id
    found: dict[str, object] = {
        f"{run} row": row,
        f"{run} input": await store.input(run),
        f"{run} messages": await store.messages(run, unread_only=False),
    }
    if whole:
        found[f"{run} outcome"] = await store.outcome(run)
        found[f"{run} unread"] = await store.messages(run)
        found[f"{run} values"] = await store.values(run)
        found[f"{run} stream"] = await store.stream(run, "s")
        found[f"{run} parts"] = await store.parts(run, ["h", "a", "b"])
        for generation in range(1, row.generation + 2):
            found[f"{run} journal {generation}"] = await store.journal(run, generation)
    return found


def differences(expected: Picture, found: Picture, limit: int = 6) -> str:
    """The lines in which two pictures differ, for a failing test's message."""
    lines: list[str] = []
    for name in sorted({*expected, *found}):
        one, other = expected.get(name, "(nothing)"), found.get(name, "(nothing)")
        if one != other:
            lines.append(f"  {name}:\n    expected {one}\n    found    {other}")
    more = f"\n  and {len(lines) - limit} more" if len(lines) > limit else ""
    return "\n".join(lines[:limit]) + more
