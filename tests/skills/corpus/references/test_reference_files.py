"""Read reference files as reference managers and PubMed export them, and damaged ones."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

from harness.errors import InputError
from skills.corpus import exporters
from skills.corpus.options import SAVED_REFERENCES
from skills.corpus.records import Annotated
from skills.corpus.table import Columns, open_table
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

EXPORTED = ROOT / "tests" / "data" / "references"
ABSTRACT = "We present Ledger, which books every tool call of an agent with its arguments."

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def papers(path: Path, **options: Any) -> list[Paper]:
    return [row.paper for row in open_table(path, **options).rows()]


def refused(path: Path) -> list[str]:
    rows = open_table(path).rows_or_errors()
    return [str(row) for row in rows if isinstance(row, InputError)]


def stated(paper: Paper) -> dict[str, str]:
    return {k: v for k, v in paper.source.items() if k not in ("kind", "path", "row")}


# Exports of reference managers


def test_better_bibtex() -> None:
    found = papers(ROOT / "examples" / "library.bib")
    assert len(found) == 8
    ledger, plan, quarry, notebook, guidelines, judges, _, maps = found
    assert (ledger.id_field, ledger.id) == ("id", "mullerLedgerKeepingBooks2023")
    assert ledger.title == "Ledger: Keeping Books of Tool Calls"
    assert ledger.authors == "Jörg Müller, Ada Okafor"
    assert ledger.published == "2023-03"
    assert ledger.categories == "agents,auditing,tool use"
    assert "in 87% of failed runs" in ledger.abstract
    assert stated(ledger) == {
        "citekey": "mullerLedgerKeepingBooks2023",
        "doi": "10.5555/jia.2023.0042",
        "venue": "Journal of Invented Agents",
        "year": "2023",
    }
    assert plan.authors == "Inês dos Santos, François Lefèvre"
    assert plan.title == "Plan, Then Act: How Far Should an Agent Look Ahead?"
    assert (quarry.id_field, quarry.id) == ("arxiv_id", "2402.99901")
    assert quarry.authors == "Çelik Arslan, Søren Østberg"
    assert stated(quarry)["arxiv_id"] == "2402.99901"
    assert "2 300 invented manuals" in quarry.abstract
    assert "10^9 parameters" in notebook.abstract
    assert "in O(n) time for n turns" in notebook.abstract
    assert (guidelines.abstract, guidelines.authors) == ("", "World Invented Agency")
    assert stated(guidelines)["pmid"] == "99900001"
    assert judges.authors == "Siân O'Connor, Anke van der Meer, José García"
    assert maps.authors == "Yūki Tanaka, Jiří Novák"
    assert "(≈52%)" in maps.abstract


def test_jabref() -> None:
    ledger, notebook = papers(EXPORTED / "jabref.bib")
    assert ledger.authors == "Jörg Müller, Ada Okafor"
    assert ledger.published == "2023-03"
    assert stated(ledger)["venue"] == "Journal of Invented Agents (supplement)"
    assert (notebook.id_field, notebook.id) == ("arxiv_id", "2501.99902")
    assert stated(notebook)["arxiv_id"] == "2501.99902v2"
    assert (notebook.published, notebook.categories) == ("2025-01-20", "cs.CL")


def test_zotero_ris() -> None:
    ledger, quarry, book = papers(EXPORTED / "zotero.ris")
    assert ledger.id == "10.5555/jia.2023.0042"
    assert (ledger.authors, ledger.published) == ("Jörg Müller, Ada Okafor", "2023-03-17")
    assert ledger.categories == "agents, auditing"
    assert stated(ledger)["venue"] == "Journal of Invented Agents"
    assert (quarry.id_field, quarry.id) == ("arxiv_id", "2402.99901")
    assert quarry.abstract.endswith("old manuals and continues its abstract on a second line.")
    assert (book.title, book.abstract) == ("A Book Without an Abstract", "")


def test_ris_has_the_suffix_of_a_name_last(write: Write) -> None:
    record = f"TY  - JOUR\nTI  - A\nAU  - Moreau, Ana, Jr.\nAB  - {ABSTRACT}\nER  - \n"
    [row] = open_table(write("a.ris", record)).rows()
    assert row.paper.authors == "Ana Moreau Jr."


def test_endnote_ris_without_an_end_tag() -> None:
    maps, plan = papers(EXPORTED / "endnote.ris")
    assert (maps.title, maps.published) == ("Maps of uncertainty for field robots", "2020")
    assert maps.abstract.startswith("Robots in the field")
    assert stated(maps)["pmid"] == "99900002"
    assert (plan.title, plan.authors) == ("Plan, then act", "Ines dos Santos")
    assert plan.published == "2024-07-01"


def test_pubmed() -> None:
    sleep, letter = papers(EXPORTED / "pubmed.nbib")
    assert sleep.title.endswith("a randomised trial in an invented hospital.")
    assert sleep.authors == "Zsófia Kovács, Mei Lin, Diary Study Group"
    assert sleep.published == "2024-03"
    assert sleep.abstract.endswith("in 83% of weeks, compared with 47% on paper.")
    assert stated(sleep) == {
        "doi": "10.5555/im.2024.33",
        "pmid": "99900003",
        "venue": "Imaginary medicine",
        "year": "2024",
    }
    assert (letter.id, letter.abstract, letter.published) == ("99900004", "", "2019")


def test_csl_json() -> None:
    ledger, quarry = papers(EXPORTED / "zotero.csl.json")
    assert ledger.id == "10.5555/jia.2023.0042"  # the DOI, not the address at Zotero
    assert stated(ledger)["citekey"] == "http://zotero.org/users/0/items/AB12CD34"
    assert stated(ledger)["pmid"] == "99900005"
    assert (ledger.authors, ledger.published) == ("Jörg Müller, Anke van der Meer", "2023-03-17")
    assert (quarry.id_field, quarry.id) == ("arxiv_id", "2402.99901")
    assert quarry.abstract == "We introduce Quarry, which digs facts out of old manuals."


def test_an_option_names_another_id() -> None:
    [first, *_] = papers(EXPORTED / "zotero.ris", columns=Columns(id="doi"))
    assert (first.id_field, first.id) == ("id", "10.5555/jia.2023.0042")


@pytest.mark.parametrize(
    "fields",
    [
        "eprint={2405.12345}, archiveprefix={arXiv}",
        "eprint={2405.12345v3}, eprinttype={arxiv}",
        "journal={arXiv preprint arXiv:2405.12345}",
        "journal={CoRR}, volume={abs/2405.12345}, eprint={2405.12345}, eprinttype={arXiv}",
        "url={https://arxiv.org/abs/2405.12345v1}",
        "doi={10.48550/arXiv.2405.12345}",
    ],
)
def test_a_preprint_has_its_arxiv_id(write: Write, fields: str) -> None:
    [paper] = papers(write("a.bib", f"@misc{{key, {fields}, abstract={{{ABSTRACT}}}}}"))
    assert (paper.id_field, paper.id) == ("arxiv_id", "2405.12345")


def test_a_published_paper_has_its_key(write: Write) -> None:
    fields = "eprint={2405.12345}, archiveprefix={arXiv}, journal={Nature}"
    [paper] = papers(write("a.bib", f"@article{{key, {fields}, abstract={{{ABSTRACT}}}}}"))
    assert (paper.id_field, paper.id) == ("id", "key")
    assert stated(paper)["arxiv_id"] == "2405.12345"


# Damaged files


def test_broken_bibtex_is_named_by_line_and_the_rest_is_read(write: Write) -> None:
    path = write(
        "a.bib",
        "@article{one, title={One}, abstract={First.}}\n\n"
        "@article{broken,\n  title = {no end,\n  year = 2020\n\n"
        "@article{no comma\n title={x}}\n\n"
        "@article{two, title={Two}, abstract={Second @ work.}}\n",
    )
    rows = list(open_table(path).rows_or_errors())
    assert [r.paper.id for r in rows if not isinstance(r, InputError)] == ["one", "two"]
    first, second = refused(path)
    assert first.startswith(f"{path}, line 3: the entry that begins here is not valid BibTeX")
    assert f"{path}, line 7:" in second


def test_strings_are_known_in_the_whole_file(write: Write) -> None:
    entries = (f"@misc{{k{n}, abstract={{Text {n}.}}, journal=jia}}\n" for n in range(450))
    path = write("a.bib", '@string{jia = "Journal A"}\n' + "".join(entries))
    found = papers(path)
    assert len(found) == 450
    assert {paper.source["venue"] for paper in found} == {"Journal A"}
    [*_, last] = open_table(path).rows()
    assert last.where.endswith("line 451")


def test_two_entries_of_one_key(write: Write) -> None:
    entry = "@misc{{k, abstract={{{}}}}}\n"
    path = write("a.bib", "".join(map(entry.format, ("First.", "Second.", "First."))))
    [error] = refused(path)
    assert error.startswith(f"{path}, line 2: has the id k of line 1, but another abstract")
    rows = [row for row in open_table(path).rows_or_errors() if not isinstance(row, InputError)]
    assert [row.repeat for row in rows] == [False, True]


def test_a_field_that_is_repeated(write: Write) -> None:
    [paper] = papers(write("a.bib", "@misc{k, title={One}, title={Two}, abstract={Text.}}"))
    assert paper.title == "One"


@pytest.mark.parametrize(
    ("month", "published"),
    [
        ('"1~" # jul', "2020"),
        ('"10~" # jan', "2020"),
        ("{1st quarter}", "2020"),
        ("{July}", "2020-07"),
        ("{7}", "2020-07"),
    ],
)
def test_a_month_is_a_number_or_a_name(write: Write, month: str, published: str) -> None:
    [paper] = papers(write("a.bib", f"@misc{{k, year=2020, month={month}, abstract={{Text.}}}}"))
    assert paper.published == published


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("latin-1", ""),
        ("cp1252", ""),
        ("cp1250", "% Encoding: Cp1250\n\n"),
        ("utf-8", "% Encoding: Cp9999\n\n"),
    ],
)
def test_encodings(write: Write, encoding: str, head: str) -> None:
    text = f"{head}@misc{{k, title={{Müller — Öl}}, abstract={{Text über Ähren.}}}}\n"
    data = text.replace("—", "-").encode(encoding)
    [paper] = papers(write("a.bib", data))
    assert (paper.title, paper.abstract) == ("Müller - Öl", "Text über Ähren.")


def test_a_path_with_blanks_and_umlauts(write: Write) -> None:
    path = write("Meine Bücher.ris", f"TY  - JOUR\r\nTI  - A\r\nAB  - {ABSTRACT}\r\nER  - \r\n")
    assert [paper.title for paper in papers(path)] == ["A"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bib", "nothing here", "has no references"),
        ("a.bib", "@article{broken, title={x", "is not valid BibTeX"),
        ("a.bib", b"@misc{a\x00b, title={x}}", "is a binary file"),
        ("a.bib", b"@misc{a, title={\x81}}", "is neither UTF-8 nor Windows-1252 text"),
        ("a.ris", "TI  - no type\n", "has no references"),
        ("a.nbib", "\n\n", "has no references"),
        ("a.nbib", "PMID- many\n\n", "the record that begins here cannot be read"),
        ("a.nbib", "no tags\n\n", "the record that begins here cannot be read"),
        ("a.json", "[]", "is not CSL-JSON"),
        ("a.json", '{"a": 1}', "is not CSL-JSON"),
        ("a.json", '[{"arxiv_id": "2405.1", "claim": "x"}]', "is not CSL-JSON"),
        ("a.json", '[{"type": "book"},\n x]', "is not JSON"),
        ("a.json", "[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_files_without_references(
    write: Write, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_table(write(name, content))
    assert caught.value.exit_code == 2


def test_other_things_in_csl_json(write: Write) -> None:
    item = {"type": "book", "id": 7, "title": ["x"], "abstract": ABSTRACT, "author": "Doe"}
    item["issued"] = {"date-parts": [["x", []], 3]}
    path = write("a.json", json.dumps({"items": [item, 3, {"no": "type"}]}))
    rows = list(open_table(path).rows_or_errors())
    assert not isinstance(rows[0], InputError)
    assert (rows[0].paper.id, rows[0].paper.title, rows[0].paper.authors) == ("7", "", "")
    assert refused(path)[0].startswith(f"{path}, item 2: is not an item of CSL-JSON")
    assert len(refused(path)) == 2


EXPORTS = sorted((ROOT / "tests" / "data" / "references").iterdir())
PIECES = (
    *(char.encode() for char in "{}\"@#,=\\$%&~^_-[]:;\n\r\v\x85"),
    b"\xff", b"\xc3", b"\n@", b"\n\n", b"  - ", b"\nER  - ", b"\nTY  - JOUR\n", b"null", b"9" * 20,
)  # fmt: skip
ROUNDS = 150


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a part of the data with bytes added, removed and repeated."""
    begin = rng.randrange(len(data)) if rng.random() < 0.5 else 0
    found = bytearray(data[begin : begin + rng.choice((300, 1500, 8000))])
    for _ in range(rng.choice((1, 3, 10, 40))):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(3):
            case 0:
                found[place:place] = rng.choice(PIECES)
            case 1:
                del found[place : place + rng.choice((1, 3, 20))]
            case 2:
                found[place:place] = found[rng.randrange(len(found) + 1) :][:60]
    return bytes(found) or b"x"


