"""The drawing of docs/architecture.md against the imports, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
IMPURE = {"time", "threading", "socket", "os", "pathlib", "subprocess", "select", "queue", "tempfile", "shutil"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("streamd", "training")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def block(name: str) -> list[str]:
    """The lines of a fenced block of the page."""
    found = re.search(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, f"docs/architecture.md has no block {name}"
    return [line for line in found[1].splitlines() if line.strip()]


def imports(module: str) -> Iterator[str]:
    """Every module that a module imports, wherever in it; those only for annotations too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def within(module: str, room: str) -> bool:
    """Whether a module is the room or inside it; the bare package stands for its own names only."""
    return module == room or (room != "streamd" and module.startswith(f"{room}."))


ARROWS = {left.strip(): right.split() for left, _, right in (line.partition("->") for line in block("arrows"))}
LIBRARIES = {library: rooms for library, *rooms in (line.split() for line in block("libraries"))}


def room_of(module: str) -> str | None:
    return next((room for room in sorted(ARROWS, key=len, reverse=True) if within(module, room)), None)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_an_arrow_allows(module: str) -> None:
    room = room_of(module)
    allowed = ARROWS[room] if room is not None else []
    ours = {name for name in imports(module) if name.split(".")[0] in ("streamd", "training")}
    outside = {name for name in ours if room is None or not within(name, room)}

    assert {name for name in outside if not any(within(name, other) for other in allowed)} == set()


@pytest.mark.parametrize("room", ARROWS)
def test_every_arrow_is_used(room: str) -> None:
    used = {name for module in MODULES if room_of(module) == room for name in imports(module)}

    assert [other for other in ARROWS[room] if not any(within(name, other) for name in used)] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_foreign_library_is_known_in_its_place_only(library: str) -> None:
    users = {module for module in MODULES if any(name.split(".")[0] == library for name in imports(module))}

    assert {user for user in users if not any(within(user, room) for room in LIBRARIES[library])} == set()
    assert [room for room in LIBRARIES[library] if not any(within(user, room) for user in users)] == []


@pytest.mark.parametrize("module", block("pure"))
def test_what_decides_touches_no_clock_file_socket_or_thread(module: str) -> None:
    assert {name for name in imports(module) if name.split(".")[0] in IMPURE} == set()


def test_streamd_never_imports_training() -> None:
    users = [module for module in MODULES if module.startswith("streamd") and "training" in map(_top, imports(module))]

    assert users == []


def test_the_threads_of_the_page_are_those_of_the_daemon() -> None:
    """Each thread of the table is started in daemon.py by that name, or is paho's, the signals' or the main one."""
    drawn = set(re.findall(r"^\| `?([\w-]+?)(?:-?<\w+>)?`? \|", PAGE.partition("## What runs at once")[2], re.MULTILINE))
    started = {name.rstrip("-") for name in re.findall(r'self\._start\(f?"([a-z]+-?)', MODULES["streamd.daemon"].read_text())}

    assert drawn - {"thread", "---", "main", "mqtt", "signals"} == started


def test_the_daemon_says_the_same_of_its_threads_as_the_page() -> None:
    docstring = ast.get_docstring(ast.parse(MODULES["streamd.daemon"].read_text())) or ""
    told = dict(re.findall(r"^ +(\S+) +(.+?)(?: +\(.*\))?$", docstring.split("\n\n")[1], re.MULTILINE))
    drawn = dict(re.findall(r"^\| `?([^`|]+?)`? \| (.+?) \|$", PAGE.partition("## What runs at once")[2], re.MULTILINE))
    both = told.keys() & drawn.keys()

    assert both == {"camera-<name>", "detection-<n>", "embedder", "gallery", "control", "main"}
    assert {thread: told[thread] for thread in both} == {thread: drawn[thread] for thread in both}


def test_threads_are_made_only_where_the_page_says() -> None:
    """By any of the ways that the code knows; a comment or a type in an annotation makes none."""
    ways = {"Thread", "ThreadPoolExecutor", "ThreadingTCPServer", "ThreadingHTTPServer", "Timer", "start_http_server"}
    makers = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            made = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
            if ways & {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in made}:
                makers.add(module)

    assert makers == set(block("threads"))


def _top(name: str) -> str:
    return name.split(".")[0]
