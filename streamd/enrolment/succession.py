"""The galleries of two models after a change of the model: the old one serves until the new one is complete, then they swap.

Templates of one model say nothing to another, so every photo is embedded anew. Meanwhile the folder of the model before goes
on as it was, with its vault: photos that come, go or change, settings and `forget` are live in both. The new one is built
beside it with a vault of its own (`vault-next`), which a kill leaves to be gone on with. Once nothing waits there, its rows
become the next generation of the vault, in one commit: killed before, the old model serves again; after, the new one.

Who is enrolled by templates alone (their photos were not kept) cannot be embedded anew. They are never dropped silently: the
old model serves on until each has a photo again or is taken out, and that is said.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

from streamd.enrolment.folder import Enrolment, EnrolmentFolder, PhotoEvent, Refreshed
from streamd.enrolment.rows import Row

log = logging.getLogger(__name__)

_NAMED = 10  # people in one sentence


class Succession:
    """An enrolment folder, and the one of the model that is to follow, if any; the same owner thread as theirs."""

    def __init__(
        self,
        serving: EnrolmentFolder,
        successor: EnrolmentFolder | None = None,
        swap: Callable[[Sequence[Row]], EnrolmentFolder | str] | None = None,
    ) -> None:
        """swap: commits the rows as the next generation in force and opens them; a sentence where that cannot be done."""
        self.serving = serving
        self.successor = successor
        self._swap = swap
        self._enrolment = serving.enrolment
        self._told: tuple[Enrolment, int, str | None] = (serving.enrolment, 0, None)
        self._begun = False

    @property
    def enrolment(self) -> Enrolment:
        """What is in force; `waiting` counts the photos to be embedded anew too."""
        return self._enrolment

    def refresh(self, now_ns: int, settle_ns: int, out_of_time: Callable[[], bool]) -> Refreshed:
        """See `EnrolmentFolder.refresh`. What is to follow has the time that the gallery in force leaves, none at the start."""
        found = self.serving.refresh(now_ns, settle_ns, out_of_time)
        if self.successor is not None:
            found = self._beside(self.successor, found, now_ns, settle_ns, out_of_time)
        self._enrolment = found.enrolment
        return found

    def _beside(
        self, successor: EnrolmentFolder, found: Refreshed, now_ns: int, settle_ns: int, out_of_time: Callable[[], bool]
    ) -> Refreshed:
        first, self._begun = not self._begun, True
        if not first and (found.enrolment.waiting or found.enrolment.problem is not None):
            return self._with(found, successor.enrolment.waiting, None)
        successor.follow(self.serving.rows)
        # It is loaded at once, before anybody asks for something to be forgotten.
        coming = successor.refresh(now_ns, settle_ns, (lambda: True) if first else out_of_time)
        if coming.enrolment.waiting or coming.enrolment.problem is not None or found.enrolment.waiting:
            return self._with(found, coming.enrolment.waiting, coming.enrolment.problem)
        if stranded := self._stranded(coming.enrolment):
            return self._with(found, 0, _stranded_sentence(stranded))
        return self._swapped(successor, found, now_ns, settle_ns)

    def _with(self, found: Refreshed, waiting: int, problem: str | None) -> Refreshed:
        """What serves, with what is still to come; the same value as long as both are the same."""
        told = (found.enrolment, waiting, problem)
        if told != self._told or self._enrolment.gallery is not found.enrolment.gallery:
            self._told = told
            self._enrolment = dataclasses.replace(
                found.enrolment, waiting=found.enrolment.waiting + waiting, problem=found.enrolment.problem or problem
            )
        return dataclasses.replace(found, enrolment=self._enrolment)

    def _stranded(self, coming: Enrolment) -> list[str]:
        """The names of those whom the new gallery would lose because their photos were not kept."""
        by_templates = {row.subject for row in self.serving.rows if not row.photo_kept and row.template is not None}
        lost = by_templates.intersection(self.serving.enrolment.gallery.names).difference(coming.gallery.names)
        return sorted(map(self.serving.name, lost))

    def _swapped(self, successor: EnrolmentFolder, found: Refreshed, now_ns: int, settle_ns: int) -> Refreshed:
        assert self._swap is not None
        opened = self._swap(successor.vault_rows)
        if isinstance(opened, str):
            return self._with(found, 0, opened)
        before, self.serving, self.successor = self.serving, opened, None
        now = opened.refresh(now_ns, settle_ns, lambda: True)
        opened.write_sidecars()
        log.info("the gallery is embedded anew and in force: %d photos, by %s", *_size(now.enrolment))
        return dataclasses.replace(now, judged=(*found.judged, *now.judged, *_news(before, opened)))


def _stranded_sentence(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return (
        f"the model before serves on: it alone knows {shown}, whose photos were not kept; put a photo into the folder of each, "
        "or take them out (`streamd forget`)"
    )


def _size(enrolment: Enrolment) -> tuple[int, str]:
    return len(enrolment.gallery.photos), enrolment.gallery.model


def _news(before: EnrolmentFolder, now: EnrolmentFolder) -> list[PhotoEvent]:
    """The photos of which the new model says something else."""
    news = []
    for row in now.rows:
        old, new = before.verdict(row.photo), now.verdict(row.photo)
        if old is not None and new is not None and (old.accepted, old.reasons) != (new.accepted, new.reasons):
            news.append(new)
    return news
