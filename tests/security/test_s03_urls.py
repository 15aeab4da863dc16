"""S3: a store URL says where a file lies and nothing else; what is refused is refused before anything is made."""

import os
from pathlib import Path

import pytest

from durable import InvalidInput, UnknownStore, connect
from durable.store import shown_url
from durable_sqlite import SqliteStore
from durable_sqlite.url import parse

# URL → the path that it names, as it is written there.
ACCEPTED = {
    "sqlite:///runs.db": "runs.db",
    "sqlite:///./a/runs.db": "./a/runs.db",
    # A URL is configuration, like a file's name: who writes it may name any file of his.
    "sqlite:///../runs.db": "../runs.db",
    "sqlite:////var/lib/runs.db": "/var/lib/runs.db",
    "sqlite:///with space.db": "with space.db",
    "sqlite:///läufe-äß-漢.db": "läufe-äß-漢.db",
    "sqlite:///a'b\"c;--.db": "a'b\"c;--.db",
    "sqlite:///~/runs.db": "~/runs.db",  # a directory of that name: no home is looked up
    "sqlite:///$HOME/runs.db": "$HOME/runs.db",
    "sqlite:///user:password@host/runs.db": "user:password@host/runs.db",
    "sqlite:///:memory:": None,
    "sqlite:///runs.db?durability=relaxed&create=false": "runs.db",
}

BEGIN, NOTHING, SIGNS, ESCAPES, OPTION = (
    "it has to begin with sqlite:///",
    "it names no file",
    "control character or a lone surrogate",
    "percent sign",
    "it has the option",
)
REFUSED = {
    "sqlite:": BEGIN,
    "sqlite://": BEGIN,
    "sqlite:runs.db": BEGIN,
    "sqlite://runs.db": BEGIN,
    "sqlite://host/runs.db": BEGIN,
    "sqlite://localhost/runs.db": BEGIN,
    "sqlite://user:hunter22@host/runs.db": BEGIN,
    "sqlite://hunter22@host/runs.db": BEGIN,
    "sqlite:///": NOTHING,
    "sqlite:///?create=true": NOTHING,
    "sqlite:////": "directory",
    "sqlite:///a/": "directory",
    "sqlite:////srv/store/": "directory",
    "sqlite:///////host/share/runs.db": "another host",
    "sqlite:///\\\\host\\share\\runs.db": "backslash",
    "sqlite:///..\\runs.db": "backslash",
    "sqlite:///C:\\runs.db": "backslash",
    "sqlite:///%2e%2e%2fruns.db": ESCAPES,
    "sqlite:///%2e%2e/%2e%2e/runs.db": ESCAPES,
    "sqlite:///%252e%252e%252fruns.db": ESCAPES,
    "sqlite:///..%c0%afruns.db": ESCAPES,
    "sqlite:///runs.db%00.txt": ESCAPES,
    "sqlite:///runs.db%3fvfs=unix-none": ESCAPES,
    "sqlite:///runs%23.db": ESCAPES,
    "sqlite:///runs\0.db": SIGNS,
    "sqlite:///runs.db\n": SIGNS,
    "sqlite:///runs\r\n.db": SIGNS,
    "sqlite:///runs\x1b[2J.db": SIGNS,
    "sqlite:///runs\u202e.db": SIGNS,
    "sqlite:///runs\ud800.db": SIGNS,
    "sqlite:///runs.db#fragment": "'#'",
    "sqlite:///#": "'#'",
    "sqlite:///file:runs.db": "itself a URL",
    "sqlite:///FILE:runs.db?mode=memory": "itself a URL",
    "sqlite:///file:///runs.db?vfs=unix-none": "itself a URL",
    "sqlite:///:memory:?cache=shared": OPTION,
    "sqlite:///:memory:2": "colon",
    "sqlite:///::memory:": "colon",
    "sqlite:///runs.db?vfs=unix-none": OPTION,
    "sqlite:///runs.db?vfs=memdb": OPTION,
    "sqlite:///runs.db?mode=memory": OPTION,
    "sqlite:///runs.db?mode=rwc": OPTION,
    "sqlite:///runs.db?nolock=1": OPTION,
    "sqlite:///runs.db?immutable=1": OPTION,
    "sqlite:///runs.db?cache=shared": OPTION,
    "sqlite:///runs.db?psow=0": OPTION,
    "sqlite:///runs.db?modeof=/etc/passwd": OPTION,
    "sqlite:///runs.db?key=hunter22": OPTION,
    "sqlite:///runs.db?password=hunter22": OPTION,
    "sqlite:///runs.db?create=true&hexkey=hunter22": OPTION,
    "sqlite:///runs.db?auth_token=hunter22": OPTION,
    "sqlite:///runs.db?Create=true": OPTION,
    "sqlite:///runs.db? create=true": OPTION,
    "sqlite:///runs.db?&": OPTION,
    "sqlite:///runs.db?create=true&create=true": "twice",
    "sqlite:///runs.db?create=yes": "is one of",
    "sqlite:///runs.db?durability=off": "is one of",
    "sqlite:///runs.db?durability=full;vfs=x": "is one of",
    "sqlite:///runs.db?durability=%66ull": "is one of",
}


