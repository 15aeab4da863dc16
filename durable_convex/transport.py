"""One kept-alive HTTP session to a deployment: calls functions, and says again what may be said again.

Each call carries what makes it safe to repeat (ids, epochs, poll ids), so a lost answer, a full queue and a conflict
that the deployment gave up on are all met with the same words again, after a random wait, until patience is over.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import aiohttp
import convex
from convex.values import json_to_convex

from durable.clock import Clock, SystemClock
from durable.errors import DurableError, StoreError, Transient
from durable_convex import failures
from durable_convex.failures import FunctionFailed, Trouble
from durable_convex.url import Secret, Target, token_of

__all__ = ["Access", "Kind", "Transport"]

_log = logging.getLogger("durable.convex")

Kind = Literal["query", "mutation", "action"]

PATIENCE_SECONDS: Final = 8.0
ANSWER_SECONDS: Final = 30.0  # a function has 15 s for its reads and 5 s for its place in the queue
_CONNECT_SECONDS: Final = 5.0
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0
_CONNECTIONS: Final = 32
_BODY_BYTES: Final = 1024 * 1024
_FUNCTION_FAILED: Final = 560  # the status of an answer that says how the function failed


@dataclass(frozen=True, slots=True)
class Access:
    """Who we are to the deployment.

    Attributes:
        secret: The shared token, an argument of each of the component's functions.
        identity: An async function that gives a fresh JWT for each call, for deployments that check identities.
    """

    secret: Secret | None = None
    identity: Callable[[], Awaitable[str]] | None = None

    async def token(self) -> str:
        """The shared token as it is now.

        Raises:
            Transient: It could not be fetched.
        """
        try:
            return await token_of(self.secret)
        except Exception as error:
            raise Transient(f"The token for Convex could not be fetched: {error!r}.") from error

    async def jwt(self) -> str | None:
        """A JWT for one call.

        Raises:
            Transient: It could not be fetched.
        """
        if self.identity is None:
            return None
        try:
            return (await self.identity()).strip()  # a header cannot hold the line break of the file it was in
        except Exception as error:
            raise Transient(f"The identity for Convex could not be fetched: {error!r}.") from error


@final
class Transport:
    """Calls the functions of one deployment, from one event loop.

    Args:
        store_clock: Given in tests: its time is said with each call, and a stand-in for Convex believes it. A real
            deployment has its own clock. Waiting for the network is always done in real time.
    """

    def __init__(self, target: Target, access: Access, store_clock: Clock | None = None) -> None:
        self.target = target
        self.access = access
        self._store_clock = None if isinstance(store_clock, SystemClock) else store_clock
        self._clock: Clock = SystemClock()
        self._session: aiohttp.ClientSession | None = None
        self.patience_seconds = PATIENCE_SECONDS

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Be ready to call from the running loop; nothing is sent yet."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=60.0),
                headers={"Convex-Client": f"python-{convex.__version__}", "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=_CONNECT_SECONDS),
                trust_env=True,
            )

    async def close(self) -> None:
        """Cut every connection. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For the subscription, which uses the same proxies and resolver.

        Raises:
            StoreError: It is not open.
        """
        if self._session is None:
            raise StoreError("This store is not open.")
        return self._session

    async def headers(self) -> dict[str, str]:
        """Those that differ from call to call."""
        headers: dict[str, str] = {}
        jwt = await self.access.jwt()
        if jwt is not None:
            headers["Authorization"] = f"Bearer {jwt}"
        if self._store_clock is not None:
            headers["Standin-Now"] = repr(self._store_clock.now() * 1000.0)
        return headers

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, function: str, kind: Kind, rest: str) -> Any:
        """Call one of the component's functions.

        Args:
            function: ``info``, ``sync``, ``read``.
            rest: Further arguments as JSON text after the token: empty, or like ``,"ops":[...]``.

        Returns:
            The answer as Convex's JSON, numbers as floats.

        Raises:
            Refusal: The token or the protocol is not the component's.
            FunctionFailed: It threw; nothing was written.
            Transient, OutcomeUnknown: See ``failures``.
        """
        path = f"{self.target.functions}:{function}"
        token = await self.access.token()
        try:
            return await self.call(path, kind, f'{{"token":{json.dumps(token)}{rest}}}')
        except FunctionFailed as failed:
            refused = failures.refusal(failed, self.target.base)
            told = FunctionFailed(path, failures.masked(failed.text, token), failed.data)
            raise (told if refused is None else refused) from None

    async def call(
        self, path: str, kind: Kind, arguments: str, seconds: float | None = None, *, repeatable: bool = True
    ) -> Any:
        """Call a function, again and again while that may help and patience lasts.

        Args:
            path: ``module:name``.
            arguments: An object, as Convex's JSON text.
            seconds: For one try; default 30.
            repeatable: Whether it may be said again when it may have been done.

        Raises:
            FunctionFailed, Transient, OutcomeUnknown, InvalidInput, PayloadTooLarge: See ``failures``.
        """
        body = f'{{"path":{json.dumps(path)},"format":"convex_encoded_json","args":{arguments}}}'.encode()
        began, ceiling, ever_done = self._clock.monotonic(), _FIRST_WAIT_SECONDS, False
        while True:
            answer = await self._try(path, kind, body, seconds)
            if not isinstance(answer, Trouble):
                return answer[0]
            ever_done = ever_done or answer.done
            wait = self._clock.random() * ceiling if answer.wait_seconds is None else answer.wait_seconds
            ceiling = min(2 * ceiling, _LONGEST_WAIT_SECONDS)
            late = self._clock.monotonic() + wait - began > self.patience_seconds
            if late or not answer.again or (answer.done and not repeatable):
                raise answer.error(self.target.base, writes=kind != "query", ever_done=ever_done)
            _log.debug("%s is said again in %.2f s: %s", path, wait, answer.words)
            await self._clock.sleep(wait)

    async def _try(self, path: str, kind: Kind, body: bytes, seconds: float | None) -> tuple[Any] | Trouble:
        """One request: the function's answer, or what went wrong on the way."""
        timeout = aiohttp.ClientTimeout(total=seconds or ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        headers = await self.headers()
        try:
            async with self.session.post(
                f"{self.target.base}/api/{kind}",
                data=_sent(body),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,  # the token is in the body, and would go along
            ) as response:
                raw = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return failures.unreached(error)
        except aiohttp.InvalidURL as error:
            raise StoreError(f"{self.target.base} is not an address: {error}.") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return failures.cut(error)
        said = _parsed(raw)
        if status not in (200, _FUNCTION_FAILED):
            code, message = said.get("code"), said.get("message")
            if not isinstance(message, str):
                message = raw[:200].decode(errors="replace")
            return failures.trouble(status, code if isinstance(code, str) else "", message, retry_after)
        return _answer(path, said, self.target.base)


def _sent(body: bytes) -> bytes | io.BytesIO:
    """A body over a MiB is read bit by bit, so that the loop is not held up by it."""
    return body if len(body) <= _BODY_BYTES else io.BytesIO(body)


def _parsed(raw: bytes) -> dict[str, Any]:
    """The body as an object; an empty one if it is something else."""
    try:
        said = json.loads(raw, parse_int=float)  # JavaScript has one kind of number
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _answer(path: str, said: dict[str, Any], base: str) -> tuple[Any] | Trouble:
    for line in said.get("logLines") or ():
        _log.debug("%s: %s", path, line)
    match said.get("status"):
        case "success":
            return (said.get("value"),)
        case "error":
            data = json_to_convex(said["errorData"]) if said.get("errorData") is not None else None
            raise FunctionFailed(path, str(said.get("errorMessage", "no reason given")), data)
        case _:
            return failures.cut(DurableError("what answered is not Convex"))
