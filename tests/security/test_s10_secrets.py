"""S10: a secret is in no journal, log, list, trace or message; I29."""

import copy
import logging
import os
import pickle
import random
import string
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import secured_app
from click.testing import CliRunner
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from durable import (
    Context,
    InvalidInput,
    NotSerializable,
    RunBlocked,
    RunFailed,
    Secret,
    SecretUnavailable,
    Worker,
    connect,
    redact,
    step,
    workflow,
)
from durable._author.logs import REDACTING, logger
from durable._author.secret import ALLOWED
from durable._model.privacy import is_private, masked
from durable.cli.main import cli
from durable.codec import ValueType, dump_error, load_error
from durable.codec.redaction import _Memory, _memory, remember
from durable.errors import DurableError, InvalidName
from durable.store import RunId
from durable_otel import Telemetry

CANARY = "canary-q7zw'9c\"e5/+ä"
"""With what repr, JSON and URLs write in their own ways."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have revealed is forgotten, and what this one reveals."""
    monkeypatch.setattr(_memory, "_labels", {})
    monkeypatch.setattr(_memory, "_in_turn", None)
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.delenv(ALLOWED, raising=False)


def clean(text: str) -> bool:
    """Whether neither the canary nor its distinctive part is in a text, however it is written."""
    return "q7zw" not in text


# ── the canary run ───────────────────────────────────────────────────────────────────────────────────────────────────


class Records(logging.Handler):
    """All that is logged, formatted as a careless handler would, fields and exceptions included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))
        self.texts.append(repr(record.__dict__))
        if record.exc_info:
            self.texts.append("".join(traceback.format_exception(record.exc_info[1])))


@pytest.fixture
def logs() -> Iterator[Records]:
    """Of every logger there is, at DEBUG."""
    root, handler = logging.getLogger(), Records()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.slow
async def test_a_secret_that_a_step_uses_and_spills_is_nowhere(tmp_path: Path, logs: Records) -> None:
    path = tmp_path / "runs.db"
    exporter, reader, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(tracer_provider=tracers, meter_provider=MeterProvider([reader]))
    async with connect(f"sqlite:///{path}") as client:
        async with Worker(client, workflows=secured_app.ALL, observer=telemetry):
            handle = await client.start(secured_app.paid, "tea", Secret.env("CANARY"), id="paid")
            with pytest.raises(RunFailed) as caught:
                await handle.result(timeout=30)
            said = [await handle.explain(), repr(await handle.status()), repr(await handle.history())]
            assert [entry.event for entry in await handle.history()][:2] == ["attempt_failed", "step_failed"]
            files = contents(path)
        said += ["".join(traceback.format_exception(caught.value)), repr(await client.list())]
        files += contents(path)
    files += contents(path)
    said += [str(span.to_json()) for span in exporter.get_finished_spans()] + [str(reader.get_metrics_data())]
    said += [looked(path, *words) for words in LOOKS]
    assert [data[max(0, data.index(b"q7zw") - 300) :][:600] for data in files if b"q7zw" in data] == []
    assert [text for text in said if not clean(text)] == []
    assert [text for text in logs.texts if not clean(text)] == []
    # That it was all there to be found:
    assert any(b"[secret CANARY]" in data for data in files)
    assert any(b'{"$secret":"env:CANARY"}' in data for data in files)
    assert sum("[secret CANARY]" in text for text in said) >= 8
    assert any("[secret CANARY]" in text for text in logs.texts)


LOOKS = (
    ("runs", "list"),
    ("runs", "list", "-o", "json"),
    ("runs", "show", "paid", "--all"),
    ("runs", "show", "paid", "-o", "json"),
    ("runs", "why", "paid"),
    ("runs", "history", "paid"),
    ("runs", "history", "paid", "-o", "json"),
    ("runs", "result", "paid"),
    ("runs", "watch", "paid"),
    ("db", "check"),
    ("doctor",),
)


def looked(path: Path, *words: str) -> str:
    """What a command says, asked in a thread of its own, since a loop runs in this one."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(CliRunner().invoke, cli, ["--store", f"sqlite:///{path}", *words]).result()
    return f"{words}: {done.output}"


def contents(path: Path) -> list[bytes]:
    return [each.read_bytes() for each in path.parent.iterdir() if each.is_file()]


