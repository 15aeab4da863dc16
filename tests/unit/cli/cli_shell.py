"""A way to call ``durable`` from tests: in this process and in others, with a store and an app of its own."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from durable.cli.main import cli

APP = """
import asyncio
import time

from durable import Client, Context, NonRetryable, Retry, Signal, Worker, step, workflow


class Refused(NonRetryable):
    pass


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@step(retry=Retry(3, initial=0.01))
async def shaky(name: str) -> str:
    if not shaky_calls:
        shaky_calls.append(name)
        raise ConnectionError("no answer")
    return name


shaky_calls: list[str] = []


@step
async def refuse(name: str) -> None:
    raise Refused(f"not {name}")


@step(effect="at_most_once")
async def once(name: str) -> str:
    await asyncio.sleep(60)
    return name


@step
def stuck(seconds: float) -> None:
    time.sleep(seconds)


@workflow
async def hello(ctx: Context, name: str) -> str:
    return await ctx.step(greet, name)


@workflow
async def pair(ctx: Context, first: str, second: str = "you") -> str:
    return await ctx.step(shaky, f"{first} and {second}")


@workflow
async def refused(ctx: Context, name: str) -> None:
    await ctx.step(refuse, name)


@workflow
async def waits(ctx: Context, name: str) -> str:
    return f"{name}: {await ctx.wait_for_signal('go')}"


@workflow
async def nothing(ctx: Context) -> None:
    pass


@workflow
async def careful(ctx: Context, name: str) -> str:
    return await ctx.step(once, name)


@workflow
async def sticky(ctx: Context, seconds: float) -> None:
    await ctx.step(stuck, seconds)


some = [hello, waits]
number = 7


def make(client: Client) -> Worker:
    return Worker(client, workflows=[hello, waits, refused, careful, sticky], drain=0.2)
"""


class Shell:
    """``durable`` in this process, and in others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[str]] = []
        self.url = f"sqlite:///{directory}/runs.db"
        self.app = str(directory / "shop_app.py")
        self.env = {
            **{key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")},
            "DURABLE_STORE": self.url,
            "COLUMNS": "110",
            "PYTHONIOENCODING": "utf-8",
        }

    def __call__(self, *args: str, input: str | None = None, **env: str | None) -> Result:
        """One command, in this process."""
        return CliRunner(env={**self.env, **env}).invoke(cli, list(args), input=input)

    def process(self, *args: str) -> "subprocess.Popen[str]":
        """One command, in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "durable", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.directory,
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """No process and no pipe is left behind."""
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def data(self, *args: str) -> str:
        """What a command that must succeed prints."""
        result = self(*args)
        assert result.exit_code == 0, result.stderr
        return result.stdout
