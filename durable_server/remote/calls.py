"""What the remote commands share: a client from the settings, runs by what people type, refusals as exit codes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from durable.cli.failures import Exit, Failure
from durable.cli.ids import LAST
from durable.cli.options import Settings
from durable_server.remote.client import ApiError, RemoteClient, Unreachable

Json = Any

__all__ = ["find", "remote"]

_CODES: Final = {401: Exit.UNAUTHORISED, 403: Exit.UNAUTHORISED, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
_TODO: Final = {
    401: "Give a token with --token or DURABLE_TOKEN; the server's operator makes one: durable tokens create NAME",
    404: "See what there is: durable runs list",
}


@contextmanager
def remote(settings: Settings) -> Generator[RemoteClient]:
    """A client of the server that the settings name; its errors become failures of the command."""
    url = settings.server_url
    assert url is not None
    timeout = 70.0 if settings.timeout is None else max(settings.timeout, 0.001)
    try:
        with RemoteClient(url, settings.server_token, timeout=timeout) as client:
            yield client
    except ApiError as error:
        more = "; ".join(f"{one['path']}: {one['message']}" for one in list(error.details)[1:4])
        todo = _TODO.get(error.status, more)
        raise Failure(str(error), todo, _CODES.get(error.status, _other(error.status))) from error
    except Unreachable as error:
        raise Failure(str(error), "Check --server (or DURABLE_SERVER), and that it runs.", Exit.UNREACHABLE) from error


def _other(status: int) -> Exit:
    return Exit.UNREACHABLE if status >= 500 or status == 429 else Exit.USAGE


def find(client: RemoteClient, asked: str) -> str:
    """The id of the run that ``asked`` means: a whole id, a unique prefix of one, or ``@last``."""
    if asked == LAST:
        newest, _ = client.executions(1)
        if not newest:
            raise Failure("There is no run yet.", "", Exit.NOT_FOUND)
        return str(newest[0]["executionId"])
    if asked == "":
        raise Failure("An empty ID means no run.", "Give an id, a unique prefix of one, or @last.")
    try:
        return str(client.get(asked)["executionId"])
    except ApiError as error:
        if error.status != 404:
            raise
    found, _ = client.executions(100, q=asked[:255])
    ids = [one["executionId"] for one in found if one["executionId"].startswith(asked)]
    if not ids:
        raise Failure(f"No run's id is or begins with {asked!r}.", _TODO[404], Exit.NOT_FOUND)
    if len(ids) > 1:
        some = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
        raise Failure(f"Several runs begin with {asked!r}: {some}", "Give more of the id.", Exit.USAGE)
    return str(ids[0])
