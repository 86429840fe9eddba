"""Annotations as the notes of references, read back by the libraries themselves."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bibtexparser
import pytest
import rispy
from repository import ROOT

from skills.corpus import exporters
from skills.corpus.identity import identifiers
from skills.corpus.records import Annotated
from skills.corpus.references import bibtex, reference_files
from skills.corpus.references.csl_json import HEADING, NONE_STATED, separate_names, with_note
from skills.corpus.table import open_table
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

EXPORTED = ROOT / "tests" / "data" / "references"
LIBRARY = ROOT / "examples" / "library.bib"
NOTE = f"{HEADING}\nClaim: It is 5% & {{more}}.\nMethod: A method_x ~ $1.\nNovelty: New."
ABSTRACT = "We present Ledger, which books every tool call of an agent with its arguments."

Change = Callable[[str], str]


def annotated(paper: Paper, **moves: str) -> Annotated:
    stated = moves or {
        "claim": "It is 5% & {more}.",
        "method": "A method_x ~ $1.",
        "novelty": "New.",
    }
    record = {
        paper.id_field: paper.id,
        "title": paper.title,
        **dict.fromkeys(nanda().names, "Not stated."),
        **stated,
        "provenance": {"input": dict(paper.source)},
    }
    return Annotated(paper, record)


def items(path: Path, **moves: str) -> list[Annotated]:
    rows = open_table(path).rows()
    return [annotated(row.paper, **moves) for row in rows if row.paper.abstract]


def saved(found: list[Annotated], suffix: str, library: Path | None = None) -> str:
    def all_of_them() -> Iterator[Annotated]:
        return iter(found)

    write = exporters.Export(
        nanda(), "id", all_of_them, lambda: iter(()), title="x", library=library
    ).writers()[suffix]
    file = io.BytesIO()
    write(file)
    return file.getvalue().decode()


def entries(text: str) -> dict[str, dict[str, str]]:
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    return {e.key: {f.key: f.value for f in e.fields} for e in library.entries}


def paper_of(text: str, suffix: str, folder: Path) -> Paper:
    path = folder / f"again{suffix}"
    path.write_text(text, encoding="utf-8")
    [row] = open_table(path).rows()
    return row.paper


@pytest.mark.parametrize("suffix", [".bib", ".ris", ".csl.json"])
def test_notes_have_the_doubts_and_are_replaced(suffix: str, tmp_path: Path) -> None:
    paper = Paper("id", "1", "A title", ABSTRACT)
    item = annotated(paper)
    one = {"text": "Of ledgers.", "confidence": 0.21, "sentences": [1], "spans": [[0, 9]]}
    doubt = {
        "confidence": {"claim": 0.351, "scope": 0.1},
        "anchors": {"claim": {}},
        "suggestions": {"scope": one},
    }
    text = saved([Annotated(paper, {**item.record, **doubt})], suffix)
    assert "Claim (uncertain, 0.35): It is 5" in text
    assert "Suggestion for Scope (0.21): Of ledgers." in text

    library = tmp_path / f"library{suffix}"
    library.write_text(text, encoding="utf-8")
    again = saved(items(library), suffix, library)
    assert "Claim: It is 5" in again
    assert "uncertain" not in again
    assert "Suggestion" not in again


@pytest.mark.parametrize("authors", ["Anna Müller, Bo Li", "Müller, Anna; Li, Bo"])
def test_authors_of_a_table(authors: str) -> None:
    paper = Paper("id", "1", "A title", ABSTRACT, authors=authors)
    [entry] = entries(saved([annotated(paper)], ".bib")).values()
    assert entry["author"] == "Müller, Anna and Li, Bo"


def test_braces_in_a_doi_and_an_address_are_kept() -> None:
    file = io.BytesIO()
    item = {"DOI": "10.1000/a{b}c", "URL": "https://x.org/{abc}/}d"}
    bibtex.write([(item, "")], file)
    [entry] = entries(file.getvalue().decode()).values()
    assert identifiers.doi(entry["doi"]) == item["DOI"]
    assert unquote(entry["url"]) == item["URL"]


# Writing in the same format keeps everything


@pytest.mark.parametrize("path", [LIBRARY, EXPORTED / "jabref.bib"], ids=lambda path: path.name)
def test_bibtex_keeps_everything_and_gains_notes(path: Path, tmp_path: Path) -> None:
    before = path.read_text(encoding="utf-8")
    text = saved(items(path), ".bib", path)
    old, new = entries(before), entries(text)
    assert list(new) == list(old)
    for key, fields in old.items():
        kept = {name: value for name, value in new[key].items() if name != "annote"}
        if "abstract" in fields and "annotation" not in fields:
            assert kept == fields
            assert new[key]["annote"].startswith(f"{HEADING}\nClaim: It is 5\\% \\& ")
    removed = set(before.splitlines()) - set(text.splitlines())
    assert all(line + "," in text or "annotation" in line for line in removed)
    copy = tmp_path / "noted.bib"
    copy.write_text(text, encoding="utf-8")
    assert saved(items(copy), ".bib", copy) == text
    changed = saved(items(copy, claim="Another."), ".bib", copy)
    assert changed.count(HEADING) == text.count(HEADING) == len(items(path))
    assert "A method" not in changed


def test_a_note_of_the_user_stays_above_ours() -> None:
    [found] = [
        fields for fields in entries(saved(items(LIBRARY), ".bib", LIBRARY)).values()
        if "annotation" in fields
    ]  # fmt: skip
    assert found["annotation"].startswith(f"Read chapters 2 and 4 first.\n\n{HEADING}\n")
    assert "annote" not in found


def test_broken_and_repeated_entries_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.bib"
    path.write_text(
        "% a comment\n@string{a = {A}}\n\n"
        f"@article{{one, abstract={{{ABSTRACT}}}, journal = a # \" b\"}}\n"
        "@article{broken, title={x\n\n"
        f"@article(two, abstract={{{ABSTRACT} Again.}})\n@preamble{{\"x\"}}\nthe end",
        encoding="utf-8",
    )  # fmt: skip
    rows = (row for row in open_table(path).rows_or_errors() if not isinstance(row, Exception))
    text = saved([annotated(row.paper) for row in rows], ".bib", path)
    assert text.count(HEADING) == 2
    assert text.startswith("% a comment\n@string{a = {A}}\n\n@article{one, abstract")
    assert 'journal = a # " b",\n  annote = {' in text
    assert "@article{broken, title={x\n\n@article(two, " in text
    assert text.endswith('}\n)\n@preamble{"x"}\nthe end')


@pytest.mark.parametrize("name", ["zotero.ris", "endnote.ris"])
def test_ris_keeps_everything_and_gains_notes(name: str, tmp_path: Path) -> None:
    path = EXPORTED / name
    before = path.read_text(encoding="utf-8").splitlines()
    text = saved(items(path), ".ris", path)
    kept = iter(text.splitlines())
    assert all(line in kept for line in before)  # in this order
    records = rispy.loads(text)
    assert [bool(r.get("abstract") or r.get("notes_abstract")) for r in records] == [
        any(HEADING in note for note in r.get("notes", ())) for r in records
    ]
    assert records[0]["notes"][-4:] == NOTE.splitlines()  # one N1 field of several lines
    copy = tmp_path / "noted.ris"
    copy.write_text(text, encoding="utf-8")
    assert saved(items(copy), ".ris", copy) == text
    assert saved(items(copy, claim="Another."), ".ris", copy).count(HEADING) == 2


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("path", [LIBRARY, EXPORTED / "zotero.ris"], ids=lambda path: path.name)
def test_line_ends_are_kept(path: Path, end: str, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
    text = saved(items(copy), path.suffix, copy)
    assert text.replace(end, "\n") == saved(items(path), path.suffix, path)
    assert "\n" not in text.replace(end, "")


@pytest.mark.parametrize("suffix", [".bib", ".ris", ".csl.json"])
def test_notes_are_not_collected_and_the_first_of_a_reference_is_written(
    suffix: str, tmp_path: Path
) -> None:
    library = tmp_path / f"library{suffix}"
    papers = [Paper("id", f"k{number}", "A title", f"{ABSTRACT} {number}") for number in range(3)]
    library.write_text(saved(list(map(annotated, papers)), suffix), encoding="utf-8")
    first, second = (items(library, claim=claim) for claim in ("First.", "Second."))
    taken, at_writes = [], []

    def counted() -> Iterator[Annotated]:
        for one in itertools.chain.from_iterable(zip(first, second, strict=True)):
            taken.append(one)
            yield one

    class Watched(io.BytesIO):
        def write(self, data: Any) -> int:
            at_writes.append(len(taken))
            return super().write(data)

    file = Watched()
    reference_files.write(file, suffix, counted(), nanda(), library)
    assert at_writes[0] == 1
    text = file.getvalue().decode()
    assert (text.count("First."), text.count("Second.")) == (3, 0)


def test_a_copy_in_utf_8_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.bib"
    entry = f"@misc{{a, title={{Öl}}, abstract={{{ABSTRACT}}}}}\n"
    path.write_text(f"% Encoding: Cp1252\n\n{entry}", encoding="cp1252")
    text = saved(items(path), ".bib", path)
    assert text.startswith("% Encoding: UTF-8\n\n@misc{a, title={Öl}")


def test_csl_json_keeps_everything_and_gains_notes(tmp_path: Path) -> None:
    path = EXPORTED / "zotero.csl.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    text = saved(items(path), ".csl.json", path)
    after = json.loads(text)
    assert after[0]["note"] == f"PMID: 99900005\n\n{NOTE}"
    for old, new in zip(before, after, strict=True):
        assert {**new, "note": ""} == {**old, "note": ""}
    copy = tmp_path / "noted.json"
    copy.write_text(text, encoding="utf-8")
    assert saved(items(copy), ".csl.json", copy) == text


def test_a_note_whose_lines_were_joined_is_replaced() -> None:
    joined = f"Mine.\n\n{NOTE}".replace("Novelty", "Other").replace("\nClaim", " Claim")
    assert with_note(joined, NOTE) == f"Mine.\n\n{NOTE}"
    assert with_note(f"{joined}\n\nBelow.", NOTE) == f"Mine.\n\nBelow.\n\n{NOTE}"


def test_an_abstract_that_states_nothing(tmp_path: Path) -> None:
    paper = Paper("id", "a", "A", ABSTRACT)
    text = saved([annotated(paper, claim="Not stated.")], ".ris")
    assert f"N1  - {HEADING}\n{NONE_STATED}\nER  - \n" in text


# Writing in another format keeps the fields that both formats have


SOURCES = ("jabref.bib", "zotero.ris", "pubmed.nbib", "zotero.csl.json")
CONVERSIONS = [
    (name, suffix)
    for name, suffix in itertools.product(SOURCES, (".bib", ".ris", ".csl.json"))
    if not name.endswith(suffix)
]


@pytest.mark.parametrize(("name", "suffix"), CONVERSIONS)
def test_a_paper_is_the_same_in_every_format(name: str, suffix: str, tmp_path: Path) -> None:
    path = EXPORTED / name
    for item in items(path):
        text = saved([item], suffix, path)
        again = paper_of(text, f".{suffix.rpartition('.')[2]}", tmp_path)
        before = item.paper
        assert (again.title, again.authors) == (before.title, before.authors)
        assert (again.abstract, again.published) == (before.abstract, before.published)
        assert again.is_arxiv == before.is_arxiv
        for key in ("doi", "pmid", "venue"):
            assert again.source.get(key) == before.source.get(key)


@pytest.mark.parametrize("suffix", [".bib", ".ris", ".csl.json"])
def test_authors_that_are_left_out(suffix: str, tmp_path: Path) -> None:
    library = tmp_path / "others.bib"
    library.write_text(
        f"@article{{a, title={{A}}, author={{Li, Bo and others}}, abstract={{{ABSTRACT}}}}}"
    )
    found = items(library)
    assert found[0].paper.authors == "Bo Li, et al."
    for library_or_none in (library, None):
        text = saved(found, suffix, library_or_none)
        assert "Li" in text
        assert "et al." not in text
        assert ("and others}" in text) is (suffix == ".bib")


@pytest.mark.parametrize(
    ("authors", "names"),
    [
        ("Müller, Jörg", ["Müller, Jörg"]),
        ("van Gogh, Vincent", ["van Gogh, Vincent"]),
        ("Müller, Jörg Peter", ["Müller, Jörg Peter"]),
        ("Anna Müller, Bo Li", ["Anna Müller", "Bo Li"]),
        ("Müller, et al.", ["Müller", "et al."]),
        ("ACME, Inc.; Li", ["ACME, Inc.", "Li"]),
        ("Anna, Bo, Li", ["Anna", "Bo", "Li"]),
    ],
)
def test_the_names_in_the_authors_of_a_table(authors: str, names: list[str]) -> None:
    assert separate_names(authors) == names


def test_the_example_as_ris() -> None:
    records = rispy.loads(saved(items(LIBRARY), ".ris", LIBRARY))
    assert len(records) == 7
    ledger = records[0]
    assert ledger["type_of_reference"] == "JOUR"
    assert ledger["authors"] == ["Müller, Jörg", "Okafor, Ada"]
    assert (ledger["start_page"], ledger["end_page"]) == ("101", "118")
    assert ledger["notes"] == NOTE.splitlines()
    assert records[5]["notes"][0] == "Read chapters 2 and 4 first."


def test_a_note_is_replaced_in_another_format(tmp_path: Path) -> None:
    path = tmp_path / "noted.ris"
    path.write_text(saved(items(LIBRARY), ".ris", LIBRARY), encoding="utf-8")
    text = saved(items(path, claim="Another."), ".bib", path)
    assert text.count(HEADING) == 7
    assert "A method" not in text
    thesis = entries(text)["haddadWhenAgentsDisagree2021"]
    assert thesis["note"] == "Read chapters 2 and 4 first."
    assert thesis["annote"] == f"{HEADING}\nClaim: Another."


def test_papers_without_references(tmp_path: Path) -> None:
    paper = Paper(
        "arxiv_id", "2405.12345", "LLMs at {work} & rest", f"{ABSTRACT} 100% $5 #1 C:\\x_y^2~",
        {"kind": "corpus"}, "Jörg van der Müller, Group", "2024-05-17", "cs.CL cs.AI",
    )  # fmt: skip
    own = Paper("id", "0123456789ab", "Own", ABSTRACT, authors="", published="")
    text = saved([annotated(paper), annotated(paper), annotated(own)], ".bib")
    found = entries(text)
    assert list(found) == ["muller2024", "muller2024-2", "0123456789ab"]
    first = found["muller2024"]
    assert first["title"] == r"{LLMs} at \textbraceleft{}work\textbraceright{} \& rest"
    assert first["author"] == "van der Müller, Jörg and {Group}"
    assert (first["year"], first["month"], first["day"]) == ("2024", "may", "17")
    assert (first["eprint"], first["archiveprefix"]) == ("2405.12345", "arXiv")
    again = paper_of(text.partition("\n\n@")[0], ".bib", tmp_path)
    assert (again.id_field, again.id) == ("arxiv_id", "2405.12345")
    assert (again.title, again.abstract) == (paper.title, paper.abstract)
    [other] = json.loads(saved([annotated(own)], ".csl.json"))
    assert other == {
        "id": "0123456789ab", "type": "article", "title": "Own", "abstract": ABSTRACT,
        "note": NOTE,
    }  # fmt: skip


def test_what_an_annotation_states_of_its_input_is_written() -> None:
    known: dict[str, Any] = {"citekey": "key1", "doi": "10.5555/1", "venue": "Journal", "pmid": "7"}
    item = annotated(Paper("id", "x", "X", ABSTRACT, {"kind": "corpus"}))
    item.record["provenance"]["input"].update(known)  # type: ignore[index]
    [(key, fields)] = entries(saved([item], ".bib")).items()
    assert (key, fields["doi"], fields["journal"]) == ("key1", "10.5555/1", "Journal")
    assert fields["pmid"] == "7"
