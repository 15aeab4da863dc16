"""The shop of ``durable demo``: one workflow over six steps. Read it as an example; ``effect`` is the demo's own part.

An order reserves its stock, charges the card, waits for its parcel to be packed, ships, and tells the customer. If the
card is refused, the saga gives the stock back and the customer hears that instead.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, Field

from durable import Context, NonRetryable, Retry, step, workflow
from durable.cli.demo.ledger import effect

DECLINED: Final = {
    "0002": "the bank says no",
    "9995": "insufficient funds",
    "0069": "the card has expired",
}
"""The last digits of cards that are always declined, and why."""

FLAKY: Final = "0119"
"""The last digits of a card whose bank does not answer the first two times."""


class Item(BaseModel):
    sku: str = Field(min_length=1)
    name: str = ""
    quantity: int = Field(gt=0)
    price: Decimal = Field(ge=0)


class Order(BaseModel):
    id: str = Field(min_length=1)
    customer: str
    email: str
    city: str
    card: str = Field(pattern=r"^[0-9]{12,19}$")
    items: list[Item] = Field(min_length=1)

    @property
    def total(self) -> Decimal:
        return sum((item.price * item.quantity for item in self.items), Decimal(0))


class Reservation(BaseModel):
    order: str
    units: int


class Receipt(BaseModel):
    charge: str
    amount: Decimal


class Outcome(BaseModel):
    order: str
    state: Literal["completed", "refused"]
    reason: str = ""
    tracking: str = ""


class CardDeclined(NonRetryable):
    """The bank has decided; asking again would not help."""


# ── steps: what touches the world ────────────────────────────────────────────────────────────────────────────────────


@step
async def release_stock(reservation: Reservation) -> None:
    async with effect(reservation.order, takes=0.02):
        pass


@step(undo=release_stock)
async def reserve_stock(order: Order) -> Reservation:
    async with effect(order.id, takes=0.03):
        return Reservation(order=order.id, units=sum(item.quantity for item in order.items))


@step(retry=Retry(5, initial="100ms", factor=2, jitter=0.2, give_up_on=(CardDeclined,)), timeout="10s")
async def charge_card(order: Order) -> Receipt:
    async with effect(order.id, takes=0.06) as attempt:
        if order.card.endswith(FLAKY) and attempt <= 2:
            raise ConnectionError("the bank does not answer")
        if order.card[-4:] in DECLINED:
            raise CardDeclined(DECLINED[order.card[-4:]])
        return Receipt(charge=f"ch_{order.id}", amount=order.total)


@step
async def print_label(order: Order) -> str:
    async with effect(order.id, takes=0.04):
        return f"TRK-{order.id}-{order.city[:3].upper()}"


@step
async def send_receipt(order: Order, receipt: Receipt) -> None:
    async with effect(order.id, takes=0.03):
        pass


@step
async def notify(order: Order, text: str) -> None:
    async with effect(order.id, takes=0.02):
        pass


# ── the workflow: what survives ──────────────────────────────────────────────────────────────────────────────────────


@workflow("shop-order")
async def shop_order(ctx: Context, order: Order) -> Outcome:
    try:
        async with ctx.saga():
            await ctx.step(reserve_stock, order)
            receipt = await ctx.step(charge_card, order)
    except CardDeclined as refusal:
        await ctx.step(notify, order, f"We could not take your order: {refusal}.")
        return Outcome(order=order.id, state="refused", reason=str(refusal))
    await ctx.sleep("packing", "300ms")
    tracking, _ = await asyncio.gather(ctx.step(print_label, order), ctx.step(send_receipt, order, receipt))
    await ctx.step(notify, order, f"Your parcel is on its way: {tracking}.")
    return Outcome(order=order.id, state="completed", tracking=tracking)
