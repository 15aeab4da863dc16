"""A run in the hand: what can be asked of one run, and done to it, from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Generic, Literal, TypeVar, cast, overload

from durable._author.definitions import Signal, Workflow
from durable._author.outcomes import result_of
from durable._core.identity import matches, name_of
from durable._core.why import explain
from durable._engine.endings import cancelled_outcome
from durable._engine.history import HistoryEntry, history_of
from durable._engine.link import Link
from durable._engine.recording import Inputs
from durable._engine.rewinder import Order, default_cut, find_cut, read_journal
from durable._engine.takeup import FORK_LABEL
from durable._engine.telling import tell_verb
from durable._engine.troubles import added_to, troubles
from durable._engine.watching import End
from durable._model.controls import (
    Cancel,
    Control,
    Controlled,
    Fork,
    Pause,
    Resume,
    Retry,
    Settle,
    Terminate,
    Verb,
    VerbOutcome,
)
from durable._model.duration import Duration, seconds_of
from durable._model.entries import AttemptBegun, CallKind, Entry, NotDone, Settled, encode_entry
from durable._model.ids import MessageId, RunId, check_name
from durable._model.messages import Message, MessageKind, Sent
from durable._model.runs import NewRun, RunRecord, RunStatus, Wait, WaitKind
from durable._model.shown import shown
from durable.codec import ValueType, dump_error
from durable.codec.exceptions import line_of
from durable.errors import InvalidInput, RunConflict, RunEnded, RunNotFound, StoreFull

R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
Json = Any
State = Literal["pending", "running", "waiting", "paused", "blocked", "completed", "failed", "cancelled"]

__all__ = ["Handle", "RunSummary", "Status", "summary"]

_JSON: ValueType[Any] = ValueType.of(Any)
_FOREVER = 1e18
_OFFSET_MAX: Final = 2**63 - 1
_LONG_ID_CHARS: Final = 240
_TAKEN: Final = ("sig/", "cmd/", "result/", "cancel/", "pause/")
"""How ids of messages begin that are not what a client has named, as it was named."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands, read from the store alone.

    Attributes:
        state: One of eight words.
        current: What it is doing or waiting for, in words: ``"charge (attempt 2, retry in 3.1 s)"``.
        values: What it has published with ``ctx.set``.
        started_at: When a worker first took it up; None before.
        error: One line about a failure, a cancel or a block; None otherwise.
        waits: What ``current`` says, as values: kind, name, call, since, until, attempt.
    """

    state: State
    current: list[str]
    values: Mapping[str, Json]
    started_at: datetime | None
    error: str | None
    workflow: str
    version: str | None
    generation: int
    created_at: datetime
    ended_at: datetime | None
    labels: Mapping[str, str]
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run in a list."""

    id: str
    workflow: str
    version: str | None
    state: State
    queue: str
    labels: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    parent: str | None


