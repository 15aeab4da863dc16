"""``durable-convex``: installs the component, looks at a deployment, and stands in for one on this machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from durable.clock import SystemClock
from durable.errors import DurableError
from durable_convex.development import command
from durable_convex.examination import examine
from durable_convex.install import Installed, install, needed
from durable_convex.url import VARIABLES

__all__ = ["main"]

_TOKEN: Final = VARIABLES[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; its exit code."""
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    if rest and asked.command != "dev":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        match asked.command:
            case "init":
                return _init(asked)
            case "doctor":
                return _doctor(asked)
            case _:
                return _dev(asked, rest)
    except DurableError as error:
        print(f"durable-convex: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="durable-convex", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="write the component into your app's convex directory")
    init.add_argument("directory", nargs="?", default="convex", type=Path, metavar="DIR", help="default: convex")
    init.add_argument("--upgrade", action="store_true", help="bring the component's own files up to date")
    doctor = commands.add_parser("doctor", help="look at URL, token, component and subscription")
    doctor.add_argument("url", nargs="?", metavar="URL", help="default: DURABLE_STORE in the environment")
    dev = commands.add_parser(
        "dev",
        help="stand in for a deployment on this machine (needs Node)",
        epilog="What is not known here is handed on: --prod, --latency MS, --lose-responses P and others.",
        allow_abbrev=False,
    )
    dev.add_argument("--dir", default="convex", type=Path, metavar="DIR", help="your app's convex directory")
    dev.add_argument("--data", type=Path, metavar="DIR", help="keep the data there; by default in memory")
    dev.add_argument("--port", default=3210, type=int, metavar="N", help="default: 3210; 0: any free one")
    dev.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the deployment")
    return parser


# ── init ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _init(asked: argparse.Namespace) -> int:
    done = install(asked.directory, upgrade=asked.upgrade)
    for path in done.written:
        print(f"wrote {path}")
    if not done.written:
        print("Everything is there already.")
    return _left_to_you(done) or _next()


def _left_to_you(done: Installed) -> int:
    for path in done.differing:
        print(f"left {path} as it is: it differs from this package's", file=sys.stderr)
    if done.differing:
        print("Bring the component's files up to date by `durable-convex init --upgrade`.", file=sys.stderr)
    for path in done.others:
        print(f"left {path} as it is; it has to do what this does:\n\n{needed(path)}", file=sys.stderr)
    return 1 if done.differing or done.others else 0


def _next() -> int:
    print(
        "\nNext, on this machine alone: durable-convex dev. On Convex, in the directory above:\n"
        "  npm install convex           # unless your app has it\n"
        "  npx convex dev --once        # or: npx convex deploy\n"
        f"  npx convex env set {_TOKEN} {SystemClock().token()}{SystemClock().token()}"
    )
    return 0


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _doctor(asked: argparse.Namespace) -> int:
    url = asked.url or os.environ.get("DURABLE_STORE", "")
    if not url:
        print("durable-convex doctor: name a URL, or set DURABLE_STORE.", file=sys.stderr)
        return 2
    return 0 if asyncio.run(examine(url, print)) else 1


# ── dev ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dev(asked: argparse.Namespace, rest: Sequence[str]) -> int:
    if not asked.dir.is_dir():
        print(
            f"durable-convex dev: there is no directory {asked.dir}. `durable-convex init` makes one.", file=sys.stderr
        )
        return 2
    variables = list(asked.env)
    token = next((one.partition("=")[2] for one in variables if one.startswith(f"{_TOKEN}=")), None)
    if token is None:
        token = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
        token = SystemClock().token() if token is None else token
        variables.append(f"{_TOKEN}={token}")
    arguments = ["--dir", str(asked.dir), "--port", str(asked.port)]
    if asked.data is not None:
        arguments += ["--data", str(asked.data)]
    for variable in variables:
        arguments += ["--env", variable]
    starting = command([*arguments, *rest])
    if asked.port:
        print(f"export DURABLE_STORE=convex+http://127.0.0.1:{asked.port} {_TOKEN}={token}", flush=True)
    if os.name == "posix":
        os.execv(starting[0], starting)  # signals and the exit code are the stand-in's own
    return subprocess.call(starting)


if __name__ == "__main__":
    sys.exit(main())
