"""The desk: what the commands about people do (`streamd gallery|enrol|forget|export|backup|restore`).

Each works whether the daemon runs or not. Where it does, it is asked over the control socket, since it alone may write its
state; where not, the state is opened here, under the same lock. Looking only needs neither.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd import assembly, people
from streamd.clock import SystemClock
from streamd.config import Config
from streamd.control import Answer, ask
from streamd.enrolment.folder import EnrolmentFolder, Overview, PhotoEvent
from streamd.enrolment.images import SUFFIXES, Decoder, OpenedPhoto, PhotoReason
from streamd.enrolment.listing import list_folder, subject_id
from streamd.enrolment.photo import ADVICE, PhotoVerdict, judge
from streamd.errors import GalleryError, UnavailableError
from streamd.recognition.embedding import Embedder
from streamd.state import locked_state
from streamd.values import Template, UInt8
from streamd.vision.analysis import FaceAnalyser

_VERDICT_SECONDS: Final = 30.0  # for which the verdict on a photo is waited for


@dataclass(frozen=True, slots=True)
class Dropped:
    """A photo that was put into the enrolment folder, and the verdict on it; None where none came in time."""

    photo: str
    event: PhotoEvent | None


# With the folder in hand: on the gallery's thread of the daemon, or here


def do(command: str, folder: EnrolmentFolder, config: Config, asked: Mapping[str, Any]) -> Answer:
    """Carry out a command of `COMMANDS`. Raises GalleryError where it cannot be done."""
    return COMMANDS[command](folder, config, asked)


def _forget(folder: EnrolmentFolder, config: Config, asked: Mapping[str, Any]) -> Answer:
    person = people.find(folder, config.gallery_folder, str(asked.get("subject", "")))
    done = people.forget(person, assembly.personal_stores(config, folder), config.state, [assembly.seal(config)])
    return {"ok": not done.found, "message": done.sentence, **asdict(done)}


def _export(folder: EnrolmentFolder, config: Config, asked: Mapping[str, Any]) -> Answer:
    person = people.find(folder, config.gallery_folder, str(asked.get("subject", "")))
    into = Path(str(asked.get("into", "")))
    files = people.export(person, assembly.personal_stores(config, folder), into)
    return {"ok": True, "message": f"{len(files)} files of {person.name} are in {into}", "files": files}


def _verdicts(folder: EnrolmentFolder, _config: Config, asked: Mapping[str, Any]) -> Answer:
    told = {photo: folder.verdict(str(photo)) for photo in asked.get("photos", ())}
    return {"ok": True, "message": "", "verdicts": {photo: event and _plain(event) for photo, event in told.items()}}


COMMANDS: Final[Mapping[str, Callable[[EnrolmentFolder, Config, Mapping[str, Any]], Answer]]] = {
    "forget": _forget,
    "export": _export,
    "verdicts": _verdicts,
}
"""What may be asked about people, by name: of a daemon over its control socket, or here."""


def _plain(event: PhotoEvent) -> dict[str, Any]:
    return {
        "subject": event.subject,
        "photo": event.photo,
        "accepted": event.accepted,
        "reasons": list(event.reasons),
        "advice": event.advice,
        "gain": event.gain,
    }


# Without it: from the command line


def request(config: Config, command: str, **asked: Any) -> Answer:
    """Have a command carried out by the daemon, or here where none runs. Raises UnavailableError, GalleryError."""
    *_, answer = ask(config.state, command, **asked) if _is_running(config) else (_here(config, command, asked),)
    return answer


def _here(config: Config, command: str, asked: Mapping[str, Any]) -> Answer:
    with locked_state(config.state), opened(config) as folder:
        return do(command, folder, config, asked)


def _is_running(config: Config) -> bool:
    try:
        with locked_state(config.state):
            return False
    except UnavailableError:
        return True


@contextlib.contextmanager
def opened(config: Config, *, read_only: bool = False, judging: bool = False) -> Iterator[EnrolmentFolder]:
    """The enrolment folder as it stands; with `judging` its new photos are judged first. Raises UnavailableError."""
    embedder, card = assembly.open_model(config)
    clock = SystemClock()
    if not judging:

        def never(_photo: OpenedPhoto) -> PhotoVerdict:
            raise AssertionError("no photo is judged here")

        folder = assembly.open_enrolment(config, embedder, card.calibration, never, clock.utc, read_only=read_only)
        folder.refresh(time.time_ns(), 0, lambda: True)
        yield folder
        return
    with judge_of(config, embedder) as look:
        folder = assembly.open_enrolment(config, embedder, card.calibration, look, clock.utc, read_only=read_only)
        folder.refresh(time.time_ns(), 0, lambda: False)
        yield folder


@contextlib.contextmanager
def judge_of(config: Config, embedder: Embedder) -> Iterator[Callable[[OpenedPhoto], PhotoVerdict]]:
    """What judges photos, outside of the daemon; the thread may open no socket afterwards. Raises ModelError."""

    def embed(image: UInt8) -> Template | None:
        vector = embedder.embed([image])[0]
        return Template(vector, embedder.model) if np.isfinite(vector).all() else None

    rules = assembly.attribute_rules(config)
    detection, quality = assembly.detection_rules(config), assembly.quality_rules(config)
    with FaceAnalyser(detection, quality) as analyser, Decoder() as decoder:
        yield lambda photo: judge(decoder.decode(photo), analyser, embed, rules)


def look_at(config: Config, who: str | None) -> tuple[tuple[Overview, ...], tuple[str, ...]]:
    """Everybody, or one person by id or name, and whom the door may confuse. Raises GalleryError."""
    with opened(config, read_only=True) as folder:
        found = folder.overview()
        if who is not None:
            subject = people.find(folder, config.gallery_folder, who).subject
            found = tuple(one for one in found if one.subject == subject)
        return found, folder.confusable


def enrol(config: Config, who: str, files: Sequence[Path]) -> list[Dropped]:
    """Put photos into a person's folder, made if it is not there, and wait for the verdicts. Raises GalleryError."""
    person = _folder_of(config, who)
    photos = [_drop(config.gallery_folder / person, file) for file in files]
    names = [f"{person}/{photo}" for photo in photos]
    if not _is_running(config):
        with locked_state(config.state), opened(config, judging=True) as folder:
            return [Dropped(name, folder.verdict(name)) for name in names]
    deadline = time.monotonic() + _VERDICT_SECONDS
    while True:
        verdicts = request(config, "verdicts", photos=names)["verdicts"]
        if all(verdicts.values()) or time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    return [
        Dropped(name, PhotoEvent(**{**told, "reasons": tuple(told["reasons"])}) if told else None)
        for name, told in verdicts.items()
    ]


