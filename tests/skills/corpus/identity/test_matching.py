"""Test when two papers are one, and by which rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skills.corpus.identity.identifiers import BLOCK, Known, known
from skills.corpus.identity.matching import (
    compare,
    is_preprint_doi,
    names,
    pairs,
    same_first,
    shared,
)
from skills.nanda.paper import Paper

TITLE = "Planning for Agents in Noisy Warehouses"
PAPER = Known({}, TITLE, "Anna Müller, Wei Wang", 2024)
PREPRINT = replace(PAPER, identifiers={"arxiv": "2405.00001"})
PUBLISHED = replace(PAPER, identifiers={"doi": "10.1234/a"}, venue="Annals", year=2025)


def rule(one: Known, other: Known) -> tuple[str, str] | None:
    """Return relation and rule, which do not depend on the order."""
    found, turned = compare(one, other), compare(other, one)
    assert found == turned
    return found and (found.relation, found.rule)


@pytest.mark.parametrize("kind", ["doi", "arxiv", "pmid", "openalex"])
def test_a_common_identifier(kind: str) -> None:
    one = Known({kind: "x"}, TITLE, "A Smith", 2020)
    other = Known({kind: "x"}, "", "", None)
    assert rule(one, other) == ("same", kind)


def test_title_author_and_year() -> None:
    assert rule(PAPER, replace(PAPER, year=2025)) == ("same", "title, first author, year")
    assert rule(PAPER, replace(PAPER, year=None)) == ("same", "title, first author")
    assert rule(PAPER, replace(PAPER, authors="")) == ("same", "title, year")
    assert rule(PAPER, replace(PAPER, year=2026)) is None
    assert rule(PAPER, replace(PAPER, authors="", year=None)) is None
    assert rule(PAPER, replace(PAPER, authors="Wei Wang")) is None


def test_preprint_and_published_version_are_linked() -> None:
    assert rule(PREPRINT, PUBLISHED) == ("linked", "title, first author, year")
    assert rule(PREPRINT, replace(PUBLISHED, year=2026)) == ("linked", "title, first author, year")
    assert rule(PREPRINT, replace(PUBLISHED, year=2027)) is None
    server = replace(PAPER, identifiers={"doi": "10.1101/1"})
    assert rule(server, PUBLISHED) == ("linked", "title, first author, year")


def test_identifiers_that_contradict() -> None:
    other = replace(PUBLISHED, identifiers={"doi": "10.1234/b"})
    assert rule(PUBLISHED, other) is None
    assert rule(PREPRINT, replace(PREPRINT, identifiers={"arxiv": "2405.00002"})) is None


def test_a_doi_of_the_volume_is_no_evidence() -> None:
    chapter = Known({"doi": "10.1234/a"}, "Debugging by Ledgers", "B Smith", 2024)
    assert rule(PUBLISHED, chapter) is None
    erratum = replace(PUBLISHED, title=f"Erratum: {TITLE}")
    assert rule(PUBLISHED, erratum) is None


def test_a_short_title_needs_an_author() -> None:
    one = Known({}, "Ledgers", "A Smith", 2024)
    assert rule(one, replace(one, authors="")) is None
    assert rule(one, one) == ("same", "title, first author, year")
    generic = Known({}, "Introduction", "A Smith", 2024)
    assert rule(generic, generic) is None


def test_a_similar_title_needs_common_authors_and_a_year() -> None:
    cut = replace(PAPER, title="Planning for Agents in Noisy Warehouses: A Survey")
    assert rule(PAPER, cut) == ("same", "title without subtitle, first author, year")
    assert rule(PAPER, replace(cut, year=None)) is None
    assert rule(PAPER, replace(cut, authors="")) is None


def test_only_pairs_with_a_common_key_are_compared() -> None:
    papers = [PAPER, Known({}, "Another Title", "A Smith", 2024), replace(PAPER, year=2023)]
    assert [(one, other) for one, other, _ in pairs(papers)] == [(0, 2)]
    assert list(pairs([PAPER] * (BLOCK + 1))) == []


def test_what_identifies_a_paper() -> None:
    source = {"doi": "10.1234/A", "venue": "Annals", "year": "2024"}
    found = known(Paper("id", "key", TITLE, "Text.", source, authors="A Smith"))
    assert found == Known({"doi": "10.1234/a"}, TITLE, "A Smith", 2024, "Annals")


def test_facts_of_another_type_are_ignored() -> None:
    source: Any = {"doi": 10.1234, "venue": ["Annals"], "year": 2024}
    assert known(Paper("id", "key", TITLE, "Text.", source)) == Known(title=TITLE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna Müller, Wei Wang", "Müller, Anna; Wang, Wei", True),
        ("Anna Müller", "Mueller A", True),
        ("Anna Müller", "Müller, Anna", True),
        ("Anna Müller, Wei Wang", "Muller et al.", True),
        ("Anna Müller, Wei Wang", 'M{\\"u}ller, Anna and Wang, Wei', True),
        ("Jean-Pierre Smith", "Smith JP, Wang W", True),
        ("Jean-Pierre Smith", "J.-P. Smith", True),
        ("José Øst", "Jose Ost", True),
        ("Wang Wei", "Wei Wang", True),
        ("Wei Wang", "Wei Zhang", False),
        ("J. Smith", "M. Smith", False),
        ("L. Moreau", "Maria-Luisa Moreau", False),
        ("Anna Müller", "Wei Wang, Anna Müller", False),
        ("Anna Müller", "", None),
    ],
)
def test_first_authors(one: str, other: str, same: bool | None) -> None:
    assert same_first(one, other) is same
    assert same_first(other, one) is same


def test_names_are_separated() -> None:
    assert names("Björn Weiß, Olga Müller") == (("bjorn", "weiss"), ("olga", "muller"))
    assert names("Yao, Shunyu, Zhao, Jeffrey") == (("yao", "shunyu"), ("zhao", "jeffrey"))
    assert names("Smith, J., Wang, W. L.") == (("smith", "j"), ("wang", "w", "l"))


def test_share_of_common_authors() -> None:
    assert shared("A Smith, B Wang", "Smith A; Zhang B; Li C") == 0.5
    assert shared("", "A Smith") == 0.0


def test_dois_of_preprint_servers() -> None:
    assert is_preprint_doi("10.1101/2024.01.01.123456")
    assert not is_preprint_doi("10.1234/jas.5")
