"""Progress: long work cut into jobs that several processes do, with a bar on a terminal and lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)


def carry_out(title: str, jobs: Sequence[Callable[[], object]], each: int, processes: int = 2) -> None:
    """Do jobs that can be sent to another process; `each`: pictures in a job, which are what is counted.

    One job alone, or with one process, is done here, in a thread of its own: networks that find faces take the way to the
    network away from the thread that makes them. The first error of a job is raised, after the jobs under way.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=len(jobs) * each)

        def done(number: int) -> None:
            bar.advance(task, each)
            if bar.disable:
                log.info("%s: %d of %d pictures", title, number * each, len(jobs) * each)

        alone = len(jobs) < 2 or processes < 2
        with ThreadPoolExecutor(1) if alone else ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            for number, future in enumerate([pool.submit(job) for job in jobs], 1):
                future.result()
                done(number)
