"""Capture: the frames of one camera, newest first in importance, and the reason whenever there are none.

RTSP over TCP, HTTP MJPEG, V4L2 and files through PyAV (FFmpeg); folders of images at a stated pace. The thread that reads a
camera decodes every picture, since later ones depend on it, and hands over only the newest (`handoff.Latest`).
"""

from __future__ import annotations

import errno
import logging
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import av
import av.error
import cv2
import numpy as np

from streamd.clock import Clock
from streamd.errors import CameraError, CameraFailure
from streamd.values import Frame, UInt8
from streamd.vision.picture import Picture, Region, RgbPicture, YuvPicture

log = logging.getLogger(__name__)

_IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_PLANAR: Final = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p"})
_CLOCK_DRIFT: Final = 1e-3  # what two clocks may part by: quartz 1e-4, a clock that is being set right 5e-4
_CLOCK_WINDOW: Final = 30  # packets over which the least age is what a jump of the stream's clock leaves as it was
_REORDERED: Final = 0.5  # seconds that a packet's time may lie before the last one's: pictures are not sent as they are shown
_SUDDEN: Final = 0.2  # seconds by which a delay grows at once; networks and key frames do that, wrong times never
_SUDDEN_GAPS: Final = 1.5  # and of the longest of the last pauses: wrong times add less than a pause with every picture
_PAUSES: Final = 3
_IDLE_SHARE: Final = 0.2  # of the time that was spent waiting for packets: then no backlog lies here
_DISBELIEVED: Final = 2  # openings that were late as by wrong times after which it is the times that are wrong
_LATE_WITHIN: Final = 900.0  # seconds
_DECODER_HOLDS: Final = 32  # pictures that wait in a decoder for their turn: H.264 and H.265 know at most 16
_FROZEN_CELLS: Final = 320
_CODED_ALIKE: Final = 6  # grey levels
_LONGEST_STILL: Final = 600.0  # seconds between attempts to bring life into a picture that stands still


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. `address` is a URL with its password, a device, a file or a folder; it is never logged: `shown` is.

    rotation: degrees clockwise. region: fractions of the turned picture. read_timeout: seconds without a frame. ca_file: the
    authority that must have signed the certificate of an https:// or rtsps:// camera; without one any certificate will do.
    latest: seconds after its capture up to which a picture is of use; what is behind it in a backlog is older still.
    """

    name: str
    address: str
    shown: str
    rotation: int = 0
    region: Region | None = None
    max_fps: float = 15.0
    open_timeout: float = 5.0
    read_timeout: float = 3.0
    reconnect_min: float = 1.0
    reconnect_max: float = 5.0
    frozen_after: float = 10.0
    loop: bool = False
    ca_file: Path | None = None
    latest: float = 1.7


def backoff(attempt: int, shortest: float, longest: float, jitter: float) -> float:
    """Seconds to wait before try `attempt` (0 is the first again): doubling, up to 20 % less, within `shortest` and `longest`.

    jitter: 0..1, drawn by the caller.
    """
    return max(shortest, min(longest, shortest * 2.0 ** min(attempt, 16)) * (1 - 0.2 * jitter))


def oriented(picture: Picture, settings: Camera) -> Picture:
    """The picture turned and trimmed as the camera is mounted."""
    if settings.rotation:
        picture = picture.rotated(settings.rotation)
    return picture.trimmed(settings.region) if settings.region is not None else picture


class StreamClock:
    """When a packet was captured, by the stream's own clock laid onto ours; one owner thread.

    A camera's clock may be wrong, but its differences are right: the packet with the least delay since the stream was opened
    ties the two clocks together, and any later one is late by what it took longer. So a backlog shows as age however long it
    lasts, jitter does not, and only as much as two clocks part by is forgotten.
    """

    def __init__(self) -> None:
        self._offset = float("inf")  # of our clock to the stream's, without delay
        self._last: tuple[float, float] | None = None  # stream's time and arrival of the last packet
        self._ages: deque[float] = deque(maxlen=_CLOCK_WINDOW)
        self._newest = float("-inf")  # stream's time
        self._newest_age = 0.0
        self._newest_arrived = float("inf")
        self._pauses: deque[float] = deque([0.0], maxlen=_PAUSES)
        self._sudden = 0.0  # seconds of the delay that came in big steps
        self.closer = 0.0
        """Seconds, in all, by which packets tied the clocks closer than those before: so much sooner those were captured."""

    @property
    def even(self) -> bool:
        """Whether most of the delay came little by little, as it does where the stream's times run at a rate of their own."""
        return self._sudden <= self._newest_age / 2

    def captured(self, stream_seconds: float | None, arrived: float) -> float:
        """Capture time (monotonic) of a packet that arrived at `arrived`; never after it."""
        if stream_seconds is None:
            return arrived
        offset = arrived - stream_seconds
        if self._last is not None:
            before, then = self._last
            self._offset += _CLOCK_DRIFT * (arrived - then)
            if not -_REORDERED <= stream_seconds - before < 10:
                self._offset = offset - min(self._ages)  # the stream's clock jumped: a backlog is no younger for that
                self._newest = float("-inf")
        if offset < self._offset:
            self.closer += self._offset - offset if self._last is not None else 0.0
            self._offset = offset
        captured = min(arrived, stream_seconds + self._offset)
        self._ages.append(arrived - captured)
        self._last = stream_seconds, arrived
        if stream_seconds > self._newest:  # B-frames are older than what they were sent after, and no later for that
            self._newest = stream_seconds
            self._judge(arrived - captured, arrived)
        return captured

    def _judge(self, age: float, arrived: float) -> None:
        """Tell a delay that grew at once from one that grew little by little; what has been made up for counts no more."""
        if age > self._newest_age + max(_SUDDEN, _SUDDEN_GAPS * max(self._pauses)):
            self._sudden += age - self._newest_age
        self._sudden = min(self._sudden, age)
        self._pauses.append(max(0.0, arrived - self._newest_arrived))
        self._newest_age, self._newest_arrived = age, arrived


