"""Every open run of a store, replayed against the code as it is now: what a deploy would do to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable._author.definitions import Step, Workflow
from durable._author.registry import Registry
from durable._engine.client import Client
from durable._engine.rehearsal import Fit, NewCall, Rehearsal
from durable._engine.survey import Survey
from durable.clock import SystemClock
from durable.codec import Codec, PayloadHook
from durable.store import Store

__all__ = ["Fit", "NewCall", "Rehearsal", "replay_all"]


async def replay_all(
    store: Store | Client,
    workflows: Sequence[Workflow[..., Any]],
    *,
    steps: Sequence[Step[..., Any]] = (),
    codec: PayloadHook | None = None,
) -> list[Rehearsal]:
    """Replay the journal of each open run against these workflows, newest run first.

    Nothing is written and no step runs; workers may work on the same store meanwhile. Prints of workflow code are seen,
    its log records are not.

    Args:
        store: An open one, or an open client, whose store and payload hook are used.
        workflows: The code as it is now. Runs of other workflows and versions are reported as ``Fit.NO_CODE``.
        steps: Steps with ``queue=``: their runs, which carry them out for others, are replayed too.
        codec: The payload hook that the store's users have, if ``store`` is not a client.

    Returns:
        One report per run, some hundred bytes each. ``report.fit.goes_on`` is what a deploy asks about.

    Raises:
        DuplicateRegistration: Two of the workflows have one name and version.
        StoreError: The store cannot be read.
    """
    registry = Registry()
    for workflow in workflows:
        registry.add(workflow)
    for step in steps:
        registry.add_step(step)
    if isinstance(store, Client):
        survey = Survey(store.store, registry, store.link.codec, store.link.clock)
    else:
        survey = Survey(store, registry, Codec(hook=codec), SystemClock())
    return [found async for found in survey.runs()]
