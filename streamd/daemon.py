"""The daemon: builds the stages from the configuration, joins them by threads, starts and stops them. The only wiring.

    camera-<name>     decodes one camera, leaves its newest frame in `Latest`               (one thread each)
    detection-<n>     takes frames in turn: motion, detection, tracking, crops              (a few; a camera has one of them)
    embedder          takes batches from `Batcher`, embeds, compares, decides, publishes    (one)
    gallery           watches the enrolment folder, builds galleries aside, swaps them      (one)
    control           answers the commands of this machine over a socket                    (one)
    MQTT, metrics     their libraries' own
    main              ticks four times a second: ends visits, publishes states, feeds the watchdog

Frames and crops that nobody took in time are replaced by newer ones of the same camera and track, which is counted; decisions
never wait (events/outbox.py). An exception in a thread ends the daemon with its traceback and status 70.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from streamd import assembly, debug
from streamd.assembly import Model
from streamd.clock import Clock, SystemClock, WakingClock, clock_synchronised
from streamd.config import Config
from streamd.control import Answer, ControlServer
from streamd.enrolment import attributes
from streamd.enrolment.dropping import drop, person_folder
from streamd.enrolment.folder import Enrolment, PhotoEvent
from streamd.enrolment.guided import WORDS, Ending, Result, check, seen
from streamd.enrolment.images import Decoder, OpenedPhoto, PhotoReason
from streamd.enrolment.keeper import GalleryKeeper
from streamd.enrolment.listing import subject_id
from streamd.enrolment.photo import PhotoVerdict, judge
from streamd.enrolment.portrait import cut, photo_name
from streamd.enrolment.succession import Succession
from streamd.enrolment.unknown import Look, UnknownRules, UnknownVisit, UnknownVisits, VisitLooks, surroundings
from streamd.errors import GalleryError, StreamdError, UnavailableError
from streamd.events.contract import (
    CameraCondition,
    CameraState,
    GalleryEvent,
    GalleryState,
    LastSeen,
    Left,
    PhotoProblem,
    Presence,
    Verdict,
    VisitEvent,
)
from streamd.events.outbox import EventSink
from streamd.events.unheard import Unheard
from streamd.guides import Guided, Guides
from streamd.handoff import Batcher, Latest
from streamd.health import CameraHealth, FaultLog, Heartbeats, Rate, Tally
from streamd.metrics import Gauge, MetricsServer
from streamd.people import Kept
from streamd.plural import counted
from streamd.recognition.calibration import Calibration
from streamd.recognition.embedding import Embedder
from streamd.recognition.gallery import build
from streamd.recognition.visit import Announcement, Departure, Visits
from streamd.values import Crop, Float32, Frame, Outcome, Template, Track, UInt8
from streamd.vision.analysis import FaceAnalyser
from streamd.vision.capture import Camera, Outage, is_live, watch
from streamd.vision.picture import jpeg
from streamd.vision.watching import Watcher

log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.25
_STATE_SECONDS: Final = 10.0  # between camera states while nothing changes
_WORKER_GOOD_FOR: Final = 8.0  # seconds within which every worker must move, so that a hang is noticed in WatchdogSec
_CONTROL_GOOD_FOR: Final = 20.0  # a client may take its time with question and answer: see control.py
_STEP_SECONDS: Final = 0.1  # for which a client of the control socket is waited for before the next one has its turn
_IDLE_SECONDS: Final = 30.0  # after a photo, for which decoder and networks stay for the next: photos come in groups
_PROBLEMS_TOLD: Final = 100  # of the gallery, over MQTT; the number of all is told as well
_STOP_SECONDS: Final = 2.0
_LAST_PICTURE_SECONDS: Final = 0.7  # for which a camera is waited for at the end: one that hangs gives no picture later either


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A picture to embed, uint8 (150, 150, 3), and whom to tell: a template, or None where the model gave none. model: which
    embeds it; None: the one that serves when its turn comes.
    """

    image: UInt8
    reply: Callable[[Template | None, float], None]
    model: Model | None = None


Request = Callable[[Kept, Mapping[str, Any]], Answer]
"""What may be asked about people over the control socket."""


@dataclass(frozen=True, slots=True)
class _Blind:
    """A camera gives no picture any more."""

    camera: str
    at: float


