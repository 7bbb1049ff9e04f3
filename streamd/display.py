"""What a person sees on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from streamd.check import Finding, State

_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
_MARKS: Final = {State.OK: "works", State.WARNING: "look", State.FAILED: "broken"}


def findings_table(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings of `streamd check` as a table, and how many are broken."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "part", "what was seen", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = f"[{_COLOURS[finding.state]}]{_MARKS[finding.state]}[/]"
        table.add_row(mark, finding.part, _plain(finding.seen), _plain(finding.mend))
    console.print(table)
    broken = sum(finding.state is State.FAILED for finding in findings)
    warnings = sum(finding.state is State.WARNING for finding in findings)
    verdict = f"{broken} broken." if broken else "Everything works."
    console.print(verdict + (f" {warnings} to look at." if warnings else ""), style="bold")


def _plain(text: str) -> str:
    """Text whose brackets are not taken for markup."""
    return text.replace("[", r"\[")
