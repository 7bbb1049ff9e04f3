"""The configuration: one frozen model per section, read from YAML and checked whole, with every problem told at once.

`config/streamd.yaml` is the manual: every key with its unit, range, default and reason. Passwords live in `SecretStr`; an
address in a model holds none, since a login in it is moved to `username` and `password` when it is read.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from streamd.credentials import join_login, password_from_credential, password_from_file, redact, split_login
from streamd.document import read, shown
from streamd.errors import ConfigError

DEFAULT_PATH: Final = Path("/etc/streamd/streamd.yaml")
"""Where the configuration is looked for when neither --config nor STREAMD_CONFIG names it."""

_CAMERA_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_LOGIN_KEYS: Final = ("username", "password_file", "password_credential", "password")
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DEVICE: Final = re.compile(r"/dev/video\d+|/dev/v4l/by-(?:id|path)/[^/]+")
_PROTOCOL: Final = re.compile(r"[^/\\]*:")  # FFmpeg takes any text before a colon for a protocol: concat:, subfile,,start,0:


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a file is read in: the folder that its paths are relative to, the environment, and the file itself."""

    folder: Path = Path()
    environ: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None


def slug(text: str) -> str:
    """`text` as a name that topics and folders can hold (a-z, 0-9, `_`, `-`, at most 63); empty if nothing is left of it."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]


def _surroundings(info: ValidationInfo) -> _Surroundings:
    return info.context if isinstance(info.context, _Surroundings) else _Surroundings()


def _refuse_home(path: str) -> None:
    """A daemon has no home folder, and a folder called `~` is not what is meant; the path itself may be a misplaced secret."""
    if path.startswith("~"):
        raise ValueError("expected a path without '~', which is a home folder to a shell only; write the whole path")


def _as_path(given: object, info: ValidationInfo) -> object:
    if isinstance(given, str) and given:
        _refuse_home(given)
        given = Path(given)
    return _surroundings(info).folder / given if isinstance(given, Path) else given


def _as_slug(name: str) -> str:
    if not _SLUG.fullmatch(name):
        near = slug(name) if "@" not in name else ""  # what is left of an address would still hold its password
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"expected a name of small letters, digits, '-' and '_' (at most 63), found {redact(name)!r}{hint}")
    return name


def _as_topic(topic: str) -> str:
    if topic and (re.search(r"[+#\s\x00]|//", topic) or topic.startswith(("/", "$")) or topic.endswith("/")):
        raise ValueError(
            f"expected a topic without '+', '#', spaces and empty levels that does not begin with '$', found {topic!r}"
        )
    return topic


def _as_ip_address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError(f"expected an IP address such as 127.0.0.1 or ::1, found {redact(address)!r}") from None


def _as_region(given: object) -> object:
    numbers = [float(n) for n in given if type(n) in (int, float)] if isinstance(given, list | tuple) else []
    if isinstance(given, list | tuple) and len(numbers) == len(given) == 4:
        x0, y0, x1, y1 = numbers
        if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1:
            return x0, y0, x1, y1
    raise ValueError("expected [x0, y0, x1, y1], fractions of width and height with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1")


def _as_batch_sizes(given: object) -> object:
    if given is None:
        return None
    sizes = tuple(given) if isinstance(given, list | tuple) else ()
    right = sizes and all(type(size) is int and 1 <= size <= 256 for size in sizes)
    if not right or any(size >= following for size, following in itertools.pairwise(sizes)):
        raise ValueError("expected a rising list of whole numbers from 1 to 256, such as [1, 2, 4, 8], or null")
    return sizes


_Number = TypeVar("_Number", int, float)
_Path = Annotated[Path, BeforeValidator(_as_path)]
_Slug = Annotated[str, AfterValidator(_as_slug)]
_Topic = Annotated[str, AfterValidator(_as_topic)]
_IpAddress = Annotated[str, AfterValidator(_as_ip_address)]
_Region = Annotated[tuple[float, float, float, float], BeforeValidator(_as_region)]
_BatchSizes = Annotated[tuple[int, ...] | None, BeforeValidator(_as_batch_sizes)]


class _Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no guessing of types, and no secret in any text made of them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a rule between two keys also holds where one of them is left out
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, given: object) -> object:
        return {} if given is None else given  # a heading whose keys are all commented out

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact(value) if isinstance(value, str) else value


class _Login(_Section):
    """Who streamd says that it is; `password` is the password itself, from whichever source it came."""

    username: str | None = Field(default=None, description="The user's name; null: none, or the one in the address.")
    password_file: _Path | None = Field(default=None, description="A file that holds the password in one line; null: none.")
    password_credential: str | None = Field(
        default=None, description="The systemd credential that holds the password; null: none."
    )
    password: SecretStr | None = Field(default=None, description="The password itself, if it must stand here; null: none.")

    @field_validator("password_file")
    @classmethod
    def _file_is_readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            password_from_file(path)
        return path

    @field_validator("password_credential")
    @classmethod
    def _credential_is_there(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None:
            password_from_credential(name, _surroundings(info).environ)
        return name

    @field_validator("password")
    @classmethod
    def _one_password(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Runs after the other keys of the login: takes the password from the one source that is given."""
        file, credential = info.data.get("password_file"), info.data.get("password_credential")
        if sum(source is not None for source in (password, file, credential)) > 1:
            raise ValueError("given more than once; keep one of password, password_file and password_credential")
        if file is not None:
            password = SecretStr(password_from_file(file))
        elif credential is not None:
            password = SecretStr(password_from_credential(credential, _surroundings(info).environ))
        if password is not None and "username" in info.data and not info.data["username"]:
            raise ValueError("a password needs a username beside it")
        return password

    @property
    def password_is_inline(self) -> bool:
        """Whether the password stands in the configuration file itself."""
        return self.password is not None and self.password_file is None and self.password_credential is None


