"""A library of Zotero: its items as papers, collections and tags, and lines that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import ABSTRACT as LONG_ABSTRACT
from annotate_workspace import Workspace
from zotero_library import GROUP, ZoteroLibrary

from harness.errors import InputError
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


OWN = {"In to read", "In agents", "In done", "In no collection", "Of a trashed collection"}


def titles(path: Path, **selected: Any) -> set[str]:
    return {row.paper.title for row in open_table(path, Columns(**selected)).rows()}


def test_the_users_own_library_is_read_without_trash_notes_and_groups(library: Path) -> None:
    assert titles(library) == OWN
    assert titles(library / "zotero.sqlite") == OWN


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("To read", {"In to read", "In agents"}),
        ("to READ", {"In to read", "In agents"}),
        ("To read/Agents", {"In agents"}),
        ("Done/Agents", {"In done"}),
        ("Reading group", {"In the group", "Loose in the group"}),
        ("Reading group/Shared", {"In the group"}),
        ("Shared", {"In the group"}),
    ],
)
def test_collection(library: Path, name: str, expected: set[str]) -> None:
    assert titles(library, collection=name) == expected


def test_all_tags_must_be_present(library: Path) -> None:
    assert titles(library, tags=("agents",)) == {"In to read", "In agents"}
    assert titles(library, tags=("agents", "new")) == {"In to read"}
    assert titles(library, tags=("AGENTS",), collection="To read/Agents") == {"In agents"}


@pytest.mark.parametrize(
    ("selected", "messages"),
    [
        ({"collection": "To reed"}, ["no collection 'To reed'", "Did you mean 'To read'?"]),
        ({"collection": "Gone"}, ["no collection 'Gone'"]),
        ({"collection": "xyzzy"}, ["Collections: 'Done', 'Done/Agents', 'Reading group', "]),
        ({"collection": "Agents"}, ["2 collections", "'Done/Agents'", "'To read/Agents'"]),
        ({"tags": ("agent",)}, ["no tag 'agent'", "Did you mean 'agents'?"]),
        (
            {"tags": ("New",), "collection": "To read"},
            ["no item in the collection 'To read' with 'New'"],
        ),
    ],
)
def test_what_does_not_exist(library: Path, selected: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        open_table(library, Columns(**selected))
    assert all(message in str(caught.value) for message in messages), caught.value


def test_empty_library_names_the_groups(tmp_path: Path) -> None:
    with ZoteroLibrary(tmp_path / "empty"):
        pass
    with pytest.raises(InputError, match="has no items"):
        open_table(tmp_path / "empty")
    with ZoteroLibrary(tmp_path / "grouped") as made:
        made.group("Reading group")
    with pytest.raises(InputError, match="`--collection NAME` reads a group: 'Reading group'"):
        open_table(tmp_path / "grouped")


def test_options_are_for_zotero_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,abstract\n1,Text.\n")
    for selected in (Columns(collection="X"), Columns(tags=("x",))):
        with pytest.raises(InputError, match="require a Zotero library"):
            open_table(tmp_path / "t.csv", selected)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("Zotero", "Zötero of Jörg"):
        with ZoteroLibrary(tmp_path / name) as library:
            to_read = library.collection("To read")
            library.add("One", LONG_ABSTRACT.format(1), collections=[to_read], tags=["new"])
            library.add("Two", LONG_ABSTRACT.format(2), collections=[to_read])
            library.add("Three", LONG_ABSTRACT.format(3))
            library.add("Without an abstract")
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


def test_add_a_collection(workspace: Workspace) -> None:
    added = workspace.app.dispatch("/corpus add ~/Zotero --collection 'To read'").result
    assert added.data is not None
    assert (added.data["papers"], added.data["known_papers"]) == (2, 0)
    added = workspace.app.dispatch('/corpus add "~/Zötero of Jörg"').result
    assert added.data is not None
    assert (added.data["papers"], added.data["known_papers"], added.data["empty"]) == (1, 2, 1)


@pytest.mark.parametrize(
    "given", ["~/Zotero", "'~/Zötero of Jörg'", "'~/Zötero of Jörg/zotero.sqlite'"]
)
def test_annotate_a_tag(workspace: Workspace, given: str) -> None:
    workspace.app.dispatch(f"/annotate {given} --tag new save to noted.ris")
    written = (workspace.folder / "noted.ris").read_text()
    assert written.count("TY  - ") == 1
    assert "N1  - Annotation by nanda-harness:\nClaim: " in written
