"""Definitions written in Python: small functions whose output is the JSON, and nothing but it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias, final

from durable.errors import InvalidInput

Json: TypeAlias = Any

__all__ = ["Flow", "Node", "on"]


@final
class Node:
    """A step of a ``Flow``, to be named as a dependency of others."""

    def __init__(self, document: dict[str, Json]) -> None:
        self._document = document

    @property
    def id(self) -> str:
        """Of the step."""
        return str(self._document["id"])

    @property
    def output(self) -> str:
        """A template for what the step comes to: ``f"{charge.output}"`` in the params of a later one."""
        return f'${{{{ context["{self.id}"] }}}}'

    def retry(
        self,
        max_attempts: int,
        *,
        initial_delay: float = 1000,
        backoff_multiplier: float = 2,
        max_delay: float | None = None,
        **more: Json,
    ) -> Self:
        """Its ``retryPolicy``; durations in milliseconds."""
        policy = {
            "maxAttempts": max_attempts,
            "backoffMultiplier": backoff_multiplier,
            "initialDelay": initial_delay,
            **({} if max_delay is None else {"maxDelay": max_delay}),
            **more,
        }
        self._document["retryPolicy"] = policy
        return self

    def set(self, **members: Json) -> Self:
        """Any other members of the step: ``node.set(join="done", critical=False)``."""
        self._document.update(members)
        return self


Dependency = Node | str | Mapping[str, str]


def on(step: Node | str, outcome: str) -> dict[str, str]:
    """A dependency on an outcome: ``on(charge, "failure")``, ``on(check, "false")``."""
    return {"step": step.id if isinstance(step, Node) else step, "on": outcome}


@final
class Flow:
    """A definition in the making.

    ``flow = Flow("order"); a = flow.http("validate", url); flow.http("charge", other, after=[a]); flow.document()``
    """

    def __init__(self, id: str, **members: Json) -> None:
        self._members = members
        self._id = id
        self._steps: list[dict[str, Json]] = []

    def step(
        self,
        id: str,
        action: str | None = None,
        params: Mapping[str, Json] | None = None,
        *,
        after: Sequence[Dependency] = (),
        **members: Json,
    ) -> Node:
        """Add a step.

        Args:
            after: What it depends on: steps, ids, or ``on(...)``.
            members: Any other members of the step.

        Raises:
            InvalidInput: The id is taken, or ``after`` is one dependency rather than a list of them.
        """
        if any(each["id"] == id for each in self._steps):
            raise InvalidInput(f"The flow {self._id!r} has a step {id!r} already.")
        if isinstance(after, str | Mapping | Node):
            raise InvalidInput("after= is a list of dependencies.")
        document: dict[str, Json] = {"id": id}
        if action is not None:
            document["action"] = action
        if params is not None:
            document["params"] = dict(params)
        document["dependencies"] = [one.id if isinstance(one, Node) else one for one in after]
        document |= members
        self._steps.append(document)
        return Node(document)

    def http(self, id: str, url: str, *, method: str = "GET", after: Sequence[Dependency] = (), **params: Json) -> Node:
        """Add an ``http.request``; further arguments are its params."""
        return self.step(id, "http.request", {"url": url, "method": method, **params}, after=after)

    def document(self) -> dict[str, Json]:
        """The definition."""
        return {"id": self._id, **self._members, "steps": [dict(step) for step in self._steps]}
