"""A camera made of video files: RTSP 1.0 (RFC 2326) with RTP over the same TCP connection, for the demo, tests and benchmarks.

H.264 (RFC 6184) and H.265 (RFC 7798), played at their own speed and looped; Basic and Digest authentication (RFC 7616 with
MD5, as cameras speak it); RTCP sender reports (RFC 3550), so that a client knows when each picture was taken.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import av
import av.bitstream

_MTU: Final = 1400
_CLOCK_RATE: Final = 90_000
_REPORT_SECONDS: Final = 2.0
_NTP_EPOCH: Final = 2_208_988_800  # seconds from 1900 to 1970
_REALM: Final = "camera"


@dataclass(frozen=True, slots=True)
class Account:
    """Who may watch; `digest` asks for Digest authentication, else Basic."""

    username: str
    password: str
    digest: bool = True


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture: NAL units without start codes, and the time from the start of the file at which it is shown, in seconds."""

    nals: tuple[bytes, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file ready to be sent: `codec` is H264 or H265, `duration` seconds."""

    codec: str
    units: tuple[AccessUnit, ...]
    duration: float


def read_clip(path: Path) -> Clip:
    """The pictures of a video file, in the order in which they are decoded and sent."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = {"h264": "H264", "hevc": "H265"}[stream.codec_context.name]
        to_annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb" if codec == "H264" else "hevc_mp4toannexb", stream)
        units = []
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            seconds = packet.pts * float(stream.time_base or 0)
            data = b"".join(bytes(part) for part in to_annex_b.filter(packet))
            nals = tuple(nal.rstrip(b"\0") for nal in data.split(b"\0\0\x01") if nal.rstrip(b"\0"))
            units.append(AccessUnit(nals, seconds))
        rate = float(stream.average_rate or 15)
    return Clip(codec, tuple(units), max(unit.seconds for unit in units) + 1 / rate)


class RtspServer:
    """Serves clips on 127.0.0.1 at `rtsp://127.0.0.1:<port>/<path>`; use as a context manager.

    Every client sees a clip from its start. `loop` shows it again and again; else the server closes the connection at its end.
    `sent` maps each path to the monotonic time at which each picture of the newest client left, so that a benchmark knows the
    truth about delay. `transports` lists by what clients asked to be served; TCP is all there is. leaves: when a picture
    leaves, by the time that is stamped on it, both in seconds from the start: a slow network, or a camera that counts wrongly.
    reports: whether sender reports are sent.
    """

    def __init__(
        self,
        clips: Mapping[str, Clip],
        port: int = 0,
        account: Account | None = None,
        loop: bool = True,
        *,
        leaves: Callable[[float], float] = lambda seconds: seconds,
        reports: bool = True,
    ) -> None:
        self.clips = dict(clips)
        self.account = account
        self.loop = loop
        self.leaves = leaves
        self.reports = reports
        self.sent: dict[str, list[float]] = {}
        self.transports: list[str] = []
        self.stopping = threading.Event()
        self._nonce = secrets.token_hex(8)
        handler = type("_BoundConnection", (_Connection,), {"camera": self})
        self._server = _Listener(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="rtsp-server")

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def url(self, path: str) -> str:
        """The address of a clip, with the account's user name and password if there is one."""
        who = f"{self.account.username}:{self.account.password}@" if self.account else ""
        return f"rtsp://{who}127.0.0.1:{self.port}/{path}"

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authorised(self, method: str, header: str | None) -> bool:
        """Whether a request's Authorization header lets it in."""
        account = self.account
        if account is None:
            return True
        if header is None:
            return False
        if not account.digest:
            expected = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
            return secrets.compare_digest(header, f"Basic {expected}")
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', header))
        secret = _md5(f"{account.username}:{_REALM}:{account.password}")
        request = _md5(f"{method}:{given.get('uri', '')}")
        return secrets.compare_digest(given.get("response", ""), _md5(f"{secret}:{self._nonce}:{request}"))

    def challenge(self) -> str:
        """The WWW-Authenticate header of a refusal."""
        if self.account is not None and self.account.digest:
            return f'Digest realm="{_REALM}", nonce="{self._nonce}"'
        return f'Basic realm="{_REALM}"'


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Connection(socketserver.StreamRequestHandler):
    """One client; its requests are answered on this thread, its pictures sent by another."""

    camera: RtspServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._write_lock = threading.Lock()
        self._playing: threading.Thread | None = None
        self._gone = threading.Event()

    def handle(self) -> None:
        try:
            while request := self._request():
                if not self._answer(*request):
                    return
        except OSError:
            return  # clients close without waiting for an answer
        finally:
            self._gone.set()

    def _request(self) -> tuple[str, str, dict[str, str]] | None:
        line = self.rfile.readline(4096)
        while line[:1] == b"$":  # interleaved RTCP of the client: read over it
            frame = line if len(line) >= 4 else line + self.rfile.read(4 - len(line))
            rest = struct.unpack(">H", frame[2:4])[0] - (len(frame) - 4)
            if rest >= 0:
                self.rfile.read(rest)
                line = self.rfile.readline(4096)
            else:
                line = frame[4 + struct.unpack(">H", frame[2:4])[0] :]
        if not line.strip():
            return None
        method, url, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while header := self.rfile.readline(4096).decode("latin-1").strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        return method, url, headers

    def _answer(self, method: str, url: str, headers: Mapping[str, str]) -> bool:
        sequence = headers.get("cseq", "0")
        path = re.sub(r"^rtsp://[^/]*/?", "", url).split("/track")[0].strip("/")
        clip = self.camera.clips.get(path)
        if method != "OPTIONS" and not self.camera.authorised(method, headers.get("authorization")):
            self._reply(sequence, "401 Unauthorized", {"WWW-Authenticate": self.camera.challenge()})
        elif method == "OPTIONS":
            self._reply(sequence, "200 OK", {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"})
        elif clip is None:
            self._reply(sequence, "404 Not Found", {})
        elif method == "DESCRIBE":
            self._reply(sequence, "200 OK", {"Content-Type": "application/sdp", "Content-Base": f"{url}/"}, _sdp(clip))
        elif method == "SETUP" and "interleaved" not in self._transport(headers):
            self._reply(sequence, "461 Unsupported Transport", {})
        elif method == "SETUP":
            self._reply(sequence, "200 OK", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1;timeout=60"})
        elif method == "PLAY":
            self._reply(sequence, "200 OK", {"Session": "1", "Range": "npt=0-"})
            self._playing = threading.Thread(target=self._play, args=(path, clip), name=f"rtsp-{path}", daemon=True)
            self._playing.start()
        elif method == "TEARDOWN":
            self._reply(sequence, "200 OK", {"Session": "1"})
            return False
        else:
            self._reply(sequence, "200 OK", {"Session": "1"})
        return True

    def _transport(self, headers: Mapping[str, str]) -> str:
        asked = headers.get("transport", "")
        self.camera.transports.append(asked)
        return asked

    def _reply(self, sequence: str, status: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {sequence}", *(f"{name}: {value}" for name, value in headers.items())]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with self._write_lock:
            self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)

    def _play(self, path: str, clip: Clip) -> None:
        source = secrets.randbits(32)
        sequence = itertools.count(secrets.randbits(15))
        base = secrets.randbits(31)
        start, reported, octets = time.monotonic(), float("-inf"), 0
        sent = self.camera.sent[path] = []
        try:
            for seconds, unit in _endless(clip, self.camera.loop):
                wait = start + self.camera.leaves(seconds) - time.monotonic()
                if self._gone.wait(max(wait, 0.0)) or self.camera.stopping.is_set():
                    break
                stamp = (base + round(seconds * _CLOCK_RATE)) & 0xFFFFFFFF
                if self.camera.reports and seconds - reported >= _REPORT_SECONDS:
                    reported = seconds
                    wall = time.time() - (time.monotonic() - start - seconds) + _NTP_EPOCH
                    self._send(1, _sender_report(source, wall, stamp, len(sent), octets))
                for payload, last in _payloads(unit, clip.codec):
                    marker = 0x80 if last else 0
                    header = struct.pack(">BBHII", 0x80, marker | 96, next(sequence) & 0xFFFF, stamp, source)
                    self._send(0, header + payload)
                    octets += len(payload)
                sent.append(time.monotonic())
            # Not for reading as well: with a client's report unread the end would be a reset, which takes the last pictures.
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the client has gone

    def _send(self, channel: int, data: bytes) -> None:
        with self._write_lock:
            self.wfile.write(struct.pack(">cBH", b"$", channel, len(data)) + data)


def _endless(clip: Clip, loop: bool) -> Iterator[tuple[float, AccessUnit]]:
    for turn in itertools.count():
        for unit in clip.units:
            yield turn * clip.duration + unit.seconds, unit
        if not loop:
            return


def _payloads(unit: AccessUnit, codec: str) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of a picture, and whether each is its last: single NAL units, or fragments (FU-A, FU) of large ones."""
    for index, nal in enumerate(unit.nals):
        final = index == len(unit.nals) - 1
        if len(nal) <= _MTU:
            yield nal, final
            continue
        if codec == "H264":
            indicator, kind, body = bytes([nal[0] & 0xE0 | 28]), nal[0] & 0x1F, nal[1:]
        else:
            indicator, kind, body = bytes([nal[0] & 0x81 | 49 << 1, nal[1]]), nal[0] >> 1 & 0x3F, nal[2:]
        pieces = range(0, len(body), _MTU)
        for start in pieces:
            first, last = start == 0, start + _MTU >= len(body)
            flags = (0x80 if first else 0) | (0x40 if last else 0) | kind
            yield indicator + bytes([flags]) + body[start : start + _MTU], final and last


def _sender_report(source: int, ntp: float, stamp: int, packets: int, octets: int) -> bytes:
    whole, part = int(ntp), int((ntp % 1) * 2**32)
    return struct.pack(">BBHIIIIII", 0x80, 200, 6, source, whole, part, stamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)


def _sdp(clip: Clip) -> bytes:
    lines = [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0",
        "m=video 0 RTP/AVP 96", f"a=rtpmap:96 {clip.codec}/{_CLOCK_RATE}", "a=control:track0",
    ]  # fmt: skip
    if clip.codec == "H264":
        lines.insert(-1, "a=fmtp:96 packetization-mode=1")
    return "\r\n".join([*lines, ""]).encode()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def encode(
    path: Path, images: Iterator[Any], fps: int, codec: str = "libx264", bitrate: int = 2_000_000, b_frames: int = 0
) -> None:
    """Write pictures (uint8 (H, W, 3) RGB) as a video file that the server can play, a key frame every 2 s. b_frames: between
    any two others, which are sent before them.
    """
    with av.open(str(path), "w") as container:
        stream: Any = None
        for image in images:
            if stream is None:
                options = {"preset": "veryfast", "bf": str(b_frames), "b_strategy": "0", "g": str(2 * fps)}
                options["x265-params"] = f"log-level=error:bframes={b_frames}:b-adapt=0"
                stream = container.add_stream(codec, rate=fps, options=options)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt, stream.bit_rate = "yuv420p", bitrate
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
