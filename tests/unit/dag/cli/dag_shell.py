"""What the tests of ``durable dag`` share: a definition, and a way to write files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Shell = Callable[..., Result]

ORDER: dict[str, Any] = {
    "id": "order",
    "name": "Order",
    "tags": {"team": "shop"},
    "steps": [
        {
            "id": "validate",
            "action": "http.request",
            "params": {"url": "http://v/", "method": "POST", "body": {"n": 1}},
        },
        {
            "id": "charge",
            "action": "http.request",
            "params": {"url": "http://pay/${{ context.validate.id }}"},
            "dependencies": ["validate"],
            "retryPolicy": {"maxAttempts": 3, "initialDelay": 60000},
        },
        {"id": "tell", "action": "noop", "dependencies": [{"step": "charge", "on": "failure"}]},
    ],
}


def write(name: str, value: Any) -> None:
    Path(name).write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