def _move_login(given: object, key: str) -> object:
    """A section with the login of its address under the keys of `_Login`; left as it is if those are given as well."""
    if isinstance(given, str):
        given = {key: given}
    if given is not None and not isinstance(given, Mapping | BaseModel):
        raise ValueError(f"expected an address or a section of keys and values, found {shown(given)}")
    if not isinstance(given, Mapping) or any(given.get(name) is not None for name in _LOGIN_KEYS):
        return given
    address = given.get(key)
    bare, user, password = split_login(address) if isinstance(address, str) else ("", None, None)
    if user is None:
        return given
    return {**given, key: bare, "username": user, "password": None if password is None else SecretStr(password)}


def _check_address(address: str, expected: str) -> None:
    if split_login(address)[1] is not None:
        raise ValueError("the address holds a login and there are username or password keys beside it; keep one of the two")
    if re.search(r"[\s\x00-\x1f]", address):
        raise ValueError(f"expected {expected} without spaces; write a space as %20")
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    port = re.match(r"[^/?#]*//[^/?#]*:([^/?#:\]]*)(?:[/?#]|$)", address)
    if not complete and "@" not in address and port is not None and not _is_port(port[1]):
        raise ValueError(f"expected {expected} with a port from 1 to 65535, found {redact(address)!r}")
    if not complete:
        raise ValueError(
            f"expected {expected}, found {redact(address)!r}; "
            "in a password write / as %2F, ? as %3F, # as %23 and @ as %40, or use password_file"
        )


def _readable(path: Path | None) -> Path | None:
    if path is not None and not (os.access(path, os.R_OK) and path.is_file()):
        raise ValueError(f"expected a file that can be read, found {str(path)!r}, which is missing or not readable")
    return path


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535


