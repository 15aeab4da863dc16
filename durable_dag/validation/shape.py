"""Members of a definition and of its steps: their types, ranges and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from durable_dag.graph.actions import INTERPRETED
from durable_dag.graph.schemas import bad_schema
from durable_dag.graph.templates import is_templated
from durable_dag.problems import Report, pointer
from durable_dag.validation.reader import Reader, told

Json: TypeAlias = Any

__all__ = ["JOINS", "bad_url", "check_policy", "check_step", "check_workflow"]

JOINS: Final = ("active", "all", "any", "done")
TYPES: Final = ("task", "parallel", "decision")
POLICIES: Final = ("queue", "reject", "cancelOldest")
SLOTS_MAX: Final = 1000
AT_ONCE: Final = ("noop", "fail")
TIMEOUT_MS_MAX: Final = 100 * 365 * 86_400_000.0
ATTEMPTS_MAX: Final = 10_000
WORKFLOW: Final = frozenset(
    [
        "id",
        "name",
        "description",
        "steps",
        "webhooks",
        "version",
        "timeout",
        "maxConcurrency",
        "failFast",
        "inputSchema",
        "output",
        "defaults",
        "tags",
        "concurrency",
    ]
)
STEP: Final = frozenset(
    [
        "id",
        "name",
        "description",
        "type",
        "action",
        "params",
        "dependencies",
        "retryPolicy",
        "timeout",
        "onSuccess",
        "onFailure",
        "when",
        "join",
        "critical",
        "queue",
        "priority",
        "outputSchema",
        "saveOutput",
        "scheduleTimeout",
    ]
)
POLICY: Final = frozenset(
    ["maxAttempts", "backoffMultiplier", "initialDelay", "maxDelay", "jitter", "retryOn", "doNotRetryOn", "maxElapsed"]
)
HOOK: Final = frozenset(["url", "secret", "headers", "events", "maxAttempts"])
EVENTS: Final = frozenset({"onComplete", "onFailure", "onStep"})


def check_workflow(reader: Reader) -> None:
    """All members but the steps."""
    report = reader.report
    reader.id("id")
    reader.of("name", str)
    reader.of("description", str)
    reader.number("timeout", "bad_timeout", least=1, most=TIMEOUT_MS_MAX)
    reader.number("maxConcurrency", "limit_exceeded", least=1, most=10_000, whole=True)
    reader.of("failFast", bool)
    reader.texts("tags")
    if (version := reader.raw.get("version")) is not None and not isinstance(version, str | int):
        report.error(reader.path("version"), "invalid_type", f"version is a text, not {told(version)}")
    _check_schema(reader, "inputSchema")
    defaults = reader.of("defaults", dict)
    if defaults is not None:
        inner = Reader(defaults, reader.path("defaults"), report)
        check_policy(inner)
        inner.number("timeout", "bad_timeout", least=1, most=TIMEOUT_MS_MAX)
        inner.of("queue", str)
        inner.unknown({"retryPolicy", "timeout", "queue"})
    _check_concurrency(reader)
    check_hooks(reader)
    reader.unknown(WORKFLOW)


def _check_concurrency(reader: Reader) -> None:
    raw = reader.of("concurrency", dict)
    if raw is None:
        return
    inner = Reader(raw, reader.path("concurrency"), reader.report)
    inner.of("key", str)
    inner.number("limit", "limit_exceeded", least=1, most=SLOTS_MAX, whole=True)
    inner.one_of("policy", POLICIES)
    inner.unknown({"key", "limit", "policy"})


def check_step(reader: Reader, *, queued: bool = False) -> None:
    """One step's members, but for its graph and its params.

    Args:
        queued: Whether steps that say nothing go to another queue by default.
    """
    reader.id("id")
    reader.of("name", str)
    reader.of("description", str)
    reader.number("timeout", "bad_timeout", least=1, most=TIMEOUT_MS_MAX)
    reader.one_of("join", JOINS)
    reader.of("critical", bool)
    reader.of("saveOutput", bool)
    reader.number("priority", "limit_exceeded", least=-1_000_000, most=1_000_000, whole=True)
    queue = reader.of("queue", str)
    if queue is not None and not 0 < len(queue.encode()) <= 255:
        reader.report.error(reader.path("queue"), "invalid_id", "queue is a text of 1 to 255 bytes")
    reader.of("when", str)
    _check_schema(reader, "outputSchema")
    check_policy(reader)
    reader.number("scheduleTimeout", "bad_timeout", least=1, most=TIMEOUT_MS_MAX)
    _check_type(reader)
    _check_effects(reader, queued)
    reader.unknown(STEP)


def _check_effects(reader: Reader, queued: bool) -> None:
    """Members that the step's action has no use for."""
    raw, action = reader.raw, reader.raw.get("action")
    given = raw.get("params")
    params: Mapping[str, Json] = given if isinstance(given, Mapping) else {}
    unawaited = action == "workflow.run" and params.get("wait") is False
    if raw.get("retryPolicy") is not None and (action in (*AT_ONCE, "delay", "signal.wait") or unawaited):
        reader.report.warn(reader.path("retryPolicy"), "no_effect", f"{action} is done once, and never tried again")
    if raw.get("timeout") is not None and action in (*AT_ONCE, "delay"):
        reader.report.warn(reader.path("timeout"), "no_effect", f"{action} has no attempts that could take too long")
    if raw.get("scheduleTimeout") is None or not isinstance(action, str):
        return
    runs = (action == "workflow.run" and not unawaited) or (action == "map" and params.get("workflow") is not None)
    elsewhere = runs or ((queued or raw.get("queue") is not None) and action not in INTERPRETED - {"map"})
    if not elsewhere:
        message = "only what goes to another queue, or runs a workflow, waits for a worker; this step never does"
        reader.report.warn(reader.path("scheduleTimeout"), "no_effect", message)


