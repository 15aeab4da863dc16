"""APP: from ``module:attribute`` or ``path/file.py:attribute`` to workflows, steps and workers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from durable import Step, Worker, Workflow
from durable.cli.failures import Exit, Failure

__all__ = ["App", "load_app", "look_up", "looks_like_app", "one_workflow"]


@dataclass(frozen=True, slots=True)
class App:
    """What an APP holds.

    Attributes:
        workflows: To run.
        steps: With ``queue=``, to carry out for others.
        make_worker: Takes a client and returns a Worker; None if the command line makes it.
        named: The one workflow that the attribute is; None if it is something else.
    """

    workflows: tuple[Workflow[..., Any], ...]
    steps: tuple[Step[..., Any], ...]
    make_worker: Callable[..., Any] | None = None
    named: Workflow[..., Any] | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that its workflows and steps name, and the default one."""
        named = [workflow.queue for workflow in self.workflows] + [step.policy.queue for step in self.steps]
        return tuple(dict.fromkeys(["default", *(queue for queue in named if queue is not None)]))


def looks_like_app(text: str) -> bool:
    """Whether a WORKFLOW argument names code rather than a registered name."""
    place, colon, _ = text.partition(":")
    if place.endswith(".py") or os.sep in place:
        return True
    return bool(colon) and all(part.isidentifier() for part in place.split("."))


def load_app(text: str) -> App:
    """Import an APP.

    Raises:
        Failure: It cannot be found or imported, or holds nothing to run.
    """
    place, _, attribute = text.partition(":")
    module = _module(place, text)
    everything = _found_in(vars(module).values())
    if not attribute:
        if not everything.workflows and not everything.steps:
            raise Failure(
                f"{place} has no workflow.", "Decorate one with @workflow, or name an attribute: module:attribute"
            )
        return everything
    return _of_attribute(_attribute(module, attribute, place), everything, text)


def look_up(text: str) -> tuple[ModuleType, Any]:
    """The module that an APP names, and its attribute; None where it names none.

    Raises:
        Failure: It cannot be found or imported.
    """
    place, _, attribute = text.partition(":")
    module = _module(place, text)
    return module, _attribute(module, attribute, place) if attribute else None


def one_workflow(app: App, text: str) -> Workflow[..., Any]:
    """The workflow that an APP names, or the only one it has.

    Raises:
        Failure: It is none, or several.
    """
    if app.named is not None:
        return app.named
    if len(app.workflows) == 1 and app.make_worker is None:
        return app.workflows[0]
    known = ", ".join(workflow.name for workflow in app.workflows) or "none"
    raise Failure(f"{text} does not name one workflow (it has: {known}).", "Write module:workflow.")


def _module(place: str, text: str) -> ModuleType:
    if not place:
        raise Failure(f"{text!r} names no module.", "Write module:attribute or path/file.py:attribute.")
    if place.endswith(".py") or os.sep in place:
        return _from_file(Path(place))
    if sys.path[:1] != [""]:
        sys.path.insert(0, "")  # a console script does not look into the working directory; python -m does
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(error.name + ".")):
            raise Failure(
                f"{place} cannot be imported: it needs the module {error.name!r}.",
                "Install it where durable is installed, or fix the import.",
            ) from error
        raise Failure(
            f"There is no module {place!r} here.",
            f"Run from the directory it is in, or give its file: path/{place.rpartition('.')[2]}.py",
            Exit.NOT_FOUND,
        ) from None
    except Exception as error:
        raise _broken(place, error) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Failure(f"There is no file {path}.", "Write path/file.py:attribute.", Exit.NOT_FOUND)
    # The directory goes onto the path and the module keeps its own name, so that it is the same module, and its
    # exceptions are the same classes, as when another file imports it.
    directory, name = str(path.resolve().parent), path.stem
    if directory not in sys.path:
        sys.path.insert(0, directory)
    present = sys.modules.get(name)
    if present is not None and Path(getattr(present, "__file__", None) or "").resolve() == path.resolve():
        return present
    if present is not None or name in sys.stdlib_module_names:
        name = f"durable_app_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Failure(f"{path} is not a Python file.", "Write path/file.py:attribute.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _broken(str(path), error) from error
    return module


def _broken(place: str, error: Exception) -> Failure:
    return Failure(
        f"{place} cannot be imported: {type(error).__name__}: {error}", "Fix it; --debug shows the traceback."
    )


def _attribute(module: ModuleType, path: str, place: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            known = ", ".join(name for name, value in vars(module).items() if isinstance(value, Workflow)) or "none"
            raise Failure(f"{place} has no attribute {path!r}.", f"Workflows there: {known}.", Exit.NOT_FOUND) from None
    return found


def _of_attribute(found: Any, everything: App, text: str) -> App:
    if isinstance(found, Workflow):
        # Its children and remote steps live in the same module more often than not.
        others = tuple(other for other in everything.workflows if _key(other) != _key(found))
        return App((found, *others), everything.steps, named=found)
    if isinstance(found, Worker):
        return App((), (), make_worker=lambda client: found)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        members = list(found)
        if members and all(isinstance(member, Workflow | Step) for member in members):
            return _found_in(members)
    elif callable(found) and not isinstance(found, Step | type):
        return App((), (), make_worker=found)
    raise Failure(
        f"{text} is {type(found).__name__}, which is nothing to run.",
        "It should be a workflow, a list of workflows, or a function that takes a client and returns a Worker.",
    )


def _key(workflow: Workflow[..., Any]) -> tuple[str, str]:
    return workflow.name, workflow.version


def _found_in(values: Iterable[Any]) -> App:
    workflows: dict[int, Workflow[..., Any]] = {}
    steps: dict[int, Step[..., Any]] = {}
    for value in values:
        if isinstance(value, Workflow):
            workflows.setdefault(id(value.fn), value)
        elif isinstance(value, Step) and value.policy.queue is not None:
            steps.setdefault(id(value.fn), value)
    return App(tuple(workflows.values()), tuple(steps.values()))
