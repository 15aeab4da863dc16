"""Work for another queue: as a child run's input, and carried out there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from durable import Context
from durable_dag.executors.perform import Performer
from durable_dag.graph.definition import RetryPolicy
from durable_dag.running.retries import retry_of
from durable_dag.scheduling.commands import Job, Late, Work

Json: TypeAlias = Any

__all__ = ["carry_out", "packed"]


def packed(work: Work, execution: str, workflow: str) -> dict[str, Json]:
    """The work as JSON. What foreign code sees goes along, so all of it must fit into a payload."""
    return {
        "name": work.name,
        "execution": execution,
        "workflow": workflow,
        "retry": {**asdict(work.retry), "retry_on": list(work.retry.retry_on)}
        | {"do_not_retry_on": list(work.retry.do_not_retry_on)},
        "timeout": work.timeout,
        "batched": work.batched,
        "jobs": [_job(job) for job in work.jobs],
    }


def _job(job: Job) -> dict[str, Json]:
    return {
        "step": job.step,
        "action": job.action,
        "params": dict(job.params),
        "key": job.key,
        "late": [{"path": list(one.path), "parts": [_part(part) for part in one.parts]} for one in job.late],
        "variables": None if job.variables is None else job.variables(),
        "schema": job.schema,
        "keep": job.keep,
    }


def _part(part: str | tuple[str, ...]) -> Json:
    return part if isinstance(part, str) else list(part)


def unpacked(request: Mapping[str, Json]) -> Work:
    """Back from JSON."""
    retry = request["retry"]
    policy = RetryPolicy(
        **{**retry, "retry_on": tuple(retry["retry_on"]), "do_not_retry_on": tuple(retry["do_not_retry_on"])}
    )
    jobs = tuple(_unpacked_job(job) for job in request["jobs"])
    return Work(request["name"], jobs, policy, request["timeout"], None, request["batched"])


def _unpacked_job(job: Mapping[str, Json]) -> Job:
    seen = job["variables"]
    late = tuple(
        Late(tuple(one["path"]), tuple(part if isinstance(part, str) else tuple(part) for part in one["parts"]))
        for one in job["late"]
    )
    variables = None if seen is None else lambda: dict(seen)
    return Job(job["step"], job["action"], job["params"], job["key"], late, variables, job["schema"], job["keep"])


async def carry_out(ctx: Context, request: dict[str, Json], performer: Performer) -> Json:
    """The whole run of a piece of work: one durable step."""
    work = unpacked(request)
    function = performer.function(work, request["execution"], request["workflow"])
    timeout = None if work.timeout is None else work.timeout / 1000
    return await ctx.step(work.name, function, retry=retry_of(work.retry), timeout=timeout)
