"""S2: statements are written down, values are bound, and a connection can do no more than the store's work."""

import ast
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable.store import RunId, RunQuery
from durable_sqlite import SqliteStore, files, schema
from durable_testing import MemoryStore
from durable_testing.clock import ManualClock
from durable_testing.conformance import StoreContract
from durable_testing.conformance.bench import new_run
from tests.parsing import parsed

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "durable_sqlite"
RUNS = ("execute", "executemany")

# (file, function, what is run) → which constants it can be.
ALLOWED = {
    ("given.py", "write_one", "self._of_one"): "the constant it was made of, its columns replaced by question marks",
    ("given.py", "write", "self.text(size)"): "the same constant, with so many rows of question marks",
    ("files.py", "_is_blank", "f'PRAGMA {name}'"): "names from a tuple in the same line",
    ("listing.py", "list_runs", "STATEMENTS['list', _lead(query, status)]"): "a table that is built at import",
    ("listing.py", "count", "STATEMENTS['count', _lead(query, status)]"): "a table that is built at import",
    ("rows.py", "_write", "statement"): "two constants of this module, named by its own methods",
    ("schema.py", "migrate", "statement"): "the list of migrations in this module",
    ("schema.py", "_pragma", "text"): "constants of this module's functions",
    ("upkeep.py", "purge", "statement"): "three constants of this module",
    ("upkeep.py", "purge", "delete"): "a tuple of constants of this module",
    ("upkeep.py", "purgeable", "statement"): "three constants of this module",
    ("upkeep.py", "check", "statement"): "a tuple of constants of this module",
}


def constants(tree: ast.Module) -> set[str]:
    """Names that a module gives a value to at its own level."""
    targets = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def is_static(node: ast.expr, known: set[str]) -> bool:
    """Whether it is the same text whatever a caller gives; whole numbers may be formatted into it."""
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name in known
        case ast.IfExp(body=first, orelse=second):
            return is_static(first, known) and is_static(second, known)
        case ast.JoinedStr(values=parts):
            return all(isinstance(part, ast.Constant) or is_whole_number(part) for part in parts)
        case _:
            return False


def is_whole_number(part: ast.expr) -> bool:
    spec = part.format_spec if isinstance(part, ast.FormattedValue) else None
    return isinstance(spec, ast.JoinedStr) and ast.unparse(spec) == "f'd'"