@pytest.mark.parametrize("url", ACCEPTED)
def test_a_path_is_taken_as_it_is_written(url: str) -> None:
    assert parse(url).path == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_a_tricky_url_is_refused_in_words_and_nothing_is_made(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        SqliteStore(url)
    assert REFUSED[url] in str(caught.value)
    with pytest.raises(InvalidInput):
        connect(url)
    assert list(tmp_path.iterdir()) == []


def test_there_are_enough_of_them() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 40


@pytest.mark.parametrize("url", ["SQLITE:///runs.db", "postgres://u:hunter22@host/db", "file:///etc/passwd"])
def test_a_scheme_is_one_of_the_installed_ones(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownStore) as caught:
        connect(url)
    assert "hunter22" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_what_only_the_disk_can_tell_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    for url, said in (
        (f"sqlite:///{tmp_path}", "is not a file"),
        (f"sqlite:///{tmp_path}/nowhere/runs.db", "no such directory"),
        (f"sqlite:///{tmp_path}/runs.db?create=false", "create=false"),
        ("sqlite:////dev/null", "is not a file"),
    ):
        with pytest.raises(InvalidInput, match=said):
            await SqliteStore(url).open()
    assert list(tmp_path.iterdir()) == []


async def test_no_name_is_looked_up_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    os.mkdir("home")
    for name in ("~", "$HOME"):
        os.mkdir(name)
        store = SqliteStore(f"sqlite:///{name}/runs.db")
        await store.open()
        await store.close()
        assert (tmp_path / name / "runs.db").exists()
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("url", [url for url in REFUSED if "hunter22" in url])
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(url)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///runs.db?create=false", "sqlite:///runs.db?create=false"),
        ("sqlite:///me@home/runs.db", "sqlite:///me@home/runs.db"),
        ("memory://", "memory://"),
        ("postgresql://ada:hunter22@db.example/orders", "postgresql://***@db.example/orders"),
        ("postgresql://ada:hun@ter/2?2@db.example/orders", "postgresql://***@db.example/orders"),
        ("postgresql://hunter22@db.example", "postgresql://***@db.example"),
        ("convex+https://x.example?token=hunter22&a=b", "convex+https://x.example?token=***&a=b"),
        ("x://h/p?sslpassword=hunter22&X-Api-Key=hunter22", "x://h/p?sslpassword=***&X-Api-Key=***"),
        ("not a url", "not a url"),
    ],
)
def test_a_url_is_shown_without_what_opens_it(url: str, shown: str) -> None:
    assert shown_url(url) == shown
