"""``durable dag diff``: what has changed between two definitions, by step and line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import click

from durable.cli.failures import Exit
from durable.cli.ink import Meaning
from durable.cli.options import Command, Settings, settings_of
from durable.cli.output import Printer
from durable.cli.text import safe
from durable_dag.cli.documents import looks_like_file
from durable_dag.cli.sources import Source, from_file, from_store

Json: TypeAlias = Any

__all__ = ["asked_versions", "diff", "difference", "tell_difference"]


@click.command(cls=Command)
@click.argument("workflow_id", metavar="ID")
@click.argument("old", metavar="N|FILE")
@click.argument("new", metavar="[N|FILE]", required=False)
@click.pass_context
def diff(ctx: click.Context, *, workflow_id: str, old: str, new: str | None) -> int:
    """Compare two versions of a definition, or a version with a file; exit code 1 if they are different.

    `diff ID 1 2` compares versions 1 and 2, `diff ID 1` version 1 and the newest, `diff ID FILE` the newest and what
    would be registered with FILE, `diff ID 1 FILE` version 1 and FILE.
    """
    settings = settings_of(ctx)
    before, after = asked_versions(old, new)
    numbers = [one for one in (before, after) if not isinstance(one, str)]
    kept = iter(from_store(settings, workflow_id, *numbers))
    sources = [from_file(one) if isinstance(one, str) else next(kept) for one in (before, after)]
    return tell_difference(settings, sources[0], sources[1])


def asked_versions(old: str, new: str | None) -> tuple[int | str | None, int | str | None]:
    """Both sides: a version's number, None for the newest, or a file's name."""
    first = _side(old)
    if new is not None:
        return first, _side(new)
    return (first, None) if isinstance(first, int) else (None, first)


def _side(text: str) -> int | str:
    if text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0:
        return int(text)
    if looks_like_file(text):
        return text
    raise click.BadParameter(f"{text!r} is neither a version's number nor a file.", param_hint="N|FILE")


def tell_difference(settings: Settings, before: Source, after: Source) -> int:
    """Print what is different; the exit code."""
    printer = Printer(settings)
    found = difference(before, after)
    if printer.form in ("json", "jsonl"):
        printer.value(found)
    elif found["equal"]:
        printer.say(f"No difference between {before.name} and {after.name}.")
    else:
        _tell_steps(printer, found)
        printer.text("")
        for line in found["diff"]:
            printer.line(((safe(line), _meaning(line)),))
    return int(Exit.OK if found["equal"] else Exit.FAILED)


def difference(before: Source, after: Source) -> dict[str, Json]:
    """What is different: ``members`` of the workflow, steps ``added``, ``removed``, ``changed``, and ``diff`` lines."""
    old, new = before.document, after.document
    old_steps, new_steps = _steps(old), _steps(new)
    old_lines, new_lines = _lines(old), _lines(new)
    moved = sorted(old_steps) == sorted(new_steps) and list(old_steps) != list(new_steps)
    return {
        "equal": old == new and old_lines == new_lines,
        "members": _changed({**old, "steps": 0}, {**new, "steps": 0}) + ["order of steps"] * moved,
        "added": [id for id in new_steps if id not in old_steps],
        "removed": [id for id in old_steps if id not in new_steps],
        "changed": {
            id: _changed(old_steps[id], step)
            for id, step in new_steps.items()
            if id in old_steps and _changed(old_steps[id], step)
        },
        "diff": list(difflib.unified_diff(old_lines, new_lines, before.name, after.name, lineterm="")),
    }


def _lines(document: Mapping[str, Json]) -> list[str]:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def _steps(document: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    steps = document.get("steps")
    found = [one for one in steps if isinstance(one, dict)] if isinstance(steps, list) else []
    return {str(one.get("id")): one for one in found}


def _changed(old: Mapping[str, Json], new: Mapping[str, Json], prefix: str = "") -> list[str]:
    """Members that are different; those of params by name."""
    names = dict.fromkeys([*old, *new])
    found: list[str] = []
    for name in names:
        one, other = old.get(name), new.get(name)
        if (name in old) == (name in new) and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True):
            continue
        if name == "params" and isinstance(one, dict) and isinstance(other, dict):
            found += _changed(one, other, "params.")
        else:
            found.append(prefix + name)
    return found


def _tell_steps(printer: Printer, found: Mapping[str, Json]) -> None:
    if found["members"]:
        printer.line((("~ workflow: " + safe(", ".join(found["members"])), "busy"),))
    for id in found["removed"]:
        printer.line(((f"- step {safe(id)}", "bad"),))
    for id in found["added"]:
        printer.line(((f"+ step {safe(id)}", "ok"),))
    for id, members in found["changed"].items():
        printer.line(((f"~ step {safe(id)}: {safe(', '.join(members))}", "busy"),))


def _meaning(line: str) -> Meaning:
    if line.startswith(("+++", "---")):
        return "bold"
    return {"+": "ok", "-": "bad", "@": "wait"}.get(line[:1], "")  # type: ignore[return-value]
