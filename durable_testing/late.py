"""Imports of pydantic's modules while the classes of ``datetime`` are stood in for.

Some of them (``pydantic.v1.types``, which FastAPI asks for) make classes of ``date`` with a metaclass of their own, and
no class has two. They see the real classes while they are carried out, as if they had been imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final, final

__all__ = ["see_real_classes"]

_PACKAGE: Final = "pydantic"


@final
class Late(MetaPathFinder):
    """Finds what Python finds anyway, and has it carried out among the real classes."""

    def __init__(self, real: dict[str, type]) -> None:
        self._real = real

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of this package only; everybody else's imports go their way."""
        if fullname.partition(".")[0] != _PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        carry_out = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            datetime = sys.modules["datetime"]  # what is imported here would be our own view of it
            stood = {name: getattr(datetime, name) for name in self._real}
            _put(datetime, self._real)
            try:
                carry_out(module)
            finally:
                _put(datetime, stood)

        loader.exec_module = exec_module
        return spec


def _put(module: ModuleType, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(module, name, value)


def see_real_classes(real: dict[str, type]) -> None:
    """From now on.

    Args:
        real: The classes of ``datetime``, by name.
    """
    sys.meta_path.insert(0, Late(real))
