"""Slots: how many executions with one key are under way at once, kept in the store's side table.

Law: an execution is under way when it stands among the holders in its line's record, and that record is changed by
compare-and-set only. So no crash and no race lets more in than the limit. What a crash can do is leave somebody among
the holders whose run has ended; whoever waits at the front of the line looks for these.

Whoever waits writes itself into the line before it looks at the record, and whoever leaves takes itself out of the
record before it looks at the line: one of the two sees the other, so nobody waits for a slot that is free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, TypeAlias, final

from durable.errors import RunEnded, RunNotFound, StoreFull
from durable_dag.bound import Bound
from durable_dag.errors import DagError
from durable_dag.graph.definition import Policy
from durable_dag.graph.plan import Plan
from durable_dag.graph.templates import shown_value
from durable_dag.scheduling.scope import Facts, Scope, Scopes

Json: TypeAlias = Any

__all__ = ["HOLDERS", "SLOT_SIGNAL", "WAITERS", "Ask", "Slots", "asked_by"]

HOLDERS: Final = "dag.slots"
WAITERS: Final = "dag.line"
SLOT_SIGNAL: Final = "dag.slot:"
_TRIES: Final = 1000
_PAGE: Final = 20
_LINE_MAX: Final = 1000
_SHOWN_MAX: Final = 20
_EMPTY_SECONDS: Final = 7 * 86_400.0
GRACE_SECONDS: Final = 60.0
"""How long a slot is kept for an execution that is about to be created, or to be taken up again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Who wants a slot.

    Attributes:
        line: Names the record: of the workflow and the key.
        since: Milliseconds since the epoch: who came first goes first.
        generation: Of the execution's run. A worker that was thought dead speaks for an old one, and gives nothing back
            that a later one has taken.
    """

    line: str
    key: str
    limit: int
    policy: Policy
    execution: str
    since: int = 0
    generation: int = 1

    @property
    def place(self) -> str:
        """The key of its record in the line; these sort by time."""
        return f"{self.line}/{self.since:015d}/{sha256(self.execution.encode()).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a slot.

    Attributes:
        since: Seconds since the epoch, store time.
        generation: Of its run.
        admitted: It was given to an execution from outside, which may only be about to run.
    """

    id: str
    since: float
    generation: int = 1
    admitted: bool = False


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who stands in the line."""

    place: str
    id: str
    limit: int
    generation: int


class Contended(DagError):
    """Too many others change a line at the same time; it may be tried again."""


def asked_by(plan: Plan, facts: Facts, context: Mapping[str, Json], since: int = 0, generation: int = 1) -> Ask | None:
    """What an execution asks for; None if its definition does not limit executions.

    Args:
        context: The start's; a retry that changes it changes no key.

    Raises:
        TemplateUnresolved: The key's template asks for what is not in the context.
    """
    concurrency = plan.definition.concurrency
    if concurrency is None:
        return None
    key = shown_value(Scope(Scopes(plan, facts, dict(context)), None, {}).render(concurrency.key).value)
    line = sha256(f"{facts.workflow}\n{key}".encode()).hexdigest()[:40]
    return Ask(line, key, concurrency.limit, concurrency.policy, facts.execution, since, generation)


@final
class Slots:
    """The lines of a store."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    # ── by the run itself ────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, asked: Ask) -> Json:
        """Take a slot, or a place in the line; said again, it changes nothing.

        Returns:
            ``{"held", "rejected", "first", "holders"}``; ``first`` is who stands at the front of the line.
        """
        if asked.policy == "reject":
            refused_by = await self.admit(asked, admitted=False)
            return _ticket(not refused_by, asked, refused_by, rejected=bool(refused_by))
        if await self._held(asked) or await self._walked_in(asked):
            await self._records.delete(WAITERS, asked.place)
            return _ticket(True, asked, ())
        value = {"id": asked.execution, "limit": asked.limit, "generation": asked.generation}
        await self._records.put(WAITERS, asked.place, json.dumps(value).encode())
        first = await self._is_first(asked)
        displacing = asked.policy == "cancelOldest"
        if displacing:
            await self._displace(asked)
        await self._sweep(asked.line, careful=first or displacing, asker=asked.execution)
        _, holders = await self._read(asked.line)
        held = any(one.id == asked.execution for one in holders)
        return _ticket(held, asked, [one.id for one in holders], first=first)

    async def leave(self, asked: Ask) -> None:
        """Give the slot, or the place in the line, back; whoever is next gets it."""
        await self._records.delete(WAITERS, asked.place)
        await self._sweep(asked.line, leaving=asked)

    # ── from outside ─────────────────────────────────────────────────────────────────────────────────────────────

    async def admit(self, asked: Ask, *, admitted: bool = True) -> list[str]:
        """Take a slot if one is free; else who holds them."""
        for _ in range(_TRIES):
            version, holders = await self._read(asked.line)
            others = [one for one in holders if one.id != asked.execution]
            if len(others) < len(holders) and not admitted:
                return []
            if len(others) >= asked.limit:
                others = [one for one in others if await self._alive(one)]
            if len(others) >= asked.limit:
                return [one.id for one in others]
            me = Holder(asked.execution, await self._records.now(), asked.generation, admitted)
            if await self._write(asked.line, version, [*others, me]):
                return []
        raise Contended(f"Too many others ask for {asked.key!r} at the same time.")

    async def holders(self, line: str) -> list[str]:
        """Who holds the slots of a line."""
        return [one.id for one in (await self._read(line))[1]]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _records(self) -> Any:
        return self._bound.client.records

    async def _held(self, asked: Ask) -> bool:
        """Whether it has a slot; from now on this generation has it."""
        for _ in range(_TRIES):
            version, holders = await self._read(asked.line)
            mine = next((one for one in holders if one.id == asked.execution), None)
            if mine is None or mine.generation >= asked.generation:
                return mine is not None
            later = replace(mine, generation=asked.generation)
            if await self._write(asked.line, version, [later if one is mine else one for one in holders]):
                return True
        raise Contended(f"Too many others ask for {asked.key!r} at the same time.")

    async def _walked_in(self, asked: Ask) -> bool:
        """Nobody waits, and a slot is free: the usual case, in one write."""
        version, holders = await self._read(asked.line)
        if len(holders) >= asked.limit or await self._line(asked.line, 1):
            return False
        me = Holder(asked.execution, await self._records.now(), asked.generation)
        return await self._write(asked.line, version, [*holders, me])

    async def _is_first(self, asked: Ask) -> bool:
        """Whether nobody who lives stands before it; the dead are taken out, for they would never look."""
        while front := await self._line(asked.line, 1):
            if front[0].place >= asked.place or await self._runs(front[0].id):
                return front[0].place == asked.place
            await self._records.delete(WAITERS, front[0].place)
        return False

    async def _displace(self, asked: Ask) -> None:
        """Ask all but the newest to end: who holds a slot came before who stands in the line.

        Of two who come at once, each sees the other or is seen by it, and both go by the same order. So it may be the
        asker itself that ends.
        """
        _, holders = await self._read(asked.line)
        line = await self._line(asked.line, _LINE_MAX)
        order = list(dict.fromkeys([*(one.id for one in holders), *(one.id for one in line)]))
        newest = order[-1] if order else asked.execution
        for id in order[: max(0, len(order) - asked.limit)]:
            with suppress(RunEnded, RunNotFound):
                await self._bound.client.cancel(id, f"execution {newest} has taken its place")

    async def _sweep(
        self, line: str, *, leaving: Ask | None = None, careful: bool = False, asker: str | None = None
    ) -> None:
        """Let in whoever is next, as far as there is room.

        Args:
            leaving: Who gives its slot back.
            careful: Look whether the holders are still there, too.
            asker: Who need not be told.
        """
        for _ in range(_TRIES):
            version, holders = await self._read(line)
            kept = [one for one in holders if not _gives_back(leaving, one)]
            if careful:
                kept = [one for one in kept if await self._alive(one)]
            chosen, settled = await self._next(line, kept)
            after = [*kept, *chosen]
            if after != holders and not await self._write(line, version, after):
                continue
            inside = {one.id for one in after} - {asker}
            for waiter in settled:
                if waiter.id in inside:
                    await self._tell(waiter)
                await self._records.delete(WAITERS, waiter.place)
            if len(settled) < _PAGE:
                return
        raise Contended("Too many others change a line at the same time.")

    async def _next(self, line: str, kept: Sequence[Holder]) -> tuple[list[Holder], list[Waiter]]:
        """Who gets in, and who need not stand in the line any more: they, those who are in already, the dead."""
        chosen: list[Holder] = []
        settled: list[Waiter] = []
        inside = {one.id for one in kept}
        for waiter in await self._line(line, _PAGE):
            if waiter.id not in inside:
                if len(inside) >= waiter.limit:
                    break
                if await self._runs(waiter.id):
                    inside.add(waiter.id)
                    chosen.append(Holder(waiter.id, await self._records.now(), waiter.generation))
            settled.append(waiter)
        return chosen, settled

    async def _alive(self, holder: Holder) -> bool:
        if await self._runs(holder.id):
            return True
        return holder.admitted and await self._records.now() - holder.since < GRACE_SECONDS

    async def _runs(self, id: str) -> bool:
        try:
            return (await self._bound.client.handle(id).status()).ended_at is None
        except RunNotFound:
            return False

    async def _tell(self, waiter: Waiter) -> None:
        """Wake it; said again after a crash, it is received once."""
        with suppress(RunEnded, RunNotFound, StoreFull):
            await self._bound.client.signal(waiter.id, SLOT_SIGNAL, None, id=f"slot/{waiter.place}")

    async def _line(self, line: str, limit: int) -> list[Waiter]:
        rows = await self._records.list(WAITERS, after=f"{line}/", limit=limit)
        found = [(row.key, json.loads(row.value)) for row in rows if row.key.startswith(f"{line}/")]
        return [Waiter(place, value["id"], value["limit"], value["generation"]) for place, value in found]

    async def _read(self, line: str) -> tuple[int, list[Holder]]:
        row = await self._records.get(HOLDERS, line)
        if row is None:
            return 0, []
        return row.version, [Holder(*one) for one in json.loads(row.value)]

    async def _write(self, line: str, version: int, holders: Sequence[Holder]) -> bool:
        value = json.dumps([[one.id, one.since, one.generation, one.admitted] for one in holders]).encode()
        keep = None if holders else _EMPTY_SECONDS  # an empty one would lie there for ever; deleting has no `expect`
        return await self._records.put(HOLDERS, line, value, expect=version, keep=keep) is not None


def _gives_back(leaving: Ask | None, holder: Holder) -> bool:
    return leaving is not None and holder.id == leaving.execution and holder.generation <= leaving.generation


def _ticket(
    held: bool, asked: Ask, holders: Sequence[str], *, first: bool = False, rejected: bool = False
) -> dict[str, Json]:
    others = [id for id in holders if id != asked.execution][:_SHOWN_MAX]
    return {"held": held, "rejected": rejected, "first": first, "holders": others}
