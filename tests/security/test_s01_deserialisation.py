"""S1: whoever can write the store must not have code run, or anything imported, by whoever reads it."""

import ast
import asyncio
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import secured_app

from durable import Client, Worker, connect
from durable_sqlite import schema
from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("durable*/__init__.py"))

# ── gadgets in every column ──────────────────────────────────────────────────────────────────────────────────────────


class Reduced:
    """Unpickled, it makes the canary's file."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def gadgets(canary: Path) -> list[bytes]:
    """What other engines have run, and what ours would if it resolved names from data."""
    touch = f"touch {canary}"
    code = f"__import__('os').system({touch!r})"
    applied = {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, {"py/tuple": [touch]}]}
    # Modules that nothing has imported: that they are not there afterwards says that no name was followed.
    errors = [
        {"type": "os:system", "message": touch, "args": [touch]},
        {"type": "subprocess:Popen", "message": touch, "args": [["touch", str(canary)]]},
        {"type": "antigravity:Flight", "message": touch, "args": [touch]},
        {"type": "xmlrpc.client:Fault", "message": code, "args": [1, code], "state": {"__class__": "os:system"}},
        {"type": "builtins:eval", "message": code, "args": [code], "traceback": code, "notes": [code]},
    ]
    return [
        pickle.dumps(Reduced(touch)),
        b"cos\nsystem\n(V" + touch.encode() + b"\ntR.",
        json.dumps(applied).encode(),
        json.dumps([applied]).encode(),
        json.dumps({"__type__": "os.system", "__module__": "antigravity", "args": [touch]}).encode(),
        json.dumps({"$secret": f"file:{canary}"}).encode(),
        f"!!python/object/apply:os.system ['{touch}']".encode(),
        f"!!python/module:antigravity\n--- !!python/name:os.system\n{touch}".encode(),
        code.encode(),
        f"{{{{ {code} }}}}${{{code}}}".encode(),
        *(json.dumps(error).encode() for error in errors),
        *(b"failed\n" + json.dumps(error).encode() for error in errors),
    ]


def columns() -> dict[str, list[str]]:
    """Each table's columns of text and bytes."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(raw, ":memory:")
    tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        table: [row[1] for row in raw.execute(f"PRAGMA table_info({table})") if row[2] in ("TEXT", "BLOB")]
        for table in tables
    }
    raw.close()
    return {table: names for table, names in found.items() if names}


async def fill(client: Client) -> None:
    """Runs in every state, with messages, values, recorded arguments, records, requests and sessions."""
    async with Worker(client, workflows=secured_app.ALL, drain=0.1):
        handles = []
        for number in range(5):
            for wf in (secured_app.done, secured_app.failed, secured_app.caught, secured_app.parent):
                id, labels = f"{wf.name}-{number}", {"team": f"t{number}"}
                handles.append(await client.start(wf, f"order {number}", id=id, labels=labels))
        for handle in handles:
            states = ("completed", "failed", "waiting")
            while (await handle.status()).state not in states:
                await asyncio.sleep(0.01)
        await client.handle("caught-3").pause()
    for number in range(3):
        await client.handle(f"caught-{number}").signal("other", "kept")
    await client.start(secured_app.done, "later", id="later", delay="10m")
    await client.store.put_record("note", "key", b"value")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "runs.db"

    async def main() -> None:
        async with connect(f"sqlite:///{path}") as client:
            await fill(client)

    asyncio.run(main())
    return path


def plant(path: Path, table: str, column: str, values: list[bytes]) -> int:
    """A gadget into each row's column, in turn, after more rows if there are too few; how many of them are in."""
    raw = sqlite3.connect(path, isolation_level=None)
    info = list(raw.execute(f"PRAGMA table_info({table})"))
    blank = {"TEXT": "x", "BLOB": b"x"}
    while raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] < len(values):
        number = raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        row = [f"{blank[kind]}{number}" if kind in blank else number + 1 for _, _, kind, *_ in info]
        done = raw.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        if not done.rowcount:
            break
    is_text = next(kind for _, name, kind, *_ in info if name == column) == "TEXT"
    keys = [name for _, name, _, _, _, place in info if place] or ["rowid"]
    rows = raw.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall()
    for number, key in enumerate(rows):
        value = values[number % len(values)]
        given = value.decode("utf-8", "replace").replace("\0", "?") if is_text else value
        where = " AND ".join(f"{name} = ?" for name in keys)
        try:
            raw.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (given, *key))
        except sqlite3.IntegrityError:  # it must be unique, and is in another row already
            pass
    raw.close()
    assert rows
    return min(len(rows), len(values))


