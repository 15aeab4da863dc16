"""The steps of random workflows, each in one form of declaration."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from durable import Context, Retry, Step, StepCall, idempotency_key, step
from durable_testing.workloads import behaviours
from durable_testing.workloads.ledger import Effect, current
from durable_testing.workloads.nodes import QUEUE_ATTEMPTS

Json = Any
SIDE_QUEUE: Final = "side"

__all__ = ["SIDE_QUEUE", "STEPS", "act", "act_item", "call"]


@step
async def act(uid: str, order: Json, scale: float) -> Json:
    """On the loop."""
    return await behaviours.act(uid, order, scale)


@step
def act_sync(uid: str, order: Json, scale: float) -> Json:
    """In a thread."""
    return behaviours.act_sync(uid, order, scale)


@step(effect="at_most_once", check=behaviours.became_of, on_unknown="raise")
async def act_once(uid: str, order: Json, scale: float) -> Json:
    """At most once; after a crash in the middle the ledger is asked."""
    return await behaviours.act(uid, order, scale)


@step
async def undo(result: Json) -> None:
    """Undo what ``act_undo`` has returned; a sour result cannot be undone."""
    current().write(Effect("undo", result["uid"], idempotency_key()))
    if "sour" in result:
        raise ValueError(f"{result['uid']} stays done")


@step(undo=undo)
async def act_undo(uid: str, order: Json, scale: float) -> Json:
    """With an undo."""
    return await behaviours.act(uid, order, scale)


@step(queue=SIDE_QUEUE, retry=Retry(QUEUE_ATTEMPTS, initial="1ms"))
async def act_queue(uid: str, order: Json, scale: float) -> Json:
    """On another queue, with a policy of its own: that of the caller's options does not go with the call."""
    return await behaviours.act(uid, order, scale)


@step
async def act_item(item: Json) -> Json:
    """For ``ctx.map``: uid, order and scale in one."""
    return await behaviours.act(*item)


_FORMS: Final[dict[str, Step[[str, Json, float], Json]]] = {
    "async": act,
    "sync": act_sync,
    "once": act_once,
    "undo": act_undo,
    "queue": act_queue,
}
STEPS: Final[tuple[Step[..., Any], ...]] = (act, act_sync, act_once, undo, act_undo, act_queue, act_item)


def call(ctx: Context, uid: str, order: Json, scale: float) -> StepCall[Json]:
    """The call that a step's node stands for.

    Args:
        order: The node as JSON.
        scale: Factor of all durations.
    """
    own = order["form"] == "queue"
    retry = Retry(order["attempts"], initial=scale) if order["attempts"] > 1 and not own else None
    if order["form"] == "inline":
        return ctx.step("inline", partial(behaviours.act, uid, order, scale), retry=retry)
    if order["form"] == "inline sync":
        return ctx.step("inline sync", partial(behaviours.act_sync, uid, order, scale), retry=retry)
    declared = _FORMS[order["form"]]
    return ctx.step(declared if retry is None else declared.options(retry=retry), uid, order, scale)
