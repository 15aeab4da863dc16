"""The engine on Convex: the examples, workers that are killed, many processes, and what idling costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable import Client, Context, Worker, connect, step, workflow
from durable_convex import ConvexStore
from durable_convex.functions import Functions
from durable_convex.install import install
from tests.convex.deployments import TOKEN
from tests.convex.standin import StandIn, running

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60

pytestmark = pytest.mark.slow

APP = """
import { mutationGeneric, queryGeneric, actionGeneric } from "convex/server";
import { v } from "convex/values";

export const update = mutationGeneric({
  args: { id: v.string(), request: v.optional(v.string()) },
  handler: async (ctx, { id, request }) => {
    const known = await ctx.db.query("users").collect();
    if (request !== undefined && known.some((user) => user.request === request)) return "known";
    await ctx.db.insert("users", { id, request });
    return "updated";
  },
});
export const all = queryGeneric({ args: {}, handler: async (ctx) => (await ctx.db.query("users").collect()).length });
export const shout = actionGeneric({ args: { text: v.string() }, handler: async (_, { text }) => text.toUpperCase() });
export const ended = mutationGeneric({
  args: { workflowId: v.string(), workflow: v.string(), result: v.any(), context: v.any() },
  handler: async (ctx, args) => await ctx.db.insert("users", { id: JSON.stringify(args) }),
});
export const last = queryGeneric({
  args: {},
  handler: async (ctx) => (await ctx.db.query("users").order("desc").first())?.id ?? null,
});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("app")
    install(folder / "convex")
    (folder / "convex" / "users.ts").write_text(APP)
    with running(folder / "convex", folder, "--env", f"DURABLE_TOKEN={TOKEN}") as server:
        yield server


@pytest.fixture
def url(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DURABLE_TOKEN", TOKEN)
    return f"convex+{server.url}"


def program(name: str, url: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / f"{name}.py"), url],
        cwd=directory,
        env={**os.environ, "DURABLE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


KILLS = [
    ("order", "asked the bank", "Done: ch_42"),
    ("several_workers", "killing the first worker", "Done: 12 shipments"),
]


@pytest.mark.needs("polling", reason="a killed process says nothing: another one has to look")
@pytest.mark.parametrize(("name", "moment", "done"), KILLS, ids=[name for name, _, _ in KILLS])
def test_an_example_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, url: str, name: str, moment: str, done: str
) -> None:
    first = program(name, url, tmp_path)
    assert first.stdout is not None
    assert any(moment in line for line in first.stdout), f"{name} never said {moment!r}"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    said, _ = program(name, url, tmp_path).communicate(timeout=SECONDS)
    assert "Resuming run" in said
    assert done in said


@step
async def double(n: int) -> int:
    return 2 * n


@workflow
async def doubled(ctx: Context, n: int) -> int:
    first = await ctx.step(double, n)
    await ctx.sleep(0.05)
    return await ctx.step(double, first)


async def test_a_hundred_runs_at_once_are_carried_by_few_calls(url: str, server: StandIn) -> None:
    before = mutations(server)
    async with connect(url) as client, Worker(client, workflows=[doubled]):
        handles = await asyncio.gather(*(client.start(doubled, n, id=f"many-{n}") for n in range(100)))
        assert await asyncio.gather(*(handle.result(timeout=30) for handle in handles)) == [4 * n for n in range(100)]
    assert mutations(server) - before < 150, "some 500 commits and starts, one by one"


def mutations(server: StandIn) -> int:
    """How many mutations the deployment has committed or refused so far."""
    return sum(number for name, number in flat(stats(server)) if "mutation" in name.lower())


