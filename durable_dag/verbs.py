"""What is done to one execution from outside: it is told of, settled, retried, and its slot given back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, final

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
from durable_dag.starting import Start, checked_context
from durable_dag.watching.reading import Reading

Json: TypeAlias = Any

__all__ = ["Verbs"]

RETRYING: Final = "dag.retrying"
_RETRYING_SECONDS: Final = 30.0
"""So long nobody else retries an execution if the process that did has died."""


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
        async with self._alone(id):
            await self._retry(id, steps, context)

    @asynccontextmanager
    async def _alone(self, id: str) -> AsyncGenerator[None]:
        """One retry of an execution at a time: what is asked for lies in the store before the run is taken up again.

        Else one that is refused could put what it asks for in the place of what was granted.
        """
        records = self._bound.client.records
        if await records.put(RETRYING, id, b"{}", expect=0, keep=_RETRYING_SECONDS) is None:
            raise ExecutionConflict(f"Execution {id!r} is being retried by somebody else; look what becomes of it.")
        try:
            yield
        finally:
            await records.delete(RETRYING, id)

    async def _retry(self, id: str, steps: Sequence[str] | None, context: Mapping[str, Json] | None) -> None:
        client, execution = self._bound.client, await self._reading.load(id)
        order, story = forks.retry_order(execution, steps, context), execution.story
        if context and execution.plan is not None:  # what a start may not say, a retry may not either
            whole = {**(execution.request.get("context") or {}), **context}
            checked_context(Start(await self._reading.stored(execution), whole))
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
