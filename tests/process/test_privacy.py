"""What the configuration promises of people's data, at a running door: no photos kept, consent, and a time for strangers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamd import assembly, desk
from streamd.config import load
from streamd.demo.portraits import OFFICIAL
from streamd.enrolment.unknown import Look, UnknownVisit
from streamd.events.contract import GalleryState
from streamd.values import Quality
from tests.process.broker import wait_until
from tests.process.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process

SETTLE, PAUSE = 2.0, 0.5  # seconds: a pause is no reason to take what is there for the whole, not on a loaded machine either
CONSENT = "name: Anna M.\nconsent:\n  by: Anna M.\n  date: 2026-01-01\n  purpose: the front door\n"


@pytest.fixture
def door(tmp_path: Path, portraits: Path) -> Iterator[Door]:
    """A door of which the camera is off, that keeps no photo and enrols nobody without their consent."""
    with Door(tmp_path) as door:
        door.cameras["front"] = {"source": str(portraits), "enabled": False}
        door.options["gallery"] = {"keep_photos": False, "settle_milliseconds": round(SETTLE * 1000)}
        door.options["privacy"] = {"require_consent": True}
        yield door


def test_nobody_is_enrolled_without_consent_and_whose_consent_is_taken_back_is_deleted(door: Door, portraits: Path) -> None:
    """The photo goes once it is enrolled, which it may be by consent alone; the template, over a restart, with the consent."""
    door.enrol("anna", portraits / OFFICIAL.file)
    photo, settings = door.gallery / "anna" / "portrait.jpg", door.gallery / "anna" / "subject.yaml"
    door.start()
    refused = door.gallery_state(lambda one: one.refused == 1)
    assert refused.templates == 0
    assert "consent" in refused.problems[0].reason
    assert photo.exists()

    settings.write_text(CONSENT)
    door.gallery_state(lambda one: one.templates == 1)
    wait_until(lambda: not photo.exists(), "the photo to go")
    door.stop()
    since = time.monotonic()
    door.start()
    door.gallery_state(lambda one: one.templates == 1, since)

    since = time.monotonic()
    settings.write_text(f"{CONSENT}  until: 2026-02-01\n")
    gone = door.gallery_state(lambda one: one.templates == 0, since)
    assert "consent has ended" in gone.problems[0].reason

    door.stop()
    settings.write_text(CONSENT)  # it brings no template back
    since = time.monotonic()
    door.start()
    assert door.gallery_state(lambda _: True, since).templates == 0


def test_settings_that_make_sense_half_written_cost_nobody_their_template(door: Door, portraits: Path) -> None:
    """Its first line is a whole file, of a person who has taken their consent back."""
    door.enrol("anna", portraits / OFFICIAL.file)
    settings = door.gallery / "anna" / "subject.yaml"
    settings.write_text(CONSENT)
    door.start()
    door.gallery_state(lambda one: one.templates == 1)
    since = time.monotonic()

    settings.write_text("")
    for line in CONSENT.replace("name: Anna M.", "name: Anna N.").splitlines(keepends=True):
        with settings.open("a") as file:
            file.write(line)
        time.sleep(PAUSE)
    time.sleep(2 * SETTLE)

    assert [(one.templates, one.refused) for one in door.said(GalleryState, since)] in ([], [(1, 0)])
    assert "Anna N." in door.command("gallery", "--json").stdout


def test_strangers_are_deleted_when_their_time_is_over(door: Door) -> None:
    """Files of a stranger of eight days ago, which the daemon finds when it starts; another's of yesterday stays."""
    door.options["privacy"] = {"keep_unknown_days": 7}
    door.write_config()
    config = load(door.config, {})
    model = desk.open_model(config)
    unknown = assembly.open_unknown(config, model)
    assert unknown is not None
    now = datetime.now(UTC)
    for number, days in enumerate((8, 1)):
        vector = np.eye(model.embedder.dimension, dtype=np.float32)[number]
        seen = now - timedelta(days=days)
        look = Look(vector, Quality(0.3, 120.0, 40.0, 0.0, 0.0, 0.0, 48.0), b"JPEG", seen)
        unknown.add(UnknownVisit(f"visit-{days}", "front", seen, seen, (look,)), seen)

    door.start()

    wait_until(lambda: not list((door.state / "unknown").glob("visit-8*")), "the older one to go")
    assert list((door.state / "unknown").glob("visit-1*"))
