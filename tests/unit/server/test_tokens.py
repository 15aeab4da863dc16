"""Tokens: what the store keeps of them, and when they are accepted."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_rig import Rig

from durable.errors import InvalidInput
from durable_server.principals import ROLES, Principal, roles_of
from durable_server.tokens import KIND


async def test_the_store_keeps_a_hash_and_not_the_token(rig: Rig) -> None:
    made = await rig.tokens.create("Ada", ["operate"])
    assert re.fullmatch(r"dur_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", made.text)
    rows = await rig.client.store.list_records(KIND)
    secret = made.text.split("_", 2)[2]
    assert len(rows) == 1
    assert secret not in rows[0].value.decode()
    assert len(json.loads(rows[0].value)["hash"]) == 64
    assert secret not in repr(await rig.tokens.list())


async def test_a_token_says_who_calls(rig: Rig) -> None:
    made = await rig.tokens.create("Ada", ["operate", "worker"])
    found = await rig.tokens.principal(made.text)
    assert found == Principal("Ada", frozenset({"operate", "worker"}), made.token.id)


async def test_an_expired_or_revoked_token_is_nobodys(rig: Rig) -> None:
    short = await rig.tokens.create("Ada", keep_seconds=1e-9)
    assert await rig.tokens.principal(short.text) is None
    made = await rig.tokens.create("Bob")
    assert await rig.tokens.revoke(made.token.id)
    assert await rig.tokens.revoke(made.token.id)
    assert await rig.tokens.principal(made.text) is None
    assert not await rig.tokens.revoke("nobody")
    assert [token.revoked for token in await rig.tokens.list()] == [False, True]


async def test_its_use_is_noted(rig: Rig) -> None:
    made = await rig.tokens.create("Ada")
    assert (await rig.tokens.list())[0].used_at is None
    await rig.tokens.used(made.token.id)
    first = (await rig.tokens.list())[0].used_at
    await rig.tokens.used(made.token.id)
    assert first is not None
    assert (await rig.tokens.list())[0].used_at == first  # once a minute will do
    await rig.tokens.used("nobody")


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.text(max_size=80), st.from_regex(r"dur_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", fullmatch=True)))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    import asyncio

    from serving_rig import rigged

    async def main() -> None:
        async with rigged() as made:
            await made.tokens.create("Ada")
            assert await made.tokens.principal(text) is None

    asyncio.run(main())


@pytest.mark.parametrize(("name", "roles"), [("", ["read"]), ("a\nb", ["read"]), ("a", []), ("a", ["root"])])
async def test_what_is_no_token_is_not_made(rig: Rig, name: str, roles: list[str]) -> None:
    with pytest.raises(InvalidInput):
        await rig.tokens.create(name, roles)
    assert await rig.tokens.list() == []


def test_roles_include_each_other_as_they_should() -> None:
    table = {held: [role for role in ROLES if Principal("x", frozenset({held})).may({role})] for held in ROLES}
    assert table == {
        "read": ["read"],
        "operate": ["read", "operate"],
        "worker": ["worker"],
        "admin": ["read", "operate", "worker", "admin"],
    }
    assert roles_of("admin") == {"admin"}


async def test_tokens_are_made_listed_and_revoked_over_the_api(rig: Rig) -> None:
    made = await rig.local("POST", "/tokens", {"name": "Ada", "roles": ["operate"], "expiresIn": "30d"})
    assert made.status_code == 201
    value = made.json()
    assert (await rig.tokens.principal(value["token"])) is not None
    listed = await rig.local.value("GET", "/tokens")
    assert [one["id"] for one in listed] == [value["id"]]
    assert "token" not in listed[0]
    assert listed[0]["expiresAt"] - listed[0]["createdAt"] == 30 * 86_400_000
    assert (await rig.local("DELETE", f"/tokens/{value['id']}")).status_code == 204
    assert (await rig.tokens.principal(value["token"])) is None
    assert (await rig.local("DELETE", "/tokens/nobody")).status_code == 404


async def test_an_answer_with_a_secret_is_not_remembered(rig: Rig) -> None:
    answer = await rig.local("POST", "/tokens", {"name": "Ada"}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key")
    assert await rig.tokens.list() == []
