"""``durable-convex init``: the component's folder and the two files that an app needs, into its convex directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

from durable.errors import InvalidInput

__all__ = ["Installed", "install"]

COMPONENT: Final = Path("components") / "durable"

_WRAPPER: Final = """\
import { componentsGeneric } from "convex/server";
import { expose, type DurableComponent } from "./components/durable/expose";
const { durable } = componentsGeneric() as unknown as { durable: DurableComponent };
export const { info, sync, read, watch, start, signal, cancel, get, list, steps } = expose(durable);
"""
_CONFIG: Final = """\
import { defineApp } from "convex/server";
import durable from "./components/durable/convex.config";

const app = defineApp();
app.use(durable);
export default app;
"""


@dataclass(slots=True)
class Installed:
    """What was done.

    Attributes:
        written: New files, and component files that were brought up to date.
        kept: Files that are as they should be.
        differing: Files of the component that somebody, or an older version, has written otherwise; left alone.
        others: The app's own files of these names, left alone: what they need is for a person to add.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    differing: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def install(directory: Path, *, upgrade: bool = False) -> Installed:
    """Write what is missing; nothing that is there is overwritten, but the component's own files on ``upgrade``.

    Raises:
        InvalidInput: There is no place for it.
    """
    if directory.exists() and not directory.is_dir():
        raise InvalidInput(f"{directory} is a file; name the app's convex directory.")
    done = Installed()
    for name, text in sorted(_component().items()):
        _write(directory / COMPONENT / name, text, done, replace=upgrade)
    _write_own(directory / "durable.ts", _WRAPPER, done, done_by="expose(")
    _write_own(directory / "convex.config.ts", _CONFIG, done, done_by="components/durable/convex.config")
    return done


def needed(path: Path) -> str:
    """What a file of the app's own must say for the component to work."""
    return _CONFIG if path.name == "convex.config.ts" else _WRAPPER


def _component() -> dict[str, str]:
    """The component's files, by name."""
    folder = files("durable_convex") / "convex"
    return {one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.name.endswith(".ts")}


def _write(path: Path, text: str, done: Installed, *, replace: bool) -> None:
    if path.exists():
        same = path.read_text(encoding="utf-8") == text
        if same or not replace:
            (done.kept if same else done.differing).append(path)
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    done.written.append(path)


def _write_own(path: Path, text: str, done: Installed, *, done_by: str) -> None:
    """A file that belongs to the app; ``done_by`` is what it says if somebody has added our lines already."""
    if path.exists():
        (done.kept if done_by in path.read_text(encoding="utf-8") else done.others).append(path)
        return
    _write(path, text, done, replace=False)
