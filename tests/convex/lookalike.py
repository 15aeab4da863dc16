"""A deployment's outside in Python: Convex's HTTP API and sync protocol before the memory store.

It says what ``docs/internals/convex-wire.md`` says, so the adapter can be tried without Node, on sockets that are
really cut and answers that are really lost. What Convex itself does (conflicts, limits) is the stand-in's to show.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import WSMsgType, web

from durable.errors import InvalidInput
from durable.store import (
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    InboxMessage,
    JournalPage,
    Message,
    NewRun,
    Poll,
    PurgeQuery,
    RecordRow,
    RunPage,
    RunQuery,
    RunRecord,
    Sent,
    SessionRecord,
    StreamPage,
    Want,
    WorkerSession,
)
from durable_convex.wire import decode, encode
from durable_testing.clock import ManualClock
from durable_testing.memory import MemoryStore

TOKEN = "the shared token"
PROTOCOL = 1


class Deployment:
    """One deployment's data, and its clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.version = 0
        self.sockets: set[web.WebSocketResponse] = set()

    async def sync(self, ops: list[Any]) -> dict[str, Any]:
        results = [await self._op(op) for op in ops]
        return {"now": self.clock.now(), "results": results}

    async def _op(self, op: dict[str, Any]) -> Any:
        store = self.store
        match op["op"]:
            case "create":
                return encode(await store.create(decode(op["runs"], list[NewRun])), list[Created])
            case "poll":
                return encode(await store.poll(decode(op["session"], WorkerSession), decode(op["want"], Want)), Poll)
            case "renew":
                return await store.renew(decode(op["session"], WorkerSession))
            case "leave":
                return await store.leave(op["session"])
            case "commit":
                return encode(await store.commit(decode(op["commits"], list[Commit])), list[Committed])
            case "send":
                return encode(await store.send(decode(op["messages"], list[Message])), list[Sent])
            case "control":
                return encode(await store.control(decode(op["controls"], list[Control])), list[Controlled])
            case "purge":
                return await store.purge(decode(op["query"], PurgeQuery))
            case "now":
                return None
        return await self._record(op)

    async def _record(self, op: dict[str, Any]) -> Any:
        store, kind = self.store, op["kind"]
        match op["op"]:
            case "put_record":
                value, expect = decode(op["value"], bytes), decode(op.get("expect"), int | None)
                row = await store.put_record(kind, op["key"], value, expect=expect, keep_seconds=op.get("keep_seconds"))
                return encode(row, RecordRow | None)
            case "get_record":
                return encode(await store.get_record(kind, op["key"]), RecordRow | None)
            case "list_records":
                rows = await store.list_records(kind, op["after"], int(op["limit"]))
                return encode(rows, list[RecordRow])
            case "delete_record":
                return await store.delete_record(kind, op["key"])
        raise ValueError(f"no operation {op['op']}")

    async def read(self, asks: list[Any]) -> dict[str, Any]:
        return {"results": [await self._ask(ask) for ask in asks]}

    async def _ask(self, ask: dict[str, Any]) -> Any:
        store = self.store
        match ask["ask"]:
            case "get":
                return encode(await store.get(ask["runs"]), list[RunRecord | None])
            case "input":
                return encode(await store.input(ask["run"]), bytes | None)
            case "outcome":
                return encode(await store.outcome(ask["run"]), bytes | None)
            case "list":
                try:
                    page = await store.list(decode(ask["query"], RunQuery), int(ask["limit"]), ask.get("cursor"))
                except InvalidInput as error:
                    return {"invalid": str(error)}
                return encode(page, RunPage)
            case "count":
                return {"count": await store.count(decode(ask["query"], RunQuery))}
            case "sessions":
                return encode(await store.sessions(), list[SessionRecord])
            case "check":
                return {"problems": list(await store.check())}
            case "stats":
                return {"stats": [[name, number] for name, number in (await store.stats()).items()]}
        return await self._page(ask)

    async def _page(self, ask: dict[str, Any]) -> Any:
        store, run = self.store, ask["run"]
        match ask["ask"]:
            case "journal":
                start, limit = int(ask["start"]), int(ask["limit"])
                return encode(await store.journal(run, int(ask["generation"]), start, limit), JournalPage)
            case "messages":
                limit = min(int(ask["limit"]), 3)  # short pages, so that they are gone on with
                found = await store.messages(run, int(ask["after"]), limit, ask["unread_only"])
                cursor = found[-1].seq if len(found) == limit else None
                return {"messages": encode(found, list[InboxMessage]), "cursor": cursor}
            case "values":
                return {"values": encode(await store.values(run), dict[str, bytes])}
            case "stream":
                page = await store.stream(run, ask["name"], int(ask["start"]), int(ask["limit"]))
                return encode(page, StreamPage)
            case "parts":
                return encode(await store.parts(run, ask["hashes"][:2]), dict[str, bytes])
        raise ValueError(f"no question {ask['ask']}")


