"""The corpus of --demo."""

from __future__ import annotations

import html
import re
from pathlib import Path

from served_app import served

from skills.corpus.corpus_store import Database
from skills.corpus.db.connection import open_corpus
from skills.corpus.outputs import Verified
from skills.nanda.framework import load, nanda
from skills.nanda.sentences import sentence_spans
from skills.serve import server


def test_it_has_thirty_whole_annotations(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    server.write_demo(path, nanda())
    with open_corpus(path) as db:
        corpus = Database(db, nanda())
        items = list(corpus.annotated(corpus.ids()))
        assert corpus.verify() == Verified(checked=33, wrong=[])  # three are not current
    assert len(items) == 30
    for item in items:
        assert 4 <= len(sentence_spans(item.paper.abstract)) <= 7
        assert len(nanda().stated(item.record)) >= 3
        assert item.paper.authors
        assert item.paper.published
    with served(path) as app, app.client() as client:
        assert "Tide tables from harbour webcams" in client.get("/papers?q=tidemark").text


def test_it_has_an_evaluation_a_training_run_and_a_curation(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    server.write_demo(path, nanda())
    with served(path, workspace=server.DEMO) as app, app.client() as client:
        listed = client.get("/compare").text
        evaluated = re.findall('option value="([^"]+)"[^>]*>[^<]* · evaluation.json<', listed)[:2]
        compared = client.get(
            "/compare/evaluations", params=dict(zip("ab", evaluated, strict=True))
        )
        assert "10 won, 0 tied, 1 lost, and 1 with an invalid" in compared.text
        assert re.search('<a href="/papers/1">Tide tables', compared.text)
        [run] = re.findall('href="(/compare/runs/[^"]+)" dir="auto">demo-annotator<', listed)
        assert 'class="dev"' in client.get(run).text
        [curation] = re.findall('href="(/compare/curations/[^"]+)"', listed)
        assert "20 kept, 10 rejected" in client.get(curation).text
        assert "/curate" in client.get("/jobs").text


def test_its_newest_paper_has_a_pdf_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    server.write_demo(path, nanda())
    with served(path) as app, app.client() as client:
        newest = re.findall(r'href="(/papers/\d+)"', client.get("/papers").text)[0]
        text = client.get(newest).text
        assert "forgetting.pdf, page 1 of 2" in text
        assert "Not found" not in text
        assert '?page=2#place.implication"' in text
        assert client.get(f"{newest}/pages/2.png").headers["content-type"] == "image/png"


def test_a_decision_about_the_paper_with_sections_is_read_again(tmp_path: Path) -> None:
    path, gold = tmp_path / "demo.db", tmp_path / "gold.csv"
    server.write_demo(path, nanda())
    for reviewer in ("Ada", "Bo"):
        with served(path, gold=gold, double=1.0) as app, app.client() as client:
            assert client.post("/review", data={"name": reviewer}).status_code == 200
            decision = client.post("/review/paper", data={"id": "demo-13", "act": "accept"})
            assert decision.status_code == 200
    assert "Forgetting a customer" in gold.read_text(encoding="utf-8")


def test_three_papers_have_another_version(tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    server.write_demo(path, nanda())
    with served(path) as app, app.client() as client:
        text = client.get("/papers/1").text
        [comparison] = re.findall(r'href="(\?version=1&amp;against=\d+)#changes"', text)
        text = client.get(f"/papers/1{html.unescape(comparison)}").text
        assert "<del>" in text
        assert "extractive wording · current" in text
        assert "Versions" in client.get("/papers/3").text
        assert "Versions" not in client.get("/papers/4").text


def test_another_framework_has_the_papers_alone(tmp_path: Path) -> None:
    other = load(Path(__file__).parents[2] / "support" / "two_moves.yaml")
    server.write_demo(tmp_path / "demo.db", other)
    with served(tmp_path / "demo.db", other) as app, app.client() as client:
        assert "30 papers" in client.get("/papers").text
        assert "There is no annotation" in client.get("/papers/1").text
