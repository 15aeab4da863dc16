"""Convex functions as ordinary steps: ``await ctx.step(convex.mutation("users:update"), {"id": id})``.

The step calls a public function of your app over HTTP from the worker, with retries, timeout and journal like any other
step's. Numbers come back as floats, as JavaScript has them; ``returns=`` makes the declared type of them.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, final, overload

from convex import ConvexError, ConvexInt64
from convex.values import coerce_args_to_convex, convex_to_json, json_to_convex
from pydantic import TypeAdapter

from durable import AsyncStep, Completion, Context, Retry, Workflow, idempotency_key, step, workflow
from durable.clock import SystemClock
from durable.errors import InvalidInput, OutcomeUnknown, StoreError
from durable_convex import url as _url
from durable_convex.failures import FunctionFailed
from durable_convex.grouping import text
from durable_convex.transport import Access, Kind, Transport

__all__ = [
    "ConvexError",
    "ConvexFunctionError",
    "ConvexUnavailable",
    "Functions",
    "action",
    "mutation",
    "on_complete",
    "query",
]

T = TypeVar("T")
Args = Mapping[str, Any]

_VARIABLES: Final = ("CONVEX_URL", "DURABLE_STORE")
_LINGER_SECONDS: Final = 10.0
_QUERY_SECONDS: Final = 30.0
_ACTION_SECONDS: Final = 11 * 60.0  # Convex ends an action after 10 minutes
_FOREVER: Final = Retry(None, initial=1.0, max_interval=300.0)


class ConvexFunctionError(Exception):
    """The function threw something that is no ``ConvexError``; production deployments do not tell what."""


class ConvexUnavailable(Exception):
    """The deployment could not be asked.

    Attributes:
        perhaps_done: Whether the function may have run all the same.
    """

    def __init__(self, message: str, *, perhaps_done: bool = False) -> None:
        super().__init__(message)
        self.perhaps_done = perhaps_done


@final
class Functions:
    """The public functions of one deployment.

    Args:
        url: ``https://NAME.convex.cloud``, or a store's URL. Default: ``CONVEX_URL`` in the environment, else
            ``DURABLE_STORE`` if that is a Convex store; read when the first function is called.
        identity: An async function that gives a fresh JWT for each call, for functions that check who calls.
        arguments: Given to every function, below the call's own: ``{"token": ...}`` for functions that ask for one.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        identity: Callable[[], Awaitable[str]] | None = None,
        arguments: Args | None = None,
    ) -> None:
        self._url = url
        self._access = Access(identity=identity)
        self._arguments = dict(arguments or {})
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}

    @overload
    def query(self, path: str, *, returns: type[T], **options: Any) -> AsyncStep[[Args], T]: ...
    @overload
    def query(self, path: str, **options: Any) -> AsyncStep[[Args], Any]: ...
    def query(self, path: str, *, returns: Any = Any, **options: Any) -> Any:
        """A step that reads, by ``module:name``.

        Args:
            returns: The type of its result.
            options: Those of ``durable.step``; ``retry=`` may also be True (``Retry()``) or False.
        """
        return self._step("query", path, returns, None, options)

    @overload
    def mutation(
        self, path: str, *, returns: type[T], key: str | None = None, **options: Any
    ) -> AsyncStep[[Args], T]: ...
    @overload
    def mutation(self, path: str, **options: Any) -> AsyncStep[[Args], Any]: ...
    def mutation(self, path: str, *, returns: Any = Any, key: str | None = None, **options: Any) -> Any:
        """A step that writes.

        Args:
            key: The argument in which the function is given this call's ``idempotency_key()``: the same over retries
                and crashes, so that it can tell a repeat and not do it twice.
        """
        return self._step("mutation", path, returns, key, options)

    @overload
    def action(
        self, path: str, *, returns: type[T], key: str | None = None, **options: Any
    ) -> AsyncStep[[Args], T]: ...
    @overload
    def action(self, path: str, **options: Any) -> AsyncStep[[Args], Any]: ...
    def action(self, path: str, *, returns: Any = Any, key: str | None = None, **options: Any) -> Any:
        """A step that calls the outside world from within Convex. It may take ten minutes."""
        return self._step("action", path, returns, key, options)

    def on_complete(self, path: str, **options: Any) -> Workflow[[Completion], None]:
        """A workflow for ``start(on_complete=...)`` that tells a mutation how a run has ended, until it has heard.

        The mutation is given ``{workflowId, workflow, result, context}``; ``result`` is ``{kind: "success",
        returnValue}``, ``{kind: "error", error}`` or ``{kind: "canceled", error?}``. Give the workflow to a worker:
        ``Worker(client, workflows=[order, told])``.

        Args:
            options: Those of ``mutation``. Default: retried for ever.
        """
        call = self.mutation(path, **{"retry": _FOREVER, **options})

        async def told(ctx: Context, completion: Completion) -> None:
            await ctx.step(call, _ended(completion))

        return workflow(f"on_complete {path}")(told)

    def _step(self, kind: Kind, path: str, returns: Any, key: str | None, options: dict[str, Any]) -> Any:
        check_path(path)
        retry = options.pop("retry", None)
        if isinstance(retry, bool):
            retry = Retry() if retry else None
        adapter = None if returns is Any else TypeAdapter(returns)

        async def call(args: Args) -> Any:
            given = {**self._arguments, **args}
            if key is not None:
                given[key] = idempotency_key()
            answer = await self.call(kind, path, given)
            return answer if adapter is None else adapter.validate_python(answer)

        call.__annotations__["return"] = returns
        call.__name__ = call.__qualname__ = path.rpartition(":")[2]
        return step(name=options.pop("name", path), retry=retry, **options)(call)

    async def call(self, kind: Kind, path: str, args: Args) -> Any:
        """Call a function, outside any step.

        Raises:
            ConvexError: It threw one; ``data`` is its data.
            ConvexFunctionError: It threw something else.
            ConvexUnavailable: It could not be asked.
            InvalidInput: Convex has no such values.
        """
        try:
            arguments = text(convex_to_json(coerce_args_to_convex(dict(args))))
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"The arguments of {path} cannot be given to Convex: {error}") from error
        seconds = _ACTION_SECONDS if kind == "action" else _QUERY_SECONDS
        async with self._line() as transport:
            try:
                answer = await transport.call(path, kind, arguments, seconds, repeatable=kind == "query")
            except FunctionFailed as error:
                if error.data is not None:
                    raise ConvexError(error.text, _plain(error.data)) from None
                raise ConvexFunctionError(str(error)) from None
            except StoreError as error:
                raise ConvexUnavailable(str(error), perhaps_done=isinstance(error, OutcomeUnknown)) from error
        return _plain(json_to_convex(answer))

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line(
                Transport(_url.parse(self._address()), self._access), lambda: self._lines.pop(loop, None)
            )
        return line

    def _address(self) -> str:
        chosen = self._url or next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
        if not chosen:
            raise InvalidInput(
                "No deployment is named: set CONVEX_URL to https://NAME.convex.cloud, or Functions(url)."
            )
        return f"convex+{chosen}" if chosen.startswith(("https://", "http://")) else chosen