def _check_type(reader: Reader) -> None:
    kind = reader.one_of("type", TYPES)
    if kind == "parallel":
        reader.report.warn(
            reader.path("type"),
            "type_has_no_effect",
            "steps without dependencies between them always run side by side; 'parallel' changes nothing",
        )
    if kind == "decision" and reader.raw.get("action") not in ("condition", "switch"):
        reader.report.error(
            reader.path("type"), "invalid_type", "a decision has the action 'condition' or 'switch', which chooses"
        )


def check_policy(reader: Reader) -> None:
    """``retryPolicy``."""
    raw = reader.of("retryPolicy", dict)
    if raw is None:
        return
    code = "bad_retry_policy"
    policy = Reader(raw, reader.path("retryPolicy"), reader.report)
    policy.number("maxAttempts", code, least=1, most=ATTEMPTS_MAX, whole=True)
    policy.number("backoffMultiplier", code, least=1, most=1_000_000)
    initial = policy.number("initialDelay", code, least=0, most=TIMEOUT_MS_MAX)
    most = policy.number("maxDelay", code, least=0, most=TIMEOUT_MS_MAX)
    policy.number("jitter", code, least=0, most=1)
    policy.number("maxElapsed", code, least=0, most=TIMEOUT_MS_MAX)
    for member in ("retryOn", "doNotRetryOn"):
        for index, one in enumerate(policy.of(member, list) or ()):
            if isinstance(one, bool) or not isinstance(one, str | int):
                policy.report.error(
                    policy.path(member) + pointer(index), code, f"a name of an error or an HTTP status, not {told(one)}"
                )
    if initial is not None and most is not None and most < initial:
        policy.report.warn(
            policy.path("maxDelay"), "max_delay_below_initial", f"every wait is cut to {most:g} ms by maxDelay"
        )
    policy.unknown(POLICY)


def check_hooks(reader: Reader, member: str = "webhooks") -> None:
    """``webhooks``: a URL, an object, or a list of them for each event."""
    raw = reader.of(member, dict)
    if raw is None:
        return
    hooks = Reader(raw, reader.path(member), reader.report)
    for event in EVENTS & set(raw):
        given = raw[event]
        ones = given if isinstance(given, list) else [] if given is None else [given]
        for index, one in enumerate(ones):
            at = hooks.path(event) + (pointer(index) if isinstance(given, list) else "")
            _check_hook(one, at, reader.report)
    hooks.unknown(EVENTS)


def _check_hook(one: Json, at: str, report: Report) -> None:
    if isinstance(one, str):
        if (wrong := bad_url(one)) is not None:
            report.error(at, "bad_url", wrong)
        return
    if not isinstance(one, Mapping):
        report.error(at, "invalid_type", f"a URL or an object with one, not {told(one)}")
        return
    hook = Reader(one, at, report)
    if one.get("url") is None:
        report.error(hook.path("url"), "missing_field", "url is missing")
    elif (url := hook.of("url", str)) is not None and (wrong := bad_url(url)) is not None:
        report.error(hook.path("url"), "bad_url", wrong)
    hook.of("secret", str)
    hook.texts("headers")
    for index, event in enumerate(hook.of("events", list) or ()):
        if not isinstance(event, str):
            report.error(hook.path("events") + pointer(index), "invalid_type", f"a text, not {told(event)}")
    hook.number("maxAttempts", "bad_retry_policy", least=1, most=100, whole=True)
    hook.unknown(HOOK)


def bad_url(url: str) -> str | None:
    """Why this is no URL that can be called; None if it is, or if it is only known when the step runs."""
    if is_templated(url):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{url[:200]!r} is no URL: {error}"
    if parts.scheme not in ("http", "https"):
        return f"{url[:200]!r} is no http:// or https:// URL"
    if not host:
        return f"{url[:200]!r} names no host"
    if any(ord(character) <= 32 for character in url):
        return f"{url[:200]!r} holds a space or a control character"
    return None


def _check_schema(reader: Reader, member: str) -> None:
    schema = reader.raw.get(member)
    if schema is not None and (wrong := bad_schema(schema)) is not None:
        reader.report.error(reader.path(member), "invalid_type", f"{member} is no JSON Schema: {wrong}")
