"""Calls to the outside: what the policy lets pass, and what the real client does with a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durable.errors import InvalidInput
from durable_dag import EgressDenied, EgressPolicy, HttpProblem, Request, StepFailure
from durable_dag.egress import HttpOutbound

METADATA = [
    "169.254.169.254",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "100.100.100.200",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
]
PRIVATE = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "127.0.0.1", "::1", "fd12::1", "::ffff:10.0.0.1", "2002:7f00:1::"]


@pytest.mark.parametrize("address", METADATA)
def test_where_credentials_are_handed_out_is_never_called(address: str) -> None:
    with pytest.raises(EgressDenied):
        EgressPolicy().check("innocent.example", address)
    EgressPolicy(metadata=True).check("innocent.example", address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_called_until_one_setting_says_no(address: str) -> None:
    EgressPolicy().check("service", address)
    with pytest.raises(EgressDenied, match="private"):
        EgressPolicy(private=False).check("service", address)
    EgressPolicy(private=False).check("service", "93.184.216.34")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"])
def test_what_is_no_single_host_is_never_called(address: str) -> None:
    with pytest.raises(EgressDenied):
        EgressPolicy(metadata=True).check("x", address)


def test_lists_decide_by_host_and_by_network() -> None:
    policy = EgressPolicy(allow=("api.example.com", ".internal", "10.1.0.0/16"), deny=("bad.internal", "10.1.9.0/24"))
    policy.check("api.example.com", "93.184.216.34")
    policy.check("API.example.com.", "93.184.216.34")
    policy.check("a.internal", "192.168.0.1")
    policy.check("anything", "10.1.2.3")
    for host, address in (
        ("example.com", "93.184.216.34"),
        ("bad.internal", "192.168.0.1"),
        ("anything", "10.1.9.1"),
        ("evilinternal", "1.2.3.4"),
        ("a.internal", "169.254.169.254"),
    ):
        with pytest.raises(EgressDenied):
            policy.check(host, address)


@pytest.mark.parametrize("rules", ["10.0.0.0/8", ("",), ("10.0.0.0/99",), (1,)])
def test_rules_that_are_none_are_refused(rules: Any) -> None:
    with pytest.raises(InvalidInput):
        EgressPolicy(allow=rules)


class Server:
    """A real server on a port of this machine, that answers what it is told to."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.answers: dict[str, bytes] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(one.split(b":")[1]) for one in head.split(b"\r\n") if one.lower().startswith(b"content-length")), 0
            )
            self.heads.append(head + (await reader.readexactly(length) if length else b""))
            path = head.split(b" ")[1].decode()
            answer = self.answers.get(path)
            if answer is None:
                await reader.read()  # for ever: until the other side goes
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


async def test_a_request_goes_out_as_it_is(server: Server) -> None:
    server.answers["/x?a=1"] = answer(b'{"ok": true}', content_type="application/json")
    got = await HttpOutbound().send(Request("POST", server.url("/x?a=1"), {"X-Own": "yes"}, b"body"))
    assert (got.status, json.loads(got.body), got.headers["content-type"]) == (200, {"ok": True}, "application/json")
    [head] = server.heads
    assert head.startswith(b"POST /x?a=1 HTTP/1.1\r\n")
    assert head.endswith(b"\r\n\r\nbody")
    assert b"x-own: yes" in head.lower()
    assert b"accept-encoding: identity" in head.lower()


async def test_redirects_are_followed_only_where_that_was_asked_for(server: Server) -> None:
    server.answers["/from"] = answer(b"", "302 Found", location=server.url("/to"))
    server.answers["/to"] = answer(b"there")
    assert (await HttpOutbound().send(Request("GET", server.url("/from")))).status == 302
    assert (await HttpOutbound().send(Request("GET", server.url("/from"), follow_redirects=True))).body == b"there"


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "gopher://x/", "http://169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/"]
)
async def test_a_redirect_leads_nowhere_that_a_request_may_not_go(server: Server, target: str) -> None:
    server.answers["/from"] = answer(b"", "302 Found", location=target)
    with pytest.raises((EgressDenied, StepFailure)):
        await HttpOutbound().send(Request("GET", server.url("/from"), follow_redirects=True))


async def test_redirects_in_a_circle_end(server: Server) -> None:
    server.answers["/a"] = answer(b"", "302 Found", location=server.url("/a"))
    with pytest.raises(StepFailure, match="redirects"):
        await HttpOutbound().send(Request("GET", server.url("/a"), follow_redirects=True))
    assert len(server.heads) == 6


async def test_a_name_that_answers_differently_the_second_time_gains_nothing(server: Server) -> None:
    asked = 0

    async def rebinding(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.1"] if asked == 1 else ["169.254.169.254"]

    server.answers["/"] = answer(b"first")
    outbound = HttpOutbound(resolve=rebinding)
    assert (await outbound.send(Request("GET", f"http://name:{server.port}/"))).body == b"first"
    assert asked == 1  # the address that was checked is the one that was connected to
    with pytest.raises(EgressDenied):
        await outbound.send(Request("GET", f"http://name:{server.port}/"))


async def test_one_bad_address_of_a_name_is_enough() -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "169.254.169.254"]

    with pytest.raises(EgressDenied):
        await HttpOutbound(resolve=both).send(Request("GET", "http://name/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.1/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://localhost/",
        "http://localhost./",
        "http://ok@127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
    ],
)
async def test_no_way_of_writing_it_leads_to_a_private_address_when_that_is_forbidden(url: str) -> None:
    with pytest.raises((EgressDenied, HttpProblem, StepFailure)) as caught:
        await HttpOutbound(EgressPolicy(private=False)).send(Request("GET", url, timeout=5))
    assert not isinstance(caught.value, HttpProblem) or "has no address" in str(caught.value)


async def test_an_answer_that_is_too_large_is_cut_off(server: Server) -> None:
    server.answers["/"] = answer(b"x" * 5000)
    with pytest.raises(StepFailure, match="larger than 1,000 bytes"):
        await HttpOutbound().send(Request("GET", server.url("/"), bytes_max=1000))


async def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off_too(server: Server) -> None:
    server.answers["/"] = answer(gzip.compress(b"x" * 5_000_000), content_encoding="gzip")
    with pytest.raises(StepFailure, match="larger"):
        await HttpOutbound().send(Request("GET", server.url("/"), bytes_max=100_000))


async def test_an_answer_that_never_comes_is_waited_for_so_long_and_no_longer(server: Server) -> None:
    with pytest.raises(HttpProblem, match="no whole answer after 0.2 s"):
        await HttpOutbound().send(Request("GET", server.url("/silence?token=secret"), timeout=0.2))


async def test_nobody_there_is_worth_another_try() -> None:
    with pytest.raises(HttpProblem) as caught:
        await HttpOutbound().send(Request("GET", "http://user:password@127.0.0.1:1/x?token=secret"))
    assert "password" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"x": "a\r\nEvil: yes"}, {"x\r\nEvil": "1"}, {"x": "a\x00b"}])
async def test_a_header_cannot_bring_another(server: Server, headers: dict[str, str]) -> None:
    server.answers["/"] = answer(b"")
    with pytest.raises(StepFailure, match="cannot be sent"):
        await HttpOutbound().send(Request("GET", server.url("/"), headers))
    assert server.heads == []


async def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answers["/"] = answer(b"direct")
    assert (await HttpOutbound().send(Request("GET", server.url("/")))).body == b"direct"
