"""The claim index: per lane and priority a heap of due times, so that a poll looks at heads only."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import final

from durable_testing._memory.rows import Run

__all__ = ["DueIndex"]

AGED_SECONDS = 60.0

Place = tuple[float, int, int, Run]  # due time, serial, ticket, row; the first three are never equal to another's


@final
class Bucket:
    """One lane's runs of one priority, earliest due first.

    A run that moves leaves its old place behind, void by its ticket; void places go when they come to the head, or
    all at once when they outnumber the valid ones.
    """

    __slots__ = ("heap", "live")

    def __init__(self) -> None:
        self.heap: list[Place] = []
        self.live = 0

    def head(self) -> Place | None:
        while self.heap and self.heap[0][2] != self.heap[0][3].ticket:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None

    def tidy(self) -> None:
        if len(self.heap) > 2 * self.live + 64:
            self.heap = [place for place in self.heap if place[2] == place[3].ticket]
            heapq.heapify(self.heap)


@final
class DueIndex:
    """Which runs are claimable when. A run is in it exactly while its ``due_at`` is set."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[int, Bucket]] = {}

    def put(self, run: Run, due_at: float | None) -> None:
        """Set the run's due time, in the lane that it is in now. It must not be in the index."""
        assert run.due_at is None
        if due_at is None:
            return
        run.due_at = due_at
        bucket = self._lanes.setdefault(run.lane, {}).setdefault(run.priority, Bucket())
        bucket.live += 1
        heapq.heappush(bucket.heap, (due_at, run.serial, run.ticket, run))

    def discard(self, run: Run) -> None:
        """Take the run out, before its lane or priority changes."""
        if run.due_at is None:
            return
        run.due_at = None
        run.ticket += 1
        buckets = self._lanes[run.lane]
        bucket = buckets[run.priority]
        bucket.live -= 1
        if bucket.live == 0:
            del buckets[run.priority]
            if not buckets:
                del self._lanes[run.lane]
        else:
            bucket.tidy()

    def due(self, lanes: Iterable[str], now: float) -> Iterator[Run]:
        """Due runs in claim order. The caller takes each out of the index before it asks for the next."""
        buckets = [(priority, bucket) for lane in lanes for priority, bucket in list(self._lanes.get(lane, {}).items())]
        heads: list[tuple[bool, int, float, int, int, Run]] = []

        def offer(n: int) -> None:
            priority, bucket = buckets[n]
            head = bucket.head()
            if head is not None and head[0] <= now:
                due_at, serial, _, run = head
                heapq.heappush(heads, (due_at >= now - AGED_SECONDS, -priority, due_at, serial, n, run))

        for n in range(len(buckets)):
            offer(n)
        while heads:
            *_, n, run = heapq.heappop(heads)
            yield run
            offer(n)

    def next_due_at(self, lanes: Iterable[str]) -> float | None:
        """The earliest due time in these lanes."""
        heads = (bucket.head() for lane in lanes for bucket in self._lanes.get(lane, {}).values())
        return min((head[0] for head in heads if head is not None), default=None)

    def problems(self, runs: Iterable[Run]) -> Iterator[str]:
        """One line per run that the index does not hold as it should."""
        held = {
            (place[3].id, lane, priority, place[0])
            for lane, buckets in self._lanes.items()
            for priority, bucket in buckets.items()
            for place in bucket.heap
            if place[2] == place[3].ticket
        }
        wanted = {(run.id, run.lane, run.priority, run.due_at) for run in runs if run.due_at is not None}
        for id, *_ in sorted(held ^ wanted):
            yield f"run {id}: its place in the claim index is not where its row says"
