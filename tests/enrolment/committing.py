"""Kills a process again and again while it commits generations, and looks each time at what is left.

Run by test_vault.py, in a process of its own: it forks, and nothing else may run then. Prints its findings as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamd.enrolment.rows import Row
from streamd.enrolment.seal import Seal
from streamd.enrolment.vault import Vault

_ROWS = 300
_DIMENSION = 128
_AWAITED = 3  # acknowledgements that a kill may wait for, before it waits for a part of the next commit


def rows(count: int) -> list[Row]:
    """What the commit number `count` holds: every row says so."""
    template = np.eye(_DIMENSION, dtype=np.float32)[count % _DIMENSION]
    enrolled = datetime(2026, 1, 1, tzinfo=UTC)
    return [Row(f"s{i}", "", f"{i}.jpg", "0" * 64, count, 0, (), template, None, count, enrolled) for i in range(_ROWS)]


def number_of(loaded: tuple[Row, ...]) -> int | None:
    """The number of the commit that these rows are whole and unmixed, or None."""
    count = loaded[0].sequence
    whole = len(loaded) == _ROWS and all(row.sequence == row.size == count for row in loaded)
    return count if whole and all(row.template[count % _DIMENSION] == 1 for row in loaded if row.template is not None) else None


def commit_for_ever(folder: Path, seal: Seal, count: int, acknowledge: int) -> None:
    vault = Vault(folder, seal)
    vault.load("model", _DIMENSION)
    while True:
        count += 1
        committed = vault.commit(rows(count), "model", _DIMENSION)
        os.write(acknowledge, f"{committed.generation} {count}\n".encode())


def main(folder: Path, kills: int, seed: int) -> None:
    seal, moments = Seal(bytes(32)), random.Random(seed)
    findings = {"kills": 0, "generations_lost": 0, "not_committed": 0, "refused": 0, "newest": 0}
    acknowledged, takes = (0, 0), 0.01
    for _ in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            commit_for_ever(folder, seal, acknowledged[1], writing)
        os.close(writing)
        with open(reading) as pipe:
            said = []
            for _ in range(moments.randrange(_AWAITED)):
                began = time.monotonic()
                said.append(pipe.readline())
                takes = time.monotonic() - began
            time.sleep(moments.uniform(0, 1.5) * takes)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said += pipe.readlines()
        if said:
            generation, count = said[-1].split()
            acknowledged = int(generation), int(count)
        loaded = Vault(folder, seal).load("model", _DIMENSION)
        findings["kills"] += 1
        if loaded.in_force is None:
            findings["refused"] += acknowledged[0] > 0
            continue
        count_in_force = number_of(loaded.in_force.rows)
        if count_in_force is None or count_in_force > acknowledged[1] + 1:
            findings["not_committed"] += 1
            continue
        lost = loaded.in_force.number < acknowledged[0] or count_in_force < acknowledged[1]
        findings["generations_lost"] += lost
        acknowledged = loaded.in_force.number, count_in_force
        findings["newest"] = loaded.in_force.number
    print(json.dumps(findings))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
