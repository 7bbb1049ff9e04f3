"""Capture: frames with their colours and times from every kind of camera, and the reason whenever there are none."""

from __future__ import annotations

import dataclasses
import http.server
import itertools
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.clock import Clock, SystemClock
from streamd.demo.rtsp_server import AccessUnit, Account, Clip, RtspServer, encode, read_clip
from streamd.errors import CameraError, CameraFailure
from streamd.values import Frame, UInt8
from streamd.vision.capture import Camera, FrozenGuard, Outage, Stillness, StreamClock, StreamTimes, backoff, frames, watch
from streamd.vision.picture import RgbPicture, YuvPicture
from tests.process.broker import Authority, Certificate

if TYPE_CHECKING:
    from tests.conftest import FakeClock

FPS, SECONDS = 10, 2
WIDTH, HEIGHT = 320, 240
RED, BLUE, WHITE = (200, 40, 40), (40, 40, 200), (235, 235, 235)


def picture(index: int) -> UInt8:
    """Red on the left, blue on the right, and a white square that moves right along the upper edge, 12 pixels a frame."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2], image[:, WIDTH // 2 :] = RED, BLUE
    image[16:48, 12 * index + 16 : 12 * index + 48] = WHITE
    return image


def square_of(image: UInt8) -> int:
    """Which picture this is, by where its square is."""
    x = np.flatnonzero(image[32].min(-1) > 180)
    return round((float(x.mean()) - 31.5) / 12)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds of video in each codec, with two B-frames for each other picture, and in which nothing changes."""
    folder = tmp_path_factory.mktemp("clips")
    paths = {name: folder / f"{name}.mp4" for name in ("h264", "h265", "b-frames", "still")}
    encode(paths["h264"], (picture(i) for i in range(FPS * SECONDS)), FPS, "libx264")
    encode(paths["h265"], (picture(i) for i in range(FPS * SECONDS)), FPS, "libx265")
    encode(paths["b-frames"], (picture(i) for i in range(FPS * SECONDS)), FPS, b_frames=2)
    encode(paths["still"], (picture(5) for _ in range(FPS * SECONDS)), FPS, "libx264")
    return paths


@pytest.fixture(scope="session")
def clips(files: dict[str, Path]) -> dict[str, Clip]:
    return {name: read_clip(path) for name, path in files.items()}


def camera(address: str, **settings: object) -> Camera:
    quick = {"open_timeout": 1.0, "read_timeout": 1.0, "max_fps": 30.0}
    return Camera("door", address, "rtsp://***@camera/", **{**quick, **settings})  # type: ignore[arg-type]


class PromptClock(SystemClock):
    """Every packet arrives at least a whole picture later than the one before, however late this machine reads them.

    By the real clock a backlog at the opening is left out, as it should be: whoever is slow to start sees the newest. So is
    the last picture, which the end of the stream completes at once after the one before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def monotonic(self) -> float:
        self._now += 1 / FPS
        return self._now


def see(settings: Camera, count: int = 1000, clock: Clock | None = None) -> tuple[list[Frame], CameraError | None]:
    """The first `count` frames of a camera, or all until it fails, and how."""
    seen: list[Frame] = []
    try:
        seen.extend(frames(settings, clock or SystemClock(), lambda: len(seen) >= count))
    except CameraError as error:
        return seen, error
    return seen, None


def failure(settings: Camera) -> CameraFailure:
    _, error = see(settings)
    assert error is not None
    return error.failure


def assert_colours(image: UInt8, tolerance: int = 12) -> None:
    """Away from the edges, which a codec blurs."""
    assert image.shape == (HEIGHT, WIDTH, 3)
    for part, colour in ((image[80:, : WIDTH // 2 - 16], RED), (image[80:, WIDTH // 2 + 16 :], BLUE)):
        assert np.abs(part.reshape(-1, 3).mean(0) - colour).max() < tolerance


_STATUSES = {"/private": 401, "/forbidden": 403, "/odd": 400, "/faulty": 500}
_BODIES = {
    "/page": ("text/html", b"<!DOCTYPE html><html>" + b"<p>A camera</p>" * 200 + b"</html>"),
    "/snapshot": ("image/jpeg", cv2.imencode(".jpg", picture(0))[1].tobytes()),
}


class MjpegCamera(http.server.BaseHTTPRequestHandler):
    """A camera's HTTP side: /video streams JPEG pictures twice as fast as the clips, /video-live at their rate.

    /video-hangs stops after five, /private wants a password, and other paths answer in the ways that /video should not.
    """

    def do_GET(self) -> None:
        if self.path in _STATUSES:
            self.send_error(_STATUSES[self.path])
        elif self.path == "/elsewhere-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif self.path == "/broken-off":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif self.path in _BODIES:
            kind, body = _BODIES[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif not self.path.startswith("/video"):
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                self._play()
            except OSError:
                return  # the viewer has gone

    def _play(self) -> None:
        for index in range(FPS * SECONDS):
            jpeg = cv2.imencode(".jpg", np.ascontiguousarray(picture(index)[:, :, ::-1]))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n")
            if self.path == "/video-hangs" and index == 5:
                self.server.released.wait(10)  # type: ignore[attr-defined]
                return
            self.server.sent.append(time.monotonic())  # type: ignore[attr-defined]
            time.sleep(1 / FPS if self.path == "/video-live" else 1 / FPS / 2)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_http(sent: list[float] | None = None, certificate: Certificate | None = None) -> Iterator[str]:
    """sent: filled with the time (monotonic) at which each picture left. certificate: what it shows, by https."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), MjpegCamera) as server:
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate.certificate, certificate.key)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.released = threading.Event()  # type: ignore[attr-defined]
        server.sent = sent if sent is not None else []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
        finally:
            server.released.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()