class CameraSettings(_Login):
    """One camera: where it is, what part of its picture counts, and how long to wait for it."""

    source: str = Field(description="Where pictures come from: an address, a device, a video file or a folder of images.")
    enabled: bool = Field(default=True, description="Whether the camera is used at all.")
    ca_file: _Path | None = Field(
        default=None,
        description="The authority that signed the certificate of an https:// or rtsps:// camera; null: unchecked.",
    )
    rotation: Literal[0, 90, 180, 270] = Field(default=0, description="Degrees by which the picture is turned clockwise.")
    region: _Region | None = Field(
        default=None, description="The part of the turned picture that counts, [x0, y0, x1, y1] in fractions; null: all."
    )
    max_fps: float = Field(default=15.0, gt=0, le=120, description="Frames per second that are looked at, at most.")
    open_timeout_seconds: float = Field(default=5.0, ge=0.1, le=60, description="How long opening the camera may take.")
    read_timeout_seconds: float = Field(
        default=3.0, ge=0.1, le=60, description="Silence after which the camera counts as gone."
    )
    reconnect_min_seconds: float = Field(
        default=1.0, ge=0.1, le=60, description="The first wait before the camera is opened again."
    )
    reconnect_max_seconds: float = Field(default=5.0, ge=0.1, le=600, description="The longest wait before it is opened again.")
    frozen_after_seconds: float = Field(
        default=10.0, ge=1, le=3600, description="Identical pictures for so long are a frozen camera."
    )
    loop: bool = Field(default=False, description="Whether a file or folder begins again at its end.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: object) -> object:
        return _move_login(given, "source")

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str, info: ValidationInfo) -> str:
        """Refuses every other protocol of FFmpeg (file:, concat:, ...) and what a command would take for an option."""
        scheme, mark, rest = source.partition("://")
        if mark and scheme.lower() in _CAMERA_SCHEMES:
            _check_address(source, f"{scheme.lower()}://host[:port]/path")
            return f"{scheme.lower()}://{rest}"
        if not source or source.startswith("-") or _PROTOCOL.match(source) or re.search(r"[\x00-\x1f]", source):
            raise ValueError(
                "expected rtsp://, rtsps://, http:// or https://, /dev/video0, /dev/v4l/by-id/..., a video file or a folder of "
                f"images, found {shown(source)}"
            )
        if "@" in source.partition("/")[0] and not _surroundings(info).folder.joinpath(source).exists():
            raise ValueError(f"expected an address with its scheme, found {shown(source)}; did you mean 'rtsp://...'?")
        if source.startswith("/dev/") and not _DEVICE.fullmatch(source):
            raise ValueError(f"expected /dev/video0, /dev/v4l/by-id/... or /dev/v4l/by-path/..., found {shown(source)}")
        if info.data.get("username") is not None:
            raise ValueError("a device, a file or a folder takes no username; remove it")
        _refuse_home(source)
        return str(_surroundings(info).folder / source)

    @field_validator("ca_file")
    @classmethod
    def _for_tls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and not str(info.data.get("source", "https:")).startswith(("https:", "rtsps:")):
            raise ValueError("is for encrypted connections; expected source to begin with https:// or rtsps://")
        return _readable(path)

    @field_validator("reconnect_max_seconds")
    @classmethod
    def _max_wait(cls, longest: float, info: ValidationInfo) -> float:
        return _at_least(longest, "reconnect_min_seconds", info)

    @field_validator("loop")
    @classmethod
    def _loop_of_files(cls, loop: bool, info: ValidationInfo) -> bool:
        source = info.data.get("source")
        if loop and source is not None and not _is_file(source):
            raise ValueError("only a video file or a folder of images can begin again; expected false")
        return loop

    @field_serializer("source")
    def _redacted_source(self, source: str) -> str:
        return redact(source)  # a password may stand in its path

    @property
    def is_file(self) -> bool:
        """Whether the source is a video file or a folder of images."""
        return _is_file(self.source)

    def url(self) -> SecretStr:
        """What to open: the address with its login percent-encoded in it, or the path of the device, file or folder."""
        if self.username is None:
            return SecretStr(self.source)
        password = self.password.get_secret_value() if self.password is not None else None
        return SecretStr(join_login(self.source, self.username, password))


