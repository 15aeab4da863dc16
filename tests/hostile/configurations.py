"""What each hostile configuration is, and how it is applied to a process."""

from __future__ import annotations

import functools
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tests.hostile.imports import Turn, turn_when_imported

__all__ = [
    "CONFIGURATIONS",
    "NEEDS",
    "VARIABLE",
    "Configuration",
    "active",
    "apply",
    "check_environment",
    "checked",
    "named",
    "patience",
]

VARIABLE: Final = "DURABLE_HOSTILE"

# What a test may need that some configuration takes away; see ``pytest.mark.needs``.
NEEDS: Final = {
    "pages": "a page may have more than one row",
    "batches": "one transaction may hold many commits, and one commit many entries",
    "hints": "the store tells of changes at once",
    "polling": "the engine looks at the store now and then by itself",
    "threads": "several plain `def` steps run at once",
    "memory": "a `memory://` URL opens the memory store",
}


@dataclass(frozen=True)
class Configuration:
    """One way to run the whole suite.

    Attributes:
        hostility: What is different, in one sentence.
        takes: Keys of ``NEEDS``: tests that need one of these are left out.
        turns: By module: what is done to it right after its import.
        environment: Variables that its processes start with.
        pytest: Further arguments for pytest.
        begin: Called once in each process.
        patience: Factor on how long the suite's helpers wait for what must come.
    """

    hostility: str
    takes: frozenset[str] = frozenset()
    turns: Mapping[str, Turn] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    pytest: tuple[str, ...] = ()
    begin: Callable[[], object] | None = None
    patience: float = 1.0


_DEFAULTS: Final = "durable._model.defaults"
_CONNECT: Final = "durable._engine.connect"


def _set(**values: object) -> Turn:
    """Give constants of a module other values."""

    def turn(module: ModuleType) -> None:
        for name, value in values.items():
            if not hasattr(module, name):
                raise AttributeError(f"{module.__name__} has no {name}; the hostile configurations have to follow.")
            setattr(module, name, value)

    return turn


def _worker_default(**values: object) -> Turn:
    """Give arguments of ``Worker`` other defaults."""

    def turn(module: ModuleType) -> None:
        defaults: dict[str, object] = module.Worker.__init__.__kwdefaults__
        for name, value in values.items():
            defaults[name] = (defaults[name], value)[1]  # a name that is not there is a KeyError

    return turn


class _OneRow:
    """The defaults as they stand, but for this: a page is full with one row."""

    PAGE_SIZE_MAX = 1

    def __init__(self, defaults: ModuleType) -> None:
        self._defaults = defaults

    def __getattr__(self, name: str) -> object:
        return getattr(self._defaults, name)


def _one_row(module: ModuleType) -> None:
    module.defaults = _OneRow(module.defaults)  # type: ignore[attr-defined]


def _layer(name: str) -> Turn:
    """Put a layer between the engine and each store that is opened by its URL."""

    def turn(module: ModuleType) -> None:
        opened = module.open_store

        @functools.wraps(opened)
        def open_store(*args: Any, **kwargs: Any) -> Any:
            from tests.hostile import layers

            return getattr(layers, name)(opened(*args, **kwargs))

        module.open_store = open_store  # type: ignore[attr-defined]

    return turn


def _url(change: Callable[[str], str]) -> Turn:
    """Change each store URL before it is opened."""

    def turn(module: ModuleType) -> None:
        opened = module.open_store

        @functools.wraps(opened)
        def open_store(url: str | None = None, **kwargs: Any) -> Any:
            chosen = os.environ.get("DURABLE_STORE") or module.defaults.STORE_URL if url is None else url
            return opened(change(chosen) if isinstance(chosen, str) else chosen, **kwargs)

        module.open_store = open_store  # type: ignore[attr-defined]

    return turn


def _relaxed(url: str) -> str:
    if not url.startswith("sqlite:///") or "durability=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}durability=relaxed"


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="durable-hostile-")


_unnamed = 0


def _on_sqlite(url: str) -> str:
    """What was to be in memory is in a file."""
    global _unnamed
    scheme, _, name = url.partition("://")
    if scheme != "memory":
        return url
    if not name:
        _unnamed += 1
        name = f"unnamed-{_unnamed}"
    return f"sqlite:///{Path(_folder().name) / f'{name}.db'}"


_NEVER: Final = 3_600.0

