"""Carries workloads out on a real engine, all of them at once, a thousand times as fast as they say."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable import Worker, connect
from durable_testing import workloads
from durable_testing.workloads import Ending, Workload
from durable_testing.workloads.ledger import Effect
from durable_testing.workloads.model import violations

SCALE = 0.001
_numbers = itertools.count()


@dataclass
class Case:
    """One workload, and what came of it."""

    workload: Workload
    ending: Ending
    effects: list[Effect]

    def wrong(self, **options: Any) -> list[str]:
        return violations(self.workload, self.ending, self.effects, scale=SCALE, **options)


async def carried_out(given: Sequence[Workload], *, url: str | None = None, cache: int = 1000) -> list[Case]:
    """Each workload's case, in order; a run that does not end in time is a failure of its own."""
    with workloads.recording() as ledger:
        async with (
            connect(url or f"memory://workloads-{next(_numbers)}") as client,
            Worker(
                client,
                workflows=workloads.WORKFLOWS,
                steps=workloads.STEPS,
                queues=workloads.QUEUES,
                cache=cache,
                drain=0.2,
            ),
        ):
            async with asyncio.timeout(30 + len(given)):
                endings = await asyncio.gather(
                    *(workloads.scenario(client, one, who=f"w{n}", scale=SCALE) for n, one in enumerate(given))
                )
    return [Case(one, ending, ledger.of(ending.who)) for one, ending in zip(given, endings, strict=True)]