def stats(server: StandIn) -> dict[str, Any]:
    import json
    import urllib.request

    from tests.convex.standin import ADMIN_KEY

    request = urllib.request.Request(
        f"{server.url}/api/development/stats", headers={"Authorization": f"Convex {ADMIN_KEY}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        found: dict[str, Any] = json.load(response)
        return found


def flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of an object, each with its path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(part, f"{name}.{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


async def test_a_run_that_another_process_starts_begins_at_once_and_its_end_is_heard_of(url: str) -> None:
    """Polls come each 30 seconds, so it is the subscription that tells."""
    async with connect(url) as here, Worker(here, workflows=[doubled]), connect(url) as there:
        await hinted(here)
        await hinted(there)
        began = time.monotonic()
        handle = await there.start("doubled", 21)
        assert await handle.result(timeout=20) == 84
        assert time.monotonic() - began < 4.0


async def hinted(client: Client) -> None:
    async with asyncio.timeout(10):
        while not client.store.hinted:
            await asyncio.sleep(0.01)


async def test_an_idle_worker_makes_few_calls(url: str) -> None:
    store = ConvexStore(url)
    async with Client(store) as client, Worker(client, workflows=[doubled]):
        await hinted(client)
        await asyncio.sleep(1.0)
        calls = store._writes.calls, store._reads.calls
        await asyncio.sleep(5.0)
        assert store._reads.calls == calls[1]
        assert store._writes.calls - calls[0] <= 2, "housekeeping, more and more seldom"


async def test_convex_functions_are_steps_of_a_workflow_that_lives_in_the_same_deployment(
    url: str, server: StandIn
) -> None:
    convex = Functions(server.url)
    update = convex.mutation("users:update", key="request")
    count, shout = convex.query("users:all", returns=int), convex.action("users:shout", returns=str)
    told = convex.on_complete("users:ended")

    @workflow
    async def visit(ctx: Context, id: str) -> tuple[str, int]:
        before = await ctx.step(count, {})
        assert await ctx.step(update, {"id": id}) == "updated"
        return await ctx.step(shout, {"text": id}), await ctx.step(count, {}) - before

    async with connect(url) as client, Worker(client, workflows=[visit, told]):
        handle = await client.start(visit, "ada", id="visit-ada", on_complete=told, on_complete_context={"by": "eve"})
        assert await handle.result(timeout=20) == ("ADA", 1)
        async with asyncio.timeout(20):
            while "visit-ada" not in str(await convex.call("query", "users:last", {})):
                await asyncio.sleep(0.05)
    said = str(await convex.call("query", "users:last", {}))
    assert '"kind":"success"' in said
    assert '"returnValue":["ADA",1]' in said
    assert '"context":{"by":"eve"}' in said


async def test_a_token_that_is_rotated_is_waited_for_and_said_once(
    url: str, server: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [TOKEN]

    async def token() -> str:
        return tokens[0]

    async with connect(url, auth=token) as client, Worker(client, workflows=[doubled]):
        tokens[0] = "not yet the deployment's"
        starting = asyncio.ensure_future(client.start(doubled, 1, id="rotated"))
        await asyncio.sleep(1.0)
        assert not starting.done()
        tokens[0] = TOKEN
        assert await (await starting).result(timeout=20) == 4
    said = [record.getMessage() for record in caplog.records if "refuses the token" in record.getMessage()]
    assert 1 <= len(said) <= 2, "the client's, and the worker's"


async def test_while_the_server_is_away_everything_waits_and_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", TOKEN)
    install(tmp_path / "convex")
    options = ("--env", f"DURABLE_TOKEN={TOKEN}", "--data", str(tmp_path / "data"))
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(running(tmp_path / "convex", tmp_path, *options))
        async with connect(f"convex+{first.url}") as client, Worker(client, workflows=[doubled]):
            assert await (await client.start(doubled, 1)).result(timeout=20) == 4
            await asyncio.to_thread(first.kill)
            starting = asyncio.ensure_future(client.start(doubled, 2))
            await asyncio.sleep(0.5)
            servers.enter_context(running(tmp_path / "convex", tmp_path, *options, port=first.port))
            assert await (await starting).result(timeout=30) == 8
