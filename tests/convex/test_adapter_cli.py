"""``durable-convex``: what it writes, what it finds, and that it overwrites nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from durable_convex import development
from durable_convex.__main__ import main
from durable_convex.install import COMPONENT
from tests.convex.deployments import TOKEN as STANDIN_TOKEN
from tests.convex.lookalike import TOKEN, Lookalike

HERE = Path(__file__).parents[2]
OURS = sorted(path.name for path in (HERE / "durable_convex" / "convex").glob("*.ts"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DURABLE_STORE", "DURABLE_TOKEN", "DURABLE_CONVEX_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_init_writes_the_component_and_the_two_files_and_says_the_next_two_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["init"]) == 0
    assert sorted(path.name for path in (Path("convex") / COMPONENT).iterdir()) == OURS
    wrapper = Path("convex/durable.ts").read_text()
    assert len(wrapper.splitlines()) == 4
    assert "app.use(durable)" in Path("convex/convex.config.ts").read_text()
    said = capsys.readouterr().out
    assert "npx convex dev --once" in said
    assert "npx convex env set DURABLE_TOKEN" in said


def test_init_again_changes_nothing_and_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "app/convex"])
    before = {path: path.stat().st_mtime_ns for path in Path("app").rglob("*")}
    assert main(["init", "app/convex"]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path("app").rglob("*")} == before
    assert "there already" in capsys.readouterr().out


def test_init_overwrites_no_file_of_the_app_and_says_what_it_must_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("convex").mkdir()
    Path("convex/convex.config.ts").write_text("export default mine;\n")
    assert main(["init"]) == 1
    assert Path("convex/convex.config.ts").read_text() == "export default mine;\n"
    said = capsys.readouterr().err
    assert "left convex/convex.config.ts as it is" in said
    assert "app.use(durable);" in said


def test_init_is_content_with_an_app_that_uses_the_component_in_its_own_way() -> None:
    main(["init"])
    config = Path("convex/convex.config.ts")
    config.write_text(config.read_text().replace("app.use(durable);", 'app.use(durable, { name: "jobs" });'))
    assert main(["init"]) == 0


def test_an_older_component_is_left_alone_until_upgrade_and_then_it_alone_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["init"])
    old, own = Path("convex") / COMPONENT / OURS[0], Path("convex/durable.ts")
    old.write_text("// older\n")
    own.write_text(own.read_text() + "// mine\n")
    assert main(["init"]) == 1
    assert old.read_text() == "// older\n"
    assert "init --upgrade" in capsys.readouterr().err
    assert main(["init", "--upgrade"]) == 0
    assert old.read_text() != "// older\n"
    assert own.read_text().endswith("// mine\n")


def test_init_into_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("convex").write_text("")
    assert main(["init"]) == 1
    assert "is a file" in capsys.readouterr().err


def test_doctor_finds_a_deployment_in_order(
    look: Lookalike, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_STORE", f"convex+{look.url}")
    monkeypatch.setenv("DURABLE_TOKEN", TOKEN)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "protocol 1 (this package: 1), shards 4" in said
    assert "subscription   stands" in said
    assert TOKEN not in said


def test_doctor_says_what_is_wrong_with_the_token(look: Lookalike, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", f"convex+{look.url}"]) == 1
    said = capsys.readouterr().out
    assert "neither DURABLE_CONVEX_TOKEN nor DURABLE_TOKEN" in said
    assert "refuses the token" in said


def test_doctor_says_what_is_wrong_with_the_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "convex+https://x.convex.site"]) == 1
    assert "HTTP actions" in capsys.readouterr().out
    assert main(["doctor"]) == 2
    assert "DURABLE_STORE" in capsys.readouterr().err


def test_dev_without_node_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init"])
    monkeypatch.setenv("PATH", "")
    assert main(["dev"]) == 1
    assert "nodejs.org" in capsys.readouterr().err


def test_dev_without_a_directory_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev", "--dir", "nowhere"]) == 2
    assert "durable-convex init" in capsys.readouterr().err


def test_the_stand_ins_packages_are_installed_once_into_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an npm that only writes down what it was asked."""
    tools, package = tmp_path / "tools", tmp_path / "package"
    tools.mkdir()
    (package / "deployment").mkdir(parents=True)
    (package / "deployment" / "start.mjs").write_text("")
    npm = tools / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nmkdir node_modules\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(development, "files", lambda name: package)
    first = development.prepared()
    assert first.is_relative_to(tmp_path / "cache")
    assert (first / "start.mjs").exists()
    assert development.prepared() == first
    assert (tmp_path / "asked").read_text().splitlines() == ["ci --omit=dev --no-audit --no-fund"]
    (package / "deployment" / "start.mjs").write_text("// newer")
    assert development.prepared() != first, "another version has a place of its own"
    assert "once" in capsys.readouterr().out


@pytest.mark.slow
def test_init_dev_doctor_one_after_the_other_are_a_live_deployment(tmp_path: Path, unused_tcp_port: int) -> None:
    development.prepared()
    main(["init"])
    environment = {**os.environ, "DURABLE_TOKEN": STANDIN_TOKEN}
    command = [sys.executable, "-m", "durable_convex"]
    with subprocess.Popen(
        [*command, "dev", "--port", str(unused_tcp_port), "--data", "data"], env=environment, stdout=subprocess.PIPE
    ) as dev:
        try:
            url = f"convex+http://127.0.0.1:{unused_tcp_port}"
            for _ in range(100):
                found = subprocess.run([*command, "doctor", url], env=environment, capture_output=True, text=True)
                if found.returncode == 0:
                    break
                time.sleep(0.1)
            assert found.returncode == 0, found.stdout + found.stderr
            assert "subscription   stands" in found.stdout
        finally:
            dev.terminate()
            assert dev.wait(10) is not None
            assert dev.stdout is not None
            assert f"DURABLE_STORE={url}" in dev.stdout.read().decode()


def test_without_the_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['aiohttp'] = None; import durable_convex.__main__"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("needs its extra: pip install 'durable-engine[convex]'")
