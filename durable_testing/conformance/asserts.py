"""Lets pytest explain the kit's assertions as it explains those of test files: with the values on either side.

Loaded before every other room of the kit, because only what is not loaded yet can be explained.
"""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

__all__: list[str] = []

_PACKAGE = __name__.rpartition(".")[0]
_ROOMS = [f"{_PACKAGE}.{room.name}" for room in pkgutil.iter_modules([str(Path(__file__).parent)])]

if "pytest" in sys.modules:  # else the tests are called by hand, and the kit needs none
    sys.modules["pytest"].register_assert_rewrite(*(room for room in _ROOMS if room not in sys.modules))
