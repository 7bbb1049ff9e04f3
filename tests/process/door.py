"""A door to test: a folder with a configuration, a broker with password, access control and TLS, cameras, the real daemon.

with Door(folder) as door:
    camera = door.serve({"person": clip})
    door.cameras["front"] = camera.url("person")
    door.enrol("Anna", photo)
    door.start()
    door.decision("front", Outcome.IDENTIFIED)
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from streamd.demo.broker import free_port
from streamd.events.contract import CameraState, GalleryState, Payload, Presence, Status, Topics, VisitEvent
from tests.checkout import environment
from tests.process.broker import Authority, Listener, Mosquitto, Received, wait_until
from tests.process.camera import CameraProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from streamd.demo.rtsp_server import Account
    from streamd.values import Outcome

Kind = TypeVar("Kind", bound=Payload)

TOPICS = Topics("streamd/porch")
# What the contract promises to hold for: a decision is never sent later.
MAX_AGE = 2.0
START, STOP = 60.0, 5.0
BROKER_PASSWORD = "of the daemon, 7+7"
_PASSWORDS = {"streamd": BROKER_PASSWORD, "automation": "of the automation"}
_PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text()
_ASKED_FOR = _PAGE.partition("For Mosquitto, node `porch`:")[2].split("```")[1]
# What the page asks for, word for word, and a topic for answers to commands of these tests.
_DAEMON, _, _HOME = _ASKED_FOR.partition("user homeassistant\n")
ACCESS = f"{_DAEMON.rstrip()}\ntopic write answers/#\nuser automation\n{_HOME}topic read answers/#\n"


class Door:
    """See the module. `cameras` and `options` go into the configuration, which is written at every start.

    `listener` hears all that the daemon says, from before its first start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.gallery = self.state / "gallery"
        self.gallery.mkdir(parents=True)
        self.config = folder / "streamd.yaml"
        self.cameras: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.metrics_port = free_port()
        authority = Authority(folder / "authority")
        self._authority = authority.certificate
        self.broker = Mosquitto(folder / "broker", users=_PASSWORDS, acl=ACCESS, tls=authority.issue("broker"))
        self.listener = self.listen()
        self.process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.broker)
        self._stack.enter_context(self.listener)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and self._log.exists():
            sys.stderr.write(f"--- the daemon's log\n{self.log[-8000:]}\n")
        self.kill()
        self._stack.close()

    # Setting up

    def listen(self, user: str = "automation") -> Listener:
        """A subscriber to everything that a user (`automation` or `streamd`) may read; it may also write what they may."""
        tls = ssl.create_default_context(cafile=str(self._authority))
        return Listener(self.broker.port, username=user, password=_PASSWORDS[user], tls=tls)

    def serve(self, clips: Mapping[str, Path], account: Account | None = None) -> CameraProcess:
        """A process that serves clips as cameras until the door is closed."""
        return self._stack.enter_context(CameraProcess(free_port(), clips, account))

    def secret(self, name: str, text: str) -> str:
        """A file with a password, readable by its owner alone; its name, as the configuration takes it."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
        return name

    def enrol(self, person: str, photo: Path, name: str = "portrait.jpg") -> float:
        """Copy a photo into the person's folder; when that was done (monotonic)."""
        (self.gallery / person).mkdir(exist_ok=True)
        shutil.copyfile(photo, self.gallery / person / name)
        return time.monotonic()

    # The daemon

    def write_config(self) -> None:
        """Write `cameras` and `options` with the broker's login."""
        mqtt = {
            "url": f"mqtts://127.0.0.1:{self.broker.port}",
            "ca_file": str(self._authority),
            "username": "streamd",
            "password_file": self.secret("broker.secret", BROKER_PASSWORD),
        }
        config = {"node": "porch", "state": "state", "cameras": self.cameras, "mqtt": mqtt, "log": {"level": "debug"}}
        config["metrics"] = {"port": self.metrics_port}
        self.config.write_text(yaml.safe_dump(config | self.options))

    def start(self, *, until: str = " ready: ", through: Sequence[str] = (), **environment: str) -> None:
        """Start `streamd run`, and wait until its log says `until`. through: a command that runs it, such as strace."""
        said = len(self.log)
        self.launch(through, environment)
        wait_until(lambda: until in self.log[said:] or self.process_ended, f"{until!r} in the log", START)
        assert not self.process_ended, self.log[said:]

    def launch(self, through: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start `streamd run` and wait for nothing."""
        self.write_config()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*through, *self._command("run")],
                cwd=self.folder,
                env=self._environment(environment or {}),
                stdout=log,
                stderr=log,
            )
        return self.process

    @property
    def process_ended(self) -> bool:
        """Whether the daemon has ended."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; the exit status, and the seconds until then. Fails where it takes longer than any stop may."""
        assert self.process is not None
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(4 * STOP)
        return status, time.monotonic() - asked

    def bring_the_broker_back(self) -> None:
        """Start the broker after `kill`. The listener is back before the daemon is: nothing is said twice."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.broker.start()
        self.listener.await_subscriptions()
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the daemon without warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `streamd <name>` with the door's configuration to its end."""
        return ended(self.begin(name, *arguments))

    def begin(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start `streamd <name>` with the door's configuration, for `ended`."""
        return subprocess.Popen(
            [*self._command(name), *arguments],
            cwd=self.folder,
            env=self._environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "streamd", name, "--config", str(self.config)]

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        theirs = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STATE_DIRECTORY", "JOURNAL_STREAM")
        return {name: value for name, value in environment(changes).items() if name not in theirs or name in changes}

    @property
    def _log(self) -> Path:
        return self.folder / "streamd.log"

    @property
    def log(self) -> str:
        """What the daemon has written to its log so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def metric(self, line: str) -> float:
        """The value of a line of the metrics, 0 where it is not there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            values = dict(row.rsplit(" ", 1) for row in answer.read().decode().splitlines() if not row.startswith("#"))
        return float(values.get(line, 0.0))

    # What it says

    def said(self, kind: type[Kind], since: float = 0.0, **names: str) -> list[Kind]:
        """The payloads of one topic that arrived after `since`, in order."""
        return [kind.from_json(one.body) for one in self.listener.at(TOPICS.at(kind, **names)) if one.at >= since]

    def await_state(
        self,
        kind: type[Kind],
        condition: Callable[[Kind], bool],
        what: str,
        *,
        since: float = 0.0,
        within: float = 20.0,
        **names: str,
    ) -> Kind:
        """Wait for a payload of one topic that arrived after `since` and of which the condition holds."""
        found: list[Kind] = []

        def look() -> bool:
            found[:] = [one for one in self.said(kind, since, **names) if condition(one)]
            return bool(found)

        wait_until(look, what, within)
        return found[0]

    def status(self, state: str, since: float = 0.0, within: float = 20.0) -> Status:
        """Wait until `status` says `online` or `offline`."""
        return self.await_state(Status, lambda one: one.state == state, state, since=since, within=within)

    def camera(
        self, name: str, condition: Callable[[CameraState], bool], since: float = 0.0, within: float = 20.0
    ) -> CameraState:
        """Wait for a state of a camera."""
        return self.await_state(CameraState, condition, f"a state of {name}", since=since, within=within, camera=name)

    def presence(self, camera: str, faces: int, since: float = 0.0) -> Presence:
        """Wait until so many faces are in view."""
        return self.await_state(Presence, lambda one: one.faces == faces, f"{faces} in view", since=since, camera=camera)

    def gallery_state(self, condition: Callable[[GalleryState], bool], since: float = 0.0) -> GalleryState:
        """Wait for a state of the gallery."""
        return self.await_state(GalleryState, condition, "the gallery", since=since)

    def decision(self, camera: str, outcome: Outcome, since: float = 0.0, within: float = 30.0) -> tuple[VisitEvent, Received]:
        """Wait for a decision of a camera that arrived after `since`; with the message that told it."""
        found: list[tuple[VisitEvent, Received]] = []

        def look() -> bool:
            told = [(VisitEvent.from_json(one.body), one) for one in self.decisions(camera) if one.at >= since]
            found[:] = [(event, message) for event, message in told if event.decision is outcome]
            return bool(found)

        wait_until(look, f"{outcome.value} at {camera}", within)
        return found[0]

    def decisions(self, camera: str) -> list[Received]:
        """The messages that told decisions of a camera, in order."""
        return self.listener.at(TOPICS.at(VisitEvent, camera=camera))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What a command that was begun has said, once it has ended."""
    try:
        said, complained = process.communicate(timeout=2 * START)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


def age(message: Received) -> float:
    """How old a decision was when it reached the subscriber, seconds; both clocks are this machine's."""
    arrived = message.at + time.time() - time.monotonic()
    return arrived - VisitEvent.from_json(message.body).captured.timestamp()


def fields(message: Received) -> dict[str, Any]:
    """A message as plain JSON values."""
    found = json.loads(message.body)
    assert isinstance(found, dict)
    return found
