"""Which call an answer leads to: the links of the description, so that programs can walk from one to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from durable_server.endpoints import Endpoint

Json = Any

__all__ = ["links_of"]

_DEFINITION: Final = {"workflowId": "$response.body#/workflowId", "version": "$response.body#/version"}
_EXECUTION: Final = {"executionId": "$response.body#/executionId"}

_NAMED: Final[Mapping[tuple[str, str], Mapping[int, Mapping[str, str]]]] = {
    ("POST", "/workflows"): {201: _DEFINITION, 200: _DEFINITION},
    ("GET", "/workflows"): {200: {"workflowId": "$response.body#/0/id", "version": "$response.body#/0/version"}},
    ("POST", "/executions/start"): {201: _EXECUTION, 200: _EXECUTION, 202: _EXECUTION},
    ("GET", "/executions"): {200: {"executionId": "$response.body#/0/executionId"}},
    ("GET", "/executions/{executionId}"): {
        200: {"executionId": "$request.path.executionId", "stepId": "$response.body#/currentSteps/0"}
    },
    ("POST", "/executions/{executionId}/fork"): {201: _EXECUTION},
    ("GET", "/webhook-deliveries"): {200: {"deliveryId": "$response.body#/0/deliveryId"}},
    ("POST", "/tokens"): {201: {"tokenId": "$response.body#/id"}},
    ("GET", "/tokens"): {200: {"tokenId": "$response.body#/0/id"}},
}
"""What an answer names: status → part of a path → where it stands."""

_START: Final = ("POST", "/executions/start")
_CALLER_SAYS: Final = frozenset({"name"})
"""Parts of a path that no answer names, like that of a signal."""


def links_of(endpoint: Endpoint, endpoints: Iterable[Endpoint]) -> dict[int, dict[str, Json]]:
    """The links of each of an endpoint's answers: to every endpoint whose path it names the parts of."""
    found: dict[int, dict[str, Json]] = {}
    for status, named in _NAMED.get((endpoint.method, endpoint.path), {}).items():
        links = found[status] = {}
        for target in endpoints:
            parts = set(re.findall(r"\{(\w+)\}", target.path)) - _CALLER_SAYS
            if target is not endpoint and parts and parts <= set(named):
                links[target.handler.__name__] = {
                    "operationId": target.handler.__name__,
                    "parameters": {part: named[part] for part in sorted(parts)},
                }
            elif (target.method, target.path) == _START and "workflowId" in named:
                links[target.handler.__name__] = {
                    "operationId": target.handler.__name__,
                    "requestBody": {"workflowId": named["workflowId"]},
                }
    return found
