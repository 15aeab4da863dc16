"""What a commit tells people: what the run waits for, and the recorded arguments of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from durable._author.calls import ChildSpec, StepSpec
from durable._author.definitions import LIST_BYTES
from durable._core import plan
from durable._core.call import Call
from durable._core.state import RunState
from durable._model.commits import Blocked, Part, Then
from durable._model.entries import CallKind, Entry, Settled
from durable._model.runs import Wait, WaitKind
from durable.codec import Codec, error_line
from durable.errors import PayloadTooLarge

__all__ = ["recorded", "waits_of"]


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


def recorded(state: RunState, entries: Sequence[Entry], codec: Codec) -> tuple[Part, ...]:
    """Arguments of settled steps that are declared ``record_input=True``, by their fingerprint.

    Those over the limit are left out: the step has failed for it, or began under another limit.
    """
    parts: dict[str, Part] = {}
    for entry in entries:
        call = state.calls.get(entry.call) if isinstance(entry, Settled) and entry.kind is CallKind.STEP else None
        if call is not None and call.spec.policy.record_input and call.raw is not None:
            try:
                sealed = codec.seal(call.raw, f"arguments of step {call.name!r}", framing=LIST_BYTES)
            except PayloadTooLarge:
                continue
            parts[call.fingerprint] = Part(call.fingerprint, sealed)
    return tuple(parts.values())


def _facts(call: Call) -> plan.StepFacts:
    spec = call.spec
    if isinstance(spec, StepSpec):
        return plan.StepFacts(spec.policy.retry.max_attempts)
    if isinstance(spec, ChildSpec):
        return plan.StepFacts(None, spec.run.id)
    return plan.StepFacts(None)
