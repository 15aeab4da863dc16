"""Every code block of the documentation runs.

The ``python`` blocks of a page run in order, in one namespace, as one program in a directory of its own. A page's block
may be left out only by the line ``<!-- no-run: reason -->`` above it. A ``text`` block under ``<!-- output -->`` holds
what the ``python`` block before it prints; ``python tests/docs/test_code_blocks.py docs/testing.md`` writes these anew.
Of ``console`` blocks the commands are checked: known programs, and for ``durable`` its command and options.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
SECONDS = 30
PROGRAMS = {
    "cat",
    "cd",
    "curl",
    "durable",
    "durable-convex",
    "export",
    "kill",
    "make",
    "npm",
    "npx",
    "pip",
    "pytest",
    "python",
    "python3",
    "rm",
    "sqlite3",
}

# Blocks keep their line numbers, so that a traceback points into the page.
DRIVER = """
import contextlib, io, json, linecache, sys
page, blocks = json.loads(sys.stdin.read())
sys.path.insert(0, "")
lines, printed = [], []
for number, block in blocks:
    lines += ["\\n"] * (number - len(lines)) + block.splitlines(True)
    linecache.cache[page] = (sum(map(len, lines)), None, lines, page)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * number + block, page, "exec", dont_inherit=True), globals())
    printed.append(out.getvalue())
print(json.dumps(printed))
"""
# Pages of which the tests are collected and run by pytest, as the readers' would be.
TEST_PAGES = ["README.md", "docs/testing.md"]


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is that of its opening fence, ``above`` the last line with text before it."""

    language: str
    line: int
    text: str
    above: str


def blocks(page: Path) -> Iterator[Block]:
    fence, language, start, above, last = "", "", 0, "", ""
    taken: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        opening = re.match(r"^\s*(`{3,})(\w*)", line)
        if not fence and opening:
            fence, language, start, above, taken = opening[1], opening[2], number, last, []
        elif fence and line.strip() == fence:
            yield Block(language, start, "\n".join(taken) + "\n", above)
            fence = ""
        elif fence:
            taken.append(line)
        if line.strip():
            last = line.strip()
    assert not fence, f"{page.name}:{start}: this block has no end"


def left_out(block: Block) -> bool:
    marker = re.fullmatch(r"<!--\s*no-run\b:?\s*(.*?)\s*-->", block.above)
    assert marker is None or len(marker[1]) >= 10, f"line {block.line}: no-run needs a reason"
    return marker is not None


def programs(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python" and not left_out(block)]


def printed(page: Path, where: Path) -> list[str]:
    """What each of the page's programs prints."""
    wanted = [(block.line, block.text) for block in programs(page)]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", DRIVER],
        input=json.dumps([str(page), wanted]),
        cwd=where,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=without_pytest(),
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def without_pytest() -> dict[str, str]:
    """Reports name the test that runs; a reader's program is none."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}


def outputs(page: Path) -> Iterator[tuple[int, Block]]:
    """The blocks that show what a program prints, each with the program's number."""
    number = -1
    for block in blocks(page):
        if block.language == "python" and not left_out(block):
            number += 1
        if block.above == "<!-- output -->":
            assert block.language == "text", f"line {block.line}: output is text"
            yield number, block


def steady(text: str) -> list[str]:
    """Lines of a page move; the file is called otherwise by the reader."""
    return [re.sub(r"\b[\w-]+\.(md|py):\d+", "test_shop.py:1", line.rstrip()) for line in text.strip().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    page = ROOT / name
    if programs(page):
        said = printed(page, tmp_path)
        for number, block in outputs(page):
            assert steady(block.text) == steady(said[number]), f"{name}:{block.line}"


@pytest.mark.slow
@pytest.mark.parametrize("name", TEST_PAGES)
def test_the_tests_of_a_page_pass(name: str, tmp_path: Path) -> None:
    text = "\n".join(block.text for block in programs(ROOT / name))
    (tmp_path / "test_shop.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "test_shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        env=without_pytest(),
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert f"{len(re.findall(r'^ *(?:async )?def test_', text, re.M))} passed" in done.stdout


def test_every_text_of_the_page_about_tests_is_output() -> None:
    page = ROOT / "docs" / "testing.md"
    shown = {block.line for _, block in outputs(page)}
    assert shown
    assert shown == {block.line for block in blocks(page) if block.language == "text"}


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_page_exist(name: str) -> None:
    for block in blocks(ROOT / name):
        if block.language != "console":
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("$ "):
                for words in commands(line[2:]):
                    check(words, f"{name}:{block.line}")


@pytest.mark.parametrize("name", NAMES)
def test_no_block_is_of_an_unknown_kind(name: str) -> None:
    known = {"console", "json", "mermaid", "python", "sql", "ts", "text", "toml", "ini", "yaml"}
    assert {block.language for block in blocks(ROOT / name)} <= known


def commands(line: str) -> Iterator[list[str]]:
    """The single commands of a shell line, without what redirects or is set for them."""
    words: list[str] = []
    redirected = False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    for word in [*lexer, ";"]:
        if set(word) <= set("&|;"):
            while words and re.match(r"^\w+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        elif not redirected and word not in {"<", ">", ">>"}:
            words.append(word)
        redirected = word in {"<", ">", ">>"}


def check(words: list[str], where: str) -> None:
    program = words[0].rsplit("/", 1)[-1]
    assert program in PROGRAMS, f"{where}: {program} is not a program that our readers surely have"
    if program == "durable":
        parse(words[1:], where)
    elif program in {"python", "python3"} and words[1:2] and words[1].endswith(".py") and "/" in words[1]:
        assert (ROOT / words[1]).is_file(), f"{where}: {words[1]} is not there"


def parse(arguments: list[str], where: str) -> None:
    """Let the command line read a command, without carrying it out."""
    click = pytest.importorskip("click")
    from durable.cli.main import cli

    command, name = cli, "durable"
    context = None
    try:
        while True:
            context = command.make_context(name, list(arguments), parent=context)
            if not isinstance(command, click.Group):
                return
            rest = [*getattr(context, "_protected_args", []), *context.args]
            if not rest:
                return
            found, command, arguments = command.resolve_command(context, rest)
            name = str(found)
    except click.exceptions.Exit:
        return  # --help, --version
    except click.UsageError as error:
        pytest.fail(f"{where}: durable {' '.join(arguments)}: {error.format_message()}")


def write_outputs(page: Path) -> None:
    """Put what the programs print into the page."""
    with tempfile.TemporaryDirectory() as where:
        said = printed(page, Path(where))
    lines = page.read_text().splitlines()
    for number, block in reversed(list(outputs(page))):
        text = re.sub(r"\b" + re.escape(page.name) + r":(\d+)", r"test_shop.py:\1", said[number].strip())
        lines[block.line : block.line + block.text.count("\n") - (not block.text.strip())] = text.splitlines()
    page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write_outputs(Path(argument).resolve())