CONFIGURATIONS: Final[Mapping[str, Configuration]] = {
    "plain": Configuration("Nothing is different: what the others are compared with."),
    "cache-0": Configuration(
        "No waiting run stays in memory: every wake-up replays.",
        turns={_DEFAULTS: _set(CACHE_RUNS=0)},
    ),
    "page-1": Configuration(
        "Every page has one row: journals, inboxes, streams, lists, purges; a poll claims one run.",
        frozenset({"pages"}),
        {
            "durable._engine.takeup": _one_row,
            "durable._engine.runner": _one_row,
            _CONNECT: _layer("OneRowPages"),
        },
        patience=4.0,
    ),
    "batch-1": Configuration(
        "One commit in a transaction, one entry or command in a commit.",
        frozenset({"batches"}),
        {
            _DEFAULTS: _set(COMMIT_ITEMS_MAX=1, COMMIT_BYTES_MAX=2),
            "durable._engine.committer": _set(_BATCH_MAX=1),
        },
    ),
    "lease-minimal": Configuration(
        "Leases of one second, renewed three times a second.",
        turns={_DEFAULTS: _set(LEASE_SECONDS=1.0)},
    ),
    "no-notifier": Configuration(
        "The store cannot hint: all is found by looking ten times a second.",
        frozenset({"hints"}),
        {_CONNECT: _layer("Unhinted")},
        patience=2.0,
    ),
    "silent-notifier": Configuration(
        "The store says that it hints and never does: all is found by looking once a second.",
        frozenset({"hints"}),
        {_CONNECT: _layer("Silent")},
        patience=8.0,
    ),
    "no-polling": Configuration(
        "Nothing looks at the store by itself for an hour: hints and known due times have to be enough.",
        frozenset({"polling"}),
        {_DEFAULTS: _set(POLL_SECONDS=_NEVER, POLL_UNHINTED_SECONDS=_NEVER, LEASE_SECONDS=3 * _NEVER)},
    ),
    "one-thread": Configuration(
        "One thread for all plain `def` steps of a worker.",
        frozenset({"threads"}),
        {"durable._engine.worker": _worker_default(threads=1)},
    ),
    "latency": Configuration(
        "Each store call is held up by a seeded random time, before and after, so that calls overtake each other.",
        turns={_CONNECT: _layer("Slow")},
        patience=4.0,
    ),
    "gc-1": Configuration(
        "The garbage collector runs at each allocation: `gc.set_threshold(1)`.",
        begin=functools.partial(gc.set_threshold, 1),
        patience=8.0,
    ),
    "switch-interval": Configuration(
        "Threads take turns a thousand times as often: `sys.setswitchinterval(1e-6)`.",
        begin=functools.partial(sys.setswitchinterval, 1e-6),
        patience=2.0,
    ),
    "dev-mode": Configuration(
        "`-X dev -W error`, asyncio in debug mode; what is raised where nobody can catch it fails the test.",
        environment={"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "error"},
        pytest=("-W", "error::pytest.PytestUnraisableExceptionWarning"),
        patience=4.0,
    ),
    **{
        f"hash-seed-{seed}": Configuration(
            f"Sets and hashes in the order of `PYTHONHASHSEED={seed}`.", environment={"PYTHONHASHSEED": str(seed)}
        )
        for seed in range(1, 9)
    },
    "relaxed": Configuration("SQLite stores are opened with `durability=relaxed`.", turns={_CONNECT: _url(_relaxed)}),
    "on-sqlite": Configuration(
        "What a test keeps in `memory://` lies in an SQLite file.",
        frozenset({"memory"}),
        {_CONNECT: _url(_on_sqlite)},
        patience=2.0,
    ),
}


def named(name: str) -> Configuration:
    """One configuration, or several at once: ``page-1+no-polling``.

    Raises:
        LookupError: There is none of this name.
    """
    words = name.split("+")
    unknown = [word for word in words if word not in CONFIGURATIONS]
    if unknown:
        raise LookupError(f"{', '.join(unknown)}: no such configuration; there are {', '.join(CONFIGURATIONS)}.")
    return functools.reduce(_both, [CONFIGURATIONS[word] for word in words])


def _both(one: Configuration, other: Configuration) -> Configuration:
    turns = dict(one.turns)
    for module, turn in other.turns.items():
        turns[module] = turn if module not in turns else _after(turns[module], turn)
    return Configuration(
        f"{one.hostility} {other.hostility}",
        one.takes | other.takes,
        turns,
        {**one.environment, **other.environment},
        (*one.pytest, *other.pytest),
        one.begin if other.begin is None else other.begin if one.begin is None else _each(one.begin, other.begin),
        max(one.patience, other.patience),
    )


def _after(first: Turn, second: Turn) -> Turn:
    def turn(module: ModuleType) -> None:
        first(module)
        second(module)

    return turn


def _each(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], object]:
    return lambda: (first(), second())


def active() -> Configuration:
    """The configuration that the environment names.

    Raises:
        LookupError: There is none of this name.
    """
    return named(os.environ.get(VARIABLE) or "plain")


def patience() -> float:
    """Factor on how long the suite's helpers wait for what must come."""
    return active().patience


def checked(mark: Any) -> frozenset[str]:
    """What a ``needs`` mark names.

    Raises:
        LookupError: Something that no configuration takes.
        TypeError: It gives no reason.
    """
    unknown = set(mark.args) - NEEDS.keys()
    if unknown or not mark.args:
        raise LookupError(f"needs({', '.join(map(repr, mark.args))}): known needs are {', '.join(NEEDS)}.")
    if mark.kwargs.keys() != {"reason"} or not mark.kwargs["reason"]:
        raise TypeError("needs(...) takes one reason.")
    return frozenset(mark.args)


def check_environment() -> None:
    """Refuse a configuration that begins before Python does, if it has not.

    Raises:
        RuntimeError: The process was started without its variables.
    """
    missing = {name: value for name, value in active().environment.items() if os.environ.get(name) != value}
    if missing:
        raise RuntimeError(f"Set {missing} before Python starts, or use `python -m tests.hostile`.")


_applied = False


def apply() -> None:
    """Apply the active configuration to this process, once."""
    global _applied
    if _applied:
        return
    _applied = True
    chosen = active()
    if chosen.turns:
        turn_when_imported(chosen.turns)
    if chosen.begin is not None:
        chosen.begin()
