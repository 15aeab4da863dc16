"""``python -m tests.longlife.mate URL``: a worker that measures itself for each line that it reads."""

from __future__ import annotations

import asyncio
import logging
import sys

from durable import connect
from tests.longlife.life import as_answer, rested, warm, worker_of
from tests.longlife.samples import Base, process_sample


async def main(url: str) -> None:
    """Until nobody asks any more."""
    logging.getLogger("durable.worker").setLevel(logging.ERROR)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    wanted: Base | None = None
    async with connect(url) as client, worker_of(client) as worker:
        await warm(client)
        say(b"{}\n")
        while await lines.readline():
            worker.evict()
            at = await rested(wanted)
            wanted = at if wanted is None else wanted
            say(as_answer(process_sample("", 0, at)))


def say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
