"""The program whose runs are attacked: every kind of thing that a store holds."""

from durable import Context, NonRetryable, Retry, Secret, Signal, idempotency_key, step, workflow

go: Signal[str] = Signal("go", str)


class Declined(NonRetryable):
    pass


@step(record_input=True)
async def pack(order: str) -> str:
    return f"packed {order}"


@step
async def refuse(order: str) -> str:
    raise Declined(f"not {order}")


@step(record_input=True, retry=Retry(2, initial=0.01, give_up_on=(Declined,)))
async def pay(order: str, key: Secret) -> str:
    """Does with a secret what happens to secrets: into a header, into an error's text, its fields, its cause."""
    headers = {"Authorization": f"Bearer {key.reveal()}"}
    if idempotency_key() not in tried:
        tried.add(idempotency_key())
        raise ConnectionError(f"no answer to {headers!r}")
    error = Declined(f"{order}: 401 for {headers}", headers)
    error.headers = headers  # type: ignore[attr-defined]
    error.add_note(f"sent {headers['Authorization']}")
    raise error from ValueError(key.reveal())


@step(run_in="process")
def pay_elsewhere(order: str, key: Secret) -> str:
    raise Declined(f"{order}: 401 for {key.reveal()}")


tried: set[str] = set()


@workflow
async def done(ctx: Context, order: str) -> str:
    ctx.set("stage", "packing")
    return await ctx.step(pack, order)


@workflow
async def failed(ctx: Context, order: str) -> str:
    return await ctx.step(refuse, order)


@workflow
async def caught(ctx: Context, order: str) -> str:
    await ctx.step(pack, order)
    try:
        await ctx.step(refuse, order)
    except Exception as error:
        return f"{type(error).__name__}: {await ctx.wait_for_signal(go)}"
    return "never"


@workflow
async def parent(ctx: Context, order: str) -> str:
    return await ctx.child(caught, order)


@workflow
async def paid(ctx: Context, order: str, key: Secret) -> str:
    for attempt in (pay, pay_elsewhere):
        try:
            await ctx.step(attempt, order, key)
        except Declined as error:
            ctx.log.warning("declined: %s", error, exc_info=True, extra={"seen": str(error)})
            if attempt is pay_elsewhere:
                raise
    return "never"


ALL = [done, failed, caught, parent, paid]
