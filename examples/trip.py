"""A saga: book a hotel and a flight, then pay. When the payment fails, what was booked is cancelled again."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from durable import Context, Done, NonRetryable, NotDone, RunFailed, Worker, connect, idempotency_key, step, workflow

EFFECTS = Path("trip-effects.txt")


class CardDeclined(NonRetryable):
    """The card does not pay for this."""


@step
async def cancel_hotel(booking: str) -> None:
    effect(f"cancelled {booking}")


@step
async def cancel_flight(booking: str) -> None:
    effect(f"cancelled {booking}")


@step(undo=cancel_hotel)
async def book_hotel(trip: str) -> str:
    await asyncio.sleep(0.3)
    effect(f"booked hotel in {trip}")
    return f"hotel in {trip}"


@step(undo=cancel_flight)
async def book_flight(trip: str) -> str:
    await asyncio.sleep(0.5)
    effect(f"booked flight to {trip}")
    return f"flight to {trip}"


def was_paid(key: str) -> Done[None] | NotDone:
    """After a crash in the middle of the payment: look whether it happened, for it must not happen twice."""
    return Done(None) if any(line.startswith(f"{key} paid") for line in lines()) else NotDone()


@step(effect="at_most_once", check=was_paid)
async def pay(hotel: str, flight: str) -> None:
    await asyncio.sleep(0.3)
    if "atlantis" in hotel:
        raise CardDeclined("nobody insures a trip to Atlantis")
    effect(f"paid for {hotel} and {flight}")


@workflow
async def trip(ctx: Context, trip_id: str) -> tuple[str, str]:
    async with ctx.saga():
        hotel, flight = await asyncio.gather(ctx.step(book_hotel, trip_id), ctx.step(book_flight, trip_id))
        await ctx.step(pay, hotel, flight)
    return hotel, flight


def lines() -> list[str]:
    return EFFECTS.read_text().splitlines() if EFFECTS.exists() else []


def effect(text: str) -> None:
    """The world outside: a line in a file. Said again with the same idempotency key, nothing happens."""
    line = f"{idempotency_key()} {text}"
    if line not in lines():
        with EFFECTS.open("a") as file:
            file.write(line + "\n")
    print(f"  {text}", flush=True)


async def work(store: str, prefix: str) -> None:
    async with connect(store) as client, Worker(client, workflows=[trip]):
        known = (await client.list(id_prefix=prefix)).runs
        print(f"{'Resuming' if known else 'Starting'} run {prefix}", flush=True)
        for goal in ("paris", "atlantis"):
            handle = await client.start(trip, goal, id=f"{prefix}-{goal}")
            try:
                print(f"{goal}: {await handle.result()}", flush=True)
            except RunFailed as error:
                print(f"{goal}: {error.__cause__}; what was booked is cancelled", flush=True)
        print("Done: one trip paid, one undone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///trip.db"))
    parser.add_argument("--id", default="trip", help="the runs' ids begin with it")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id))


if __name__ == "__main__":
    main()
