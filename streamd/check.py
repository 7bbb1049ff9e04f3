"""`streamd check`: tries everything that a start needs, once, and says of each part whether it works and what to do if not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamd import assembly, desk
from streamd.assembly import Model
from streamd.clock import Clock, SystemClock
from streamd.config import Config
from streamd.enrolment.images import OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict
from streamd.errors import BrokerError, CameraError, StreamdError
from streamd.events.mqtt import probe
from streamd.plural import counted
from streamd.vision.capture import Camera, frames

_BROKER_SECONDS = 5.0


class State(StrEnum):
    """How a part fares."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: the part, its state, what was seen, and what to do if it is not well."""

    part: str
    state: State
    seen: str
    mend: str = ""


def check(config: Config, clock: Clock | None = None) -> Iterator[Finding]:
    """Every finding, as it comes: configuration, state, model, gallery, cameras (all at once), broker."""
    clock = clock or SystemClock()
    for warning in config.warnings():
        seen, _, mend = warning.partition("; ")
        yield Finding("configuration", State.WARNING, seen, mend)
    yield Finding("configuration", State.OK, f"{counted(len(config.cameras), 'camera')}, node {config.node!r}")
    yield _writable("state folder", config.state, "`state`")
    if config.debug.pictures is not None:
        yield _writable("pictures", config.debug.pictures, "`debug.pictures`")
    if config.metrics.port is not None:
        yield _metrics(config.metrics.address, config.metrics.port)
    # The vision networks may open no socket; so they live on a thread of their own.
    with ThreadPoolExecutor(1, "vision") as vision:
        yield from vision.submit(lambda: list(_model_and_gallery(config))).result()
    cameras = assembly.cameras(config)
    enabled = {name: camera for name, camera in cameras.items() if config.cameras[name].enabled}
    for name in cameras.keys() - enabled.keys():
        yield Finding(f"camera {name}", State.WARNING, "switched off in the configuration", "set enabled: true to use it")
    with ThreadPoolExecutor(max(1, len(enabled)), "camera") as pool:
        yield from pool.map(lambda camera: _camera(camera, clock), enabled.values())
    yield _broker(config)


def _metrics(address: str, port: int) -> Finding:
    """Whether the port is free, or held by the daemon that runs already."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        seen = f"{address}:{port}: {(error.strerror or str(error)).lower()}"
        return Finding("metrics", State.WARNING, seen, "good if streamd runs already; else set another metrics.port")
    return Finding("metrics", State.OK, f"{address}:{port} is free")


def _writable(part: str, folder: Path, key: str) -> Finding:
    if not folder.exists():
        above = next(one for one in folder.parents if one.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            return Finding(part, State.FAILED, f"{folder}: is not there, and {above} is not writable", f"make it, or set {key}")
        return Finding(part, State.OK, f"{folder}, made at the first start")
    try:
        trial = folder / ".check"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        why = (error.strerror or "error").lower()
        return Finding(part, State.FAILED, f"{folder}: {why}", f"make it writable for this user, or set {key}")
    return Finding(part, State.OK, str(folder))


def _model_and_gallery(config: Config) -> Iterator[Finding]:
    try:
        embedder, card = assembly.open_model(config)
        model = Model(embedder, card.calibration, assembly.attribute_rules(config))
        sources = " and ".join(one.title for one in card.provenance.sources)
        yield Finding("model", State.OK, f"{embedder.model}, {embedder.dimension} numbers, from {sources}")
        with desk.judges(config) as look:
            yield from _gallery(config, model, look)
    except StreamdError as error:
        yield Finding("model", State.FAILED, *_parts(str(error)))
        yield Finding("gallery", State.WARNING, "not looked at, since the model cannot be opened", "mend the model first")


def _gallery(config: Config, model: Model, look: Callable[[Model, OpenedPhoto], PhotoVerdict]) -> Iterator[Finding]:
    nobody = Finding(
        "gallery",
        State.WARNING,
        f"{config.gallery_folder}: nobody is enrolled, everyone will be unknown",
        f"drop a photo into {config.gallery_folder}/<name>/",
    )
    if not config.gallery_folder.exists() and not assembly.vault_folder(config).exists():  # made at the first start
        yield nobody
        return
    try:
        predecessor = assembly.open_predecessor(config, model, read_only=True)
        if predecessor is not None:
            seen = f"it is of the model {predecessor.embedder.model}, which serves until all photos are embedded anew"
            yield Finding("gallery", State.OK, seen)
        # The running daemon may be writing now: nothing is written here.
        both = assembly.open_succession(config, model, predecessor, look, SystemClock().utc, read_only=True)
        enrolment = both.refresh(time.time_ns(), 0, lambda: False).enrolment
    except StreamdError as error:
        yield Finding("gallery", State.FAILED, *_parts(str(error)))
        return
    for photo in enrolment.refused:
        yield Finding(f"photo {photo.photo}", State.WARNING, ", ".join(photo.reasons).replace("_", " "), photo.advice)
    people, photos = len(enrolment.gallery.names), len(enrolment.gallery.photos)
    if enrolment.problem is not None:
        yield Finding("gallery", State.FAILED, *_parts(enrolment.problem))
    elif not people:
        yield nobody
    else:
        seen = f"{counted(people, 'person', 'people')}, {counted(photos, 'photo')} in {config.gallery_folder}"
        yield Finding("gallery", State.OK, seen)


def _camera(camera: Camera, clock: Clock) -> Finding:
    part = f"camera {camera.name}"
    started = clock.monotonic()
    try:
        for frame in frames(camera, clock, lambda: False):
            seconds = clock.monotonic() - started
            seen = f"{camera.shown}: {frame.picture.width}x{frame.picture.height}, first picture after {seconds:.1f} s"
            return Finding(part, State.OK, seen)
        return Finding(part, State.FAILED, f"{camera.shown} gave no picture", "check that it is a video")
    except CameraError as error:
        return Finding(part, State.FAILED, *_parts(str(error)))


def _broker(config: Config) -> Finding:
    settings = assembly.broker_settings(config)
    try:
        probe(settings, _BROKER_SECONDS)
    except BrokerError as error:
        return Finding("broker", State.FAILED, *_parts(str(error)))
    how = "TLS" if settings.tls else "not encrypted"
    return Finding("broker", State.OK, f"{settings.address}, MQTT {settings.protocol}, {how}")


def _parts(sentence: str) -> tuple[str, str]:
    """A sentence of ours as what was seen and what to do."""
    seen, _, mend = sentence.partition("; ")
    return seen, mend
