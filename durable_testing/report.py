"""What a person needs to see of a failing trial."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from durable.store import Blocked
from durable_testing.faults import MEANINGS
from durable_testing.places import raised_at
from durable_testing.sim import START, code_of
from durable_testing.story import described, told
from durable_testing.trial import Setting, Trial

__all__ = ["fault_told", "report"]

_VIOLATIONS_MAX = 10


def report(trial: Trial, headline: str) -> str:
    """The headline, what is wrong, the schedule, the story, and the lines that repeat it."""
    schedule = trial.schedule
    faults = [f"  {fault_told(trial, number)}" for number in range(len(schedule.faults))]
    workers = f"{schedule.workers} worker{'s' if schedule.workers > 1 else ''}, seed {schedule.seed}"
    story = told(trial.trace)
    return "\n".join(
        [
            headline,
            "",
            *(f"  {line}" for text in _wrong(trial) for line in text.splitlines()),
            "",
            f"The schedule: {workers}, {'and' if faults else 'no fault.'}",
            *faults,
            *(["", "What happened:", *story] if story else []),
            "",
            "To repeat it:",
            *_again(trial),
        ]
    )


def _wrong(trial: Trial) -> Iterator[str]:
    if trial.error is not None:
        said = str(trial.error)
        yield f"{type(trial.error).__name__}{': ' if said else ''}{said}"
        place = "" if trial.setting is None else raised_at(trial.error, trial.setting.scenario)
        if place:
            yield f"at {place}"
    if trial.waits_at:
        yield f"The scenario waits at {trial.waits_at}"
    yield from map(str, trial.violations[:_VIOLATIONS_MAX])
    if len(trial.violations) > _VIOLATIONS_MAX:
        yield f"... and {len(trial.violations) - _VIOLATIONS_MAX} more"
    for name in _blocked(trial):
        yield f"If {name} is still the same code, it is not deterministic: check_determinism({name}, ...) says why."


def _blocked(trial: Trial) -> list[str]:
    """Names of workflows of which a run was blocked because it did not do what its journal says."""
    names: dict[str, str] = {}
    blocked: dict[str, None] = {}
    for event in trial.trace.of("effect"):
        if event.data["method"] == "create":
            names.update((new.id, new.workflow) for new in event.data["asked"][0])
        if event.data["method"] == "commit":
            for commit in event.data["asked"][0]:
                if isinstance(commit.then, Blocked) and commit.then.kind == "non_determinism":
                    blocked[names[commit.run] if commit.run in names else str(commit.run)] = None
    return list(blocked)


def fault_told(trial: Trial, number: int) -> str:
    """One fault of the schedule: its text, what it means, and what it struck."""
    fault = trial.schedule.faults[number]
    asked = next((e for e in trial.trace if e.kind == "begin" and e.data["op"] == fault.at), None)
    if asked is None:
        where = "which was never reached"
    else:
        said = "; ".join(described(asked.data["method"], asked.data["asked"]))
        where = f"{asked.data['method']} by {asked.actor}{': ' if said else ''}{said}"
    return f"{fault}: at store operation {fault.at} ({where}), {MEANINGS[fault.kind]}"


def _again(trial: Trial) -> Iterator[str]:
    if trial.setting is not None:
        yield f'    await replay({", ".join(_arguments(trial.setting))}, schedule="{trial.schedule}")'
    node = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    if node:
        yield f"    pytest '{node}' --durable-seed='{trial.schedule}'"


def _arguments(setting: Setting) -> Iterator[str]:
    """What ``replay`` must be given, so that it makes the same world."""
    code, later = setting.code, setting.redeployed
    yield getattr(setting.scenario, "__name__", "scenario")
    yield f"workflows={_names(code.workflows)}"
    if code.steps:
        yield f"steps={_names(code.steps)}"
    if later is not None:
        yield f"redeployed={_names(later.workflows)}"
    if setting.start != START.timestamp():
        yield f"at=datetime.fromisoformat('{datetime.fromtimestamp(setting.start, UTC).isoformat()}')"
    if callable(setting.url):
        yield f"store={getattr(setting.url, '__name__', '...')}"
    elif setting.url != "memory://":
        yield f"store={setting.url!r}"
    usual = code_of(code.workflows, code.steps, None, None).options
    if code.options.get("queues") != usual["queues"]:
        yield f"queues={code.options.get('queues')!r}"
    others = {name: value for name, value in code.options.items() if name != "queues"}
    if others:
        yield f"worker_options={others!r}"


def _names(functions: Any) -> str:
    return f"[{', '.join(function.__name__ for function in functions)}]"