@contextmanager
def accepting_and_silent() -> Iterator[int]:
    """A port behind which somebody takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


# What is seen


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_stream_gives_its_pictures_in_order_with_their_colours(clips: dict[str, Clip], codec: str) -> None:
    with RtspServer(clips, loop=False) as server:
        seen, error = see(camera(server.url(codec), open_timeout=10.0, read_timeout=10.0, latest=1e3), clock=PromptClock())

    assert [square_of(frame.image) for frame in seen] == list(range(FPS * SECONDS))
    assert [frame.index for frame in seen] == list(range(FPS * SECONDS))
    assert isinstance(seen[0].picture, YuvPicture)
    assert_colours(seen[0].image)
    assert error is not None
    assert error.failure is CameraFailure.END_OF_STREAM
    assert len(server.transports) == 1  # over TCP at once: who asks for UDP first is refused, and loses time
    assert server.transports[0].startswith("RTP/AVP/TCP;")


def test_capture_times_rise_by_the_streams_clock_and_lie_shortly_before_arrival(clips: dict[str, Clip]) -> None:
    """Pictures are 0.1 s apart; each arrives when the next one begins, hence up to 0.1 s late, and never before its capture."""
    arrived, walls = [], []
    captured: list[float] = []
    with RtspServer(clips) as server:
        for frame in frames(camera(server.url("h264")), SystemClock(), lambda: len(captured) >= 15):
            arrived.append(time.monotonic())
            walls.append(time.time() - frame.wall.timestamp())
            captured.append(frame.captured)

    ages = np.array(arrived) - captured
    assert (np.diff(captured) > 0).all()
    assert np.median(np.diff(captured)) == pytest.approx(1 / FPS, abs=0.01)
    assert ages.min() >= 0
    assert np.median(ages) < 0.25
    assert walls == pytest.approx(ages, abs=0.05)


def test_pictures_that_are_sent_before_earlier_ones_are_shown_in_turn_each_with_its_own_time(clips: dict[str, Clip]) -> None:
    """Of B-frames none is left out, and none has the time of the picture that it was sent with."""
    sent = [unit.seconds for unit in clips["b-frames"].units]
    assert sent != sorted(sent)
    with RtspServer(clips) as server:
        seen, _ = see(camera(server.url("b-frames"), max_fps=float(FPS)), FPS * SECONDS)

    assert [square_of(frame.image) for frame in seen] == list(range(FPS * SECONDS))
    assert np.diff([frame.captured for frame in seen]) == pytest.approx([1 / FPS] * (FPS * SECONDS - 1), abs=0.02)


def test_a_backlog_shows_as_age(clips: dict[str, Clip]) -> None:
    """The reader is held up for half a second at the fifth picture: the sixth has waited, and says so."""
    captured: list[float] = []
    ages: list[float] = []
    walls: list[float] = []
    with RtspServer(clips) as server:
        for frame in frames(camera(server.url("h264")), SystemClock(), lambda: len(captured) >= 12):
            ages.append(time.monotonic() - frame.captured)
            walls.append(time.time() - frame.wall.timestamp())
            captured.append(frame.captured)
            if frame.index == 4:
                time.sleep(0.5)

    assert ages[5] - ages[4] == pytest.approx(0.4, abs=0.1)  # the half second less the picture's own interval
    assert ages[11] < ages[5] / 2
    assert walls == pytest.approx(ages, abs=0.05)
    assert np.diff(captured) == pytest.approx([1 / FPS] * 11, abs=0.05)


def test_a_camera_whose_pictures_come_seconds_late_is_opened_again(clips: dict[str, Clip]) -> None:
    """What nobody may act on is not worth decoding, and what waits behind it is as late."""
    with RtspServer(clips) as server:
        coming = frames(camera(server.url("h264")), SystemClock(), lambda: False)
        while next(coming).index < 4:
            pass
        time.sleep(2.3)
        with pytest.raises(CameraError, match=r"came 2\.\d s late, so it is opened again; .* lower its bit rate") as caught:
            list(coming)

    assert caught.value.failure is CameraFailure.LATE


def test_a_camera_that_was_late_gives_pictures_again(clips: dict[str, Clip]) -> None:
    """And each time anew: the clock of one opening is not that of the next."""
    said: list[Outage] = []
    seen: list[int] = []

    def on_frame(frame: Frame) -> None:
        seen.append(frame.index)
        if frame.index == 4:
            time.sleep(2.0)

    with RtspServer(clips) as server:
        watched = dataclasses.replace(camera(server.url("h264")), reconnect_min=0.1, reconnect_max=0.1)
        watch(watched, SystemClock(), lambda: seen.count(4) >= 3, on_frame, said.append)

    assert [outage.error.failure for outage in said] == [CameraFailure.LATE] * 2
    assert seen[:5] * 3 == [index for index in seen if index <= 4]


def test_age_is_counted_from_arrival_where_a_cameras_times_are_not_believed(clips: dict[str, Clip]) -> None:
    times = StreamTimes()
    times.believed = False
    with RtspServer(clips) as server:
        coming = frames(camera(server.url("h264")), SystemClock(), lambda: False, times=times)
        while next(coming).index < 4:
            pass
        time.sleep(2.3)
        frame = next(coming)

    assert time.monotonic() - frame.captured < 1


def outages(server: RtspServer, count: int, pictures: int, on_frame: Callable[[Frame], None] = lambda _: None) -> list[str]:
    """Why a camera of whose pictures none may be 0.6 s old was opened again: `count` times, or until it gave so many pictures
    after an opening.
    """
    said: list[Outage] = []
    seen = 0

    def see_one(frame: Frame) -> None:
        nonlocal seen
        seen = frame.index + 1
        on_frame(frame)

    watched = camera(server.url("h264"), latest=0.6, reconnect_min=0.01, reconnect_max=0.01, read_timeout=5.0)
    watch(watched, SystemClock(), lambda: len(said) >= count or seen >= pictures, see_one, said.append)
    assert {outage.error.failure for outage in said} == {CameraFailure.LATE}
    return [str(outage.error) for outage in said]


def test_a_camera_that_stamps_wrong_times_is_opened_twice_and_then_watched_by_when_its_pictures_come(
    clips: dict[str, Clip],
) -> None:
    """Twice as many pictures as it sends: it is 0.6 s late after seven. What is known of its times outlives an opening."""
    ages: list[float] = []
    with RtspServer(clips, leaves=lambda seconds: 2 * seconds, reports=False) as server:
        said = outages(server, 4, 15, lambda frame: ages.append(time.monotonic() - frame.captured))

    assert ["falls behind evenly" in sentence for sentence in said] == [False, True]
    assert max(ages[-10:]) < 0.5


def test_a_link_that_is_too_slow_for_a_camera_with_sender_reports_is_never_taken_for_wrong_times(
    clips: dict[str, Clip],
) -> None:
    with RtspServer(clips, leaves=lambda seconds: 2 * seconds) as server:
        said = outages(server, 3, 15)

    assert [" s late, so it is opened again" in sentence for sentence in said] == [True] * 3


def test_a_network_that_stops_again_and_again_is_never_taken_for_wrong_times(clips: dict[str, Clip]) -> None:
    """All that is captured in 0.8 s comes at their end."""
    with RtspServer(clips, leaves=lambda seconds: 1.3 if 0.5 < seconds < 1.3 else seconds, reports=False) as server:
        said = outages(server, 3, 15)

    assert [" s late, so it is opened again" in sentence for sentence in said] == [True] * 3


def test_a_machine_that_is_too_slow_for_a_camera_is_never_taken_for_wrong_times(clips: dict[str, Clip]) -> None:
    """Nothing is waited for: what is late lies here."""
    with RtspServer(clips, reports=False) as server:
        said = outages(server, 3, 30, lambda _: time.sleep(1.5 / FPS))

    assert [" s late, so it is opened again" in sentence for sentence in said] == [True] * 3


@pytest.mark.parametrize(
    ("rotation", "region", "shape"), [(90, None, (WIDTH, HEIGHT, 3)), (180, (0.0, 0.0, 0.5, 1.0), (HEIGHT, WIDTH // 2, 3))]
)
def test_a_camera_is_turned_and_then_trimmed_as_it_is_mounted(
    files: dict[str, Path],
    clock: FakeClock,
    rotation: int,
    region: tuple[float, float, float, float] | None,
    shape: tuple[int, ...],
) -> None:
    """A quarter turn clockwise takes the red left side up; half a turn takes the blue right side to the left."""
    (frame,), _ = see(camera(str(files["h264"]), rotation=rotation, region=region), 1, clock)

    assert frame.image.shape == shape
    expected = RED if rotation == 90 else BLUE
    assert np.abs(frame.image[10:100, 10:100].reshape(-1, 3).mean(0) - expected).max() < 12


def test_a_file_is_shown_at_its_own_pace_and_ends(files: dict[str, Path], clock: FakeClock) -> None:
    seen, error = see(camera(str(files["h264"])), clock=clock)

    assert [frame.captured for frame in seen] == pytest.approx([1000 + i / FPS for i in range(FPS * SECONDS)])
    assert error is not None
    assert error.failure is CameraFailure.END_OF_STREAM


def test_a_looped_file_goes_on_in_the_same_pace(files: dict[str, Path], clock: FakeClock) -> None:
    seen, error = see(camera(str(files["h264"]), loop=True), 45, clock)

    assert error is None
    assert [frame.captured for frame in seen] == pytest.approx([1000 + i / FPS for i in range(45)])
    assert [square_of(frame.image) for frame in seen] == [i % (FPS * SECONDS) for i in range(45)]


@pytest.mark.parametrize("kind", ["bare.h264", "shifted.ts"])
def test_a_file_that_tells_no_times_or_begins_late_is_looped_in_its_own_pace(
    files: dict[str, Path], tmp_path: Path, clock: FakeClock, kind: str
) -> None:
    """A bare H.264 stream holds no times and cannot be wound back; an MPEG transport stream begins at 1.4 s."""
    path = tmp_path / kind
    with av.open(str(files["h264"])) as source, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                shift = round(1.4 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                copy.mux(packet)
    rate = 25 if kind == "bare.h264" else FPS  # what FFmpeg assumes for a bare stream

    seen, error = see(camera(str(path), loop=True), 45, clock)

    assert error is None
    assert [frame.captured for frame in seen] == pytest.approx([1000 + i / rate for i in range(45)])
    assert [square_of(frame.image) for frame in seen] == [i % (FPS * SECONDS) for i in range(45)]


def test_more_frames_than_the_maximum_are_left_out(files: dict[str, Path], clock: FakeClock) -> None:
    """10 a second, at most 5: half of them, none further apart than one and a half intervals of 0.2 s."""
    seen, _ = see(camera(str(files["h264"]), max_fps=5.0), clock=clock)

    assert len(seen) in {10, 11}
    assert max(np.diff([frame.captured for frame in seen])) <= 0.3 + 1e-6


def test_a_maximum_that_the_camera_just_keeps_leaves_nothing_out(files: dict[str, Path], clock: FakeClock) -> None:
    seen, _ = see(camera(str(files["h264"]), max_fps=float(FPS)), clock=clock)

    assert len(seen) == FPS * SECONDS


def test_a_folder_of_images_is_shown_in_the_order_of_names_at_the_maximum_rate(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for index in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index)[:, :, ::-1])
    (tmp_path / "1-broken.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")

    seen, error = see(camera(str(tmp_path), max_fps=4.0), clock=clock)
    looped, _ = see(camera(str(tmp_path), max_fps=4.0, loop=True), 10, clock=clock)

    assert len(looped) == 10
    assert [square_of(frame.image) for frame in seen] == [0, 1, 2]
    assert [frame.captured for frame in seen] == pytest.approx([1000.0, 1000.25, 1000.5])
    assert error is not None
    assert error.failure is CameraFailure.END_OF_STREAM
    assert [record.getMessage().split("/")[-1] for record in caplog.records] == [
        "1-broken.jpg is not a picture that can be read; left out"
    ] * 2  # once for each opening, however many rounds


@pytest.mark.parametrize("content", [None, b"no picture"], ids=["empty", "nothing readable"])
def test_a_folder_without_a_picture_is_no_camera_even_when_looped(
    tmp_path: Path, clock: FakeClock, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)

    _, error = see(camera(str(tmp_path), loop=True), clock=clock)

    assert error is not None
    assert error.failure is CameraFailure.NO_VIDEO


def test_motion_jpeg_over_http_gives_its_pictures_with_their_colours() -> None:
    with serving_http() as address:
        seen, error = see(camera(f"{address}/video"), 8)

    assert error is None
    assert [square_of(frame.image) for frame in seen] == list(range(square_of(seen[0].image), square_of(seen[0].image) + 8))
    assert_colours(seen[-1].image)


def test_motion_jpeg_was_captured_when_it_arrived_however_few_pictures_come() -> None:
    """Such a stream tells no times: 10 pictures a second must not fall behind what FFmpeg takes them for, 25 a second."""
    sent: list[float] = []
    to_wall = time.time() - time.monotonic()
    with serving_http(sent) as address:
        seen, _ = see(camera(f"{address}/video-live"), FPS * SECONDS - 1)

    left = np.array([sent[square_of(frame.image)] for frame in seen])
    assert [frame.captured for frame in seen[2:]] == pytest.approx(left[2:], abs=0.25)  # the first wait for the opening
    assert [frame.wall.timestamp() - to_wall for frame in seen[2:]] == pytest.approx(left[2:], abs=0.25)
    assert np.median(np.diff([frame.captured for frame in seen])) == pytest.approx(1 / FPS, abs=0.02)


# Why nothing is seen


@pytest.mark.parametrize("digest", [True, False], ids=["Digest", "Basic"])
def test_the_right_password_opens_and_a_wrong_one_or_none_is_unauthorised(clips: dict[str, Clip], digest: bool) -> None:
    with RtspServer(clips, account=Account("door", "s3cret", digest)) as server:
        seen, error = see(camera(server.url("h264")), 2)
        wrong = failure(camera(server.url("h264").replace("s3cret", "guess")))
        none = failure(camera(f"rtsp://127.0.0.1:{server.port}/h264"))

    assert (len(seen), error) == (2, None)
    assert (wrong, none) == (CameraFailure.UNAUTHORISED, CameraFailure.UNAUTHORISED)


def test_a_wrong_path_is_not_found(clips: dict[str, Clip]) -> None:
    with RtspServer(clips) as server, serving_http() as address:
        assert failure(camera(server.url("elsewhere"))) is CameraFailure.NOT_FOUND
        assert failure(camera(f"{address}/elsewhere")) is CameraFailure.NOT_FOUND
        assert failure(camera(f"{address}/private")) is CameraFailure.UNAUTHORISED


def test_a_closed_port_refuses_and_a_file_or_device_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with accepting_and_silent() as port:
        pass

    assert failure(camera(f"rtsp://127.0.0.1:{port}/h264")) is CameraFailure.REFUSED
    assert failure(camera(str(tmp_path / "no.mp4"))) is CameraFailure.NOT_FOUND
    assert failure(camera("/dev/video-that-is-not-there")) is CameraFailure.NOT_FOUND


@pytest.mark.parametrize(
    ("path", "failure", "sentence"),
    [
        (
            "page",
            CameraFailure.NO_VIDEO,
            "answers, but not with a stream such as Motion JPEG: perhaps a web page; check the path",
        ),
        ("snapshot", CameraFailure.NO_VIDEO, "is a single picture, where a stream was expected; use the address of"),
        ("faulty", CameraFailure.FAULT, "answered with a fault of its own (5xx) instead of a stream; start the camera again"),
        ("odd", CameraFailure.FAULT, "did not accept the request (4xx) for a stream; check the path"),
        ("elsewhere-file", CameraFailure.NO_VIDEO, "sends on to what is no HTTP address"),
        ("broken-off", CameraFailure.REFUSED, "broke off the connection; check the port"),
        ("private", CameraFailure.UNAUTHORISED, "wants a user name and a password, and the configuration has none; add"),
        ("forbidden", CameraFailure.UNAUTHORISED, "wants a user name and a password, and the configuration has none; add"),
        ("@private", CameraFailure.UNAUTHORISED, "refused the user name or password; mend them in the configuration"),
        ("@forbidden", CameraFailure.UNAUTHORISED, "does not let this user see the stream (403); allow it"),
    ],
)
def test_what_a_camera_answers_instead_of_a_stream_is_said_with_its_mend(
    path: str, failure: CameraFailure, sentence: str
) -> None:
    """An @ stands for a request with a login."""
    with serving_http() as address:
        login, path = ("viewer:secret@", path[1:]) if path.startswith("@") else ("", path)
        seen, error = see(camera(f"{address}/{path}".replace("//", f"//{login}", 1)))

    assert seen == []
    assert error is not None
    assert (error.failure, str(error)[: 25 + len(sentence)]) == (failure, f"door: rtsp://***@camera/ {sentence}")


def test_a_certificate_is_checked_where_an_authority_is_named_and_only_there(tmp_path: Path) -> None:
    """Against that authority, its dates and the host in the address."""
    ours, another = Authority(tmp_path / "ours"), Authority(tmp_path / "another")
    good = ours.issue("good")
    past = ours.issue("past", life=timedelta(days=-1))
    elsewhere = ours.issue("elsewhere", host="192.0.2.1")
    trials = [(good, None), (good, ours), (good, another), (past, None), (past, ours), (elsewhere, None), (elsewhere, ours)]

    results = []
    for certificate, authority in trials:
        with serving_http(certificate=certificate) as address:
            ca_file = authority.certificate if authority is not None else None
            seen, error = see(camera(f"{address}/video", ca_file=ca_file), 1)
        assert error is None or "that ca_file vouches for" in str(error)
        results.append(len(seen))

    assert results == [1, 1, 0, 1, 0, 1, 0]


def test_the_certificate_of_an_rtsp_camera_is_checked_too(tmp_path: Path) -> None:
    """What the certificate lets through is a TLS connection to one who then says nothing."""
    ours, another = Authority(tmp_path / "ours"), Authority(tmp_path / "another")
    certificate = ours.issue("camera")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)

    failures = []
    for authority in (ours, another):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            greeted = threading.Thread(target=_greet, args=(listener, tls))
            greeted.start()
            address = f"rtsps://127.0.0.1:{listener.getsockname()[1]}/stream"
            failures.append(failure(camera(address, ca_file=authority.certificate)))
            greeted.join()

    assert failures == [CameraFailure.TIMEOUT, CameraFailure.UNREACHABLE]


def _greet(listener: socket.socket, tls: ssl.SSLContext) -> None:
    """Take one connection, shake hands and listen until it is closed."""
    with listener.accept()[0] as connection, suppress(OSError), tls.wrap_socket(connection, server_side=True) as shaken:
        while shaken.recv(4096):
            pass


def test_a_host_name_that_nobody_knows_is_told_from_a_camera_that_is_off() -> None:
    _, error = see(camera("rtsp://no-such-camera.invalid/stream"))

    assert error is not None
    assert error.failure is CameraFailure.UNREACHABLE
    assert "host name that this network does not know" in str(error)


def test_a_file_is_not_asked_to_be_plugged_in(tmp_path: Path) -> None:
    _, file = see(camera(str(tmp_path / "no.mp4")))
    _, device = see(camera("/dev/video-that-is-not-there"))

    assert "is not there; expected a video file or a folder of images: check the path" in str(file)
    assert "is not there; is the camera plugged in" in str(device)


def test_what_is_no_video_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"this is no video at all" * 100)

    assert failure(camera(str(tmp_path / "no.mp4"))) is CameraFailure.NO_VIDEO


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_one_that_accepts_and_never_answers_runs_into_the_time_for_opening(scheme: str) -> None:
    with accepting_and_silent() as port:
        started = time.monotonic()
        seen = failure(camera(f"{scheme}://127.0.0.1:{port}/video"))

    assert seen is CameraFailure.TIMEOUT
    assert time.monotonic() - started < 2.5


def test_one_that_stops_sending_runs_into_the_time_for_reading(clips: dict[str, Clip]) -> None:
    """Half a second of pictures, and then the connection stays open for 1000 s without one."""
    units = (*clips["h264"].units[:5], AccessUnit(clips["h264"].units[5].nals, 1000.0))
    with RtspServer({"hangs": Clip("H264", units, 2000.0)}) as server:
        started = time.monotonic()
        seen, error = see(camera(server.url("hangs")))
        took = time.monotonic() - started

    assert error is not None
    assert error.failure is CameraFailure.TIMEOUT
    assert 3 <= len(seen) <= 5
    assert took < 0.5 + 1.0 + 1.0  # pictures, the limit, and something to spare


def test_one_that_stops_sending_over_http_runs_into_the_time_for_reading() -> None:
    with serving_http() as address:
        seen, error = see(camera(f"{address}/video-hangs"))

    assert error is not None
    assert error.failure is CameraFailure.TIMEOUT
    assert seen


def test_a_picture_that_hangs_while_packets_flow_is_frozen(clips: dict[str, Clip]) -> None:
    with RtspServer(clips) as server:
        seen, error = see(camera(server.url("still"), frozen_after=0.6), 40)
        moving, no_error = see(camera(server.url("h264"), frozen_after=0.6), 15)

    assert error is not None
    assert error.failure is CameraFailure.FROZEN
    assert 1 <= len(seen) <= 12
    assert (len(moving), no_error) == (15, None)


def test_a_camera_that_shows_the_same_when_opened_again_is_watched_on_and_said_to_be_still(clips: dict[str, Clip]) -> None:
    """One outage, since it may have hung; then one word, and no more gaps than its opening takes."""
    said: list[Outage] = []
    still: list[str | None] = []
    seen: list[float] = []
    with RtspServer(clips) as server:
        settings = camera(server.url("still"), frozen_after=0.5, reconnect_min=0.1)
        started = time.monotonic()
        watch(
            settings,
            SystemClock(),
            lambda: time.monotonic() > started + 5,
            lambda frame: seen.append(frame.captured),
            said.append,
            still.append,
        )

    assert [outage.error.failure for outage in said] == [CameraFailure.FROZEN]
    (sentence,) = still
    assert sentence is not None
    assert sentence.startswith("door: rtsp://***@camera/ sends the same picture over and over")
    assert max(np.diff(seen)) < 0.8
    assert seen[-1] - started > 4.5


def test_a_camera_that_is_stopped_by_us_has_not_failed(
    clips: dict[str, Clip], files: dict[str, Path], clock: FakeClock
) -> None:
    with RtspServer(clips) as server:
        assert see(camera(server.url("h264")), 2)[1] is None
    assert see(camera(str(files["h264"])), 2, clock)[1] is None


def test_no_error_and_no_log_line_holds_the_password(
    clips: dict[str, Clip], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """FFmpeg's own texts hold the whole address; the traceback that a log would show is searched too."""
    caplog.set_level(logging.DEBUG)
    texts = []
    with RtspServer(clips, account=Account("door", "hunter22")) as server, accepting_and_silent() as silent:
        port = server.port
        for where in (f"{port}/h264", f"{port}/no", f"{silent}/h264", "1/h264"):
            _, error = see(camera(f"rtsp://door:hunter22x@127.0.0.1:{where}", open_timeout=0.5))
            assert error is not None
            logging.getLogger("test").warning("failed", exc_info=error)
            texts += [str(error), repr(error)]

    for text in (*texts, caplog.text, *capfd.readouterr()):
        assert "hunter22" not in text
    assert all("rtsp://***@camera/" in text for text in texts)


