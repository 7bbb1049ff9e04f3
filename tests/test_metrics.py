"""Metrics: what is counted can be read over HTTP, in Prometheus' own words, on this machine only."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import streamd
from streamd.errors import UnavailableError
from streamd.health import Tally
from streamd.metrics import COUNTERS, HISTOGRAMS, Gauge, MetricsServer

Sample = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def gauges() -> list[Gauge]:
    return []


@pytest.fixture
def server(tally: Tally, gauges: list[Gauge]) -> Iterator[MetricsServer]:
    running = MetricsServer("127.0.0.1", 0, tally, lambda: gauges)
    yield running
    running.stop()


def scrape(server: MetricsServer) -> dict[Sample, float]:
    """Every sample by name and labels, as Prometheus reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_are_read_with_their_labels(server: MetricsServer, tally: Tally) -> None:
    tally.count("frames", "door", by=7)
    tally.count("frames", "garden")
    tally.count("comparisons")

    seen = scrape(server)

    assert seen["streamd_frames_total", (("camera", "door"),)] == 7
    assert seen["streamd_frames_total", (("camera", "garden"),)] == 1
    assert seen["streamd_comparisons_total", ()] == 1


def test_a_histogram_counts_upwards_and_ends_with_all(server: MetricsServer, tally: Tally) -> None:
    """0.02 s, 0.05 s, 0.05 s and 5 s: one up to 0.03, three up to 0.06, four in all, 5.12 s together."""
    for seconds in (0.02, 0.05, 0.05, 5.0):
        tally.observe("capture_to_comparison_seconds", seconds)

    seen = scrape(server)

    name = "streamd_capture_to_comparison_seconds"
    assert seen[f"{name}_bucket", (("le", "0.03"),)] == 1
    assert seen[f"{name}_bucket", (("le", "0.06"),)] == 3
    assert seen[f"{name}_bucket", (("le", "2"),)] == 3
    assert seen[f"{name}_bucket", (("le", "+Inf"),)] == seen[f"{name}_count", ()] == 4
    assert seen[f"{name}_sum", ()] == pytest.approx(5.12)


def test_gauges_tell_the_moment_of_the_scrape(server: MetricsServer, gauges: list[Gauge]) -> None:
    gauges += [Gauge("camera_up", "1 while it delivers", "door", 1.0), Gauge("camera_up", "1 while it delivers", "garden", 0.0)]
    assert scrape(server)["streamd_camera_up", (("camera", "door"),)] == 1

    gauges[:] = [Gauge("gallery_subjects", "people", "", 3.0)]
    seen = scrape(server)

    assert seen["streamd_gallery_subjects", ()] == 3
    assert not any(name == "streamd_camera_up" for name, _ in seen)


def test_whatever_the_program_counts_is_declared_and_whatever_is_declared_is_counted() -> None:
    """A counter that is not declared would be counted and never shown; the source is read, as it is written."""
    package = Path(streamd.__file__).parent
    source = "\n".join(path.read_text() for path in package.rglob("*.py"))

    assert set(re.findall(r'tally\.count\(\s*"(\w+)"', source)) == set(COUNTERS)
    assert set(re.findall(r'tally\.observe\(\s*"(\w+)"', source)) == set(HISTOGRAMS)


def test_a_port_that_is_taken_is_an_error_that_names_the_key_to_change(tally: Tally) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{port} .*metrics\.port"):
            MetricsServer("127.0.0.1", port, tally, list)


def test_a_stopped_server_frees_its_port(tally: Tally) -> None:
    server = MetricsServer("127.0.0.1", 0, tally, list)
    port = server.port
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