class Daemon:
    """Cameras to decisions; `run` returns when `stop` was called, or raises what a thread could not handle."""

    def __init__(
        self,
        config: Config,
        sink: EventSink,
        embedder: Embedder,
        calibration: Calibration,
        *,
        boot: str,
        requests: Mapping[str, Request] | None = None,
        tally: Tally | None = None,
        clock: Clock | None = None,
        on_tick: Callable[[float, tuple[str, ...]], None] = lambda _now, _late: None,
        on_progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """boot: identifies this run. requests: what the control socket may ask about people, by name. on_tick:
        time and the workers that hang. on_progress: what the start is busy with.
        """
        self._config = config
        self._sink = sink
        self._configured = Model(embedder, calibration, assembly.attribute_rules(config))
        self._predecessor: Model | None = None
        self._serving = self._configured
        """The model of the gallery in force; changes with the gallery, under the visits' lock."""
        self._stopping = threading.Event()
        self._clock = clock or SystemClock(self._stopping)
        self._on_tick = on_tick
        self._boot = boot
        self._sequence = itertools.count(1)
        self._fault: BaseException | None = None
        self.started = False
        """Whether the gallery is loaded and every stage runs."""
        self.tally = tally or Tally()
        self.heartbeats = Heartbeats()
        self._cameras = assembly.cameras(config)
        self.health = {name: CameraHealth(enabled=config.cameras[name].enabled) for name in self._cameras}
        self._rates = {name: Rate() for name in self._cameras}
        self._toggled = {name: threading.Event() for name in self._cameras}
        self._latest = [Latest[str, Frame | _Blind]() for _ in range(assembly.detection_workers(config))]
        self._batcher = Batcher[_Request](embedder.batch_sizes, config.model.max_wait_milliseconds / 1000)
        self._visits_lock = threading.Lock()
        self._tracks, self._visit_ids = itertools.count(1), itertools.count(1)
        empty = build((), 0, embedder.model, embedder.dimension)
        self._visits = Visits(assembly.visit_rules(config), calibration, empty, functools.partial(next, self._visit_ids))
        self._enrolment = Enrolment(empty)
        self._analyser: FaceAnalyser | None = None
        self._photos_at = float("-inf")
        self._decoder = Decoder()
        self._keeper = GalleryKeeper(
            config.gallery_folder,
            self._open_folder,
            self._prepare,
            self._rest,
            self._put_in_force,
            settle_seconds=config.gallery.settle_milliseconds / 1000,
            poll_seconds=config.gallery.poll_seconds,
            clock=self._clock,
            alive=lambda seconds: self.heartbeats.beat("gallery", self._clock.monotonic(), seconds),
            progress=on_progress,
        )
        self._unheard = Unheard()
        self.guides = Guides(sink.publish_event, self._gathered, self._clock.utc)
        self._presence: dict[str, int] = {}
        self._states: dict[str, tuple[bool, str | None]] = {}
        self._states_at = float("-inf")
        self._pictures = (
            debug.PictureFolder(config.debug.pictures, config.debug.max_pictures) if config.debug.pictures else None
        )
        self._requests = requests or {}
        self._control: ControlServer | None = None
        self._unknown: UnknownVisits | None = None
        self._unknown_of: Model | None = None
        self._looks = VisitLooks(UnknownRules().max_looks)
        self._forgotten = datetime.min.replace(tzinfo=UTC)
        """When somebody was forgotten last."""
        self._threads: list[threading.Thread] = []
        self._metrics: MetricsServer | None = None

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """The threads of the stages, named as in the list above."""
        return tuple(self._threads)

    @property
    def frames_replaced(self) -> int:
        """How many frames a newer one replaced before anybody looked."""
        return sum(slots.replaced for slots in self._latest)

    @property
    def enrolment(self) -> Enrolment:
        """The gallery in force and the photos that are not used."""
        return self._enrolment

    def stop(self) -> None:
        """Ask the daemon to end; from any thread, but not from a signal handler: see signals.py."""
        self._stopping.set()
        self._keeper.stop()
        for toggled in self._toggled.values():
            toggled.set()

    def reload(self) -> None:
        """Look at the enrolment folder now."""
        self._keeper.reload()

    def not_delivered(self, visit: str, seq: int, connection: int) -> None:
        """Nobody was told this decision; whoever still stands there is announced when the broker is back.

        connection: how many connections there had been by then.
        """
        self._unheard.lost(visit, seq, connection, self._clock.monotonic())

    def tell_again(self, connection: int | None) -> None:
        """What was lost on its way to the broker is decided anew, by what is seen now.

        connection: how many there have been, where one stands; else None.
        """
        with self._visits_lock:
            numbers = self._open_visits()
            for visit in self._unheard.take(connection, self._clock.monotonic(), numbers):
                self._visits.not_delivered(numbers[visit])

    def _open_visits(self) -> dict[str, int]:
        return {self._visit_id(number): number for number in self._visits.open}

    def enable(self, camera: str | None, enabled: bool) -> list[str]:
        """Switch one camera, or all, on or off; the names that were switched, or KeyError for an unknown one."""
        names = list(self._cameras) if camera is None else [camera]
        for name in names:
            self.health[name].enabled = enabled
            self._toggled[name].set()
        return names

    def run(self) -> None:
        """Start every stage, tick until stopped, end every thread within the stop budget."""
        try:
            self._start_threads()
            while not self._stopping.is_set():
                self._tick()
                self._stopping.wait(_TICK_SECONDS)
        finally:
            self._join()
        if self._fault is not None:
            raise self._fault

    # Starting and stopping

    def _start_threads(self) -> None:
        self._start("embedder", self._embed)
        self._start("gallery", self._keep_gallery)
        self._control = ControlServer(
            self._config.state,
            {name: functools.partial(self._ask, request) for name, request in self._requests.items()}
            | {"guide": self._serve_guide},
            self._control_moves,
        )
        self._start("control", self._control.run)
        if self._config.metrics.port is not None:
            self._serve_metrics(self._config.metrics.address, self._config.metrics.port)
        while not self._keeper.ready.wait(_TICK_SECONDS):
            self._on_tick(self._clock.monotonic(), ())
            if self._stopping.is_set():
                return
        self._keeper.ask(self._keep_model)
        for index in range(len(self._latest)):
            self._start(f"detection-{index}", functools.partial(self._detect, index))
        for index, camera in enumerate(self._cameras.values()):
            slots = self._latest[index % len(self._latest)]
            self._start(f"camera-{camera.name}", functools.partial(self._capture, camera, slots))
        self.started = True

    def _serve_metrics(self, address: str, port: int) -> None:
        try:
            self._metrics = MetricsServer(address, port, self.tally, self._gauges)
        except UnavailableError as error:  # the door is worth more than its figures
            log.error("%s; until a restart there are none", error)

    def _start(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except BaseException as error:
                if not isinstance(error, StreamdError):  # else its sentence is shown where the daemon ends
                    log.critical("%s failed", name, exc_info=error)
                self._fault = self._fault or error
                self.stop()
            finally:
                self.heartbeats.done(name)

        self.heartbeats.beat(name, self._clock.monotonic(), 60.0)
        # Daemonic, so that a decoder stuck in the kernel cannot keep the process from ending.
        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        self.stop()
        began = self._clock.monotonic()
        for slots in self._latest:
            slots.close()
        self._batcher.close()
        if self._control is not None:
            self._control.stop()
        if self._metrics is not None:
            self._metrics.stop()
        for thread in self._threads:
            of_camera = thread.name.startswith("camera-")
            most = _LAST_PICTURE_SECONDS if of_camera else _STOP_SECONDS
            thread.join(max(0.0, began + most - self._clock.monotonic()))
            if thread.is_alive() and of_camera:
                # FFmpeg's opening and reading cannot be interrupted from outside, and nothing is lost with them.
                log.info("%s still waits for its camera; the program ends without it", thread.name)
            elif thread.is_alive():
                log.error("%s did not end within %g s; it is left behind", thread.name, _STOP_SECONDS)
        with self._visits_lock:  # last, so that no decision follows on its visit's end
            departures = self._visits.close()
        for departure in departures:
            self._depart(departure)

    # Cameras

    def _capture(self, camera: Camera, slots: Latest[str, Frame | _Blind]) -> None:
        """The body of a camera's thread."""
        health, worker, toggled = self.health[camera.name], f"camera-{camera.name}", self._toggled[camera.name]
        faults, stills = FaultLog(), FaultLog()
        clock = WakingClock(self._clock, toggled)  # whoever switches a camera does not wait for the end of its back-off

        def frame(frame: Frame) -> None:
            now = self._clock.monotonic()
            if faults.well(now):
                log.info("%s: pictures again", camera.name)
            health.frames += 1
            health.last_frame, health.failure, health.sentence = frame.captured, None, None
            self.tally.count("frames", camera.name)
            pause = camera.open_timeout + 2 * camera.read_timeout + 5 + 2 / camera.max_fps
            self.heartbeats.beat(worker, now, pause if is_live(camera.address) else math.inf)
            slots.put(camera.name, frame)

        def outage(outage: Outage) -> None:
            now = self._clock.monotonic()
            passed_over = faults.fault(outage.error.failure.value, now)
            more = f" ({counted(passed_over, 'time')} more since this was last said)" if passed_over else ""
            log.log(logging.DEBUG if passed_over is None else logging.WARNING, "%s%s", outage.error, more)
            health.failure, health.sentence = outage.error.failure.value, str(outage.error)
            self.tally.count("outages", outage.error.failure.value)
            self.heartbeats.beat(worker, now, (outage.retry_after or 0) + 2 * camera.open_timeout + 10)
            slots.put(camera.name, _Blind(camera.name, now))

        def still(sentence: str | None) -> None:
            health.still, now = sentence, self._clock.monotonic()
            if sentence is not None:
                log.log(logging.DEBUG if stills.fault("still", now) is None else logging.INFO, "%s", sentence)
            elif stills.well(now):
                log.info("%s: the picture moves again", camera.name)

        while not self._stopping.is_set():
            if health.enabled:
                self.heartbeats.beat(worker, self._clock.monotonic(), 3 * camera.open_timeout + 10)
                if watch(camera, clock, lambda: self._stopping.is_set() or not health.enabled, frame, outage, still):
                    self.heartbeats.done(worker)
                    toggled.wait()  # a file that has been shown: `enable` shows it again
                health.last_frame = health.still = None
                slots.put(camera.name, _Blind(camera.name, self._clock.monotonic()))
            else:
                self.heartbeats.done(worker)
                toggled.wait()
            toggled.clear()

    # Detection

    def _detect(self, index: int) -> None:
        """The body of a detection thread; it owns its networks and, for its cameras, their watchers."""
        slots, worker = self._latest[index], f"detection-{index}"
        with FaceAnalyser(assembly.detection_rules(self._config), assembly.quality_rules(self._config)) as analyser:
            watchers: dict[str, Watcher] = {}
            while not self._stopping.is_set():
                taken = slots.take(1.0)
                self.heartbeats.beat(worker, self._clock.monotonic(), _WORKER_GOOD_FOR)
                if taken is None:
                    continue
                if taken.camera not in watchers:
                    watchers[taken.camera] = Watcher(
                        analyser,
                        functools.partial(next, self._tracks),
                        functools.partial(self._wanted, taken.camera),
                        assembly.motion_rules(self._config),
                    )
                self._watch(watchers[taken.camera], taken)

    def _wanted(self, camera: str, track: int, now: float) -> bool:
        if self.guides.at(camera):
            return True
        with self._visits_lock:
            return self._visits.wanted(camera, track, now)

    def _watch(self, watcher: Watcher, taken: Frame | _Blind) -> None:
        if isinstance(taken, _Blind):
            sighting = watcher.blind(taken.camera, taken.at)
            wall = self._clock.utc()
        else:
            sighting = watcher.watch(taken)
            wall = taken.wall
            if self.guides.at(taken.camera):
                self.guides.look(taken.camera, taken.captured, seen(taken, sighting.tracks, sighting.crops, self.guides.worn))
        if sighting.skipped is not None:
            self.tally.count("frames_skipped", sighting.skipped)
            return
        with self._visits_lock:
            self._visits.seen(sighting.camera, sighting.tracks, sighting.ended, sighting.captured, wall)
            for crop in sighting.crops:
                self._visits.looked(crop)
        for crop in sighting.crops:
            self.tally.count("crops", crop.quality.reasons[0].value if crop.quality.reasons else "good")
            if crop.quality.good:
                frame = taken if isinstance(taken, Frame) and self._pictures is not None else None
                self._request(crop, frame, sighting.tracks, self._photo_of(crop, taken, sighting.tracks))
        self._publish_presence(sighting.camera, sighting.present)

    def _photo_of(self, crop: Crop, taken: Frame | _Blind, tracks: tuple[Track, ...]) -> bytes | None:
        """The face with a little around it, where unknown visitors are kept; made while the picture is there."""
        if not self._config.privacy.keep_unknown_days or isinstance(taken, _Blind):
            return None
        box = next((track.face.box for track in tracks if track.id == crop.track), None)
        return None if box is None else surroundings(taken.picture, box)

    def _request(self, crop: Crop, frame: Frame | None, tracks: tuple[Track, ...], photo: bytes | None) -> None:
        def compared(template: Template | None, finished: float) -> None:
            if template is None:
                self.tally.count("invalid_templates")
                return
            with self._visits_lock:
                announcements = self._visits.compared(crop, template, finished)
                self._announce(announcements)
                visit = self._visits.visit_of(crop.camera, crop.track)
                if photo is not None and visit is not None and template.model == self._serving.embedder.model:
                    self._looks.add(visit, Look(template.vector, crop.quality, photo, crop.wall))
            rules = self._serving.attributes
            if rules is not None and template.model == self._serving.embedder.model and self.guides.at(crop.camera):
                self.guides.wears(crop.camera, crop.track, attributes.judge(rules, template.vector, crop.image))
            self.tally.count("comparisons")
            self.tally.observe("capture_to_comparison_seconds", finished - crop.captured)
            for announcement in announcements:
                if frame is not None and self._pictures is not None:
                    self._pictures.save(frame, tracks, crop.track, announcement.decision, announcement.visit)

        # One crop of each track waits: a newer one takes its place, so that every face has its turn and none is old.
        if self._batcher.put(_Request(crop.image, compared), (crop.camera, crop.track)) is not None:
            self.tally.count("crops_dropped")

    # Embedding, comparing, deciding

    def _embed(self) -> None:
        """The body of the embedder's thread, the only one that runs a model."""
        while not self._stopping.is_set():
            batch = self._batcher.take(1.0)
            self.heartbeats.beat("embedder", self._clock.monotonic(), _WORKER_GOOD_FOR)
            if not batch:
                continue
            serving = self._serving
            for model in dict.fromkeys(request.model or serving for request in batch):
                embedder = model.embedder
                requests = [request for request in batch if (request.model or serving) is model]
                vectors = embedder.embed([request.image for request in requests])
                finished = self._clock.monotonic()
                for request, vector in zip(requests, vectors, strict=True):
                    request.reply(Template(vector, embedder.model) if np.isfinite(vector).all() else None, finished)

    def _announce(self, announcements: list[Announcement]) -> None:
        """Hand decisions over, under the visits' lock: none may follow on the word that its subject has been taken out."""
        for announcement in announcements:
            self._tell(announcement)

    def _tell(self, announcement: Announcement) -> None:
        decision = announcement.decision
        subject = decision.subject
        first_good = announcement.first_good
        latency = None if first_good is None else max(0.0, announcement.decided - first_good)
        self.tally.count("decisions", decision.outcome.value)
        if announcement.first and latency is not None:
            self.tally.observe("first_good_frame_to_decision_seconds", latency)
        name = self._enrolment.names.get(subject, subject) if subject is not None else None
        event = VisitEvent.from_decision(
            decision,
            visit=self._visit_id(announcement.visit),
            seq=next(self._sequence),
            boot=self._boot,
            camera=announcement.camera,
            name=name,
            others_in_view=announcement.others_in_view,
            unknown_in_view=announcement.unknown_in_view,
            captured=announcement.wall,
            clock_synchronised=clock_synchronised(),
            started=announcement.started,
            decided=self._clock.utc(),
            max_age=self._config.mqtt.max_age_seconds,
            latency=latency,
            model=self._serving.embedder.model,
            gallery_generation=announcement.gallery_generation,
        )
        self._unheard.said(event.visit, event.seq)
        self._sink.publish_event(event, announcement.settled)
        log.info("%s", _sentence(announcement, name))
        if subject is not None and name is not None and self._config.mqtt.last_seen:
            seen = LastSeen(subject=subject, name=name, camera=announcement.camera, visit=event.visit, at=announcement.wall)
            self._sink.publish_state(seen)

    def _visit_id(self, visit: int) -> str:
        return f"{self._boot}-{visit}"

    def _depart(self, departure: Departure) -> None:
        self._sink.publish_event(
            Left(
                visit=self._visit_id(departure.visit),
                boot=self._boot,
                camera=departure.camera,
                decision=departure.outcome,
                subject=departure.subject,
                started=departure.started,
                left=departure.wall,
                duration=departure.seconds,
            )
        )

    def _keep(self, departure: Departure, looks: tuple[Look, ...]) -> None:
        """Keep the looks of a visit that ended as unknown; the gallery's thread owns what is kept."""
        if departure.outcome is not Outcome.UNKNOWN or not looks:
            return
        ended = departure.wall
        visit = UnknownVisit(self._visit_id(departure.visit), departure.camera, departure.started, ended, looks)
        seen_by = self._serving

        def add(_folder: Succession) -> None:
            wanted = seen_by is self._serving and ended > self._forgotten
            strangers = self._strangers() if wanted else None
            if strangers is not None and (problem := strangers.add(visit, self._clock.utc()).problem):
                log.warning("%s", problem)

        self._keeper.ask(add)

    def _forget_looks(self) -> None:
        """Whoever was forgotten may stand there, or have gone a moment ago, with a visit that waits to be kept."""
        with self._visits_lock:
            self._looks.drop(self._visits.open)
        self._forgotten = self._clock.utc()

    # The gallery

    def _open_folder(self) -> Succession:
        """Called on the gallery's thread, which owns all of it."""
        self._predecessor = assembly.open_predecessor(self._config, self._configured)
        return assembly.open_succession(self._config, self._configured, self._predecessor, self._look_at_photo, self._clock.utc)

    def _strangers(self) -> UnknownVisits | None:
        """The unknown visitors that are kept, of the model that serves; opened when first asked for, since ten thousand of them
        take a second that the start need not wait for. For the gallery's thread.
        """
        if self._unknown_of is not self._serving:
            self._unknown = assembly.open_unknown(self._config, self._serving)
            self._unknown_of = self._serving
            for problem in self._unknown.problems if self._unknown is not None else ():
                log.warning("%s", problem)
        return self._unknown

    def _look_at_photo(self, model: Model, photo: OpenedPhoto) -> PhotoVerdict:
        return self._judge_photo(self._decoder.decode(photo), self._prepare(), model)

    def _judge_photo(self, image: UInt8 | PhotoReason, analyser: FaceAnalyser, model: Model) -> PhotoVerdict:
        return judge(image, analyser, functools.partial(self._embed_photo, model=model), model.attributes)

    def _prepare(self) -> FaceAnalyser:
        """Have the decoder and the networks ready for photos."""
        self._photos_at = self._clock.monotonic()
        self._decoder.warm()
        if self._analyser is None:
            self._analyser = FaceAnalyser(quality=assembly.quality_rules(self._config))
        return self._analyser

    def _rest(self) -> None:
        """Let go of both once no photo has come for a while, and of unknown visitors once their time is over."""
        if (strangers := self._strangers()) is not None:
            strangers.expire(self._clock.utc())
        if self._clock.monotonic() - self._photos_at >= _IDLE_SECONDS or self._stopping.is_set():
            self._decoder.close()
            if self._analyser is not None:
                self._analyser.close()
                self._analyser = None

    def _keep_model(self, _both: Succession) -> None:
        """Have a copy of the model for the time after an update, once its gallery is the one in force."""
        if self._predecessor is None:
            assembly.keep_model(self._config, self._configured)

    def _keep_gallery(self) -> None:
        """The body of the gallery's thread."""
        try:
            self._keeper.run()
        finally:
            self._decoder.close()
            if self._analyser is not None:
                self._analyser.close()

    def _ask(self, request: Request, asked: Mapping[str, Any]) -> Iterator[Answer | None]:
        """What the control socket asks, done on the gallery's thread, which owns the folder; not at all where the client has
        hung up before its turn.
        """
        over = threading.Event()

        def carry_out(both: Succession) -> Answer:
            if over.is_set():
                raise UnavailableError("nobody waits for the answer any more")
            told = request(Kept(both.serving, self._strangers(), both.successor), asked)
            if asked.get("command") == "forget":
                self._forget_looks()
            return told

        answer = self._keeper.ask(carry_out)
        try:
            while not self._stopping.is_set():
                # Not by the TimeoutError of `result`: what was asked may raise one of its own.
                if wait([answer], timeout=_STEP_SECONDS).done:
                    yield answer.result()
                    return
                yield None
        finally:
            over.set()
        raise UnavailableError("streamd stops; ask again when it runs")

    def guide(self, who: str, camera: str, name: str | None = None) -> Guided:
        """Guide a person before a camera through a few poses, and enrol them by the best picture of each.

        name: as they are to be shown, see `dropping.person_folder`.

        Raises GalleryError where that camera does not watch, or somebody is guided there already.
        """
        health = self.health.get(camera)
        if health is None:
            raise GalleryError(f"there is no camera {camera!r}; there are: {', '.join(self.health)}")
        if not health.enabled or health.failure is not None:
            raise GalleryError(f"the camera {camera} gives no picture: {health.sentence or 'it is disabled'}")
        person = person_folder(self._config.gallery_folder, assembly.gallery_seen(self._config), who, name)
        return self.guides.begin(subject_id(person), person, camera, self._clock.monotonic())

    def _gathered(self, guided: Guided, result: Result[Frame]) -> None:
        """The pictures of a guided enrolment are there: checked and written on the gallery's thread."""
        self._keeper.ask(lambda _folder: self.guides.conclude(guided, self._enrol(guided, result)))

    def _enrol(self, guided: Guided, result: Result[Frame]) -> Result[Frame]:
        analyser = self._prepare()
        vectors: list[Float32 | None] = []
        photos: dict[int, bytes] = {}
        for taken in result.pictures:
            image = cut(taken.frame.image, taken.box, taken.others)
            verdict = None if image is None else self._judge_photo(image, analyser, self._serving)
            vectors.append(None if verdict is None else verdict.vector)
            if image is not None:
                photos[id(taken)] = jpeg(image)
        checked = check(result, vectors, self._serving.calibration.log_likelihood_ratio)
        if guided.session.finished:  # called off meanwhile
            return checked
        try:
            for taken in checked.pictures:
                name = photo_name(guided.camera, taken.pose, taken.frame.wall)
                drop(self._config.gallery_folder / guided.name, name, photos[id(taken)])
        except GalleryError as error:
            log.error("%s", error)
            return Result(Ending.NOT_SAVED, WORDS[Ending.NOT_SAVED])
        return checked

    def _serve_guide(self, asked: Mapping[str, Any]) -> Iterator[Answer | None]:
        """A guided enrolment over the control socket: every prompt as it is said, the last with `ok`."""
        name = asked.get("name")
        guided = self.guide(str(asked.get("subject", "")), str(asked.get("camera", "")), None if name is None else str(name))
        try:
            while not self._stopping.is_set():
                try:
                    prompt = guided.said.get(timeout=_STEP_SECONDS)
                except queue.Empty:
                    yield None
                    continue
                told = {"text": prompt.text, "step": prompt.step, "done": prompt.done, "of": prompt.of}
                if prompt.finished:
                    yield {**told, "ok": bool(prompt.ok), "message": prompt.text}
                    return
                yield told
        finally:
            self.guides.abort(guided)  # whoever asked has hung up, as with Ctrl-C at a mistyped name

    def _control_moves(self) -> None:
        self.heartbeats.beat("control", self._clock.monotonic(), _CONTROL_GOOD_FOR)

    def _put_in_force(self, now: Enrolment, judged: tuple[PhotoEvent, ...]) -> None:
        before = self._enrolment
        gone = set(before.gallery.names).difference(now.gallery.names)
        with self._visits_lock:
            self._enrolment = now
            if gone:
                self._looks.drop(self._visits.open)  # whoever was taken out may stand there, recognised or not yet
            if now.gallery.model != before.gallery.model:
                self._change_model(now)
            elif now.gallery is not before.gallery:
                self._announce(self._visits.gallery_changed(now.gallery, self._clock.monotonic()))
        if self._serving is self._configured and self._predecessor is not None:
            self._predecessor = None
            self._keeper.ask(self._keep_model)
        for subject in gone:
            self._sink.forget(subject)
        self._publish_gallery(before, judged)

    def _change_model(self, now: Enrolment) -> None:
        """Gallery, embedder and calibration change hands at once, under the visits' lock."""
        models = (self._configured, *([self._predecessor] if self._predecessor is not None else []))
        self._serving = next(model for model in models if model.embedder.model == now.gallery.model)
        self._visits.model_changed(now.gallery, self._serving.calibration)
        self._looks.clear()

    def _embed_photo(self, image: UInt8, model: Model | None = None) -> Template | None:
        """One crop through the embedder's thread, by the model that serves if none is given; None when the daemon stops or the
        model gave nothing.
        """
        answered = threading.Event()
        answers: list[Template | None] = []

        def reply(template: Template | None, _: float) -> None:
            answers.append(template)
            answered.set()

        while not self._stopping.is_set():
            self._batcher.put(_Request(image, reply, model))
            # Asked again if it was dropped in favour of newer crops.
            if answered.wait(2.0):
                return answers[0]
        return None

    def _publish_gallery(self, before: Enrolment, judged: tuple[PhotoEvent, ...]) -> None:
        now = self._enrolment
        problems = [PhotoProblem(photo=one.photo, reason=f"{', '.join(one.reasons)}: {one.advice}") for one in now.refused]
        if now.problem is not None:
            problems.insert(0, PhotoProblem(photo="", reason=now.problem))
            if now.problem != before.problem:
                log.error("%s", now.problem)
        for photo in judged:
            if not photo.accepted:
                log.warning("%s is not used: %s", photo.photo, photo.advice)
            elif photo.advice:
                log.info("%s is used, but %s", photo.photo, photo.advice)
            self._sink.publish_event(
                GalleryEvent(
                    photo=photo.photo,
                    subject=photo.subject,
                    verdict=Verdict.ACCEPTED if photo.accepted else Verdict.REFUSED,
                    reasons=photo.reasons,
                    advice=photo.advice or None,
                    gain=photo.gain if photo.accepted else None,
                    generation=now.gallery.generation,
                    at=self._clock.utc(),
                )
            )
        if now.gallery.generation != before.gallery.generation:
            waiting = f", {now.waiting} to be judged" if now.waiting else ""
            waiting += f", {len(now.refused)} not used (`streamd gallery` tells why)" if now.refused else ""
            log.info(
                "gallery %d: %s, %s%s",
                now.gallery.generation,
                counted(len(now.gallery.names), "person", "people"),
                counted(len(now.gallery.photos), "photo"),
                waiting,
            )
        for sentence in set(now.confusable).difference(before.confusable):
            log.warning("%s", sentence)
        self._sink.publish_state(
            GalleryState(
                subjects=len(now.gallery.names),
                templates=len(now.gallery.photos),
                generation=now.gallery.generation,
                changed=self._clock.utc(),
                waiting=now.waiting,
                refused=len(now.refused),
                problems=tuple(problems[:_PROBLEMS_TOLD]),
                confusable=now.confusable[:_PROBLEMS_TOLD],
            )
        )

    # Ticking

    def _tick(self) -> None:
        now = self._clock.monotonic()
        with self._visits_lock:
            numbers = self._open_visits()
            for visit in self._unheard.outstanding(numbers):  # before any ends: while no broker is there, nothing is told again
                self._visits.unheard(numbers[visit])
            announcements, departures = self._visits.tick(now)
            self._announce(announcements)
            looks = self._looks.ended(self._visits.open)
        for departure in departures:
            self._depart(departure)
            self._keep(departure, looks.get(departure.visit, ()))
        self.guides.tick(now)
        self._publish_cameras(now)
        self._on_tick(now, self.heartbeats.late(now))

    def _publish_presence(self, camera: str, faces: int) -> None:
        if self._presence.get(camera) != faces:
            self._presence[camera] = faces
            self._sink.publish_state(Presence(camera=camera, faces=faces, at=self._clock.utc()))

    def _publish_cameras(self, now: float) -> None:
        """Every camera's state when it changes, and all of them every ten seconds."""
        due = now - self._states_at >= _STATE_SECONDS
        self._states_at = now if due else self._states_at
        for name, health in self.health.items():
            rate = self._rates[name].reading(health.frames, now)
            reason, detail = health.failure, health.sentence
            if reason is None and health.still is not None:
                reason, detail = "still", health.still  # watched all the same, hence no problem
            state = (health.enabled, reason)
            if not due and self._states.get(name) == state:
                continue
            if health.enabled and health.failure is None and health.last_frame is None:
                continue  # still opening: nothing is known yet
            self._states[name] = state
            working = health.enabled and health.failure is None
            self._sink.publish_state(
                CameraState(
                    camera=name,
                    state=CameraCondition.OK if working else CameraCondition.PROBLEM,
                    enabled=health.enabled,
                    reason=reason if health.enabled else "disabled",
                    detail=detail if health.enabled else None,
                    frames_per_second=rate if working else 0.0,
                    last_frame_age=max(0.0, now - health.last_frame) if health.last_frame is not None else None,
                    at=self._clock.utc(),
                )
            )

    def _gauges(self) -> list[Gauge]:
        now = self._clock.monotonic()
        found = [
            Gauge("gallery_subjects", "people enrolled", "", len(self._enrolment.gallery.names)),
            Gauge("gallery_templates", "photos in use", "", len(self._enrolment.gallery.photos)),
            Gauge("gallery_generation", "changes of the gallery", "", self._enrolment.gallery.generation),
            Gauge("frames_replaced", "frames that a newer one replaced before anybody looked", "", self.frames_replaced),
        ]
        for name, health in self.health.items():
            delivers = health.enabled and health.failure is None and health.last_frame is not None
            found.append(Gauge("camera_up", "1 while the camera delivers", name, float(delivers)))
            if health.last_frame is not None:
                found.append(Gauge("camera_last_frame_age_seconds", "age of the newest frame", name, now - health.last_frame))
        return found


def _sentence(announcement: Announcement, name: str | None) -> str:
    """What was decided, for the log."""
    decision = announcement.decision
    who = name if decision.outcome is Outcome.IDENTIFIED else decision.outcome.value
    evidence = f", evidence {decision.best.evidence:.1f} of {decision.bound:.1f}" if decision.best is not None else ""
    why = f" ({', '.join(decision.reasons)})" if decision.reasons else ""
    return f"{announcement.camera}: {who}{evidence}, {counted(decision.frames_used, 'frame')}{why}"