async def test_what_stands_between_the_secret_and_the_journal_is_no_test_of_the_text(tmp_path: Path) -> None:
    """Without redaction the canary would be found: the run above is a test."""
    error = ValueError(f"401 for {CANARY}")
    assert not clean(dump_error(error).decode())
    assert Secret.env("CANARY").reveal() == CANARY
    assert clean(dump_error(error).decode())
    assert str(load_error(dump_error(error))) == "401 for [secret CANARY]"


# ── a Secret ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("secret", [Secret.env("CANARY"), Secret(CANARY)])
def test_no_text_of_a_secret_shows_its_value(secret: Secret) -> None:
    secret.reveal()
    texts = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s %r".__mod__((secret, secret))]
    assert all(map(clean, [*texts, ascii(secret), repr([secret]), repr({"k": secret})]))
    with pytest.raises(TypeError):
        "Bearer " + secret  # type: ignore[operator]
    for attempt in (iter, len, list, bytes, vars, float):
        with pytest.raises(TypeError) as caught:
            attempt(secret)  # type: ignore[operator]
        assert clean(str(caught.value))


def test_secrets_are_equal_by_reference() -> None:
    assert Secret.env("A") == Secret.env("A")
    assert Secret.env("A") != Secret.env("B")
    assert Secret.env("A") != Secret.file("/A")
    assert Secret("same text") != Secret("same text")
    assert Secret.env("A") != "env:A"
    assert len({Secret.env("A"), Secret.env("A"), Secret.file("/a")}) == 2


def test_a_copy_of_a_secret_is_that_secret_and_its_pickle_a_reference() -> None:
    reference, literal = Secret.env("CANARY"), Secret(CANARY)
    for secret in (reference, literal):
        assert copy.copy(secret) is secret
        assert copy.deepcopy([secret])[0] is secret
    assert pickle.loads(pickle.dumps(reference)) == reference
    assert b"q7zw" not in pickle.dumps(reference)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(literal)


def test_a_value_is_read_when_it_is_revealed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret, path = Secret.env("ROTATED"), tmp_path / "secret"
    for value in ("first-value", "second-value"):
        monkeypatch.setenv("ROTATED", value)
        assert secret.reveal() == value
        path.write_text(f"{value} in a file\n")
        assert Secret.file(str(path)).reveal() == f"{value} in a file"
    assert redact("first-value, second-value") == "[secret ROTATED], [secret ROTATED]"
    path.write_bytes(b"two\r\nlines\r\n")
    assert Secret.file(str(path)).reveal() == "two\r\nlines"


def test_what_cannot_be_revealed_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setitem(os.environ, "BYTES", "\udcff" * 8)
    for secret, said in (
        (Secret.env("ABSENT"), r"Secret.env\('ABSENT'\) cannot be revealed: there is no such variable"),
        (Secret.env("EMPTY"), "it is empty"),
        (Secret.env("BYTES"), "not UTF-8"),
        (Secret.file(f"{tmp_path}/absent"), "the file cannot be read"),
        (Secret.file(f"{tmp_path}/empty"), "it is empty"),
        (Secret.file(f"{tmp_path}/bytes"), "not UTF-8"),
        (Secret.file(f"{tmp_path}/large"), "more than 65,536 bytes"),
        (Secret.file(f"{tmp_path}/pipe"), "it is not a file"),
        (Secret.file(str(tmp_path)), "it is not a file|cannot be read"),
        (Secret.file("/dev/zero"), "it is not a file"),
    ):
        with pytest.raises(SecretUnavailable, match=said) as caught:
            secret.reveal()
        assert isinstance(caught.value, DurableError)


def test_a_process_follows_only_the_references_it_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An input may come from a stranger, who must not choose which of the worker's secrets a step sends away."""
    (tmp_path / "key").write_text("a-key-in-a-file")
    monkeypatch.setenv(ALLOWED, f"env:CAN*, file:{tmp_path}/*")
    assert Secret.env("CANARY").reveal() == CANARY
    assert Secret.file(f"{tmp_path}/key").reveal() == "a-key-in-a-file"
    for other in (Secret.env("PATH"), Secret.env("XCANARY"), Secret.file("/etc/passwd"), Secret.file("/env:CANARY")):
        with pytest.raises(SecretUnavailable, match="DURABLE_SECRETS does not allow it"):
            other.reveal()
    monkeypatch.setenv(ALLOWED, "")
    with pytest.raises(SecretUnavailable, match="does not allow"):
        Secret.env("CANARY").reveal()


