"""The pictures of the documentation, drawn from real runs of the three flows.

``python examples/dag/pictures.py`` carries the flows out and compares; with ``--write`` it writes ``docs/pictures``.
A picture shows how each step ended and no times, so it is the same each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from services import Local, Services

from durable import Worker, connect
from durable_dag import Engine
from durable_dag.pictures import svg

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parents[1] / "docs" / "pictures"
FLOWS = ("order-flow", "etl-pipeline", "cicd-pipeline")


async def drawn() -> dict[str, str]:
    """A picture of one run of each flow, by the flow's id."""
    async with connect("sqlite:///pictures.db") as client, Services() as services:
        engine = Engine(client, outbound=Local(services))
        async with Worker(client, **engine.worker_parts()):
            started = {}
            for flow in FLOWS:
                definition = json.loads((HERE / f"{flow}.json").read_text())
                started[flow] = await engine.start(definition=definition, execution_id=flow)
            found = {}
            for flow, one in started.items():
                execution = await engine.result(one.execution_id, timeout=60)
                assert execution["status"] == "completed", execution
                found[flow] = svg(await engine.drawing(one.execution_id))
        await engine.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Write the pictures.")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        pictures = asyncio.run(drawn())
        os.chdir(HERE)
    stale = 0
    for flow, text in pictures.items():
        path = PICTURES / f"{flow}.svg"
        if write:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is not what a run looks like now; write it anew with --write", file=sys.stderr)
            stale += 1
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