class StreamTimes:
    """Whether the times that a camera puts on its pictures are believed; one owner thread, over all openings of the camera.

    Some cameras stamp as many pictures a second as they are set to and send fewer. Their delay grows evenly for ever, though
    they are waited for; a backlog comes at once, grows with every key frame, or lies here. Where it is twice the times, age is
    counted from arrival. A link that carries a little less than a stream without large key frames looks the same, so times that
    sender reports tell are always believed.
    """

    def __init__(self) -> None:
        self.believed = True
        self._late_at: deque[float] = deque(maxlen=_DISBELIEVED)

    def late(self, now: float, by_its_times: bool) -> None:
        """A stream was late at `now` (monotonic); by_its_times: as it would be if its times were wrong."""
        if by_its_times:
            self._late_at.append(now)
            self.believed &= len(self._late_at) < _DISBELIEVED or now - self._late_at[0] > _LATE_WITHIN


class Stillness(Enum):
    """What is to be done about a picture."""

    NONE = auto()
    """Nothing."""
    FROZEN = auto()
    """It has not changed for too long: the camera may hang."""
    DOUBTFUL = auto()
    """It stands as still as before, when opening the camera again brought nothing new; high time to try that once more."""


class FrozenGuard:
    """Whether packets flow but the picture stands still to the last bit: a fault that looks like health; one owner thread.

    A sensor's noise changes every picture, but not that of a camera in the dark, covered, or with its noise taken out. What
    tells it from a hanging one is to open it again: one that then gives the same picture for as long is not mended by that,
    and is `still` until anything changes. It is tried again all the same, after twice as long each time.
    """

    def __init__(self, after: float) -> None:
        self.still = False
        self._after = after
        self._patience = after
        self._grey: UInt8 | None = None
        self._stood: UInt8 | None = None  # the picture that did not change
        self._proven = False  # by opening the camera again
        self._changed_at = 0.0
        self._looked_at = float("-inf")

    def opened(self) -> None:
        """The camera has been opened again: its next picture is compared with none before."""
        self._grey, self._looked_at = None, float("-inf")

    def look(self, picture: Picture, now: float) -> Stillness:
        """Judge a picture that came at `now` (monotonic), ten times in `after` at most."""
        if now - self._looked_at < self._after / 10:
            return Stillness.NONE
        self._looked_at = now
        grey = picture.grey(_FROZEN_CELLS)
        if self._grey is None or not np.array_equal(grey, self._grey):
            self._changed(grey, now)
            return Stillness.NONE
        stands = now - self._changed_at
        if stands < self._after:
            return Stillness.NONE
        if self._stood is None or not _alike(grey, self._stood):
            self._stood, self._proven, self._patience = grey, False, 2 * self._after
            return Stillness.FROZEN
        self.still = self._proven = True
        if stands < self._patience:
            return Stillness.NONE
        self._patience = min(2 * self._patience, max(_LONGEST_STILL, self._after))
        return Stillness.DOUBTFUL

    def _changed(self, grey: UInt8, now: float) -> None:
        like_before = self._stood is not None and _alike(grey, self._stood)
        if self._grey is not None or not like_before:
            self.still = False
        if not like_before and not self._proven:
            self._stood = None  # opening the camera again has mended it
        self._grey, self._changed_at = grey, now


