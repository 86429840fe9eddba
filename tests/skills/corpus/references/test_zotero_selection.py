"""Select items of a Zotero library by collection and tag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from zotero_library import ZoteroLibrary

from harness.errors import InputError
from skills.corpus.table import Columns, open_table

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
        ({"collection": "xyzzy"}, ["There are 'Done', 'Done/Agents', 'Reading group', "]),
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
        with pytest.raises(InputError, match="select papers of a Zotero library"):
            open_table(tmp_path / "t.csv", selected)
