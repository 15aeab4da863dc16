"""Calls over a bad line: said again while that may help, and told as what they are when it does not."""

import asyncio
import os
from typing import Any

import pytest
from aiohttp import web

from durable.errors import (
    Corrupt,
    InvalidInput,
    OutcomeUnknown,
    PayloadTooLarge,
    ReadOnly,
    StoreError,
    StoreFull,
    Transient,
    WriteConflict,
)
from durable.store import RunId, RunQuery
from durable_convex import ConvexStore, failures, transport
from durable_convex.url import parse
from durable_testing.conformance.bench import new_run
from tests.convex.conftest import opened
from tests.convex.lookalike import TOKEN, Lookalike


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PATIENCE_SECONDS", 0.6)


def refused(status: int, code: str = "", message: str = "no", **headers: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=headers)


# ── said again ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "OptimisticConcurrencyControlFailure"), (429, "TooManyConcurrentRequests"), (408, ""), (500, ""), (502, "")],
)
async def test_what_may_pass_is_said_again_until_it_does(look: Lookalike, status: int, code: str) -> None:
    look.before = lambda name, count: refused(status, code) if name == "sync" and count < 3 else None
    async with opened(look.url) as store:
        (created,) = await store.create([new_run("r")])
    assert created.outcome == "created"
    assert look.calls["sync"] == 3


async def test_a_lost_answer_is_asked_for_again_with_the_same_words(look: Lookalike) -> None:
    look.lose = lambda name, count: name == "sync" and count == 1
    async with opened(look.url) as store:
        (created,) = await store.create([new_run("r")])
        assert created.outcome == "existed", "it had been done"
        assert await store.count(RunQuery()) == 1
    first, second = (said for said in look.sent if said["path"] == "durable:sync")
    assert first == second


async def test_a_deployment_that_asks_for_patience_is_given_it(look: Lookalike) -> None:
    headers = {"Retry-After": "3600"}
    look.before = lambda name, count: refused(429, "RateLimited", **headers) if name == "sync" else None
    async with opened(look.url) as store:
        with pytest.raises(Transient, match="more requests than its plan allows"):
            await store.now()
    assert look.calls["sync"] == 1, "an hour is more than our patience"


async def test_nobody_is_followed_to_another_address_for_the_token_would_go_along(look: Lookalike) -> None:
    elsewhere = Lookalike()
    with elsewhere.running():
        headers = {"Location": f"{elsewhere.url}/api/query"}
        look.before = lambda name, count: refused(307, **headers)
        with pytest.raises(InvalidInput, match="another address"):
            async with opened(look.url):
                pass
    assert not elsewhere.sent


# ── told ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (503, "OptimisticConcurrencyControlFailure", WriteConflict, "conflicting writes"),
        (429, "TooManyConcurrentRequests", Transient, "more requests at once"),
        (401, "InvalidAuthHeader", ReadOnly, "credentials"),
        (402, "", StoreFull, "limits of its plan"),
        (404, "", ReadOnly, "Check the URL"),
        (400, "BackendIsNotRunning", ReadOnly, "paused"),
    ],
)
async def test_what_was_surely_not_done_is_told_so(
    look: Lookalike, status: int, code: str, kind: type[StoreError], words: str
) -> None:
    look.before = lambda name, count: refused(status, code) if name == "sync" else None
    async with opened(look.url) as store:
        with pytest.raises(kind, match=words):
            await store.create([new_run("r")])
        assert await store.count(RunQuery()) == 0


async def test_what_may_have_been_done_is_told_so_when_patience_is_over(look: Lookalike) -> None:
    look.lose = lambda name, count: name == "sync"
    async with opened(look.url) as store:
        with pytest.raises(OutcomeUnknown, match="say it again"):
            await store.create([new_run("r")])
        assert await store.count(RunQuery()) == 1


async def test_a_doubt_stays_even_if_later_tries_surely_failed(look: Lookalike) -> None:
    look.lose = lambda name, count: name == "sync" and count == 1
    look.before = lambda name, count: refused(429) if name == "sync" and count > 1 else None
    async with opened(look.url) as store:
        with pytest.raises(OutcomeUnknown):
            await store.create([new_run("r")])


async def test_a_query_may_always_be_said_again_so_it_leaves_no_doubt(look: Lookalike) -> None:
    look.lose = lambda name, count: name == "read"
    async with opened(look.url) as store:
        with pytest.raises(Transient, match="did not answer"):
            await store.get([RunId("r")])


async def test_a_server_that_is_away_is_weather(look: Lookalike, unused_tcp_port: int) -> None:
    with pytest.raises(Transient, match="cannot be reached"):
        async with opened(f"http://127.0.0.1:{unused_tcp_port}"):
            pass


async def test_what_answers_and_is_not_convex_is_told_so(look: Lookalike) -> None:
    look.before = lambda name, count: web.Response(text="<html>Welcome to the hotel</html>")
    with pytest.raises(Transient, match="not Convex"):
        async with opened(look.url):
            pass


async def test_too_large_a_call_is_no_weather(look: Lookalike) -> None:
    look.before = lambda name, count: refused(413) if name == "sync" else None
    async with opened(look.url) as store:
        with pytest.raises(PayloadTooLarge, match="Nothing of it was written"):
            await store.create([new_run("r")])


# ── at the door ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_token_is_refused_at_once_with_what_to_do(look: Lookalike) -> None:
    with pytest.raises(InvalidInput, match=r"refuses the token.*DURABLE_TOKEN.*npx convex env set"):
        async with opened(look.url, auth="another"):
            pass


