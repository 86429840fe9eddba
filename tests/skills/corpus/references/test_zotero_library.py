"""Items of Zotero as papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from zotero_library import GROUP, ZoteroLibrary

from skills.corpus.references.csl_json import separate_names
from skills.corpus.table import Columns, open_table
from skills.nanda.paper import Paper

ABSTRACT = "We present Ledger, which books every tool call of an agent with its arguments."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Zotero"


def paper(folder: Path, columns: Columns | None = None, **item: Any) -> Paper:
    with ZoteroLibrary(folder) as library:
        library.add("Ledger", item.pop("abstract", ABSTRACT), **item)
    [row] = open_table(folder, columns).rows()
    return row.paper


def stated(found: Paper) -> dict[str, str]:
    return {k: v for k, v in found.source.items() if k not in ("kind", "path", "row")}


def test_an_article(folder: Path) -> None:
    found = paper(
        folder,
        creators=[("Jörg", "Müller"), ("Ed", "Itor", "editor"), "The Ledger Group"],
        tags=["tool use", "agents"],
        date="2024-05-17 May 17, 2024",
        DOI="https://doi.org/10.1234/ledger.7",
        publicationTitle="Journal of Tools",
        citationKey="muller2024",
        extra="PMID: 1234567\nof interest",
        abstract="<jats:p>We present Ledger,</jats:p> which books every tool call.",
    )
    assert (found.id_field, found.id) == ("id", "22222223")
    assert found.title == "Ledger"
    assert found.abstract == "We present Ledger,  which books every tool call."
    assert found.authors == "Jörg Müller, The Ledger Group"
    assert found.published == "2024-05-17"
    assert found.categories == "tool use, agents"
    assert stated(found) == {
        "citekey": "muller2024",
        "doi": "10.1234/ledger.7",
        "pmid": "1234567",
        "venue": "Journal of Tools",
        "year": "2024",
        "zotero": "users/475425/items/22222223",
    }


def test_names_of_a_field_depend_on_the_type(folder: Path) -> None:
    found = paper(
        folder,
        kind="conferencePaper",
        proceedingsTitle="Proceedings of Tools",
        extra="DOI: 10.1234/x\nCitation Key: ledger24",
    )
    assert stated(found) == {
        "citekey": "ledger24",
        "doi": "10.1234/x",
        "venue": "Proceedings of Tools",
        "zotero": "users/475425/items/22222223",
    }


def test_the_first_role_of_a_type_is_its_author(folder: Path) -> None:
    found = paper(folder, kind="presentation", creators=[("Ada", "Okafor", "presenter")])
    assert found.authors == "Ada Okafor"


def test_a_name_with_a_comma_stays_one_name(folder: Path) -> None:
    found = paper(folder, creators=[("Ada", "Okafor"), "ACME, Inc."])
    assert found.authors == "Ada Okafor; ACME, Inc."
    assert separate_names(found.authors) == ["Ada Okafor", "ACME, Inc."]


@pytest.mark.parametrize("extra", ["", "Citation Key: pinned2024"])
def test_citation_key_of_better_bibtex(folder: Path, extra: str) -> None:
    with ZoteroLibrary(folder) as library:
        for number in (1, 2):
            library.add("Ledger", f"{ABSTRACT} {number}", extra=extra)
        library.better_bibtex({1: "ledger2024"})
    first, second = open_table(folder).rows()
    assert first.paper.source["citekey"] == ("pinned2024" if extra else "ledger2024")
    assert second.paper.source.get("citekey", "") == ("pinned2024" if extra else "")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 99])
def test_damaged_better_bibtex(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "better-bibtex.sqlite").write_bytes(content)
    assert "citekey" not in paper(folder).source


@pytest.mark.parametrize(
    "item",
    [
        {"kind": "preprint", "archiveID": "arXiv:2405.12345v2", "repository": "arXiv"},
        {"extra": "arXiv:2405.12345 [cs.CL]"},
        {"DOI": "10.48550/arXiv.2405.12345"},
        {"url": "http://arxiv.org/abs/2405.12345"},
    ],
)
def test_a_preprint_has_its_arxiv_id(folder: Path, item: dict[str, Any]) -> None:
    found = paper(folder, **item)
    assert (found.id_field, found.id) == ("arxiv_id", "2405.12345")
    assert found.source["zotero"] == "users/475425/items/22222223"


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("2024-05-00 May 2024", "2024-05"),
        ("2024-00-00 2024", "2024"),
        ("0000-00-00 in press", "in press"),
        ("0000-05-00 May", "May"),
        ("2024", "2024"),
        ("", ""),
    ],
)
def test_date(folder: Path, written: str, published: str) -> None:
    assert paper(folder, date=written).published == published


def test_libraries_of_an_item(folder: Path, tmp_path: Path) -> None:
    with ZoteroLibrary(folder, user=None) as library:
        library.group("Reading group", 4711)
        library.add("Own", f"{ABSTRACT} 1")
        library.add("Shared", f"{ABSTRACT} 2", library=GROUP)
    [own] = open_table(folder).rows()
    assert own.paper.source["zotero"] == "users/local/items/22222223"
    [shared] = open_table(folder, Columns(collection="Reading group")).rows()
    assert shared.paper.source["zotero"] == "groups/4711/items/22222224"


def test_id_column_chooses_another_id(folder: Path) -> None:
    assert paper(folder, Columns(id="doi"), DOI="10.1234/x").id == "10.1234/x"
