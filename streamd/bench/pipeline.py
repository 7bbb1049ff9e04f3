"""One camera, 1280x720 at 15 fps in H.264 over RTSP: latency and CPU from the picture to the message at the broker.

Four scenes, each with a daemon of its own: nothing moves; the enrolled person stands there, with the defaults, identified
after the first second and looked at sparingly from then on; a stranger stands there; and the worst case, a person whose every
single frame is detected, aligned, embedded and compared. A fifth scene lets the enrolled person and a stranger come again and
again, for the time from the first good frame to the decision: to `identified`, to `unknown`, and of every visit to its first
decision, whatever that is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamd.bench import kernels
from streamd.bench.scene import BASE, EVERY_FRAME, ObservedDaemon, Scene, Window, clip, clip_file, scene
from streamd.bench.statistics import quantile
from streamd.demo.portraits import SPEAKING, STANDING, STRANGER
from streamd.demo.rtsp_server import read_clip
from streamd.demo.story import FPS, Visit
from streamd.events.contract import Topics, VisitEvent
from streamd.values import Outcome

TITLE: Final = "one camera from picture to message: latency, CPU, bare kernels"
SECONDS: Final = 25.0
_SETTLE_SECONDS: Final = 4.0  # at most, until the first decisions are made and every network is warm
_PERSON: Final = (Visit((STANDING,), 0, 8, walks=False),)
_STRANGER: Final = (Visit((STRANGER,), 0, 8, walks=False),)
# In view for 2.4 s, away for 3.6 s: longer than a visit takes to end with the settings below.
_COMING: Final = (
    Visit((STANDING,), 0.5, 2.9, walks=False),
    Visit((STRANGER,), 6.5, 8.9, walks=False),
    Visit((SPEAKING,), 12.5, 14.9, walks=False),
)
_COMING_SECONDS: Final = 18.0
_AGAIN: Final = {"decision": {"cooldown_seconds": 0, "rejoin_seconds": 0, "left_after_seconds": 1.0}}


def measure(seconds: float) -> dict[str, Any]:
    """Every figure; `seconds` for each scene."""
    person = clip_file(_PERSON, 8)
    clips = {
        "still": clip((), 8),
        "person": read_clip(person),
        "stranger": clip(_STRANGER, 8),
        "coming": clip(_COMING, _COMING_SECONDS),
    }
    with scene(clips) as here:
        idle, _ = _observe(here, "still", {}, seconds)
        in_view, _ = _observe(here, "person", {}, seconds)
        stranger, _ = _observe(here, "stranger", {}, seconds)
        # Beside the scene that it is compared with: the speed of a shared machine changes from minute to minute.
        bare = kernels.measure(person, seconds / 6)
        worst, truth = _observe(here, "person", EVERY_FRAME, seconds)
        visits = _coming(here, 6 * seconds)
    identified = [one for one in visits if one.outcome is Outcome.IDENTIFIED]
    first = _first_of_each(visits)
    latencies = worst.latencies("capture_to_comparison_seconds")
    faces = len(latencies)
    per_face = worst.cpu * 1e3 / max(faces, 1)
    measured = {**bare.alone, "in_turn": bare.in_turn, "at_frame_rate": bare.at_frame_rate}
    return {
        "capture_to_comparison_ms": _milliseconds(latencies, 0.5, 0.99),
        "camera_to_comparison_ms": {"p50": round(truth, 1), "parser_waits_for_next_frame_ms": round(1000 / FPS, 1)},
        "first_good_frame_to_decision_s": _seconds([one.decided for one in identified]),
        "first_good_frame_to_message_s": _seconds([one.arrived for one in identified]),
        "visits": len(identified),
        "first_good_frame_to_any_decision_s": _seconds([one.decided for one in first]),
        "first_good_frame_to_any_message_s": _seconds([one.arrived for one in first]),
        "first_good_frame_to_unknown_s": _seconds([one.decided for one in first if one.outcome is Outcome.UNKNOWN]),
        # The daemon numbers its decisions: one that no subscriber got would be missing from every figure above.
        "decisions_not_told": visits[-1].seq - visits[0].seq + 1 - len(visits) if visits else 0,
        "visits_by_first_decision": {outcome.value: sum(one.outcome is outcome for one in first) for outcome in Outcome},
        "cores": {"in_view": round(in_view.cores(), 3), "idle": round(idle.cores(), 3)},
        "decoding_cores": {"in_view": round(in_view.cores("camera-"), 3), "idle": round(idle.cores("camera-"), 3)},
        "cores_stranger_in_view": round(stranger.cores(), 3),
        "cores_every_frame_compared": round(worst.cores(), 3),
        "frames_compared_per_s": round(faces / worst.seconds, 1),
        "bare_kernels_ms": {
            name: {"p50": round(kernel.p50, 2), "p99": round(kernel.p99, 2), "cpu": round(kernel.cpu, 2)}
            for name, kernel in measured.items()
        },
        "cpu_ms_per_frame_with_face": round(per_face, 2),
        "cpu_over_bare_kernels": round(per_face / bare.in_turn.cpu, 3),
        "cpu_over_bare_kernels_at_frame_rate": round(per_face / bare.at_frame_rate.cpu, 3),
        "rss_mb": round(worst.rss_mb, 1),
    }


def _observe(here: Scene, path: str, settings: Mapping[str, Any], seconds: float) -> tuple[Window, float]:
    """One daemon on one camera: what it did, and the median milliseconds from the camera's sending to the comparison."""
    with ObservedDaemon(here.write_config([path], settings)) as daemon:
        daemon.window(min(_SETTLE_SECONDS, seconds))
        window = daemon.window(seconds)
        sent = list(here.server.sent[path])
    # The comparison of a frame ends before the next but one is sent: the newest one sent before its capture is its own.
    truths = []
    for name, at, latency in window.samples:
        captured = at - latency
        earlier = [moment for moment in sent if moment <= captured - 0.5 / FPS]
        if name == "capture_to_comparison_seconds" and earlier:
            truths.append((at - earlier[-1]) * 1e3)
    return window, quantile(truths, 0.5)


