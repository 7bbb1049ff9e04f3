"""`streamd demo`: the real daemon, watching a camera made of portraits (or the reader's own), told message by message.

    portraits ─▶ story.mp4 ─▶ RTSP server ─▶ streamd run --config demo-output/streamd.yaml ─▶ broker ─▶ this terminal

The daemon is a process of its own with a configuration that the reader can use again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import yaml
from rich.console import Console
from rich.markup import escape

from streamd.credentials import redact
from streamd.demo import portraits, story
from streamd.demo.broker import EmbeddedBroker, free_port
from streamd.demo.rtsp_server import RtspServer, encode, read_clip
from streamd.demo.words import describe, read
from streamd.errors import ConfigError, UnavailableError
from streamd.events.contract import CameraCondition, CameraState, Left, Payload, Status, Topics, VisitEvent
from streamd.events.listener import Listener, Received
from streamd.values import Outcome

_BASE: Final = "streamd/demo"
_PERSON: Final = "Barack Obama"
_LONGEST_SECONDS: Final = 60.0
_STYLES: Final = {
    Outcome.IDENTIFIED: "bold green",
    Outcome.UNKNOWN: "bold red",
    Outcome.AMBIGUOUS: "bold yellow",
    Outcome.UNDECIDED: "bold",
}


@dataclass(slots=True)
class _Played:
    """What came in: every decision, the visits that ended, the camera's newest state, and whether it ever delivered."""

    interrupted: bool = False
    camera: CameraState | None = None
    delivered: bool = False
    decisions: list[VisitEvent] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def play(
    output: Path, camera: str | None, photo: Path | None, name: str, seconds: float | None, *, as_json: bool = False
) -> int:
    """Run the demonstration; 0 when it showed what it should, 130 when the reader ended it before.

    Raises UnavailableError where the camera never delivered a picture, with what the daemon says of it.

    Everything is left in `output`, which is made anew if it is an earlier demonstration's, and refused if it is another's.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    gallery = _fresh_folder(output)
    signal.signal(signal.SIGTERM, _end)
    port = free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(EmbeddedBroker(port))
        if camera is None:
            console.print("[bold]streamd recognises a face in a video stream.[/] Portraits: the White House, public domain.")
            source = stack.enter_context(_portrait_camera(gallery, console))
        else:
            source = f"/dev/video{camera}" if camera.isdigit() else camera
            _enrol_reader(gallery, photo, name, console)
        config = _write_config(output, source, port)
        console.print(f"camera: {escape(redact(source))}   broker: mqtt://127.0.0.1:{port}   configuration: {config}\n")
        listener = stack.enter_context(Listener("127.0.0.1", port, _BASE))
        with _daemon(config, output) as must_run:
            limit = _LONGEST_SECONDS if camera is None else seconds
            played = _listen(listener, must_run, console, limit, story_ends=camera is None, as_json=as_json)
    if camera is not None and not played.delivered and not (played.interrupted and played.camera is None):
        raise UnavailableError(_blind(played, source))
    pictures = sorted((output / "pictures").glob("*.jpg"))
    heading = (
        "[bold]Annotated pictures, one of each decision about a face in view:[/]" if pictures else "Nobody was decided about."
    )
    console.print(f"\n{heading}")
    for picture in pictures:
        console.print(f"  {escape(str(picture))}")
    if played.interrupted:
        return 0 if camera is not None and seconds is None else 130
    return 0 if camera is not None else _verdict(played, console)


def _fresh_folder(output: Path) -> Path:
    """The gallery of a new demonstration in `output`; what an earlier one left is removed. Raises ConfigError."""
    marker = output / ".streamd-demo"
    try:
        if output.exists() and not marker.is_file() and any(output.iterdir()):
            raise ConfigError([f"{output} holds files that are not the demonstration's; name an empty folder with --output"])
        for old in ("state", "pictures"):
            shutil.rmtree(output / old, ignore_errors=True)
        output.mkdir(parents=True, exist_ok=True)
        marker.touch()
        gallery = output / "state" / "gallery"
        gallery.mkdir(parents=True, mode=0o700)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise UnavailableError(f"{output} cannot be used ({why}); name a folder that can be written with --output") from None
    return gallery


def _end(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the demonstration as Ctrl-C does, its daemon with it."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def _portrait_camera(gallery: Path, console: Console) -> Iterator[str]:
    """Enrol one person from one photo and serve the story as an RTSP camera; its address."""
    folder = portraits.folder()
    person = gallery / _PERSON
    person.mkdir()
    shutil.copy(folder / portraits.OFFICIAL.file, person / "official-portrait.jpg")
    console.print(f"enrolled: {_PERSON}, from one photo ({person / 'official-portrait.jpg'})")
    console.print("to come: he, by photos of two other occasions; then a stranger. Making the stream takes some seconds.")
    with tempfile.TemporaryDirectory() as temporary:
        clip = Path(temporary) / "story.mp4"
        encode(clip, story.pictures(folder, story.STORY, story.STORY_SECONDS), story.FPS)
        with RtspServer({"door": read_clip(clip)}, loop=False) as server:
            yield server.url("door")


def _enrol_reader(gallery: Path, photo: Path | None, name: str, console: Console) -> None:
    if photo is not None:
        if not photo.is_file():
            raise UnavailableError(f"{photo}: no such photo; expected a JPEG, PNG or WebP file")
        if not name.strip() or "/" in name or name.startswith("."):
            raise ConfigError([f"--name {name!r}: expected a name that a folder can have, such as Anna"])
        (gallery / name).mkdir()
        shutil.copy(photo, gallery / name / photo.name)
        console.print(f"enrolled: {escape(name)}, from {escape(str(photo))}")
    else:
        console.print(f"nobody is enrolled yet: drop a photo into {gallery}/YOUR-NAME/ while this runs. Ctrl-C ends it.")


def _write_config(output: Path, source: str, port: int) -> Path:
    """The demonstration's configuration: the two lines that every door needs, and where to leave things."""
    path = output / "streamd.yaml"
    config = {
        "cameras": {"door": source},
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}", "protocol": "3.1.1", "base_topic": _BASE},
        "node": "demo",
        "state": "state",
        "debug": {"pictures": "pictures"},
        "home_assistant": {"enabled": False},
    }
    path.touch(0o600)  # the camera's address may hold a password
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@contextlib.contextmanager
def _daemon(config: Path, output: Path) -> Iterator[Callable[[], None]]:
    """A daemon that runs meanwhile; gives what raises UnavailableError if it has ended by itself."""
    place = output / "streamd.log"

    def must_run() -> None:
        if process.poll() is not None:
            last = place.read_text(errors="replace").rstrip().rpartition("\n")[2]
            raise UnavailableError(f"the daemon has ended by itself; its log, {place}, says why and ends with: {last}")

    with place.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "streamd", "run", "--config", str(config)], stdout=log, stderr=log)
        try:
            yield must_run
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listen(
    listener: Listener,
    must_run: Callable[[], None],
    console: Console,
    limit: float | None,
    *,
    story_ends: bool,
    as_json: bool,
) -> _Played:
    """Tell every message until the story has been told, the time is over or the reader has seen enough."""
    topics, played, started = Topics(_BASE), _Played(), time.monotonic()
    told: dict[str, str] = {}
    try:
        while limit is None or time.monotonic() - started < limit:
            message = listener.next(0.5)
            must_run()
            if message is None:
                continue
            payload = read(topics, message.topic, message.body)
            if payload is None or (isinstance(payload, Status) and message.retained):
                continue
            if as_json:
                sys.stdout.write(json.dumps({"topic": message.topic, "payload": json.loads(message.body)}) + "\n")
                sys.stdout.flush()
            words = describe(payload)
            if told.get(message.topic) != words:  # a state is sent again and again
                told[message.topic] = words
                _tell(console, message, payload, words, started)
            if isinstance(payload, VisitEvent):
                played.decisions.append(payload)
            elif isinstance(payload, Left):
                played.left.append(payload)
            elif isinstance(payload, CameraState):
                played.camera = payload
                played.delivered |= payload.state is CameraCondition.OK
            if story_ends and len(played.left) >= len(story.STORY):
                break
    except KeyboardInterrupt:
        played.interrupted = True
        console.print("\nstopped")
    return played


