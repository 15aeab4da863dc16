"""The one door: every route of the application, whoever comes and from wherever."""

import hashlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from serving_rig import ETL, Caller, Rig, rigged
from starlette.requests import Request

from durable_server.app import ENDPOINTS
from durable_server.endpoints import READ, Endpoint
from durable_server.gate import OPEN_PATHS
from durable_server.principals import ROLES, Principal

READS = [one for one in ENDPOINTS if one.method == "GET"]
CHANGES = [one for one in ENDPOINTS if one.method != "GET"]
ALL = [*READS, *CHANGES, Endpoint("GET", "/openapi.json", rigged, READ, "The description itself.", "")]
FILLED = {
    "{executionId}": "run",
    "{stepId}": "greet",
    "{workflowId}": "etl",
    "{version}": "1",
    "{name}": "go",
    "{deliveryId}": "d",
    "{tokenId}": "t",
}


def path_of(endpoint: Endpoint) -> str:
    path = endpoint.path
    for part, value in FILLED.items():
        path = path.replace(part, value)
    assert "{" not in path
    return path


def named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


@pytest.fixture
async def guarded() -> AsyncIterator[Rig]:
    async with rigged(auth="tokens") as made:
        yield made


def test_the_list_of_endpoints_is_what_the_application_routes(rig_routes: set[tuple[str, str]]) -> None:
    assert {(one.method, one.path) for one in ALL} == rig_routes
    assert len(ALL) == len(ENDPOINTS) + 1


@pytest.fixture
async def rig_routes(rig: Rig) -> set[tuple[str, str]]:
    return {(method, route.path) for route in rig.app.router.routes for method in route.methods}  # type: ignore[attr-defined]


def test_every_endpoint_that_changes_something_takes_more_than_reading() -> None:
    assert [named(one) for one in CHANGES if "read" in one.roles or not one.roles] == ["POST /workflows/validate"]
    assert {one.path for one in ENDPOINTS if not one.roles} == OPEN_PATHS


@pytest.mark.parametrize("endpoint", ALL, ids=named)
async def test_without_a_good_token_nothing_is_answered(guarded: Rig, endpoint: Endpoint) -> None:
    good = (await guarded.tokens.create("x", ["admin"])).text
    expired = (await guarded.tokens.create("x", ["admin"], keep_seconds=1e-9)).text
    revoked = await guarded.tokens.create("x", ["admin"])
    await guarded.tokens.revoke(revoked.token.id)
    wrong = [None, "dur_0000000000000000_" + "A" * 43, good[:-1] + ("A" if good[-1] != "A" else "B"), expired]
    wrong += [revoked.text, None, "nonsense", good + "A", good.upper()]
    for number, token in enumerate(wrong):
        prefix = "/api/v1" if number % 2 else ""
        answer = await Caller(guarded.app, token)(endpoint.method, prefix + path_of(endpoint), {})
        if endpoint.path in OPEN_PATHS:
            assert answer.status_code == 200
            continue
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), token
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await guarded.client.count() == 0


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_what_it_is_for_and_nothing_else(guarded: Rig, role: Any) -> None:
    caller = await guarded.caller(role)
    for endpoint in ALL:
        allowed = not endpoint.roles or Principal("x", frozenset({role})).may(endpoint.roles)
        if allowed and endpoint.path == "/events":
            continue  # it streams for ever
        answer = await caller(endpoint.method, path_of(endpoint), {} if endpoint.method != "GET" else ...)
        assert (answer.status_code == 403) != allowed, f"{named(endpoint)}: {answer.text}"
        if not allowed:
            assert answer.json()["code"] == "forbidden"


@pytest.mark.slow
async def test_a_token_that_only_reads_changes_nothing(tmp_path: Path) -> None:
    async with rigged(f"sqlite:///{tmp_path}/runs.db", auth="tokens") as made:
        reader, operator = await made.caller("read"), await made.caller("operate")
        await operator.start("hello", executionId="run")
        # Whoever is known and tries is written down, with the time at which the token was used; nothing else is.
        before, tokens = content(tmp_path / "runs.db", but="durable_server."), await made.tokens.list()
        for endpoint in CHANGES:
            for body in ({}, {"workflowId": "hello", "context": {}}, ETL):
                if "read" not in endpoint.roles:
                    assert (await reader(endpoint.method, path_of(endpoint), body)).status_code == 403, named(endpoint)
        assert content(tmp_path / "runs.db", but="durable_server.") == before
        assert [(one.id, one.roles, one.revoked) for one in await made.tokens.list()] == [
            (one.id, one.roles, one.revoked) for one in tokens
        ]


