"""Definitions that commands are to look at: from a file, or by id from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from durable.cli.failures import Exit, Failure
from durable.cli.options import Settings
from durable_dag.cli.documents import looks_like_file, one_document
from durable_dag.cli.engines import told_well, with_engine
from durable_dag.engine import Engine
from durable_dag.graph.definition import read_definition
from durable_dag.graph.plan import Plan

Json: TypeAlias = Any

__all__ = ["Source", "from_file", "from_store", "good_plan"]


@dataclass(frozen=True, slots=True)
class Source:
    """One definition.

    Attributes:
        name: What it is called in what is printed: ``order.json``, ``order-flow v3``.
        version: None for a file's.
    """

    name: str
    document: Mapping[str, Json]
    version: int | None = None
    enabled: bool = True


def from_file(file: str) -> Source:
    """What a file holds."""
    document = one_document(file)
    return Source(document.name, document.value)


def from_store(settings: Settings, id: str, *versions: int | None) -> list[Source]:
    """Versions of a registered definition; None for the newest.

    Raises:
        Failure: There is no such one.
    """

    async def work(engine: Engine) -> list[Source]:
        head = await engine.versions.head(id)
        found: list[Source] = []
        for version in versions:
            stored = await engine.get_workflow(id, version)
            found.append(Source(f"{id} v{stored.version}", stored.document, stored.version, head.enabled))
        return found

    return with_engine(settings, work)


def from_either(settings: Settings, what: str, version: int | None) -> Source:
    """A file, or else what is registered under an id."""
    if not looks_like_file(what):
        return from_store(settings, what, version)[0]
    if version is not None:
        raise Failure("--version is for registered definitions, and this is a file.", "", Exit.USAGE)
    return from_file(what)


async def good_plan(engine: Engine, source: Source) -> Plan:
    """The plan of a definition that is checked first.

    Raises:
        Failure: It is not good.
    """
    with told_well():
        checked = await engine.validate(source.document)
    if not checked.valid:
        first = checked.errors[0]
        more = "" if len(checked.errors) == 1 else f" (and {len(checked.errors) - 1} more)"
        raise Failure(
            f"{source.name}: {first.path or '/'}: {first.message}{more}",
            "See all that is wrong: durable dag validate FILE",
            Exit.FAILED,
        )
    return Plan.of(read_definition(source.document))
