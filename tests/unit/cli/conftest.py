"""What the command line's tests share: a store, an app in a file, and a way to call ``durable``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import APP, Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    (tmp_path / "shop_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = set(sys.modules)
    shell = Shell(tmp_path)
    yield shell
    shell.close()
    for name in set(sys.modules) - kept:
        if name.startswith(("shop_app", "durable_app_", "broken_app")):
            del sys.modules[name]
