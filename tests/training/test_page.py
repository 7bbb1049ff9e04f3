"""The page about a model says all that its card says, and nothing else."""

from __future__ import annotations

from streamd.assembly import SHIPPED_CARD
from streamd.recognition.card import read_card
from training.page import page

CARD = read_card(SHIPPED_CARD)


def test_every_figure_stands_there_with_its_command_value_and_interval() -> None:
    sections = {part.split("`")[1]: part for part in page(CARD).split("\n\n`")[1:] for part in ["`" + part]}

    for figure in CARD.figures:
        row = next(line for line in sections[figure.command].splitlines() if line.startswith(f"| {figure.name} |"))
        assert f"{figure.value:g}" in row
        assert figure.interval is None or f"{figure.interval[0]:g} to {figure.interval[1]:g}" in row


def test_sources_stand_there_with_their_terms_and_what_they_were_trained_on() -> None:
    text = page(CARD)

    for one in CARD.provenance.sources:
        assert all(part in text for part in (one.title, one.licence, one.sha256, one.training_data))


def test_what_is_known_to_be_wrong_stands_there() -> None:
    assert all(f"- {one}\n" in page(CARD) for one in (*CARD.limits, *CARD.calibration_notes))
