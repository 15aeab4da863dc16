"""``python -m benchmarks.one TABLE ROW PLAN``: measures one row in this process, for ``benchmarks.passes``."""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.passes import FIGURES, Figures, Plan, Skipped
from benchmarks.tables import table_of
from durable.cli.process import spare_the_collector


def main(table: str, row: str, plan: str) -> None:
    """Print the figures as the last line."""

    async def measure() -> Figures:
        return await table_of(table).row(row).measure(Plan(**json.loads(plan)))

    try:
        spare_the_collector()  # as ``durable worker`` does
        answer: object = asyncio.run(measure())
    except Skipped as reason:
        answer = {"skipped": str(reason)}
    print(FIGURES + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
