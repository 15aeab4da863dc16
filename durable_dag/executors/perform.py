"""Carrying work out: secrets are put in, the executor is called, the result is held against its schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

from durable import Secret, attempt_number
from durable.errors import NonRetryable, SecretUnavailable
from durable_dag.errors import DagError, InvalidOutput, StepFailure
from durable_dag.executors.registry import Executor, Executors
from durable_dag.executors.request import StepContext
from durable_dag.graph.schemas import misfit
from durable_dag.scheduling.commands import Job, Work
from durable_dag.scheduling.scope import filled

Json: TypeAlias = Any
Secrets = Mapping[str, Secret | str]

__all__ = ["Performer", "Secrets", "UnknownAction"]


class UnknownAction(DagError):
    """This worker has no executor for a step's action; another one may."""


@final
class Performer:
    """Carries work out in the process that it is in."""

    def __init__(self, executors: Executors, secrets: Secrets) -> None:
        self._executors = executors
        self._secrets = secrets

    def function(self, work: Work, execution: str, workflow: str) -> Callable[[], Any]:
        """What the durable step does: plain, and so in a thread, where every executor of it is."""
        executors = [self._executors.get(job.action) for job in work.jobs]
        if executors and all(one is not None and not one.is_async for one in executors):

            def in_thread() -> Json:
                results = [self._finish(job, self._call(job, execution, workflow)) for job in work.jobs]
                return results if work.batched else results[0]

            return in_thread

        async def on_loop() -> Json:
            results = [self._finish(job, await self._called(job, execution, workflow)) for job in work.jobs]
            return results if work.batched else results[0]

        return on_loop

    async def _called(self, job: Job, execution: str, workflow: str) -> Json:
        executor = self._executor(job)
        if not executor.is_async:  # beside an asynchronous one in a batch
            return await asyncio.to_thread(self._call, job, execution, workflow)
        try:
            return await executor.fn(*self._arguments(executor, job, execution, workflow))
        except Exception as error:
            told = _told(executor, error)
            if told is error:
                raise
            raise told from error

    def _call(self, job: Job, execution: str, workflow: str) -> Json:
        executor = self._executor(job)
        try:
            return executor.fn(*self._arguments(executor, job, execution, workflow))
        except Exception as error:
            told = _told(executor, error)
            if told is error:
                raise
            raise told from error

    def _executor(self, job: Job) -> Executor:
        executor = self._executors.get(job.action)
        if executor is None:
            raise UnknownAction(f"No executor is registered for {job.action!r} in this worker.")
        return executor

    def _arguments(self, executor: Executor, job: Job, execution: str, workflow: str) -> tuple[Any, ...]:
        attempt = attempt_number()
        params = filled(job.params, job.late, lambda way: attempt if way[0] == "step" else self._secret(way))
        if executor.takes == 1:  # what it does not take is not put together: it may be the outputs of many steps
            return (params,)
        variables = {} if job.variables is None else job.variables()
        step = StepContext(job.step, execution, workflow, attempt, job.key, variables)
        return (params, variables.get("context", {}), step)[: executor.takes]

    def _secret(self, way: tuple[str, ...]) -> str:
        secret = self._secrets.get(way[1]) if len(way) == 2 else None
        if secret is None:
            raise _NoSecret(f"There is no secret {'.'.join(way[1:])!r} in this process; give it: Engine(secrets=...).")
        return secret.reveal() if isinstance(secret, Secret) else Secret(secret).reveal()

    def _finish(self, job: Job, result: Json) -> Json:
        if job.schema is not None:
            plain = json.loads(json.dumps(result)) if isinstance(result, tuple) else result
            if (wrong := misfit(plain, job.schema)) is not None:
                raise InvalidOutput(f"the result does not fit outputSchema: {wrong}")
        return result if job.keep else None


class _NoSecret(NonRetryable, SecretUnavailable):
    """Another attempt would not find it either."""


def _told(executor: Executor, error: Exception) -> Exception:
    """An executor whose errors are not worth another try says so."""
    if executor.retryable or isinstance(error, NonRetryable):
        return error
    return StepFailure(f"{type(error).__name__}: {error}")
