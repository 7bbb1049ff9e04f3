"""What the coach says, in plain words: advice, the sidecar beside a photo, the lines of a subject. Pure: no file is written.

The sidecar of `anna/door.jpg` is `anna/door.jpg.verdict.json`: it sorts right after its photo wherever files are listed, so
that whoever dropped the photo sees it without a command; photo viewers go by the last suffix and pass it over, as the enrolment
folder does; and one pattern, `*.verdict.json`, finds or deletes them all. A hidden file would be told to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from streamd.enrolment.coach import CoachReason, CoachWarning, Confusable, RelationalVerdict
from streamd.enrolment.coverage import Coverage, next_photo
from streamd.plural import counted

SIDECAR_SUFFIX: Final = ".verdict.json"

Name = Callable[[str], str]
"""A subject's display name."""

COVERED: Final = "covered"
"""The code of a photo that `attributes.judge` calls covered."""

ADVICE: Final[dict[str, str]] = {
    COVERED: "part of the face is covered; use a photo without mask, scarf, dark glasses, or a hand before it",
    CoachReason.DUPLICATE: "this repeats {repeated} and adds nothing; delete it, or use a photo of another day",
    CoachReason.LOOKS_LIKE: "this looks more like {other} than like {own} (evidence {evidence:.1f} against {against:.1f}); "
    "move it to {other}'s folder or delete it",
    CoachWarning.ODD_ONE: "this is unlike the other photos of {own} and like nobody else's (evidence {best:.1f}); "
    "see that it shows {own}, and add another photo like it if it does",
}
"""One sentence for each code of the coach; `advice` fills in what was seen."""

_SAME_PERSON: Final = (
    "this looks like {other} (evidence {evidence:.1f}), and {own} has no other photo in use to tell them apart; if both are "
    "one person, put the photos into one folder; if they are relatives, add photos of {own} in which they are not alike"
)
_AS_LIKE: Final = (
    "this looks as much like {other} as like {own} (evidence {evidence:.1f} against {against:.1f}); if both are one person, "
    "put the photos into one folder; otherwise use a photo that shows the difference"
)


def advice(verdict: RelationalVerdict, name: Name) -> str:
    """What was seen and what to do, one sentence; empty for a photo that is used and not odd."""
    own = name(verdict.subject)
    if verdict.looks_like is not None:
        like = verdict.looks_like
        other = name(like.subject)
        if like.own is None:
            return _SAME_PERSON.format(other=other, own=own, evidence=like.evidence)
        text = ADVICE[CoachReason.LOOKS_LIKE] if like.misplaced else _AS_LIKE
        return text.format(other=other, own=own, evidence=like.evidence, against=like.own)
    if verdict.duplicate_of is not None:
        return ADVICE[CoachReason.DUPLICATE].format(repeated=verdict.duplicate_of)
    if CoachWarning.ODD_ONE in verdict.warnings:
        return ADVICE[CoachWarning.ODD_ONE].format(own=own, best=verdict.leave_one_out)
    return ""


def worth(gain: float) -> str:
    """A gain (0..1) in words."""
    steps = ((0.75, "it adds much"), (0.4, "it adds something"), (0.1, "it adds a little"))
    return next((words for least, words in steps if gain >= least), "it adds next to nothing")


def sidecar_name(photo: str) -> str:
    """The name of a photo's sidecar, beside it."""
    return photo + SIDECAR_SUFFIX


def sidecar(verdict: RelationalVerdict | None, reasons: Sequence[str], advised: str, name: Name) -> str:
    """The sidecar's text: JSON, the plain sentence first.

    verdict: None for a photo that is refused by itself, with its `reasons` and what is `advised`; both empty otherwise.
    """
    if verdict is None:
        told: dict[str, object] = {"verdict": f"Not used: {advised}.", "used": False, "reasons": list(reasons)}
        return json.dumps(told, ensure_ascii=False, indent=1) + "\n"
    text = advice(verdict, name)
    used = f"Used: {worth(verdict.gain)}." + (f" But {text}." if text else "")
    sentence = used if verdict.accepted else f"Not used: {text}."
    told = {
        "verdict": sentence,
        "used": verdict.accepted,
        "reasons": [*verdict.reasons],
        "warnings": [*verdict.warnings],
        "gain": round(verdict.gain, 2),
        "evidence_of_own_photos": _rounded(verdict.leave_one_out),
    }
    if verdict.looks_like is not None:
        told["looks_like"] = verdict.looks_like.subject
        told["evidence_of_other"] = _rounded(verdict.looks_like.evidence)
    if verdict.duplicate_of is not None:
        told["duplicate_of"] = verdict.duplicate_of
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def is_sidecar(text: bytes) -> bool:
    """Whether a file's content is what `sidecar` writes, and not a file of somebody's own under such a name."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(told, dict) or not isinstance(told.get("reasons"), list) or not isinstance(told.get("used"), bool):
        return False
    return str(told.get("verdict")).startswith("Used: " if told["used"] else "Not used: ")


def subject_lines(subject: str, found: Coverage, name: Name) -> list[str]:
    """A subject's coverage map, a few lines of text for a terminal."""
    rows = (("turn", found.turns.items()), ("light", found.lights.items()), ("glasses", found.glasses.items()))
    lines = [f"{name(subject)}: {counted(found.photos, 'photo')} in use"]
    lines += [f"  {what:8}" + "  ".join(f"{one} {count or '-'}" for one, count in counts) for what, counts in rows]
    return [*lines, f"  {next_photo(found)}"]


def confusable_sentence(found: Confusable, name: Name) -> str:
    """What to know of two subjects that are easily confused."""
    first, second = (name(subject) for subject in found.subjects)
    how = "can be taken for each other" if found.could_be_taken_for else "are nearly as alike as one person"
    return (
        f"{first} and {second} {how} (evidence {found.evidence:.1f}, {found.bound:.1f} identifies; {found.photos[0]} and "
        f"{found.photos[1]}): add photos of both, or let something else decide between them."
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
