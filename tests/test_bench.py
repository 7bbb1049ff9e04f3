"""The benchmarks: that they run, and that the keys which others read are there. No time is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from streamd.bench import cameras, detection, run, search
from streamd.bench.statistics import quantile

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("portraits")]


def measured(name: str, seconds: float) -> dict[str, Any]:
    """What `streamd bench NAME --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "streamd", "bench", name, "--json", "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_pipeline_is_measured_from_picture_to_message() -> None:
    found = measured("pipeline", 1.0)

    assert set(found["capture_to_comparison_ms"]) == {"p50", "p99"}
    assert set(found["first_good_frame_to_decision_s"]) == {"p50", "p95"}
    assert set(found["first_good_frame_to_any_decision_s"]) == set(found["first_good_frame_to_unknown_s"]) == {"p50", "p95"}
    assert found["visits_by_first_decision"].keys() == {"identified", "unknown", "ambiguous", "undecided"}
    assert found["decisions_not_told"] >= 0
    for key in ("cores", "decoding_cores"):
        assert set(found[key]) == {"in_view", "idle"}
        assert all(share > 0 for share in found[key].values())
    assert set(found["bare_kernels_ms"]) == {"decode", "detect", "landmarks", "embed", "in_turn", "at_frame_rate"}
    assert found["cpu_over_bare_kernels"] > 0
    assert found["frames_compared_per_s"] > 0
    assert found["machine"]["cores"] >= 1


def test_a_start_is_measured_with_fifty_photos() -> None:
    found = measured("start", 0.5)

    assert found["photos"] >= 50
    assert 0 < found["ready_s"] <= found["ready_s_slowest"]
    assert found["rss_mb"] > 0


def test_the_smallest_face_is_measured() -> None:
    found = detection.measure(0.1, (48, 20, 8))

    assert set(found["smallest_eye_distance_px"]) == {"detected", "recognised"}
    assert found["tiles_3"]["smallest_eye_distance_px"]["detected"] <= found["smallest_eye_distance_px"]["detected"]


def test_search_is_measured_beside_the_bare_product() -> None:
    found = search.figures(2000, 32, 0.05, exact_numbers=1000)

    assert set(found) >= {"templates", "median_ms", "p99_ms", "recall_at_1", "method", "bare_product_median_ms"}
    assert found["templates"] == 2000
    assert found["recall_at_1"] > 0.99
    assert found["method"] != search.figures(500, 32, 0.05)["method"] == "product"


def test_a_start_from_the_vault_is_measured() -> None:
    found = search.start_figures(5000, 128)

    assert min(found["load_s"], found["load_and_build_s"], found["commit_s"]) > 0


def test_four_cameras_are_measured_with_the_defaults_and_overloaded() -> None:
    found = cameras.measure(1.0)

    keys = {"p50_ms", "p99_ms", "delay_slope_ms_per_min", "dropped", "frames", "compared", "cores", "rss_mb"}
    assert set(found) == keys | {"cameras", "every_frame_compared"}
    assert set(found["every_frame_compared"]) == keys
    assert found["cameras"] == 4
    assert found["frames"] > 0


def test_what_could_not_be_measured_is_null_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured_nothing = SimpleNamespace(
        TITLE="nothing",
        SECONDS=1.0,
        measure=lambda seconds: {"ms": {"p50": quantile([], 0.5)}, "runs": [{"s": quantile([], 0.5)}]},
    )
    monkeypatch.setitem(run.BENCHMARKS, "nothing", measured_nothing)

    run.run(["nothing"], list_them=False, seconds=None, as_json=True)

    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (found["ms"], found["runs"]) == ({"p50": None}, [{"s": None}])


@pytest.mark.slow
def test_a_photo_written_is_timed_to_its_person_identified() -> None:
    found = measured("reload", 1.0)

    assert found["photo_to_identified_s"]["p95"] > 0
    assert found["photos"] == 1000
    assert found["frames_compared"] > 0
    assert found["frames_without_answer"] == 0


def test_no_kill_loses_a_generation_or_enrols_anybody_twice() -> None:
    found = measured("kills", 12.0)

    assert (found["kills"], found["generations_lost"], found["enrolled_twice"]) == (12, 0, 0)


@pytest.mark.slow
def test_photos_dropped_in_bulk_are_all_judged() -> None:
    found = measured("bulk", 2.0)

    assert found["photos"] == found["judged"] == 20
    assert found["photos_per_s"] > 0
    assert found["rss_mb_peak"] > 0
    assert found["frame_rate_loss"] < 1
