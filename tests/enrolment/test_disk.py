"""That a file which was replaced is on the disk, whole and under its name, before anybody relies on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.enrolment.disk import Disk, replace_whole

if TYPE_CHECKING:
    import pytest


def test_content_is_on_the_disk_before_the_name_and_the_name_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel was asked to wait for, with what was readable under the file's name at that moment."""
    path, synced = tmp_path / "rows", list[tuple[str, bytes, bytes]]()
    path.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((place.name, b"" if place.is_dir() else place.read_bytes(), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)

    replace_whole(Disk(), path, [b"n", b"ew"])

    assert synced == [("rows.tmp", b"new", b"old"), (tmp_path.name, b"", b"new")]