def content(file: Path, but: str = "") -> dict[str, str]:
    """A digest of each table; records of kinds that begin with ``but`` are left out."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        found = {}
        for name in names:
            rows = [repr(row) for row in database.execute(f'SELECT * FROM "{name}"')]
            kept = [row for row in rows if not but or but not in row]
            found[name] = hashlib.sha256("\n".join(sorted(kept)).encode()).hexdigest()
    database.close()
    return found


@pytest.mark.slow
async def test_looking_changes_nothing(tmp_path: Path) -> None:
    async with rigged(f"sqlite:///{tmp_path}/runs.db") as made:
        await made.local.start("hello", executionId="run")
        await made.local.value("POST", "/workflows", ETL)
        await made.local.start("etl", executionId="dag")
        await made.local.value("POST", "/executions/run/cancel")
        before = content(tmp_path / "runs.db")
        for endpoint in READS:
            if endpoint.path != "/events":
                assert (await made.local("GET", path_of(endpoint))).status_code in (200, 404), named(endpoint)
                await made.local("HEAD", path_of(endpoint))
                await made.local("OPTIONS", path_of(endpoint))
        for endpoint in CHANGES:  # a verb in a link, or in the address bar, does nothing
            assert (await made.local("GET", path_of(endpoint))).status_code in (200, 404, 405), named(endpoint)
        assert content(tmp_path / "runs.db") == before


# ── from where ───────────────────────────────────────────────────────────────────────────────────────────────────────

FOREIGN_HOSTS = [
    "evil.test",
    "evil.test:8585",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "",
    "[::ffff:8.8.8.8]",
    "0",
]
LOCAL_HOSTS = ["localhost", "LOCALHOST:1", "127.0.0.1:8585", "[::1]:8585", "localhost."]


@pytest.mark.parametrize("endpoint", ALL, ids=named)
async def test_a_server_without_tokens_is_not_called_by_other_names(rig: Rig, endpoint: Endpoint) -> None:
    for host in FOREIGN_HOSTS:
        answer = await rig.local(endpoint.method, path_of(endpoint), {}, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host"), host
    assert await rig.client.count() == 0


@pytest.mark.parametrize("host", LOCAL_HOSTS)
async def test_it_is_called_by_the_names_of_its_machine(rig: Rig, host: str) -> None:
    assert (await rig.local("GET", "/executions", headers={"Host": host})).status_code == 200


async def test_it_is_called_by_the_names_that_it_was_given() -> None:
    async with rigged(auth="tokens", hosts=["api.example"]) as made:
        caller = await made.caller("read")
        assert (await caller("GET", "/executions", headers={"Host": "API.example:443"})).status_code == 200
        assert (await caller("GET", "/executions", headers={"Host": "localhost"})).status_code == 421


CROSS_SITE: list[dict[str, str]] = [
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Origin": "http://localhost"},  # another port is another origin
    {"Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Origin": "http://localhost:8585", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("endpoint", CHANGES, ids=named)
async def test_no_page_of_another_site_changes_anything(rig: Rig, endpoint: Endpoint) -> None:
    for headers in CROSS_SITE:
        answer = await rig.local(endpoint.method, path_of(endpoint), {"workflowId": "hello"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), headers
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = await rig.local(
            endpoint.method, path_of(endpoint), content=b'{"workflowId": "hello"}', headers={"Content-Type": media}
        )
        assert answer.status_code == 415, media
    preflight = {"Origin": "http://evil.test", "Access-Control-Request-Method": endpoint.method}
    answer = await rig.local("OPTIONS", path_of(endpoint), headers=preflight)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert await rig.client.count() == 0


@pytest.mark.parametrize("endpoint", [one for one in ALL if one.method == "GET"], ids=named)
async def test_no_page_of_another_site_reads_anything(rig: Rig, endpoint: Endpoint) -> None:
    for mode in ("no-cors", "cors", "websocket"):
        for site in ("cross-site", "same-site"):
            script = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Origin": "http://evil.test"}
            answer = await rig.local("GET", path_of(endpoint), headers=script)
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), script
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_link_from_another_site_may_be_followed(rig: Rig) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await rig.local("GET", "/executions", headers=link)).status_code == 200


async def test_its_own_pages_and_those_of_origins_it_was_told_of_may_call() -> None:
    async with rigged(origins=["https://ops.example"]) as made:
        for headers in (
            {"Origin": "http://localhost:8585", "Sec-Fetch-Site": "same-origin"},
            {"Origin": "https://ops.example", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "none"},
        ):
            body = {"workflowId": "hello", "context": {}}
            assert (await made.local("POST", "/executions/start", body, headers=headers)).status_code == 201


@pytest.mark.parametrize("peer", ["8.8.8.8", "192.168.1.7", "::ffff:8.8.8.8", "2001:db8::1"])
async def test_without_tokens_only_this_machine_is_served(rig: Rig, peer: str) -> None:
    answer = await Caller(rig.app, peer=peer)("GET", "/executions")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_local")


async def test_without_tokens_no_proxy_is_served(rig: Rig) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert (await rig.local("GET", "/executions", headers={name: "127.0.0.1"})).status_code == 403


# ── what ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 1000 + b"]" * 1000, "nested too deeply"),
        (b'{"a": NaN}', "NaN"),
        (b'{"workflowId": "hello", "context": {"a": 1e999}}', "Out of range"),
        (b'{"workflowId": "a", "workflowId": "b"}', "two members of one name"),
        (b"\xff\xfe{}", "not"),
        (b'{"workflowId": "\\ud800"}', "lone surrogate"),
        (b"9" * 5000, "not JSON"),
    ],
)
async def test_a_body_that_is_no_good_json_is_refused(rig: Rig, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await rig.local("POST", "/executions/start", content=body, headers=headers)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    async with rigged(body_bytes_max=1000) as made:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            while read < 10_000_000:
                read += 500
                yield b" " * 500

        headers = {"Content-Type": "application/json"}
        answer = await made.local("POST", "/executions/start", content=endless(), headers=headers)
        assert answer.status_code == 413
        assert read < 5000
        headers["Content-Length"] = "999999999999999999"
        assert (await made.local("POST", "/executions/start", content=b"{}", headers=headers)).status_code == 413


async def test_what_is_not_there_is_404_and_a_wrong_method_is_405_with_the_right_ones(rig: Rig) -> None:
    assert (await rig.local("GET", "/nothing")).status_code == 404
    assert (await rig.local("GET", "/api/v1")).status_code == 404
    assert (await rig.local("GET", "/executions/")).status_code == 404
    for path, allowed in (("/workflows", "GET, POST"), ("/workflows/etl", "DELETE, GET, PATCH"), ("/metrics", "GET")):
        answer = await rig.local("PUT", path, {})
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert set(answer.json()) == {"error", "code", "details"}


@pytest.mark.parametrize("path", ["/executions", "/nothing", "/openapi.json", "/metrics", "/executions?limit=0"])
async def test_every_answer_has_the_headers_that_keep_browsers_quiet(rig: Rig, path: str) -> None:
    answer = await rig.local("GET", path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_surprise_is_told_to_the_log_and_not_to_the_caller(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(rig.client.store, "stats", broken)
    with caplog.at_level(logging.ERROR, "durable.server"):
        answer = await rig.local("GET", "/stats")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


# ── who did it ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_changes_something_is_written_down(guarded: Rig) -> None:
    operator, admin = await guarded.caller("operate"), await guarded.caller("admin")
    id = await operator.start("hello")
    await operator.value("POST", f"/executions/{id}/cancel", {"reason": "out of stock"})
    await operator("POST", "/workflows", ETL)
    await Caller(guarded.app)("POST", "/executions/start", {"workflowId": "hello"})
    deeds = await admin.value("GET", "/audit")
    assert [(one["principal"], one["path"], one["status"]) for one in deeds] == [
        ("operate", "/executions/start", 201),
        ("operate", f"/executions/{id}/cancel", 202),
        ("operate", "/workflows", 403),
    ]
    assert deeds[1]["reason"] == "out of stock"
    assert deeds[1]["execution"] == id
    first = await admin("GET", "/audit?limit=2")
    rest = await admin.value("GET", "/audit", params={"limit": 2, "cursor": first.headers["x-next-cursor"]})
    assert first.json() + rest == deeds


async def test_deeds_of_one_millisecond_are_told_in_their_order(guarded: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, at = await guarded.caller("admin"), await guarded.client.store.now()

    async def now() -> float:
        return at

    monkeypatch.setattr(guarded.client.store, "now", now)
    for number in range(12):
        await admin("POST", f"/executions/run-{number}/cancel")
    deeds = await admin.value("GET", "/audit")
    assert [one["path"] for one in deeds] == [f"/executions/run-{number}/cancel" for number in range(12)]


async def test_the_host_application_may_say_who_calls() -> None:
    def authorize(request: Request) -> Principal | None:
        user = request.headers.get("x-user")
        return None if user is None else Principal(user, frozenset({"operate" if user == "ada" else "read"}))

    async def later(request: Request) -> Principal | None:
        return authorize(request)

    for hook in (authorize, later):
        async with rigged(auth=hook) as made:
            body = {"workflowId": "hello", "context": {}}
            assert (await made.local("GET", "/executions")).status_code == 401
            bob = await made.local("POST", "/executions/start", body, headers={"X-User": "bob"})
            ada = await made.local("POST", "/executions/start", body, headers={"X-User": "ada"})
            assert (bob.status_code, ada.status_code) == (403, 201)


async def test_a_hook_that_answers_nonsense_lets_nobody_in() -> None:
    async with rigged(auth=lambda request: True) as made:
        assert (await made.local("GET", "/executions")).status_code == 500


async def test_websockets_are_not_spoken(rig: Rig) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/executions", "headers": [], "query_string": b"", "subprotocols": []}
    await rig.app(scope, receive, send)
    assert sent == ["websocket.close"]
