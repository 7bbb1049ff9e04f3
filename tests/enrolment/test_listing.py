"""What tells one photo from another by the same name, without opening it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from streamd.enrolment.listing import PhotoFile, list_folder
from tests.process.broker import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def only_photo(folder: Path) -> PhotoFile:
    (photo,) = list_folder(folder).photos
    return photo


def test_another_photo_of_the_same_size_and_date_is_another_photo(tmp_path: Path) -> None:
    """`cp -p` sets the date of the one that it copies; the time at which the inode changed nobody sets."""
    photo, other = tmp_path / "gallery" / "Anna" / "1.jpg", tmp_path / "other.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"Anna, in spring")
    other.write_bytes(b"Berta, in a car")
    os.utime(photo, ns=(10**18, 10**18))
    os.utime(other, ns=(10**18, 10**18))
    before = only_photo(tmp_path / "gallery")

    def replaced() -> bool:  # again and again: the kernel's clock for files moves in steps of milliseconds
        shutil.copy2(other, photo)
        return only_photo(tmp_path / "gallery") != before

    wait_until(replaced, "the change to show", 2)
    assert photo.stat().st_mtime_ns == 10**18
    assert only_photo(tmp_path / "gallery").size == before.size