async def test_the_token_is_in_no_message(look: Lookalike) -> None:
    with pytest.raises(InvalidInput) as caught:
        async with opened(look.url, auth="a-secret-token"):
            pass
    assert "a-secret-token" not in str(caught.value)


async def test_a_component_that_is_not_there_is_told_with_the_command(look: Lookalike) -> None:
    with pytest.raises(Corrupt, match=r"no working function elsewhere:info.*npx convex deploy"):
        look.guilty = lambda body: "elsewhere" in body
        async with opened(look.url + "?functions=elsewhere"):
            pass


@pytest.mark.parametrize("protocol", [0.0, 2.0, None])
async def test_an_older_or_newer_component_is_refused(look: Lookalike, protocol: Any) -> None:
    look.protocol = protocol
    with pytest.raises(Corrupt, match="init --upgrade"):
        async with opened(look.url):
            pass


async def test_a_deployment_that_is_not_there_is_no_weather(look: Lookalike) -> None:
    look.before = lambda name, count: refused(404)
    with pytest.raises(InvalidInput, match="Check the URL"):
        async with opened(look.url):
            pass


async def test_a_token_that_is_changed_while_we_run_is_weather_until_ours_is_changed_too(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", TOKEN)
    async with opened(look.url, auth=None) as store:
        await store.create([new_run("a")])
        look.token = "rotated"
        with pytest.raises(ReadOnly, match="refuses the token"):
            await store.create([new_run("b")])
        monkeypatch.setitem(os.environ, "DURABLE_TOKEN", "rotated")
        (created,) = await store.create([new_run("b")])
        assert created.outcome == "created"


async def test_a_token_function_and_an_identity_are_asked_for_each_call(look: Lookalike) -> None:
    asked: list[str] = []

    async def token() -> str:
        asked.append("token")
        return TOKEN

    async def identity() -> str:
        asked.append("identity")
        return f"jwt {len(asked)}"

    async with opened(look.url, auth=token, identity=identity) as store:
        await store.now()
    assert asked == ["token", "identity"] * 2
    assert look.identities == ["Bearer jwt 2", "Bearer jwt 4"]


async def test_an_identity_may_end_with_the_line_break_of_the_file_that_it_was_in(look: Lookalike) -> None:
    async def identity() -> str:
        return "jwt\n"

    async with opened(look.url, identity=identity):
        assert look.identities == ["Bearer jwt"]


async def test_a_token_function_that_fails_is_weather(look: Lookalike) -> None:
    async def broken() -> str:
        raise OSError("the vault is away")

    with pytest.raises(Transient, match="the vault is away"):
        async with opened(look.url, auth=broken):
            pass


async def test_the_environments_own_name_for_it_goes_before_the_shared_one(
    look: Lookalike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_TOKEN", "not this one")
    monkeypatch.setenv("DURABLE_CONVEX_TOKEN", TOKEN)
    async with opened(look.url, auth=None):
        pass


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_closing_does_not_wait_for_a_server_that_is_silent(look: Lookalike) -> None:
    look.silent.add("sync")
    async with opened(look.url) as store:
        asking = asyncio.ensure_future(store.now())
        while not look.calls["sync"]:
            await asyncio.sleep(0.005)
        async with asyncio.timeout(2):
            await store.close()
            with pytest.raises(OutcomeUnknown, match="may have been done"):
                await asking
        with pytest.raises(StoreError, match="closed"):
            await store.now()


# ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "base", "functions"),
    [
        ("convex+https://happy-otter-123.convex.cloud", "https://happy-otter-123.convex.cloud", "durable"),
        ("convex+https://happy-otter-123.convex.cloud/", "https://happy-otter-123.convex.cloud", "durable"),
        ("convex+http://127.0.0.1:3210?functions=jobs/durable", "http://127.0.0.1:3210", "jobs/durable"),
        ("convex+http://[::1]:3210/behind/a/proxy", "http://[::1]:3210/behind/a/proxy", "durable"),
    ],
)
def test_a_url_names_the_deployment_and_the_module(url: str, base: str, functions: str) -> None:
    target = parse(url)
    assert (target.base, target.functions) == (base, functions)
    assert target.socket == base.replace("http", "ws", 1) + "/api/sync"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://happy-otter-123.convex.cloud", r"begins with convex\+https"),
        ("convex+https://", "names no deployment"),
        ("convex+https://secret@x.convex.cloud", "does not belong into a URL"),
        ("convex+https://x.convex.cloud?token=secret", "does not belong into a URL"),
        ("convex+https://x.convex.site", "HTTP actions"),
        ("convex+http://x.convex.cloud", "in the clear"),
        ("convex+https://x.convex.cloud?shards=4", "the option 'shards'"),
        ("convex+https://x.convex.cloud?functions=a&functions=b", "twice"),
        ("convex+https://x.convex.cloud?functions=../x", "module below convex/"),
        ("convex+https://x.convex.cloud?live=maybe", "true, false"),
        ("convex+https://x.convex.cloud:port", "refused"),
        ("convex+https://x.convex.cloud#part", "'#'"),
        ("convex+https://x y.convex.cloud", "blank"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        ConvexStore(url)
    assert "secret" not in str(caught.value)


def test_a_conflict_asks_for_patience_and_not_for_doubt() -> None:
    """The table's two questions, for the one status that Convex gives to both kinds."""
    conflict = failures.trouble(503, "OptimisticConcurrencyControlFailure", "")
    other = failures.trouble(503, "ServiceUnavailable", "")
    assert (conflict.again, conflict.done) == (True, False)
    assert (other.again, other.done) == (True, True)
