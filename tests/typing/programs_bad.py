"""Wrong calls: each marked line, and no other, must be refused by both checkers."""

from __future__ import annotations

from programs import (
    Approval,
    Order,
    Receipt,
    approval,
    approved,
    charge,
    crawl,
    order,
    pay,
    reminder,
    scrape,
    send_email,
)

from durable import Client, Context, Retry, Worker, run, step, workflow


async def inside(ctx: Context) -> None:
    await ctx.step(charge, "wrong")  # wrong: the argument's type
    await ctx.step(send_email, "a")  # wrong: an argument is missing
    await ctx.step(send_email, "a", "b", "c")  # wrong: an argument too many
    await ctx.step(send_email, "a", text="b")  # wrong: no such keyword
    await ctx.map(scrape, [1, 2])  # wrong: the items' type
    await ctx.map(pay, ["a"])  # wrong: a step of two arguments
    await ctx.child(order, "wrong")  # wrong: the child's input
    await ctx.child(charge, "wrong")  # wrong: a step is no child
    ctx.continue_as(approval, "bob")  # wrong: an argument is missing
    ctx.saga().on_failure(send_email, "a")  # wrong: an argument is missing
    await ctx.wait_for_signal(approved, timeout=[])  # wrong: no duration
    receipt: str = await ctx.step(charge, Order.model_validate({}))  # wrong: the result is a Receipt
    print(receipt)


async def outside(client: Client) -> None:
    await client.start(order, "wrong")  # wrong: the input's type
    await client.start(order)  # wrong: the input is missing
    await client.start(approval.bind("bob"))  # wrong: an argument is missing
    await client.start(approval, "bob")  # wrong: two arguments want bind()
    await client.start(charge, "wrong")  # wrong: a step is not started
    await client.start(reminder, "a", if_exists="ignore")  # wrong: no such policy
    handle = await client.start(crawl, ["a"])
    text: str = await handle.result()  # wrong: the result is an int
    await handle.signal(approved, Receipt(charge_id="a"))  # wrong: the payload's type
    await client.signal("order-42", approved, "yes")  # wrong: the payload's type
    typed: str = await client.handle("order-42", order).result()  # wrong: the result is a Receipt
    print(text, typed, Approval)
    Worker(client, workflows=[charge])  # wrong: a step is no workflow


def script() -> None:
    run(order, "wrong")  # wrong: the input's type
    size: str = run(crawl, ["a"])  # wrong: the result is an int
    send_email("a")  # wrong: an argument is missing
    send_email.options(retry=5)  # wrong: no policy
    Retry(5, initial=None)  # wrong: no duration
    print(size)


@step(effect="exactly_once")  # wrong: no such effect
async def hopeful() -> None: ...


@workflow  # wrong: not async
def plain(ctx: Context) -> None: ...


@workflow  # wrong: no Context
async def alone(order: Order) -> None: ...
