"""One delivery of a webhook: a run with one step, tried for days; if it fails for good, it is a dead letter.

A failed run stays in the store, is listed like any other, and is sent again with ``retry``. The status of the run that
it tells of never depends on it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from durable import Context, Retry, Secret
from durable.errors import NonRetryable
from durable_dag.egress.messages import Outbound, Request
from durable_dag.errors import EndpointGone, HttpStatusError, StepFailure
from durable_dag.executors.http import raise_for_status
from durable_dag.executors.perform import Secrets
from durable_dag.scheduling.commands import Late
from durable_dag.scheduling.scope import filled
from durable_dag.signing import signed_headers

Json: TypeAlias = Any

__all__ = ["SCHEDULE_SECONDS", "Gone", "deliver", "endpoint_key"]

_MINUTE, _HOUR = 60.0, 3600.0
# The schedule that Standard Webhooks 1.0 recommends: the first at once, the last about three days later.
SCHEDULE_SECONDS: Final = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
TIMEOUT_SECONDS: Final = 15.0
STEP: Final = "send"


def endpoint_key(request: Mapping[str, Json]) -> str:
    """By which an endpoint that wants no more is remembered: its URL as it is written, which names secrets only."""
    url = str((request.get("target") or {}).get("url", ""))
    late = [one for one in request.get("late") or () if list(one["path"]) == ["url"]]
    return hashlib.sha256((json.dumps([url, late]) if late else url).encode()).hexdigest()


class Gone:
    """Which endpoints have said 410, as the store remembers it.

    Args:
        get: Whether a digest is remembered.
        put: Remember one.
    """

    def __init__(self, get: Callable[[str], Awaitable[bool]], put: Callable[[str], Awaitable[None]]) -> None:
        self.get = get
        self.put = put


async def deliver(
    ctx: Context, request: dict[str, Json], outbound: Outbound, secrets: Secrets, gone: Gone, now: Callable[[], float]
) -> Json:
    """Carry one delivery out.

    Args:
        request: As ``Deliveries`` makes them.
    """

    id = "msg_" + hashlib.sha256(ctx.run_id.encode()).hexdigest()[:32]  # no dots: they divide what is signed

    async def send() -> Json:
        return await _send(id, request, outbound, secrets, gone, now)

    attempts = request.get("maxAttempts") or len(SCHEDULE_SECONDS) + 1
    return await ctx.step(STEP, send, retry=_schedule(int(attempts), ctx.run_id), timeout=TIMEOUT_SECONDS + 5)


def _schedule(attempts: int, seed: str) -> Retry:
    def when(error: BaseException, attempt: int) -> bool | float:
        if isinstance(error, NonRetryable):
            return False
        delay = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
        delay *= 1 + 0.1 * random.Random(f"{seed}/{attempt}").uniform(0, 1)
        asked = error.retry_after if isinstance(error, HttpStatusError) else None
        return delay if asked is None else max(delay, min(asked, 24 * _HOUR))

    return Retry(attempts, when=when)


async def _send(
    id: str,
    request: Mapping[str, Json],
    outbound: Outbound,
    secrets: Secrets,
    gone: Gone,
    now: Callable[[], float],
) -> Json:
    late = tuple(
        Late(tuple(one["path"]), tuple(part if isinstance(part, str) else tuple(part) for part in one["parts"]))
        for one in request["late"]
    )
    target = filled(request["target"], late, lambda way: _secret(way, secrets))
    if target.get("problem"):
        raise StepFailure(str(target["problem"]))
    url = str(target["url"])
    digest = endpoint_key(request)
    if await gone.get(digest):
        raise EndpointGone("the endpoint has answered 410 before: it wants no more deliveries")
    body = json.dumps(request["payload"], ensure_ascii=False, separators=(",", ":")).encode()
    headers = {name.lower(): str(text) for name, text in (target.get("headers") or {}).items()}
    headers |= {"content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(int(now()))}
    if target.get("secret"):
        headers |= signed_headers(str(target["secret"]), id, int(now()), body)
    answer = await outbound.send(Request("POST", url, headers, body, TIMEOUT_SECONDS))
    if answer.status == 410:
        await gone.put(digest)
        raise EndpointGone("the endpoint has answered 410: it wants no more deliveries")
    if not 200 <= answer.status < 300:
        raise_for_status(url, "POST", answer, now())
    return {"status": answer.status, "sent": True}


def _secret(way: tuple[str, ...], secrets: Secrets) -> str:
    secret = secrets.get(way[1]) if len(way) == 2 else None
    if secret is None:
        raise StepFailure(f"There is no secret {'.'.join(way[1:])!r} in this process; give it: Engine(secrets=...).")
    return secret.reveal() if isinstance(secret, Secret) else Secret(secret).reveal()
