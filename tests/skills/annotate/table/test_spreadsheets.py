"""From a table that a spreadsheet saved, and to one."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotate_workspace import ABSTRACT, Workspace

from skills.corpus.tables.reader import open_table
from skills.nanda.framework import nanda


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_a_table_of_excel_becomes_a_spreadsheet_that_is_read_again(workspace: Workspace) -> None:
    lines = [f"{number};Größe;{ABSTRACT.format(number)};n" for number in (1, 2)]
    text = "\n".join(["id;Titel;Zusammenfassung;Notizen", *lines])
    (workspace.folder / "excel.csv").write_text(text, encoding="cp1252")
    outcome = workspace.app.dispatch("/annotate excel.csv save to out.xlsx")
    assert outcome.result.next.startswith("/curate out.xlsx ")
    assert workspace.stderr.count("excel.csv: read as Windows-1252, columns separated by ';'") == 1
    assert workspace.stderr.count("excel.csv: columns that are not used: Notizen") == 1
    table = open_table(workspace.folder / "out.xlsx", moves=nanda().names)
    found = {row.paper.id: row for row in table.rows()}
    assert (found["2"].paper.title, found["2"].moves["claim"]) == ("Größe", "Claim of method 2.")
    added = workspace.app.dispatch("/corpus add out.xlsx --db other.db").result.data
    assert (added["papers"], added["annotations"]) == (2, 2)
    again = workspace.app.dispatch("/annotate out.xlsx save to again.xlsx")
    assert again.result.code == 0
    assert workspace.annotator.counts == {1: 1, 2: 1}
    files = [(workspace.folder / name).read_bytes() for name in ("out.xlsx", "again.xlsx")]
    assert files[0] == files[1]
