"""Definitions as the server wants them, fulfilled by an engine of ``durable_dag``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast, final

from durable.errors import InvalidInput
from durable.store import RunQuery, RunRecord, RunStatus
from durable_dag import Engine
from durable_dag.engine import DAG, DELIVERY, WORK
from durable_dag.errors import ExecutionConflict, ExecutionNotFound, InvalidDefinition, WorkflowNotFound
from durable_dag.graph.actions import INTERPRETED
from durable_dag.graph.definition import digest_of
from durable_dag.pictures import dot, mermaid, svg
from durable_dag.scheduling.settling import Verb
from durable_dag.validation import definition_schema
from durable_dag.versions import Head
from durable_dag.versions import Registered as Kept
from durable_dag.watching.view import tries, view
from durable_server.answers import millis
from durable_server.definitions import Begin, Begun, Page, Registered
from durable_server.filters import Scope
from durable_server.problems import Problem, detail
from durable_server.reasons import Beside, reasons_of
from durable_server.statuses import status_of, store_statuses, waiting_on

Json = Any

__all__ = ["EngineDefinitions"]

_WORKFLOW: Final = "dag.workflow"
_TAG: Final = "tag."
_LIVE: Final = ("pending", "running", "paused")
_STATES: Final = {
    "pending": "pending",
    "running": "sending",
    "waiting": "waiting",
    "paused": "paused",
    "blocked": "blocked",
    "completed": "delivered",
    "failed": "dead",
    "cancelled": "cancelled",
}


@final
class EngineDefinitions:
    """See ``Definitions``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def register(self, document: Json, *, dry_run: bool, strict: bool, if_match: int | None) -> Registered:
        checked = await self._engine.validate(document)
        if not checked.valid or (strict and checked.warnings):
            raise InvalidDefinition(checked.errors or checked.warnings, checked.warnings)
        if dry_run:
            kept = await self._dry(document)
        else:
            kept = await self._engine.register_workflow(document, if_match=if_match)
        warnings = [one.as_json() for one in checked.warnings]
        return Registered(kept.id, kept.version, kept.created, warnings)

    async def _dry(self, document: Json) -> Kept:
        """What registering would do."""
        id, digest = document["id"], digest_of(document)
        try:
            head = await self._engine.versions.head(id)
        except WorkflowNotFound:
            return Kept(id, 1, digest, True)
        same = head.versions[-1][1] == digest
        return Kept(id, head.latest + (not same), digest, not same)

    async def validate(self, document: Json, *, strict: bool) -> Json:
        checked = await self._engine.validate(document)
        return {
            "valid": checked.valid and not (strict and checked.warnings),
            "errors": [one.as_json() for one in checked.errors],
            "warnings": [one.as_json() for one in checked.warnings],
            "layers": checked.layers,
        }

    async def list(self, text: str | None, tags: Mapping[str, str], limit: int, cursor: str | None) -> Page:
        found: list[Json] = []
        after = cursor or ""
        while len(found) < limit:
            heads = await self._engine.versions.list(after=after, limit=limit)
            for head in heads:
                after = head.id
                value = await self._document(head)
                if _fits(value, text, tags):
                    found.append(value)
                    if len(found) == limit:
                        return Page(found, after)
            if len(heads) < limit:
                return Page(found)
        return Page(found, after)

    async def get(self, id: str, version: int | None = None) -> Json:
        return await self._document(await self._head(id), version)

    async def versions(self, id: str) -> Sequence[Json]:
        head = await self._head(id)
        return [
            {"version": version, "digest": digest, "createdAt": millis(at)}
            for version, digest, at in reversed(head.versions)
        ]

    async def enable(self, id: str, enabled: bool) -> Json:
        await self._head(id)
        await self._engine.enable_workflow(id, enabled)
        return await self.get(id)

    async def delete(self, id: str, *, force: bool) -> None:
        await self._head(id)
        await self._engine.delete_workflow(id, force=force)

    async def known(self, id: str) -> bool:
        try:
            await self._head(id)
        except WorkflowNotFound:
            query = RunQuery(workflow=DAG, labels={_WORKFLOW: id})  # deleted, but with executions
            client = self._engine.client
            try:
                return await client.link.reach(lambda: client.store.count(query)) > 0
            except InvalidInput:
                return False
        return True

    def actions(self) -> Sequence[Json]:
        schemas = self._engine.executors.schemas()
        found: list[Json] = []
        for name in sorted(schemas):
            executor = self._engine.executors.get(name)
            built_in = name in INTERPRETED or executor is None or executor.built_in
            found.append({"name": name, "builtIn": built_in, "paramsSchema": schemas[name]})
        return found

    def schema(self) -> Json:
        return definition_schema(self._engine.executors.schemas())

    async def _head(self, id: str) -> Head:
        """What is known of an id; whatever is no id is not known."""
        try:
            return await self._engine.versions.head(id)
        except InvalidInput:
            raise WorkflowNotFound(f"Workflow not found: {id[:200]}") from None

    async def _document(self, head: Head, version: int | None = None) -> Json:
        stored = await self._engine.get_workflow(head.id, version)
        return {
            **stored.document,
            "version": stored.version,
            "createdAt": millis(stored.created_at),
            "enabled": head.enabled,
        }

    # ── executions ───────────────────────────────────────────────────────────────────────────────────────────────

    def scope(self, known: frozenset[str] = frozenset()) -> Scope:
        return Scope(DAG, frozenset({DELIVERY, WORK}), _WORKFLOW, _TAG, known)

    async def start(self, begin: Begin) -> Begun:
        id = begin.id
        if id is None and begin.request_id is not None:
            id = f"exec-{begin.request_id[:32]}"
        started = await self._engine.start(
            begin.workflow,
            begin.context,
            version=begin.version,
            execution_id=id,
            on_conflict=cast(Any, begin.conflict),
            delay=begin.delay,
            start_at=None if begin.start_at is None else datetime.fromtimestamp(begin.start_at, UTC),
            queue=begin.queue,
            priority=begin.priority,
            tags=begin.tags,
            webhooks=begin.hooks,
            request_id=begin.request_id,
        )
        return Begun(started.execution_id, started.created)

    def head(self, run: RunRecord) -> Json:
        version = run.labels.get("dag.version", "")
        return {
            "executionId": run.id,
            "workflowId": run.labels.get(_WORKFLOW),
            "status": status_of(run),
            "startTime": millis(run.started_at or run.created_at),
            "currentSteps": sorted({wait.name for wait in run.waits if not run.ended and wait.kind.value == "step"}),
            "endTime": millis(run.ended_at),
            "error": run.error if status_of(run) == "failed" else None,
            "version": int(version) if version.isdecimal() else None,
            "kind": "dag",
            "cancelReason": run.error if status_of(run) == "cancelled" else None,
            "tags": {name.removeprefix(_TAG): text for name, text in run.labels.items() if name.startswith(_TAG)},
            "parent": None if run.parent is None else run.parent.run,
            "attempt": run.generation,
            "waitingOn": waiting_on(run),
            "createdAt": millis(run.created_at),
        }

    async def whole(self, run: RunRecord) -> Json:
        return view(await self._engine.reading.load(run.id))

    async def picture(self, run: RunRecord, form: str, layout: bool) -> Json:
        if form != "json":
            drawing = await self._engine.drawing(run.id)
            return {"mermaid": mermaid, "dot": dot, "svg": svg}[form](drawing)
        shown = await self._engine.visualize(run.id, layout=layout)
        if shown["duration"] is None:  # it goes on
            now = millis(await self._engine.client.records.now()) or 0
            shown["duration"] = max(now - (millis(run.started_at or run.created_at) or 0), 0)
        return shown

    async def step(self, run: RunRecord, step: str) -> Json:
        try:
            return {"logs": [], **await self._engine.step(run.id, step)}
        except ExecutionNotFound:
            return None

    async def attempts(self, run: RunRecord, step: str) -> Sequence[Json] | None:
        execution = await self._engine.reading.load(run.id)
        if execution.plan is None or step not in execution.plan.steps:
            return None
        return tries(execution, step)

    async def why(self, run: RunRecord) -> Sequence[Json]:
        execution = await self._engine.reading.load(run.id)
        client = self._engine.client
        if execution.ended:
            letters = RunQuery(DELIVERY, store_statuses(_LIVE), {"dag.delivery": run.id})
            return reasons_of(execution, Beside(letters=await client.link.reach(lambda: client.store.count(letters))))
        ahead: dict[str, int] = {}
        for one in (execution.around.run, *(execution.around.children or {}).values()):
            if one is not None and one.state == "pending":
                before = RunQuery(statuses=(RunStatus.PENDING,), queue=one.queue, created_before=one.created_at)
                ahead[one.queue] = await client.link.reach(partial(client.store.count, before))
        return reasons_of(execution, Beside(ahead))

    async def cancel(self, run: RunRecord, reason: str) -> None:
        await self._engine.cancel(run.id, reason)

    async def terminate(self, run: RunRecord, reason: str) -> None:
        await self._engine.terminate(run.id, reason)

    async def tell_last(self, run: RunRecord) -> None:
        await self._engine.tell_last(run.id)

    async def retry(self, run: RunRecord, steps: Sequence[str] | None, context: Mapping[str, Json]) -> None:
        await self._engine.retry(run.id, steps=steps, context=context)

    async def fork(
        self, run: RunRecord, step: str, context: Mapping[str, Json], version: int | None, id: str | None
    ) -> str:
        started = await self._engine.fork(run.id, step=step, context=context, version=version, new_id=id)
        return started.execution_id

    async def settle(self, run: RunRecord, step: str, verb: str, value: Json, once: str | None) -> None:
        try:
            await self._engine.settle(
                run.id, step, cast(Verb, verb), value, request_id=None if once is None else f"api-{once}"
            )
        except ExecutionConflict as error:
            raise Problem(409, "not_waiting", str(error)) from error
        except ExecutionNotFound as error:
            raise Problem(404, "step_not_found", "Step not found") from error
        except InvalidInput as error:
            raise Problem(
                400, "invalid_result", str(error), [detail("/result", "invalid_result", str(error))]
            ) from error

    # ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def deliveries(self, execution: str | None, status: str | None, limit: int, cursor: str | None) -> Page:
        states = tuple(state for state, word in _STATES.items() if status in (None, word))
        if status is not None and not states:
            known = ", ".join(_STATES.values())
            raise Problem(400, "invalid_parameter", f"The status of a delivery is one of {known}.")
        client = self._engine.client
        found = await client.list(
            workflow=DELIVERY,
            status=cast(Any, states if status is not None else None),
            labels=None if execution is None else {"dag.delivery": execution},
            limit=limit,
            cursor=cursor,
        )
        values = [
            {
                "deliveryId": one.id,
                "executionId": one.labels.get("dag.delivery"),
                "event": one.labels.get("dag.event"),
                "status": _STATES[one.state],
                "error": one.error,
                "createdAt": millis(one.created_at),
                "endTime": millis(one.ended_at),
            }
            for one in found
        ]
        return Page(values, found.cursor)

    async def redeliver(self, id: str) -> Json:
        try:
            state = (await self._engine.client.handle(id).status()).workflow
        except (LookupError, InvalidInput):
            state = ""
        if state != DELIVERY:
            raise Problem(404, "delivery_not_found", "Delivery not found")
        await self._engine.redeliver(id)
        return {"deliveryId": id, "status": "pending"}


def _fits(value: Mapping[str, Json], text: str | None, tags: Mapping[str, str]) -> bool:
    given = value.get("tags")
    if any(not isinstance(given, dict) or given.get(name) != wanted for name, wanted in tags.items()):
        return False
    said = f"{value['id']}\n{value.get('name', '')}\n{value.get('description', '')}".casefold()
    return text is None or text.casefold() in said
