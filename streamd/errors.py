"""Errors that a person can mend, each with one clear sentence: what was seen, what was expected, what to do.

    StreamdError
    ├── ConfigError         the configuration is wrong                       exit 78
    └── UnavailableError    something is missing that cannot be waited for   exit 69
        ├── ModelError      the model file or its card
        ├── GalleryError    the enrolment folder or the state folder
        ├── CameraError     a camera, with the kind of its failure
        └── BrokerError     the MQTT broker

While the daemon runs, a `CameraError` or `BrokerError` is counted, published and retried; only at start, in `streamd check`
and in the demonstration does one end the program. The statuses are those of sysexits.h.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69


class StreamdError(Exception):
    """A mistake or a lack that a person can mend; `str(error)` is the sentence to show."""

    exit_status: ClassVar[int] = 1


class ConfigError(StreamdError):
    """The configuration is wrong; `problems` holds one sentence each, with file, line and key."""

    exit_status = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UnavailableError(StreamdError):
    """Something that the start needs is not there."""

    exit_status = EXIT_UNAVAILABLE


class ModelError(UnavailableError):
    """The model file, its card, or a network of the vision stage cannot be used."""


class GalleryError(UnavailableError):
    """The enrolment folder or the state folder cannot be used."""


class CameraFailure(StrEnum):
    """Why a camera gives no picture, told apart so that each has its own mend."""

    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    NO_VIDEO = "no_video"
    END_OF_STREAM = "end_of_stream"
    BUSY = "busy"
    FROZEN = "frozen"
    LATE = "late"
    FAULT = "fault"


class CameraError(UnavailableError):
    """A camera gives no picture; `failure` says of which kind, the sentence never holds a password."""

    def __init__(self, failure: CameraFailure, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = failure


class BrokerError(UnavailableError):
    """The MQTT broker cannot be used."""