def _alike(one: UInt8, other: UInt8) -> bool:
    """Whether two small grey pictures may show the very same: a codec draws one picture a little differently each time."""
    return one.shape == other.shape and int(cv2.absdiff(one, other).max()) <= _CODED_ALIKE


def frames(
    settings: Camera,
    clock: Clock,
    ended: Callable[[], bool],
    guard: FrozenGuard | None = None,
    times: StreamTimes | None = None,
) -> Iterator[Frame]:
    """Open a camera and yield its frames, at most `max_fps` a second, until `ended()`.

    guard, times: what is known from before of the camera's stillness and of its clock. Raises CameraError when it cannot be
    opened or stops: a file or folder that does not loop with END_OF_STREAM.
    """
    path = Path(settings.address)
    if "://" not in settings.address and path.is_dir():
        yield from _folder(settings, path, clock, ended)
    else:
        yield from _stream(settings, clock, ended, guard or FrozenGuard(settings.frozen_after), times or StreamTimes())


def _folder(settings: Camera, path: Path, clock: Clock, ended: Callable[[], bool]) -> Iterator[Frame]:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)
    except OSError as error:
        raise _failure(settings, error, silent=False) from None
    if not files:
        raise CameraError(CameraFailure.NO_VIDEO, f"{settings.name}: {path} holds no JPEG, PNG, WebP or BMP pictures; add some")
    index, due = 0, clock.monotonic()
    warned: set[Path] = set()
    while not ended():
        before, unreadable = index, set[Path]()
        for file in files:
            image = _picture_file(file)
            if image is None:
                unreadable.add(file)
                continue
            clock.sleep(max(0.0, due - clock.monotonic()))
            if ended():
                return
            due += 1 / settings.max_fps
            yield Frame(settings.name, index, oriented(RgbPicture(image), settings), clock.monotonic(), clock.utc())
            index += 1
        if index == before:
            raise CameraError(CameraFailure.NO_VIDEO, f"{settings.name}: {path} holds no picture that can be read; add some")
        for file in sorted(unreadable - warned):
            log.warning("%s: %s is not a picture that can be read; left out", settings.name, file)
        warned |= unreadable
        if not settings.loop:
            raise CameraError(CameraFailure.END_OF_STREAM, f"{settings.name}: {path} has been shown to its end")


def _picture_file(file: Path) -> UInt8 | None:
    """The pixels of an image file, RGB, or None."""
    try:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that claims more pixels than OpenCV takes
        return None
    return None if image is None else np.ascontiguousarray(image[:, :, ::-1])