def _tell(console: Console, message: Received, payload: Payload, words: str, started: float) -> None:
    style = _STYLES[payload.decision] if isinstance(payload, VisitEvent) else "dim"
    topic = message.topic.removeprefix(f"{_BASE}/")
    console.print(f"[dim]{message.at - started:5.1f} s  {topic:<28}[/] [{style}]{escape(words)}[/]")


def _blind(played: _Played, source: str) -> str:
    """Why nothing was seen."""
    if played.camera is not None and played.camera.detail is not None:
        return played.camera.detail
    return f"{redact(source)} had not delivered a picture when the demonstration ended; give it more --seconds"


def as_it_should_be(decisions: Sequence[VisitEvent], person: str) -> bool:
    """Whether the person was identified, the stranger was unknown, and nobody was called by any other name."""
    unknown = any(one.decision is Outcome.UNKNOWN for one in decisions)
    return {one.name for one in decisions} == {person, None} and unknown


def _verdict(played: _Played, console: Console) -> int:
    if as_it_should_be(played.decisions, _PERSON):
        console.print(f"\n{_PERSON} was recognised by photos that were never enrolled; the stranger stayed unknown.")
        return 0
    console.print("\n[bold red]This is not what should have been seen;[/] streamd.log in the output folder says more.")
    return 1
