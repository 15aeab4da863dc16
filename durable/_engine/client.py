"""The client: starts runs, finds them, and speaks to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from durable._author.definitions import Invocation, Signal, Workflow, checked_labels
from durable._author.registry import Registry
from durable._core.identity import follows
from durable._engine.closer import Completion, pack_on_complete
from durable._engine.handle import Handle, RunSummary, summary
from durable._engine.link import Link
from durable._engine.records import Records
from durable._engine.retention import purging
from durable._engine.sync import SyncClient
from durable._model import defaults
from durable._model.duration import Duration, due_seconds, seconds_of
from durable._model.ids import RunId, check_name
from durable._model.reads import PurgeQuery, RunQuery
from durable._model.runs import Created, Creation, NewRun, RunStatus
from durable._model.shown import shown
from durable.clock import Clock, SystemClock
from durable.codec import Codec, PayloadHook, ValueType, digest
from durable.errors import InvalidInput, RunConflict, UnknownWorkflow
from durable.store import Store

R = TypeVar("R")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741
Json = Any
IfExists = Literal["attach", "reject", "replace"]
State = Literal["pending", "running", "waiting", "paused", "blocked", "completed", "failed", "cancelled"]
_JSON: ValueType[Any] = ValueType.of(Any)

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
        workflow, args, kwargs = await self._resolve(wf, input)
        if isinstance(workflow, str):
            name, version, raw = workflow, None, b"[" + b",".join(_JSON.dump(a, "input") for a in args) + b"]"
        else:
            name, version = workflow.name, workflow.version
            raw = workflow.arguments.dump(args, kwargs, f"workflow {name!r}")
            if id is None and workflow.policy.key is not None:
                id = f"{name}-{workflow.policy.key(*args, **kwargs)}"
        queue = check_name("queue name", queue) if queue is not None else defaults.QUEUE
        if isinstance(workflow, Workflow) and workflow.queue is not None and queue == defaults.QUEUE:
            queue = workflow.queue
        new = NewRun(
            RunId(check_name("run id", self.link.clock.token() if id is None else id)),
            name,
            None if isinstance(wf, str) else version,
            queue,
            self.link.codec.seal(raw, f"input of workflow {name!r}"),
            digest(name, raw),
            self.link.clock.token(),
            _priority(priority),
            0.0 if delay is None else seconds_of(delay, "delay"),
            checked_labels(labels),
            None,
            None if on_complete is None else self._follower(on_complete, on_complete_context, queue),
            _replace_id(if_exists, request_id),
        )
        created = (await self.link.reach(lambda: self.link.store.create([new])))[0]
        if if_exists == "reject" and created.outcome is Creation.EXISTED:
            row = (await self.link.reach(lambda: self.link.store.get([new.id])))[0]
            if row is not None and follows(row.seed, new.seed, row.generation):  # this very start made it
                return Handle(self.link, new.id, workflow if isinstance(workflow, Workflow) else None)
        _check_conflict(new, created, if_exists)
        return Handle(self.link, new.id, workflow if isinstance(workflow, Workflow) else None)

    def _follower(self, workflow: Workflow[[Completion], Any], context: Json, queue: str) -> bytes:
        if not isinstance(workflow, Workflow):
            raise InvalidInput(f"on_complete= takes a function decorated with @workflow, not {shown(workflow)}.")
        return pack_on_complete(workflow.name, workflow.version, workflow.queue or queue, context, self.link.codec)

    async def _resolve(self, wf: Any, input: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        if isinstance(wf, Invocation):
            if input:
                raise InvalidInput("workflow.bind(...) carries its arguments already; give no other input.")
            return wf.workflow, wf.args, wf.kwargs
        if isinstance(wf, Workflow):
            return wf, input, {}
        if not isinstance(wf, str):
            raise InvalidInput(
                f"client.start takes a workflow, workflow.bind(...) or a registered name, not {shown(wf)}."
            )
        name = check_name("workflow name", wf)
        known = self.link.registry.get(name, None)
        if known is not None:
            args, kwargs = _positional(known, input)
            return known, args, kwargs
        await self._require_known(name)
        return name, input, {}

    async def _require_known(self, name: str) -> None:
        sessions = await self.link.reach(self.link.store.sessions)
        names = {workflow for session in sessions for workflow, _ in session.registered}
        if name not in names:
            listed = ", ".join(sorted(n for n in names if not n.startswith("step:"))) or "none"
            raise UnknownWorkflow(
                f"No worker of this store has ever had a workflow {name!r} (known: {listed}). Start a worker that has "
                "it first, or pass the workflow itself instead of its name."
            )

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

    @property
    def sync(self) -> SyncClient:
        """The blocking twin of this client, for code without an event loop: ``with connect(url).sync as client:``."""
        return SyncClient(self)


def _positional(workflow: Workflow[..., Any], input: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """JSON given by name becomes the declared types, so that a misfit shows at the call."""
    raw = b"[" + b",".join(_JSON.dump(value, f"input of workflow {workflow.name!r}") for value in input) + b"]"
    return workflow.arguments.load(raw, f"input of workflow {workflow.name!r}")


def _priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > 1_000_000:
        raise InvalidInput(f"priority= is a whole number up to a million either way, not {shown(priority)}.")
    return priority


def _replace_id(if_exists: str, request_id: str | None) -> str | None:
    if not isinstance(if_exists, str) or if_exists not in ("attach", "reject", "replace"):
        raise InvalidInput(f"if_exists= is 'attach', 'reject' or 'replace', not {shown(if_exists)}.")
    if if_exists != "replace":
        return None
    if request_id is None:
        raise InvalidInput(
            'if_exists="replace" needs request_id="...": the same one again (a retry of your request) replaces nothing.'
        )
    return check_name("request id", request_id)


def _check_conflict(new: NewRun, created: Created, if_exists: IfExists) -> None:
    if created.outcome is not Creation.EXISTED:
        return
    if created.digest != new.digest:  # it tells the workflow, too, and stays the same however the run continues
        if created.workflow != new.workflow:
            raise RunConflict(
                f"Run {new.id} exists already and runs workflow {created.workflow!r}, not {new.workflow!r}.", new.id
            )
        raise RunConflict(f"Run {new.id} exists already, with another input. Choose another id.", new.id)
    if if_exists == "reject":
        raise RunConflict(f"Run {new.id} exists already ({created.status}).", new.id)


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
