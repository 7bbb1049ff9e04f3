"""The pages: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.events.contract import TOPICS
from tests.checkout import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "threats.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_the_page_of_threats_calls_held_is_held_by_a_test(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_of_privacy_names_every_topic_at_which_the_broker_keeps_something_of_people() -> None:
    table = (ROOT / "docs" / "privacy.md").read_text().partition("\n\nA recognition")[0]
    kept = [one.pattern for one in TOPICS if one.retained and one.pattern != "status" and not one.pattern.startswith("camera/")]

    assert [one for one in kept if f"the broker, topic `{one.replace('{subject}', '<person>')}`" not in table] == []
