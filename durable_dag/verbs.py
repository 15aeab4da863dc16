"""What is done to one execution from outside: it is told of, settled, retried, and its slot given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, final

from durable.errors import RunConflict, RunEnded
from durable_dag import forks
from durable_dag.bound import Bound
from durable_dag.byhand import settlement
from durable_dag.errors import ConcurrencyLimit, ExecutionConflict
from durable_dag.graph.definition import canonical
from durable_dag.running.slots import SLOT_SIGNAL
from durable_dag.running.toolbox import DELIVERY, ORDERS, Toolbox, order_key
from durable_dag.running.turns import full_text
from durable_dag.scheduling.settling import SETTLE, Verb
from durable_dag.watching.reading import Reading

Json: TypeAlias = Any

__all__ = ["Verbs"]


@final
class Verbs:
    """The verbs of one engine."""

    def __init__(self, bound: Bound, reading: Reading, tools: Toolbox) -> None:
        self._bound = bound
        self._reading = reading
        self._tools = tools

    async def tell_last(self, id: str) -> None:
        """As ``Engine.tell_last``."""
        client, execution = self._bound.client, await self._reading.load(id)
        requests = forks.last_letters(self._tools, execution)
        if not requests:
            return
        labels = {"dag.delivery": id, "dag.event": str(requests[0]["event"])}
        ours = f"{id}.cancelled."
        sent = await client.list(workflow=DELIVERY, labels=labels, created_after=execution.status.started_at)
        if any(not one.id.startswith(ours) for one in sent):
            return  # it was cancelled first, and has told that itself
        for number, request in enumerate(requests):
            letter = f"{ours}{execution.status.generation}.{number}"
            await client.start(self._tools.delivery, request, id=letter, labels=labels)

    async def give_back(self, id: str) -> None:
        """Let the next have the slot of an execution whose code was not asked when it was ended."""
        execution = await self._reading.load(id)
        turn = forks.slot_of(execution, execution.status.generation) if execution.ended else None
        if turn is not None:
            await self._tools.slots.leave(turn)

    async def settle(self, id: str, step: str, verb: Verb, value: Json, request_id: str | None) -> None:
        """As ``Engine.settle``."""
        said = settlement(await self._reading.load(id), step, verb, value)
        if said is None:
            return
        try:
            await self._bound.client.signal(id, SETTLE, said, id=request_id)
        except RunEnded as error:
            raise ExecutionConflict(str(error)) from None

    async def retry(self, id: str, steps: Sequence[str] | None, context: Mapping[str, Json] | None) -> None:
        """As ``Engine.retry``."""
        client, execution = self._bound.client, await self._reading.load(id)
        order, story = forks.retry_order(execution, steps, context), execution.story
        turn = forks.turn_of(execution)
        if turn is not None and (holders := await self._tools.slots.admit(turn)):
            raise ConcurrencyLimit(full_text(turn, holders))
        if order is not None:
            key = order_key(id, execution.request.get("incarnation", 1), order.round)
            await client.records.put(ORDERS, key, canonical(order.as_json()).encode())
        cut = order.cut if order is not None else None if story is None else story.refused
        try:
            await client.handle(id).retry(from_step=cut)
        except RunConflict as error:
            raise ExecutionConflict(str(error)) from None
        if story is not None and story.waits_for_slot:
            await client.signal(id, SLOT_SIGNAL)  # it has left the line, and asks again
