"""What can be done to one execution, whatever it is a run of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durable import StepError
from durable.store import RunRecord, RunStatus
from durable_server import codefirst
from durable_server.definitions import Definitions
from durable_server.problems import Problem
from durable_server.server import Server
from durable_server.showing import is_dag

Json = Any

__all__ = ["cancel", "fork", "retry", "settle"]


async def cancel(server: Server, run: RunRecord, reason: str, mode: str) -> bool:
    """Ask it to end, or end it now; False if it has been cancelled already.

    Raises:
        RunEnded: It has completed or failed.
    """
    layer, handle = _layer(server, run), server.client.handle(run.id)
    if run.status is RunStatus.CANCELLED:
        if layer is not None:
            await layer.tell_last(run)
        return False
    if layer is not None:
        await (layer.terminate if mode == "now" else layer.cancel)(run, reason)
    elif mode == "now":
        await handle.terminate(reason)
    else:
        await handle.cancel(reason)
    return True


async def retry(server: Server, run: RunRecord, steps: Sequence[str] | None, context: Mapping[str, Json]) -> None:
    """Do again what failed, or these steps and what follows.

    Raises:
        RunConflict: It has not ended.
        Problem: 400, a run of code cannot be retried like this.
    """
    layer = _layer(server, run)
    if layer is not None:
        await layer.retry(run, steps, context)
        return
    if context:
        raise Problem(400, "invalid_input", "A run of code is retried with the input that it has; fork or start anew.")
    if steps is not None and len(steps) != 1:
        raise Problem(400, "invalid_input", "A run of code is cut at one step.")
    await server.client.handle(run.id).retry(from_step=None if steps is None else await _name(server, run, steps[0]))


async def fork(
    server: Server, run: RunRecord, step: str, context: Mapping[str, Json], version: int | None, id: str | None
) -> str:
    """A new execution that keeps what came before a step; its id."""
    layer = _layer(server, run)
    if layer is not None:
        return await layer.fork(run, step, context, version, id)
    if context or version is not None:
        raise Problem(400, "invalid_input", "A fork of a run of code has its input and its version.")
    handle = await server.client.handle(run.id).fork(at=await _name(server, run, step), id=id)
    return handle.id


async def settle(server: Server, run: RunRecord, step: str, verb: str, value: Json, once: str | None) -> None:
    """Say what became of a step that cannot go on by itself.

    Raises:
        InvalidInput: The run does not wait for that.
        Problem: 400, a step of code cannot be skipped.
    """
    layer = _layer(server, run)
    if layer is not None and verb != "not-done":
        await layer.settle(run, step, verb, value, once)
        return
    handle = server.client.handle(run.id)
    call = await _name(server, run, step)
    match verb:
        case "complete":
            await handle.settle(call, result=value)
        case "fail":
            await handle.settle(call, error=StepError(value if isinstance(value, str) else value["message"]))
        case "not-done":
            await handle.settle(call, not_done=True)
        case _:
            raise Problem(400, "invalid_input", "A step of code cannot be skipped: complete, fail or not-done.")


def _layer(server: Server, run: RunRecord) -> Definitions | None:
    return server.definitions if is_dag(server, run) else None


async def _name(server: Server, run: RunRecord, step: str) -> str:
    """The identity of the call that the API calls so; the text itself if there is none (the engine says so then)."""
    found = (await codefirst.read_calls(server.client, run)).find(step)
    return step if found is None else found[1].call
