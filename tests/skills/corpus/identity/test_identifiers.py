"""Test the spellings of public identifiers."""

from __future__ import annotations

import pytest

from skills.corpus.identity.identifiers import identifiers, identifiers_of
from skills.nanda.paper import Paper


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        ("10.1234/JAS.5", "doi", "10.1234/jas.5"),
        ("https://doi.org/10.1234/jas.5", "doi", "10.1234/jas.5"),
        ("http://dx.doi.org/10.1234%2Fjas.5?via=x", "doi", "10.1234/jas.5"),
        ("doi: 10.1234/jas.5.", "doi", "10.1234/jas.5"),
        ("10.1016/S0140-6736(05)67110-4", "doi", "10.1016/s0140-6736(05)67110-4"),
        ("10.48550/arXiv.2405.12345", "arxiv", "2405.12345"),
        ("arXiv:2405.12345v3", "arxiv", "2405.12345"),
        ("https://arxiv.org/pdf/2405.12345v1", "arxiv", "2405.12345"),
        ("math.GT/0309136", "arxiv", "math/0309136"),
        ("PMID: 01234567", "pmid", "1234567"),
        ("https://pubmed.ncbi.nlm.nih.gov/12345678/", "pmid", "12345678"),
        ("https://openalex.org/w2741809807", "openalex", "W2741809807"),
    ],
)
def test_spellings_of_one_identifier(written: str, kind: str, value: str) -> None:
    assert identifiers(written) == {kind: value}


@pytest.mark.parametrize("other", ["12", "", "p1", "smith2020", "12345678", "10.1234"])
def test_ids_of_one_source_identify_nothing(other: str) -> None:
    assert identifiers(other) == {}


def test_identifiers_of_a_paper_are_its_id_and_those_of_its_source() -> None:
    source = {"doi": "10.1234/A", "pmid": "123", "arxiv_id": "2405.00001v2"}
    paper = Paper("id", "https://openalex.org/W123456", "A title", "Text.", source)
    assert identifiers_of(paper, source) == {
        "doi": "10.1234/a",
        "pmid": "123",
        "arxiv": "2405.00001",
        "openalex": "W123456",
    }


def test_a_number_of_a_table_of_arxiv_ids_is_one() -> None:
    assert identifiers_of(Paper("arxiv_id", "X1", "", ""), {}) == {"arxiv": "x1"}