# Trying again


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [
        (0, 0.0, 1.0),
        (1, 0.0, 2.0),
        (2, 0.0, 4.0),
        (3, 0.0, 5.0),
        (10_000, 0.0, 5.0),
        (0, 1.0, 1.0),
        (1, 1.0, 1.6),
        (9, 1.0, 4.0),
    ],
)
def test_waits_double_up_to_the_longest_and_are_spread_by_a_fifth(attempt: int, jitter: float, seconds: float) -> None:
    assert backoff(attempt, 1.0, 5.0, jitter) == pytest.approx(seconds)


def test_a_camera_that_is_away_is_tried_again_with_growing_waits(clock: FakeClock) -> None:
    with accepting_and_silent() as port:
        pass
    said: list[Outage] = []
    watch(camera(f"rtsp://127.0.0.1:{port}/x"), clock, lambda: len(clock.slept) >= 6, lambda _: None, said.append)

    assert {outage.error.failure for outage in said} == {CameraFailure.REFUSED}
    assert [outage.retry_after for outage in said] == clock.slept
    assert clock.slept == [pytest.approx(wait, rel=0.2001) for wait in (1, 2, 4, 5, 5, 5)]


def test_a_wrong_password_is_tried_once_a_minute_at_most(clips: dict[str, Clip], clock: FakeClock) -> None:
    with RtspServer(clips, account=Account("door", "s3cret")) as server:
        said: list[Outage] = []
        address = server.url("h264").replace("s3cret", "guess")
        watch(camera(address), clock, lambda: len(clock.slept) >= 3, lambda _: None, said.append)

    assert [outage.retry_after for outage in said] == clock.slept == [60.0, 60.0, 60.0]


