"""What the interpreter is given: the three workflows of the layer, and the store behind a few narrow questions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, final

from durable import Context, Duration, Retention, Workflow, workflow
from durable_dag.bound import Bound
from durable_dag.egress import Outbound
from durable_dag.executors.perform import Performer, Secrets
from durable_dag.graph.definition import digest_of, read_definition, read_hooks
from durable_dag.graph.plan import Plan
from durable_dag.running import delivery, remote
from durable_dag.running.calls import CALL_LABEL
from durable_dag.running.hooks import Deliveries
from durable_dag.running.interpreter import interpret
from durable_dag.running.slots import Slots
from durable_dag.versions import Versions

Json: TypeAlias = Any

__all__ = ["DAG", "DELIVERY", "GONE", "ORDERS", "WORK", "Toolbox", "order_key"]

DAG: Final = "dag"
WORK: Final = "dag.work"
DELIVERY: Final = "dag.webhook"
ORDERS: Final = "dag.retry"
GONE: Final = "dag.endpoint"
_PLANS_MAX: Final = 256


@final
class Toolbox:
    """The ``Tools`` of the interpreter.

    Attributes:
        delivery: The workflow of one webhook.
    """

    def __init__(
        self,
        bound: Bound,
        versions: Versions,
        performer: Performer,
        outbound: Outbound,
        secrets: Secrets,
        url: str,
        retention: Duration | Retention | None = None,
    ) -> None:
        self.performer = performer
        self.slots = Slots(bound)
        self._bound = bound
        self._versions = versions
        self._outbound = outbound
        self._secrets = secrets
        self._url = url
        self._retention = retention
        self._plans: dict[str, Plan] = {}
        self._dag, self._work, self.delivery = self._made()

    @property
    def workflows(self) -> list[Workflow[..., Any]]:
        """All three."""
        return [self._dag, self._work, self.delivery]

    def plan(self, document: Mapping[str, Json]) -> Plan:
        """A document's plan; the same document is worked out once."""
        digest = digest_of(document)
        plan = self._plans.get(digest)
        if plan is None:
            while len(self._plans) >= _PLANS_MAX:
                self._plans.pop(next(iter(self._plans)))
            plan = self._plans[digest] = Plan.of(read_definition(document))
        return plan

    async def load(self, workflow: str, version: int | None, digest: str | None) -> Json:
        """As ``Tools.load``."""
        if digest is not None and (document := await self._versions.content(digest)) is not None:
            return {"definition": document, "version": version}
        stored = await self._versions.for_start(workflow, version)
        return {"definition": stored.document, "version": stored.version}

    async def order(self, execution: str, incarnation: int, round: int) -> Json:
        """As ``Tools.order``."""
        row = await self._bound.client.records.get(ORDERS, order_key(execution, incarnation, round))
        return None if row is None else json.loads(row.value)

    def executions(self) -> Workflow[[dict[str, Json]], Json]:
        """As ``Tools.executions``."""
        return self._dag

    def works(self) -> Workflow[[dict[str, Json]], Json]:
        """As ``Tools.works``."""
        return self._work

    async def untouched(self, run: str, label: str) -> bool:
        """As ``Hands.untouched``."""
        found = await self._bound.client.list(parent=run, labels={CALL_LABEL: label}, status="pending", limit=1)
        return len(found) > 0

    def deliveries(self, definition: Plan, request: Mapping[str, Json]) -> Deliveries:
        """As ``Tools.deliveries``."""
        hooks = (*definition.definition.hooks, *read_hooks(request.get("webhooks") or {}))
        return Deliveries(self.delivery, hooks, self._url)

    def _made(self) -> tuple[Workflow[[dict[str, Json]], Json], ...]:
        tools = self
        gone = delivery.Gone(self._is_gone, self._put_gone)

        @workflow(DAG, retention=self._retention)
        async def dag(ctx: Context, request: dict[str, Any]) -> Any:
            return await interpret(ctx, request, tools)

        @workflow(WORK, retention=self._retention)
        async def dag_work(ctx: Context, request: dict[str, Any]) -> Any:
            return await remote.carry_out(ctx, request, tools.performer)

        @workflow(DELIVERY, retention=self._retention)
        async def dag_webhook(ctx: Context, request: dict[str, Any]) -> Any:
            return await delivery.deliver(ctx, request, tools._outbound, tools._secrets, gone, tools._bound.now)

        return dag, dag_work, dag_webhook

    async def _is_gone(self, digest: str) -> bool:
        return await self._bound.client.records.get(GONE, digest) is not None

    async def _put_gone(self, digest: str) -> None:
        await self._bound.client.records.put(GONE, digest, b"{}")


def order_key(execution: str, incarnation: int, round: int) -> str:
    """Under which a retry's order lies."""
    return f"{execution}/{incarnation}/{round}"