def _stream(
    settings: Camera, clock: Clock, ended: Callable[[], bool], guard: FrozenGuard, times: StreamTimes
) -> Iterator[Frame]:
    live = is_live(settings.address)
    reading = _Reading(settings, clock, ended, guard, times)
    again = True
    while again and not ended():
        guard.opened()
        asked, opened = clock.monotonic(), False
        try:
            with _opened(settings) as container:
                opened = True
                if not container.streams.video:
                    sentence = f"{settings.name}: {settings.shown} carries no video; check its path"
                    raise CameraError(CameraFailure.NO_VIDEO, sentence)
                if live and container.format.name.endswith("_pipe"):
                    raise CameraError(CameraFailure.NO_VIDEO, f"{settings.name}: {settings.shown} {_SNAPSHOT}")
                doubtful = yield from reading.frames(container)
        except (av.error.FFmpegError, OSError) as error:
            # FFmpeg calls it invalid data, too, when an RTSP server accepts the connection and never answers.
            silent = live and not opened and clock.monotonic() - asked >= 0.9 * settings.open_timeout
            raise _failure(settings, error, silent) from None  # FFmpeg's own text may hold the password
        # A file is opened anew rather than wound back, which FFmpeg cannot do with every kind.
        again = doubtful or (settings.loop and not live)
    if not ended():
        raise CameraError(CameraFailure.END_OF_STREAM, f"{settings.name}: {settings.shown} ended")


def _opened(settings: Camera) -> Any:
    if settings.address.startswith("/dev/"):
        return _opened_device(settings)
    options: dict[str, str] = {}
    if urlsplit(settings.address).scheme in {"rtsp", "rtsps"}:
        # A short probe opens in 0.1 s. "nobuffer" would throw away what was probed and wait for the next key frame.
        options = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
        options["timeout"] = str(int(settings.open_timeout * 1e6))
    elif _is_http(settings.address):
        options = {"analyzeduration": "500000", "rw_timeout": str(int(settings.read_timeout * 1e6))}
    if _is_encrypted(settings.address):
        verify = {"tls_verify": "1", "ca_file": str(settings.ca_file)}
        options |= verify if settings.ca_file is not None else {"tls_verify": "0"}
    return av.open(settings.address, options=options, timeout=_timeouts(settings))


def _opened_device(settings: Camera) -> Any:
    """A V4L2 device, compressed and in HD where it can: few webcams send 1280x720 raw at a useful rate."""
    options = {"input_format": "mjpeg", "video_size": "1280x720"}
    try:
        return av.open(settings.address, format="v4l2", options=options, timeout=_timeouts(settings))
    except (av.error.ArgumentError, av.error.InvalidDataError):
        return av.open(settings.address, format="v4l2", timeout=_timeouts(settings))


def _timeouts(settings: Camera) -> tuple[float, float]:
    # FFmpeg's wait for a packet lasts twice the value it is given.
    return settings.open_timeout, settings.read_timeout / 2


