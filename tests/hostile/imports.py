"""Turning the knobs of a module in the moment in which it has been imported, before anybody has copied them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

__all__ = ["Turn", "turn_when_imported"]

Turn = Callable[[ModuleType], None]


def turn_when_imported(turns: Mapping[str, Turn]) -> None:
    """Have each module's knobs turned right after its code has run.

    Raises:
        RuntimeError: One of them has been imported already: others may have copied what it says.
    """
    late = sorted(turns.keys() & sys.modules.keys())
    if late:
        raise RuntimeError(
            f"A hostile configuration has to be applied before {', '.join(late)} is imported; use "
            "`python -m tests.hostile`."
        )
    sys.meta_path.insert(0, _Finder(turns))


class _Finder(MetaPathFinder):
    """Finds what the others find, and has the knobs turned."""

    def __init__(self, turns: Mapping[str, Turn]) -> None:
        self._turns = turns
        self._looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        turn = self._turns.get(fullname)
        if turn is None or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Turning(spec.loader, turn)
        return spec


class _Turning(Loader):
    """A module's own loader, and what is done to the module afterwards."""

    def __init__(self, inner: Loader, turn: Turn) -> None:
        self._inner = inner
        self._turn = turn

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._turn(module)
