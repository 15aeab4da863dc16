"""The actions of definitions, for steps that are code."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

from durable.clock import SystemClock
from durable_dag.egress import EgressPolicy, HttpOutbound, Outbound
from durable_dag.executors import Executors
from durable_dag.executors.http import http_executors
from durable_dag.executors.perform import Performer, Secrets
from durable_dag.executors.scripts import scripts
from durable_dag.js import JsRuntime, ProcessJs
from durable_dag.scheduling.commands import Job, Work
from durable_dag.validation.references import CODE_NAMES

Json: TypeAlias = Any

__all__ = ["Actions"]


@final
class Actions:
    """Carries out ``http.request``, ``webhook``, ``transform``, ``condition``, ``switch``, and what is registered here.

    Args:
        js: Evaluates JavaScript; by default in helper processes, which end with this process.
        egress: What requests may call.
        outbound: Sends requests instead of httpx, for tests.
        secrets: By the names that the definition had for them.
    """

    def __init__(
        self,
        *,
        js: JsRuntime | None = None,
        egress: EgressPolicy | None = None,
        outbound: Outbound | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._own_js: ProcessJs | None = None
        if js is None:
            js = self._own_js = ProcessJs()
        self._js: JsRuntime = js
        self._executors = Executors()
        sending = HttpOutbound(egress) if outbound is None else outbound
        for name, fn in {**scripts(self._js), **http_executors(sending, SystemClock().now)}.items():
            self._executors.add(name, fn, built_in=True)
        self._secrets: Secrets = dict(secrets or {})
        self._performer = Performer(self._executors, self._secrets)

    def register_executor(self, name: str, fn: Callable[..., Any]) -> None:
        """Let ``perform(name, ...)`` call a function: ``f(params)``, ``f(params, context[, step])``."""
        self._executors.add(name, fn)

    async def perform(
        self, action: str, params: Mapping[str, Json], seen: Mapping[str, Json], *, schema: Json = None
    ) -> Json:
        """What an action comes to; only in a step.

        Args:
            seen: What the step sees, as ``Flow`` gives it.
            schema: JSON Schema that the result must fit; None for any.

        Raises:
            InvalidOutput: It does not fit.
        """
        about = seen["step"]
        key = str(about["idempotencyKey"]) + (f":{seen['index']}" if "index" in seen else "")
        job = Job(str(about["id"]), action, params, key, (), lambda: dict(seen), schema)
        call = self._performer.function(
            Work(job.step, (job,)), str(seen["execution"]["id"]), str(seen["workflow"]["id"])
        )
        return await call() if inspect.iscoroutinefunction(call) else await asyncio.to_thread(call)

    async def evaluate(self, expression: str, seen: Mapping[str, Json]) -> Json:
        """The value of a JavaScript expression; only in a step."""
        return await self._js.evaluate(expression, {name: seen.get(name) for name in CODE_NAMES})

    def secret(self, name: str) -> str:
        """The value of a secret; only in a step.

        Raises:
            SecretUnavailable: It was not given, or cannot be read here.
        """
        return self._performer._secret(("secrets", name))

    async def close(self) -> None:
        """Let go of the JavaScript helpers that were started here."""
        if self._own_js is not None:
            await self._own_js.close()