class _Reading:
    """The pictures of one stream or file, over all the rounds in which a file is shown; one owner thread."""

    def __init__(
        self, settings: Camera, clock: Clock, ended: Callable[[], bool], guard: FrozenGuard, times: StreamTimes
    ) -> None:
        self._settings, self._clock, self._ended, self._guard, self._times = settings, clock, ended, guard, times
        self._live = is_live(settings.address)
        # FFmpeg makes up 25 pictures a second for a stream that tells no times.
        self._timed = self._live and not _is_http(settings.address) and times.believed
        self._pace = _Pace(clock)
        self._index, self._due = 0, float("-inf")

    def frames(self, container: Any) -> Generator[Frame, None, bool]:
        """The frames of an opened container to its end, at most `max_fps` a second; True where it is to be opened again."""
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # frame threads would each add a frame of delay
        stream.codec_context.thread_count = 1
        stream_clock, shown = StreamClock(), False
        interval = 1 / float(stream.average_rate or stream.guessed_rate or 15)
        captures: dict[int | None, float] = {}  # by the packet's time, of what the decoder holds: B-frames overtake others
        opened = asked = self._clock.monotonic()
        waited = 0.0
        for packet in container.demux(stream):
            if self._ended():
                return False
            arrived = self._clock.monotonic()
            waited += arrived - asked
            captured = stream_clock.captured(_stream_seconds(packet), arrived) if self._timed else arrived
            if arrived - captured > self._settings.latest:
                idle = waited > _IDLE_SHARE * (arrived - opened)
                told = packet.has_sidedata("prft")  # by a sender report, which says the time of day and not a rate
                self._times.late(arrived, by_its_times=stream_clock.even and idle and not told)
                raise CameraError(CameraFailure.LATE, self._late(arrived - captured))
            asked = arrived
            captures[packet.pts] = captured + stream_clock.closer
            if len(captures) > _DECODER_HOLDS:
                del captures[next(iter(captures))]
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet: the decoder goes on with the next key frame
            for decoded in pictures:
                shown = True
                if not self._live:
                    captured = arrived = self._pace.wait(decoded.time, interval)
                elif self._timed:
                    captured = captures.pop(decoded.pts, captured + stream_clock.closer) - stream_clock.closer
                # Half an interval of grace, so that a camera's jitter does not halve its rate.
                if captured < self._due:
                    continue
                self._due = max(self._due + 1 / self._settings.max_fps, captured + 0.5 / self._settings.max_fps)
                picture = oriented(_picture(decoded), self._settings)
                if self._live and self._hangs(picture, arrived):
                    return True
                wall = self._clock.utc() - timedelta(seconds=self._clock.monotonic() - captured)
                yield Frame(self._settings.name, self._index, picture, captured, wall)
                self._index += 1
            asked = self._clock.monotonic()
        if not shown and not self._live:
            sentence = f"{self._settings.name}: {self._settings.shown} {_MENDS[CameraFailure.NO_VIDEO]}"
            raise CameraError(CameraFailure.NO_VIDEO, sentence)
        self._pace.begin_again()
        return False

    def _late(self, seconds: float) -> str:
        if not self._times.believed:
            return (
                f"{self._settings.name}: {self._settings.shown} falls behind evenly though it is waited for, so the times on "
                "its pictures must be wrong; from now on a picture's age is counted from when it came"
            )
        return (
            f"{self._settings.name}: {self._settings.shown} came {seconds:.1f} s late, so it is opened again; if that comes "
            "back, the network or this machine is too slow for it: lower its bit rate or frame rate, or watch fewer cameras"
        )

    def _hangs(self, picture: Picture, arrived: float) -> bool:
        """Whether the camera is to be opened again without a word; raises CameraError when it is to be told."""
        stillness = self._guard.look(picture, arrived)
        if stillness is Stillness.FROZEN:
            settings = self._settings
            sentence = f"{settings.name}: the picture has not changed for {settings.frozen_after:g} s; the camera hangs"
            raise CameraError(CameraFailure.FROZEN, sentence)
        return stillness is Stillness.DOUBTFUL


class _Pace:
    """Shows a file at its own speed, round after round without a pause."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: float | None = None
        self._seconds: float | None = None

    def wait(self, seconds: float | None, interval: float) -> float:
        """Wait until a picture is due; the monotonic time at which it was.

        seconds: its time in the file; where the file tells none, and in each new round, it follows the last by `interval`.
        """
        now = self._clock.monotonic()
        if self._due is None:
            self._due = now
        elif seconds is None or self._seconds is None:
            self._due += interval
        else:
            self._due += max(0.0, seconds - self._seconds)
        self._seconds = seconds
        self._clock.sleep(max(0.0, self._due - now))
        return self._clock.monotonic()

    def begin_again(self) -> None:
        """The next picture is the first of the file again."""
        self._seconds = None


def _stream_seconds(packet: Any) -> float | None:
    """The capture time that a packet carries: the sender report's clock where there is one, else the RTP timestamp."""
    if packet.has_sidedata("prft"):
        return float(struct.unpack("<q", bytes(packet.get_sidedata("prft"))[:8])[0]) / 1e6
    return float(packet.pts * packet.time_base) if packet.pts is not None else None


def _picture(decoded: Any) -> Picture:
    """A decoder's picture without converting or copying it where it is planar."""
    name = decoded.format.name
    if name not in _PLANAR or decoded.width % 2 or decoded.height % 2:
        return RgbPicture(decoded.to_ndarray(format="rgb24"))
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width] for plane in decoded.planes
    )
    if "422" in name:
        u, v = u[::2], v[::2]
    full_range = name.startswith("yuvj") or int(decoded.color_range) == 2  # AVCOL_RANGE_JPEG
    return YuvPicture(y, u, v, full_range)


