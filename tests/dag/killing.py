"""A process that makes children, each of which carries the order flow out and is killed at a write; and who asks it to.

Everything is imported and read once, before the children are made: each costs what its work costs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from durable import Worker, connect
from durable_dag import Engine
from durable_dag.egress import HttpOutbound
from durable_dag.engine import DELIVERY
from tests.dag.readme import definition_in
from tests.dag.services import Here

__all__ = ["CONTEXT", "EXECUTION", "SECRETS", "Maker", "Task", "order_flow"]

ROOT = Path(__file__).parents[2]
EXECUTION = "order-123"
CONTEXT = {"orderId": "123"}
SECRETS = {"onComplete": "whsec_Y29tcGxldGU=", "onFailure": "whsec_ZmFpbHVyZQ==", "onStep": "whsec_c3RlcA=="}
OUTBOUND = HttpOutbound()  # keeps the certificates that it has read
WRITES = ("commit", "create", "put_record")


@dataclass(frozen=True, slots=True)
class Task:
    """What a child does.

    Attributes:
        port: Of the services.
        at: Which write it is killed at, from 1; none if it lives.
        after: Whether the write has been done by then.
    """

    store: str
    port: int
    at: int | None = None
    after: bool = False


def order_flow() -> dict[str, Any]:
    """The README's flow, told of at every turn; its waits are short, and the services are told the order."""
    flow: dict[str, Any] = definition_in("2. E-commerce Order Flow")
    for step in flow["steps"]:
        if "retryPolicy" in step:
            step["retryPolicy"]["initialDelay"] = 1
        if step["action"] == "http.request":
            step["params"]["body"] = {"order": "${{ context.orderId }}"}
    urls = {**flow["webhooks"], "onStep": "http://analytics/step"}
    flow["webhooks"] = {event: {"url": url, "secret": SECRETS[event]} for event, url in urls.items()}
    return flow


# ── a child ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_writes(store: Any, at: int | None, after: bool) -> Callable[[], int]:
    """Kill this process at one of the store's writes; how many there have been."""
    count = 0

    def counted(name: str) -> None:
        write = getattr(store, name)

        async def deadly(*words: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            mine = count == at
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await write(*words, **options)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(store, name, deadly)

    for name in WRITES:
        counted(name)
    return lambda: count


async def carry_out(task: Task) -> int:
    """Register, start, work until everybody has been told; how many writes that took."""
    engine = Engine(outbound=Here(task.port, OUTBOUND))
    client = connect(task.store)
    writes = count_writes(client.store, task.at, task.after)
    async with client:
        engine.bind(client)
        async with Worker(client, **engine.worker_parts()):
            await engine.register_workflow(order_flow())
            await engine.start("order-flow", CONTEXT, execution_id=EXECUTION)
            await engine.result(EXECUTION, timeout=60)
            for run in await client.list(workflow=DELIVERY, labels={"dag.delivery": EXECUTION}):
                await client.handle(run.id).result(timeout=60)
    return writes()


async def warm_up(folder: str) -> None:
    """Carry something out that fails, so that all code is loaded."""
    async with connect(f"sqlite:///{folder}/warm.db") as client:
        engine = Engine(client, outbound=OUTBOUND)
        step = {"id": "a", "action": "http.request", "params": {"url": "http://127.0.0.1:9/"}}
        async with Worker(client, **engine.worker_parts()):
            started = await engine.start(definition={"id": "warm", "steps": [step]})
            assert (await engine.result(started.execution_id))["status"] == "failed"


def main() -> None:
    """Make a child for each line of the input, and say how it ended: its signal or code, and its writes."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(warm_up(folder))
    assert threading.active_count() == 1  # a child has no threads but its own
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.write(writing, b"%d" % asyncio.run(carry_out(Task(**json.loads(line)))))
                code = 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        said = os.read(reading, 100)
        os.close(reading)
        print(json.dumps([os.waitstatus_to_exitcode(status), int(said or b"0")]), flush=True)


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Maker:
    """Has children made."""

    def __enter__(self) -> Maker:
        command = [sys.executable, "-m", "tests.dag.killing"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.communicate(timeout=90)

    def run(self, task: Task) -> tuple[int, int]:
        """How a child has ended (below 0: by this signal), and its writes if it lived."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(task)) + "\n")
        self._process.stdin.flush()
        code, writes = json.loads(self._process.stdout.readline())
        return code, writes


if __name__ == "__main__":
    main()
