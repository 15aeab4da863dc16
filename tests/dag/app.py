"""What ``durable server tests.dag.app`` serves: definitions whose services are on this machine, and an own executor."""

from __future__ import annotations

import os
from typing import Any

from durable_dag import Engine
from tests.dag.services import Here

engine = Engine(outbound=Here(int(os.environ["SERVICES_PORT"])))


@engine.executor("custom-action")
async def custom_action(params: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """Anything; here, what it was given."""
    return {"greeting": f"{params['word']}, {context['name']}"}
