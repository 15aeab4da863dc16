"""Rules that the source keeps: nothing executes data, and nothing grows without a reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "durable",
    "durable_convex",
    "durable_dag",
    "durable_otel",
    "durable_server",
    "durable_sqlite",
    "durable_testing",
)
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

FORBIDDEN_IMPORTS = {"cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve", "yaml"}
FORBIDDEN_CALLS = {"__import__", "compile", "eval", "exec"}
# Whatever runs code that it finds by name: (module, what) → why that is safe.
ALLOWED_TO_EXECUTE: dict[tuple[str, str], str] = {}

# (file) → (lines at most, why it is one room).
LONG_MODULES = {
    "durable/_engine/runner.py": (550, "the ring of one held run: its states guard each other, so they stay together"),
}
# (file, function) → (lines at most, why it is one function).
LONG_FUNCTIONS = {
    ("durable_sqlite/rows.py", "read_record"): (75, "a row's columns, named in their order: a table, not a program"),
}


def sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def test_nothing_in_the_packages_executes_data() -> None:
    found = []
    for name, text in sources():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.Import):
                words = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                words = [(node.module or "").partition(".")[0]]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                words = [node.func.id] if node.func.id in FORBIDDEN_CALLS else []
            else:
                continue
            found += [(name, word) for word in words if word in FORBIDDEN_IMPORTS | FORBIDDEN_CALLS]
    assert [place for place in found if place not in ALLOWED_TO_EXECUTE] == []
    assert set(ALLOWED_TO_EXECUTE) <= set(found), "an exception that nobody needs any more"


def test_modules_are_rooms_and_not_halls() -> None:
    too_long = {}
    for name, text in sources():
        lines = len(text.splitlines())
        limit, _ = LONG_MODULES.get(name, (MODULE_LINES_MAX, ""))
        if lines > limit:
            too_long[name] = lines
    assert too_long == {}


def test_functions_fit_on_a_page() -> None:
    """Lines without the docstring and the signature's own."""
    too_long = {}
    for name, text in sources():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                limit, _ = LONG_FUNCTIONS.get((name, node.name), (FUNCTION_LINES_MAX, ""))
                if lines > limit:
                    too_long[name, node.name] = lines
    assert too_long == {}


def test_each_module_says_what_it_is_for() -> None:
    assert [name for name, text in sources() if not ast.get_docstring(parsed(text))] == []


def test_adapters_write_runs_in_few_places() -> None:
    """Each statement that changes a run names the fence or says why it needs none; there they can be read together."""
    writers = {name for name, text in sources() if name.startswith("durable_sqlite/") and "UPDATE runs" in text}
    assert len(writers) <= 8, writers