@pytest.mark.slow
@pytest.mark.parametrize("table", columns())
def test_what_is_planted_in_a_store_is_never_run_nor_imported(table: str, template: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    values = gadgets(canary)
    planted = []
    for column in columns()[table]:
        rest = values
        while rest:
            path = tmp_path / f"{column}-{len(rest)}.db"
            shutil.copy(template, path)
            rest = rest[plant(path, table, column, rest) :]
            planted.append(str(path))
    healthy = tmp_path / "healthy.db"
    shutil.copy(template, healthy)
    program = [sys.executable, str(HERE / "security_victim.py"), str(HERE / "secured_app.py"), str(healthy), *planted]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not canary.exists()
    brought = [name for name in json.loads(done.stdout) if not name.startswith(("durable.", "durable_", "encodings."))]
    assert brought == []


def test_the_gadgets_would_work_elsewhere(tmp_path: Path) -> None:
    """They are no blanks: a reader that trusts its data makes the file."""
    canary = tmp_path / "canary"
    for number in (0, 1):
        pickle.loads(gadgets(canary)[number])
        assert canary.exists()
        canary.unlink()
    eval(gadgets(canary)[8])
    assert canary.exists()


# ── the source ───────────────────────────────────────────────────────────────────────────────────────────────────────

MODULES = {"cPickle", "cloudpickle", "code", "codeop", "dill", "jsonpickle", "marshal", "pickle", "pickletools"}
MODULES |= {"runpy", "shelve", "xmlrpc", "yaml", "ruamel"}
NAMES = {"__import__", "compile", "eval", "exec", "execfile"}
ATTRIBUTES = {
    "exec_module",
    "import_module",
    "load_module",
    "load_source",
    "popen",
    "run_module",
    "run_path",
    "spec_from_file_location",
    "system",
    "unsafe_load",
    "yaml.load",
    "EntryPoint.load",
}
# (file, what) → why no data decides what is run or imported.
ALLOWED = {
    ("durable/__init__.py", "import_module"): "from a table in the same module",
    ("durable/__main__.py", "import_module"): "from a list in the same module",
    ("durable/_engine/connect.py", "EntryPoint.load"): "adapters that were installed, chosen by the URL's scheme",
    ("durable/_engine/processes.py", "import_module"): "the module of a step that this process has declared",
    ("durable/cli/apps.py", "import_module"): "the operator's APP argument",
    ("durable/cli/apps.py", "exec_module"): "the operator's APP argument",
    ("durable/cli/apps.py", "spec_from_file_location"): "the operator's APP argument",
    ("durable/cli/process.py", "import_module"): "one name, written there",
    ("durable/cli/plugins.py", "EntryPoint.load"): "commands of packages that were installed",
    ("durable_dag/__init__.py", "import_module"): "from a table in the same module",
    ("durable_dag/cli/yaml.py", "import_module"): "one name, written there",
    ("durable_dag/cli/yaml.py", "load"): "with the safe loader, made safer",
    ("durable_dag/egress/client.py", "import_module"): "two names, written there",
    ("durable_dag/graph/keywords.py", "import_module"): "two names, written there",
    ("durable_dag/graph/schemas.py", "import_module"): "one name, written there",
    ("durable_server/__init__.py", "import_module"): "from a table in the same module",
    ("durable/cli/lazy.py", "import_module"): "commands from a table in durable/cli/main.py",
    (
        "durable_dag/js/helper.py",
        "exec_module",
    ): "one extension module, from a file that its parent has found",
    ("durable_dag/js/helper.py", "spec_from_file_location"): "the same",
    ("durable_testing/__init__.py", "import_module"): "from a table in the same module",
    ("durable_testing/_determinism/elsewhere.py", "import_module"): "the test's own module, in its own child process",
    ("durable_testing/wall.py", "import_module"): "two names, written there",
}


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), parsed(path.read_text())


def executing(tree: ast.Module) -> Iterator[str]:
    """What in a module could run or import what data names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in MODULES and not node.level:
                yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from called(node)


def called(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name) and node.func.id in NAMES | ATTRIBUTES:
        yield node.func.id
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if node.func.attr in ATTRIBUTES or f"{owner}.{node.func.attr}" in ATTRIBUTES:
            yield node.func.attr
        if owner == "point" and node.func.attr == "load":
            yield "EntryPoint.load"
    if any(word.arg == "shell" and not is_false(word.value) for word in node.keywords):
        yield "shell=True"


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_no_shipped_package_runs_or_imports_what_data_names() -> None:
    found = {(name, what) for name, tree in sources(*PACKAGES) for what in executing(tree)}
    assert sorted(found - set(ALLOWED)) == []
    assert sorted(set(ALLOWED) - found) == [], "an exception that nobody needs any more"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from yaml import load",
        "import xmlrpc.client",
        "eval(x)",
        "import os\nos.system(x)",
        "import yaml_\nyaml.load(x)",
        "run(x, shell=True)",
        "run(x, shell=flag)",
        "from importlib import import_module\nimport_module(x)",
        "import importlib\nimportlib.import_module(x)",
        "point.load()",
    ],
)
def test_the_look_at_the_source_finds_what_it_is_for(text: str) -> None:
    assert list(executing(parsed(text)))


# (file, function) → where the names come from. In what opens payloads, no attribute is looked up by a payload's name.
GETATTR = {
    ("durable/codec/sameness.py", "_attributes"): "field names of a dataclass",
    ("durable/codec/sameness.py", "compare"): "field names of a dataclass",
    ("durable/codec/sameness.py", "_paired"): "field names of a model or dataclass",
}


def test_what_opens_payloads_looks_no_attribute_up_by_name() -> None:
    found = set()
    for name, tree in sources("durable/codec", "durable_sqlite"):
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
                if named and not isinstance(node.args[1], ast.Constant):
                    found.add((name, function.name))
    assert found == set(GETATTR)
