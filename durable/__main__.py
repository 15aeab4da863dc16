"""``python -m durable`` and the ``durable`` command: the command line, or how to get it."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> int:
    """Run the command line; without the ``cli`` extra, say how to install it."""
    try:
        for needed in ("click", "rich"):
            import_module(needed)
    except ImportError:
        sys.stderr.write("The durable command needs its extra: pip install 'durable-engine[cli]'\n")
        return 2
    from durable.cli.main import run_cli

    return run_cli()


if __name__ == "__main__":
    sys.exit(main())
