"""OpenTelemetry for durable: spans that stay one trace over crashes and workers, and metrics.

``pip install 'durable-engine[otel]'``, then ``Worker(client, ..., observer=Telemetry())``.
"""

from durable_otel.identity import RunIds, trace_labels
from durable_otel.telemetry import Telemetry

__all__ = ["RunIds", "Telemetry", "trace_labels"]