@final
class _Line:
    """The connections of one event loop: kept while they are used, and a little longer."""

    def __init__(self, transport: Transport, gone: Callable[[], object]) -> None:
        self._transport = transport
        self._gone = gone
        self._clock = SystemClock()
        self._users = 0
        self._used_at = 0.0
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Transport:
        self._users += 1
        self._transport.open()
        if self._keeper is None:
            # In an empty context: it outlives the attempt that happens to be the first.
            keeping = asyncio.get_running_loop().create_task(self._keep(), context=contextvars.Context())
            self._keeper = keeping
        return self._transport

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        self._used_at = self._clock.monotonic()

    async def _keep(self) -> None:
        """Until nobody has used it for a while, or the loop ends, which cancels its tasks."""
        try:
            while self._users > 0 or self._clock.monotonic() - self._used_at < _LINGER_SECONDS:
                await self._clock.sleep(1.0)
        finally:
            self._gone()
            await self._transport.close()


def check_path(path: str) -> None:
    """Refuse what is no ``module:name``.

    Raises:
        InvalidInput: With what it looks like.
    """
    module, mark, name = path.partition(":")
    if not mark or not module or not name or not path.isascii() or not path.isprintable():
        raise InvalidInput(f"A Convex function is named like 'users:update' (module:name), not {path!r}.")


def _ended(completion: Completion) -> dict[str, Any]:
    result: dict[str, Any] = {"kind": completion.kind}
    if completion.kind == "success":
        result["returnValue"] = completion.result
    elif completion.error is not None:
        result["error"] = completion.error
    return {
        "workflowId": completion.run_id,
        "workflow": completion.workflow,
        "result": result,
        "context": completion.context,
    }


def _plain(value: Any) -> Any:
    """Without Convex's own integers, which a journal does not know."""
    if isinstance(value, ConvexInt64):
        return value.value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


_DEFAULT: Final = Functions()
query = _DEFAULT.query
mutation = _DEFAULT.mutation
action = _DEFAULT.action
on_complete = _DEFAULT.on_complete