def is_live(address: str) -> bool:
    """Whether pictures come by themselves; a file or folder is shown at its own pace, with whatever pauses it has."""
    return address.startswith("/dev/") or urlsplit(address).scheme in {"rtsp", "rtsps", "http", "https"}


def _is_encrypted(address: str) -> bool:
    """Whether a camera is reached by TLS."""
    return urlsplit(address).scheme in {"rtsps", "https"}


def _is_http(address: str) -> bool:
    return urlsplit(address).scheme in {"http", "https"}


_MENDS: Final = {
    CameraFailure.REFUSED: "refused the connection; is it on, and is the port right?",
    CameraFailure.UNAUTHORISED: "refused the user name or password; mend them in the configuration",
    CameraFailure.FORBIDDEN: "may not be read by this user; change its owner or its mode",
    CameraFailure.NOT_FOUND: "knows no such stream; check the path after the address",
    CameraFailure.UNREACHABLE: "cannot be reached; check the address and the network",
    CameraFailure.TIMEOUT: "sent nothing in time; is it the right port, and is the camera overloaded?",
    CameraFailure.NO_VIDEO: "did not send video that can be read; check that the address is a video stream",
    CameraFailure.BUSY: "is in use by another program; close that first",
}
_DEVICE_MENDS: Final = {
    CameraFailure.FORBIDDEN: "may not be opened by this user; add it to the group video",
    CameraFailure.NOT_FOUND: "is not there; is the camera plugged in, and the path right?",
    CameraFailure.UNREACHABLE: "does not answer any more; plug the camera in again",
}
_NO_FILE: Final = "is not there; expected a video file or a folder of images: check the path"
_NO_LOGIN: Final = "wants a user name and a password, and the configuration has none; add username and password"
_HTTP_FORBIDDEN: Final = "does not let this user see the stream (403); allow it in the camera's settings, or use another user"
_HTTP_CLIENT: Final = "did not accept the request (4xx) for a stream; check the path, and whether too many others watch it"
_HTTP_SERVER: Final = "answered with a fault of its own (5xx) instead of a stream; start the camera again, or check the path"
_REDIRECT: Final = "sends on to what is no HTTP address, where a stream was expected; use the address of the stream itself"
_BROKEN_OFF: Final = "broke off the connection; check the port, and whether too many others watch the camera"
_NO_NAME: Final = "has a host name that this network does not know; check it, or use the camera's IP address"
_NO_CERTIFICATE: Final = (
    "answers, but not with a stream under a certificate that ca_file vouches for; check ca_file, the host that the certificate "
    "is for, its dates, and the path after the address"
)
_NO_STREAM: Final = "answers, but not with a stream such as Motion JPEG: perhaps a web page; check the path after the address"
_SNAPSHOT: Final = (
    "is a single picture, where a stream was expected; use the address of the camera's stream, not of its snapshot"
)
_STILL: Final = (
    "sends the same picture over and over, even after it was opened again; it is watched on: "
    "if that is not a dark or motionless scene, uncover the camera or switch it off and on"
)


def _failure(settings: Camera, error: Exception, silent: bool) -> CameraError:
    """FFmpeg's error as one of ours; silent: nothing came until the time for opening was over."""
    kind = CameraFailure.TIMEOUT if silent and isinstance(error, av.error.InvalidDataError) else _kind(error)
    address, mend = settings.address, _MENDS.get(kind, f"failed ({type(error).__name__}); start the camera again")
    if address.startswith("/dev/"):
        mend = _DEVICE_MENDS.get(kind, mend)
    elif "://" not in address:
        mend = _NO_FILE if kind is CameraFailure.NOT_FOUND else mend
    elif kind is CameraFailure.UNAUTHORISED and urlsplit(address).username is None:
        mend = _NO_LOGIN
    elif kind is CameraFailure.UNREACHABLE and getattr(error, "errno", None) == errno.EIO:
        if _name_unknown(address):
            mend = _NO_NAME
        elif settings.ca_file is not None:
            mend = _NO_CERTIFICATE
        elif _is_http(address):
            kind, mend = CameraFailure.NO_VIDEO, _NO_STREAM
    elif _is_http(address) and kind is CameraFailure.NO_VIDEO:
        mend = _NO_STREAM
    elif _is_http(address) and isinstance(error, av.error.ArgumentError):
        kind, mend = CameraFailure.NO_VIDEO, _REDIRECT
    else:
        mend = next((text for types, text in _ERROR_MENDS if isinstance(error, types)), mend)
    return CameraError(kind, f"{settings.name}: {settings.shown} {mend}")


