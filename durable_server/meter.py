"""How often and how fast the server answers, for ``/metrics``."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, Final, final

from durable.clock import Clock

__all__ = ["Meter"]

_BOUNDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


@final
class Meter:
    """Counts of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[int] = Counter()
        self._seconds = 0.0

    def begin(self) -> float:
        """A call begins."""
        return self._clock.monotonic()

    def end(self, began: float, scope: dict[str, Any], status: int) -> None:
        """A call has been answered. Only known routes are told apart: paths are anybody's words."""
        took = self._clock.monotonic() - began
        route = getattr(scope.get("route"), "path", "other")
        self._calls[scope["method"] if route != "other" else "any", route, status] += 1
        self._buckets[bisect_left(_BOUNDS, took)] += 1
        self._seconds += took

    def lines(self) -> list[str]:
        """In the text format of Prometheus."""
        lines = [
            "# HELP durable_http_requests_total Answers of this server process.",
            "# TYPE durable_http_requests_total counter",
        ]
        for (method, route, status), count in sorted(self._calls.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"durable_http_requests_total{{{labels}}} {count}")
        lines += [
            "# HELP durable_http_request_seconds How long answers took.",
            "# TYPE durable_http_request_seconds histogram",
        ]
        total = 0
        for place, bound in enumerate(_BOUNDS):
            total += self._buckets[place]
            lines.append(f'durable_http_request_seconds_bucket{{le="{bound}"}} {total}')
        total += self._buckets[len(_BOUNDS)]
        lines.append(f'durable_http_request_seconds_bucket{{le="+Inf"}} {total}')
        lines.append(f"durable_http_request_seconds_sum {self._seconds:.6f}")
        lines.append(f"durable_http_request_seconds_count {total}")
        return lines
