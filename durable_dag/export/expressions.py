"""Templates as Python expressions over what a step sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, final

from durable_dag.export.source import Atom, Group, Node, call, literal, quoted
from durable_dag.graph.templates import MISSING, Path, Script, is_templated, parse, templates_in
from durable_dag.scheduling.scope import scripts_in

Json: TypeAlias = Any
Where = Literal["step", "workflow"]

__all__ = ["Expressions", "Where", "secrets_in", "takes_a_step"]

_SEEN: Final = Atom("seen")


@final
class Expressions:
    """Writes values, and remembers which helpers they use."""

    def __init__(self, uses: set[str]) -> None:
        self._uses = uses

    def of(self, value: Json) -> Node:
        """A JSON value with its templates; JavaScript and secrets are for the code of steps."""
        if isinstance(value, str):
            return self._text(value) if is_templated(value) else literal(value)
        if isinstance(value, list):
            return Group("[", [("", self.of(one)) for one in value], "]")
        if isinstance(value, Mapping):
            return Group("{", [(f"{quoted(name)}: ", self.of(one)) for name, one in value.items()], "}")
        return literal(value)

    def _text(self, text: str) -> Node:
        template = parse(text)
        if template.whole is not None:
            return self._part(template.whole)
        if all(isinstance(part, str) for part in template.parts):
            return literal("".join(str(part) for part in template.parts))
        self._uses.add("joined")
        return call(
            "joined", *(literal(part) if isinstance(part, str) else self._part(part) for part in template.parts)
        )

    def _part(self, part: Path | Script) -> Node:
        if isinstance(part, Script):
            return call("await actions.evaluate", literal(part.source), _SEEN)
        if part.root == "secrets":
            return call("actions.secret", literal(".".join(map(str, part.segments))))
        if part.root == "step" and part.segments == ("attempt",):
            self._uses.add("attempt_number")
            return Atom("attempt_number()")
        self._uses.add("pick")
        named = {} if part.default is MISSING else {"default": literal(part.default)}
        return call("pick", _SEEN, *(literal(one) for one in (part.root, *part.segments)), **named)


def takes_a_step(value: Json) -> bool:
    """Whether a value's templates have effects, so that a durable step must write them out."""
    return bool(scripts_in(value))


def secrets_in(value: Json) -> list[str]:
    """Names of the secrets in a value's templates, and what only an attempt knows: ``step.attempt``."""
    found: dict[str, None] = {}
    for _, text in templates_in(value):
        for part in parse(text).expressions:
            if isinstance(part, Path) and part.root == "secrets":
                found[".".join(map(str, part.segments))] = None
            elif isinstance(part, Path) and part.root == "step" and part.segments == ("attempt",):
                found["step.attempt"] = None
    return list(found)
