"""I21, I23, I29: what must not get where it does not belong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from durable import errors
from durable._model.entries import AttemptFailed, CallKind, Settled
from durable.store import Blocked, Commit, Ended
from durable_testing.invariants.history import History, RunSeen
from durable_testing.invariants.seen import (
    CommitSeen,
)
from durable_testing.invariants.violation import Finding, invariant

CANARY: Final = "canary-7d2f0c1e"
"""A text that tests put into values which their payload hook encrypts. It must be nowhere in clear."""

_STORE_ERRORS: Final = frozenset(
    f"{name.__module__}:{name.__qualname__}"
    for name in vars(errors).values()
    if isinstance(name, type) and issubclass(name, errors.StoreError)
)


@invariant("I21", "An attempt carries the key of its own run, generation and call.")
def keys_are_the_calls_own(history: History) -> Iterator[Finding]:
    for attempt in history.attempts:
        expected = f"{attempt.run}/{attempt.generation}/{attempt.call}"
        if attempt.key != expected:
            yield Finding(attempt.run, f"an attempt of {expected} has the key {attempt.key}", (attempt.event,))


@invariant("I21", "A child's result goes to the call that awaits it: to that parent, with that child's outcome.")
def results_reach_their_own_calls(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.messages:
            message = seen.message
            if not message.id.startswith("result/") or seen.by_store:
                continue
            child = None if seen.sender is None else history.runs.get(seen.sender.commit.run)
            parent = None if child is None else child.parent
            fits = parent is not None and (parent.run, parent.call) == (run.id, message.name)
            if not fits or not _is_outcome(seen.sender, message.payload):
                yield Finding(run.id, f"{message.id!r} for {message.name} is no result of that call", (seen.event,))


def _is_outcome(sender: CommitSeen | None, payload: bytes) -> bool:
    then = None if sender is None else sender.commit.then
    return isinstance(then, Ended) and then.outcome == payload


@invariant("I23", "An error of the store is never the outcome of a step, of a child or of a run.")
def store_errors_are_not_outcomes(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            for what, payload in _failures(seen):
                error = _error_of(payload)
                if error in _STORE_ERRORS:
                    yield Finding(run.id, f"{what} was committed as {error}", (seen.event,))


def _failures(seen: CommitSeen) -> Iterator[tuple[str, bytes]]:
    for one in seen.entries:
        entry = one.entry
        if isinstance(entry, Settled) and not entry.ok and entry.kind is CallKind.STEP:
            yield f"the outcome of {entry.call}", entry.payload
        elif isinstance(entry, AttemptFailed):
            yield f"the failure of {entry.call}", entry.payload
    then = seen.commit.then
    if isinstance(then, Ended) and then.outcome.startswith(b"failed\n"):
        yield "the end of the run", then.outcome[len(b"failed\n") :]


def _error_of(payload: bytes) -> str | None:
    """The class that an encoded exception names; None if the payload is sealed by a hook."""
    try:
        record: Any = json.loads(payload)
        return str(record["type"])
    except (ValueError, KeyError, TypeError):
        return None


@invariant("I23", "An error of the engine or of the store does not block a run.")
def runs_are_not_blocked_by_the_engine(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for seen in run.commits:
            then = seen.commit.then
            if isinstance(then, Blocked) and then.kind == "engine":
                yield Finding(run.id, f"it was blocked: {then.reason}", (seen.event,))


@invariant("I29", "What a payload hook encrypts is nowhere in clear: not in journals, messages, summaries or errors.")
def secrets_stay_secret(history: History) -> Iterator[Finding]:
    for run in history.runs.values():
        for birth in run.births:
            if CANARY.encode() in birth.new.input:
                yield Finding(run.id, "its input holds the secret in clear", (birth.event,))
        for said in run.messages:
            if CANARY.encode() in said.message.payload:
                yield Finding(run.id, f"message {said.message.id!r} holds the secret in clear", (said.event,))
        for seen in run.commits:
            if _tells(seen.commit):
                yield Finding(run.id, "a commit holds the secret in clear", (seen.event,))
        yield from _row_tells(history, run)


def _tells(commit: Commit) -> bool:
    secret, texts = CANARY.encode(), [wait.error for wait in commit.waits or ()]
    datas = [*commit.append, *(data for _, data in commit.values), *(emit.item for emit in commit.emits)]
    datas += [part.data for part in commit.parts]
    if isinstance(commit.then, Ended):
        datas.append(commit.then.outcome)
        texts.append(commit.then.error)
    elif isinstance(commit.then, Blocked):
        texts.append(commit.then.reason)
    return any(secret in data for data in datas) or any(CANARY in text for text in texts if text is not None)


def _row_tells(history: History, run: RunSeen) -> Iterator[Finding]:
    row = history.snapshot.runs.get(run.id)
    if row is None:
        return
    texts = (row.error, row.blocked, *row.labels.values())
    datas = (history.snapshot.outcomes.get(run.id, b""), *history.snapshot.values.get(run.id, {}).values())
    if any(CANARY in text for text in texts if text is not None) or any(CANARY.encode() in data for data in datas):
        yield Finding(run.id, "its row holds the secret in clear")
