"""A library of Zotero with nested collections, a group and a trash."""

from __future__ import annotations

from pathlib import Path

import pytest
from zotero_library import GROUP, ZoteroLibrary

ABSTRACT = "We present Ledger, which books every tool call of an agent with its arguments."


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The data directory, whose path has blanks and umlauts."""
    folder = tmp_path / "Zötero of Jörg"
    with ZoteroLibrary(folder) as made:
        to_read = made.collection("To read")
        agents = made.collection("Agents", to_read)
        other = made.collection("Agents", made.collection("Done"))
        gone = made.collection("Gone", trashed=True)
        made.group("Reading group")
        shared = made.collection("Shared", library=GROUP)
        made.add("In to read", f"{ABSTRACT} 1", collections=[to_read], tags=["agents", "new"])
        made.add("In agents", f"{ABSTRACT} 2", collections=[agents], tags=["agents"])
        made.add("In done", f"{ABSTRACT} 3", collections=[other], tags=["New"])
        made.add("In no collection", f"{ABSTRACT} 4")
        made.add("In the trash", f"{ABSTRACT} 5", collections=[to_read], trashed=True)
        made.add("Attachment", kind="attachment", collections=[to_read])
        made.add("Note", kind="note", collections=[to_read])
        made.add("Of a trashed collection", f"{ABSTRACT} 6", collections=[gone])
        made.add("In the group", f"{ABSTRACT} 7", library=GROUP, collections=[shared])
        made.add("Loose in the group", f"{ABSTRACT} 8", library=GROUP)
    return folder
