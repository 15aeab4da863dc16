"""Webhooks: what is told to whom, and a run for each delivery, started in the commit of what it tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, final

from durable import Workflow
from durable_dag.errors import TemplateUnresolved
from durable_dag.graph.definition import Hook
from durable_dag.scheduling.conductor import Conductor
from durable_dag.scheduling.scope import Scope

Json: TypeAlias = Any

__all__ = ["Deliveries"]

_BYTES_MAX: Final = 20_000
_ENDS: Final = {"completed": "onComplete", "failed": "onFailure", "cancelled": "onFailure"}


@final
class Deliveries:
    """The deliveries of one run, numbered so that a receiver can put them in order.

    Args:
        workflow: That carries one delivery out.
        url: Under which results can be read, without a slash at its end.
    """

    def __init__(self, workflow: Workflow[[dict[str, Json]], Json], hooks: Sequence[Hook], url: str) -> None:
        self.workflow = workflow
        self._hooks = hooks
        self._url = url
        self._sequence = 0

    def go_on(self, sequence: int) -> None:
        """So many messages have been told already, by somebody else."""
        self._sequence = sequence

    def of_step(self, conductor: Conductor, id: str, now: datetime) -> list[dict[str, Json]]:
        """What is told when a step has ended."""
        self._sequence += 1
        hooks = [hook for hook in self._hooks if hook.event == "onStep"]
        if not hooks:
            return []
        place = conductor.board.place(id)
        word = "completed" if place.standing == "success" else place.standing
        record = conductor.records.get(id)
        error = None if record is None or record.ending is None else record.ending.error
        payload: dict[str, Json] = {
            **self._head(conductor, f"step.{word}", now),
            "stepId": id,
            "status": place.standing,
            "result": conductor.result_of(id),
            "error": None if error is None or place.standing != "failed" else error.text,
            "skipReason": place.reason,
        }
        self._shorten(payload, "result", "resultUrl", f"/steps/{id}")
        return self._addressed(conductor, hooks, payload)

    def of_end(self, conductor: Conductor, status: str, error: str | None, now: datetime) -> list[dict[str, Json]]:
        """What is told when the run has ended."""
        hooks = [hook for hook in self._hooks if hook.event == _ENDS[status]]
        self._sequence += 1
        if not hooks:
            return []
        payload = {**self._head(conductor, f"workflow.{status}", now), "status": status}
        steps = conductor.plan.steps
        if status == "completed":
            done = [id for id in steps if conductor.board.place(id).standing == "success"]
            payload["results"] = {id: conductor.result_of(id) for id in done}
            self._shorten(payload, "results", "resultsUrl", "")
        else:
            payload["failedSteps"] = [id for id in steps if conductor.board.place(id).standing == "failed"]
            payload["error"] = error
        return self._addressed(conductor, hooks, payload)

    def _head(self, conductor: Conductor, type: str, now: datetime) -> dict[str, Json]:
        facts = conductor.scopes.facts
        return {
            "type": type,
            "timestamp": now.isoformat(),
            "executionId": facts.execution,
            "workflowId": facts.workflow,
            "version": facts.version,
            "sequence": self._sequence,
        }

    def _shorten(self, payload: dict[str, Json], member: str, instead: str, path: str) -> None:
        if len(json.dumps(payload, default=str).encode()) > _BYTES_MAX:
            del payload[member]
            payload[instead] = f"{self._url}/executions/{payload['executionId']}{path}"

    def _addressed(
        self, conductor: Conductor, hooks: Sequence[Hook], payload: dict[str, Json]
    ) -> list[dict[str, Json]]:
        scope = Scope(conductor.scopes, None, {})
        found = []
        for hook in hooks:
            if hook.events and payload["type"] not in hook.events:
                continue
            target = {"url": hook.url, "secret": hook.secret, "headers": dict(hook.headers)}
            try:
                rendered = scope.render(target)
            except (TemplateUnresolved, ValueError, KeyError) as error:
                rendered = scope.render({"url": "", "problem": f"{type(error).__name__}: {error}"})
            late = [{"path": list(one.path), "parts": [_plain(part) for part in one.parts]} for one in rendered.late]
            found.append(
                {
                    "event": payload["type"],
                    "execution": payload["executionId"],
                    "target": rendered.value,
                    "late": late,
                    "payload": payload,
                    "maxAttempts": hook.max_attempts,
                }
            )
        return found


def _plain(part: str | tuple[str, ...]) -> Json:
    return part if isinstance(part, str) else list(part)
