"""One sitting: what was measured, where and how, and its file of raw figures."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.passes import Plan, Results


@dataclass(frozen=True, slots=True)
class Sitting:
    """What the page is written from.

    Attributes:
        machine: One line about where it was.
        load: Of the machine, before and after.
        passes: Over all rows.
        seconds: For each rate.
        scale: Of the numbers of runs and steps.
        peers: With their versions; empty where they were not measured.
        results: The figures.
    """

    machine: str
    load: tuple[float, float]
    passes: int
    seconds: float
    scale: float
    peers: tuple[str, ...]
    results: Results

    @classmethod
    def of(cls, plan: Plan, results: Results, before: float, peers: tuple[str, ...]) -> Sitting:
        """The one that ends now."""
        load = (round(before, 1), round(os.getloadavg()[0], 1))
        return cls(machine(), load, plan.passes, plan.seconds, plan.scale, peers, results)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Sitting:
        """From the object of its file."""
        lists = {"load": tuple(told["load"]), "peers": tuple(told["peers"])}
        return cls(**{**told, **lists, "results": Results(**told["results"])})

    def written(self) -> str:
        """For its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def machine() -> str:
    """One line about this machine."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return (
        f"{os.cpu_count()} cores ({name}), {platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
