"""How a run begins and ends: its main coroutine, and what its end is written down as."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from durable._author import outcomes
from durable._author.context import Context, Continue
from durable._author.definitions import Workflow
from durable._core.identity import next_seed
from durable._core.state import RunState
from durable._model.claims import Claim
from durable._model.commits import Continued, Ended, Then
from durable._model.ids import MessageId
from durable._model.messages import Message, MessageKind
from durable._model.retry import Failure, next_delay
from durable._model.runs import RunRecord, RunStatus
from durable.clock import Clock
from durable.codec import Codec, dump_error, error_line
from durable.codec.exceptions import line_of
from durable.errors import DurableError, InvalidInput, NotSerializable, PayloadTooLarge

__all__ = ["cancelled_outcome", "ending", "farewell", "program"]


def program(
    workflow: Workflow[..., Any], context: Context, codec: Codec, sealed: bytes
) -> Callable[[], Coroutine[Any, Any, Any]] | InvalidInput:
    """What ``RunState.start`` runs; an input that cannot be read is returned as its error."""
    try:
        args, kwargs = workflow.arguments.load(codec.open(sealed), f"input of workflow {workflow.name!r}")
    except InvalidInput as error:
        return error
    except Exception as error:
        return InvalidInput(f"The input of workflow {workflow.name!r} cannot be read: {error}")

    def start() -> Coroutine[Any, Any, Any]:
        return workflow.fn(context, *args, **kwargs)

    return start


def ending(state: RunState, claim: Claim, workflow: Workflow[..., Any], codec: Codec, clock: Clock) -> Then:
    """The last word about a run whose code has come to its end."""
    run = claim.run
    result, error = state.outcome()
    if isinstance(error, Continue) and state.cancel_cause is None:
        return _continued(error, claim.run, codec)
    closing = state.children_started > 0 or run.on_complete is not None or run.generation > 1

    def ended(status: RunStatus, outcome: bytes, line: str | None) -> Ended:
        return Ended(status, outcome, line, workflow.policy.retention.keep_seconds(status), closing)

    if state.cancel_cause == "cancel":
        reason = _reason(state, codec)
        return ended(RunStatus.CANCELLED, cancelled_outcome(codec, reason), line_of(reason))
    if state.cancel_cause == "timeout":
        error = _time_limit(workflow, error)
    if error is None:
        what = f"result of workflow {workflow.name!r}"
        try:
            raw, _ = workflow.arguments.result.round_trip(result, what)
            return ended(
                RunStatus.COMPLETED, codec.seal(outcomes.completed(raw), what, framing=len(outcomes.COMPLETED)), None
            )
        except (NotSerializable, PayloadTooLarge, InvalidInput) as problem:
            error = problem
    try:
        again = _again(state, claim, workflow, error, clock)
    except Exception as problem:  # the user's Retry(when=...) raised
        problem.__context__ = error
        error, again = problem, None
    if again is not None:
        return again
    raw_error = dump_error(error)
    line = type(error).__name__ if codec.hooked else error_line(raw_error)
    return ended(RunStatus.FAILED, codec.seal(outcomes.failed(raw_error), "a run's error"), line)


def _continued(order: Continue, run: RunRecord, codec: Codec) -> Continued:
    """The digest stays that of the start: said again after a lost answer, it is still the same start (I19)."""
    sealed = codec.seal(order.raw, f"input of workflow {order.workflow.name!r}")
    return Continued(order.workflow.name, order.workflow.version, sealed, run.digest, next_seed(run.seed))


def _again(
    state: RunState, claim: Claim, workflow: Workflow[..., Any], error: BaseException, clock: Clock
) -> Continued | None:
    """The workflow's own retry policy: the whole run anew, as the next generation."""
    run = claim.run
    policy = workflow.policy.retry
    if policy is None or isinstance(error, asyncio.CancelledError) or state.cancel_cause is not None:
        return None
    delay = next_delay(policy, error, Failure(run.tries + 1, max(0.0, state.now - run.created_at), clock.random()))
    if delay is None:
        return None
    return Continued(
        workflow.name, workflow.version, claim.input, run.digest, next_seed(run.seed), delay, run.tries + 1
    )


def _time_limit(workflow: Workflow[..., Any], error: BaseException | None) -> TimeoutError:
    limit = TimeoutError(
        f"workflow {workflow.name!r} took longer than its limit of {workflow.policy.timeout:g} seconds"
    )
    if error is not None and not isinstance(error, asyncio.CancelledError | Continue):
        limit.__cause__ = error
    return limit


def _reason(state: RunState, codec: Codec) -> str:
    try:
        return outcomes.reason_of(codec.open(state.cancel_payload))
    except (ValueError, DurableError):
        return ""


def cancelled_outcome(codec: Codec, reason: str) -> bytes:
    """The sealed outcome of a cancelled or terminated run."""
    return codec.seal(outcomes.cancelled(reason), "cancel reason")


def farewell(run: RunRecord, then: Then) -> tuple[Message, ...]:
    """The result message to a parent that awaits it, in the same commit as the end."""
    parent = run.parent
    if not isinstance(then, Ended) or parent is None or not parent.notify:
        return ()
    message_id = MessageId(f"result/{run.id}/{run.generation}")
    return (Message(parent.run, message_id, MessageKind.RESULT, parent.call, then.outcome, parent.generation),)