def statements(name: str, tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """What is run that is not plainly static."""
    known = constants(tree)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in RUNS and node.args and not is_static(node.args[0], known):
                    yield name, function.name, ast.unparse(node.args[0])


def test_every_statement_is_written_down() -> None:
    found = {each for path in sorted(PACKAGE.glob("*.py")) for each in statements(path.name, parsed(path.read_text()))}
    assert sorted(found - set(ALLOWED)) == []


@pytest.mark.parametrize("statement", ["f'SELECT {x}'", "'SELECT ' + x", "'%s' % x", "x", "'{}'.format(x)", "f'{x:s}'"])
def test_the_look_at_the_source_finds_what_is_put_together(statement: str) -> None:
    assert list(statements("m.py", parsed(f"def f(raw, x):\n    raw.execute({statement})")))


def test_nothing_runs_several_statements_at_once_or_loads_extensions() -> None:
    for path in ROOT.glob("durable*/**/*.py"):
        named = {node.attr for node in ast.walk(parsed(path.read_text())) if isinstance(node, ast.Attribute)}
        assert named & {"executescript", "enable_load_extension", "load_extension"} == set(), path


def test_only_the_adapter_opens_databases() -> None:
    """Others may ask which SQLite there is."""
    for path in ROOT.glob("durable*/**/*.py"):
        if PACKAGE not in path.parents:
            assert "sqlite3.connect(" not in path.read_text(), path


# ── what a connection may do ─────────────────────────────────────────────────────────────────────────────────────────

PRAGMAS = {
    "busy_timeout",
    "data_version",
    "freelist_count",
    "incremental_vacuum",
    "integrity_check",
    "page_count",
    "page_size",
    "synchronous",
    "wal_checkpoint",
}
ROWS = {sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
PLAIN = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
FUNCTIONS = {
    "coalesce",
    "count",
    "iif",
    "json_array",
    "json_each",
    "json_extract",
    "json_group_array",
    "max",
    "min",
}
TABLES = set(schema._EXPECTED) | {"json_each", "sqlite_master"}


class Warden:
    """Refuses what the store's ordinary work does not need, and remembers it."""

    def __init__(self) -> None:
        self.refused: set[tuple[int, str | None, str | None]] = set()
        self.asked = 0

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        self.asked += 1
        allowed = (
            action in PLAIN
            or (action in ROWS and first in TABLES)
            or (action == sqlite3.SQLITE_PRAGMA and first in PRAGMAS)
            or (action == sqlite3.SQLITE_FUNCTION and second in FUNCTIONS)
            or action == sqlite3.SQLITE_RECURSIVE
        )
        if not allowed:
            self.refused.add((action, first, second))
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@pytest.fixture
def warden(monkeypatch: pytest.MonkeyPatch) -> Warden:
    """Every connection of the store has it from when it is open."""
    warden, connect = Warden(), files.connect

    def watched(path: str) -> sqlite3.Connection:
        raw = connect(path)
        raw.set_authorizer(warden)
        return raw

    monkeypatch.setattr(files, "connect", watched)
    return warden


@pytest.mark.slow
class TestUnderAWarden(StoreContract):
    """All that a store does, with everything else refused."""

    @pytest.fixture(autouse=True)
    def _watched(self, tmp_path: Path, warden: Warden) -> Iterator[None]:
        self.directory, self.files = tmp_path, 0
        yield
        assert warden.refused == set()
        assert warden.asked or not self.files

    async def make_store(self, clock: ManualClock) -> SqliteStore:
        self.files += 1
        store = SqliteStore(f"sqlite:///{self.directory}/{self.files}.db?durability=relaxed", clock=clock)
        await store.open()
        return store


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH 'other.db' AS other",
        "DETACH other",
        "SELECT load_extension('evil')",
        "SELECT readfile('/etc/passwd')",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = DELETE",
        "CREATE TABLE evil (id)",
        "CREATE TEMP TABLE evil (id)",
        "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN SELECT 1; END",
        "CREATE VIEW evil AS SELECT 1",
        "CREATE VIRTUAL TABLE evil USING fts5(x)",
        "ALTER TABLE runs ADD COLUMN evil",
        "DROP TABLE runs",
        "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
        "VACUUM INTO 'copy.db'",
    ],
)
async def test_the_warden_refuses_what_it_is_for(statement: str, warden: Warden, tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/runs.db")
    await store.open()
    with pytest.raises(Exception):
        await store._database.run_writer(lambda raw: raw.execute(statement).fetchall())
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["runs.db"]
    await store.close()


# ── values are values ────────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "a_b%",
    "'; DROP TABLE runs; --",
    '" OR ""="',
    "x' OR '1'='1",
    "\\",
    "\\%\\_",
    "*",
    "?",
    ":id",
    "@id",
    "$id",
    "$[0]",
    "$.a",
    '["a"]',
    "NULL",
    "null",
    "1; ATTACH 'x' AS y",
    "/*",
    "`runs`",
    "[runs]",
    "0x41",
    "%",
    "_",
    "é",
    "\U0001f600",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_finds_itself_and_nothing_else(text: str, tmp_path: Path) -> None:
    """As id, prefix, workflow, queue, label's name and value: the answers are those of the memory store."""
    found = []
    for store in (SqliteStore(f"sqlite:///{tmp_path}/runs.db?durability=relaxed"), MemoryStore()):
        await store.open()
        others = [RunId("axbc"), RunId("plain"), RunId("runs")]
        await store.create([new_run(id) for id in others])
        await store.create([new_run(RunId(text), workflow=text, queue=text, labels={text: text})])
        queries = (
            RunQuery(id_prefix=text),
            RunQuery(workflow=text),
            RunQuery(queue=text),
            RunQuery(labels={text: text}),
            RunQuery(labels={text: "other"}),
        )
        pages = [await store.list(query, 10, None) for query in queries]
        counts = [await store.count(query) for query in queries]
        assert await store.input(RunId(text)) == b"input of " + text.encode()
        found.append(([[run.id for run in page.runs] for page in pages], counts, len(await store.check())))
        await store.close()
    assert found[0] == found[1]
    assert found[0] == ([[text], [text], [text], [text], []], [1, 1, 1, 1, 0], 0)
