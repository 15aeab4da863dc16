"""What a check has found, as the command line tells it; the same for a check here and for one by a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from durable.cli.output import Printer
from durable.cli.text import many, safe
from durable_dag.cli.documents import Document
from durable_dag.cli.positions import nearest_place

Json: TypeAlias = Any

__all__ = ["counted", "finding_value", "tell_findings"]


def tell_findings(printer: Printer, document: Document, errors: Sequence[Json], warnings: Sequence[Json]) -> None:
    """A line for each problem: where it is, what it is; errors first, each kind as it stands in the file."""
    places = document.places() if errors or warnings else {}

    def place(problem: Json) -> tuple[int, int]:
        found = nearest_place(places, str(problem.get("path", "")))
        return (0, 0) if found is None else (found[0], found[1])

    for problem in sorted(errors, key=place):
        _tell(printer, document, problem, "error", "bad")
    for problem in sorted(warnings, key=place):
        _tell(printer, document, problem, "warning", "busy")


def _tell(printer: Printer, document: Document, problem: Mapping[str, Json], word: str, meaning: Any) -> None:
    path, message = str(problem.get("path", "")), str(problem.get("message", ""))
    line = _within(problem)
    printer.line(
        (
            (f"{safe(document.where(path))}: ", ""),
            (word, meaning),
            (f": {safe(path or '/')}{line}: {safe(message)} ", ""),
            (f"[{safe(str(problem.get('code', '')))}]", "dim"),
        )
    )


def _within(problem: Mapping[str, Json]) -> str:
    """Where in a piece of JavaScript: its own line and column."""
    if problem.get("line") is None:
        return ""
    column = f", column {problem['column']}" if problem.get("column") is not None else ""
    return f", line {problem['line']}{column} of it"


def finding_value(document: Document, checked: Mapping[str, Json]) -> dict[str, Json]:
    """The check of one file, as JSON: what a server answers, with the file's name and places."""
    places = document.places() if checked["errors"] or checked["warnings"] else {}

    def placed(problem: Mapping[str, Json]) -> dict[str, Json]:
        place = nearest_place(places, str(problem["path"]))
        shown = {} if place is None else {"at": {"line": place[0], "column": place[1]}}
        return {**problem, **shown}

    return {
        "file": document.name,
        "valid": checked["valid"],
        "errors": [placed(problem) for problem in checked["errors"]],
        "warnings": [placed(problem) for problem in checked["warnings"]],
        "layers": checked["layers"],
    }


def counted(checked: Mapping[str, Json]) -> str:
    """``: 1 error, 2 warnings``; empty for none."""
    errors, warnings = len(checked["errors"]), len(checked["warnings"])
    said = [many(count, word) for count, word in ((errors, "error"), (warnings, "warning")) if count]
    return f": {', '.join(said)}" if said else ""
