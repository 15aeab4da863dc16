"""A real ``durable server`` in a process of its own, spoken to with the README's own commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dag.services import Services, eventually

__all__ = ["ENDED", "Said", "Server", "needs_curl"]

ROOT = Path(__file__).parents[2]
ENDED = ("completed", "failed", "cancelled")
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="the commands are for bash and curl"
)

# curl says less about its progress, and more about the status. `watch` looks once instead of for ever. Where there is
# no jq, Python reads the JSON.
_PRELUDE = """\
curl() { command curl -sS -w '%{stderr}status %{http_code}\\n' "$@"; }
watch() { shift 2; bash -c "$*"; }
export -f curl
"""
_JQ = """\
#!{python}
import json, sys
words = [word for word in sys.argv[1:] if word != "-r"]
value = json.load(sys.stdin)
for name in (words[0] if words else ".").split(".")[1:]:
    value = value[name] if name else value
print(value if "-r" in sys.argv else json.dumps(value, indent=2))
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What commands have said.

    Attributes:
        values: The JSON documents that they wrote, in order.
        statuses: Of the answers.
    """

    values: list[Any]
    statuses: list[int]


class Server:
    """``durable server tests.dag.app --worker`` on a store in a folder; any number of them on one."""

    def __init__(self, folder: Path, services: Services, *more: str) -> None:
        self.folder = folder
        self.services = services
        command = [sys.executable, "-m", "durable", "--store", f"sqlite:///{folder}/runs.db"]
        command += ["server", "tests.dag.app:engine", "--port", "0", *(more or ("--worker",))]
        environment = {**_environment(folder), "SERVICES_PORT": str(services.port), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        address = re.search(r"at (http://127\.0\.0\.1:(\d+)) to this machine alone", first)
        assert address is not None, first + self.process.stderr.read()
        self.url, self.port = address[1], int(address[2])
        self.log: deque[str] = deque(maxlen=1000)  # read, so that the pipe never fills
        self._reading = threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True)
        self._reading.start()
        self.http = httpx.Client(base_url=self.url, trust_env=False)

    def bash(self, script: str, *, jq: bool = True) -> Said:
        """Carry commands out as they are written, but for the port; ``jq`` says whether that program may be used."""
        tools, own = self.folder / "tools", not jq or shutil.which("jq") is None
        if own:
            tools.mkdir(exist_ok=True)
            (tools / "jq").write_text(_JQ.replace("{python}", sys.executable))
            (tools / "jq").chmod(0o700)
        text = _PRELUDE + script.replace("http://localhost:3000", f"http://localhost:{self.port}")
        environment = _environment(self.folder)
        if own:
            environment["PATH"] = f"{tools}:{environment['PATH']}"
        ran = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return Said(_values(ran.stdout), [int(found) for found in re.findall(r"^status (\d+)$", ran.stderr, re.M)])

    def get(self, path: str, **query: Any) -> Any:
        """The value of an answer that must be a success."""
        answer = self.http.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, value: Any) -> Any:
        """Likewise."""
        answer = self.http.post(path, json=value)
        assert answer.is_success, answer.text
        return answer.json()

    def start(self, workflow: str, context: Any = None, **more: Any) -> str:
        """Start an execution; its id."""
        begun = self.post("/executions/start", {"workflowId": workflow, "context": context or {}, **more})
        return str(begun["executionId"])

    def until(self, execution: str, true: Any) -> Any:
        """The execution, as soon as it is so."""

        def look() -> Any:
            found = self.get(f"/executions/{execution}")
            return found if true(found) else None

        return eventually(look)

    def end(self, execution: str) -> Any:
        """The execution at its end."""
        return self.until(execution, lambda found: found["status"] in ENDED)

    def run(self, *steps: Any, id: str, context: Any = None, **more: Any) -> Any:
        """Register a definition, and see one execution of it to its end."""
        assert self.post("/workflows/validate", {"id": id, "steps": list(steps), **more})["valid"] is True
        self.post("/workflows", {"id": id, "steps": list(steps), **more})
        return self.end(self.start(id, context))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        self.http.close()
        self.process.send_signal(number)
        self.process.wait(30)
        self._reading.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.returncode


def _environment(folder: Path) -> dict[str, str]:
    """Without what would lead calls to this machine elsewhere."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def _values(text: str) -> list[Any]:
    """JSON documents, one behind the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found
