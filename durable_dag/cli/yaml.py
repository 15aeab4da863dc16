"""Definitions as YAML, read as the JSON that they mean; only where pyyaml happens to be installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, TypeAlias

from durable.cli.failures import Failure
from durable_dag.cli.positions import Place
from durable_dag.problems import pointer

Json: TypeAlias = Any

__all__ = ["NotYaml", "read_yaml"]

_BOOL: Final = "tag:yaml.org,2002:bool"
_TIME: Final = "tag:yaml.org,2002:timestamp"


class NotYaml(ValueError):
    """A text is no YAML, or none that means JSON.

    Attributes:
        place: Where; None if that is not known.
    """

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place


def read_yaml(name: str, text: str) -> tuple[Json, Callable[[], dict[str, Place]]]:
    """The value of a YAML text, and a function that finds where things stand in it.

    Plain values alone are made, never objects. ``on`` is a word, as in YAML 1.2, and a date is a text.

    Raises:
        NotYaml: It is none, or has what JSON has not.
        Failure: pyyaml is not installed.
    """
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise Failure(
            f"{name} is YAML, and there is no library for it here.",
            "pip install pyyaml, or write the definition as JSON.",
        ) from None
    loader = _loader(yaml)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
            raise NotYaml("JSON has no anchors and aliases: write it out")
        root = yaml.compose(text, Loader=loader)
        value = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = None if mark is None else (mark.line + 1, mark.column + 1)
        raise NotYaml(f"this is not YAML: {problem}", place) from None
    except RecursionError:
        raise NotYaml("this is nested too deeply") from None
    if (bad := _bad_key(value)) is not None:
        raise NotYaml(f"{bad!r} is no name for a member: quote it")
    return value, lambda: {} if root is None else dict(_places(root, "", root))


def _loader(yaml: Any) -> Any:
    """pyyaml's safe loader without the traps of YAML 1.1: ``on`` and ``yes`` are texts, and so are dates."""
    kept = {
        first: [(tag, pattern) for tag, pattern in found if tag not in (_BOOL, _TIME)]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    loader = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": kept})
    loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), list("tf"))  # type: ignore[attr-defined]
    return loader


def _bad_key(value: Json) -> Json:
    """A member's name that is no text; None if there is none."""
    if isinstance(value, list):
        return next((bad for one in value if (bad := _bad_key(one)) is not None), None)
    if isinstance(value, dict):
        for name, one in value.items():
            if not isinstance(name, str):
                return name if name is not None else "null"
            if (bad := _bad_key(one)) is not None:
                return bad
    return None


def _places(node: Any, path: str, shown: Any) -> Iterator[tuple[str, Place]]:
    yield path, (shown.start_mark.line + 1, shown.start_mark.column + 1)
    if node.id == "mapping":
        for name, value in node.value:
            yield from _places(value, path + pointer(str(name.value)), name)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            yield from _places(value, path + pointer(index), value)
