"""A photo's verdict beside the others, as the text that its row in the vault keeps."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from streamd.enrolment.coach import CoachReason, CoachWarning, Likeness, RelationalVerdict


def write(verdict: RelationalVerdict) -> str:
    """The verdict as text; what it begins with tells `is_used` without reading the rest."""
    told = dataclasses.asdict(verdict)
    del told["subject"], told["photo"]
    return ("+" if verdict.accepted else "-") + json.dumps(told, separators=(",", ":"))


def is_used(text: str) -> bool:
    """Whether the verdict lets the photo be used."""
    return text.startswith("+")


def read(text: str, subject: str, photo: str) -> RelationalVerdict:
    """The verdict that `write` wrote. Raises ValueError or KeyError for anything else."""
    told: dict[str, Any] = json.loads(text[1:])
    like = told["looks_like"]
    return RelationalVerdict(
        subject,
        photo,
        tuple(CoachReason(one) for one in told["reasons"]),
        tuple(CoachWarning(one) for one in told["warnings"]),
        told["gain"],
        told["leave_one_out"],
        told["duplicate_of"],
        None if like is None else Likeness(**like),
    )