class MotionSettings(_Section):
    """The motion gate: nothing costly runs while nothing moves."""

    enabled: bool = Field(default=True, description="Whether detection waits for motion.")
    threshold: float = Field(default=6.0, gt=0, le=255, description="Grey levels (0..255) by which a spot must change.")
    min_area: float = Field(default=0.002, gt=0, le=1, description="Fraction of the picture that must change.")
    hold_seconds: float = Field(default=2.0, ge=0, le=60, description="How long one motion keeps the gate open.")


class DetectionSettings(_Section):
    """Finding faces in a frame."""

    min_score: float = Field(default=0.5, gt=0, lt=1, description="Score from which a detection counts as a face.")
    max_faces: int = Field(default=8, ge=1, le=64, description="Faces of one frame that are followed, the largest first.")
    tiles: Literal[1, 3] = Field(default=1, description="1 looks at the whole frame, 3 at three overlapping squares.")
    workers: int | None = Field(
        default=None, ge=1, le=64, description="Detection threads; null: one per two cameras, at most the cores."
    )


class QualitySettings(_Section):
    """The bounds outside of which a face takes no part in a comparison."""

    min_eye_distance_pixels: float = Field(default=18.0, ge=4, le=500, description="Pixels between the eyes, at least.")
    max_yaw_degrees: float = Field(default=45.0, ge=0, le=90, description="Degrees that a face may be turned to a side.")
    max_pitch_degrees: float = Field(default=35.0, ge=0, le=90, description="Degrees that a face may look up or down.")
    max_roll_degrees: float = Field(default=45.0, ge=0, le=90, description="Degrees that a head may lean to a shoulder.")
    min_sharpness: float = Field(default=0.07, ge=0, le=10, description="Share of fine detail, at least.")
    min_brightness: float = Field(default=40.0, ge=0, le=255, description="Mean grey level (0..255), at least.")
    max_brightness: float = Field(default=220.0, ge=0, le=255, description="Mean grey level (0..255), at most.")
    min_contrast: float = Field(default=15.0, ge=0, le=127, description="Standard deviation of grey levels (0..127), at least.")

    @field_validator("max_brightness")
    @classmethod
    def _some_brightness_is_right(cls, brightest: float, info: ValidationInfo) -> float:
        return _at_least(brightest, "min_brightness", info)


Profile = Literal["pair", "fast"]


class ModelSettings(_Section):
    """The network that makes templates, and how it is run."""

    profile: Profile = Field(
        default="pair", description="The shipped model: pair knows people best, fast is for small boards and many cameras."
    )
    card: _Path | None = Field(default=None, description="The card of a model of one's own; null: the profile's.")
    backend: Literal["auto", "litert", "tensorflow"] = Field(default="auto", description="What runs the model.")
    threads: int = Field(default=1, ge=1, le=64, description="Threads of one LiteRT inference.")
    batch_sizes: _BatchSizes = Field(
        default=None, description="The batch sizes that are used, rising; null: as suits the backend."
    )
    max_wait_milliseconds: float = Field(
        default=4.0, ge=0, le=1000, description="How long a crop waits for others to share a batch."
    )


class GallerySettings(_Section):
    """The folder of photos of the people to be recognised."""

    folder: _Path | None = Field(default=None, description="The enrolment folder; null: `gallery` in the state folder.")
    poll_seconds: float | None = Field(
        default=None, ge=0.1, le=3600, description="How often the folder is looked through; null: on file-system events."
    )
    settle_milliseconds: float = Field(
        default=200.0, ge=0, le=60000, description="How long a photo must be left alone before it is read."
    )
    sidecars: bool = Field(default=True, description="Whether the verdict on each photo is written beside it.")
    keep_photos: bool = Field(default=True, description="Whether photos stay once they are enrolled.")
    key_file: _Path | None = Field(
        default=None, description="The key that templates are sealed with; null: a credential of systemd, or a file of our own."
    )


