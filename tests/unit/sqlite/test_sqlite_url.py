"""What a store URL may say, in one table."""

from __future__ import annotations

import pytest

from durable.errors import InvalidInput
from durable_sqlite import SqliteStore
from durable_sqlite.url import Target, parse

ACCEPTED = {
    "sqlite:///runs.db": Target("runs.db"),
    "sqlite:///a/b/runs.db": Target("a/b/runs.db"),
    "sqlite:///./runs.db": Target("./runs.db"),
    "sqlite:////var/lib/runs.db": Target("/var/lib/runs.db"),
    "sqlite:///with space.db": Target("with space.db"),
    "sqlite:///läufe.db": Target("läufe.db"),
    "sqlite:///a'b\"c.db": Target("a'b\"c.db"),
    "sqlite:///:memory:": Target(None),
    "sqlite:///runs.db?": Target("runs.db"),
    "sqlite:///runs.db?durability=full": Target("runs.db"),
    "sqlite:///runs.db?durability=relaxed": Target("runs.db", "relaxed"),
    "sqlite:///runs.db?create=false": Target("runs.db", create=False),
    "sqlite:///runs.db?create=true&durability=relaxed": Target("runs.db", "relaxed"),
}

REFUSED = (
    "",
    "runs.db",
    "sqlite",
    "sqlite:",
    "sqlite://",
    "sqlite:///",
    "sqlite:////",
    "sqlite:runs.db",
    "sqlite://host/runs.db",
    "sqlite://user@host/runs.db",
    "postgres:///runs.db",
    "SQLITE:///runs.db",
    "sqlite:////srv/",
    "sqlite:////" + "/host/share/runs.db",
    "sqlite:///\\\\host\\share\\runs.db",
    "sqlite:///file:runs.db",
    "sqlite:///file:runs.db?mode=memory",
    "sqlite:///FILE:runs.db",
    "sqlite:///:memory:x",
    "sqlite:///:other:",
    "sqlite:///runs.db%00",
    "sqlite:///runs\0.db",
    "sqlite:///runs\n.db",
    "sqlite:///\ud800.db",
    "sqlite:///%2e%2e%2fruns.db",
    "sqlite:///%252e%252e/runs.db",
    "sqlite:///runs.db#fragment",
    "sqlite:///runs.db?vfs=unix-none",
    "sqlite:///runs.db?mode=ro",
    "sqlite:///runs.db?mode=memory",
    "sqlite:///runs.db?cache=shared",
    "sqlite:///runs.db?nolock=1",
    "sqlite:///runs.db?immutable=1",
    "sqlite:///runs.db?psow=0",
    "sqlite:///runs.db?durability=off",
    "sqlite:///runs.db?durability=",
    "sqlite:///runs.db?durability",
    "sqlite:///runs.db?Durability=full",
    "sqlite:///runs.db?create=1",
    "sqlite:///runs.db?create=true&create=false",
    "sqlite:///runs.db?create=true&vfs=x",
    "sqlite:///runs.db?create=true;durability=full",
    "sqlite:///runs.db?&",
)


@pytest.mark.parametrize("url", ACCEPTED)
def test_a_plain_url_is_accepted(url: str) -> None:
    assert parse(url) == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_everything_else_is_refused_in_words(url: str) -> None:
    with pytest.raises(InvalidInput, match="is refused: "):
        SqliteStore(url)