@pytest.mark.parametrize(("up_seconds", "waits"), [(5.0, (1, 2, 4)), (40.0, (1, 1, 1))], ids=["flaps", "was healthy"])
def test_only_a_camera_that_was_up_for_half_a_minute_is_tried_again_at_once(
    clips: dict[str, Clip], clock: FakeClock, up_seconds: float, waits: tuple[float, ...]
) -> None:
    """One that shows a picture and goes down again would otherwise be opened every second for ever."""
    short = dataclasses.replace(clips["h264"], units=clips["h264"].units[:1], duration=0.1)

    def on_frame(_: Frame) -> None:
        clock.now += up_seconds

    with RtspServer({"short": short}, loop=False) as server:
        said: list[Outage] = []
        watch(camera(server.url("short")), clock, lambda: len(clock.slept) >= 3, on_frame, said.append)

    assert {outage.error.failure for outage in said} == {CameraFailure.END_OF_STREAM}
    assert clock.slept == [pytest.approx(wait, rel=0.2001) for wait in waits]


def test_a_file_shown_to_its_end_is_not_tried_again(files: dict[str, Path], clock: FakeClock) -> None:
    said: list[Outage] = []
    watch(camera(str(files["h264"])), clock, lambda: False, lambda _: None, said.append)

    assert [(outage.error.failure, outage.retry_after) for outage in said] == [(CameraFailure.END_OF_STREAM, None)]


