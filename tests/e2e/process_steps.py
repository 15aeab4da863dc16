"""Steps for ``run_in="process"``: the child process imports this module, and nothing slow."""

import os
import time

from durable import Retry, heartbeat, idempotency_key, step


@step(run_in="process")
def pid_of_step(name: str) -> tuple[str, int]:
    return f"hello {name}", os.getpid()


@step(run_in="process")
async def async_in_process() -> str:
    return idempotency_key()


@step(run_in="process")
def raising(text: str) -> None:
    raise ValueError(text)


@step(run_in="process")
def dying() -> None:
    os._exit(7)


@step(run_in="process", timeout=2.5, retry=Retry(1))
def endless(path: str) -> None:
    while True:
        with open(path, "a") as file:
            file.write(".")
        time.sleep(0.05)


@step(run_in="process")
def beating() -> str:
    heartbeat({"at": 1})
    return "beaten"


@step(run_in="process", heartbeat=1.2, retry=Retry(2, initial=0))
def copying() -> list[object]:
    before = heartbeat()
    if before is None:
        for row in range(3):
            heartbeat({"row": row})
        raise ValueError("once more")
    for _ in range(6):
        time.sleep(0.25)
        heartbeat()
    return [before, heartbeat()]