@dataclass(frozen=True, slots=True)
class _Told:
    """One decision at a subscriber; seconds from its visit's first good frame until it was made, and until it arrived."""

    visit: str
    seq: int
    outcome: Outcome
    decided: float
    arrived: float


def _coming(here: Scene, seconds: float) -> list[_Told]:
    """Visit after visit: every decision that was told, in the order in which they were made."""
    topic = Topics(BASE).at(VisitEvent, camera="camera0")
    with ObservedDaemon(here.write_config(["coming"], _AGAIN)) as daemon:
        daemon.window(min(_SETTLE_SECONDS, seconds))
        warm = time.monotonic()
        daemon.window(seconds)
    told, cold = [], set()
    while message := here.listener.next(0.1):
        if message.topic == topic:
            event = VisitEvent.from_json(message.body)
            if event.latency_ms is None:
                continue
            decided = event.latency_ms / 1e3
            # From the decision to the message: both clocks are this machine's, which the daemon's two are as well.
            arrived = decided + message.at + (time.time() - time.monotonic()) - event.decided.timestamp()
            told.append(_Told(event.visit, event.seq, event.decision, decided, arrived))
            if message.at < warm:
                cold.add(event.visit)
    return sorted((one for one in told if one.visit not in cold), key=lambda one: one.seq)


def _first_of_each(told: Sequence[_Told]) -> list[_Told]:
    """The first decision of each visit; it may be replaced while the person stays."""
    first: dict[str, _Told] = {}
    for one in told:
        first.setdefault(one.visit, one)
    return list(first.values())


def _milliseconds(samples: list[float], *shares: float) -> dict[str, float]:
    return {f"p{round(share * 100)}": round(quantile(samples, share) * 1e3, 1) for share in shares}


def _seconds(samples: list[float]) -> dict[str, float]:
    return {"p50": round(quantile(samples, 0.5), 3), "p95": round(quantile(samples, 0.95), 3)}
