"""A pytest plugin for runs on a mutated copy: it makes sure that the copy is what is tested, and notes what failed.

An editable install puts the original on ``sys.path``; a run that imported it would say that every mutant survives.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

__all__: list[str] = []

ROOT = Path(os.environ["MUTANT_ROOT"]).resolve()
NOTES = Path(os.environ["MUTANT_NOTES"])
PACKAGES = ("durable", "durable_otel", "durable_sqlite", "durable_testing")


def _strangers() -> list[str]:
    """Loaded modules of the engine that are not the copy's."""
    return [
        f"{name} from {file}"
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in PACKAGES
        and (file := getattr(module, "__file__", None)) is not None
        and not Path(file).resolve().is_relative_to(ROOT)
    ]


def _note(kind: str, what: str) -> None:
    with NOTES.open("a") as notes:
        notes.write(f"{kind} {what}\n")


def pytest_configure(config: pytest.Config) -> None:
    for module in os.environ["MUTANT_MODULES"].split():
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None or not Path(spec.origin).resolve().is_relative_to(ROOT):
            raise pytest.UsageError(f"{module} would be imported from {spec and spec.origin}, not from {ROOT}.")


def pytest_runtest_logstart(nodeid: str) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _note("began", nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        _note("failed", report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    strangers = _strangers()
    if strangers:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        _note("stranger", "; ".join(strangers))
