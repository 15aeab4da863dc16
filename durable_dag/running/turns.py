"""A run's turn: it waits, durably, until it holds a slot, and gives it back at its end."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from durable import Context, Retry
from durable_dag.errors import ConcurrencyLimit
from durable_dag.running.slots import SLOT_SIGNAL, Ask, Slots

Json: TypeAlias = Any

__all__ = ["LEAVE", "SLOT", "full_text", "give_back", "take_turn"]

SLOT: Final = "slot:"
LEAVE: Final = "leave:"
_PATIENT: Final = Retry(None, initial=1.0, max_interval=30.0)
_LOOK_SECONDS: Final = 30.0
_LOOK_SECONDS_MAX: Final = 900.0


async def take_turn(ctx: Context, slots: Slots, asked: Ask) -> None:
    """Wait until the run holds a slot.

    It is told when it does. Should whoever held it have been ended without a word, nobody tells: so it looks from time
    to time, the first in the line more often.

    Raises:
        ConcurrencyLimit: There is none, and the policy is not to wait.
    """

    async def ask() -> Json:
        return await slots.ask(asked)

    looks = 0
    while True:
        ticket = await ctx.step(SLOT, ask, retry=_PATIENT)
        if ticket["held"]:
            return
        if ticket["rejected"]:
            raise ConcurrencyLimit(full_text(asked, ticket["holders"]))
        patience = min(_LOOK_SECONDS * 2**looks, _LOOK_SECONDS_MAX) if ticket["first"] else _LOOK_SECONDS_MAX
        try:
            await ctx.wait_for_signal(SLOT_SIGNAL, timeout=patience)
        except TimeoutError:
            looks = min(looks + 1, 10)


async def give_back(ctx: Context, slots: Slots, asked: Ask) -> None:
    """Let in whoever is next."""

    async def leave() -> None:
        await slots.leave(asked)

    await ctx.step(LEAVE, leave, retry=_PATIENT)


def full_text(asked: Ask, holders: list[str]) -> str:
    """Why there is no slot."""
    key = f" with the key {asked.key!r}" if asked.key else ""
    return f"{asked.limit} at a time{key}, and these are under way: {', '.join(holders)}"
