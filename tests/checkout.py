"""What tests start is the streamd of this checkout, in whatever folder it runs and whatever else is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process with some changes, for a program of its own; a PYTHONPATH comes after the checkout."""
    found = {**os.environ, **(changes or {})}
    given = [one for one in found.get("PYTHONPATH", "").split(os.pathsep) if one and one != str(ROOT)]
    return found | {"PYTHONPATH": os.pathsep.join((str(ROOT), *given))}
