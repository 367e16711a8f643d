"""`GET /metrics`: what the daemon counts, as Prometheus's text format 0.0.4."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ptybridge.api.node import NodeMetrics

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

# Each number of `node.metrics` with what it is; counters only ever grow.
_GAUGES: Final = {
    "sessions": "Sessions there are, exited ones included.",
    "sessions_running": "Sessions whose program runs.",
    "clients": "Connections on the socket.",
    "web_connections": "Connections of the web front.",
    "open_files": "File descriptors the daemon has open.",
    "open_files_limit": "File descriptors it may have open.",
}


class _Collector(Collector):
    def __init__(self, found: NodeMetrics) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        found: Any = self._found
        yield InfoMetricFamily("ptybridge", "The daemon.", {"version": found.version})
        yield GaugeMetricFamily("ptybridge_uptime_seconds", "Since the daemon began.", found.uptime_ms / 1000)
        yield GaugeMetricFamily(
            "ptybridge_loop_lag_seconds", "How late the daemon was to turn to what is due.", found.loop_lag_ms / 1000
        )
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"ptybridge_{name}", text, getattr(found, name))
        calls = CounterMetricFamily("ptybridge_calls", "Calls of each operation.", labels=["operation"])
        for operation, count in sorted(found.calls.items()):
            calls.add_metric([operation], count)
        yield calls
        failures = CounterMetricFamily(
            "ptybridge_failures", "Calls that failed, by their error.", labels=["operation", "code"]
        )
        for operation, codes in sorted(found.failures.items()):
            for code, count in sorted(codes.items()):
                failures.add_metric([operation, code], count)
        yield failures


def exposition(found: NodeMetrics) -> bytes:
    """Return the metrics as text."""
    registry = CollectorRegistry()
    registry.register(_Collector(found))
    text: bytes = generate_latest(registry)
    return text
