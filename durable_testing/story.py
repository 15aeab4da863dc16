"""A trace, told: one line for each thing that matters to somebody who reads why a simulation failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from durable._model.entries import (
    AttemptBegun,
    AttemptFailed,
    CancelAsked,
    Entry,
    NotDone,
    PatchMarked,
    Rebegun,
    Settled,
    decode_entry,
)
from durable.store import Commit, Committed, Running, Verdict, Waiting
from durable_testing.trace import Event, Trace

__all__ = ["described", "told"]

_LINES_MAX: Final = 60
_AROUND_A_FAULT: Final = 3


def told(trace: Trace, lines_max: int = _LINES_MAX) -> list[str]:
    """The story, oldest first; of a long one the beginning, the end, and what surrounds the faults."""
    if not trace.events:
        return []
    start = trace.events[0].at
    lines = [
        f"{event.at - start:>10.3f} s  {event.actor:<11} {said}" for event in trace for said in _lines(event, start)
    ]
    if len(lines) <= lines_max:
        return lines
    return list(_shortened(lines, lines_max))


def _shortened(lines: list[str], lines_max: int) -> Iterator[str]:
    """The beginning, the end, and what surrounds each fault."""
    head = lines_max // 3
    tail = lines_max - head
    kept = {*range(head), *range(len(lines) - tail, len(lines))}
    for number, line in enumerate(lines):
        if "*** fault" in line:
            kept.update(range(max(number - _AROUND_A_FAULT, 0), min(number + _AROUND_A_FAULT + 1, len(lines))))
    before = -1
    for number in sorted(kept):
        if number > before + 1:
            yield f"{'':>13} ... {number - before - 1} lines left out ..."
        yield lines[number]
        before = number


def _lines(event: Event, start: float) -> Iterator[str]:
    data = event.data
    match event.kind:
        case "effect":
            yield from _effect(data, start)
        case "end" if data["error"] is not None:
            yield f"op {data['op']} answers {data['error']}"
        case "step.begin":
            yield f"step {data['name']} of {data['run']} begins, attempt {data['attempt']}"
        case "step.end":
            yield f"step {data['name']} of {data['run']} " + (f"raises {data['error']}" if data["error"] else "returns")
        case "up":
            yield "starts"
        case "down":
            yield "is killed" if data["how"] == "kill" else "has stopped"
        case "stop":
            yield "stands still"
        case "cont":
            yield "goes on"
        case "fault":
            yield f"*** fault {data['what']} ***"
        case "jump":
            yield f"its clock jumps by {data['seconds']:g} s"
        case "evict" | "quiet":
            yield event.kind
        case _:
            pass


def _effect(data: dict[str, Any], start: float) -> Iterator[str]:
    op, asked, answer = data["op"], data["asked"], data["answer"]
    match data["method"]:
        case "create":
            for new, made in zip(asked[0], answer, strict=True):
                yield f"op {op}: start {new.id} ({new.workflow}): {made.outcome.value}"
        case "poll":
            for claim in answer.claims:
                run = claim.run
                yield f"op {op}: claims {run.id} (epoch {run.epoch}, {run.position} entries)"
            for lost in answer.lost:
                yield f"op {op}: hears that {lost} is lost"
        case "commit":
            for commit, said in zip(asked[0], answer, strict=True):
                yield f"op {op}: commit {_commit(commit, said, start)}"
        case "send":
            for message, sent in zip(asked[0], answer, strict=True):
                yield f"op {op}: {message.kind.value} {message.name} to {message.run}: {sent.value}"
        case "control":
            for control, done in zip(asked[0], answer, strict=True):
                yield f"op {op}: {type(control.verb).__name__.lower()} {control.run}: {done.outcome.value}"
        case _:
            pass


def described(method: str, asked: tuple[Any, ...]) -> list[str]:
    """What an operation asks for, where that is worth a word."""
    match method:
        case "commit":
            return [_commit(commit, None, None) for commit in asked[0]]
        case "create":
            return [f"start {new.id}" for new in asked[0]]
        case "send":
            return [f"{message.kind.value} {message.name} to {message.run}" for message in asked[0]]
        case "control":
            return [f"{type(control.verb).__name__.lower()} {control.run}" for control in asked[0]]
        case _:
            return []


def _commit(commit: Commit, answer: Committed | None, start: float | None) -> str:
    parts = [_entry(decode_entry(data)) for data in commit.append]
    if not isinstance(commit.then, Running):
        then = type(commit.then).__name__.lower()
        wake = commit.then.wake_at if isinstance(commit.then, Waiting) else None
        parts.append(then + (f" until {wake - start:.3f} s" if wake is not None and start is not None else ""))
    said = "" if answer is None or answer.verdict is Verdict.APPLIED else f" -> {answer.verdict.value}"
    return f"{commit.run}: {', '.join(parts) or 'nothing new'}{said}"


def _entry(entry: Entry) -> str:
    match entry:
        case Settled():
            return f"{entry.call} {'done' if entry.ok else 'failed'}"
        case AttemptBegun():
            return f"{entry.call} attempt {entry.attempt} begun"
        case AttemptFailed():
            return f"{entry.call} attempt {entry.attempt} failed"
        case CancelAsked():
            return "cancel asked"
        case NotDone():
            return f"{entry.call} not done"
        case PatchMarked():
            return f"patch {entry.change}"
        case Rebegun():
            return "begun again"
