"""Test /corpus through the application."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from declared_outputs import check_output
from repository import ROOT

from harness.cli.app import App
from harness.errors import HarnessError, InputError, NothingFound, UsageError
from harness.runs.frontend import Frontend, Outcome
from harness.runs.invocation import parse
from harness.settings import CODE_ROOT
from harness.testing import assert_refuses, fake_app
from skills.corpus import commands
from skills.corpus.db import store
from skills.corpus.db.connection import default_path, open_corpus
from skills.corpus.plugin import PICTURES, Corpus
from skills.corpus.records import Failure
from skills.corpus.search import filters
from skills.corpus.table import open_table
from skills.corpus.tables.span_files import spans_of
from skills.nanda.framework import nanda

ITEMS = [
    annotated(paper(1), limitation="Not stated.", method="Dense retrieval of plans."),
    annotated(paper(2, published="2022-01-01"), method="Retrieval by hand, says GPT-9."),
    annotated(paper(3, published="", categories=""), comparison="Beats a baseline."),
]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    made = fake_app(tmp_path)
    corpus_of(default_path(made.settings), ITEMS)
    yield made
    made.close()


def notices(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def data(app: App, line: str) -> Any:
    return json.loads(app.dispatch(line).result.as_json())


@pytest.mark.parametrize(
    "line",
    [
        "search retrieval",
        "search retrieval --like",
        "similar 2405.00001",
        'quote "Dense retrieval"',
        "filter limitation=unstated",
        "stats",
        "show 1",
        "verify",
        "duplicates",
        "filter limitation=unstated save to kept.csv",
        "export all.csv",
    ],
)
def test_results_have_the_declared_form(app: App, line: str) -> None:
    check_output(Corpus(), line.split()[0], app.dispatch(f"/corpus {line}").result)


def test_what_is_imported_has_the_declared_form(app: App) -> None:
    app.dispatch("/corpus export all.csv")
    check_output(Corpus(), "add", app.dispatch("/corpus add all.csv").result)


@pytest.mark.parametrize("name", ["papers.csv", "library.bib"])
def test_papers_may_be_piped(app: App, name: str) -> None:
    piped = Frontend("test", stdin=io.BytesIO((ROOT / "examples" / name).read_bytes()))
    added = app.dispatch("/corpus add - --json", frontend=piped).result.data
    assert added["papers"] > 5
    assert added["file"] == "stdin"


def test_search_shows_marked_hits(app: App) -> None:
    outcome = app.dispatch('/corpus search "retrieval" --move method --year 2024..')
    head, *lines = outcome.result.text.splitlines()
    assert head.split() == ["paper", "year", "title", "move", "found", "by", "text"]
    [line] = lines
    assert line.split(maxsplit=5) == [
        "2405.00001",
        "2024",
        "Paper",
        "1",
        "method",
        "both      Dense **retrieval** of plans.",
    ]
    [hit] = outcome.result.data["hits"]
    assert (hit["arxiv_id"], hit["move"], hit["text"]) == (
        paper(1).id,
        "method",
        "Dense retrieval of plans.",
    )
    assert "left out" not in notices(app)


def test_search_reports_papers_left_out(app: App) -> None:
    assert len(data(app, "/corpus search something --limit 3")["hits"]) == 3
    data(app, "/corpus search something --year 2022")
    assert "1 matching paper is left out, since the year is unknown" in notices(app)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("/corpus search xyzzy", NothingFound, "no move contains xyzzy"),
        (
            "/corpus search retrieval --year 1999",
            NothingFound,
            "contains retrieval of 1999",
        ),
        ("/corpus search retrieval --move scope", NothingFound, "contains retrieval in scope"),
        ("/corpus search retrieval --category cs.XX", NothingFound, "with the category cs.XX"),
        ("/corpus search", InputError, "needs an argument"),
        ("/corpus search *", InputError, "contains no word"),
        ("/corpus search a --move methods", InputError, "no move 'methods'. Did you mean method"),
        ("/corpus search a --year soon", InputError, "'soon' is not a range of years"),
        ("/corpus search a --limit 0", UsageError, "--limit: '0' should be greater than or equal"),
        ("/corpus filter claim=unstated", NothingFound, "no annotation meets claim=unstated"),
        ("/corpus filter", InputError, "there is no condition"),
        ("/corpus show 2405.9", NothingFound, "has no paper 2405.9"),
        ("/corpus show", InputError, "needs an argument"),
        ("/corpus add", InputError, "needs an argument"),
        ("/corpus add none.csv", InputError, "none.csv: there is no such file"),
        ("/corpus stats now", InputError, "takes no text, but got 'now'"),
        ("/corpus", UsageError, "/corpus needs a subcommand. Subcommands: add, search"),
        ("/corpus find x", UsageError, "/corpus has no subcommand 'find'"),
        ("/corpus stats --year 2024", UsageError, "--year does not apply to stats"),
        (
            "/corpus stats --limit 5",
            UsageError,
            "It applies to search, similar, quote, filter and add.",
        ),
        ("/corpus stats save to x.csv", UsageError, "/corpus stats saves no file"),
        ("/corpus page all.csv", UsageError, "all.csv: a page is an .html file"),
        ("/corpus export", UsageError, "/corpus export needs a file"),
        ("/corpus export all.txt", UsageError, "cannot save to the suffix .txt"),
        ("/corpus stats --db none.db", InputError, "none.db: there is no corpus yet"),
    ],
)
def test_rejected_commands(app: App, line: str, error: type[HarnessError], message: str) -> None:
    code = 1 if error is NothingFound else 2
    assert isinstance(assert_refuses(app, line, message, code=code), error)


def test_hint_for_a_phrase_without_hits(app: App) -> None:
    assert_refuses(app, '/corpus search "plans retrieval"', "must be adjacent", code=1)
    assert data(app, "/corpus search 'plans retrieval'")["hits"]


def test_filter_lists_papers(app: App) -> None:
    outcome = app.dispatch("/corpus filter limitation=stated year=2022..")
    lines = outcome.result.text.splitlines()
    assert lines[0].split() == ["paper", "year", "categories", "stated", "title"]
    assert [line.split() for line in lines[1:]] == [
        ["2405.00002", "2022", "cs.CL,", "cs.IR", "8", "of", "8", "Paper", "2"]
    ]
    assert outcome.result.data == {"found": 1, "papers": [ITEMS[1].record]}
    assert "1 matching paper is left out, since the year is unknown" in notices(app)


def test_filter_shows_some_and_saves_all(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SHOWN", 1)
    found = data(app, "/corpus filter claim=stated")
    assert (found["found"], len(found["papers"])) == (3, 1)
    assert "3 papers; the first 1 are shown (--limit N)" in notices(app)
    assert len(data(app, "/corpus filter claim=stated --limit 2")["papers"]) == 2
    app.dispatch("/corpus filter claim=stated save to all.jsonl")
    assert len(Path("all.jsonl").read_text().splitlines()) == 3
    app.dispatch("/corpus filter claim=stated --limit 2 save to two.jsonl")
    assert len(Path("two.jsonl").read_text().splitlines()) == 2


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_hits_are_saved_in_rank_order(app: App) -> None:
    outcome: Outcome = app.dispatch("/corpus search retrieval save to found.csv -o found.md")
    assert [path.name for path in outcome.saved] == ["found.csv", "found.md"]
    assert outcome.result.summary == {
        "papers": 2,
        "corpus": str(default_path(app.settings)),
    }
    ranked = [hit["arxiv_id"] for hit in data(app, "/corpus search retrieval")["hits"]]
    assert [row["arxiv_id"] for row in rows(Path("found.csv"))] == ranked
    text = Path("found.md").read_text(encoding="utf-8")
    assert text.startswith("# Search: retrieval\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## Paper {one[-1]}" for one in ranked
    ]
    assert "- **Method:** Dense retrieval of plans." in text
    assert "Limitation" not in text.split("## Paper 1")[1].split("## ")[0]


@pytest.mark.parametrize("suffix", sorted(set(Corpus.saves) - set(PICTURES)))
def test_export_in_each_format(app: App, suffix: str) -> None:
    outcome = app.dispatch(f"/corpus export all{suffix}")
    [path] = outcome.saved
    content = path.read_bytes()
    assert outcome.result.summary["papers"] == 3  # type: ignore[index]
    if suffix == ".json":
        assert json.loads(content) == [item.record for item in ITEMS]
    elif suffix == ".parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(path).column("arxiv_id").to_pylist() == [i.paper.id for i in ITEMS]
    elif suffix == ".xlsx":
        assert [row.paper.id for row in open_table(path).rows()] == [i.paper.id for i in ITEMS]
    elif suffix == ".annotations.json":
        found = [one["target"]["source"] for one in json.loads(content)["items"]]
        spans = [one for item in ITEMS for one in [item.paper.id] * len(spans_of(item, nanda()))]
        assert [source.rpartition("/")[2] for source in found] == spans
    else:
        assert all(item.paper.id in content.decode() for item in ITEMS)
    app.dispatch(f"/corpus export all{suffix}")
    assert path.read_bytes() == content


@pytest.mark.parametrize(("option", "written"), [("", "'=1+1"), (" --raw", "=1+1")])
def test_a_title_that_a_spreadsheet_would_run(app: App, option: str, written: str) -> None:
    corpus_of(default_path(app.settings), [annotated(replace(paper(4), title="=1+1"))])
    app.dispatch(f"/corpus export{option} all.csv")
    assert [row["title"] for row in rows(Path("all.csv"))][-1] == written
    assert [row.paper.title for row in open_table(Path("all.csv")).rows()][-1] == "=1+1"


def test_page_has_default_name_and_failures(app: App) -> None:
    with open_corpus(default_path(app.settings)) as db:
        failure = Failure(paper(9), "InvalidReply", "It was of no use at all.", False)
        store.fail(db, failure, "a key", request={})
    [path] = app.dispatch("/corpus page").saved
    assert path == Path("corpus.html")
    assert "It was of no use at all." in path.read_text(encoding="utf-8")


def test_several_id_fields_share_a_column(app: App) -> None:
    other = annotated(paper(4, id_field="paper_id"))
    corpus_of(default_path(app.settings), [other])
    app.dispatch("/corpus export all.csv")
    assert [row["id"] for row in rows(Path("all.csv"))] == [
        item.paper.id for item in (*ITEMS, other)
    ]


def test_statistics(app: App) -> None:
    outcome = app.dispatch("/corpus stats")
    text = outcome.result.text
    assert text.startswith("3 papers, 3 annotations by the framework nanda (by annotator 3)")
    [limitation, *_] = [line for line in text.splitlines() if line.startswith("limitation")]
    assert limitation.split()[1:3] == ["67", "(21-94)"]
    assert outcome.result.data["moves"]["limitation"]["stated"]["count"] == 2
    assert [group["name"] for group in outcome.result.data["years"]] == ["2022", "2024", "unknown"]


def test_statistics_of_an_empty_corpus(app: App, tmp_path: Path) -> None:
    with open_corpus(tmp_path / "empty.db"):
        pass
    outcome = app.dispatch("/corpus stats --db empty.db")
    assert outcome.result.text == "0 papers, 0 annotations by the framework nanda"
    assert_refuses(app, "/corpus export all.csv --db empty.db", code=1)


def test_paper_is_shown_with_its_annotation(app: App) -> None:
    text = app.dispatch(f"/corpus show {paper(2).id}").result.text
    assert text.startswith("arxiv_id 2405.00002 (paper 2)\nPaper 2\n2022-01-01; cs.CL, cs.IR\n")
    assert "We test ledger 2." in text
    assert "method       Retrieval by hand, says GPT-9." in text
    method = text.index("method       Retrieval by hand")
    doubt = "\n             ! names that are not in the abstract: GPT-9\n"
    assert method < text.index(doubt) < text.index("scope  "), "beside the move"
    assert app.dispatch("/corpus show 2").result.text == text
    assert app.dispatch("/corpus show arXiv:2405.00002v3").result.text == text
    [shown] = data(app, "/corpus show 2")["papers"]
    assert (shown["arxiv_id"], shown["row"]) == (paper(2).id, 2)
    assert shown["annotations"] == [ITEMS[1].record]


def test_passages_of_a_shown_abstract_are_between_marks(app: App) -> None:
    item = annotated(paper(7), method="Ledgers.")
    for move, span in (("claim", [3, 14]), ("method", [8, 16]), ("scope", [18, 42])):
        item.record["anchors"][move] = {"sentences": [1], "spans": [span], "by": "model"}
    corpus_of(default_path(app.settings), [item])
    text = app.dispatch("/corpus show 2405.00007").result.text
    marked = "[1] We **test ledger 7**. [2] It finds faults in plans. [3] It needs no oracle."
    assert marked in text, "pieces of several moves are one passage; whole sentences are not marked"


def test_all_papers_with_an_id_are_shown(app: App) -> None:
    corpus_of(default_path(app.settings), [annotated(paper(2, "Another abstract."))])
    old, new = data(app, f"/corpus show {paper(2).id}")["papers"]
    assert (old["annotations"], len(new["annotations"])) == ([], 1)
    assert "There is no annotation." in app.dispatch(f"/corpus show {paper(2).id}").result.text


def test_failure_is_shown_with_its_reason(app: App) -> None:
    with open_corpus(default_path(app.settings)) as db:
        store.fail(db, Failure(paper(9), "InvalidReply", "no use", False, "raw"), "k", request={})
    assert "The annotation failed: no use" in app.dispatch("/corpus show 2405.00009").result.text
    [shown] = data(app, "/corpus show 2405.00009")["papers"]
    assert shown["failure"] == {
        "error_type": "InvalidReply",
        "reason": "no use",
        "retryable": False,
        "raw_reply": "raw",
    }


@pytest.mark.parametrize("page", ["docs/corpus.md", "skills/corpus/SKILL.md"])
def test_documented_commands_are_valid(page: str) -> None:
    text = (CODE_ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"^    (/corpus .+)$", text, re.M)
    assert {line.split()[1] for line in lines} >= {*Corpus.subcommands} - {"verify"}
    for line in lines:
        invocation = parse(Corpus(), line.removeprefix("/corpus"))
        assert invocation.subcommand
        if invocation.subcommand == "filter":
            assert filters.parse(invocation.text, nanda())
    if page.startswith("docs"):
        conditions = re.findall(
            r"`([^`]+)`", text.split("| condition")[1].split("All conditions")[0]
        )
        assert len(conditions) > 9
        for condition in conditions:
            if any(sign in condition for sign in "=~<>"):
                assert filters.parse(condition, nanda())


def test_verify(app: App) -> None:
    outcome = app.dispatch("/corpus verify")
    assert outcome.result.text == "3 annotations checked: all match their keys."
    assert outcome.result.code == 0
    with open_corpus(default_path(app.settings)) as db:
        db.execute("UPDATE papers SET abstract = 'Changed.' WHERE id = 2")
    outcome = app.dispatch("/corpus verify")
    assert outcome.result.code == 1
    assert "2405.00002  it was made from another abstract" in outcome.result.text
    assert outcome.result.data["checked"] == 3


def test_files_are_added(app: App, tmp_path: Path) -> None:
    path = tmp_path / "more papers.csv"
    path.write_text("id,abstract,claim\n1,About owls.,Owls see.\n2,,\n")
    outcome = app.dispatch('/corpus add "more papers.csv" --db other.db')
    assert outcome.result.text.splitlines() == [
        "Added 1 paper and 0 annotations from more papers.csv.",
        "Without moves: 1 paper.",
        "Skipped without an abstract: 1 row.",
    ]
    assert outcome.result.data["papers"] == 1
    assert "no annotations were imported, since there is no column evidence, method" in notices(app)
    assert app.dispatch("/corpus stats --db other.db").result.data["papers"] == 1


def test_other_framework_has_its_own_annotations(app: App, tmp_path: Path) -> None:
    text = (ROOT / "skills/nanda/nanda.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(text.replace("name: nanda\n", "name: own\n"))
    assert data(app, "/corpus stats --framework own.yaml")["annotations"] == 0
    assert_refuses(app, "/corpus search retrieval --framework own.yaml", "no move contains", code=1)
