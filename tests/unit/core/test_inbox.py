"""Which of the waiting messages become entries."""

from __future__ import annotations

import asyncio

from durable._core.inbox import select
from durable._core.state import RunFacts, RunState
from durable._engine.guard import activation
from durable._model.entries import CancelAsked
from durable._model.ids import MessageId, RunId
from durable._model.messages import InboxMessage, Message, MessageKind


async def forever() -> None:
    await asyncio.Event().wait()


def cancel_of(generation: int) -> InboxMessage:
    message = Message(RunId("r"), MessageId(f"cancel/{generation}"), MessageKind.CANCEL, "", b'"enough"')
    return InboxMessage(message, generation, float(generation))


def test_cancels_of_two_generations_that_are_found_at_once_become_one_entry() -> None:
    state = RunState(RunFacts(RunId("r"), 2, "5eed", 0.0, (0, 0), False, 0.0, None))
    with activation:
        state.start(forever, frozenset())
    chosen = select(state, [cancel_of(1), cancel_of(2)], 3.0, lambda call, payload: None)
    with activation:
        state.close()
    assert [type(entry) for entry in chosen.entries] == [CancelAsked]
    assert chosen.consumed == ["cancel/1", "cancel/2"]
