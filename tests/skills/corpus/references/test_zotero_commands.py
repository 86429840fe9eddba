"""Read a Zotero library with /corpus add and /annotate, as a user writes the lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotate_workspace import ABSTRACT, Workspace
from zotero_library import ZoteroLibrary


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("Zotero", "Zötero of Jörg"):
        with ZoteroLibrary(tmp_path / name) as library:
            to_read = library.collection("To read")
            library.add("One", ABSTRACT.format(1), collections=[to_read], tags=["new"])
            library.add("Two", ABSTRACT.format(2), collections=[to_read])
            library.add("Three", ABSTRACT.format(3))
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
