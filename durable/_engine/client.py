"""The client: starts runs, finds them, and speaks to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from durable._author.definitions import Invocation, Signal, Workflow, checked_labels
from durable._author.registry import Registry
from durable._engine.closer import Completion
from durable._engine.handle import Handle, RunSummary, summary
from durable._engine.link import Link
from durable._engine.records import Records
from durable._engine.retention import purging
from durable._engine.starting import IfExists, Options, all_wanted, conflicts, new_run, new_runs, wanted
from durable._engine.sync import SyncClient
from durable._model import defaults
from durable._model.duration import Duration, due_seconds, seconds_of
from durable._model.ids import RunId, check_name
from durable._model.reads import PurgeQuery, RunQuery
from durable._model.runs import Creation, RunStatus
from durable._model.shown import shown
from durable.clock import Clock, SystemClock
from durable.codec import Codec, PayloadHook
from durable.errors import InvalidInput
from durable.store import Store

R = TypeVar("R")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741
Json = Any
list_ = list  # inside the class ``list`` is the verb
State = Literal["pending", "running", "waiting", "paused", "blocked", "completed", "failed", "cancelled"]

__all__ = ["Client", "RunList"]


@dataclass(frozen=True, slots=True)
class RunList:
    """One page of runs, newest first; ``cursor`` leads to the next one, None at the end."""

    runs: list[RunSummary]
    cursor: str | None

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


class Client:
    """A connection to a store: ``async with connect(url) as client:``."""

    def __init__(self, store: Store, *, codec: PayloadHook | None = None, clock: Clock | None = None) -> None:
        self.link = Link(store, Codec(hook=codec), SystemClock() if clock is None else clock)

    @property
    def store(self) -> Store:
        """The store that it speaks to."""
        return self.link.store

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Connect; ``async with`` does it for you. Doing it twice is doing it once."""
        await self.link.open()

    async def close(self) -> None:
        """Let go of the store."""
        await self.link.close()

    async def __aenter__(self) -> Client:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def register(self, registry: Registry) -> None:
        """Let runs be started by name with the checks of these workflows (a Worker does it for its own)."""
        for workflow in registry.all():
            self.link.registry.add(workflow)

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def start(
        self,
        wf: Workflow[[I], R],
        input: I,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        wf: Workflow[[], R],
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        call: Invocation[R],
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        name: str,
        input: Json = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> Handle[Any]: ...
    async def start(
        self,
        wf: Any,
        /,
        *input: Any,
        id: str | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> Handle[Any]:
        """Start a run, idempotently by id; it is durable when this returns.

        Args:
            wf: A workflow with its one input (or none); ``workflow.bind(...)`` for any arguments; or a registered name
                with JSON input.
            id: Of the run: up to 255 bytes. Default: from the workflow's ``key=``, else random.
            if_exists: When a run of this id exists: ``"attach"`` (default) returns its handle if workflow and input are
                the same; ``"reject"`` raises; ``"replace"`` ends it and begins anew (once per ``request_id``).
            delay: Not before this much time has passed.
            priority: Higher is taken up first.
            queue: Which workers may take it. Default ``"default"``.
            labels: Texts to list and count by.
            on_complete: A workflow that is started, exactly once, with a ``Completion`` when this run has ended.
            on_complete_context: JSON that it is given.
            request_id: Makes a ``"replace"`` repeatable; required with it.

        Raises:
            RunConflict: The id belongs to a run with another workflow or input (or exists at all, with ``"reject"``).
            UnknownWorkflow: No worker of this store has ever had a workflow of this name.
            InvalidInput: A ``ValueError``: id, delay, labels or input do not fit.
            NotSerializable, PayloadTooLarge: The input cannot be stored.
        """
        options = Options(if_exists, delay, priority, queue, labels, on_complete, on_complete_context, request_id)
        what = await wanted(self.link, wf, input)
        new = new_run(self.link, what, id, options)
        created = await self.link.create(new)
        if created.outcome is Creation.EXISTED:
            for error in await conflicts(self.link, [new], [created], if_exists):
                raise error
        return Handle(self.link, new.id, what.workflow)

    @overload
    async def start_many(
        self,
        wf: Workflow[[I], R],
        inputs: Iterable[I],
        /,
        *,
        ids: Iterable[str] | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> list_[Handle[R]]: ...
    @overload
    async def start_many(
        self,
        calls: Iterable[Invocation[R]],
        /,
        *,
        ids: Iterable[str] | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> list_[Handle[R]]: ...
    @overload
    async def start_many(
        self,
        name: str,
        inputs: Iterable[Json],
        /,
        *,
        ids: Iterable[str] | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> list_[Handle[Any]]: ...
    async def start_many(
        self,
        wf: Any,
        inputs: Any = ...,
        /,
        *,
        ids: Iterable[str] | None = None,
        if_exists: IfExists = "attach",
        delay: Duration | None = None,
        priority: int = 0,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        on_complete: Workflow[[Completion], Any] | None = None,
        on_complete_context: Json = None,
        request_id: str | None = None,
    ) -> list_[Handle[Any]]:
        """Start many runs as ``start`` would, some hundreds in one transaction; all are durable when this returns.

        Args:
            wf: A workflow, or a registered name, with an iterable of inputs, one for each run; or an iterable of
                ``workflow.bind(...)`` alone, for workflows that take none or several arguments, or for different ones.
            ids: Of the runs, one for each. Default: as ``start`` makes them.
            if_exists, delay, priority, queue, labels, on_complete, on_complete_context, request_id: As for ``start``,
                the same for every run.

        Returns:
            Handles in the order of the inputs.

        Raises:
            RunConflict: The first one, if ids belong to other runs. All the other runs are started.
            UnknownWorkflow, InvalidInput, NotSerializable, PayloadTooLarge: As for ``start``. No run is started.
        """
        options = Options(if_exists, delay, priority, queue, labels, on_complete, on_complete_context, request_id)
        whats = await all_wanted(self.link, wf, inputs)
        news = new_runs(self.link, whats, ids, options)
        created = await self.link.create_all(news)
        errors = await conflicts(self.link, news, created, if_exists)
        if errors:
            errors[0].add_note(f"{len(errors):,} of {len(news):,} runs were not started; the others were.")
            raise errors[0]
        return [Handle(self.link, new.id, what.workflow) for new, what in zip(news, whats, strict=True)]

    # ── finding and speaking ─────────────────────────────────────────────────────────────────────────────────────

    @overload
    def handle(self, id: str, wf: Workflow[..., R], /) -> Handle[R]: ...
    @overload
    def handle(self, id: str, wf: None = None, /) -> Handle[Any]: ...
    def handle(self, id: str, wf: Workflow[..., Any] | None = None, /) -> Handle[Any]:
        """The handle of a run; the workflow, if given, types its result. No look at the store."""
        return Handle(self.link, RunId(check_name("run id", id)), wf)

    async def list(
        self,
        *,
        workflow: str | Workflow[..., Any] | None = None,
        status: State | Sequence[State] | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        parent: str | None = None,
        id_prefix: str | None = None,
        queue: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunList:
        """Runs that fit every condition, newest first.

        Args:
            limit: Per page, 1 to 1,000.
            cursor: Of the previous page.

        Raises:
            InvalidInput: A ``ValueError``: an unknown status, a bad cursor or limit.
        """
        query = _query(workflow, status, labels, created_after, created_before, parent, id_prefix, queue)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= defaults.PAGE_SIZE_MAX:
            raise InvalidInput(f"limit= is 1 to {defaults.PAGE_SIZE_MAX}, not {shown(limit)}.")
        if cursor is not None and not isinstance(cursor, str):
            raise InvalidInput(f"The cursor {shown(cursor)} is not one of this store's; begin again without one.")
        page = await self.link.reach(lambda: self.link.store.list(query, limit, cursor))
        return RunList([summary(record) for record in page.runs], page.cursor)

    async def count(
        self,
        *,
        workflow: str | Workflow[..., Any] | None = None,
        status: State | Sequence[State] | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        parent: str | None = None,
        id_prefix: str | None = None,
        queue: str | None = None,
    ) -> int:
        """How many runs fit every condition."""
        query = _query(workflow, status, labels, created_after, created_before, parent, id_prefix, queue)
        return await self.link.reach(lambda: self.link.store.count(query))

    @overload
    async def signal(self, run_id: str, signal: Signal[S], payload: S, /, *, id: str | None = None) -> None: ...
    @overload
    async def signal(self, run_id: str, signal: str, payload: Json = None, /, *, id: str | None = None) -> None: ...
    async def signal(self, run_id: str, signal: Any, payload: Any = None, /, *, id: str | None = None) -> None:
        """As ``handle.signal``."""
        await self.handle(run_id).signal(signal, payload, id=id)

    async def cancel(self, run_id: str, reason: str = "") -> None:
        """As ``handle.cancel``."""
        await self.handle(run_id).cancel(reason)

    async def purge(
        self,
        *,
        ended_before: datetime | None = None,
        older_than: Duration | None = None,
        workflow: str | Workflow[..., Any] | None = None,
        status: State | Sequence[State] | None = None,
        ids: Sequence[str] = (),
    ) -> int:
        """Delete ended runs with all that belongs to them; returns how many.

        Args:
            ended_before: Only those that ended before this instant.
            older_than: Only those that ended longer ago than this.

        Raises:
            InvalidInput: No condition was given: to delete everything, say ``older_than=0``.
        """
        if ended_before is None and older_than is None and workflow is None and status is None and not ids:
            raise InvalidInput(
                "client.purge() without a condition would delete every ended run; say older_than=0 for that."
            )
        bound = None if ended_before is None else due_seconds(ended_before)
        if older_than is not None:
            edge = await self.link.reach(self.link.store.now) - seconds_of(older_than, "older_than")
            bound = edge if bound is None else min(bound, edge)
        if isinstance(ids, str):
            raise InvalidInput(f"ids= is a list of run ids, not {shown(ids)}.")
        query = PurgeQuery(
            bound, False, tuple(RunId(check_name("run id", i)) for i in ids), _name(workflow), _statuses(status), 100
        )
        return sum([deleted async for deleted in purging(self.link, query)])

    @property
    def records(self) -> Records:
        """A small versioned side table in the store, for programs that stand on this client."""
        return Records(self.link)

    @cached_property
    def sync(self) -> SyncClient:
        """The blocking twin of this client, for code without an event loop: ``with connect(url).sync as client:``."""
        return SyncClient(self)


def _name(workflow: str | Workflow[..., Any] | None) -> str | None:
    return workflow.name if isinstance(workflow, Workflow) else _asked("workflow name", workflow)


def _asked(what: str, text: str | None) -> str | None:
    return None if text is None else check_name(what, text)


def _statuses(status: Any) -> tuple[RunStatus, ...]:
    try:
        given = () if status is None else (status,) if isinstance(status, str) else tuple(status)
        return tuple(RunStatus(one) for one in given)
    except Exception:  # an enum shows what it does not know, and that may refuse to be shown
        raise InvalidInput(f"{shown(status)} is not a status. They are: {', '.join(RunStatus)}.") from None


def _query(
    workflow: str | Workflow[..., Any] | None,
    status: Any,
    labels: Mapping[str, str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
    parent: str | None,
    id_prefix: str | None,
    queue: str | None,
) -> RunQuery:
    return RunQuery(
        _name(workflow),
        _statuses(status),
        checked_labels(labels),
        None if created_after is None else due_seconds(created_after),
        None if created_before is None else due_seconds(created_before),
        None if parent is None else RunId(check_name("run id", parent)),
        id_prefix if type(id_prefix) is str and id_prefix == "" else _asked("id prefix", id_prefix),
        _asked("queue name", queue),
    )
