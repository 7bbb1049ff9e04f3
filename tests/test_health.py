"""Health: a worker that hangs is noticed, one that has ended is not missed, and figures add up."""

from __future__ import annotations

import threading

import pytest

from streamd.health import LATENCY_BUCKETS, FaultLog, Heartbeats, Rate, Tally


def test_only_a_worker_that_let_its_time_pass_is_late() -> None:
    hearts = Heartbeats()
    hearts.beat("embedder", now=100.0, good_for=8.0)
    hearts.beat("camera-door", now=100.0, good_for=20.0)

    assert hearts.late(108.0) == ()
    assert hearts.late(108.1) == ("embedder",)
    assert hearts.late(121.0) == ("camera-door", "embedder")


def test_a_new_sign_of_life_takes_the_place_of_the_last_even_where_it_is_shorter() -> None:
    """The start is given a minute; what comes after it is held to its own time."""
    hearts = Heartbeats()
    hearts.beat("embedder", now=100.0, good_for=60.0)
    hearts.beat("embedder", now=101.0, good_for=8.0)

    assert hearts.late(110.0) == ("embedder",)


def test_a_worker_that_has_ended_as_it_should_is_not_missed() -> None:
    hearts = Heartbeats()
    hearts.beat("gallery", now=100.0, good_for=8.0)
    hearts.done("gallery")
    hearts.done("never-started")

    assert hearts.late(1000.0) == ()


def test_a_latency_counts_in_the_first_bucket_that_holds_it() -> None:
    """0.03 s is in the first, a hair more in the second; what is longer than all of them in the last, which has no end."""
    heard: list[tuple[str, float]] = []
    tally = Tally(lambda name, seconds: heard.append((name, seconds)))
    for seconds in (0.01, 0.03, 0.0301, 99.0):
        tally.observe("wait", seconds)

    buckets, total = tally.histograms()["wait"]
    assert buckets == {0.03: 2, 0.06: 1, float("inf"): 1}
    assert total == pytest.approx(99.0701)
    assert [seconds for _, seconds in heard] == [0.01, 0.03, 0.0301, 99.0]
    assert list(LATENCY_BUCKETS) == sorted(LATENCY_BUCKETS)


def test_counts_of_several_threads_add_up_by_label() -> None:
    tally = Tally()
    threads = [threading.Thread(target=lambda: [tally.count("frames", "door") for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.count("frames", "garden", by=3)

    assert tally.counts() == {("frames", "door"): 8000, ("frames", "garden"): 3}


def test_a_rate_is_that_of_the_last_seconds() -> None:
    """10 frames a second for ten seconds, then none: after 5 s of silence nothing is left of it."""
    rate = Rate(window_seconds=5.0)

    assert rate.reading(0, now=100.0) == 0.0
    assert [rate.reading(10 * i, now=100.0 + i) for i in range(1, 11)] == pytest.approx([10.0] * 10)
    assert rate.reading(100, now=112.5) == pytest.approx(20 / 4.5)  # since 108.0, when it had 80
    assert rate.reading(100, now=116.0) == 0.0


def test_of_a_camera_that_flaps_one_fault_of_each_kind_is_said_in_an_hour_with_the_count_of_the_others() -> None:
    faults = FaultLog()
    said = []
    for i in range(400):  # ten seconds down, ten seconds well
        passed_over = faults.fault("refused" if i == 7 else "frozen", i * 20.0)
        if passed_over is not None:
            said.append((i, passed_over))
        assert faults.well(i * 20.0 + 10) is (passed_over is not None)
        assert not faults.well(i * 20.0 + 11)

    assert said == [(0, 0), (7, 0), (180, 178), (360, 179)]


def test_a_fault_that_lasts_is_said_even_where_it_flapped_before_and_so_is_its_end() -> None:
    faults = FaultLog()
    faults.fault("timeout", 0.0)
    faults.well(10.0)

    assert [faults.fault("timeout", now) for now in (20.0, 50.0, 79.0)] == [None, None, None]
    assert faults.fault("timeout", 80.0) == 3
    assert faults.fault("timeout", 85.0) is None
    assert faults.well(90.0)


def test_after_five_minutes_of_health_a_fault_is_news_again() -> None:
    faults = FaultLog()
    faults.fault("timeout", 0.0)
    faults.well(10.0)
    faults.fault("timeout", 20.0)
    faults.well(30.0)

    assert faults.fault("timeout", 330.0) == 0