def test_a_camera_stopped_during_a_wait_ends_without_another_word(clock: FakeClock) -> None:
    with accepting_and_silent() as port:
        pass
    said: list[Outage] = []
    stopped = threading.Event()
    clock.on_sleep = stopped.set
    watch(camera(f"rtsp://127.0.0.1:{port}/x"), clock, stopped.is_set, lambda _: None, said.append)

    assert len(said) == 1


# When a packet was captured


def test_the_stream_clock_takes_jitter_out_and_shows_a_backlog_as_age() -> None:
    """The stream says 5.0, 5.1, 5.2, ...; the first arrives at 100.0. A packet of 5.4 that arrives at 101.9 was captured at
    100.4 and is 1.5 s old; those behind it in the backlog keep their own times.
    """
    clock = StreamClock()

    assert clock.captured(5.0, 100.0) == pytest.approx(100.0, abs=2e-3)
    assert clock.captured(5.1, 100.13) == pytest.approx(100.1, abs=2e-3)
    assert clock.captured(5.2, 100.2) == pytest.approx(100.2, abs=2e-3)
    assert clock.captured(5.4, 101.9) == pytest.approx(100.4, abs=2e-3)
    assert clock.captured(5.5, 101.9) == pytest.approx(100.5, abs=2e-3)


