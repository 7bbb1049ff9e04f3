"""The state folder: one process holds it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from streamd.errors import UnavailableError


@contextlib.contextmanager
def locked_state(state: Path) -> Iterator[None]:
    """The state folder, made and held by this process alone. Raises UnavailableError when it cannot be, or another has it."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "lock").open("a+b", buffering=0)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise UnavailableError(f"{state}: the state folder cannot be used ({why}); make it writable or set `state`") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().decode(errors="replace").strip() or "unknown"
            raise UnavailableError(
                f"{state} is in use by another streamd (process {owner}); stop it, or give this one a `state` of its own"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only its owner is not named
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n".encode())
        yield
