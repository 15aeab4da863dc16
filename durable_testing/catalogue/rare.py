"""What random faults seldom bring about, brought about on purpose; they strike on top of it."""

from __future__ import annotations

import asyncio
from typing import Final

from durable import Context, Signal, step, workflow
from durable_testing.catalogue.checks import coherent, until
from durable_testing.catalogue.entry import Entry
from durable_testing.sim import Sim

__all__ = ["ENTRIES"]

_TIMES: Final = 5
go = Signal("go", str)


@step
async def bomb(name: str) -> str:
    """It kills whoever carries it out, for a while."""
    return f"{name} is disarmed"


@workflow
async def sapper(ctx: Context, name: str) -> str:
    """One dangerous step."""
    return await ctx.step(bomb, name)


async def disarmed_in_quarantine(sim: Sim) -> None:
    """After some deaths it is tried alone, with back-off, and gets through before its crash budget is spent."""
    sim.crash(at="bomb", times=_TIMES)
    handle = await sim.start(sapper, "it", id="sapper")
    assert await handle.result() == "it is disarmed"
    assert len(sim.calls(bomb)) > _TIMES
    coherent(sim)


@step
async def long_haul(hours: float) -> str:
    """Longer than any worker waits when it stops."""
    await asyncio.sleep(hours * 3600)  # noqa: TID251 -- simulated
    return "arrived"


@workflow
async def journey(ctx: Context, hours: float) -> str:
    """One long step."""
    return await ctx.step(long_haul, hours)


async def cut_by_a_deploy(sim: Sim) -> None:
    """A step that outlives the drain is begun again by the next worker."""
    handle = await sim.start(journey, 0.05, id="journey")
    await until(sim, lambda: bool(sim.calls(long_haul)), "the step begins")
    sim.redeploy([journey], drain=True)
    assert await handle.result() == "arrived"
    assert len(sim.calls(long_haul)) >= 2
    coherent(sim)


@step
async def pack(name: str) -> str:
    """The first step."""
    return f"packed {name}"


@step
async def send_off(name: str) -> str:
    """The second one, as it was called."""
    return f"sent {name}"


@workflow("parcel")
async def parcel(ctx: Context, name: str) -> str:
    """Two steps with a wait between them."""
    packed = await ctx.step(pack, name)
    await ctx.wait_for_signal(go)
    return await ctx.step(send_off, packed)


@workflow("parcel")
async def careless_parcel(ctx: Context, name: str) -> str:
    """Somebody has put a step in front, without a thought for the runs in flight."""
    await ctx.step(send_off, "a catalogue")
    packed = await ctx.step(pack, name)
    await ctx.wait_for_signal(go)
    return await ctx.step(send_off, packed)


async def blocked_until_the_old_code_is_back(sim: Sim) -> None:
    """Changed code is found out before any effect of it; the old code goes on as if nothing had been."""
    handle = await sim.start(parcel, "books", id="parcel")
    await until(sim, lambda: _waits(sim), "the run waits for its signal")
    sim.redeploy([careless_parcel])
    await sim.advance(seconds=40)
    await handle.signal(go, "now")

    async def blocked() -> bool:
        return (await handle.status()).state in ("blocked", "completed")

    await until(sim, blocked, "the changed code is found out")
    if (await handle.status()).state == "blocked":
        sim.redeploy([parcel])
        await sim.advance(seconds=40)
        await handle.resume()
    assert await handle.result() == "sent packed books"
    assert [call.args for call in sim.calls(send_off) if call.args == ("a catalogue",)] == []
    coherent(sim)


async def _waits(sim: Sim) -> bool:
    return (await sim.handle("parcel").status()).state == "waiting"


ENTRIES: Final = (
    Entry("quarantine", disarmed_in_quarantine, (sapper,), long=True),
    Entry("a step longer than the drain", cut_by_a_deploy, (journey,), long=True),
    Entry("careless deploy", blocked_until_the_old_code_is_back, (parcel,), confluent=False),
)