def _folder_of(config: Config, who: str) -> str:
    """The name of a person's folder; a new one is made for a new name."""
    folder = config.gallery_folder
    if not who.strip() or who.startswith(".") or "/" in who or "\0" in who or len(who.encode()) > 200:
        raise GalleryError(f"expected a name that a folder can have, found {who!r}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        subject = subject_id(who)
        for person in list_folder(folder).people:
            if who == person.name or subject == person.subject:
                return person.place
        (folder / who).mkdir()
    except OSError as error:
        raise GalleryError(
            f"{folder}: {(error.strerror or 'error').lower()}; run this as somebody who may write there"
        ) from None
    return who


def _drop(folder: Path, file: Path) -> str:
    """Copy a photo, so that it appears whole or not at all; its name there."""
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise GalleryError(f"{file}: expected a photo ({', '.join(sorted(SUFFIXES))}), found {suffix or 'no suffix'}")
    stem = file.stem.lstrip(".#") or "photo"
    name = f"{stem}{suffix}"
    number = 1
    while (folder / name).exists():
        number += 1
        name = f"{stem}-{number}{suffix}"
    temporary = folder / f".{name}.part"
    try:
        data = file.read_bytes()
        temporary.write_bytes(data)
        temporary.rename(folder / name)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise GalleryError(
            f"{error.filename}: {(error.strerror or 'error').lower()}; {ADVICE[PhotoReason.UNREADABLE]}"
        ) from None
    return name