@pytest.mark.parametrize(
    "path", ["", "key", "./key", "../key", "/run/../etc/passwd", "/a\0b", "/a\nb", "/" + "x" * 1024]
)
def test_a_file_is_named_by_a_plain_absolute_path(path: str) -> None:
    with pytest.raises(InvalidInput):
        Secret.file(path)


@pytest.mark.parametrize("name", ["", "A=B", "A\0", "x" * 256, "\ud800"])
def test_a_variable_is_named_by_a_plain_name(name: str) -> None:
    with pytest.raises((InvalidInput, InvalidName)):
        Secret.env(name)


# ── on its way through the codec ─────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_carried_as_its_reference() -> None:
    for annotation, value in (
        (Secret, Secret.env("CANARY")),
        (Secret | None, Secret.file("/run/secrets/key")),
        (list[Secret], [Secret.env("A"), Secret.file("/b")]),
        (dict[str, Secret | int], {"a": Secret.env("A"), "b": 1}),
    ):
        raw, loaded = ValueType.of(annotation).round_trip(value, "it")
        assert loaded == value
        assert b'"$secret":"' in raw


@pytest.mark.parametrize(
    "raw",
    [
        b'"sk_live"',
        b'"env:A"',
        b"null",
        b"{}",
        b'{"$secret":"A"}',
        b'{"$secret":"keyring:A"}',
        b'{"$secret":"env:"}',
        b'{"$secret":"env:A=B"}',
        b'{"$secret":"file:key"}',
        b'{"$secret":"file:/a/../b"}',
        b'{"$secret":1}',
        b'{"$secret":"env:A","more":1}',
        b'{"secret":"env:A"}',
        b'{"py/object":"os.system"}',
    ],
)
def test_only_a_reference_is_read_as_a_secret(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        ValueType.of(Secret).load(raw, "it")


def test_what_looks_like_a_reference_is_plain_json_where_no_secret_is_declared() -> None:
    assert ValueType.of(Any).load(b'{"$secret":"env:CANARY"}', "it") == {"$secret": "env:CANARY"}


@step
async def use(key: Secret) -> str:
    return str(len(key.reveal()))


@workflow
async def uses(ctx: Context, key: Secret) -> str:
    return await ctx.step(use, key)


async def test_a_secret_that_holds_its_value_is_refused_at_the_call(tmp_path: Path) -> None:
    async with connect("memory://") as client:
        with pytest.raises(NotSerializable, match="Use Secret.env") as caught:
            await client.start(uses, Secret(CANARY), id="x")
        assert "parameter 'key'" in str(caught.value)
        with pytest.raises(InvalidInput, match="declared Secret, given str") as mistyped:
            await client.start(uses, CANARY, id="x")  # type: ignore[arg-type]
        for error in (caught.value, mistyped.value):
            assert clean("".join(traceback.format_exception(error)).replace(repr(CANARY), ""))
        assert await client.count() == 0


async def test_a_step_gets_the_value_and_the_store_the_reference() -> None:
    async with connect("memory://") as client, Worker(client, workflows=[uses]):
        handle = await client.start(uses, Secret.env("CANARY"))
        assert await handle.result() == str(len(CANARY))
        assert await client.store.input(RunId(handle.id)) == b'[{"$secret":"env:CANARY"}]'
    assert await use(Secret(CANARY)) == str(len(CANARY))  # as the plain function, in a test


async def test_a_step_whose_secret_is_not_there_fails_with_words() -> None:
    async with connect("memory://") as client, Worker(client, workflows=[uses]):
        with pytest.raises(RunFailed) as caught:
            await (await client.start(uses, Secret.env("ABSENT"))).result()
        assert isinstance(caught.value.__cause__, SecretUnavailable)


async def test_workflow_code_may_not_reveal(memory: Any) -> None:
    @workflow
    async def reveals(ctx: Context, key: Secret) -> str:
        return key.reveal()

    async with memory.serving(reveals) as client:
        handle = await client.start(reveals, Secret.env("CANARY"))
        status = await memory.state(handle, "blocked")
        assert "reveal it there" in await handle.explain()
        assert status.state == "blocked"
        with pytest.raises((RunBlocked, TimeoutError)):
            await handle.result(timeout=0.01)


# ── redaction ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_value_is_found_as_repr_json_and_urls_write_it() -> None:
    import json
    from urllib.parse import quote, quote_plus, urlencode

    Secret.env("CANARY").reveal()
    for text in (
        CANARY,
        repr(CANARY),
        ascii(CANARY),
        json.dumps({"key": CANARY}),
        json.dumps({"key": CANARY}, ensure_ascii=False),
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        urlencode({"key": CANARY}),
        repr({"header": repr(CANARY)}),
        repr(ValueError({"a": repr({"b": json.dumps({"c": CANARY})})})),
        json.dumps(json.dumps(json.dumps({"key": repr(CANARY)}))),
        repr(CANARY.encode()),
        f"Bearer {CANARY}, Bearer {CANARY}",
    ):
        assert clean(redact(text)), text
        assert "[secret CANARY]" in redact(text)


@pytest.mark.parametrize(
    "value", ["\\\\\\\\\\\\'", "a\nb\tc\r d", "back\\slash\\", "\U0001f600 smile", "%41%42%43", "a+b c/d?e"]
)
def test_a_value_of_odd_characters_is_found_however_it_is_escaped(value: str) -> None:
    import json
    from urllib.parse import quote, quote_plus

    Secret(value).reveal()
    for text in (value, repr(value), repr([repr(value)]), json.dumps([value]), json.dumps(repr(value)), quote(value)):
        assert redact(text).count("[secret value]") == 1, text
    assert "[secret value]" in redact(quote_plus(value))


def test_no_text_makes_the_search_slow() -> None:
    """A text of an attacker's, made of nearly what is looked for."""
    Secret("\\\"'" * 50 + "x").reveal()
    Secret("a" * 50 + "b").reveal()
    for text in ("\\" * 100_000, "\\\"'" * 30_000, "a" * 100_000, "%5c" * 50_000):
        began = time.perf_counter()
        redact(text)
        assert time.perf_counter() - began < 2


def test_many_values_do_not_make_the_search_slow() -> None:
    """It would hold up the worker's heartbeat, too: a regular expression keeps the interpreter to itself."""
    dice = random.Random(2026)
    values = ["".join(dice.choices(string.ascii_letters + string.digits, k=32)) for _ in range(1_000)]
    for value in values:
        remember(value, "tenant")
    text = "".join(dice.choices(string.ascii_letters + " ", k=200_000))
    began = time.perf_counter()
    assert redact(text) == text
    assert redact(f"{text} {values[500]} {text}") == f"{text} [secret tenant] {text}"
    assert time.perf_counter() - began < 2


def test_other_texts_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redact("nothing was revealed: canary") == "nothing was revealed: canary"
    monkeypatch.setenv("SHORT", "abc12")
    assert Secret.env("SHORT").reveal() == "abc12"
    assert redact("abc12 is part of too many words") == "abc12 is part of too many words"


def test_the_longer_of_two_secrets_is_found_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PART", "sk_live_")
    monkeypatch.setenv("WHOLE", "sk_live_123456")
    Secret.env("PART").reveal()
    Secret.env("WHOLE").reveal()
    assert redact("a sk_live_123456 and sk_live_9") == "a [secret WHOLE] and [secret PART]9"


def test_each_line_of_a_key_is_found_by_itself(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN KEY-----\nMIIEvgIBADANBgkqhkiG9w0B\n-----END KEY-----\n")
    Secret.file(f"{tmp_path}/key.pem").reveal()
    assert "MIIEvg" not in redact("cannot parse line 2: MIIEvgIBADANBgkqhkiG9w0B")


def test_the_oldest_values_are_forgotten_in_the_end() -> None:
    memory = _Memory()
    for number in range(1_050):
        memory.add("value-in-use", "y")
        memory.add(f"value-{number:06}", "x")
    assert len(memory._labels) == 1_000
    assert memory.clean("value-001049 value-000000 value-in-use") == "[secret x] value-000000 [secret y]"


def test_half_a_secret_is_not_left_where_a_text_is_cut() -> None:
    """Errors are cut to fit; the cut comes after."""
    Secret.env("CANARY").reveal()
    for length in range(490, 520):
        assert clean(dump_error(ValueError("x" * length + CANARY)).decode())
    assert clean(dump_error(ValueError("x" * 8180 + CANARY)).decode())


def test_groups_causes_notes_and_fields_are_redacted() -> None:
    Secret.env("CANARY").reveal()
    inner = KeyError(CANARY)
    inner.add_note(CANARY)
    inner.answer = {CANARY: [CANARY, {"deep": CANARY}]}  # type: ignore[attr-defined]
    group = ExceptionGroup(CANARY, [inner, OSError(2, CANARY, CANARY)])
    group.__cause__ = RuntimeError(CANARY)
    raw = dump_error(group).decode()
    assert clean(raw)
    assert raw.count("[secret CANARY]") >= 8


def test_an_error_stays_readable_though_labels_are_longer_than_values() -> None:
    Secret("123456").reveal()
    remember("654321", "/run/secrets/" + "x" * 900)
    loaded = load_error(dump_error(ValueError("odd", ["654321"] * 6_000)))
    assert type(loaded) is ValueError
    assert "654321" not in str(loaded)


def test_a_log_record_is_clean_whatever_it_is_made_of(logs: Records) -> None:
    Secret.env("CANARY").reveal()
    log = logger("durable.test")
    log.error("as an argument: %s", CANARY)
    log.error("as a message: " + CANARY)
    log.error("with a percent sign 100%% %s", CANARY)
    log.error("as a field", extra={"header": CANARY, "headers": {"a": [CANARY]}})
    log.error("arguments that do not fit", CANARY, CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        log.exception("as an exception")
    assert len(logs.texts) >= 12
    assert all(map(clean, logs.texts))


class Unshowable:
    def __repr__(self) -> str:
        raise ValueError("no")


def test_a_log_record_of_any_kind_raises_nothing_where_it_is_written(logs: Records) -> None:
    """A workflow's line would fail in the process that has revealed something, and in no other."""
    Secret.env("CANARY").reveal()
    log = logger("durable.test")
    itself: dict[str, object] = {"canary": CANARY}
    itself["me"] = itself
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "raiseExceptions", False)  # handlers that cannot write it keep quiet
        log.error("%s", Unshowable())
        log.error(Unshowable())
        log.error("as a field", extra={"itself": itself})
        log.error("%d %d", CANARY * 10)
    assert len(logs.texts) >= 3
    assert all(map(clean, logs.texts))


def test_every_logger_of_the_library_redacts() -> None:
    """A logger that is made elsewhere would go round the filter."""
    root = Path(__file__).parents[2]
    # An adapter has loggers of its own; it is given what is journaled, which has been through ``redact``.
    paths = [path for package in ("durable", "durable_otel") for path in (root / package).rglob("*.py")]
    found = [path.name for path in paths if "getLogger(" in path.read_text()]
    assert sorted(found) == ["connection.py", "logs.py"]  # the former sets the levels of other people's loggers
    for name in ("durable.run", "durable.worker", "durable.store", "durable.client"):
        import durable._engine.worker  # noqa: F401

        assert REDACTING in logging.getLogger(name).filters


# ── by name ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "X-Api-Key", "api_key", "accessToken", "set-cookie", "client_secret", "pwd"]
)
def test_a_telling_name_hides_its_text(name: str) -> None:
    assert is_private(name)
    hidden = masked({"order": "tea", "list": [{name: "hunter22"}], name: {"a": ["hunter22", 1, None]}})
    assert hidden == {"order": "tea", "list": [{name: "[hidden]"}], name: {"a": ["[hidden]", 1, None]}}


@pytest.mark.parametrize("name", ["author", "compass", "key", "monkey", "order", "passenger", "id"])
def test_an_ordinary_name_hides_nothing(name: str) -> None:
    assert not is_private(name)


def test_a_reference_is_not_hidden() -> None:
    value = {"api_key": {"$secret": "env:A"}, "$secret": "env:A"}
    assert masked(value) == value


@step
async def fetch() -> dict[str, Any]:
    return {"status": 200, "headers": {"Authorization": "Bearer hunter22", "Server": "x"}, "tokens_used": 3}


@workflow
async def fetches(ctx: Context) -> int:
    return int((await ctx.step(fetch))["status"])


@pytest.mark.slow
async def test_the_command_line_does_not_show_what_lies_under_telling_names(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with connect(f"sqlite:///{path}") as client, Worker(client, workflows=[fetches]):
        handle = await client.start(fetches, id="paid")
        assert await handle.result() == 200
        (entry,) = await handle.history()
        assert entry.value["headers"]["Authorization"] == "Bearer hunter22"  # programs get what is stored
    said = [looked(path, *words) for words in LOOKS]
    assert [text for text in said if "hunter22" in text] == []
    assert sum("[hidden]" in text and "tokens_used" in text for text in said) == 2
