"""Definitions as JSON files, carried out: kill it at any moment, run it again, and it goes on where it was.

``python examples/dag/run.py order-flow`` (or ``etl-pipeline``, which needs the ``js`` extra, or ``cicd-pipeline``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from services import Local, Services

from durable import Worker, connect
from durable_dag import Engine
from durable_dag.pictures import ascii_text, svg

HERE = Path(__file__).parent


async def main(flow: str, store: str, id: str) -> None:
    definition = json.loads((HERE / f"{flow}.json").read_text())
    async with connect(store) as client, Services() as services:
        engine = Engine(client, outbound=Local(services))
        for warning in (await engine.validate(definition)).warnings:
            print(f"  note: {warning.path}: {warning.message}")
        registered = await engine.register_workflow(definition)
        print(f"{registered.id} is registered as version {registered.version}.")
        async with Worker(client, **engine.worker_parts()):
            started = await engine.start(flow, {"orderId": "order-123"}, execution_id=id)
            print(f"{'Started' if started.created else 'Resuming'} {started.execution_id}.")
            execution = await engine.result(started.execution_id)
            for run in await client.list(workflow="dag.webhook", labels={"dag.delivery": id}):
                await client.handle(run.id).result()
        drawing = await engine.drawing(id)
        Path(f"{id}.svg").write_text(svg(drawing))
        print(ascii_text(drawing), end="")
        print(f"{id} is {execution['status']}; its picture is in {id}.svg.")
        for step in execution["stepResults"].values():
            print(f"  {step['stepId']}: {step['status']}, attempts {step['attempts']}, {step.get('duration', 0)} ms")
        print(json.dumps(execution["output"]))
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "flow", nargs="?", default="order-flow", choices=["order-flow", "etl-pipeline", "cicd-pipeline"]
    )
    parser.add_argument("--store", default=os.environ.get("DURABLE_STORE", "sqlite:///dag.db"))
    parser.add_argument("--id", help="Of the execution. Default: named after the flow.")
    given = parser.parse_args()
    asyncio.run(main(given.flow, given.store, given.id or f"{given.flow}-1"))
