"""The page about hostile configurations names all of them, and every test that one of them leaves out."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.configurations import CONFIGURATIONS, NEEDS
from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "internals" / "hostile-configurations.md").read_text(encoding="utf-8")


def marked() -> Iterator[tuple[str, str, str]]:
    """Each test that needs something, what it needs, and why, as the page has it."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "hostile" in path.parts:
            continue
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.needs":
                    needs = ", ".join(f"`{ast.literal_eval(word)}`" for word in decorator.args)
                    [reason] = [ast.literal_eval(keyword.value) for keyword in decorator.keywords]
                    yield f"`{path.relative_to(ROOT / 'tests').as_posix()}::{node.name}`", needs, reason  # type: ignore[attr-defined]


def rows(after: str) -> list[tuple[str, ...]]:
    """The first table below a heading, without its head."""
    table = PAGE.partition(f"## {after}\n")[2].partition("\n|")[2].partition("\n\n")[0].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table[2:]]


def test_the_page_names_every_configuration_and_what_it_takes() -> None:
    told = {name.strip("`"): (hostility, takes) for name, hostility, takes in rows("The configurations")}
    seeds = {name for name in CONFIGURATIONS if name.startswith("hash-seed-")}
    assert told.pop("hash-seed-1` … `hash-seed-8")[0].startswith("Sets and hashes")
    assert set(told) == CONFIGURATIONS.keys() - seeds
    for name, (hostility, takes) in told.items():
        configuration = CONFIGURATIONS[name]
        assert hostility == configuration.hostility
        assert takes == ", ".join(f"`{need}`" for need in sorted(configuration.takes))


def test_the_page_names_every_test_that_is_left_out_somewhere() -> None:
    assert rows("What is left out, and why") == list(marked())
    assert f"{len(list(marked()))} test functions" in PAGE


def test_nothing_is_taken_that_no_test_needs() -> None:
    needed = {word.strip("`") for _, needs, _ in marked() for word in needs.split(", ")}
    assert needed == NEEDS.keys()


def test_the_page_has_a_result_for_every_configuration() -> None:
    assert {row[0].strip("`") for row in rows("A run")} >= CONFIGURATIONS.keys()