def test_a_delay_that_stands_or_grows_is_never_taken_for_the_streams_own() -> None:
    """Ten minutes of a network that holds everything back for 1.5 s; and one that falls behind by 0.01 s each second."""
    standing, growing = StreamClock(), StreamClock()
    for clock in (standing, growing):
        clock.captured(0.0, 100.0)
    for second in range(1, 601):
        stands = 100 + second + 1.5
        grows = 100 + second * 1.01
        standing_age = stands - standing.captured(float(second), stands)
        growing_age = grows - growing.captured(float(second), grows)

    assert standing_age == pytest.approx(1.5, abs=0.7)
    assert growing_age == pytest.approx(6.0, abs=0.7)


def test_two_clocks_that_part_as_clocks_do_make_no_backlog() -> None:
    """A camera's quartz that is slow by a tenth of a thousandth, for a day."""
    clock = StreamClock()
    ages = [at - clock.captured(at * (1 - 1e-4), at) for at in np.arange(0.0, 86400.0, 10.0).tolist()]

    assert max(ages) < 0.01


def test_a_stream_clock_that_jumps_makes_a_backlog_no_younger() -> None:
    clock = StreamClock()
    clock.captured(0.0, 100.0)
    for packet in range(1, 40):
        clock.captured(packet / 10, 101.2 + packet / 10)

    assert clock.captured(1e9, 105.2) == pytest.approx(104.0, abs=0.01)
    assert clock.captured(1e9 + 0.1, 105.2) == pytest.approx(104.1, abs=0.01)


