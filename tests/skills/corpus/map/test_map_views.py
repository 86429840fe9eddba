"""The page and the picture of a map as files."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from map_corpus import mapped, planted
from page_corpus import HOSTILE
from page_elements import Elements, assert_harmless, assert_self_contained

from skills.corpus.map import map_views
from skills.corpus.map.field_map import Cell, FieldMap, map_of, read_papers
from skills.corpus.map.map_views import png, svg
from skills.nanda.framework import nanda


def map_(*moves: str, title: str = "Map", **more: str) -> FieldMap:
    moves = moves or ("method", "scope")
    items = [*planted(), mapped(98, "proof", "bees", **more)]
    papers = read_papers(items, nanda(), moves)
    return map_of(papers, nanda(), moves, title=title, crossing=len(moves) == 2)


def written(found: FieldMap) -> bytes:
    file = io.BytesIO()
    map_views.write_html(file, found)
    return file.getvalue()


def test_a_page_needs_nothing_else_and_hostile_text_stays_text() -> None:
    made = written(map_(title=HOSTILE, method=f"Theorems and lemmas. {HOSTILE}"))
    assert_self_contained(made)
    assert_harmless(map_views.SCRIPT.read_text("utf-8"))
    elements = Elements(made)
    assert "img" not in elements.tags
    assert '</script><img src=x onerror="hit=1">' in elements.shown


def test_each_paper_is_listed_once_with_its_moves() -> None:
    elements = Elements(written(map_()))
    assert elements.shown.count("2405.00098") == 1
    ids = elements.values("id")
    assert len(ids) == len(set(ids))
    links = {one.removeprefix("#") for one in elements.values("href") if one.startswith("#")}
    assert links <= set(ids), "each link leads somewhere"


def test_a_long_list_is_cut_and_states_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_views, "LISTED", 4)
    elements = Elements(written(map_("method")))
    assert elements.shown.count("The first 4 are listed") == 3


def test_one_move_has_clusters_and_years_without_a_matrix() -> None:
    elements = Elements(written(map_("method")))
    assert list(elements.tables) == ["Papers by method and year"]
    assert "gap" not in elements.texts


def test_a_picture_is_valid_and_its_text_is_text() -> None:
    root = ET.fromstring(svg(map_(title="Bees & <ships> \u202e")))
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(one.itertext()) for one in root.iter(f"{space}text")]
    assert texts[0].strip() == "Bees & <ships>"
    assert "0 / 3" in texts
    assert "1 gap; about 0 by chance" in texts
    titles = ["".join(one.itertext()) for one in root.iter(f"{space}title")]
    assert any(title.endswith(": 0, expected 3.2") for title in titles)
    assert root.get("role") == "img"


def test_a_cell_has_no_expected_number_if_no_paper_is_in_two_clusters() -> None:
    found = map_()
    assert found.matrix is not None
    cells = tuple(
        tuple(Cell(cell.row, cell.column, ()) for cell in row) for row in found.matrix.cells
    )
    bare = replace(found, matrix=replace(found.matrix, cells=cells, papers=0, by_chance=0.0))
    assert "expected" not in svg(bare).replace("papers / expected", "")


def test_narrow_columns_have_keys_alone() -> None:
    items = [mapped(i, *one.paper.title.split(" of ")) for i, one in enumerate(planted() * 3)]
    moves = ("method", "scope")
    papers = read_papers(items, nanda(), moves)
    for number, named in ((12, True), (30, False)):
        found = map_of(papers, nanda(), moves, title="", crossing=True, number=number)
        assert len(found.groupings[1].clusters) > number - 6
        assert ("rotate(" in svg(found)) == named


def test_a_png_has_twice_the_size_of_the_picture() -> None:
    found = map_()
    root = ET.fromstring(svg(found))
    content = png(found)
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert width == 2 * int(root.attrib["width"])
    assert height == round(2 * float(root.attrib["height"]))
