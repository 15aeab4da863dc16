"""Calls to the outside: one client, one policy, for steps as for webhooks."""

from durable_dag.egress.client import HttpOutbound
from durable_dag.egress.messages import Outbound, Request, Response
from durable_dag.egress.policy import EgressPolicy

__all__ = ["EgressPolicy", "HttpOutbound", "Outbound", "Request", "Response"]
