"""What steps of definitions do without an executor: wait, be told something, fail, or do a thing for each item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from durable import Context, Step
from durable.errors import NonRetryable
from durable_dag.errors import error_name
from durable_dag.graph.definition import read_definition
from durable_dag.graph.plan import Plan
from durable_dag.scheduling.commands import Answer, Err, Ok, Sleep, Wait
from durable_dag.scheduling.fanout import ITEMS_MAX, allowed_failures
from durable_dag.scheduling.life import Ending, Steps, life
from durable_dag.scheduling.scope import Facts, Scopes
from durable_dag.scheduling.tally import Tally

Json: TypeAlias = Any

__all__ = ["Failed", "delay", "delayed", "each", "signal"]


class Failed(NonRetryable):
    """A step that has failed, under the name that its definition gives the error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.type_name = name
        self.message = message

    def __str__(self) -> str:
        return self.message


async def delay(ctx: Context, seen: Mapping[str, Json], params: Mapping[str, Json]) -> Json:
    """Wait for ``duration`` milliseconds, or ``until`` an instant; ``{"delayed": milliseconds}``."""
    return await _lived(ctx, seen, "delay", params)


async def signal(ctx: Context, seen: Mapping[str, Json], params: Mapping[str, Json], timeout: Json = None) -> Json:
    """Wait for a signal: ``name`` (by default the step's id), ``timeout``, ``onTimeout``, ``schema``.

    Args:
        timeout: Of the step, in milliseconds, where params have none.
    """
    return await _lived(ctx, seen, "signal.wait", {**({} if timeout is None else {"timeout": timeout}), **params})


def delayed(params: Mapping[str, Json], now: datetime) -> Ending:
    """What a delay would come to that begins now, without waiting."""
    steps = _life("delay", "delay", params, lambda: now)
    answer: Answer | None = None
    try:
        while True:
            _ = next(steps) if answer is None else steps.send(answer)
            answer = Ok()
    except StopIteration as end:
        ending: Ending = end.value
        return ending


async def each(
    ctx: Context,
    step: Step[..., Any],
    seen: Mapping[str, Json],
    items: Json,
    *,
    limit: int | None = None,
    tolerate: float | bool = 0,
    timeout: float | None = None,
) -> list[Json]:
    """Call a step for each item, which it sees as ``item`` and ``index``; the results in order.

    Args:
        limit: How many at once.
        tolerate: How many may fail, or which share of them; their results are None.
        timeout: Milliseconds for all.

    Raises:
        Failed: Too many have failed, with the name and the text of the last failure; or ``items`` is no list.
    """
    if not isinstance(items, list):
        raise Failed("BadItems", f"items is a list, not {items!r:.100}")
    if len(items) > ITEMS_MAX:
        raise Failed("BadItems", f"{len(items):,} items, and the limit is {ITEMS_MAX:,}; give them in batches")
    if not items:
        return []
    async with asyncio.timeout(None if timeout is None else timeout / 1000):
        return await _all(ctx, step, seen, items, limit or len(items), allowed_failures(tolerate, len(items)))


async def _all(
    ctx: Context, step: Step[..., Any], seen: Mapping[str, Json], items: Sequence[Json], limit: int, allowed: int
) -> list[Json]:
    gate = asyncio.Semaphore(limit)
    answers: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()

    async def one(place: int) -> None:
        async with gate:
            try:
                answer: Answer = Ok(await ctx.step(step, {**seen, "item": items[place], "index": place}))
            except Exception as error:
                answer = Err(error_name(error), str(error))
            answers.put_nowait((place, answer))

    tasks = [asyncio.create_task(one(place)) for place in range(len(items))]
    tally = Tally(len(items), allowed)
    try:
        while True:
            total = tally.add(*await answers.get())
            if isinstance(total, Err):
                raise Failed(total.name, total.message)
            if total is not None:
                found: list[Json] = total.value
                return found
    finally:
        for task in tasks:
            task.cancel()


async def _lived(ctx: Context, seen: Mapping[str, Json], action: str, params: Mapping[str, Json]) -> Json:
    """The same life as in a definition, asked of the workflow's own context."""
    id = str(seen["step"]["id"])
    steps = _life(id, action, params, ctx.now)
    answer: Answer | None = None
    try:
        while True:
            command = next(steps) if answer is None else steps.send(answer)
            answer = await _asked(ctx, id, command)
    except StopIteration as end:
        ending: Ending = end.value
    if ending.error is not None:
        raise Failed(ending.error.name, ending.error.message)
    return ending.value


async def _asked(ctx: Context, id: str, command: Any) -> Answer:
    match command:
        case Sleep(until=until):
            await ctx.sleep(id, (until - ctx.now()).total_seconds())
            return Ok()
        case Wait(signal=name, until=until):
            left = None if until is None else max(0.0, (until - ctx.now()).total_seconds())
            try:
                return Ok(await ctx.wait_for_signal(name, timeout=left))
            except TimeoutError as error:
                return Err("TimeoutError", str(error))
        case _:
            raise AssertionError(command)


def _life(id: str, action: str, params: Mapping[str, Json], now: Callable[[], datetime]) -> Steps:
    """The life of a step whose params have no templates any more."""
    plain = {"id": id, "action": action, "params": _literal(params)}
    plan = Plan.of(read_definition({"id": "program", "steps": [plain]}))
    scopes = Scopes(plan, Facts("", "program", None, 0), {})
    return life(plan.steps[id], scopes.of(plan.steps[id]), scopes.facts, now)


def _literal(value: Json) -> Json:
    """A value of which nothing is taken for a template."""
    if isinstance(value, str):
        return value.replace("${{", "$${{")
    if isinstance(value, list):
        return [_literal(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _literal(one) for name, one in value.items()}
    return value
