"""``SyncSim``: the simulated world for tests without an event loop; the same verbs, without await."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar, final

from durable._author.definitions import Signal, Step, Workflow
from durable._engine.client import Client
from durable._engine.sync import SyncHandle
from durable_testing.effects import StepRun
from durable_testing.sim import Sim

T = TypeVar("T")

__all__ = ["SyncSim"]


@final
class SyncSim:
    """``with SyncSim(workflows=[order]) as sim:`` in a plain ``def`` test.

    Args:
        **options: As for ``Sim``.
    """

    def __init__(self, **options: Any) -> None:
        self._sim = Sim(**options)

    def __enter__(self) -> SyncSim:
        self._sim.begin()
        try:
            self._call(Client.open(self._sim))
        except BaseException:
            self._sim.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sim.end()
        if kind is None:
            self._sim.require_crashes()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        self._sim.require_open(work)
        return self._sim.world.run(work, "the test waits")

    def start(self, wf: Any, /, *input: Any, **options: Any) -> SyncHandle[Any]:
        """As ``Client.start``."""
        start: Any = Client.start
        self._sim.world.require(wf)
        return SyncHandle(self, self._call(start(self._sim, wf, *input, **options)))

    def handle(self, id: str, wf: Workflow[..., Any] | None = None, /) -> SyncHandle[Any]:
        """As ``Client.handle``."""
        return SyncHandle(self, Client.handle(self._sim, id, wf))

    def signal(self, run_id: str, signal: Signal[Any] | str, payload: Any = None, /, *, id: str | None = None) -> None:
        """As ``Client.signal``."""
        self._call(self._sim.handle(run_id).signal(signal, payload, id=id))

    def cancel(self, run_id: str, reason: str = "") -> None:
        """As ``Client.cancel``."""
        self._call(self._sim.handle(run_id).cancel(reason))

    def count(self, **conditions: Any) -> int:
        """As ``Client.count``."""
        return self._call(Client.count(self._sim, **conditions))

    def values(self, run_id: str) -> Mapping[str, Any]:
        """As ``Handle.values``."""
        return self._call(self._sim.handle(run_id).values())

    def advance(self, **kw: float) -> None:
        """As ``Sim.advance``."""
        self._call(self._sim.advance(**kw))

    def run_until_idle(self) -> None:
        """As ``Sim.run_until_idle``."""
        self._call(self._sim.run_until_idle())

    def stub(self, step: Step[..., Any], fn: Callable[..., Any], /) -> None:
        """As ``Sim.stub``."""
        self._sim.stub(step, fn)

    def calls(self, step: Step[..., Any] | str, /) -> list[StepRun]:
        """As ``Sim.calls``."""
        return self._sim.calls(step)

    def crash(self, *, at: str | Step[..., Any], times: int = 1) -> None:
        """As ``Sim.crash``."""
        self._sim.crash(at=at, times=times)

    def redeploy(self, workflows: Sequence[Workflow[..., Any]] | None = None, *, drain: bool = False) -> None:
        """As ``Sim.redeploy``."""
        self._sim.redeploy(workflows, drain=drain)

    def now(self) -> datetime:
        """As ``Sim.now``."""
        return self._sim.now()
