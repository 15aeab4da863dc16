"""An agent: a model that calls tools, and a person who is asked before a dangerous one. No tool ever runs twice.

The model here is a script, so that the example needs no key and no network; the loop around it is the real one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from durable import (
    Context,
    Done,
    Handle,
    NotDone,
    Retry,
    Signal,
    Worker,
    connect,
    idempotency_key,
    step,
    workflow,
)

EFFECTS = Path("agent-effects.txt")


class Approval(BaseModel):
    approved: bool
    by: str


class ToolCall(BaseModel):
    name: str
    args: dict[str, str]
    dangerous: bool = False


class Reply(BaseModel):
    text: str
    calls: list[ToolCall] = []


def plan(turn: int) -> Reply:
    """What the model says when the tools have answered ``turn`` times."""
    if turn == 0:
        calls = [ToolCall(name="list_files", args={"in": "."}), ToolCall(name="disk_usage", args={"of": "."})]
        return Reply(text="I look around.", calls=calls)
    if turn == 2:
        call = ToolCall(name="delete", args={"file": "old.log"}, dangerous=True)
        return Reply(text="old.log is large; I would delete it.", calls=[call])
    return Reply(text="The disk is clean.")


@step(retry=Retry(4), timeout="2m")
async def llm(messages: list[dict[str, str]]) -> Reply:
    await asyncio.sleep(0.3)
    return plan(sum(message["role"] == "tool" for message in messages))


def ran(key: str) -> Done[str] | NotDone:
    """After a crash in the middle of a tool: look whether it ran, for it must not run twice."""
    done = [line for line in lines() if line.startswith(f"{key} ")]
    return Done(done[0].partition(" ")[2]) if done else NotDone()


@step(effect="at_most_once", timeout="5m", check=ran)
async def run_tool(call: ToolCall) -> str:
    await asyncio.sleep(0.3)
    text = f"{call.name} {' '.join(call.args.values())}"
    with EFFECTS.open("a") as file:
        file.write(f"{idempotency_key()} {text}\n")
    print(f"  tool: {text}", flush=True)
    return text


verdict = Signal("verdict", Approval)


@workflow
async def agent(ctx: Context, goal: str) -> str:
    messages = [{"role": "user", "content": goal}]
    while True:
        reply = await ctx.step(llm, messages)
        ctx.emit("thoughts", reply.text)
        if not reply.calls:
            return reply.text
        for call in reply.calls:
            if call.dangerous:
                ctx.set("awaiting", call.model_dump())
                if not (await ctx.wait_for_signal(verdict)).approved:
                    messages.append({"role": "tool", "content": "refused"})
                    break
        else:
            results = await asyncio.gather(*(ctx.step(run_tool, call) for call in reply.calls))
            messages += [{"role": "tool", "content": result} for result in results]


def lines() -> list[str]:
    return EFFECTS.read_text().splitlines() if EFFECTS.exists() else []


async def watch(handle: Handle[Any]) -> None:
    """Thoughts as they come; the stream is durable, so a new process reads it from the beginning."""
    async for thought in handle.stream("thoughts"):
        print(f"  thought: {thought}", flush=True)


async def decide(handle: Handle[Any], approved: bool) -> None:
    """The person: sees what the agent waits for, takes a moment, and answers once."""
    while "awaiting" not in (values := await handle.values()):
        await asyncio.sleep(0.1)
    print(f"  asked about {values['awaiting']['name']}: {'yes' if approved else 'no'}", flush=True)
    await asyncio.sleep(0.5)
    if (await handle.status()).ended_at is None:
        await handle.signal(verdict, Approval(approved=approved, by="ada"), id="verdict-1")


async def work(store: str, run_id: str, approved: bool) -> None:
    async with connect(store) as client, Worker(client, workflows=[agent]):
        known = (await client.list(id_prefix=run_id)).runs
        print(f"{'Resuming' if known else 'Starting'} run {run_id}", flush=True)
        handle = await client.start(agent, "Clean the disk.", id=run_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(handle))
            group.create_task(decide(handle, approved))
        print(f"Done: {await handle.result()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///agent.db"))
    parser.add_argument("--id", default="agent-7", help="of the run")
    parser.add_argument("--refuse", action="store_true", help="do not let it delete")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id, not given.refuse))


if __name__ == "__main__":
    main()
