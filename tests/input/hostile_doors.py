"""The doors by which a value comes into a run or leaves it.

Each door is a workflow per declared type. It takes the id of a row of ``hostile_values``, fetches the value (as if it
had made it itself), hands it through the door, and notes what came out on the other side: the value, or the error. Then
it waits, so that the same can be seen again by whoever replays it.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from durable import Context, RunFailed, Signal, Workflow, heartbeat, step, workflow
from tests.input.hostile_values import BY_ID, KINDS

HELD: dict[str, Any] = {}
"""The value of each row while a test runs; made outside of workflow code, which may not open files."""

SEEN: dict[str, list[Any]] = defaultdict(list)
"""Per run: what came out, once for every time that its code came by."""


class Refused:
    """What came out was an error."""

    def __init__(self, error: Exception) -> None:
        self.kind = type(error)
        self.text = str(error)


def cause_of(error: Exception) -> Exception:
    """What a child failed with, where that is how a refusal shows itself."""
    return error.__cause__ if isinstance(error, RunFailed) and isinstance(error.__cause__, Exception) else error


Use = Callable[[Context, Any, str], Awaitable[Any]]


def number_of(kind: Any) -> int:
    """Types have names too odd for workflows: their number will do."""
    return [repr(known) for known in KINDS].index(repr(kind)) if kind is not Any else len(KINDS)


def through(door: str, kind: Any, use: Use) -> Workflow[..., Any]:
    """The workflow of a door whose value goes through while the run lives."""

    @workflow(f"{door}-{number_of(kind)}")
    async def passing(ctx: Context, id: str) -> str:
        try:
            out = await use(ctx, HELD[id], id)
        except Exception as error:
            out = Refused(cause_of(error))
        SEEN[ctx.run_id].append(out)
        await ctx.wait_for_signal("go")
        return "passed"

    return passing


def step_argument(kind: Any) -> list[Workflow[..., Any]]:
    taken: dict[str, Any] = {}

    @step
    async def take(id: str, given: kind) -> None:  # type: ignore[valid-type]
        taken[id] = given

    async def use(ctx: Context, value: Any, id: str) -> Any:
        await ctx.step(take, id, value)
        return taken[id]

    return [through("step-argument", kind, use)]


def step_result(kind: Any) -> list[Workflow[..., Any]]:
    @step
    async def make(id: str) -> kind:  # type: ignore[valid-type]
        return HELD[id]

    async def use(ctx: Context, value: Any, id: str) -> Any:
        return await ctx.step(make, id)

    return [through("step-result", kind, use)]


def thread_result(kind: Any) -> list[Workflow[..., Any]]:
    @step
    def make(id: str) -> kind:  # type: ignore[valid-type]
        return HELD[id]

    async def use(ctx: Context, value: Any, id: str) -> Any:
        if id == "coroutine":  # a plain function may hand one back, to be awaited
            return await ctx.step("other", make_other)
        return await ctx.step(make, id)

    async def make_other() -> Any:
        return HELD["coroutine"]

    return [through("thread-result", kind, use)]


def inline_result(kind: Any) -> list[Workflow[..., Any]]:
    async def use(ctx: Context, value: Any, id: str) -> Any:
        async def hand_over() -> Any:
            return value

        return await ctx.step("inline", hand_over, type=kind)

    return [through("inline-result", kind, use)]


def child_input(kind: Any) -> list[Workflow[..., Any]]:
    taken: dict[str, Any] = {}

    @workflow(f"child-taking-{number_of(kind)}")
    async def child(ctx: Context, id: str, given: kind) -> None:  # type: ignore[valid-type]
        taken[id] = given

    async def use(ctx: Context, value: Any, id: str) -> Any:
        await ctx.child(child, id, value)
        return taken[id]

    return [through("child-input", kind, use), child]


def child_result(kind: Any) -> list[Workflow[..., Any]]:
    @workflow(f"child-making-{number_of(kind)}")
    async def child(ctx: Context, id: str) -> kind:  # type: ignore[valid-type]
        return HELD[id]

    async def use(ctx: Context, value: Any, id: str) -> Any:
        return await ctx.child(child, id)

    return [through("child-result", kind, use), child]


def continued_input(kind: Any) -> list[Workflow[..., Any]]:
    @workflow(f"continued-{number_of(kind)}-next")
    async def following(ctx: Context, given: kind) -> str:  # type: ignore[valid-type]
        SEEN[ctx.run_id].append(given)
        await ctx.wait_for_signal("go")
        return "passed"

    async def use(ctx: Context, value: Any, id: str) -> Any:
        raise ctx.continue_as(following, value)

    return [through("continued", kind, use), following]


def signal_inside(kind: Any) -> list[Workflow[..., Any]]:
    said = Signal("said", kind)

    async def use(ctx: Context, value: Any, id: str) -> Any:
        ctx.signal(ctx.run_id, said, value)
        return await ctx.wait_for_signal(said)

    return [through("signal-inside", kind, use)]


def signal_outside(kind: Any) -> list[Workflow[..., Any]]:
    said = Signal("said", kind)

    async def use(ctx: Context, value: Any, id: str) -> Any:
        return await ctx.wait_for_signal(said)

    return [through("signal-outside", kind, use)]


def published(kind: Any) -> list[Workflow[..., Any]]:
    async def use(ctx: Context, value: Any, id: str) -> Any:
        ctx.set("key", value)
        ctx.emit("items", value)
        return value

    return [through("published", kind, use)]


def progress(kind: Any) -> list[Workflow[..., Any]]:
    @step
    async def beat(id: str) -> kind:  # type: ignore[valid-type]
        heartbeat(HELD[id])
        return heartbeat()

    async def use(ctx: Context, value: Any, id: str) -> Any:
        return await ctx.step(beat, id)

    return [through("progress", kind, use)]


def input(kind: Any) -> list[Workflow[..., Any]]:
    @workflow(f"input-{number_of(kind)}")
    async def taking(ctx: Context, given: kind) -> str:  # type: ignore[valid-type]
        SEEN[ctx.run_id].append(given)
        await ctx.wait_for_signal("go")
        return "passed"

    return [taking]


def result(kind: Any) -> list[Workflow[..., Any]]:
    @workflow(f"result-{number_of(kind)}")
    async def making(ctx: Context, id: str) -> kind:  # type: ignore[valid-type]
        await ctx.wait_for_signal("go")
        return HELD[id]

    return [making]


# Doors inside of a running workflow: what makes its workflows; does it declare a type; does it take arguments?
INSIDE: dict[str, tuple[Callable[[Any], list[Workflow[..., Any]]], bool, bool]] = {
    "step-argument": (step_argument, True, True),
    "step-result": (step_result, True, False),
    "thread-result": (thread_result, True, False),
    "inline-result": (inline_result, True, False),
    "child-input": (child_input, True, True),
    "child-result": (child_result, True, False),
    "continued-input": (continued_input, True, True),
    "signal-inside": (signal_inside, True, False),
    "published": (published, False, False),
    "progress": (progress, False, False),
}

__all__ = ["BY_ID", "HELD", "INSIDE", "SEEN", "Refused", "input", "number_of", "result", "signal_outside"]
