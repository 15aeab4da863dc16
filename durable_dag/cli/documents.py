"""Definitions in files: JSON, or YAML where its library is installed; and where in the file something stands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from durable.cli.failures import Exit, Failure
from durable_dag.cli.positions import Place, json_places, nearest_place
from durable_dag.cli.yaml import NotYaml, read_yaml

Json: TypeAlias = Any

__all__ = ["Document", "Unreadable", "looks_like_file", "one_document", "read_document"]


class Unreadable(Failure):
    """A file is neither JSON nor YAML, or none that means JSON.

    Attributes:
        document: What can be said of it: its name, and where it is wrong.
    """

    def __init__(self, name: str, problem: str, place: Place | None = None, todo: str = "") -> None:
        where = name if place is None else f"{name}:{place[0]}:{place[1]}"
        super().__init__(f"{where}: {problem}", todo, Exit.FAILED)
        self.problem = problem
        self.document = Document(name, None, lambda: {} if place is None else {"": place})


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        name: As it was typed; ``stdin`` for ``-``.
        places: Finds where things stand; asked only when there is something to be said of them.
    """

    name: str
    value: Json
    places: Callable[[], dict[str, Place]]

    def where(self, path: str) -> str:
        """``file:line:column`` of what a JSON Pointer leads to, or would lead to if it were there."""
        place = nearest_place(self.places(), path)
        return self.name if place is None else f"{self.name}:{place[0]}:{place[1]}"


def looks_like_file(text: str) -> bool:
    """Whether an argument names a file rather than a registered definition."""
    return text == "-" or os.sep in text or text.endswith((".json", ".yaml", ".yml")) or Path(text).is_file()


def read_document(file: str) -> Document:
    """Read a file; ``-`` is stdin.

    Raises:
        Unreadable: It is neither JSON nor YAML.
        Failure: There is no such file, or it cannot be opened.
    """
    name, text = ("stdin", sys.stdin.read()) if file == "-" else (file, _text(file))
    if file.endswith((".yaml", ".yml")):
        try:
            value, places = read_yaml(name, text)
        except NotYaml as error:
            raise Unreadable(name, str(error), error.place) from None
        return Document(name, value, places)
    try:
        value = json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise Unreadable(name, "this is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = (error.lineno, error.colno)
        raise Unreadable(name, f"this is not JSON: {error.msg}", place, _hint(file)) from None
    except ValueError as error:
        raise Unreadable(name, f"this is not JSON: {error}") from None
    return Document(name, value, lambda: json_places(text))


def one_document(file: str) -> Document:
    """A file that holds an object.

    Raises:
        Failure: It holds something else, or cannot be read.
    """
    document = read_document(file)
    if not isinstance(document.value, dict):
        raise Unreadable(document.name, "a definition is an object", document.places().get(""))
    return document


def _text(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except FileNotFoundError:
        raise Failure(f"There is no file {file}.", "", Exit.NOT_FOUND) from None
    except (OSError, UnicodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", "", Exit.USAGE) from None


def _hint(file: str) -> str:
    return "Files in YAML end in .yaml or .yml." if file != "-" else ""


def _refused(constant: str) -> Json:
    raise ValueError(f"{constant} is not a JSON number")
