"""What is public is written down: a name that comes or goes is a decision.

``python tests/architecture/test_public_names.py`` writes the list anew.
"""

import importlib
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("public_names.txt")
PUBLIC = (
    "durable",
    "durable.clock",
    "durable.codec",
    "durable.errors",
    "durable.observing",
    "durable.store",
    "durable_convex",
    "durable_convex.functions",
    "durable_dag",
    "durable_dag.builder",
    "durable_dag.egress",
    "durable_dag.js",
    "durable_dag.pictures",
    "durable_dag.program",
    "durable_otel",
    "durable_server",
    "durable_sqlite",
    "durable_testing",
    "durable_testing.conformance",
    "durable_testing.golden",
)


def names_now() -> list[str]:
    """``module: name`` of each public name."""
    return [f"{module}: {name}" for module in PUBLIC for name in sorted(importlib.import_module(module).__all__)]


def test_the_public_names_are_those_written_down() -> None:
    written = set(LIST.read_text().splitlines())
    now = set(names_now())
    assert (sorted(now - written), sorted(written - now)) == ([], []), "new, gone; see this file's first lines"


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_exists_and_is_said_once(module: str) -> None:
    loaded = importlib.import_module(module)
    assert len(loaded.__all__) == len(set(loaded.__all__))
    for name in loaded.__all__:
        assert hasattr(loaded, name)


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_class_and_function_says_what_it_is(module: str) -> None:
    loaded = importlib.import_module(module)
    silent = [
        name
        for name in loaded.__all__
        if callable(value := getattr(loaded, name))
        and getattr(value, "__module__", "").startswith("durable")
        and not getattr(value, "__doc__", None)
    ]
    assert silent == []


if __name__ == "__main__":
    LIST.write_text("\n".join(names_now()) + "\n")
