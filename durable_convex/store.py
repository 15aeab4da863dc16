"""``ConvexStore``: the Store protocol over a Convex deployment. This is its face; what it asks travels in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

from durable.clock import Clock, SystemClock
from durable.errors import DurableError, InvalidInput
from durable.store import (
    PAGE_SIZE_MAX,
    Commit,
    Committed,
    Control,
    Controlled,
    Created,
    Ended,
    InboxMessage,
    JournalPage,
    Message,
    NewRun,
    Poll,
    PurgeQuery,
    RecordRow,
    Rhythm,
    RunId,
    Running,
    RunPage,
    RunQuery,
    RunRecord,
    Sent,
    SessionId,
    SessionRecord,
    StreamPage,
    Want,
    WorkerSession,
)
from durable_convex import failures
from durable_convex.grouping import Group, Limits, batched, single
from durable_convex.transport import Access, Transport
from durable_convex.url import Secret, parse
from durable_convex.watching import Watch
from durable_convex.wire import JsonValue, decode, encode

__all__ = ["ConvexStore"]

PROTOCOL: Final = 1

# A month has 2.6 million seconds, and a free plan a million calls.
_RHYTHM: Final = Rhythm(
    poll_seconds=30.0, look_seconds=5.0, unhinted_seconds=2.0, idle_lease_seconds=95.0, purge_seconds=900.0
)
_WRITES: Final = Limits(items=100, ranges=2_000, characters=4 * 1024 * 1024)
_READS: Final = Limits(items=50, ranges=600, characters=1024 * 1024, flights=4)
_PAGE_RANGES: Final = 150  # a page may weigh 4 MiB of the 16 that an answer may have
_PAYLOAD_RANGES: Final = 40  # one payload: a MiB
_ROWS_AT_ONCE: Final = 100
_CLAIMS_MAX: Final = 250  # the component gives no more to one poll
_RECORD_BYTES_SHORT: Final = 3 * 1024 * 1024  # a page of records that ended early has at least so much

# Written out here, for inside the class ``list`` is the verb.
Fields: TypeAlias = dict[str, JsonValue]
_BYTES: Final[Any] = bytes | None
_RECORD: Final[Any] = RecordRow | None
_ROWS: Final[Any] = list[RunRecord | None]
_MESSAGES: Final[Any] = list[InboxMessage]
_VALUES: Final[Any] = dict[str, bytes]
_SESSIONS: Final[Any] = list[SessionRecord]
_RECORDS: Final[Any] = list[RecordRow]
_TEXTS: Final[Any] = list[str]
_FIGURES: Final[Any] = list[tuple[str, int]]


@final
class ConvexStore:
    """Runs in one Convex deployment, for any number of processes anywhere.

    Args:
        url: ``convex+https://NAME.convex.cloud``; options ``functions=durable`` (the module below ``convex/`` that
            exports the component's functions) and ``live=true|false`` (whether to subscribe to changes).
        auth: The token, or an async function that gives the present one. By default it is read from
            ``DURABLE_CONVEX_TOKEN`` or ``DURABLE_TOKEN`` in the environment, anew for each call.
        identity: An async function that gives a fresh JWT for each call, for deployments that check identities.
        clock: In tests, the time that a stand-in for Convex is to believe; a real deployment has its own.

    Raises:
        InvalidInput: The URL says something else, or has a token in it.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Secret | None = None,
        identity: Callable[[], Awaitable[str]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url
        self._access = Access(auth, identity)
        self._clock = clock
        self._transport = Transport(parse(url), self._access, clock)
        self._writes = Group(self._transport, "sync", "mutation", "ops", _WRITES, self._well)
        self._reads = Group(self._transport, "read", "query", "asks", _READS, self._well)
        self._watch = Watch(self._transport)
        self._known = False
        self._line = SystemClock().token()
        self._polls = 0

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect.

        Raises:
            InvalidInput: The URL or the token is refused.
            Corrupt: The component is missing, or of another version.
            Transient: The deployment cannot be reached now.
        """
        self._transport.open()
        if self._known:
            return
        target = self._transport.target
        names = target.base, target.functions
        try:
            info = await self.info()
        except DurableError as error:
            raise failures.at_the_door(error, *names) from error
        if info.get("protocol") != PROTOCOL:
            raise failures.at_the_door(failures.other_protocol(target.base, info.get("protocol"), PROTOCOL), *names)
        self._known = True

    async def info(self) -> Mapping[str, Any]:
        """What the component says of itself: ``protocol`` and ``shards``.

        Raises:
            Refusal, FunctionFailed, Transient: See ``durable_convex.failures``.
        """
        info = await self._transport.ask("info", "query", "")
        return info if isinstance(info, dict) else {}

    async def close(self) -> None:
        await self._watch.close()
        await self._writes.close()
        await self._reads.close()
        await self._transport.close()

    def dedicated(self) -> ConvexStore:
        twin = ConvexStore(self._url, auth=self._access.secret, identity=self._access.identity, clock=self._clock)
        twin._known = self._known
        return twin

    def changes(self) -> AsyncIterator[None]:
        return self._watch.listen()

    @property
    def hinted(self) -> bool:
        return self._watch.live

    @property
    def rhythm(self) -> Rhythm:
        """Each call of a deployment is counted, so an idle worker makes few."""
        return _RHYTHM

    async def _well(self) -> None:
        await self.info()

    # ── one operation, many items ────────────────────────────────────────────────────────────────────────────────

    async def _sync(self, op: str, fields: Fields, *, ranges: int = 4, guilty: bool = False) -> Any:
        """One operation of ``sync``."""
        return (await self._timed(op, fields, ranges=ranges, guilty=guilty))[0]

    async def _timed(self, op: str, fields: Fields, *, ranges: int, guilty: bool = False) -> tuple[Any, float]:
        """One operation of ``sync``: its result, and the deployment's time."""
        result, now = await self._writes.one(single({"op": op, **_present(fields)}, ranges=ranges, guilty=guilty))
        return result, decode(now, float)

    async def _batch(self, op: str, name: str, data: Sequence[tuple[JsonValue, int]], kind: type[Any]) -> list[Any]:
        """A batch: each datum with the index ranges that it may read."""
        if not data:
            return []
        answers = await self._writes.ask([batched(op, name, datum, ranges) for datum, ranges in data])
        return [decode(result, kind) for result, _ in answers]

    async def _read(self, ask: str, fields: Fields, *, ranges: int = _PAGE_RANGES) -> Any:
        """One question of ``read``."""
        result, _ = await self._reads.one(single({"ask": ask, **_present(fields)}, ranges=ranges))
        return result

    # ── runs and workers ─────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, runs: Sequence[NewRun]) -> Sequence[Created]:
        answers = await self._batch("create", "runs", [(encode(run, NewRun), 8) for run in runs], Created)
        self._watch.written()
        return answers

    async def poll(self, session: WorkerSession, want: Want) -> Poll:
        self._watch.concern(session.id)
        ranges = 40 + 2 * len(want.lanes) + 8 * min(want.limit, _CLAIMS_MAX) + 4 * len(want.held)
        self._polls += 1  # one that is held up on the way, and comes after the next, is known by it
        fields: Fields = {"session": encode(session, WorkerSession), "want": encode(want, Want)}
        fields["sent"] = {"line": self._line, "number": float(self._polls)}
        with self._watch.polling() as taken:
            poll = decode(await self._sync("poll", fields, ranges=ranges), Poll)
            taken(claim.run.id for claim in poll.claims)
            return poll

    async def renew(self, session: WorkerSession) -> bool:
        return decode(await self._sync("renew", {"session": encode(session, WorkerSession)}), bool)

    async def leave(self, session: SessionId) -> None:
        await self._sync("leave", {"session": session}, ranges=200)
        self._watch.written()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Committed]:
        heard = self._watch.heard
        data = [(encode(commit, Commit), _ranges_of(commit)) for commit in commits]
        answers = await self._batch("commit", "commits", data, Committed)
        hinting = [commit for commit in commits if _hints(commit)]
        if hinting:  # the subscription's answer names the runs that have ended
            self._watch.written(heard if all(isinstance(commit.then, Ended) for commit in hinting) else None)
        return answers

    async def send(self, messages: Sequence[Message]) -> Sequence[Sent]:
        answers = await self._batch("send", "messages", [(encode(one, Message), 6) for one in messages], Sent)
        self._watch.written()
        return answers

    async def control(self, controls: Sequence[Control]) -> Sequence[Controlled]:
        answers = await self._batch("control", "controls", [(encode(one, Control), 20) for one in controls], Controlled)
        self._watch.written()
        return answers

    # ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def now(self) -> float:
        return (await self._timed("now", {}, ranges=0))[1]

    async def get(self, runs: Sequence[RunId]) -> Sequence[RunRecord | None]:
        found: list[RunRecord | None] = []
        for start in range(0, len(runs), _ROWS_AT_ONCE):
            page = runs[start : start + _ROWS_AT_ONCE]
            found += decode(await self._read("get", {"runs": [*page]}, ranges=len(page)), _ROWS)
        return found

    async def input(self, run: RunId) -> bytes | None:
        answer: bytes | None = decode(await self._read("input", {"run": run}, ranges=_PAYLOAD_RANGES), _BYTES)
        return answer

    async def outcome(self, run: RunId) -> bytes | None:
        answer: bytes | None = decode(await self._read("outcome", {"run": run}, ranges=_PAYLOAD_RANGES), _BYTES)
        return answer

    async def list(self, query: RunQuery, limit: int = 100, cursor: str | None = None) -> RunPage:
        if not 1 <= limit <= PAGE_SIZE_MAX:
            raise InvalidInput(f"A page of runs has 1 to {PAGE_SIZE_MAX:,}, not {limit!r}.")
        runs: list[RunRecord] = []
        while True:
            asked: Fields = {"query": encode(query, RunQuery), "limit": float(limit - len(runs)), "cursor": cursor}
            said = await self._read("list", asked)
            if "invalid" in said:
                raise InvalidInput(f"This list cannot be made: {said['invalid']}")
            page = decode(said, RunPage)
            runs += page.runs
            cursor = page.cursor
            if cursor is None or len(runs) >= limit:
                return RunPage(tuple(runs), cursor)

    async def count(self, query: RunQuery) -> int:
        pages = await self._pages("count", {"query": encode(query, RunQuery)})
        return sum(decode(page["count"], int) for page in pages)

    async def journal(self, run: RunId, generation: int, start: int = 0, limit: int = PAGE_SIZE_MAX) -> JournalPage:
        fields: Fields = {"run": run, "generation": float(generation), "start": float(start), "limit": float(limit)}
        return decode(await self._read("journal", fields), JournalPage)

    async def messages(
        self, run: RunId, after: int = 0, limit: int = PAGE_SIZE_MAX, unread_only: bool = True
    ) -> Sequence[InboxMessage]:
        found: list[InboxMessage] = []
        cursor: float | None = float(after)
        while cursor is not None and len(found) < limit:
            fields: Fields = {"run": run, "after": cursor, "limit": float(limit - len(found))}
            said = await self._read("messages", {**fields, "unread_only": unread_only})
            found += decode(said["messages"], _MESSAGES)
            cursor = said.get("cursor")
        return found

    async def values(self, run: RunId) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for page in await self._pages("values", {"run": run}):
            found |= decode(page["values"], _VALUES)
        return found

    async def stream(self, run: RunId, name: str, start: int = 0, limit: int = PAGE_SIZE_MAX) -> StreamPage:
        fields: Fields = {"run": run, "name": name, "start": float(start), "limit": float(limit)}
        return decode(await self._read("stream", fields), StreamPage)

    async def parts(self, run: RunId, hashes: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        missing = [*dict.fromkeys(hashes)]
        while missing:
            page: dict[str, bytes] = decode(await self._read("parts", {"run": run, "hashes": [*missing]}), _VALUES)
            if not page:
                break
            found |= page
            missing = [one for one in missing if one not in page]
        return found

    async def sessions(self) -> Sequence[SessionRecord]:
        answer: Sequence[SessionRecord] = decode(await self._read("sessions", {}), _SESSIONS)
        return answer

    async def purge(self, query: PurgeQuery) -> int:
        return decode(await self._sync("purge", {"query": encode(query, PurgeQuery)}, ranges=_WRITES.ranges), int)

    async def check(self) -> Sequence[str]:
        return [problem for page in await self._pages("check", {}) for problem in decode(page["problems"], _TEXTS)]

    async def stats(self) -> Mapping[str, int]:
        total: dict[str, int] = {}
        for page in await self._pages("stats", {}):
            for name, number in decode(page["stats"], _FIGURES):
                total[name] = total.get(name, 0) + number
        return total

    async def _pages(self, ask: str, fields: Fields) -> Sequence[Any]:
        """Every page of an answer that has a cursor."""
        pages = [await self._read(ask, fields)]
        while (cursor := pages[-1].get("cursor")) is not None:
            pages.append(await self._read(ask, {**fields, "cursor": cursor}))
        return pages

    # ── a small key-value side table ─────────────────────────────────────────────────────────────────────────────

    async def put_record(
        self, kind: str, key: str, value: bytes, *, expect: int | None = None, keep_seconds: float | None = None
    ) -> RecordRow | None:
        fields: Fields = {"kind": kind, "key": key, "value": encode(value, bytes)}
        fields |= {"expect": encode(expect, int | None), "keep_seconds": encode(keep_seconds, float | None)}
        fields["request"] = SystemClock().token()  # if its answer is lost, the repeat is known for one
        answer: RecordRow | None = decode(await self._sync("put_record", fields, guilty=True), _RECORD)
        return answer

    async def get_record(self, kind: str, key: str) -> RecordRow | None:
        answer: RecordRow | None = decode(await self._sync("get_record", {"kind": kind, "key": key}), _RECORD)
        return answer

    async def list_records(self, kind: str, after: str = "", limit: int = 100) -> Sequence[RecordRow]:
        found: list[RecordRow] = []
        while True:
            fields: Fields = {"kind": kind, "after": after, "limit": float(limit - len(found))}
            page: Sequence[RecordRow] = decode(await self._sync("list_records", fields, ranges=_PAGE_RANGES), _RECORDS)
            found += page
            if len(found) >= limit or sum(len(row.value) for row in page) < _RECORD_BYTES_SHORT:
                return found
            after = page[-1].key

    async def delete_record(self, kind: str, key: str) -> bool:
        return decode(await self._sync("delete_record", {"kind": kind, "key": key}), bool)


def _present(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _ranges_of(commit: Commit) -> int:
    """How many index ranges a commit may read: a rewound one copies entries one by one."""
    others = len(commit.messages) + len(commit.children) + len(commit.consumed) + len(commit.dead) + len(commit.parts)
    kept = len(getattr(commit.then, "keep", ()))
    return 8 + 3 * (others + len(commit.values) + len(commit.emits)) + kept


def _hints(commit: Commit) -> bool:
    """Whether somebody else may have something to do, or to read, after it."""
    if not isinstance(commit.then, Running):
        return True
    return bool(commit.messages or commit.children or commit.emits or commit.values)
