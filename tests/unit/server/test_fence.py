"""The fence alone: values in, a refusal or nothing out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_server.fence import LOCAL_NAMES, Fence, is_loopback
from durable_server.problems import Problem

LOCAL = Fence(True)


def passes(fence: Fence, method: str = "GET", peer: str | None = "127.0.0.1", **headers: str) -> bool:
    try:
        fence.check(method, {name.replace("_", "-"): value for name, value in headers.items()}, peer)
    except Problem as problem:
        assert problem.status in (403, 421)
        return False
    return True


@given(st.text(max_size=40))
def test_no_name_but_those_of_this_machine_opens_the_fence(host: str) -> None:
    named = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if passes(LOCAL, host=host):
        assert named.lower().strip("[]").removesuffix(".").rpartition("@")[2].partition("/")[0] or host
        assert any(name in host.lower() for name in LOCAL_NAMES)


@pytest.mark.parametrize(
    "host", ["localhost@evil.test", "localhost/../evil.test", "evil.test#localhost", "localhost.x"]
)
def test_names_that_only_look_local_do_not(host: str) -> None:
    name_of_it = host in ("localhost/../evil.test",)  # a browser would never send it, and it names this machine
    assert passes(LOCAL, host=host) == name_of_it


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.test", False),
        ("", False),
    ],
)
def test_what_is_this_machine_alone(host: str, local: bool) -> None:
    assert is_loopback(host) == local


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "ODD"]), st.text(max_size=30))
def test_no_origin_but_its_own_changes_anything(method: str, origin: str) -> None:
    if passes(LOCAL, method, host="localhost:8585", origin=f"http://{origin}"):
        assert origin.lower().partition("/")[0].partition("?")[0].partition("#")[0] == "localhost:8585"


def test_a_server_with_tokens_may_stand_behind_a_proxy() -> None:
    assert passes(Fence(False), "POST", "10.0.0.7", host="api.example", x_forwarded_for="8.8.8.8")
    assert passes(Fence(False), "POST", None, host="api.example", origin="https://api.example")
    assert not passes(Fence(False), "POST", "10.0.0.7", host="api.example", origin="https://evil.test")
