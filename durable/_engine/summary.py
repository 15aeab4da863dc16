"""What a commit tells people: what the run waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from durable._author.calls import ChildSpec, StepSpec
from durable._core import plan
from durable._core.call import Call
from durable._core.state import RunState
from durable._model.commits import Blocked, Then
from durable._model.runs import Wait, WaitKind
from durable.codec import Codec, error_line

__all__ = ["waits_of"]


def waits_of(state: RunState, executing: Mapping[str, float], then: Then, codec: Codec) -> tuple[Wait, ...]:
    """The typed summary; with a codec hook, error texts stay sealed in the journal.

    Args:
        executing: Identity of each call with a running attempt, and when that began.
    """

    def error_text(payload: bytes) -> str | None:
        return None if codec.hooked else error_line(codec.open(payload))

    found = plan.waits(state, executing, _facts, error_text)
    if not isinstance(then, Blocked) or then.call is None:
        return found
    return tuple(replace(wait, kind=WaitKind.UNKNOWN, until=None) if wait.call == then.call else wait for wait in found)


def _facts(call: Call) -> plan.StepFacts:
    spec = call.spec
    if isinstance(spec, StepSpec):
        return plan.StepFacts(spec.policy.retry.max_attempts)
    if isinstance(spec, ChildSpec):
        return plan.StepFacts(None, spec.run.id)
    return plan.StepFacts(None)
