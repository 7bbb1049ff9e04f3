"""Page: a model's card for people, in Markdown; nothing stands there that the card does not say."""

from __future__ import annotations

from collections.abc import Iterable

from streamd.recognition.card import Figure, ModelCard


def page(card: ModelCard) -> str:
    """The whole card but its table of ratios, as one page of Markdown."""
    made = card.provenance
    parts = [
        f"# {card.name}",
        f"`{card.file}`, sha256 `{card.sha256}`: templates of {card.dimension} numbers, of crops of alignment "
        f"{card.alignment!r}. Licence: {card.licence}.",
        "## Made from",
        _bullets(
            f"{one.title}. {one.licence}; {f'from the package {one.package}, ' if one.package else ''}"
            f"sha256 `{one.sha256}`. Trained: {one.training_data}"
            for one in made.sources
        ),
        f"By `{made.command}` at {made.commit}, with "
        + ", ".join(f"{name} {one}" for name, one in made.versions.items())
        + ".",
        _table(("setting", "value"), ((name, f"{value}") for name, value in made.recipe.items())),
        "## Measured",
        "Intervals are of 95 %.",
        *(
            f"`{command}`\n\n{_figures(card.figures, command)}"
            for command in dict.fromkeys(one.command for one in card.figures)
        ),
        "## How scores are read",
        f"Scores of crops of one visit are correlated by {card.calibration.correlation:g}; the table of log-likelihood ratios "
        "is in the card.",
        _bullets(card.calibration_notes),
        "## What is known to be wrong with it",
        _bullets(card.limits),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(figures: Iterable[Figure], command: str) -> str:
    rows = ((one.name, f"{one.value:g} {one.unit}".strip(), _interval(one)) for one in figures if one.command == command)
    return _table(("figure", "value", "interval"), rows)


def _interval(one: Figure) -> str:
    return "" if one.interval is None else f"{one.interval[0]:g} to {one.interval[1]:g}"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
