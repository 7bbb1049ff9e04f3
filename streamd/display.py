"""What a person sees on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamd.check import Finding, State
from streamd.desk import Dropped
from streamd.enrolment.folder import Overview, PhotoEvent
from streamd.enrolment.words import subject_lines, worth

_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
_UNCUT: Final = 10_000  # columns
_MARKS: Final = {State.OK: "works", State.WARNING: "look", State.FAILED: "broken"}


def findings_table(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings of `streamd check` as a table, and how many are broken."""
    console = console or Console()
    if not console.is_terminal:
        console.width = _UNCUT  # who reads a file or a pipe searches it: an address must stand in one line
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "part", "what was seen", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = f"[{_COLOURS[finding.state]}]{_MARKS[finding.state]}[/]"
        table.add_row(mark, escape(finding.part), escape(finding.seen), escape(finding.mend))
    console.print(table)
    broken = sum(finding.state is State.FAILED for finding in findings)
    warnings = sum(finding.state is State.WARNING for finding in findings)
    verdict = f"{broken} broken." if broken else "Everything works."
    console.print(verdict + (f" {warnings} to look at." if warnings else ""), style="bold")


def gallery_lines(overviews: Sequence[Overview], confusable: Sequence[str]) -> Iterator[str]:
    """`streamd gallery`: each person with coverage, what to photograph next, and every photo that is not used."""
    if not overviews:
        yield "Nobody is enrolled yet: drop photos into a folder of the person's name."
    for one in overviews:
        yield from subject_lines(one.subject, one.coverage, lambda _who, name=one.name: name)  # type: ignore[misc]
        if one.mistake:
            yield f"  not recognised until mended: {one.mistake}"
        for photo in one.photos:
            if not photo.accepted or photo.advice:
                yield f"  {_photo_line(photo)}"
    for sentence in confusable:
        yield f"! {sentence}"


def gallery_json(overviews: Sequence[Overview], confusable: Sequence[str]) -> dict[str, Any]:
    """The same for scripts."""
    subjects = [
        {
            "subject": one.subject,
            "name": one.name,
            "mistake": one.mistake or None,
            "coverage": {
                "turn": dict(one.coverage.turns), "light": dict(one.coverage.lights), "glasses": dict(one.coverage.glasses),
            },
            "next_photo": one.next_photo,
            "photos": [_photo_json(photo) for photo in one.photos],
        }
        for one in overviews
    ]  # fmt: skip
    return {"subjects": subjects, "confusable": list(confusable)}


def dropped_lines(dropped: Sequence[Dropped]) -> Iterator[str]:
    """`streamd enrol`: what each photo is worth."""
    for one in dropped:
        if one.event is None:
            yield f"{one.photo}: not judged yet; `streamd gallery` tells later"
        else:
            yield _photo_line(one.event)


def dropped_json(dropped: Sequence[Dropped]) -> list[dict[str, Any]]:
    """The same for scripts."""
    return [{"photo": one.photo, "judged": False} if one.event is None else _photo_json(one.event) for one in dropped]


def _photo_line(photo: PhotoEvent) -> str:
    if not photo.accepted:
        return f"{photo.photo}: not used: {photo.advice}"
    added = f", {worth(photo.gain)}" if photo.gain is not None else ""
    return f"{photo.photo}: used{added}" + (f"; but {photo.advice}" if photo.advice else "")


def _photo_json(photo: PhotoEvent) -> dict[str, Any]:
    beside = photo.beside
    return {
        "photo": photo.photo,
        "used": photo.accepted,
        "reasons": list(photo.reasons),
        "advice": photo.advice or None,
        "gain": photo.gain,
        "leave_one_out": beside.leave_one_out if beside is not None else None,
    }
