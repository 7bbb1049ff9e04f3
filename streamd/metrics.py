"""Prometheus metrics (`streamd_*`) on a loopback port, off by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streamd.errors import UnavailableError
from streamd.health import LATENCY_BUCKETS, Tally

COUNTERS: Mapping[str, tuple[str, str]] = {
    "frames": ("camera", "frames received"),
    "frames_skipped": ("why", "frames that needed no detection"),
    "outages": ("failure", "times that a camera failed"),
    "crops": ("verdict", "crops by quality: good, or the first reason against it"),
    "crops_dropped": ("", "crops dropped because the embedder could not keep up"),
    "comparisons": ("", "templates compared with the gallery"),
    "invalid_templates": ("", "templates that the model gave with values that are no numbers"),
    "decisions": ("outcome", "decisions"),
    "messages_dropped": ("why", "messages not sent: too old, or no broker"),
}
"""Every counter: its label, if any, and what it counts."""

HISTOGRAMS: Mapping[str, str] = {
    "capture_to_comparison_seconds": "from the capture of a frame to the finished comparison",
    "first_good_frame_to_decision_seconds": "from the first good frame of a visit to its first decision",
}
"""Every histogram and what it measures."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure of this moment, for one value of its label."""

    name: str
    help: str
    label: str
    value: float


class _Collector(Collector):
    def __init__(self, tally: Tally, gauges: Callable[[], list[Gauge]]) -> None:
        self._tally = tally
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        counts = self._tally.counts()
        for name, (label, text) in COUNTERS.items():
            family = CounterMetricFamily(f"streamd_{name}", text, labels=[label] if label else [])
            for (counted, value), count in counts.items():
                if counted == name:
                    family.add_metric([value] if label else [], count)
            yield family
        for name, (buckets, total) in self._tally.histograms().items():
            yield _histogram(name, buckets, total)
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in self._gauges():
            family_of = families.setdefault(
                gauge.name, GaugeMetricFamily(f"streamd_{gauge.name}", gauge.help, labels=["camera"] if gauge.label else [])
            )
            family_of.add_metric([gauge.label] if gauge.label else [], gauge.value)
        yield from families.values()


def _histogram(name: str, buckets: Mapping[float, int], total: float) -> HistogramMetricFamily:
    running, rows = 0, []
    for bound in LATENCY_BUCKETS:
        running += buckets.get(bound, 0)
        rows.append(("+Inf" if bound == float("inf") else f"{bound:g}", running))
    family = HistogramMetricFamily(f"streamd_{name}", HISTOGRAMS[name])
    family.add_metric([], rows, total)
    return family


class MetricsServer:
    """Serves the metrics over HTTP until `stop`."""

    def __init__(self, address: str, port: int, tally: Tally, gauges: Callable[[], list[Gauge]]) -> None:
        registry = CollectorRegistry()
        registry.register(_Collector(tally, gauges))
        try:
            server: tuple[Any, Thread] = start_http_server(port, address, registry)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UnavailableError(f"metrics cannot be served at {address}:{port} ({why}); set another metrics.port") from None
        self._server, self._thread = server

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Close the port and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
