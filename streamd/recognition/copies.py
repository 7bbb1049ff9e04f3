"""Copies of model files: what made the templates of a gallery can still compare them after an update brought another model.

    <folder>/<name>-<first 16 digits of its sha256>/card.json, card.attributes.json, and the model file under its own name

A copy, not a hard link: the package's files belong to another user and often lie on another disk. A copy is a folder that was
given its name when all of it was on the disk.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, get_args

from streamd.errors import ModelError
from streamd.recognition.card import ModelCard, read_card
from streamd.recognition.embedding import Backend

_CARD: Final = "card.json"
_UNFINISHED: Final = ".copying-"
_MODEL: Final = re.compile(r"([A-Za-z0-9._-]+):([0-9a-f]{16})/([a-z]+)")


def attributes_beside(card: Path) -> Path:
    """Where what tells glasses and coverings lies, of the model with this card."""
    return card.with_name(f"{card.stem}.attributes.json")


def keep_copy(folder: Path, card_path: Path) -> bool:
    """Copy a model, its card and what belongs to it, unless that was done before; whether it was done now. Raises OSError."""
    card = read_card(card_path)
    target = folder / _name(card)
    if target.is_dir():
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_UNFINISHED) as unfinished:
        copy = Path(unfinished) / "copy"
        copy.mkdir(mode=0o700)
        sources = {_CARD: card_path, card.file: card_path.parent / card.file}
        if (attributes := attributes_beside(card_path)).exists():
            sources[attributes_beside(copy / _CARD).name] = attributes
        for name, source in sources.items():
            _copied(source, copy / name)
        _synced(copy)
        copy.rename(target)
    _synced(folder)
    return True


def copy_of(folder: Path, model: str, shipped: Iterable[Path] = ()) -> tuple[Path, Backend]:
    """The card of the copy of a model, by what its templates are marked with (`Embedder.model`), and the backend it ran in.

    shipped: cards of models that are there without a copy. Raises ModelError where it is neither of them nor has a copy.
    """
    parts = _MODEL.fullmatch(model)
    if parts is None or parts[3] not in get_args(Backend):
        raise ModelError(f"{model!r} names no model of a file")
    backend: Backend = parts[3]  # type: ignore[assignment]  # one of them, as was just asked
    path = folder / f"{parts[1]}-{parts[2]}" / _CARD
    if path.is_file():
        return path, backend
    for one in shipped:
        card = read_card(one)
        if (card.name, card.sha256[:16]) == parts.group(1, 2):
            return one, backend
    raise ModelError(f"{path.parent}: there is no copy of it")


def drop_copies(folder: Path, but: Iterable[str]) -> None:
    """Remove the copies of all models but these (`Embedder.model`), and what a copying that was cut off has left."""
    kept = {f"{parts[1]}-{parts[2]}" for one in but if (parts := _MODEL.fullmatch(one)) is not None}
    for place in folder.glob("*"):
        unfinished = place.name.startswith(_UNFINISHED)
        if unfinished or (place.name not in kept and (place / _CARD).is_file()):
            shutil.rmtree(place, ignore_errors=True)


def _name(card: ModelCard) -> str:
    return f"{card.name}-{card.sha256[:16]}"


def _copied(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    _synced(target)


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
