"""`streamd bench`: lists the benchmarks, runs one or all of them, prints tables or JSON."""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from streamd.bench import bulk, cameras, detection, embedding, kills, pipeline, reload, search, start
from streamd.errors import ConfigError

BENCHMARKS: Final[Mapping[str, ModuleType]] = {
    "pipeline": pipeline,
    "cameras": cameras,
    "start": start,
    "embedding": embedding,
    "detection": detection,
    "reload": reload,
    "search": search,
    "kills": kills,
    "bulk": bulk,
}
"""Every benchmark by name: a module with TITLE, SECONDS and measure(seconds)."""

ALL: Final = "all"
"""Names every one of them."""


def run(names: Sequence[str], *, list_them: bool, seconds: float | None, as_json: bool) -> int:
    """Run the named benchmarks, `all` of them, or list them where none is named.

    as_json: one object, with the benchmark's own keys where only one was named.
    """
    unknown = [name for name in names if name not in (*BENCHMARKS, ALL)]
    if unknown:
        raise ConfigError([f"no benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}, and {ALL}"])
    if seconds is not None and not 0 < seconds < math.inf:
        raise ConfigError([f"--seconds: expected more than 0, found {seconds:g}"])
    if seconds is not None and not names:
        raise ConfigError([f"--seconds: expected the name of what is to be measured before it, such as {ALL}"])
    names, list_them = (tuple(BENCHMARKS), list_them) if ALL in names else (names, list_them or not names)
    console = Console(highlight=False, soft_wrap=True)
    if list_them and as_json:
        sys.stdout.write(json.dumps({name: module.TITLE for name, module in BENCHMARKS.items()}, indent=2) + "\n")
        return 0
    if list_them:
        for name, module in BENCHMARKS.items():
            console.print(f"{name:<10} {module.TITLE}")
        console.print(f"{ALL:<10} every one of them")
        return 0
    results = {}
    for name in names:
        module = BENCHMARKS[name]
        if not as_json:
            console.print(f"[bold]{name}[/]: {module.TITLE}")
        started = time.monotonic()
        results[name] = module.measure(seconds or module.SECONDS)
        if not as_json:
            _print(results[name], console)
            console.print(f"[dim]took {time.monotonic() - started:.0f} s[/]\n")
    if as_json:
        found = results[names[0]] if len(names) == 1 else results
        sys.stdout.write(json.dumps(_known({**found, "machine": machine()}), indent=2, allow_nan=False) + "\n")
    return 0


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in lines)
    return {"cpu": model, "cores": cores, "python": platform.python_version()}


def _known(figures: Any) -> Any:
    """Figures with None where nothing was there to be measured (NaN), for which JSON has no number."""
    if isinstance(figures, Mapping):
        return {name: _known(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [_known(value) for value in figures]
    return None if isinstance(figures, float) and math.isnan(figures) else figures


def _print(figures: Mapping[str, Any], console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _flat(_known(figures)):
        table.add_row(name, "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
    console.print(table)


def _flat(figures: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in figures.items():
        parts = dict(enumerate(value)) if isinstance(value, list) else value
        rows += _flat(parts, f"{prefix}{name}.") if isinstance(parts, Mapping) else [(f"{prefix}{name}", value)]
    return rows
