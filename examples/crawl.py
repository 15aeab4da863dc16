"""A crawl: many steps at once, ten a second, with plain asyncio.gather; and a polite one that forgives a few."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from durable import Context, Retry, Worker, connect, step, workflow

EFFECTS = Path("crawl-effects.txt")
SITE = Path("crawl-site")
PAGES = 20


@step(retry=Retry(3, initial="0.1s"), rate_limit="10/s")
async def scrape(url: str) -> int:
    size = len((SITE / url).read_text())
    with EFFECTS.open("a") as file:
        file.write(f"read {url}\n")
    print(f"  {url}: {size} characters", flush=True)
    return size


@workflow
async def crawl(ctx: Context, urls: list[str]) -> int:
    sizes = await asyncio.gather(*(ctx.step(scrape, url) for url in urls))
    return sum(sizes)


@workflow
async def crawl_politely(ctx: Context, urls: list[str]) -> int:
    return sum(await ctx.map(scrape, urls, limit=20, tolerate=0.05))


def build_site() -> list[str]:
    """The web, as far as this example goes: a directory of pages."""
    SITE.mkdir(exist_ok=True)
    names = [f"page-{number:02}.txt" for number in range(PAGES)]
    for number, name in enumerate(names):
        (SITE / name).write_text("word " * (number + 1))
    return names


async def work(store: str, prefix: str) -> None:
    urls = build_site()
    async with connect(store) as client, Worker(client, workflows=[crawl, crawl_politely]):
        known = (await client.list(id_prefix=prefix)).runs
        print(f"{'Resuming' if known else 'Starting'} run {prefix}", flush=True)
        handle = await client.start(crawl, urls, id=prefix)
        print(f"All pages: {await handle.result()} characters", flush=True)
        polite = await client.start(crawl_politely, [*urls[:-1], "missing.txt"], id=f"{prefix}-politely")
        print(f"Done: {await polite.result()} characters, where one page of twenty is missing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default=os.environ.get("DURABLE_STORE", "sqlite:///crawl.db"))
    parser.add_argument("--id", default="crawl", help="of the run")
    given = parser.parse_args()
    asyncio.run(work(given.store, given.id))


if __name__ == "__main__":
    main()
