"""/corpus fetch, /corpus complete, and /corpus add of a list of ids, against local servers."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_papers import annotated, corpus_of, paper
from declared_outputs import check_output
from papers_server import ABSTRACT, SHELF, Fault, PapersServer, Work
from repository import ROOT

from harness.cli.app import App
from harness.errors import InputError, NothingFound, UsageError
from harness.runs.jobs import AHEAD, Job, Tally
from harness.testing import fake_app
from skills.corpus.db import completion
from skills.corpus.db.connection import default_path, open_corpus
from skills.corpus.lookups import batches
from skills.corpus.plugin import Corpus
from skills.nanda.paper import Paper


@pytest.fixture
def app(server: PapersServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    made = fake_app(tmp_path)
    yield made
    made.close()


def corpus(app: App, *papers: Paper) -> None:
    """Write a corpus of annotated papers."""
    corpus_of(default_path(app.settings), [annotated(one) for one in papers])


def of_doi(number: int, **changes: Any) -> Paper:
    """Return a paper that is known by its DOI alone."""
    title = {1: "Planner: tools that plan", 2: "Ledger of retracted plans"}.get(number, "")
    fields = {"authors": "Ada Invented", "published": "", **changes}
    return Paper("paper_id", f"10.1000/plan.{number}", title, f"An abstract, {number}.", **fields)


def result(app: App, line: str) -> Any:
    outcome = app.dispatch(line)
    check_output(Corpus(), line.split()[1], outcome.result)
    return json.loads(outcome.result.as_json())


def notices(app: App) -> str:
    return app.screen.err.getvalue()  # type: ignore[attr-defined,no-any-return]


def stored(app: App) -> list[str]:
    with open_corpus(default_path(app.settings)) as db:
        return [row[0] for row in db.execute("SELECT source_id FROM papers ORDER BY id")]


def test_nothing_is_requested_unless_a_source_is_named(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1))
    Path("ids.txt").write_text("10.1000/plan.2\n")
    for line in ("/corpus complete", "/corpus add ids.txt"):
        with pytest.raises(UsageError, match="no source is switched on"):
            app.dispatch(line)
    assert server.asked == []


def test_complete_fills_what_is_unknown(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1), of_doi(2), paper(3))
    data = result(app, "/corpus complete --source openalex")
    assert data["filled"] == {
        "published": 2,
        "venue": 2,
        "cited": 2,
        "retracted": 2,
        "pmid": 2,
        "openalex": 2,
    }
    assert data["retracted"] == ["10.1000/plan.2"]
    # One request is for the two DOIs, the other for the arXiv id of the third paper.
    assert len(server.asked) == 2
    [shown] = result(app, "/corpus show 10.1000/plan.2")["papers"]
    assert (shown["venue"], shown["cited"], shown["retracted"]) == (SHELF[1].venue, 0, True)
    assert shown["published"] == "2024-05-17"
    assert list(shown["looked_up"]) == ["openalex"]
    text = app.dispatch("/corpus show pmid:31000001").result.text
    assert "in Journal of Invented Plans; cited 7 times" in text
    assert "Looked up at openalex (20" in text
    assert "RETRACTED" in app.dispatch("/corpus show 10.1000/plan.2").result.text


def test_a_retraction_notice_is_kept(app: App) -> None:
    corpus(app, of_doi(2))
    result(app, "/corpus complete --source crossref")
    assert "RETRACTED by 10.1000/notice.2" in app.dispatch("/corpus show 1").result.text


def test_what_is_known_is_kept(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1, published="2023-01-02", authors="Someone Else"))
    result(app, "/corpus complete --source openalex")
    [shown] = result(app, "/corpus show 1")["papers"]
    assert (shown["published"], shown["authors"]) == ("2023-01-02", "Someone Else")
    assert shown["title"] == "Planner: tools that plan"


def test_a_source_is_asked_once_and_again_with_refresh(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1))
    line = "/corpus complete --source crossref"
    result(app, line)
    assert len(server.asked) == 1
    assert "Nothing to look up" in app.dispatch(line).result.text
    assert len(server.asked) == 1
    server.shelf = (Work("10.1000/plan.1", title=SHELF[0].title, cited=99),)
    data = result(app, f"{line} --refresh")
    assert data["sources"]["crossref"]["found"] == 1


def test_citations_are_replaced(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1))
    with open_corpus(default_path(app.settings)) as db:
        db.execute("UPDATE papers SET cited = 3")
    assert result(app, "/corpus complete --source crossref")["filled"]["cited"] == 1
    assert result(app, "/corpus show 1")["papers"][0]["cited"] == 7


def test_a_later_source_is_asked_only_for_what_is_left(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1))
    result(app, "/corpus complete --source openalex,crossref,semanticscholar")
    assert [one.path for one in server.asked] == ["/openalex/works"]
    # The second paper is retracted, and OpenAlex does not name the notice.
    corpus(app, of_doi(2))
    result(app, "/corpus complete --source openalex,crossref")
    assert [one.path for one in server.asked[1:]] == ["/openalex/works", "/crossref/works"]
    [shown] = result(app, "/corpus show 2")["papers"]
    assert shown["retraction"] == "10.1000/notice.2"


def test_the_environment_switches_sources_on(
    app: App, server: PapersServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(app, of_doi(1))
    monkeypatch.setenv("HARNESS_SOURCES", "Crossref, pubmed")
    assert list(result(app, "/corpus complete")["sources"]) == ["crossref", "pubmed"]
    monkeypatch.setenv("HARNESS_SOURCES", "scopus")
    with pytest.raises(UsageError, match="HARNESS_SOURCES: unknown source 'scopus'"):
        app.dispatch("/corpus complete")


def test_the_budget_is_shown_before_it_is_spent(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1), of_doi(2), paper(3))
    line = "/corpus complete --source openalex,pubmed"
    data = result(app, f"{line} --dry-run")
    assert server.asked == []
    costs = [
        (one["source"], one["papers"], one["requests"], one["dollars"]) for one in data["budget"]
    ]
    assert costs == [("openalex", 3, 2, 0.0002), ("pubmed", 2, 2, 0)]
    app.dispatch(line)
    assert "$0.0002" in notices(app)


def test_a_limit_of_requests_leaves_the_rest_for_the_same_line(
    app: App, server: PapersServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.corpus.sources.crossref import Crossref
    from skills.corpus.sources.services import Rates

    monkeypatch.setattr(Crossref, "rates", Rates(1, 1, {}))
    corpus(app, of_doi(1), of_doi(2))
    line = "/corpus complete --source crossref --requests 1"
    assert result(app, line)["sources"]["crossref"] == {
        "found": 1,
        "unknown": 0,
        "left": 1,
        "requests": 1,
        "errors": [],
    }
    assert result(app, line)["sources"]["crossref"]["found"] == 1
    assert len(server.asked) == 2


def test_a_failed_request_leaves_its_papers(app: App, server: PapersServer) -> None:
    corpus(app, of_doi(1))
    server.faults = [Fault(body=b"{")]
    outcome = app.dispatch("/corpus complete --source crossref,openalex")
    assert outcome.result.code == 1
    assert "Crossref request failed: the response is not JSON" in notices(app)
    assert outcome.result.data["sources"]["crossref"]["left"] == 1
    assert outcome.result.data["sources"]["openalex"]["found"] == 1


def test_a_source_without_quota_is_not_asked_further(
    app: App, server: PapersServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.corpus.sources.openalex import OpenAlex
    from skills.corpus.sources.services import Rates

    begun = []

    class Watched(Job[Any, Any]):
        def run(self, tasks: Iterable[Any]) -> Tally:
            def counted() -> Iterator[Any]:
                for task in tasks:
                    begun.append(task)
                    yield task

            return super().run(counted())

    monkeypatch.setattr(batches, "Job", Watched)
    monkeypatch.setattr(OpenAlex, "rates", Rates(1, 1, {}))
    corpus(app, of_doi(1), of_doi(2), of_doi(3))
    gone = Fault(429, b'{"error": "Rate limit exceeded"}', {"Retry-After": "20000"})
    server.faults = [gone]
    data = app.dispatch("/corpus complete --source openalex").result.data
    assert (data["sources"]["openalex"]["left"], len(server.asked)) == (3, 1)
    assert len(begun) == AHEAD
    assert result(app, "/corpus complete --source openalex")["sources"]["openalex"]["found"] == 3


def test_another_title_for_a_doi_changes_nothing(app: App, server: PapersServer) -> None:
    corpus(app, Paper("paper_id", "10.1000/plan.1", "Bees and Honey of Corsica", "An abstract."))
    data = result(app, "/corpus complete --source openalex")
    assert data["filled"] == {}
    assert "openalex has 'Planner: Tools That Plan'" in data["other_titles"][0]


def test_a_paper_without_an_id_is_looked_up_by_its_title(app: App, server: PapersServer) -> None:
    known = Paper("id", "7", "Planner: tools that plan!", "An abstract.", authors="Ada Invented")
    other = Paper("id", "8", "Planner: tools that plan", "Another one.", authors="Carl Else")
    corpus(app, known, other)
    assert "Nothing to look up" in app.dispatch("/corpus complete --source openalex").result.text
    line = "/corpus complete --source openalex,crossref,semanticscholar,pubmed --by-title"
    [cost, *_] = result(app, f"{line} --dry-run")["budget"]
    assert (cost["papers"], cost["requests"], cost["dollars"]) == (2, 2, 0.002)
    data = result(app, line)
    assert data["filled"]["doi"] == 1
    assert "has_abstract" not in str(server.asked[0].values)
    [shown] = result(app, "/corpus show 7")["papers"]
    assert shown["identifiers"]["doi"] == "10.1000/plan.1"
    assert result(app, "/corpus show 8")["papers"][0]["identifiers"] == {}
    assert data["other_titles"] == []


def test_a_paper_whose_id_the_source_does_not_know_is_looked_up_by_its_title(app: App) -> None:
    title = "Planner: tools that plan!"
    corpus(app, Paper("arxiv_id", "2401.99999", title, "An abstract.", authors="Ada Invented"))
    assert "Nothing to look up" in app.dispatch("/corpus complete --source crossref").result.text
    data = result(app, "/corpus complete --source crossref --by-title")
    assert data["sources"]["crossref"]["found"] == 1


def test_papers_are_filtered_by_what_was_looked_up(app: App) -> None:
    corpus(app, of_doi(1), of_doi(2), paper(3))
    result(app, "/corpus complete --source openalex")
    assert [one["paper_id"] for one in result(app, "/corpus filter cited>=5")["papers"]] == [
        "10.1000/plan.1"
    ]
    assert [one["paper_id"] for one in result(app, "/corpus filter retracted=yes")["papers"]] == [
        "10.1000/plan.2"
    ]
    assert "1 matching paper is left out, since the retraction status is unknown" in notices(app)
    with pytest.raises(InputError, match="Write retracted=yes"):
        app.dispatch("/corpus filter retracted=maybe")


def test_exported_references_have_what_was_looked_up(app: App, tmp_path: Path) -> None:
    corpus(app, of_doi(1))
    app.dispatch("/corpus complete --source semanticscholar")
    app.dispatch("/corpus export save to all.csl.json")
    [item] = json.loads((tmp_path / "all.csl.json").read_text())
    assert item["container-title"] == SHELF[0].venue
    assert (item["DOI"], item["PMID"]) == ("10.1000/plan.1", "31000001")
    assert item["archive_location"] == "2401.00011"


def test_merging_papers_by_what_was_looked_up(app: App) -> None:
    corpus(app, of_doi(1), Paper("arxiv_id", "2401.00011", "Planner", "Another abstract."))
    result(app, "/corpus complete --source semanticscholar")
    [pair] = result(app, "/corpus duplicates")["pairs"]
    assert (pair["relation"], pair["rule"]) == ("merged", "arxiv")


def test_add_a_list_of_ids(app: App, server: PapersServer, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(
        "# to read\nhttps://doi.org/10.1000/PLAN.1  # the first\n\n31000002\n"
        "10.1000/plan.3\n10.1000/nowhere\nnonsense\ndoi:10.1000/plan.1\n"
    )
    outcome = app.dispatch("/corpus add ids.txt --source openalex,crossref")
    assert outcome.result.code == 1
    data = outcome.result.data
    assert (data["ids"], data["papers"], data["repeated"]) == (4, 2, 1)
    assert data["missing"] == {
        "10.1000/plan.3": "OpenAlex has no abstract of it; /corpus complete may find one",
        "10.1000/nowhere": "not known to OpenAlex, Crossref",
    }
    assert stored(app) == ["10.1000/plan.1", "10.1000/plan.2"]
    shown = notices(app)
    assert "2 ids without a paper to annotate:" in shown
    assert shown.index("$0.0002") < shown.index("2 ids without")
    assert "10.1000/nowhere: not known to OpenAlex, Crossref" in shown
    assert "ids.txt, line 7" in shown
    again = app.dispatch("/corpus add ids.txt --source openalex").result.data
    assert (again["papers"], again["known_papers"]) == (0, 2)
    assert server.asked[-1].values["filter"] == "doi:10.1000/plan.3|10.1000/nowhere"


def test_an_abstract_is_found_later(app: App, server: PapersServer, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("10.1000/plan.3\n")
    app.dispatch("/corpus add ids.txt --source crossref")
    assert stored(app) == []
    data = result(app, "/corpus complete --source semanticscholar")
    assert (data["added"], data["awaited"]) == (0, 1)
    server.shelf = (Work("10.1000/plan.3", openalex="W4400000003", abstract=ABSTRACT.format("It")),)
    data = result(app, "/corpus complete --source openalex")
    assert (data["added"], data["awaited"]) == (1, 0)
    assert stored(app) == ["10.1000/plan.3"]


def test_references_without_an_abstract_are_looked_up_later(app: App, tmp_path: Path) -> None:
    (tmp_path / "refs.bib").write_text(
        "@article{one, title={Planner}, doi={10.1000/plan.1}, author={Invented, Ada}}\n"
        "@article{two, title={Bees}, abstract={Bees make honey of the flowers they visit.}}\n"
    )
    outcome = app.dispatch("/corpus add refs.bib")
    assert "1 paper without an abstract is kept for /corpus complete" in outcome.result.text
    assert result(app, "/corpus complete --source openalex")["added"] == 1
    assert stored(app) == ["two", "one"]


def test_fetch_adds_papers_to_the_corpus(app: App, server: PapersServer) -> None:
    data = result(app, '/corpus fetch openalex "plans before" --max 10')
    assert (data["found"], data["new"], data["known"]) == (2, 2, 0)
    assert stored(app) == ["10.1000/plan.1", "10.1000/plan.2"]
    again = result(app, '/corpus fetch crossref "plans before"')
    assert (again["new"], again["known"]) == (0, 2)
    assert "OpenAlex" in notices(app)
    with open_corpus(default_path(app.settings)) as db:
        assert completion.looked_up(db, 2).retraction == "10.1000/notice.2"


def test_fetch_merges_sources_by_identity(app: App, server: PapersServer) -> None:
    data = result(app, "/corpus fetch openalex,crossref,semanticscholar,pubmed plans before")
    assert data["found"] == 2
    first, second = data["papers"]
    assert (first["doi"], first["pmid"]) == ("10.1000/plan.1", "31000001")
    assert second["retracted"] is True


def test_fetch_saves_a_table_that_annotate_reads(app: App, tmp_path: Path) -> None:
    line = '/corpus fetch openalex "plans" save to found.jsonl -o found.bib -o found.csv'
    app.dispatch(f"{line} -o found.csl.json -o found.ris")
    rows = [json.loads(row) for row in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [row["doi"] for row in rows] == ["10.1000/plan.1", "10.1000/plan.2"]
    with (tmp_path / "found.csv").open(newline="") as file:
        assert [row["cited"] for row in csv.DictReader(file)] == ["7", "0"]
    assert not default_path(app.settings).exists()
    for name in ("found.jsonl", "found.bib", "found.csv", "found.csl.json", "found.ris"):
        path = name if name != "found.csl.json" else "found.csl.json"
        added = app.dispatch(f"/corpus add {path} --db {name}.db").result.data
        assert added["papers"] == 2, name


def test_fetch_refuses_what_it_cannot_save_before_it_asks(app: App, server: PapersServer) -> None:
    with pytest.raises(UsageError, match="which this format requires"):
        app.dispatch("/corpus fetch openalex plans save to found.html")
    assert server.asked == []


@pytest.mark.parametrize(
    ("line", "error", "reason"),
    [
        ("/corpus fetch openalex", InputError, "needs a source and a query"),
        ("/corpus fetch scopus plans", UsageError, "unknown source 'scopus'"),
        ("/corpus fetch openalex basket weaving", NothingFound, "OpenAlex found no paper"),
        ("/corpus complete --source scopus", UsageError, "unknown source 'scopus'"),
        ("/corpus complete now --source openalex", InputError, "takes no text"),
    ],
)
def test_what_cannot_be_done_is_refused(
    app: App, line: str, error: type[Exception], reason: str
) -> None:
    corpus(app, of_doi(1))
    with pytest.raises(error, match=reason):
        app.dispatch(line)


def test_fetch_goes_on_without_a_source_that_fails(app: App, server: PapersServer) -> None:
    server.faults = [Fault(401)]
    outcome = app.dispatch("/corpus fetch openalex,crossref plans")
    assert outcome.result.code == 1
    assert outcome.result.data["found"] == 2
    assert "OPENALEX_API_KEY" in outcome.result.data["errors"][0]


def test_fetch_within_years(app: App, server: PapersServer) -> None:
    app.dispatch("/corpus fetch openalex plans --year 2023.. --dry-run")
    assert server.asked == []
    app.dispatch("/corpus fetch openalex plans --year 2023..")
    assert "from_publication_date:2023-01-01" in server.asked[0].values["filter"]


def test_a_killed_line_keeps_what_it_has_and_goes_on(
    server: PapersServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.shelf = tuple(
        Work(f"10.1000/w.{n}", title=f"Plan number {n} of many", cited=n) for n in range(60)
    )
    server.faults = [None, Fault(hang=True)]

    def looked_up() -> int:
        with open_corpus(tmp_path / "data" / "corpus.db") as db:
            return int(db.execute("SELECT count(*) FROM lookups").fetchone()[0])

    papers = (Paper("paper_id", one.doi, one.title, f"About {one.title}.") for one in server.shelf)
    corpus_of(tmp_path / "data" / "corpus.db", [annotated(one) for one in papers])
    line = [sys.executable, ROOT / "agent.py", "/corpus complete --source crossref"]
    folders = {"HARNESS_DATA": tmp_path / "data", "HARNESS_CACHE": tmp_path / "cache"}
    environment = {**os.environ, **folders, "HARNESS_CONFIG": tmp_path / "config"}
    with subprocess.Popen(line, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as killed:
        while len(server.asked) < 2 or looked_up() < 50:
            assert killed.poll() is None, killed.stderr and killed.stderr.read()
            time.sleep(0.05)
        killed.kill()
    server.released.set()
    assert looked_up() == 50
    done = subprocess.run(
        [*line, "--json"], env=environment, cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["sources"]["crossref"]["found"] == 10
    assert len(server.asked) == 3


def test_the_effect_names_the_sources_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SOURCES", "openalex")
    corpus, options = Corpus(), Corpus.Options.model_validate({"by_title": True})
    assert corpus.effects(options, "complete").endswith("sending ids and titles to openalex")
    assert "openalex" not in corpus.effects(options, "add")