class Handle(Generic[R_co]):
    """One run: ``await handle.result()``, ``await handle.signal(...)``, ``await handle.cancel()`` and so on."""

    def __init__(self, link: Link, id: RunId, workflow: Workflow[..., R_co] | None) -> None:
        self.id: str = id
        self._link = link
        self._workflow = workflow

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self) -> Status:
        """How the run stands now.

        Raises:
            RunNotFound: There is no such run.
        """
        record = await self._record()
        now = await self._link.reach(self._link.store.now)
        return Status(
            record.status.value,
            [described(wait, now) for wait in record.waits] if not record.ended else [],
            await self.values(),
            _moment(record.started_at),
            record.error if record.ended else record.blocked,
            record.workflow,
            record.version,
            record.generation,
            datetime.fromtimestamp(record.created_at, UTC),
            _moment(record.ended_at),
            dict(record.labels),
            () if record.ended else tuple(record.waits),
        )

    async def input(self) -> Json:
        """The arguments that the run was started with, as plain JSON: a list.

        Raises:
            RunNotFound: There is no such run.
        """
        sealed = await self._link.reach(lambda: self._link.store.input(RunId(self.id)))
        if sealed is None:
            raise self._not_found()
        return _JSON.load(self._link.codec.open(sealed), f"input of run {self.id}")

    async def result(self, *, timeout: Duration | None = None) -> R_co:
        """Wait for the end, and return the workflow's result. A paused or blocked run is waited for.

        Raises:
            RunFailed: It failed; the original exception is the cause where its class is known here.
            RunCancelled: It was cancelled or terminated.
            TimeoutError: It has not ended in time; the message says what it waits for.
            RunNotFound: There is no such run.
        """
        seconds = None if timeout is None else seconds_of(timeout, "timeout")
        self._link.require_open()
        try:
            end = await self._link.watch.until_ended(RunId(self.id), seconds)
        except TimeoutError:
            why = await self.explain()
            raise TimeoutError(f"Run {self.id} has not ended after {seconds:g} s. {why}") from None
        if end is None:
            raise self._not_found()
        return await self._outcome(end)

    async def _outcome(self, end: End) -> R_co:
        sealed = end.outcome
        if sealed is None:
            sealed = await self._link.reach(lambda: self._link.store.outcome(RunId(self.id)))
        if sealed is None:
            raise self._not_found()
        workflow = self._workflow
        if workflow is None:
            workflow = self._link.registry.get(end.workflow, end.version)
        kind: ValueType[Any] = _JSON if workflow is None else workflow.arguments.result
        result: R_co = result_of(self._link.codec.open(sealed), self.id, kind)
        return result

    async def values(self) -> Mapping[str, Json]:
        """What the run has published with ``ctx.set``.

        Raises:
            RunNotFound: There is no such run.
        """
        sealed = await self._link.reach(lambda: self._link.store.values(RunId(self.id)))
        if not sealed:
            await self._record()
        return {key: _JSON.load(self._link.codec.open(data), f"value {key!r}") for key, data in sealed.items()}

    async def history(self) -> list[HistoryEntry]:
        """The journal of the current generation, for people."""
        record = await self._record()
        entries = await self._journal(record)
        inputs = Inputs(
            self._link.codec, lambda hashes: self._link.reach(lambda: self._link.store.parts(RunId(self.id), hashes))
        )
        await inputs.read([entry for entry, _ in entries])
        return history_of(entries, self._link.codec, inputs.get)

    async def explain(self) -> str:
        """One sentence, from the store alone: what the run waits for, and what to do about it."""
        record = await self._record()
        sessions = await self._link.reach(self._link.store.sessions)
        now = await self._link.reach(self._link.store.now)
        found = () if record.ended else await self._link.reach(lambda: troubles(self._link.store))
        return added_to(explain(record, sessions, now), record, found, now)

    async def stream(self, name: str, /, *, start: int = 0) -> AsyncIterator[Json]:
        """Items of a durable stream from offset ``start`` on, as they come; ends when the run has ended."""
        name = check_name("stream name", name)
        if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start <= _OFFSET_MAX:
            raise InvalidInput(f"start= is an offset in the stream, 0 or more, not {shown(start)}.")
        link = self._link
        offset = start
        while True:
            change = link.changes.future()
            page = await link.reach(partial(link.store.stream, RunId(self.id), name, offset))
            for item in page.items:
                yield _JSON.load(link.codec.open(item), f"item of stream {name!r}")
            offset = page.next
            if page.ended and not page.items:
                change.cancel()
                return
            if page.items:
                change.cancel()
                continue
            if not page.ended and (await link.reach(lambda: link.store.get([RunId(self.id)])))[0] is None:
                raise self._not_found()
            await link.changes.wait(change, link.changes.interval)

    # ── speaking ─────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def signal(self, signal: Signal[S], payload: S, /, *, id: str | None = None) -> None: ...
    @overload
    async def signal(self, name: str, payload: Json = None, /, *, id: str | None = None) -> None: ...
    async def signal(self, signal: Any, payload: Any = None, /, *, id: str | None = None) -> None:
        """Send a signal; it is durable when this returns, and kept until the run asks for it.

        Args:
            id: Sent twice with one id, it is received once. Default: random.

        Raises:
            RunEnded: The run has ended.
            RunNotFound: There is no such run.
            StoreFull: The run has 10,000 unread signals.
        """
        named = signal if isinstance(signal, Signal) else Signal[Any](signal)
        raw = named.value_type.dump(payload, f"signal {named.name!r}")
        message_id = check_name("signal id", self._link.clock.token() if id is None else id)
        message = Message(
            RunId(self.id),
            _message_id(message_id),
            MessageKind.SIGNAL,
            named.name,
            self._link.codec.seal(raw, f"signal {named.name!r}"),
        )
        sent = await self._link.send(message)
        if sent is Sent.NOT_FOUND:
            raise self._not_found()
        if sent is Sent.ENDED:
            raise RunEnded(f"Run {self.id} has ended; it takes no more signals.", self.id)
        if sent is Sent.INBOX_FULL:
            raise StoreFull(f"Run {self.id} has 10,000 unread signals; let it read some first.")

    async def cancel(self, reason: str = "") -> None:
        """Ask the run to end: ``CancelledError`` is raised in its main task, its clean-up may run steps, and it ends
        ``cancelled`` whatever it returns. Cancelling twice, or a cancelled run, changes nothing.

        Raises:
            RunEnded: It has completed or failed.
        """
        codec = self._link.codec
        reason = _reason(reason, "cancel reason")
        payload = codec.seal(_JSON.dump(reason, "cancel reason"), "cancel reason")
        answer = await self._control(Cancel(line_of(reason), payload, cancelled_outcome(codec, reason)))
        self._check(answer, "cancelled")

    async def terminate(self, reason: str = "") -> None:
        """End the run now, without its clean-up: status ``cancelled``, marked terminated."""
        reason = _reason(reason, "terminate reason")
        answer = await self._control(Terminate(line_of(reason), cancelled_outcome(self._link.codec, reason)))
        self._check(answer, "terminated")

    async def pause(self) -> None:
        """No new step begins; steps in flight end. ``resume`` goes on."""
        self._check(await self._control(Pause()), "paused")

    async def resume(self) -> None:
        """Go on after a pause, or after what blocked the run is mended."""
        self._check(await self._control(Resume()), "resumed")

    async def settle(
        self, call: str, *, result: Json = ..., error: BaseException | None = None, not_done: bool = False
    ) -> None:
        """Say what became of an at-most-once step whose outcome is unknown; the run goes on from there.

        Args:
            call: The step's name (or full identity), as ``explain`` gives it.
            result: It happened, with this result.
            error: It failed so.
            not_done: It did not happen: it is tried again.

        Raises:
            InvalidInput: Not exactly one of the three was given, or the run does not wait for this call.
        """
        if (result is not ...) + (error is not None) + not_done != 1:
            raise InvalidInput("settle() takes exactly one of result=, error= and not_done=True.")
        if error is not None and not isinstance(error, BaseException):
            raise InvalidInput(f"settle(error=) takes an exception, not {shown(error)}.")
        record = await self._record()
        if record.status is not RunStatus.BLOCKED or record.blocked_kind != "unknown_outcome":
            raise InvalidInput(f"Run {self.id} is {record.status}; no call of it has an unknown outcome.")
        entries = await self._journal(record)
        begun = self._begun(call, entries)
        entry = self._settlement(begun, result, error, not_done)
        answer = await self._control(Settle(encode_entry(entry), record.position))
        self._check(answer, "settled")

    async def retry(self, *, from_step: str | None = None) -> None:
        """Begin an ended run again as its next generation, keeping what its journal has before the failure.

        Args:
            from_step: Cut at this step's outcome instead of at the last failure: it and what came of it runs again.

        Raises:
            InvalidInput: The journal has no such step.
            RunConflict: The run has not ended.
        """
        record = await self._record()
        order = await self._order(record, from_step)
        answer = await self._control(Retry(order.pack()))
        if answer.outcome is VerbOutcome.NOT_ALLOWED:
            raise RunConflict(f"Run {self.id} is {answer.status}; only an ended run is retried.", self.id)
        self._check(answer, "retried")

    async def fork(self, *, at: str, id: str | None = None) -> Handle[R_co]:
        """A new run with this run's input and its journal before ``at``; from there on it goes its own way.

        Args:
            at: A step: its outcome is not copied, so the fork carries it out itself.
            id: Of the new run. Default: random.

        Raises:
            InvalidInput: The journal has no such step.
            RunConflict: The new id is taken.
        """
        new_id = RunId(check_name("run id", self._link.clock.token() if id is None else id))
        record = await self._record()
        order = await self._order(record, at)
        labels = {**record.labels, FORK_LABEL: self.id}
        new = NewRun(
            new_id,
            record.workflow,
            record.version,
            record.queue,
            b"",
            record.digest,
            record.seed,
            record.priority,
            labels=labels,
        )
        answer = await self._control(Fork(new, order.pack()))
        if answer.outcome is VerbOutcome.EXISTS:
            raise RunConflict(f"Run {new_id} exists already.", new_id)
        self._check(answer, "forked")
        return Handle(self._link, new_id, self._workflow)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _record(self) -> RunRecord:
        record: RunRecord | None = (await self._link.reach(lambda: self._link.store.get([RunId(self.id)])))[0]
        if record is None:
            raise self._not_found()
        return record

    async def _journal(self, record: RunRecord) -> list[tuple[Entry, float]]:
        entries: list[tuple[Entry, float]] = await self._link.reach(
            lambda: read_journal(self._link.store, record.id, record.generation)
        )
        return entries

    async def _order(self, record: RunRecord, asked: str | None) -> Order:
        entries = [entry for entry, _ in await self._journal(record)]
        cut = default_cut(entries, self._link.codec) if asked is None else find_cut(entries, asked, matches)
        if cut is None:
            known = ", ".join(dict.fromkeys(name_of(e.call) for e in entries if isinstance(e, Settled))) or "none"
            raise InvalidInput(f"The journal of run {self.id} has no outcome of {shown(asked)}. It has: {known}.")
        return Order(record.id, record.generation, cut)

    async def _control(self, verb: Verb) -> Controlled:
        request = Control(RunId(self.id), self._link.clock.token(), verb)
        answer = await self._link.control(request)
        self._link.changes.notify()
        return answer

    def _check(self, answer: Controlled, done: str) -> None:
        if answer.outcome is VerbOutcome.NOT_FOUND:
            raise self._not_found()
        if answer.outcome is VerbOutcome.NOT_ALLOWED:
            if answer.status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
                raise RunEnded(f"Run {self.id} is {answer.status}; it cannot be {done}.", self.id)
            raise RunConflict(f"Run {self.id} is {answer.status}; it cannot be {done} now.", self.id)
        if answer.outcome is VerbOutcome.DONE:
            tell_verb(self.id, None if self._workflow is None else self._workflow.name, done)

    def _not_found(self) -> RunNotFound:
        return RunNotFound(f"There is no run {self.id!r} in this store.", self.id)

    def _begun(self, call: str, entries: list[tuple[Entry, float]]) -> AttemptBegun:
        settled = {entry.call for entry, _ in entries if isinstance(entry, Settled)}
        for entry, _ in reversed(entries):
            if isinstance(entry, AttemptBegun) and entry.call not in settled and matches(call, entry.call):
                return entry
        open_calls = sorted(
            {name_of(e.call) for e, _ in entries if isinstance(e, AttemptBegun) and e.call not in settled}
        )
        raise InvalidInput(f"Run {self.id} does not wait for {shown(call)}. Open: {', '.join(open_calls) or 'none'}.")

    def _settlement(self, begun: AttemptBegun, result: Any, error: BaseException | None, not_done: bool) -> Entry:
        if not_done:
            return NotDone(begun.call, begun.fingerprint, begun.attempt)
        codec = self._link.codec
        if error is not None:
            payload = codec.seal(dump_error(error), "settle error")
            return Settled(CallKind.STEP, begun.call, begun.fingerprint, False, payload, begun.attempt)
        raw = ValueType.of(type(result) if result is not None else None).dump(result, "settle result")
        payload = codec.seal(raw, "settle result")
        return Settled(CallKind.STEP, begun.call, begun.fingerprint, True, payload, begun.attempt)