class PrivacySettings(_Section):
    """What is kept of people, and for how long."""

    require_consent: bool = Field(default=False, description="Whether nobody is recognised without consent in subject.yaml.")
    keep_unknown_days: float = Field(
        default=0.0, ge=0, le=365, description="How long the faces of unknown visitors are kept; 0: not at all."
    )


class DecisionSettings(_Section):
    """The rule that decides about a visit."""

    max_false_accepts: float = Field(
        default=0.001, gt=0, le=0.1, description="Visits of strangers that may be wrongly identified."
    )
    margin: float = Field(default=3.0, ge=0, le=100, description="Lead over the second subject, in nats (e^3 is 20 to 1).")
    min_good_frames: int = Field(default=3, ge=1, le=100, description="Good crops that an identification needs.")
    unknown_after_good_frames: int = Field(
        default=8, ge=1, le=1000, description="Good crops without a match that make a stranger."
    )
    cooldown_seconds: float = Field(
        default=10.0, ge=0, le=86400, description="How long after a visit its subject is not announced again."
    )
    rejoin_seconds: float = Field(default=5.0, ge=0, le=3600, description="Absence after which a return is a visit of its own.")
    max_crops_per_second: float = Field(
        default=8.0, gt=0, le=60, description="Crops of one track that are compared per second, at most."
    )
    left_after_seconds: float = Field(
        default=2.0, ge=0.1, le=60, description="Time out of sight after which a person has left."
    )

    @field_validator("unknown_after_good_frames")
    @classmethod
    def _strangers_take_as_long(cls, frames: int, info: ValidationInfo) -> int:
        return _at_least(frames, "min_good_frames", info)


