"""Every code block of the documentation runs.

The ``python`` blocks of a page run in order, in one namespace, as one program in a directory of its own. A page's block
may be left out only by the line ``<!-- no-run: reason -->`` above it. Of ``console`` blocks the commands are checked:
known programs, and for ``durable`` its command and options.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
SECONDS = 30
PROGRAMS = {"cat", "cd", "durable", "export", "kill", "make", "pip", "pytest", "python", "python3", "rm", "sqlite3"}

# Blocks keep their line numbers, so that a traceback points into the page.
DRIVER = """
import json, linecache, sys
page, blocks = json.loads(sys.stdin.read())
sys.path.insert(0, "")
for number, block in blocks:
    source = "\\n" * number + block
    linecache.cache[page] = (len(source), None, source.splitlines(True), page)
    exec(compile(source, page, "exec", dont_inherit=True), globals())
"""


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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    page = ROOT / name
    wanted = [(block.line, block.text) for block in blocks(page) if block.language == "python" and not left_out(block)]
    if not wanted:
        return
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", DRIVER],
        input=json.dumps([str(page), wanted]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"


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
    known = {"console", "json", "mermaid", "python", "sql", "text", "toml", "ini", "yaml"}
    assert {block.language for block in blocks(ROOT / name)} <= known


def commands(line: str) -> Iterator[list[str]]:
    """The single commands of a shell line, without what redirects or is set for them."""
    words: list[str] = []
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
        elif word not in {"<", ">", ">>"}:
            words.append(word)


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
