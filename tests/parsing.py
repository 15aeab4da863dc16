"""Python source as a tree, in a process whose garbage may be collected at any instant.

Before Python 3.11.8 one counter serves every tree that is under construction (CPython issue 106905): a finalizer that
runs meanwhile and formats a traceback, which parses the line it underlines, ends ours with a ``SystemError``.
"""

import ast
import gc


def parsed(text: str) -> ast.Module:
    """The tree of a module's source, built while no finalizer can run."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if collects:
            gc.enable()