def _message_id(given: str) -> MessageId:
    """What a client names, kept apart from the ids of the engine's own messages; for ever the same of the same id."""
    if len(given) < _LONG_ID_CHARS:
        return MessageId(f"sig/{given}")
    if given.startswith(_TAKEN):
        return MessageId(f"sig#{blake2b(given.encode(), digest_size=32).hexdigest()}")
    return MessageId(given)


def _reason(given: object, what: str) -> str:
    if not issubclass(type(given), str):
        raise InvalidInput(f"A {what} is text, not {shown(given)}.")
    text = str.__str__(cast(str, given))
    if not text.isascii():
        _JSON.dump(text, what)  # lone surrogates
    return text


def described(wait: Wait, now: float) -> str:
    """A wait in a few words, for ``Status.current``."""
    if wait.kind is WaitKind.RETRY:
        left = max(0.0, (wait.until or now) - now)
        return f"{wait.name} (attempt {wait.attempt}, retry in {left:.1f} s)"
    if wait.kind is WaitKind.STEP:
        return wait.name if wait.attempt <= 1 else f"{wait.name} (attempt {wait.attempt})"
    if wait.kind is WaitKind.UNKNOWN:
        return f"{wait.name} (outcome unknown)"
    return f"{wait.kind.value} {wait.name}"


def summary(record: RunRecord) -> RunSummary:
    """A row for lists."""
    return RunSummary(
        record.id,
        record.workflow,
        record.version,
        record.status.value,
        record.queue,
        dict(record.labels),
        datetime.fromtimestamp(record.created_at, UTC),
        _moment(record.started_at),
        _moment(record.ended_at),
        record.error if record.ended else record.blocked,
        None if record.parent is None else record.parent.run,
    )


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
