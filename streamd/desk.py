"""The desk: what the commands about people do (`streamd gallery|enrol|forget|export|backup|restore`).

Each works whether the daemon runs or not. Where it does, it is asked over the control socket, since it alone may write its
state; where not, the state is opened here, under the same lock. Looking only needs neither.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd import assembly, people
from streamd.assembly import Model
from streamd.clock import SystemClock
from streamd.config import Config
from streamd.control import Answer, ask
from streamd.enrolment.dropping import drop, person_folder
from streamd.enrolment.folder import Overview, PhotoEvent
from streamd.enrolment.images import SUFFIXES, Decoder, OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict, judge
from streamd.enrolment.restoring import fit
from streamd.enrolment.rows import Row
from streamd.enrolment.seal import read_key
from streamd.enrolment.unknown import Removed, Visitor
from streamd.errors import GalleryError, UnavailableError
from streamd.people import Kept, Person
from streamd.plural import counted
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


def do(command: str, kept: Kept, config: Config, asked: Mapping[str, Any]) -> Answer:
    """Carry out a command of `COMMANDS`. Raises GalleryError where it cannot be done."""
    return COMMANDS[command](kept, config, asked)


def _forget(kept: Kept, config: Config, asked: Mapping[str, Any]) -> Answer:
    person = people.find(kept, config.gallery_folder, str(asked.get("subject", "")))
    others = people.others(kept, config.gallery_folder, person)
    stores, seals = assembly.personal_stores(config, kept), [assembly.seal(config)]
    done = people.forget(person, stores, config.state, seals, config.gallery_folder, others)
    message = done.sentence
    if not person.templates and kept.unknown is not None and len(kept.unknown):
        message += (
            f"; {counted(len(kept.unknown), 'unknown visit')} could not be compared with them, as no photo of theirs had been "
            "judged good: look at them with `streamd unknown`"
        )
    return {"ok": not done.found, "message": message, **asdict(done)}


def _export(kept: Kept, config: Config, asked: Mapping[str, Any]) -> Answer:
    person = people.find(kept, config.gallery_folder, str(asked.get("subject", "")))
    files = list(people.export(person, assembly.personal_stores(config, kept)))
    message = f"{counted(len(files), 'file')} of {person.name}"
    like = kept.unknown.like(np.stack(person.templates)) if kept.unknown is not None and person.templates else ()
    if like:
        message += (
            f"; among the unknown visitors {', '.join(like)} may be {person.name}, or somebody else, and is not in it: "
            "look at them, and `streamd unknown assign` who is, before you export again"
        )
    return {"ok": True, "message": message, "subject": person.subject, "files": files, "unknown_like_them": list(like)}


def _export_part(kept: Kept, config: Config, asked: Mapping[str, Any]) -> Answer:
    """A document of `_export` from a byte on, in base64; empty at its end."""
    person = people.find(kept, config.gallery_folder, str(asked.get("subject", "")))
    name, start = str(asked.get("file", "")), asked.get("start")
    document = people.export(person, assembly.personal_stores(config, kept)).get(name)
    if document is None or not isinstance(start, int) or start < 0:
        raise GalleryError(f"{name}: is not there any more; export again")
    return {"ok": True, "message": "", "data": base64.b64encode(people.part(document, start)).decode()}


def _verdicts(kept: Kept, _config: Config, asked: Mapping[str, Any]) -> Answer:
    told = {photo: kept.folder.verdict(str(photo)) for photo in asked.get("photos", ())}
    return {"ok": True, "message": "", "verdicts": {photo: event and _plain(event) for photo, event in told.items()}}


def _unknown(kept: Kept, _config: Config, _asked: Mapping[str, Any]) -> Answer:
    visitors = kept.unknown.listing() if kept.unknown is not None else ()
    told = [
        {
            "id": one.id, "aliases": list(one.aliases), "visits": one.visits, "cameras": list(one.cameras),
            "first_seen": one.first_seen.isoformat(), "last_seen": one.last_seen.isoformat(),
        }
        for one in visitors
    ]  # fmt: skip
    return {"ok": True, "message": "\n".join(map(_visitor_line, visitors)) or "no unknown visitor is kept", "visitors": told}


def _visitor_line(one: Visitor) -> str:
    return f"{one.id}: {counted(one.visits, 'visit')}, last {one.last_seen:%Y-%m-%d %H:%M} UTC, at {', '.join(one.cameras)}"


def _unknown_assign(kept: Kept, config: Config, asked: Mapping[str, Any]) -> Answer:
    who, visitor, name = str(asked.get("subject", "")), str(asked.get("id", "")), asked.get("name")
    photos = kept.unknown.photos(visitor) if kept.unknown is not None else ()
    if not photos or kept.unknown is None:
        raise GalleryError(f"no unknown visitor {visitor!r} is kept; `streamd unknown` lists them")
    person = person_folder(config.gallery_folder, assembly.gallery_seen(config), who, None if name is None else str(name))
    for photo in photos:
        drop(config.gallery_folder / person, photo.name, photo.data)
    removed = kept.unknown.forget(visitor)
    put = counted(len(photos), "photo")
    message = f"the folder of {person} has {put} of {visitor}; `streamd gallery {who!r}` tells what that is worth"
    left = () if removed is None else removed.problems
    if left:
        message += f"; of what was kept of {visitor} something is still there: {'; '.join(left)}"
    return {"ok": not left, "message": message, "photos": [f"{person}/{photo.name}" for photo in photos]}


def _unknown_ignore(kept: Kept, _config: Config, asked: Mapping[str, Any]) -> Answer:
    visitor = str(asked.get("id", ""))
    removed = kept.unknown.ignore(visitor, datetime.now(UTC)) if kept.unknown is not None else None
    return _removed(visitor, removed, "is ignored from now on")


def _unknown_forget(kept: Kept, _config: Config, asked: Mapping[str, Any]) -> Answer:
    visitor = str(asked.get("id", ""))
    removed = kept.unknown.forget(visitor) if kept.unknown is not None else None
    return _removed(visitor, removed, "is forgotten")


def _removed(visitor: str, removed: Removed | None, what: str) -> Answer:
    if removed is None:
        raise GalleryError(f"no unknown visitor {visitor!r} is kept; `streamd unknown` lists them")
    if removed.problems:
        raise GalleryError("; ".join(removed.problems))
    return {"ok": True, "message": f"{visitor} {what}"}


COMMANDS: Final[Mapping[str, Callable[[Kept, Config, Mapping[str, Any]], Answer]]] = {
    "forget": _forget,
    "export": _export,
    "export-part": _export_part,
    "verdicts": _verdicts,
    "unknown": _unknown,
    "unknown-assign": _unknown_assign,
    "unknown-ignore": _unknown_ignore,
    "unknown-forget": _unknown_forget,
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
    here = not _is_running(config)
    with _asking(config) as carry_out:
        answer = carry_out(command, **asked)
    if command == "forget" and here:
        # events/remains.py does it; a broker is spoken to by the daemon alone.
        return {**answer, "message": f"{answer['message']}; what the broker keeps of them goes when streamd starts next"}
    return answer


def export(config: Config, who: str, into: Path) -> Answer:
    """Write everything that is kept of a person into a new folder; the service may not see it. Raises GalleryError."""
    with _asking(config) as carry_out:
        told = carry_out("export", subject=who)
        if not told["ok"]:
            return told
        try:
            into.mkdir(mode=0o700, parents=True)
            for name in told["files"]:
                path = into / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with path.open("xb") as file:
                    while data := _part(carry_out("export-part", subject=told["subject"], file=name, start=file.tell())):
                        file.write(data)
        except OSError as error:
            why = (error.strerror or "error").lower()
            raise GalleryError(f"{error.filename or into}: {why}; choose another folder") from None
    return {**told, "message": f"{into}: {told['message']}"}


def _part(answer: Answer) -> bytes:
    if not answer["ok"]:
        raise GalleryError(answer["message"])
    return base64.b64decode(answer["data"])


@contextlib.contextmanager
def _asking(config: Config) -> Iterator[Callable[..., Answer]]:
    """What carries out commands, by the daemon or here, where the state stays open meanwhile."""

    def by_daemon(command: str, **asked: Any) -> Answer:
        *_, answer = ask(config.state, command, **asked)
        return answer

    if _is_running(config):
        yield by_daemon
        return
    with locked_state(config.state), opened(config) as kept:
        yield lambda command, **asked: do(command, kept, config, asked)


def _is_running(config: Config) -> bool:
    try:
        with locked_state(config.state):
            return False
    except UnavailableError:
        return True


@contextlib.contextmanager
def opened(config: Config, *, read_only: bool = False, judging: bool = False) -> Iterator[Kept]:
    """The enrolment folder as it stands; with `judging` its new photos are judged first. Raises UnavailableError."""
    model = open_model(config)
    predecessor = assembly.open_predecessor(config, model, read_only=read_only)
    clock = SystemClock()
    with contextlib.ExitStack() as stack:
        if judging:
            looks = stack.enter_context(judges(config))
        else:

            def looks(_model: Model, _photo: OpenedPhoto) -> PhotoVerdict:
                raise AssertionError("no photo is judged here")

        both = assembly.open_succession(config, model, predecessor, looks, clock.utc, read_only=read_only)
        both.refresh(time.time_ns(), 0, lambda: not judging)
        serving = model if both.enrolment.gallery.model == model.embedder.model else predecessor or model
        yield Kept(both.serving, assembly.open_unknown(config, serving), both.successor)


def open_model(config: Config) -> Model:
    """The configured model. Raises ModelError."""
    embedder, card = assembly.open_model(config)
    return Model(embedder, card.calibration, assembly.attribute_rules(config))


@contextlib.contextmanager
def judges(config: Config) -> Iterator[Callable[[Model, OpenedPhoto], PhotoVerdict]]:
    """What judges photos by a model, outside of the daemon; the thread may open no socket afterwards. Raises ModelError."""
    detection, quality = assembly.detection_rules(config), assembly.quality_rules(config)
    with FaceAnalyser(detection, quality) as analyser, Decoder() as decoder:

        def look(model: Model, photo: OpenedPhoto) -> PhotoVerdict:
            def embed(image: UInt8) -> Template | None:
                vector = model.embedder.embed([image])[0]
                return Template(vector, model.embedder.model) if np.isfinite(vector).all() else None

            return judge(decoder.decode(photo), analyser, embed, model.attributes)

        yield look


def person(config: Config, who: str) -> Person:
    """The person whom this names. Raises GalleryError where there is none, or more than one."""
    with opened(config, read_only=True) as kept:
        return people.find(kept, config.gallery_folder, who)


def look_at(config: Config, who: str | None) -> tuple[tuple[Overview, ...], tuple[str, ...]]:
    """Everybody, or one person by id or name, and whom the door may confuse. Raises GalleryError."""
    with opened(config, read_only=True) as kept:
        folder = kept.folder
        found = folder.overview()
        if who is not None:
            subject = people.find(kept, config.gallery_folder, who).subject
            found = tuple(one for one in found if one.subject == subject)
        return found, folder.confusable


def enrol(config: Config, who: str, files: Sequence[Path], name: str | None = None) -> list[Dropped]:
    """Put photos into a person's folder, made if it is not there, and wait for the verdicts; name: as they are to be shown.

    Raises GalleryError; nothing is made then where it is a file that is no photo or cannot be read.
    """
    for file in files:
        _expect_photo(file)
    place = person_folder(config.gallery_folder, assembly.gallery_seen(config), who, name)
    photos = [_copy(config.gallery_folder / place, file) for file in files]
    names = [f"{place}/{photo}" for photo in photos]
    if not _is_running(config):
        with locked_state(config.state), opened(config, judging=True) as kept:
            return [Dropped(name, kept.folder.verdict(name)) for name in names]
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


def backup(config: Config, file: Path, passphrase: str | None, *, force: bool = False) -> Answer:
    """Write the gallery, sealed, into one file, over one that is there by `force` alone; beside the daemon too. Raises
    GalleryError.
    """
    problem = assembly.open_vault(config).backup(file.absolute(), passphrase, replace_it=force)
    if problem is not None:
        raise GalleryError(problem)
    key = "the passphrase" if passphrase is not None else "the vault's key, which you keep elsewhere"
    return {"ok": True, "message": f"{file}: the gallery, sealed; it opens with {key}"}


def restore(config: Config, file: Path, passphrase: str | None, key_file: Path | None = None) -> Answer:
    """Bring a backup into force, once all of it is verified; the daemon must not run. Raises UnavailableError, GalleryError.

    key_file: what it was sealed by, where that is neither a passphrase nor the vault's key here.
    """
    by_template: tuple[str, ...] = ()

    def fitted(rows: Sequence[Row]) -> Sequence[Row]:
        nonlocal by_template
        found = fit(rows, config.gallery_folder)
        by_template = found.by_template
        return found.rows

    key = None if key_file is None else read_key(key_file)
    with locked_state(config.state):
        before = assembly.open_vault(config).load_any().in_force
        loaded = assembly.open_vault(config).restore(file, passphrase=passphrase, key=key, fit=fitted)
    if loaded.in_force is None:
        raise GalleryError(loaded.problem or f"{file}: cannot be restored")
    photos = sum(row.template is not None for row in loaded.in_force.rows)
    message = f"restored: {counted(photos, 'template')}"
    if by_template:
        message += (
            f"; known by templates alone, as photos of theirs are not in {config.gallery_folder}: {', '.join(by_template)}; "
            "to take somebody out, delete their folder"
        )
    restored = {row.subject for row in loaded.in_force.rows}
    enrolled = () if before is None else before.rows
    left_out = {row.name for row in enrolled if row.template is not None and not row.photo_kept and row.subject not in restored}
    if left_out:
        message += (
            "; not enrolled any more, as the backup does not hold them and their photos were not kept: "
            f"{', '.join(sorted(left_out))}; photograph them anew"
        )
    if loaded.in_force.model.partition("/")[0] not in assembly.models_at_hand(config):
        message += (
            f"; they are of the model {loaded.in_force.model}, which is not on this machine: set `model.card` to it, or "
            "whoever has no photo here is unknown"
        )
    return {"ok": True, "message": message, "by_template": list(by_template)}


def guide(config: Config, who: str, camera: str, name: str | None = None) -> Iterator[Answer]:
    """Have the daemon guide a person before a camera; what it says, as it says it. Raises UnavailableError."""
    yield from ask(config.state, "guide", timeout=90.0, subject=who, camera=camera, name=name)


def _expect_photo(file: Path) -> None:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise GalleryError(f"{file}: expected a photo ({', '.join(sorted(SUFFIXES))}), found {suffix or 'no suffix'}")
    _read(file, 1)


def _copy(folder: Path, file: Path) -> str:
    """Copy a photo into a person's folder; its name there. Raises GalleryError."""
    return drop(folder, f"{file.stem}{file.suffix.lower()}", _read(file))


def _read(file: Path, most: int = -1) -> bytes:
    try:
        with file.open("rb") as opened_file:
            return opened_file.read(most)
    except OSError as error:
        raise GalleryError(f"{file}: {(error.strerror or 'error').lower()}; name a photo that can be read") from None
