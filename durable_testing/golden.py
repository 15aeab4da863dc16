"""Golden journals: runs of before, kept in a file, that the code of today must still replay.

``record`` copies a run out of a store; ``replay`` holds today's code against the file, in any later test run.

Format 1, JSON lines, UTF-8. A run is a header and as many entry lines as its ``entries`` says; a file may hold several.
Header: ``golden`` (1), ``run``, ``workflow``, ``version``, ``generation``, ``status``, ``seed``, ``created_at``,
``started_at``, ``at`` (seconds since the epoch), ``flushed`` (two numbers), ``queue``, ``priority``, ``forked``,
``waits`` (kind, name, identity of each), ``input``, ``outcome`` (of an ended run, else null), ``entries``. Entry:
``at``, ``entry``. Stored bytes (``input``, ``outcome``, ``entry``) are a text if they are UTF-8, else
``{"base64": ...}``. Unknown keys are ignored, so later versions may add some; those named here stay as they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from durable._author import outcomes
from durable._author.definitions import Step, Workflow
from durable._author.registry import Registry
from durable._engine.client import Client
from durable._engine.rehearsal import Fit, Rehearsal, rehearse
from durable._engine.survey import Copy, Survey
from durable._engine.takeup import FORK_LABEL
from durable._model.ids import RunId
from durable._model.runs import RunRecord, RunStatus, Wait, WaitKind
from durable.clock import SystemClock
from durable.codec import Codec, PayloadHook
from durable.errors import Corrupt, InvalidInput, RunNotFound
from durable.store import Store

__all__ = ["Golden", "GoldenMismatch", "load", "record", "replay"]

_FORMAT: Final = 1


class GoldenMismatch(AssertionError):
    """Today's code does not do what a golden journal says.

    Attributes:
        mismatches: One report for each run that does not replay.
    """

    def __init__(self, message: str, mismatches: tuple[Rehearsal, ...]) -> None:
        super().__init__(message)
        self.mismatches = mismatches


@dataclass(frozen=True, slots=True)
class Golden:
    """One recorded run.

    Attributes:
        copy: The run as it was.
        outcome: Sealed; None if it had not ended.
    """

    copy: Copy
    outcome: bytes | None


async def record(store: Store | Client, run: str, path: str | Path, *, append: bool = False) -> Golden:
    """Copy a run's journal into a file; the run may be open or ended, and may go on meanwhile.

    Payloads are written as they are stored: what a payload hook has encrypted stays encrypted, and ``replay`` needs the
    hook. Everything else is customers' data in plain text; look before you commit it.

    Args:
        append: To what the file has; else it is written anew.

    Raises:
        RunNotFound: There is no such run.
        InvalidInput: It is a retry or fork that no worker has carried out yet.
    """
    opened = store.store if isinstance(store, Client) else store
    row = (await opened.get([RunId(run)]))[0]
    copy = None if row is None else await Survey(opened, Registry(), Codec(), SystemClock()).copy(row)
    if copy is None:
        raise RunNotFound(f"There is no run {run!r} in this store.", run)
    if copy.run.rewind is not None:
        raise InvalidInput(f"Run {run} is a retry or fork that has not been carried out yet; record it later.")
    found = Golden(copy, await opened.outcome(RunId(run)) if copy.run.ended else None)
    lines = [_header(found), *({"at": at, "entry": _packed(data)} for data, at in copy.rows)]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    with Path(path).open("a" if append else "w", encoding="utf-8") as file:
        file.write(text)
    return found


def load(path: str | Path) -> Iterator[Golden]:
    """The runs of a file, in order.

    Raises:
        Corrupt: It is not a file of golden journals, or of a newer format.
    """
    with Path(path).open(encoding="utf-8") as file:
        lines = enumerate(file, 1)
        for number, line in lines:
            try:
                header = json.loads(line)
                if header["golden"] != _FORMAT:
                    raise Corrupt(f"{path}:{number}: golden format {header['golden']!r}; this version reads {_FORMAT}.")
                rows = []
                for _ in range(header["entries"]):
                    number, line = next(lines)
                    entry = json.loads(line)
                    rows.append((_unpacked(entry["entry"]), float(entry["at"])))
                yield _golden(header, rows)
            except (ValueError, KeyError, TypeError, StopIteration) as error:
                raise Corrupt(f"{path}:{number}: not a golden journal: {type(error).__name__}: {error}") from error


def replay(
    path: str | Path,
    workflows: Sequence[Workflow[..., Any]],
    *,
    steps: Sequence[Step[..., Any]] = (),
    codec: PayloadHook | None = None,
) -> list[Rehearsal]:
    """Replay every run of a file; no step runs.

    An open run must wait for what it waited for, an ended one must end as it did: with the same result, or an exception
    of the same class. A run that was cancelled or terminated must only not conflict.

    Args:
        workflows: The code of today.
        steps: Steps with ``queue=``, whose own runs are in the file.

    Returns:
        One report per run, for those who want to look closer.

    Raises:
        GoldenMismatch: An ``AssertionError``: with what each run does instead.
        Corrupt: The file cannot be read.
    """
    registry = Registry()
    for workflow in workflows:
        registry.add(workflow)
    for step in steps:
        registry.add_step(step)
    found: list[Rehearsal] = []
    wrong: list[tuple[Rehearsal, str]] = []
    for golden in load(path):
        report, why = _replayed(golden, registry, Codec(hook=codec))
        found.append(report)
        if why is not None:
            wrong.append((report, why))
    if wrong:
        said = "\n".join(f"  run {report.run} of {report.workflow}: {why}" for report, why in wrong)
        message = f"{len(wrong)} of {len(found)} golden journals of {path} do not replay:\n{said}"
        raise GoldenMismatch(message, tuple(report for report, _ in wrong))
    return found


def _replayed(golden: Golden, registry: Registry, codec: Codec) -> tuple[Rehearsal, str | None]:
    """(the report, why it is not as it was; None if it is)."""
    run = golden.copy.run
    workflow = registry.get(run.workflow, run.version)
    if workflow is None:
        why = f"no workflow {run.workflow!r} version {run.version!r} was given"
        report = Rehearsal(run.id, run.workflow, run.version, run.generation, run.status.value, Fit.NO_CODE, reason=why)
        return report, why
    acts = rehearse(run, workflow, codec, golden.copy.sealed, golden.copy.rows)
    while True:
        try:
            next(acts)
        except StopIteration as end:
            report = end.value
            break
    if not report.fit.goes_on:
        return report, report.reason
    if report.fit is not Fit.UNCHANGED:
        gained = [f"makes {call.kind} {call.name!r} ({call.place})" for call in report.gains]
        return report, ", ".join([*gained, *(f"no longer wants {name}" for name in report.drops)])
    before = None if golden.outcome is None else _end_of(codec.open(golden.outcome))
    if before is not None and before != report.end:
        return report, f"it {before} then, and now it {report.end or 'goes on'}"
    return report, None


def _end_of(raw: bytes) -> str | None:
    """As ``Rehearsal.end`` says it; None for a run that was ended from outside."""
    kind, rest = outcomes.read(raw)
    if kind == "cancelled":
        return None
    if kind == "completed":
        return f"returns {rest.decode(errors='replace')}"
    name = str(json.loads(rest).get("type", "")).rpartition(":")[2].rpartition(".")[2]
    return f"raises {name}"


# ── the format ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _header(golden: Golden) -> dict[str, Any]:
    run = golden.copy.run
    return {
        "golden": _FORMAT,
        "run": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "generation": run.generation,
        "status": run.status.value,
        "seed": run.seed,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "at": run.at,
        "flushed": list(run.flushed),
        "queue": run.queue,
        "priority": run.priority,
        "forked": FORK_LABEL in run.labels,
        "waits": [[wait.kind.value, wait.name, wait.call] for wait in run.waits],
        "input": _packed(golden.copy.sealed),
        "outcome": None if golden.outcome is None else _packed(golden.outcome),
        "entries": len(golden.copy.rows),
    }


def _golden(header: dict[str, Any], rows: list[tuple[bytes, float]]) -> Golden:
    status = RunStatus(header["status"])
    run = RunRecord(
        id=RunId(header["run"]),
        workflow=header["workflow"],
        version=header["version"],
        queue=header["queue"],
        priority=header["priority"],
        status=status,
        generation=header["generation"],
        epoch=1,
        position=len(rows),
        flushed=(header["flushed"][0], header["flushed"][1]),
        strikes=0,
        tries=0,
        seed=header["seed"],
        digest="",
        created_at=header["created_at"],
        started_at=header["started_at"],
        at=header["at"],
        ended_at=None,
        due_at=None,
        owner=None,
        labels={FORK_LABEL: ""} if header["forked"] else {},
        parent=None,
        on_complete=None,
        waits=tuple(Wait(WaitKind(kind), name, call, 0.0) for kind, name, call in header["waits"]),
        blocked=None,
        blocked_kind=None,
        blocked_call=None,
        error=None,
        terminated=False,
        closing=False,
        rewind=None,
    )
    outcome = header["outcome"]
    return Golden(Copy(run, _unpacked(header["input"]), rows), None if outcome is None else _unpacked(outcome))


def _packed(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _unpacked(value: str | dict[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"], validate=True)
