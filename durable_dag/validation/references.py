"""Templates and code: their syntax, and whether what they refer to is there, and comes before."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from durable_dag.graph.actions import INTERPRETED
from durable_dag.graph.templates import ROOTS, Path, Script, TemplateSyntax, parse, templates_in
from durable_dag.problems import Report, nearest, pointer
from durable_dag.scheduling.life import UNTOUCHED

Json: TypeAlias = Any

__all__ = ["CODE_NAMES", "Source", "check_references"]

CODE_NAMES: Final = ("context", "input", "execution", "workflow", "step", "item", "index")
_MEMBERS: Final[Mapping[str, Collection[str]]] = {
    "execution": ("id", "startTime", "attempt"),
    "workflow": ("id", "version"),
    "step": ("id", "attempt", "idempotencyKey"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of JavaScript in a definition."""

    path: str
    text: str
    kind: Literal["expression", "body"]


@dataclass(frozen=True, slots=True)
class Place:
    """Who refers.

    Attributes:
        step: Id; None for the workflow's own members, which see every step.
        item: Whether ``item`` and ``index`` are there.
        has_input: Whether ``input`` is there.
        attempt: Whether an attempt of an executor fills it in, which alone knows secrets and the attempt's number.
    """

    step: str | None
    item: bool = False
    has_input: bool = False
    attempt: bool = False


def check_references(
    document: Mapping[str, Json],
    ancestors: Mapping[str, Container[str]],
    secrets: Collection[str] | None,
    report: Report,
) -> list[Source]:
    """Check every template; the JavaScript that stands in the definition.

    Args:
        ancestors: Of each step; empty for those in circles.
        secrets: Names that are known; None if that is not known here.
    """
    sources: list[Source] = []
    checker = _Checker(ancestors, secrets, report, sources)
    steps = document.get("steps")
    for index, raw in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(raw, Mapping):
            checker.step(raw, pointer("steps", index))
    checker.value(document.get("output"), "/output", Place(None))
    concurrency = document.get("concurrency")
    if isinstance(concurrency, Mapping):
        checker.key(concurrency.get("key"), "/concurrency/key")
    checker.value(document.get("webhooks"), "/webhooks", Place(None, attempt=True))
    return sources


def _paths(text: str) -> list[Path]:
    try:
        return [part for part in parse(text).expressions if isinstance(part, Path)]
    except TemplateSyntax:
        return []  # it is told elsewhere


class _Checker:
    def __init__(
        self,
        ancestors: Mapping[str, Container[str]],
        secrets: Collection[str] | None,
        report: Report,
        sources: list[Source],
    ) -> None:
        self.ancestors = ancestors
        self.secrets = secrets
        self.report = report
        self.sources = sources

    def step(self, raw: Mapping[str, Json], at: str) -> None:
        id = raw.get("id") if isinstance(raw.get("id"), str) else None
        when = raw.get("when")
        if isinstance(when, str) and when.strip() not in ("true", "false"):
            self.sources.append(Source(at + "/when", when, "expression"))
        params = raw.get("params")
        if isinstance(params, Mapping):
            action = raw.get("action")
            self.params(action if isinstance(action, str) else "", params, at + "/params", id, item=False)

    def params(self, action: str, params: Mapping[str, Json], at: str, id: str | None, *, item: bool) -> None:
        untouched = UNTOUCHED.get(action, frozenset())
        self._code(action, params, at)
        key = params.get("inputKey")
        if action == "transform" and isinstance(key, str) and id is not None:
            self._upstream(key, at + "/inputKey", id)
        place = Place(id, item, isinstance(key, str), action not in INTERPRETED)
        for member, value in params.items():
            if member not in untouched:
                self.value(value, at + pointer(member), place)
        if action == "map":
            self.value(params.get("context"), at + "/context", Place(id, True))
            inner = params.get("step")
            if isinstance(inner, Mapping) and isinstance(inner.get("params"), Mapping):
                self.params(str(inner.get("action", "")), inner["params"], at + "/step/params", id, item=True)

    def _code(self, action: str, params: Mapping[str, Json], at: str) -> None:
        if action == "transform" and isinstance(params.get("code"), str):
            self.sources.append(Source(at + "/code", params["code"], "body"))
        if action in ("condition", "switch") and isinstance(params.get("expression"), str):
            self.sources.append(Source(at + "/expression", params["expression"], "expression"))

    def value(self, value: Json, at: str, place: Place) -> None:
        for where, text in templates_in(value, at):
            try:
                template = parse(text)
            except TemplateSyntax as error:
                self.report.error(where, "template_syntax", str(error))
                continue
            for part in template.expressions:
                if isinstance(part, Script):
                    self.sources.append(Source(where, part.source, "expression"))
                else:
                    self._path(part, where, place)

    def key(self, value: Json, at: str) -> None:
        """What is known before a run begins: its id, its workflow and the start's context."""
        before = len(self.sources)
        self.value(value, at, Place(None, attempt=True))  # secrets are told of below
        if len(self.sources) > before:
            del self.sources[before:]
            self.report.error(at, "template_syntax", "a key is made of paths, not of JavaScript")
        for _, text in templates_in(value) if isinstance(value, str) else ():
            for part in _paths(text):
                first = part.segments[0] if part.segments else None
                if part.root == "secrets" or (part.root == "execution" and part.segments != ("id",)):
                    self._unknown(at, f"{part.source} cannot be part of a key, which is known before the run begins")
                elif part.root == "context" and first in self.ancestors:
                    message = f"a key is known before the run begins; the output of {first!r} is not"
                    self.report.error(at, "reference_not_upstream", message)

    def _path(self, path: Path, at: str, place: Place) -> None:
        if path.root not in ROOTS:
            hint = nearest(path.root, ROOTS)
            meant = "" if hint is None else f"; did you mean {hint!r}?"
            self._unknown(at, f"{path.root!r} is nothing that templates know{meant} ({', '.join(ROOTS)})")
            return
        if path.root in ("item", "index") and not place.item:
            self._unknown(at, f"{path.root!r} is there only in what a map does with each item")
        elif path.root == "input" and not place.has_input:
            self._unknown(at, "'input' is there only in a step with inputKey")
        elif path.root == "step" and place.step is None:
            self._unknown(at, "'step' is there only in a step's params")
        first = path.segments[0] if path.segments else None
        if path.root in _MEMBERS and first is not None and first not in _MEMBERS[path.root]:
            self._unknown(at, f"{path.root} has no {first!r}; it has {', '.join(_MEMBERS[path.root])}")
        elif not place.attempt and (path.root == "secrets" or (path.root, *path.segments) == ("step", "attempt")):
            self._unknown(at, f"{path.source} is known only to an attempt of an executor, and here is none")
        elif path.root == "secrets":
            self._secret(first, at)
        elif path.root == "context" and isinstance(first, str) and place.step is not None:
            self._upstream(first, at, place.step)

    def _secret(self, name: str | int | None, at: str) -> None:
        if not isinstance(name, str):
            self._unknown(at, "name one secret: secrets.NAME")
        elif self.secrets is not None and name not in self.secrets:
            self._unknown(at, f"there is no secret {name!r} here")

    def _unknown(self, at: str, message: str) -> None:
        self.report.error(at, "reference_unknown", message)

    def _upstream(self, name: str, at: str, step: str) -> None:
        """A step that is referred to comes before; what is no step is a member of the start's context."""
        if name in self.ancestors and step in self.ancestors and name not in self.ancestors[step]:
            self.report.error(
                at,
                "reference_not_upstream",
                f"step {step!r} does not come after {name!r}, so it cannot see its output; make it depend on {name!r}",
            )
