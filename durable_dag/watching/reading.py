"""Reading executions back from a store: one by one, and in lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

from durable import HistoryEntry, RunSummary, Status
from durable.errors import RunNotFound
from durable_dag.bound import Bound
from durable_dag.errors import ExecutionNotFound, TemplateUnresolved, WorkflowNotFound
from durable_dag.graph.definition import digest_of
from durable_dag.graph.plan import Plan
from durable_dag.running.interpreter import LOAD
from durable_dag.running.slots import Slots, asked_by
from durable_dag.versions import Stored, Versions
from durable_dag.watching.around import look_around
from durable_dag.watching.story import Story
from durable_dag.watching.view import Execution, milliseconds, story_of, view

Json: TypeAlias = Any

__all__ = ["Reading"]

_STATES: Final[Mapping[str, Sequence[str]]] = {
    "pending": ("pending",),
    "running": ("running", "waiting", "blocked"),
    "paused": ("paused",),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}


@final
class Reading:
    """Executions, read."""

    def __init__(
        self, bound: Bound, versions: Versions, plan: Callable[[Mapping[str, Json]], Plan], workflow: str
    ) -> None:
        self._bound = bound
        self._versions = versions
        self._plan = plan
        self._workflow = workflow
        self._slots = Slots(bound)

    async def exists(self, id: str) -> bool:
        """Whether there is such an execution."""
        try:
            return (await self._bound.client.handle(id).status()).workflow == self._workflow
        except RunNotFound:
            return False

    async def load(self, id: str) -> Execution:
        """All that is known of one execution.

        Raises:
            ExecutionNotFound: There is none of this id.
        """
        handle = self._bound.client.handle(id)
        try:
            status = await handle.status()
            if status.workflow != self._workflow:
                raise ExecutionNotFound(f"Execution not found: {id}")
            request = (await handle.input())[0]
            rows = await handle.history()
        except RunNotFound:
            raise ExecutionNotFound(f"Execution not found: {id}") from None
        document, version = await self._document(request, rows)
        plan = None if document is None else self._plan(document)
        story = None
        if plan is not None and status.started_at is not None:
            story = story_of(id, request, plan, version, status.started_at, rows)
        output = None
        if story is not None and status.state == "completed":
            try:
                output = story.conductor.output()
            except (TemplateUnresolved, KeyError):
                output = None
        tags = {name[4:]: text for name, text in status.labels.items() if name.startswith("tag.")}
        now = await self._bound.client.records.now()
        children = [wait.name for wait in status.waits if wait.kind == "child"]
        around = await look_around(self._bound.client, id, children)
        parent, slot = request.get("parent"), await self._slot(id, request, plan, story, status)
        return Execution(id, status, request, rows, version, plan, story, output, now, parent, around, tags, slot)

    async def _slot(
        self, id: str, request: Mapping[str, Json], plan: Plan | None, story: Story | None, status: Status
    ) -> Json:
        """Who holds the slots that it waits for."""
        if plan is None or story is None or not story.waits_for_slot or status.ended_at is not None:
            return None
        try:
            asked = asked_by(plan, story.conductor.scopes.facts, request.get("context") or {})
        except TemplateUnresolved:
            return None
        if asked is None:
            return None
        return {"key": asked.key, "limit": asked.limit, "holders": await self._slots.holders(asked.line)}

    async def get(self, id: str) -> dict[str, Json]:
        """The execution object.

        Raises:
            ExecutionNotFound: There is none of this id.
        """
        return view(await self.load(id))

    async def stored(self, execution: Execution) -> Stored:
        """The definition that an execution is on.

        Raises:
            WorkflowNotFound: It has not loaded one yet, and there is none.
        """
        document, version = await self._document(execution.request, execution.history)
        if document is None:
            raise WorkflowNotFound(f"Workflow not found: {execution.request.get('workflowId')}")
        return Stored(document["id"], version or 0, digest_of(document), 0.0, document)

    async def list(
        self,
        *,
        workflow_id: str | None = None,
        status: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
        **when: Any,
    ) -> tuple[list[dict[str, Json]], str | None]:
        """Executions, newest first, and the cursor of the next page.

        Args:
            status: The seed's words; any of these.
            when: ``created_after``, ``created_before``, ``id_prefix``: as for ``Client.list``.
        """
        page = await self._bound.client.list(
            workflow=self._workflow,
            status=_states(status) or None,
            labels=_labels(workflow_id, tags),
            limit=limit,
            cursor=cursor,
            **when,
        )
        return [_listed(run) for run in page], page.cursor

    async def count(
        self,
        *,
        workflow_id: str | None = None,
        status: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        **when: Any,
    ) -> int:
        """How many executions ``list`` would list."""
        labels = _labels(workflow_id, tags)
        return await self._bound.client.count(
            workflow=self._workflow, status=_states(status) or None, labels=labels, **when
        )

    async def _document(
        self, request: Mapping[str, Json], rows: Sequence[HistoryEntry]
    ) -> tuple[Mapping[str, Json] | None, int | None]:
        """The definition as the run itself has it."""
        version: int | None = request.get("version")
        if request.get("definition") is not None:
            return request["definition"], version
        for row in rows:
            if row.name == LOAD and row.event == "step_completed":
                return row.value["definition"], row.value["version"]
        if request.get("digest") is not None:
            return await self._versions.content(request["digest"]), version
        return None, version


def _states(words: Sequence[str]) -> Any:
    return [state for word in words for state in _STATES.get(word, (word,))]


def _labels(workflow_id: str | None, tags: Mapping[str, str] | None) -> dict[str, str]:
    found = {} if workflow_id is None else {"dag.workflow": workflow_id}
    return found | {f"tag.{name}": text for name, text in (tags or {}).items()}


def _listed(run: RunSummary) -> dict[str, Json]:
    """One row of a list, from what the store has of it."""
    word = next(word for word, states in _STATES.items() if run.state in states)
    shown: dict[str, Json] = {
        "executionId": run.id,
        "workflowId": run.labels.get("dag.workflow"),
        "status": word,
        "startTime": milliseconds(run.started_at or run.created_at),
        "endTime": milliseconds(run.ended_at),
        "error": run.error if word == "failed" else None,
        "version": int(run.labels["dag.version"]) if "dag.version" in run.labels else None,
        "kind": "dag",
        "tags": {name[4:]: text for name, text in run.labels.items() if name.startswith("tag.")},
        "parent": run.parent,
        "createdAt": milliseconds(run.created_at),
    }
    return {**shown, "cancelReason": run.error} if word == "cancelled" else shown
