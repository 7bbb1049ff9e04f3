"""What native libraries print to standard error while they load: kept out of a person's sight, in the debug log."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NATIVE_LINE: Final = re.compile(rb"(INFO|WARNING): |[IW]\d{4} ")
_lock = threading.Lock()  # the descriptor belongs to the whole process


@contextmanager
def native_log_to_debug(log: logging.Logger) -> Iterator[None]:
    """Lines of glog and TensorFlow Lite at their lower levels go to `log` as debug; every other line still reaches stderr.

    Holds descriptor 2 of the whole process, so keep what is inside short.
    """
    with _lock, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines = caught.read().splitlines(keepends=True)
            native = [line for line in lines if _NATIVE_LINE.match(line)]
            os.write(2, b"".join(line for line in lines if line not in native))
            for line in dict.fromkeys(native):
                log.debug("%s", line.decode(errors="replace").strip())
