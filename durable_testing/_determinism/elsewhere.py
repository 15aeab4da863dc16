"""Other takes in other processes: another hash seed is had in no other way. ``main`` is the other process's part."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

from durable._author.definitions import Workflow
from durable_testing._determinism.scene import Scene, Setting, find_targets
from durable_testing._determinism.takes import Issued, Take, Turn, replayed

__all__ = ["Elsewhere", "why_not_elsewhere"]

_SECONDS_MAX: Final = 60.0
_MARK: Final = "durable-take "


def why_not_elsewhere(workflow: Workflow[..., Any]) -> str | None:
    """Why another process cannot have this workflow; None if it can import it."""
    if workflow.__module__ == "__main__":
        return "the workflow is defined in the program itself, not in a module that another process can import"
    if "<locals>" in workflow.__qualname__:
        return "the workflow is defined inside a function, so another process cannot import it"
    if workflow.__module__ not in sys.modules:
        return f"its module {workflow.__module__!r} is not an imported one"
    return None


@final
@dataclass(slots=True)
class Elsewhere:
    """Processes that replay one journal, each with its own hash seed.

    Attributes:
        problem: Why one of them could not; empty if all could.
    """

    workflow: Workflow[..., Any]
    sealed: bytes
    setting: Setting
    problem: str = ""

    def begin(self, take: Take, seeds: Sequence[int]) -> list[subprocess.Popen[str]]:
        """Start them, all at once."""
        code = self.workflow.fn.__code__
        order = {
            "path": sys.path,
            "module": self.workflow.__module__,
            "name": self.workflow.name,
            "code": [code.co_filename, code.co_firstlineno],
            "sealed": base64.b64encode(self.sealed).decode(),
            "setting": asdict(self.setting),
            "rows": [[base64.b64encode(data).decode(), at] for data, at in take.rows],
        }
        begun = [_process(seed) for seed in seeds]
        for process in begun:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its end says why
                process.stdin.write(json.dumps(order))
                process.stdin.close()
            process.stdin = None
        return begun

    def takes(self, begun: Sequence[subprocess.Popen[str]]) -> Iterator[Take]:
        """What they did, in the order of the seeds; one that could not is left out, and ``problem`` says why."""
        for process in begun:
            try:
                out, err = process.communicate(timeout=_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.problem = f"another process took longer than {_SECONDS_MAX:g} seconds"
                continue
            answer = next((line for line in reversed(out.splitlines()) if line.startswith(_MARK)), None)
            if answer is None:
                last = err.strip().splitlines()[-1:] or ["it said nothing"]
                self.problem = f"another process could not import or replay the workflow: {last[0]}"
                continue
            yield _unpacked(json.loads(answer.removeprefix(_MARK)))


def stop(begun: Sequence[subprocess.Popen[str]]) -> None:
    """End those that nobody waits for any more."""
    for process in begun:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(ValueError):  # its streams are closed already
            process.communicate()


def _process(seed: int) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "durable_testing._determinism"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=environ)


def _packed(take: Take) -> dict[str, Any]:
    turns = [[turn.after, [[i.what, i.shown, i.given, i.place, i.line] for i in turn.issued]] for turn in take.turns]
    return {"turns": turns, "end": take.end, "stopped": take.stopped}


def _unpacked(data: dict[str, Any]) -> Take:
    turns = [Turn(after, tuple(Issued(*fields) for fields in issued)) for after, issued in data["turns"]]
    return Take(turns=turns, end=data["end"], stopped=data["stopped"])


# ── in the other process ─────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Read an order, replay, and say what was done."""
    order = json.load(sys.stdin)
    sys.path[:] = order["path"]
    with contextlib.redirect_stdout(io.StringIO()):  # what the module and the workflow print is not ours to say
        workflow = _found(order)
        rows = [(base64.b64decode(data), at) for data, at in order["rows"]]
        scene = Scene(Setting(**order["setting"]), find_targets())
        take = replayed(workflow, base64.b64decode(order["sealed"]), rows, scene)
    print(_MARK + json.dumps(_packed(take)))


def _found(order: dict[str, Any]) -> Workflow[..., Any]:
    """The same workflow: the same lines of the same file, whatever name it has there."""
    module = importlib.import_module(order["module"])
    for value in vars(module).values():
        if isinstance(value, Workflow) and value.name == order["name"]:
            code = value.fn.__code__
            if [code.co_filename, code.co_firstlineno] == order["code"]:
                return value
    raise SystemExit(f"{order['module']} has no workflow {order['name']!r} at its top level")
