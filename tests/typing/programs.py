"""The six programs that the interface is made for, as users write them: checked, and never run."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from pydantic import BaseModel

from durable import Context, NonRetryable, Retry, Signal, Worker, connect, step, workflow

# ── 1: an order with retries ─────────────────────────────────────────────────────────────────────────────────────────


class Order(BaseModel):
    id: str
    total: Decimal
    email: str


class Receipt(BaseModel):
    charge_id: str


class CardDeclined(NonRetryable): ...


@step(
    retry=Retry(5, initial="1s", factor=2, max_interval="1m", jitter=0.2, give_up_on=(CardDeclined,)),
    timeout="30s",
)
async def charge(order: Order) -> Receipt:
    return Receipt(charge_id=f"ch_{order.id}")


@step
def send_email(to: str, body: str) -> None: ...


@workflow
async def order(ctx: Context, order: Order) -> Receipt:
    receipt = await ctx.step(charge, order)
    await ctx.step("notify", lambda: send_email(order.email, "Thanks for your order!"))
    return receipt


# ── 2: an approval that waits for two days ───────────────────────────────────────────────────────────────────────────


class Approval(BaseModel):
    approved: bool
    by: str


approved = Signal("approved", Approval)


@step
async def request_approval(manager: str) -> None: ...


@step
async def provision(user: str) -> None: ...


@workflow
async def approval(ctx: Context, user: str, manager: str) -> str:
    await ctx.step(request_approval, manager)
    try:
        answer = await ctx.wait_for_signal(approved, timeout="48h")
    except TimeoutError:
        return "timed out"
    if answer.approved:
        await ctx.step(provision, user)
    return f"{'granted' if answer.approved else 'refused'} by {answer.by}"


# ── 3: a fan-out ─────────────────────────────────────────────────────────────────────────────────────────────────────


@step(retry=Retry(3), rate_limit="10/s")
async def scrape(url: str) -> int:
    return len(url)


@workflow
async def crawl(ctx: Context, urls: list[str]) -> int:
    sizes = await asyncio.gather(*(ctx.step(scrape, url) for url in urls))
    return sum(sizes)


@workflow
async def crawl_politely(ctx: Context, urls: list[str]) -> int:
    return sum(await ctx.map(scrape, urls, limit=20, tolerate=0.05))


# ── 4: a reminder ────────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def reminder(ctx: Context, email: str) -> None:
    await ctx.step(send_email, email, "Welcome!")
    await ctx.sleep("24h")
    await ctx.step(send_email, email, body="How's it going?")


# ── 5: a saga ────────────────────────────────────────────────────────────────────────────────────────────────────────


@step
async def cancel_hotel(booking: str) -> None: ...


@step
async def cancel_flight(booking: str) -> None: ...


@step(undo=cancel_hotel)
async def book_hotel(trip: str) -> str:
    return f"hotel for {trip}"


@step(undo=cancel_flight)
async def book_flight(trip: str) -> str:
    return f"flight for {trip}"


@step(effect="at_most_once")
async def pay(hotel: str, flight: str) -> None: ...


@workflow
async def trip(ctx: Context, trip_id: str) -> tuple[str, str]:
    async with ctx.saga():
        hotel, flight = await asyncio.gather(ctx.step(book_hotel, trip_id), ctx.step(book_flight, trip_id))
        await ctx.step(pay, hotel, flight)
    return hotel, flight


# ── 6: an agent, with a person who is asked ──────────────────────────────────────────────────────────────────────────


class ToolCall(BaseModel):
    name: str
    args: dict[str, str]
    dangerous: bool = False


class Reply(BaseModel):
    text: str
    calls: list[ToolCall] = []


@step(retry=Retry(4), timeout="2m")
async def llm(messages: list[dict[str, str]]) -> Reply:
    return Reply(text=f"{len(messages)} messages read")


@step(effect="at_most_once", timeout="5m")
async def run_tool(call: ToolCall) -> str:
    return call.name


verdict = Signal("verdict", Approval)


@workflow
async def agent(ctx: Context, goal: str) -> str:
    messages = [{"role": "user", "content": goal}]
    while True:
        reply = await ctx.step(llm, messages)
        ctx.emit("thoughts", reply.text)
        if not reply.calls:
            return reply.text
        for call in reply.calls:
            if call.dangerous:
                ctx.set("awaiting", call.model_dump())
                if not (await ctx.wait_for_signal(verdict)).approved:
                    messages.append({"role": "tool", "content": "refused"})
                    break
        else:
            results = await asyncio.gather(*(ctx.step(run_tool, call) for call in reply.calls))
            messages += [{"role": "tool", "content": result} for result in results]


async def main() -> None:
    async with (
        connect("sqlite:///orders.db") as client,
        Worker(client, workflows=[order, approval, crawl, reminder, trip, agent], concurrency=50),
    ):
        bought = Order(id="42", total=Decimal("9.99"), email="ada@example.com")
        handle = await client.start(order, bought, id="order-42", if_exists="attach")
        print((await handle.status()).state, (await handle.status()).current)
        receipt: Receipt = await handle.result(timeout="1m")
        asked = await client.start(approval.bind("bob", manager="eve"), delay="1h", labels={"team": "ops"})
        await asked.signal(approved, Approval(approved=True, by="eve"), id="click-17")
        async for thought in client.handle("agent-7").stream("thoughts"):
            print(thought, receipt)
