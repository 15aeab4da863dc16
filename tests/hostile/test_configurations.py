"""A hostile configuration that is not applied would pass every test: each is seen at work in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.hostile.configurations import CONFIGURATIONS, VARIABLE, checked, named

ROOT = Path(__file__).parents[2]
START = Path(__file__).with_name("start")

OPEN = "from durable._engine.connect import open_store; store = open_store('memory://x'); "
TASK = "import asyncio; "
# What a process prints that is asked about its own knobs.
SEEN = {
    "plain": ("from durable._model import defaults; print(defaults.CACHE_RUNS)", "1000"),
    "cache-0": ("from durable import Worker; print(Worker.__init__.__kwdefaults__['cache'])", "0"),
    "page-1": (OPEN + "print(type(store).__name__, type(store.dedicated()).__name__)", "OneRowPages OneRowPages"),
    "batch-1": (
        "from durable._core import inbox, plan; from durable._engine import committer; "
        "print(inbox.COMMIT_ITEMS_MAX, plan.COMMIT_ITEMS_MAX, committer._BATCH_MAX)",
        "1 1 1",
    ),
    "lease-minimal": ("from durable import Worker; print(Worker.__init__.__kwdefaults__['lease'])", "1.0"),
    "no-notifier": (OPEN + "print(type(store).__name__, store.hinted)", "Unhinted False"),
    "silent-notifier": (OPEN + "print(type(store).__name__, store.hinted)", "Silent True"),
    "no-polling": ("from durable._engine import pace; print(pace.defaults.POLL_SECONDS)", "3600.0"),
    "one-thread": ("from durable import Worker; print(Worker.__init__.__kwdefaults__['threads'])", "1"),
    "latency": (OPEN + "print(type(store).__name__, store.hinted)", "Slow True"),
    "gc-1": ("import gc; print(gc.get_threshold()[0])", "1"),
    "switch-interval": ("import sys; print(sys.getswitchinterval())", "1e-06"),
    "dev-mode": (
        "import asyncio, sys; print(sys.flags.dev_mode, 'error' in sys.warnoptions, "
        "asyncio.new_event_loop().get_debug())",
        "True True True",
    ),
    "relaxed": (
        "from durable._engine.connect import open_store; print(open_store('sqlite:///x.db')._database._target.durability)",
        "relaxed",
    ),
    "on-sqlite": (OPEN + "print(type(store).__name__)", "SqliteStore"),
    **{f"hash-seed-{seed}": ("import os; print(os.environ['PYTHONHASHSEED'])", str(seed)) for seed in range(1, 9)},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_reaches_every_process(name: str) -> None:
    program, expected = SEEN[name]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DURABLE"))},
        **CONFIGURATIONS[name].environment,
        VARIABLE: name,
        "PYTHONPATH": os.pathsep.join((str(START), str(ROOT))),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr


def test_a_configuration_that_comes_too_late_is_refused() -> None:
    program = "import durable; from tests.hostile.configurations import apply; apply()"
    environment = {**os.environ, VARIABLE: "cache-0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "has to be applied before durable._model.defaults is imported" in done.stderr


def test_an_unknown_configuration_is_refused() -> None:
    program = "from tests.hostile.configurations import apply; apply()"
    environment = {**os.environ, VARIABLE: "mild", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "mild: no such configuration; there are plain, cache-0," in done.stderr


def test_configurations_add_up() -> None:
    both = named("page-1+no-polling")
    assert both.takes == {"pages", "polling"}
    assert set(both.turns) == {*CONFIGURATIONS["page-1"].turns, *CONFIGURATIONS["no-polling"].turns}
    slow = named("latency+no-notifier+gc-1")
    assert slow.patience == 8.0
    module = ModuleType("connect")
    module.open_store = lambda url: url  # type: ignore[attr-defined]
    slow.turns["durable._engine.connect"](module)
    layered = module.open_store("memory://")
    assert (type(layered).__name__, type(layered._inner).__name__) == ("Unhinted", "Slow")


@pytest.mark.parametrize(
    ("mark", "error"),
    [
        (pytest.mark.needs("sunshine", reason="it is nice").mark, LookupError),
        (pytest.mark.needs(reason="it is nice").mark, LookupError),
        (pytest.mark.needs("polling").mark, TypeError),
        (pytest.mark.needs("polling", reason="").mark, TypeError),
    ],
)
def test_a_mark_names_what_it_needs_and_why(mark: pytest.Mark, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(mark)
    assert checked(pytest.mark.needs("polling", reason="it looks").mark) == {"polling"}
