"""What ``durable doctor`` says of one thing that it has looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from durable.cli.ink import Meaning
from durable.cli.output import Printer
from durable.cli.text import safe

__all__ = ["Verdict", "tell"]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's.

    Attributes:
        check: Its name, one word.
        ok: Nothing to look at.
        said: One line.
        items: What to look at, a line each.
    """

    check: str
    ok: bool
    said: str
    items: tuple[str, ...] = ()

    def value(self) -> dict[str, Any]:
        """For JSON."""
        return {"check": self.check, "ok": self.ok, "said": self.said, "items": list(self.items)}


def tell(printer: Printer, verdicts: Sequence[Verdict]) -> None:
    """All of them, in the form that was asked for."""
    good = all(verdict.ok for verdict in verdicts)
    if printer.form != "table":
        printer.value({"ok": good, "checks": [verdict.value() for verdict in verdicts]})
        return
    widest = max(len(verdict.check) for verdict in verdicts)
    for verdict in verdicts:
        mark = "ok  " if verdict.ok else "LOOK"
        meaning: Meaning = "ok" if verdict.ok else "bad"
        printer.line(((mark, meaning), (f"  {verdict.check:<{widest}}  ", "dim"), (safe(verdict.said), "")))
        for item in verdict.items:
            printer.line(((" " * (widest + 8), ""), (safe(item), "")))
    bad = [verdict.check for verdict in verdicts if not verdict.ok]
    printer.say("Nothing to look at." if good else f"To look at: {', '.join(bad)}.")