def readable_papers(path: Path) -> list[Paper]:
    """Return the papers of a file, none if it is refused as a whole."""
    try:
        rows = list(open_table(path).rows_or_errors())
    except InputError:
        return []
    unexpected = [str(row) for row in rows if isinstance(row, InputError) and "Please" in str(row)]
    assert not unexpected
    return [row.paper for row in rows if not isinstance(row, InputError)]


@pytest.mark.parametrize("source", EXPORTS, ids=lambda path: path.name)
def test_damaged_exports(source: Path, tmp_path: Path) -> None:
    rng = random.Random(source.name)
    path, noted = tmp_path / f"a{source.suffix}", tmp_path / f"b{source.suffix}"
    moves = {**dict.fromkeys(nanda().names, "Not stated."), "claim": "It works."}
    read = 0
    for _ in range(ROUNDS):
        path.write_bytes(damaged(source.read_bytes(), rng))
        found = readable_papers(path)
        read += bool(found)

        def items(found: list[Paper] = found) -> Iterator[Annotated]:
            for paper in found:
                if paper.abstract:
                    yield Annotated(paper, {**moves, "provenance": {"input": {}}})

        writers = exporters.Export(
            nanda(), "id", items, lambda: iter(()), title="x", library=path
        ).writers()
        for suffix in SAVED_REFERENCES if found else ():
            file = io.BytesIO()
            writers[suffix](file)
            if suffix.endswith(path.suffix):
                noted.write_bytes(file.getvalue())
                assert [p.abstract for p in readable_papers(noted)] == [p.abstract for p in found]
    assert read > ROUNDS / 30
