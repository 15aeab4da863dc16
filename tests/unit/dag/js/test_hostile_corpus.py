"""Each line of the corpus ends in time, the host is unharmed, and the next call is right."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_corpus import BOMBS, CORPUS, Hostile

from durable_dag.js import JsFailure, JsInterrupted, JsMemory, ProcessJs
from tests.hostile import configurations as hostile

HERE = Path(__file__).parent
SECONDS_MAX = 1.2 * hostile.patience()
HOST_BYTES_MAX = 100 * 1024 * 1024
HELPER_BYTES_MAX = 100 * 1024 * 1024
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def host_bytes() -> int:
    """The most memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


async def outcome(js: ProcessJs, line: Hostile) -> object:
    """The value or the error; a machine too busy to run JavaScript says nothing about it, so that is asked again."""
    for _ in range(20):
        assert await js.evaluate("6 * 7") == 42
        began = time.perf_counter()
        try:
            found: object = await js.call(line.body)
        except JsFailure as error:
            found = error
        assert time.perf_counter() - began <= SECONDS_MAX
        if not isinstance(found, JsInterrupted):
            break
    return found


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.slow
@pytest.mark.parametrize("line", CORPUS, ids=lambda line: line.name)
async def test_a_hostile_line_ends_in_time_and_harms_nobody(shared: ProcessJs, line: Hostile) -> None:
    before = host_bytes()
    found = await outcome(shared, line)
    if line.ends:
        assert isinstance(found, line.ends), found
    else:
        assert found == line.value
    assert host_bytes() - before < HOST_BYTES_MAX
    assert await shared.call("return input.a.concat(typeof a)", {"input": {"a": [1]}}) == [1, "undefined"]


async def bombed() -> None:
    async with ProcessJs() as js:
        for line in BOMBS:
            if JsMemory in line.ends:
                await outcome(js, line)


@pytest.mark.slow
def test_the_helpers_themselves_stay_small() -> None:
    """A program of its own, in which all processes that ended were helpers."""
    program = (
        "import asyncio, resource, test_hostile_corpus as t\n"
        "asyncio.run(t.bombed())\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * t.UNIT)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < HELPER_BYTES_MAX
