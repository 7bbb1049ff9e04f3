"""A daemon under observation: `python -m streamd.bench.observed CONFIG` is `streamd run` that tells what it measured.

It prints one line of JSON whenever it reads a line, and one at its end: seconds of CPU of the process and of each thread,
resident memory, counters, and every latency since the last line with its monotonic time.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from streamd.config import load
from streamd.health import Tally
from streamd.service import Service, serve
from streamd.signals import leave_when_asked

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def thread_cpu(native_id: int) -> float:
    """Seconds of CPU of one thread of this process (proc(5): utime and stime)."""
    fields = Path(f"/proc/self/task/{native_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process, in units of 10^6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _Observer:
    def __init__(self) -> None:
        self._samples: list[tuple[str, float, float]] = []
        self._service: Service | None = None
        self.tally = Tally(lambda name, seconds: self._samples.append((name, time.monotonic(), seconds)))

    def watch(self, service: Service) -> None:
        self._service = service
        threading.Thread(target=self._answer, name="observer", daemon=True).start()

    def _answer(self) -> None:
        for _ in sys.stdin:
            self.report()

    def report(self) -> None:
        service = self._service
        assert service is not None
        samples, self._samples[:] = list(self._samples), []
        threads: dict[str, float] = {}
        for thread in service.daemon.threads:
            if thread.native_id is not None and thread.is_alive():
                threads[thread.name] = thread_cpu(thread.native_id)
        report: dict[str, Any] = {
            "at": time.monotonic(),
            "cpu": time.process_time(),
            "threads": threads,
            "rss_mb": resident_megabytes(os.getpid()),
            "counts": {f"{name}:{label}": count for (name, label), count in service.daemon.tally.counts().items()},
            "frames_replaced": service.daemon.frames_replaced,
            "samples": samples,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Serve the configuration named on the command line."""
    leave_when_asked()
    observer = _Observer()
    serve(load(Path(sys.argv[1])), os.environ, observer.tally, observer.watch)


if __name__ == "__main__":
    main()