class MqttSettings(_Login):
    """The broker, and what is said to it."""

    url: str = Field(description="The broker: mqtt://host[:port], or mqtts://host[:port] with TLS.")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="The version of MQTT.")
    ca_file: _Path | None = Field(
        default=None, description="The authority that signed the broker's certificate; null: the system's."
    )
    client_certificate: _Path | None = Field(default=None, description="The certificate that streamd shows; null: none.")
    client_key: _Path | None = Field(default=None, description="The key of that certificate; null: none.")
    client_id: str = Field(default="", max_length=128, description="The name at the broker; empty: streamd-<node>.")
    base_topic: _Topic = Field(default="", max_length=200, description="What every topic begins with; empty: streamd/<node>.")
    keepalive_seconds: int = Field(
        default=10, ge=2, le=3600, description="Silence after which both sides ask for a sign of life."
    )
    reconnect_min_seconds: float = Field(default=0.5, ge=0.1, le=60, description="The first wait before connecting again.")
    reconnect_max_seconds: float = Field(default=4.0, ge=0.1, le=600, description="The longest wait before connecting again.")
    max_age_seconds: float = Field(default=2.0, gt=0, le=10, description="Age of a decision from which it is no longer sent.")
    commands: bool = Field(default=True, description="Whether commands are obeyed.")
    last_seen: bool = Field(default=True, description="Whether it is published when and where each subject was last seen.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: object) -> object:
        return _move_login(given, "url")

    @field_validator("url")
    @classmethod
    def _broker_address(cls, url: str) -> str:
        scheme, mark, rest = url.partition("://")
        expected = "mqtt://host[:port] or mqtts://host[:port]"
        if not mark or scheme.lower() not in ("mqtt", "mqtts"):
            raise ValueError(f"expected {expected}, found {shown(url)}")
        _check_address(url, expected)
        if re.search(r"[/?#]", rest.rstrip("/")):
            raise ValueError(f"expected {expected} and nothing after it; topics are set by base_topic")
        return f"{scheme.lower()}://{rest.rstrip('/')}"

    @field_validator("protocol", mode="before")
    @classmethod
    def _number_of_version(cls, protocol: object) -> object:
        return "5" if type(protocol) in (int, float) and protocol == 5 else protocol  # YAML reads 5 as a number

    @field_validator("ca_file", "client_certificate", "client_key")
    @classmethod
    def _for_tls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None:
            return None
        if str(info.data.get("url", "mqtts:")).startswith("mqtt:"):
            raise ValueError("is for encrypted connections; expected url to begin with mqtts://")
        return _readable(path)

    @field_validator("client_key")
    @classmethod
    def _key_with_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "client_certificate" in info.data and (key is None) != (info.data["client_certificate"] is None):
            raise ValueError("client_certificate and client_key belong together; give both or neither")
        return key

    @field_validator("reconnect_max_seconds")
    @classmethod
    def _max_wait(cls, longest: float, info: ValidationInfo) -> float:
        return _at_least(longest, "reconnect_min_seconds", info)

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's TCP port: the one of the URL, else 1883, with TLS 8883."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts:")


class HomeAssistantSettings(_Section):
    """What Home Assistant is told, so that doors and people appear there by themselves."""

    enabled: bool = Field(default=True, description="Whether entities are announced.")
    discovery_prefix: _Topic = Field(
        default="homeassistant", min_length=1, description="The topic under which Home Assistant listens."
    )


class MetricsSettings(_Section):
    """Prometheus metrics over HTTP."""

    port: int | None = Field(default=None, ge=1, le=65535, description="The TCP port; null: no metrics.")
    address: _IpAddress = Field(default="127.0.0.1", description="The address that is listened on.")


class DebugSettings(_Section):
    """What helps to see what streamd sees."""

    pictures: _Path | None = Field(default=None, description="A folder for annotated pictures of visits; null: none are kept.")
    max_pictures: int = Field(default=200, ge=1, le=100000, description="Pictures that are kept, the newest.")


class LogSettings(_Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level that is written.")


class Config(_Section):
    """The whole configuration; `load` makes it from a file."""

    node: str = Field(default="", description="The name of this door controller in topics; empty: the host's name.")
    state: _Path = Field(default=Path("/var/lib/streamd"), description="The folder of everything that streamd keeps.")
    cameras: Mapping[_Slug, CameraSettings] = Field(
        min_length=1, description="The cameras by name, each an address or a section."
    )
    motion: MotionSettings = Field(default_factory=MotionSettings, description="The motion gate.")
    detection: DetectionSettings = Field(default_factory=DetectionSettings, description="Finding faces.")
    quality: QualitySettings = Field(default_factory=QualitySettings, description="Which faces are compared.")
    model: ModelSettings = Field(default_factory=ModelSettings, description="The network that makes templates.")
    gallery: GallerySettings = Field(default_factory=GallerySettings, description="The photos of the people to recognise.")
    privacy: PrivacySettings = Field(default_factory=PrivacySettings, description="What is kept of people.")
    decision: DecisionSettings = Field(default_factory=DecisionSettings, description="The rule that decides about a visit.")
    mqtt: MqttSettings = Field(description="The broker, an address or a section.")
    home_assistant: HomeAssistantSettings = Field(
        default_factory=HomeAssistantSettings, description="What Home Assistant is told."
    )
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="Prometheus metrics.")
    debug: DebugSettings = Field(default_factory=DebugSettings, description="Seeing what streamd sees.")
    log: LogSettings = Field(default_factory=LogSettings, description="What is logged.")

    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _state_of_systemd(cls, given: object, info: ValidationInfo) -> object:
        folder = _surroundings(info).environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return {"state": folder, **given} if folder and isinstance(given, Mapping) else given

    @field_validator("node")
    @classmethod
    def _named_after_the_host(cls, node: str) -> str:
        return _as_slug(node) if node else slug(socket.gethostname().partition(".")[0]) or "door"

    @field_validator("mqtt")
    @classmethod
    def _named_after_the_node(cls, mqtt: MqttSettings, info: ValidationInfo) -> MqttSettings:
        node = info.data.get("node", "door")
        names = {"client_id": mqtt.client_id or f"streamd-{node}", "base_topic": mqtt.base_topic or f"streamd/{node}"}
        return mqtt.model_copy(update=names)

    def model_post_init(self, context: object, /) -> None:
        """Remembers which file it was read from, for `warnings`."""
        self._file = context.file if isinstance(context, _Surroundings) else None

    @property
    def gallery_folder(self) -> Path:
        """The enrolment folder."""
        return self.gallery.folder or self.state / "gallery"

    def warnings(self) -> list[str]:
        """What is allowed but not wise: sentences of what was seen and, after a semicolon, what to do.

        Looks at the modes of the files that hold secrets.
        """
        sections: dict[str, _Login] = {f"cameras.{name}": camera for name, camera in self.cameras.items()}
        sections["mqtt"] = self.mqtt
        found = []
        if self._file is not None and _read_by_all(self._file) and any(s.password_is_inline for s in sections.values()):
            found.append(
                f"{self._file} holds a password and every user of this machine can read it; chmod o-r it, or use password_file"
            )
        secrets = [(f"{key}.password_file", section.password_file) for key, section in sections.items()]
        for key, path in (*secrets, ("mqtt.client_key", self.mqtt.client_key)):
            if path is not None and _read_by_all(path):
                found.append(f"{key}: every user of this machine can read {path}; chmod o-r it")
        if not self.mqtt.tls and not _is_loopback(self.mqtt.host):
            found.append(
                f"mqtt.url: {self.mqtt.url} is not encrypted, so others in the network can read who comes and forge decisions; "
                "use mqtts:// if the broker has a certificate"
            )
        if self.metrics.port is not None and not _is_loopback(self.metrics.address):
            found.append(
                f"metrics.address: every machine that reaches {self.metrics.address} can read the metrics; set it to 127.0.0.1"
            )
        if not any(camera.enabled for camera in self.cameras.values()):
            found.append("cameras: none is enabled, so nobody is recognised; set enabled: true for one of them")
        return found


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: `path` (from --config), else $STREAMD_CONFIG, else /etc/streamd/streamd.yaml.

    Raises ConfigError when there is none, saying where it was looked for.
    """
    named = environ.get("STREAMD_CONFIG")
    if path is not None:
        chosen, why = path, "named by --config"
    elif named:
        chosen, why = Path(named), "named by STREAMD_CONFIG"
    else:
        chosen, why = DEFAULT_PATH, "looked for because neither --config nor STREAMD_CONFIG names another"
    try:
        chosen.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError([f"{chosen}: no such file ({why}); copy config/streamd.yaml of the sources there"]) from None
    except OSError:
        pass  # it is there; `load` says why it cannot be read
    return chosen


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in the YAML file `path`, whole and checked; paths in it are relative to its folder.

    environ: where $STATE_DIRECTORY and $CREDENTIALS_DIRECTORY are looked up, the process's own by default. Raises ConfigError
    with every problem of the file at once, in the order of its lines, none of which shows a secret.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {(error.strerror or 'input/output error').lower()}"]) from None
    surroundings = _Surroundings(path.absolute().parent, os.environ if environ is None else environ, path)
    return read(content, str(path), Config, surroundings)


def _at_least(value: _Number, other: str, info: ValidationInfo) -> _Number:
    least = info.data.get(other)
    if least is not None and value < least:
        raise ValueError(f"expected at least {other} ({least:g}), is {value:g}")
    return value


def _is_file(source: str) -> bool:
    return "://" not in source and not source.startswith("/dev/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _read_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # gone since it was read