class Lookalike:
    """The server.

    Attributes:
        protocol: What ``info`` says.
        token: What it believes; None: nobody.
        calls: How often each function was called.
        before: Asked before each call (the function's name and how often it was called); a response in its place.
        lose: Asked after each call; whether its answer is lost.
        guilty: Whether the function throws, given the body of a call.
        answers: Functions of the app's own.
        silent: Functions that never answer.
    """

    def __init__(self) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.protocol: Any = PROTOCOL
        self.token: str | None = TOKEN
        self.identities: list[str | None] = []
        self.calls: Counter[str] = Counter()
        self.sent: list[dict[str, Any]] = []
        self.before: Callable[[str, int], web.StreamResponse | None] = lambda name, count: None
        self.lose: Callable[[str, int], bool] = lambda name, count: False
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.silent: set[str] = set()
        self.guilty: Callable[[str], bool] = lambda body: False
        self.url = ""
        self.queries: dict[web.WebSocketResponse, int] = {}
        self.requests: dict[web.WebSocketResponse, web.Request] = {}
        self.watched: list[dict[str, Any]] = []
        self.chunked = False
        self.sockets_refused = False
        self.loop = asyncio.new_event_loop()

    def deployment(self, name: str) -> Deployment:
        return self.deployments.setdefault(name, Deployment())

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for prefix in ("", "/d/{name}"):
            app.router.add_get(prefix + "/api/sync", self._socket)
            app.router.add_post(prefix + "/api/{kind}", self._call)
        return app

    async def _call(self, request: web.Request) -> web.StreamResponse:
        deployment = self.deployment(request.match_info.get("name", ""))
        body = await request.read()
        said = json.loads(body)
        name = said["path"].partition(":")[2]
        self.calls[name] += 1
        self.sent.append(said)
        self.identities.append(request.headers.get("Authorization"))
        instead = self.before(name, self.calls[name])
        if name in self.silent:
            await asyncio.sleep(60)
        if instead is not None:
            return instead
        stamp = request.headers.get("Standin-Now")
        if stamp is not None:
            deployment.clock.jump(float(stamp) / 1000.0 - deployment.clock.now())
        try:
            answer = await self._function(deployment, name, said["args"], body.decode())
        except Thrown as thrown:
            return web.json_response({"status": "error", "errorMessage": "Server Error", **thrown.data}, status=560)
        if self.lose(name, self.calls[name]):
            assert request.transport is not None
            request.transport.close()
        if name == "sync":
            deployment.version += 1
            for socket in list(deployment.sockets):
                with contextlib.suppress(ConnectionError):
                    await self._updated(socket, deployment)
        return web.json_response({"status": "success", "value": answer, "logLines": []})

    async def _function(self, deployment: Deployment, name: str, args: dict[str, Any], body: str) -> Any:
        if name not in self.answers and (self.token is None or args["token"] != self.token):
            raise Thrown({"errorData": {"code": "UNAUTHORIZED", "message": "This token is not ours."}})
        if self.guilty(body):
            raise Thrown({})
        if name in self.answers:
            return self.answers[name](args)
        match name:
            case "info":
                return {"protocol": self.protocol, "shards": 4}
            case "sync":
                return await deployment.sync(args["ops"])
            case "read":
                return await deployment.read(args["asks"])
        raise Thrown({"errorMessage": f"Could not find public function for 'durable:{name}'."})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        deployment = self.deployment(request.match_info.get("name", ""))
        if self.sockets_refused:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        self.requests[socket] = request
        await socket.prepare(request)
        try:
            async for frame in socket:
                if frame.type is not WSMsgType.TEXT:
                    break
                message = json.loads(frame.data)
                if message["type"] == "ModifyQuerySet":
                    self.calls["watch"] += 1
                    (added,) = [one for one in message["modifications"] if one["type"] == "Add"]
                    self.queries[socket] = added["queryId"]
                    self.watched.append(added["args"][0])
                    if added["args"][0]["token"] != self.token:
                        await self._said(socket, {"type": "QueryFailed", "errorMessage": "no", "logLines": []})
                        continue
                    deployment.sockets.add(socket)
                    await self._updated(socket, deployment)
        finally:
            deployment.sockets.discard(socket)
        return socket

    async def _updated(self, socket: web.WebSocketResponse, deployment: Deployment) -> None:
        value = str(deployment.version)
        await self._said(socket, {"type": "QueryUpdated", "value": value, "logLines": [], "journal": None})

    async def _said(self, socket: web.WebSocketResponse, change: dict[str, Any]) -> None:
        version = {"querySet": 1, "identity": 0, "ts": "AAAAAAAAAAA="}
        changes = [{**change, "queryId": self.queries[socket]}]
        said = {"type": "Transition", "startVersion": version, "endVersion": version, "modifications": changes}
        if self.chunked:
            text = json.dumps(said)
            for number, chunk in enumerate((text[:40], text[40:])):
                part = {"chunk": chunk, "partNumber": number, "totalParts": 2, "transitionId": "t"}
                await socket.send_json({"type": "TransitionChunk", **part})
        else:
            await socket.send_json(said)

    def cut_sockets(self) -> None:
        """As when the network goes."""
        for deployment in self.deployments.values():
            for socket in list(deployment.sockets):
                transport = self.requests[socket].transport
                if transport is not None:
                    self.loop.call_soon_threadsafe(transport.abort)

    @contextmanager
    def running(self) -> Iterator[str]:
        """The server on a thread of its own; its address."""
        loop = self.loop
        ready, stop = threading.Event(), asyncio.Event()

        async def serve() -> None:
            runner = web.AppRunner(self.application(), shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            ready.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self.url
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()


class Thrown(Exception):
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
