"""SIGKILL at random moments of a bulk enrolment: what comes back is a committed generation, and nobody is enrolled twice.

A child process enrols a thousand invented photos in slices, says each committed generation through a pipe, and is killed; the
next one goes on with what is there. The templates are invented too, so that a kill falls into listing, coaching and writing
and not into the networks.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streamd import assembly
from streamd.bench.enrolled import LOOKS, template
from streamd.enrolment.coach import Coach, CoachRules
from streamd.enrolment.folder import EnrolmentFolder, FolderRules
from streamd.enrolment.images import OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict
from streamd.enrolment.seal import Seal, vault_key
from streamd.enrolment.vault import Vault, VaultReason
from streamd.recognition.card import read_card

TITLE: Final = "SIGKILL at 200 random moments of a bulk enrolment: generations lost, people enrolled twice"
SECONDS: Final = 200.0
_PHOTOS: Final = 1000
_PER_SLICE: Final = 7
_DIMENSION: Final = 128
_MODEL: Final = "bench"


def measure(seconds: float) -> dict[str, Any]:
    """One kill for each second."""
    chance = random.Random(1)
    kills = lost = twice = bulks = 0
    while kills < seconds:
        with tempfile.TemporaryDirectory() as folder:
            bulks += 1
            state = Path(folder)
            _drop(state / "gallery")
            acknowledged = 0
            while kills < seconds:
                acknowledged, finished = _run_and_kill(state, acknowledged, chance.uniform(0.0, 0.4))
                if finished:
                    break
                kills += 1
                found = Vault(state / "vault", Seal(vault_key(state, {}))).load(_MODEL, _DIMENSION)
                rows = found.in_force.rows if found.in_force is not None else ()
                number = found.in_force.number if found.in_force is not None else 0
                # Newer by one: committed, and killed before it could be said.
                begun = found.in_force is not None or found.reason is VaultReason.MISSING
                lost += not (begun and acknowledged <= number <= acknowledged + 1)
                acknowledged = number
                counts = Counter(row.photo for row in rows) + Counter(row.digest for row in rows if row.size)
                twice += sum(count > 1 for count in counts.values())
    return {"kills": kills, "generations_lost": lost, "enrolled_twice": twice, "photos": _PHOTOS, "bulks": bulks}


def _drop(gallery: Path) -> None:
    for index in range(_PHOTOS):
        person = gallery / f"somebody-{index // 4:04d}"
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{index % 4}.jpg").write_text(f"{person.name} {index}")


def _run_and_kill(state: Path, acknowledged: int, after: float) -> tuple[int, bool]:
    """Enrol in a child, kill it so many seconds after its begin; the last generation that it said, and whether it was done."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            _enrol(state, tell)
        finally:
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as lines:
        begun = lines.readline()
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        said = lines.read().splitlines()
    os.waitpid(child, 0)
    assert begun == b"begun\n"
    whole = [line for line in said if line.endswith(b".")]
    finished = b"done." in whole
    numbers = [int(line[:-1]) for line in whole if line != b"done."]
    return max(numbers, default=acknowledged), finished


def _enrol(state: Path, tell: int) -> None:
    def look(photo: OpenedPhoto) -> PhotoVerdict:
        data = os.pread(photo.descriptor, 100, 0)
        return PhotoVerdict((), template(data.partition(b" ")[0].decode(), data, _DIMENSION), LOOKS)

    calibration = read_card(assembly.SHIPPED_CARD).calibration
    folder = EnrolmentFolder(
        state / "gallery",
        Vault(state / "vault", Seal(vault_key(state, {}))),
        Coach(calibration, CoachRules(0.98, (0.0, 1.0)), _DIMENSION),
        look,
        FolderRules(),
        model=_MODEL,
        dimension=_DIMENSION,
        seen=state / "gallery.seen",
        utc=lambda: datetime.now(UTC),
    )
    os.write(tell, b"begun\n")
    while True:
        left = iter(range(_PER_SLICE))
        folder.refresh(time.time_ns(), 0, lambda left=left: next(left, None) is None)  # type: ignore[misc]
        os.write(tell, b"%d.\n" % folder.enrolment.gallery.generation)
        if not folder.enrolment.waiting:
            os.write(tell, b"done.\n")
            return