def test_jumps_of_the_streams_clock_do_not_add_up_to_a_backlog() -> None:
    """A camera that begins its times anew with every key frame, over a network with jitter."""
    clock, random = StreamClock(), np.random.default_rng(0)
    ages = []
    for packet in range(15_000):
        arrived = packet / 15 + float(random.uniform(0, 0.05))
        ages.append(arrived - clock.captured((packet % 15) / 15, arrived))

    assert max(ages) < 0.3


def test_pictures_that_are_not_sent_in_the_order_of_their_times_are_no_jump() -> None:
    """B-frames: the stream falls behind by a hundredth for ten minutes."""
    clock = StreamClock()
    order = [0, 3, 1, 2]  # a picture is sent before those that are shown earlier and made of it
    for packet in range(9000):
        stamp = (packet // 4 * 4 + order[packet % 4]) / 15
        arrived = 100 + packet / 15 * 1.01
        age = arrived - clock.captured(stamp, arrived)

    assert age == pytest.approx(6.0 - 0.6, abs=0.5)  # less what two clocks may part by


Packets = Iterator[tuple[float, float]]
"""The stream's time of each picture, and when it arrives."""


def stamped(seconds: float, real: Callable[[int], float], stall: tuple[float, float] | None = None) -> Packets:
    """A camera that says that its pictures are `seconds` apart; the nth of them comes at `real(n)`.

    stall: nothing comes from then to then; what has waited comes at once.
    """
    for index in itertools.count():
        arrived = real(index)
        if stall is not None and stall[0] < arrived < stall[1]:
            arrived = stall[1]
        yield seconds * index, arrived


def by_night(index: int) -> float:
    """15 pictures a second for a minute, and then 3."""
    return index / 15 if index < 900 else 60 + (index - 900) / 3


def through_a_link(share: float) -> Packets:
    """15 pictures a second, each 30th a key frame eight times as large, where so large a share of the stream is carried."""
    random, free = np.random.default_rng(0), 0.0
    for index in itertools.count():
        size = (8 if index % 30 == 0 else 1) * 30 / 37 * float(random.uniform(0.7, 1.3))
        free = max(free, index / 15) + size / 15 / share
        yield index / 15, free + float(random.uniform(0, 0.02))


def late(packets: Packets) -> tuple[float, bool] | None:
    """When the first of an hour's pictures is 1.7 s late, and whether the delay grew as by wrong times; None: none ever is."""
    clock = StreamClock()
    for stream_seconds, arrived in packets:
        if arrived > 3600:
            return None
        if arrived - clock.captured(stream_seconds, arrived) > 1.7:
            return arrived, clock.even
    raise AssertionError


@pytest.mark.parametrize(
    ("packets", "by"),
    [
        (stamped(1 / 25, lambda n: n / 20), 12),
        (stamped(1 / 25, lambda n: n / 20, stall=(2.0, 2.9)), 12),
        (stamped(1 / 15, by_night), 65),
        (stamped(1 / 15, lambda n: n / 3), 5),
        (stamped(1 / 15, lambda n: n / 2), 5),
        (stamped(1 / 15, lambda n: max(0.0, (n - 20) / 2)), 5),
        (stamped(1 / 25, lambda n: n // 4 / 5), 12),
    ],
    ids=["25 stamped, 20 sent", "with a hiccup", "day, then night", "by night", "by darker night", "after a burst", "in fours"],
)
def test_a_camera_whose_times_are_wrong_falls_behind_little_by_little(packets: Packets, by: float) -> None:
    found = late(packets)

    assert found is not None
    seconds, even = found
    assert seconds < by
    assert even


@pytest.mark.parametrize(
    "packets",
    [
        stamped(1 / 15, lambda n: n / 15, stall=(60.0, 63.0)),
        stamped(1 / 3, lambda n: n / 3, stall=(60.0, 63.0)),
        ((n / 15 + (100 if n < 30 else 0), at) for n, (_, at) in enumerate(stamped(0, lambda n: n / 15, stall=(60.0, 63.0)))),
        through_a_link(0.97),
        through_a_link(0.9),
        through_a_link(0.8),
    ],
    ids=["a hiccup of 3 s", "by night", "after a jump of its clock", "a link too slow by 3 %", "by 10 %", "by 20 %"],
)
def test_a_network_falls_behind_at_once(packets: Packets) -> None:
    found = late(packets)

    assert found is not None
    assert not found[1]


def test_a_camera_that_sends_fewer_pictures_by_night_and_says_so_is_never_late() -> None:
    assert late((by_night(n), by_night(n) + 0.05) for n in itertools.count()) is None


def test_the_order_in_which_b_frames_are_sent_is_no_growth() -> None:
    """5 pictures a second, two sent after one that is shown later: 0.6 s older than it, by times that are wrong by a tenth."""
    order = [0, 3, 1, 2]
    found = late(((n // 4 * 4 + order[n % 4]) / 5, n / 4.5) for n in itertools.count())

    assert found is not None
    assert found[1]


def test_times_are_disbelieved_after_they_were_late_twice_as_wrong_times_are() -> None:
    """Whatever else the camera was late by between; but not where a quarter of an hour lies between."""
    once, twice, mixed, seldom = (StreamTimes() for _ in range(4))
    once.late(10.0, by_its_times=True)
    for at in (10.0, 21.0):
        twice.late(at, by_its_times=True)
    for at, wrong in ((10.0, True), (20.0, False), (30.0, True)):
        mixed.late(at, by_its_times=wrong)
    for at in (10.0, 5000.0):
        seldom.late(at, by_its_times=True)

    assert [one.believed for one in (once, twice, mixed, seldom)] == [True, False, False, True]


def test_a_faster_packet_ties_the_clocks_closer() -> None:
    """The first packets of a stream are late: once one comes sooner, that is what 'without delay' means."""
    clock = StreamClock()
    clock.captured(5.0, 100.5)

    assert clock.captured(5.1, 100.1) == pytest.approx(100.1, abs=2e-3)
    assert clock.captured(5.2, 100.7) == pytest.approx(100.2, abs=2e-3)


@pytest.mark.parametrize("jump", [-3.0, 3600.0, 1.7e9])
def test_a_stream_clock_that_jumps_is_tied_anew(jump: float) -> None:
    clock = StreamClock()
    clock.captured(5.0, 100.0)

    assert clock.captured(5.1 + jump, 100.1) == pytest.approx(100.1, abs=2e-3)
    assert clock.captured(5.2 + jump, 100.25) == pytest.approx(100.2, abs=2e-3)


def test_a_stream_without_times_was_captured_when_it_arrived() -> None:
    assert StreamClock().captured(None, 100.0) == 100.0


@given(st.lists(st.tuples(st.none() | st.floats(-1e4, 2e9), st.floats(0, 5)), min_size=1, max_size=60))
def test_nothing_was_ever_captured_after_it_arrived(packets: list[tuple[float | None, float]]) -> None:
    clock, arrived = StreamClock(), 1000.0
    for stream_seconds, wait in packets:
        arrived += wait
        assert clock.captured(stream_seconds, arrived) <= arrived


STILL = RgbPicture(np.random.default_rng(0).integers(0, 200, (180, 320, 3), np.uint8))
OTHER = RgbPicture(np.random.default_rng(1).integers(0, 200, (180, 320, 3), np.uint8))


def verdicts(guard: FrozenGuard, picture: RgbPicture, start: float, seconds: int) -> list[tuple[int, Stillness]]:
    """What the guard first says of a picture that comes once a second and never changes, and when."""
    said = ((i, guard.look(picture, start + i)) for i in range(seconds))
    return list(itertools.islice(((i, verdict) for i, verdict in said if verdict is not Stillness.NONE), 1))


def test_only_a_picture_that_is_the_same_to_the_last_bit_is_frozen() -> None:
    """A still night scene has noise; a hanging encoder has none."""
    random = np.random.default_rng(0)
    noisy = [RgbPicture((STILL.pixels // 2 + random.integers(0, 3, (180, 320, 3))).astype(np.uint8)) for _ in range(30)]
    hanging, healthy = FrozenGuard(10.0), FrozenGuard(10.0)

    assert verdicts(hanging, STILL, 100.0, 11) == [(10, Stillness.FROZEN)]
    assert {healthy.look(one, 100.0 + i) for i, one in enumerate(noisy)} == {Stillness.NONE}


def test_a_picture_that_is_the_same_after_opening_again_is_still_and_tried_ever_less() -> None:
    """The codec may draw it a little differently the second time."""
    guard = FrozenGuard(10.0)
    assert verdicts(guard, STILL, 0.0, 11) == [(10, Stillness.FROZEN)]

    tried = []
    again = RgbPicture(STILL.pixels + np.uint8(3))
    for opening in range(1, 9):
        guard.opened()
        ((after, verdict),) = verdicts(guard, again, opening * 1000.0, 601)
        assert (verdict, guard.still) == (Stillness.DOUBTFUL, True)
        tried.append(after)
    assert tried == [20, 40, 80, 160, 320, 600, 600, 600]


def test_stillness_ends_with_the_first_change_and_comes_back_without_an_outage() -> None:
    """A car's light falls into a dark scene: neither then nor later is the camera opened again for it."""
    guard = FrozenGuard(10.0)
    verdicts(guard, STILL, 0.0, 11)
    guard.opened()
    assert verdicts(guard, STILL, 11.0, 11) == []
    assert guard.still

    guard.look(OTHER, 30.0)
    assert not guard.still
    assert verdicts(guard, STILL, 31.0, 11) == []
    assert guard.still


def test_a_proven_still_camera_that_hangs_at_another_picture_is_frozen() -> None:
    guard = FrozenGuard(10.0)
    verdicts(guard, STILL, 0.0, 11)
    guard.opened()
    verdicts(guard, STILL, 11.0, 11)

    assert verdicts(guard, OTHER, 30.0, 11) == [(10, Stillness.FROZEN)]


def test_a_camera_that_was_mended_by_opening_it_again_is_frozen_the_next_time_too() -> None:
    guard = FrozenGuard(10.0)
    verdicts(guard, STILL, 0.0, 11)
    guard.opened()
    guard.look(STILL, 11.0)
    guard.look(OTHER, 12.0)

    assert verdicts(guard, STILL, 13.0, 11) == [(10, Stillness.FROZEN)]
