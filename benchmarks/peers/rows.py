"""Rows of peers, which stand in our tables and are compared with rows of ours."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.beds import directory
from benchmarks.passes import Figures, Plan, Ratio, Row
from benchmarks.peers.environment import Peer, driven, figures

BEFORE: Final = 5
AFTER: Final = 4
REPEATED: Final = 3
_SCALED: Final = ("runs", "width", "timers")


def name(peer: Peer, what: str = "") -> str:
    """Of a row."""
    return f"{peer.name}, {what}" if what else peer.name


def row(peer: Peer, what: str, ours: str, figure: str, job: str, **order: int) -> Row:
    """One that the peer's driver measures.

    Args:
        what: Its name in the table, behind the peer's.
        ours: The row of ours that it is compared with.
        figure: The one that is compared.
        job: For the driver.
        order: Counts for the driver; ``runs``, ``width`` and ``timers`` are scaled.
    """

    async def measure(plan: Plan) -> Figures:
        counts = {key: plan.count(value, 2) if key in _SCALED else value for key, value in order.items()}
        return await figures(peer, plan, job, **counts)

    return Row(name(peer, what), measure, (against(ours, figure),), extra="peers")


def against(ours: str, figure: str) -> Ratio:
    """How much faster ours is: a rate's ratio is turned over."""
    return Ratio("ours is {} times as fast", figure, ours, figure, inverse=figure.endswith("a second"))


def recovered(peer: Peer, what: str, ours: str, killed: int) -> Row:
    """As ours: a process with all runs in their sixth step is killed, and a new one started."""

    async def measure(plan: Plan) -> Figures:
        order = {"runs": plan.count(killed, 2), "before": BEFORE, "after": AFTER}
        with directory(plan) as folder:
            async with driven(peer, plan, folder, "halt", **order) as victim:
                await victim.hear("halted")
                await victim.kill()
            began = time.perf_counter()
            async with driven(peer, plan, folder, "recover", **order) as heir:
                done = float(await heir.hear("completed"))
        return {"s": done - began}

    return Row(name(peer, what), measure, (against(ours, "s"),), extra="peers")


def cold(peer: Peer, what: str, ours: str) -> Row:
    """A new process, a new file, a run of one step; to its result, for some take a while to end."""

    async def measure(plan: Plan) -> Figures:
        taken = list[float]()
        for _ in range(REPEATED):
            with directory(plan) as folder:
                began = time.perf_counter()
                async with driven(peer, plan, folder, "cold") as one:
                    taken.append((float(await one.hear("result")) - began) * 1000)
        return {"ms": min(taken)}

    return Row(name(peer, what), measure, (against(ours, "ms"),), extra="peers")


def imported(peer: Peer, what: str, ours: str) -> Row:
    """The import statements alone."""

    async def measure(plan: Plan) -> Figures:
        return {"ms": min([(await figures(peer, plan, "import"))["ms"] for _ in range(REPEATED)])}

    return Row(name(peer, what), measure, (against(ours, "ms"),), extra="peers")