_ERROR_MENDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (av.error.HTTPForbiddenError, _HTTP_FORBIDDEN),
    (ConnectionResetError, _BROKEN_OFF),
    (BrokenPipeError, _BROKEN_OFF),
    (av.error.HTTPServerError, _HTTP_SERVER),
    (av.error.HTTPUnauthorizedError, _MENDS[CameraFailure.UNAUTHORISED]),
    (av.error.HTTPNotFoundError, _MENDS[CameraFailure.NOT_FOUND]),
    (av.error.HTTPClientError, _HTTP_CLIENT),
)


def _name_unknown(address: str) -> bool:
    """Whether the host has a name that cannot be looked up; FFmpeg has one error for this and for half a dozen others."""
    try:
        socket.getaddrinfo(urlsplit(address).hostname, None)
    except OSError:
        return True
    return False


def _kind(error: Exception) -> CameraFailure:
    number = getattr(error, "errno", None)
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return CameraFailure.UNAUTHORISED
    if isinstance(error, (av.error.HTTPNotFoundError, FileNotFoundError)):
        return CameraFailure.NOT_FOUND
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError, BrokenPipeError)):
        return CameraFailure.REFUSED
    if isinstance(error, (TimeoutError, av.error.ExitError)):
        return CameraFailure.TIMEOUT
    if isinstance(error, PermissionError):
        return CameraFailure.FORBIDDEN
    if number == errno.EBUSY:
        return CameraFailure.BUSY
    if number in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EIO, errno.ENODEV, errno.ENXIO}:
        return CameraFailure.UNREACHABLE
    if isinstance(error, av.error.InvalidDataError):
        return CameraFailure.NO_VIDEO
    return CameraFailure.FAULT


@dataclass(frozen=True, slots=True)
class Outage:
    """A camera gives no picture: why, and how many seconds until the next try; None when there is none."""

    error: CameraError
    retry_after: float | None


def watch(
    settings: Camera,
    clock: Clock,
    ended: Callable[[], bool],
    on_frame: Callable[[Frame], None],
    on_outage: Callable[[Outage], None],
    on_still: Callable[[str | None], None] = lambda _: None,
) -> bool:
    """Read a camera until `ended()`, opening it again after every failure; True when a file has been shown to its end.

    on_still: told once, in a sentence, when all that comes is the same picture, and None once that has changed.
    A wrong password is tried again no faster than once a minute, since cameras lock out those who insist.
    """
    attempt, guard, times, still = 0, FrozenGuard(settings.frozen_after), StreamTimes(), False
    while not ended():
        opened_at, got = clock.monotonic(), False
        try:
            for frame in frames(settings, clock, ended, guard, times):
                got = True
                if guard.still != still:
                    still = guard.still
                    on_still(f"{settings.name}: {settings.shown} {_STILL}" if still else None)
                on_frame(frame)
        except CameraError as error:
            if ended():
                break
            if got and clock.monotonic() - opened_at > 30:
                attempt = 0  # a camera that flaps keeps its long waits
            over = error.failure is CameraFailure.END_OF_STREAM and not is_live(settings.address)
            wait = backoff(attempt, settings.reconnect_min, settings.reconnect_max, random.random())
            if error.failure is CameraFailure.UNAUTHORISED:
                wait = max(wait, 60.0)
            on_outage(Outage(error, None if over else wait))
            if over:
                return True
            attempt += 1
            clock.sleep(wait)
    return False
