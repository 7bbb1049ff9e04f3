"""What may be said of one person beside their photos: `subject.yaml` in their folder, every key optional.

    name: Anna Müller                 # as it is shown; else the folder's name
    max_false_accepts: 0.0001         # stricter or laxer than the configuration, 0..0.1
    cameras: [front]                  # where they are recognised; else everywhere
    valid_from: 2026-12-01            # when: a day (whole, in this machine's zone) or a time with its zone
    valid_until: 2026-12-31
    consent: {by: Anna Müller, date: 2026-11-25, purpose: opening the front door, until: 2027-11-25}

A mistake in it closes the door rather than opening it, and so does an empty file: until it is mended the person is not
recognised. Neither costs them their templates: only a consent that was read without a mistake and has ended does, or that is
left out of a file that is read without one.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from streamd.document import read, shown
from streamd.values import SubjectRules

FILE: Final = "subject.yaml"
"""Its name in the person's folder."""

MAX_BYTES: Final = 64 * 1024
_YEARS: Final = (1970, 9000)

_Text = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


def _as_moment(given: object) -> object:
    """A day or a time as YAML or a person writes it."""
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given) if len(given) > 10 else date.fromisoformat(given)
        except ValueError:
            raise ValueError(f"expected a day such as 2026-12-31 or a time, found {shown(given)}") from None
    if not isinstance(given, date):
        raise ValueError(f"expected a day such as 2026-12-31 or a time, found {shown(given)}")
    if not _YEARS[0] <= given.year <= _YEARS[1]:
        raise ValueError(f"expected a year from {_YEARS[0]} to {_YEARS[1]}, found {given.year}")
    if isinstance(given, datetime) and given.tzinfo is None:
        return given.astimezone()
    return given


_Moment = Annotated[Any, BeforeValidator(_as_moment)]
"""A `date`, or a `datetime` with its zone."""


def is_printable(name: str) -> bool:
    """Whether a name can be written to terminals, logs and messages: no control characters, line breaks, halves of pairs."""
    return all(unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") for letter in name)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Consent(_Section):
    """That the person agreed to be recognised."""

    by: _Text = Field(description="Who agreed: the person, or who may for them.")
    date: _Moment = Field(description="When.")
    purpose: _Text = Field(description="What for, in a few words.")
    until: _Moment | None = Field(default=None, description="The last day that it holds; null: until it is taken back.")

    def holds(self, when: datetime) -> bool:
        """Whether it holds at a time."""
        return _begin(self.date) <= when and not self.has_ended(when)

    def has_ended(self, when: datetime) -> bool:
        """Whether its last day is over at a time."""
        return self.until is not None and when >= _end(self.until)


class SubjectSettings(_Section):
    """The content of a `subject.yaml`."""

    name: _Text | None = Field(default=None, description="The person's name as it is shown.")
    max_false_accepts: float | None = Field(
        default=None, gt=0, le=0.1, description="Share of strangers' visits that may be taken for this person."
    )
    cameras: tuple[str, ...] | None = Field(default=None, min_length=1, description="The cameras that recognise them.")
    valid_from: _Moment | None = Field(default=None, description="From when they are recognised.")
    valid_until: _Moment | None = Field(default=None, description="Until when they are recognised; a day is included.")
    consent: Consent | None = Field(default=None, description="Their consent.")

    @field_validator("name")
    @classmethod
    def _is_printable(cls, name: str | None) -> str | None:
        if name is not None and not is_printable(name):
            raise ValueError(f"expected a name without control characters, found {shown(name)}")
        return name

    @field_validator("cameras")
    @classmethod
    def _are_cameras(cls, names: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        known: Sequence[str] = info.context or ()
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
                raise ValueError(f"there is no camera {shown(name)}; {hint}")
        return names

    @field_validator("valid_until")
    @classmethod
    def _ends_after_it_begins(cls, until: Any, info: ValidationInfo) -> Any:
        since = info.data.get("valid_from")
        if until is not None and since is not None and _end(until) <= _begin(since):
            raise ValueError(f"expected a time after valid_from ({since}), found {until}")
        return until

    @property
    def rules(self) -> SubjectRules | None:
        """What the decision goes by, or None where nothing special holds."""
        rules = SubjectRules(
            self.max_false_accepts,
            None if self.cameras is None else frozenset(self.cameras),
            None if self.valid_from is None else _begin(self.valid_from),
            None if self.valid_until is None else _end(self.valid_until),
        )
        return None if rules == SubjectRules() else rules


def read_settings(content: bytes, file: str, cameras: Sequence[str]) -> SubjectSettings:
    """The settings in a file's content; `file` is how messages call it, `cameras` are those of the configuration.

    Raises ConfigError with every mistake at once, each with file, line and key.
    """
    return read(content, file, SubjectSettings, tuple(cameras))


def _begin(moment: date) -> datetime:
    """The beginning of a day in this machine's zone, or the time itself."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time()).astimezone()


def _end(moment: date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment + timedelta(days=1), time()).astimezone()
