"""That the programs which tests start are those of this checkout: another streamd may be installed beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import streamd
from tests.checkout import ROOT, environment
from tests.process.door import Door

WHERE = "import streamd; print(streamd.__file__)"
OURS = str(ROOT / "streamd" / "__init__.py")


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """A folder that holds another streamd."""
    (tmp_path / "streamd").mkdir()
    (tmp_path / "streamd" / "__init__.py").write_text("")
    return tmp_path


def test_this_process_tests_the_checkout() -> None:
    assert str(Path(streamd.__file__).resolve()) == OURS


def test_a_program_that_inherits_the_environment_runs_the_checkout(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", WHERE], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == OURS


def test_a_path_that_a_test_adds_comes_after_the_checkout(another: Path) -> None:
    changed = environment({"PYTHONPATH": str(another)})
    found = subprocess.run([sys.executable, "-P", "-c", WHERE], env=changed, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == OURS


@pytest.mark.process
def test_the_daemon_behind_a_door_is_that_of_the_checkout(tmp_path: Path, another: Path) -> None:
    """Whatever a test of a day adds to its path."""
    door = Door(tmp_path / "door")
    changed = door._environment({"PYTHONPATH": str(another)})

    found = subprocess.run(
        [sys.executable, "-c", WHERE], cwd=door.folder, env=changed, capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == OURS
