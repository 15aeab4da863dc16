"""Streams of events: complete, in order, and resumed where they broke."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serving_rig import Rig, rigged

Chunk = tuple[str, str, Any]


class Listener:
    """Reads a stream as an ASGI server would send it: chunk by chunk, while it goes on."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self._chunks.put_nowait(message.get("body", b""))
            if not message.get("more_body", False):
                self._chunks.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._chunks.get()) is not None:
            lines = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if ": " in line and line[0] != ":")
            if "data" in lines:
                yield lines["id"], lines["event"], json.loads(lines["data"])

    async def take(self, count: int) -> list[Chunk]:
        """The next so many events."""
        found: list[Chunk] = []
        async with asyncio.timeout(10):
            async for chunk in self:
                found.append(chunk)
                if len(found) == count:
                    break
        return found


@asynccontextmanager
async def listening(rig: Rig, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[Listener]:
    listener = Listener()
    place, _, query = path.partition("?")
    given = {"host": "localhost", **(headers or {})}
    scope = {
        "type": "http",
        "method": "GET",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    task = asyncio.create_task(rig.app(scope, listener.receive, listener.send))
    try:
        yield listener
    finally:
        listener.gone.set()
        async with asyncio.timeout(5):
            await task


async def test_a_stream_tells_everything_and_ends_with_the_execution(working: Rig) -> None:
    id = await working.local.start("waits")
    async with listening(working, f"/executions/{id}/events") as listener:
        first = await listener.take(2)
        await working.local.value("POST", f"/executions/{id}/signal/go", {"ok": True})
        rest = [chunk async for chunk in listener]
    assert [kind for _, kind, _ in first + rest] == [
        "execution.created",
        "step.completed",
        "signal.received",
        "execution.completed",
    ]
    events = await working.local.value("GET", f"/executions/{id}/history")
    assert [event for _, _, event in first + rest] == events
    assert [int(number) for number, _, _ in first + rest] == [event["seq"] for event in events]


async def test_a_stream_goes_on_behind_the_last_event_seen(working: Rig) -> None:
    id = await working.local.start("hello")
    await working.local.until(id, status="completed")
    events = await working.local.value("GET", f"/executions/{id}/history")
    for place, event in enumerate(events):
        for options in ({"headers": {"Last-Event-ID": str(event["seq"])}}, {"query": f"?lastEventId={event['seq']}"}):
            path = f"/executions/{id}/events{options.get('query', '')}"
            async with listening(working, path, options.get("headers")) as listener:  # type: ignore[arg-type]
                found = [told async for _, _, told in listener]
            assert found == events[place + 1 :]


async def test_numbers_go_up_over_a_retry(working: Rig) -> None:
    id = await working.local.start("refused")
    await working.local.until(id, status="failed")
    before = await working.local.value("GET", f"/executions/{id}/history")
    await working.local.value("POST", f"/executions/{id}/retry", {})
    await working.local.until(id, status="failed", attempt=2)
    after = await working.local.value("GET", f"/executions/{id}/history?after={before[-1]['seq']}")
    assert after
    assert min(one["seq"] for one in after) > max(one["seq"] for one in before)


async def test_a_number_that_is_none_is_refused(rig: Rig) -> None:
    id = await rig.local.start("hello")
    answer = await rig.local("GET", f"/executions/{id}/events", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 400


async def test_all_executions_are_told_as_they_change(working: Rig) -> None:
    async with listening(working, "/events") as listener:
        await asyncio.sleep(0.4)  # its first look only learns how things stand
        id = await working.local.start("hello", context={"name": "Ada"})
        async with asyncio.timeout(10):
            async for number, kind, told in listener:
                assert (kind, told["executionId"]) == ("execution.updated", id)
                if told["status"] == "completed":
                    break
    other = await working.local.start("hello")
    await working.local.until(other, status="completed")
    async with listening(working, "/events", {"Last-Event-ID": number}) as listener:
        missed = await listener.take(1)
    assert missed[0][2]["executionId"] == other


async def test_streams_end_when_the_server_stops(working: Rig) -> None:
    id = await working.local.start("waits")
    async with (
        listening(working, f"/executions/{id}/events") as one,
        listening(working, "/events") as all_of_them,
    ):
        await one.take(1)
        working.app.state.durable_server.closing.set()
        async with asyncio.timeout(5):
            assert [kind async for _, kind, _ in one] in ([], ["step.completed"])
            async for _ in all_of_them:
                pass


async def test_streams_of_one_caller_are_bounded_and_given_back() -> None:
    async with rigged() as made:
        made.app.state.durable_server.streams_max = 2
        id = await made.local.start("waits")
        path = f"/executions/{id}/events"
        async with listening(made, path) as one, listening(made, path) as two:
            await one.take(1)
            await two.take(1)
            answer = await made.local("GET", path)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert made.app.state.durable_server.streams.total() == 0
        async with listening(made, path) as three:
            await three.take(1)


async def test_a_stream_is_not_kept_by_anybody_in_between(working: Rig) -> None:
    id = await working.local.start("hello")
    async with listening(working, f"/executions/{id}/events") as listener:
        await listener.take(1)
        assert listener.headers["content-type"].startswith("text/event-stream")
        assert listener.headers["cache-control"] == "no-store"
        assert listener.headers["x-accel-buffering"] == "no"
