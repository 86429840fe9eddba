"""/corpus map through the application."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_papers import corpus_of
from corpus_parts import write_part
from declared_outputs import check_output
from map_corpus import mapped, planted

from harness.cli.app import App
from harness.errors import Interrupted
from harness.testing import assert_refuses, fake_app
from skills.corpus.db.connection import default_path
from skills.corpus.map import map_views
from skills.corpus.plugin import Corpus


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    made = fake_app(tmp_path)
    corpus_of(default_path(made.settings), planted())
    yield made
    made.close()


def test_a_map_is_shown_as_text_and_json(app: App) -> None:
    result = app.dispatch("/corpus map").result
    assert result.text.startswith(
        "48 papers by method and scope. 3 clusters of method. 3 clusters of scope. "
        "1 of the 9 pairs of clusters is a gap: "
    )
    assert " 0 (3)" in result.text
    check_output(Corpus(), "map", result)
    assert [len(one["clusters"]) for one in result.data["moves"]] == [3, 3]


def test_a_map_is_saved_in_each_format(app: App) -> None:
    outcome = app.dispatch("/corpus map save to map.html -o map.svg -o map.png -o map.json")
    assert [path.name for path in outcome.saved] == ["map.html", "map.svg", "map.png", "map.json"]
    assert outcome.result.summary["clusters"] == {"method": 3, "scope": 3}  # type: ignore[index]
    assert outcome.result.summary["gaps"] == 1  # type: ignore[index]
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("map.json").read_text("utf-8"))["papers"] == 48
    check_output(Corpus(), "map", outcome.result)


def test_a_folder_of_parts_has_the_same_map(app: App) -> None:
    made = app.dispatch("/corpus map year=2021..").result.data
    items = planted()
    write_part(Path("parts/b.parquet"), items[:20])
    write_part(Path("parts/a.parquet"), items[20:])
    app.dispatch("/corpus index parts")
    assert app.dispatch("/corpus map year=2021.. --db parts").result.data == made


def test_a_filter_selects_the_papers(app: App) -> None:
    corpus_of(default_path(app.settings), [mapped(90, "proof", "bees", published="")])
    data = app.dispatch("/corpus map year=2021..2022 --move method").result.data
    shown = app.screen.err.getvalue()  # type: ignore[attr-defined]
    assert "1 matching paper is left out, since the year is unknown" in shown
    assert data["title"] == "Map: year=2021..2022"
    assert data["papers"] == 24
    assert [one["move"] for one in data["moves"]] == ["method"]
    assert data["matrix"] is None


def test_other_moves_are_rows_and_columns(app: App) -> None:
    matrix = app.dispatch("/corpus map --rows scope --columns method").result.data["matrix"]
    assert (matrix["rows"], matrix["columns"]) == ("scope", "method")


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        ("/corpus map --move methods", "there is no move 'methods'", 2),
        ("/corpus map --rows scope", "rows and columns are both the scope", 2),
        ("/corpus map --rows scope --move method", "exclude each other", 2),
        ("/corpus map --clusters 1", "clusters", 2),
        ("/corpus map nonsense", "is not a condition", 2),
        ("/corpus map year=1900", "no annotation meets year=1900", 1),
        ("/corpus map year=2020..2023 --columns claim", "the texts of the claim", 1),
        ("/corpus map save to map.csv", "/corpus map cannot save a .csv file", 2),
        ("/corpus search bees save to found.png", "/corpus search cannot save a .png file", 2),
    ],
)
def test_what_makes_no_map_is_refused(app: App, line: str, message: str, code: int) -> None:
    assert_refuses(app, line, message, code=code)
    assert list(Path().glob("map.*")) == []


def test_a_framework_with_one_move(app: App) -> None:
    Path("one.yaml").write_text(
        'name: one\nversion: "1"\ntitle: One\ninstructions: Find it.\ntuned_instructions: Find.\n'
        "moves:\n  - {name: aim, label: Aim, definition: the aim, write: the aim}\n"
    )
    line = "/corpus map --framework one.yaml"
    message = "the corpus has no annotations by the framework one"
    assert_refuses(app, f"{line} --move aim", message, "`/annotate TABLE` adds", code=1)
    assert_refuses(app, line, "rows and columns are both the aim")


@pytest.mark.parametrize(("module", "line"), [("sklearn", ""), ("resvg_py", " save to map.png")])
def test_without_the_extra_it_is_refused_before_the_corpus_is_read(
    app: App, monkeypatch: pytest.MonkeyPatch, module: str, line: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == module else found(name)
    )
    default_path(app.settings).unlink()
    assert_refuses(app, f"/corpus map{line}", f"this needs {module}", "nanda-harness[map]")


def test_a_png_without_any_font_is_refused(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = map_views._rendered
    monkeypatch.setattr(
        map_views, "_rendered", lambda svg, **more: rendered(svg, skip_system_fonts=True, **more)
    )
    assert_refuses(app, "/corpus map save to map.png", "no font is installed", code=1)


def test_ctrl_c_ends_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skills.corpus.map.clusters._k_means", interrupted)
    with pytest.raises(Interrupted):
        app.dispatch("/corpus map save to map.html")
    assert not Path("map.html").exists()


def test_hostile_conditions_are_harmless_in_every_format(app: App) -> None:
    corpus_of(default_path(app.settings), [mapped(90, "proof", "bees", title="<script>x</script>")])
    app.dispatch('/corpus map claim!~"</title><script>&" save to map.svg -o map.html')
    import xml.etree.ElementTree as ET

    root = ET.fromstring(Path("map.svg").read_text("utf-8"))
    assert {one.tag.split("}")[1] for one in root.iter()}.isdisjoint({"script", "a", "image"})
    assert "<script>x" not in Path("map.html").read_text("utf-8")
