"""``python -m benchmarks.javascript``: what a call into the JavaScript sandbox costs.

On four cores of a virtual machine that other programs kept busy (load 10, so that the last column is the one to compare
with), Python 3.11, quickjs-ng 0.17.0.2:

    milliseconds                                    median       p99     least
    first call of a runtime                          45.86     90.30     25.30
    condition                                         0.64      6.59      0.27
    promise                                           0.64     10.33      0.28
    check                                             0.79      9.69      0.26
    1,500 objects there and back                     18.38     98.97     10.20
    the call after a killed helper                   52.31    188.71     27.11
    conditions a second, 2000 at once, 1 helper: 1,036
    conditions a second, 2000 at once, 4 helpers: 1,798
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from durable_dag.js import JsFailure, JsonValue, ProcessJs

Call = Callable[[], Awaitable[object]]
ROWS: list[JsonValue] = [
    {"id": number, "name": f"customer {number}", "amount": number * 1.5, "tags": ["a", "b"]} for number in range(1500)
]


async def timed(call: Call) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1000


async def cold() -> float:
    """A runtime's first call."""
    async with ProcessJs() as js:
        return await timed(lambda: js.evaluate("1"))


async def recovered(js: ProcessJs) -> float:
    """The call after one that had the helper killed."""
    try:
        await js.call("return new Array(4294967295).join('')", timeout=0.01)
    except JsFailure:
        return await timed(lambda: js.evaluate("1"))
    raise AssertionError("the helper was not killed")


def row(name: str, times: list[float]) -> str:
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{name:<44} {statistics.median(ordered):9.2f} {p99:9.2f} {ordered[0]:9.2f}"


async def main(calls: int) -> None:
    print(f"{'milliseconds':<44} {'median':>9} {'p99':>9} {'least':>9}")
    print(row("first call of a runtime", [await cold() for _ in range(20)]))
    async with ProcessJs() as js:
        condition: Call = lambda: js.evaluate("context.amount > 100", {"context": {"amount": 150}})  # noqa: E731
        await condition()
        print(row("condition", [await timed(condition) for _ in range(calls)]))
        promise: Call = lambda: js.call("return Promise.resolve(input)", {"input": 1})  # noqa: E731
        print(row("promise", [await timed(promise) for _ in range(calls)]))
        checked: Call = lambda: js.check("return input.map(x => x * 2)", "body", ("input",))  # noqa: E731
        print(row("check", [await timed(checked) for _ in range(calls)]))
        mapped: Call = lambda: js.call("return input.map(r => ({...r, double: r.amount * 2}))", {"input": ROWS})  # noqa: E731
        print(row("1,500 objects there and back", [await timed(mapped) for _ in range(max(1, calls // 20))]))
        print(row("the call after a killed helper", [await recovered(js) for _ in range(20)]))
    for helpers in (1, 4):
        async with ProcessJs(helpers=helpers) as js:
            await asyncio.gather(*(js.evaluate("1") for _ in range(helpers)))
            began = time.perf_counter()
            await asyncio.gather(
                *(js.evaluate("context.amount > 100", {"context": {"amount": n}}) for n in range(calls))
            )
            rate = calls / (time.perf_counter() - began)
            print(f"conditions a second, {calls} at once, {helpers} helper{'s' * (helpers > 1)}: {rate:,.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    asyncio.run(main(parser.parse_args().calls))
