"""/annotate TABLE: kinds of tables, errors of single rows, and tables larger than memory."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rispy
from annotate_workspace import ABSTRACT, Workspace, counting_reads, paper, write_table

from harness.errors import InputError, UsageError
from harness.runs.jobs import Tally
from harness.terminal.console import Progress
from skills.annotate.annotator import Annotator, Prepared
from skills.annotate.job import AnnotateJob
from skills.annotate.plan import Entry, PaperFile, Plan, from_table
from skills.corpus.db import store
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.store import State
from skills.corpus.references.csl_json import HEADING
from skills.corpus.table import open_table
from skills.corpus.tables.columns import Columns
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ENTRY = "@article{{key{0}, title = {{Paper {0}}}, doi = {{10.5555/{0}}}, abstract = {{{1}}}}}\n"


@pytest.fixture
def library(workspace: Workspace) -> Path:
    path = workspace.folder / "Meine Bücher.bib"
    entries = (ENTRY.format(number, ABSTRACT.format(number)) for number in (1, 2))
    path.write_text("".join(entries) + "@book{three, title = {Three}}\n", encoding="utf-8")
    return path


def test_a_library_becomes_ris_with_notes(workspace: Workspace, library: Path) -> None:
    outcome = workspace.app.dispatch(f'/annotate "{library}" save to notes.ris')
    assert outcome.result.code == 0
    assert "1 left out (no abstract)" in workspace.stderr
    records = rispy.loads((workspace.folder / "notes.ris").read_text(encoding="utf-8"))
    assert [record["id"] for record in records] == ["key1", "key2"]
    assert records[1]["notes"][:2] == [HEADING, "Claim: Claim of method 2."]
    assert not any("Limitation" in note for note in records[1]["notes"])  # which is not stated


def test_a_library_gains_notes_and_keeps_its_entries(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}" save to a.bib')
    text = (workspace.folder / "a.bib").read_text(encoding="utf-8")
    assert text.count(HEADING) == 2
    assert text.endswith("@book{three, title = {Three}}\n")
    for _ in range(2):
        workspace.app.dispatch("/annotate a.bib save to b.bib")
    assert (workspace.folder / "b.bib").read_text(encoding="utf-8") == text
    assert workspace.annotator.counts == {1: 1, 2: 1}
    with pytest.raises(UsageError, match="is the input itself"):
        workspace.app.dispatch("/annotate --force a.bib save to a.bib")


def test_only_the_rows_of_a_limit_gain_notes(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate --limit 1 "{library}" save to a.bib')
    text = (workspace.folder / "a.bib").read_text(encoding="utf-8")
    assert text.count(HEADING) == 1
    assert text.count("@article") == 2


def test_csl_json_beside_the_stored_form(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}" save to a.csl.json -o a.json')
    csl = json.loads((workspace.folder / "a.csl.json").read_text(encoding="utf-8"))
    stored = json.loads((workspace.folder / "a.json").read_text(encoding="utf-8"))
    assert [item["id"] for item in csl] == [record["id"] for record in stored] == ["key1", "key2"]
    assert csl[0]["note"].startswith(HEADING)
    assert stored[0]["claim"] == "Claim of method 1."
    assert stored[0]["provenance"]["input"]["doi"] == "10.5555/1"


def test_a_broken_entry_is_named_and_the_rest_is_annotated(
    workspace: Workspace, library: Path
) -> None:
    library.write_text(f"@article{{x, title={{\n{library.read_text(encoding='utf-8')}", "utf-8")
    outcome = workspace.app.dispatch(f'/annotate "{library}" save to out.csv')
    assert outcome.result.code == 1
    assert f"refused: {library}, line 1: the entry that begins here" in workspace.stderr
    assert (workspace.folder / "out.csv").read_text(encoding="utf-8").count("key") == 2


@pytest.mark.parametrize("line", ["/annotate", "/corpus add"])
def test_an_encoding_that_is_a_guess_is_announced(
    workspace: Workspace, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workspace.folder))
    entry = ENTRY.format(1, ABSTRACT.format(1)).replace("Paper", "Über")
    path = workspace.folder / "a.bib"
    path.write_text(entry, encoding="utf-8")
    workspace.app.dispatch(f"{line} a.bib")
    assert "Windows-1252" not in workspace.stderr
    path.write_text(entry, encoding="latin-1")
    workspace.app.dispatch(f"{line} ~/a.bib")
    assert "a.bib is not UTF-8; it is read as Windows-1252." in workspace.stderr
    [paper] = workspace.app.dispatch("/corpus show key1").result.data["papers"]
    assert paper["title"] == "Über 1"


def test_the_corpus_is_exported_as_references(workspace: Workspace, library: Path) -> None:
    workspace.app.dispatch(f'/annotate "{library}"')
    workspace.app.dispatch("/corpus export all.bib")
    text = (workspace.folder / "all.bib").read_text(encoding="utf-8")
    assert "@misc{key1," in text
    assert "doi = {10.5555/2}" in text
    assert text.count(HEADING) == 2
    workspace.app.dispatch("/corpus search claim save to found.csl.json")
    assert len(json.loads((workspace.folder / "found.csl.json").read_text())) == 2


def test_one_abstract_becomes_a_reference(workspace: Workspace) -> None:
    workspace.app.dispatch(f"/annotate --title One {ABSTRACT.format(7)} save to one.bib")
    text = (workspace.folder / "one.bib").read_text(encoding="utf-8")
    assert "title = {One}" in text
    assert f"annote = {{{HEADING}\nClaim: Claim of method 7." in text


def test_a_library_is_added_to_the_corpus(workspace: Workspace, library: Path) -> None:
    outcome = workspace.app.dispatch(f'/corpus add "{library}"')
    added = outcome.result.data
    assert (added["papers"], added["without_moves"], added["empty"]) == (2, 2, 1)
    assert workspace.app.dispatch("/corpus show key1").result.data["papers"][0]["title"] == (
        "Paper 1"
    )


@pytest.mark.parametrize("line", ["/curate {}", "/evaluate {}"])
def test_a_library_has_no_moves(workspace: Workspace, library: Path, line: str) -> None:
    path = library.rename(workspace.folder / "a.bib")
    with pytest.raises(InputError, match="has no column claim"):
        workspace.app.dispatch(line.format(path))


def test_a_missing_library_is_not_a_topic(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        workspace.app.dispatch("/annotate my own papers.nbib")


@pytest.mark.parametrize(
    "reply",
    ['{"claim": "a \ud83d"}', r'{"claim": "a \ud83d", "\ud83d": "b"}', "\ud83d: \udc00"],
    ids=["in the text", "in an escape", "in a label"],
)
def test_half_a_surrogate_pair_in_a_reply_fails_only_its_row(
    workspace: Workspace, reply: str
) -> None:
    workspace.rows(1, 2, 3)
    workspace.annotator.faults[2] = lambda: reply
    outcome = workspace.annotate()
    assert outcome.result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "3 papers: 2 done, 1 failed (1 InvalidReply" in workspace.stderr
    again = workspace.reopened()
    assert again.annotate().result.code == 1
    assert again.annotator.counts == {}


def test_an_annotation_with_half_a_pair_is_done(workspace: Workspace) -> None:
    workspace.rows(1)
    moves = {name: f"{name} \ud83d of method 1." for name in nanda().names}
    workspace.annotator.faults[1] = lambda: json.dumps(moves)
    assert workspace.annotate().result.code == 0
    record = json.loads((workspace.folder / "out.jsonl").read_text(encoding="utf-8"))
    assert record["claim"] == "claim \ufffd of method 1."


def test_a_reply_that_loops_is_the_error_of_its_row(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    moves = dict.fromkeys(nanda().names, "Not stated.") | {"claim": "It works and " * 24}
    workspace.annotator.faults[2] = lambda: json.dumps(moves)
    assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "1 failed (1 LoopingReply" in workspace.stderr


@pytest.mark.parametrize(
    ("owner", "name"), [(Annotator, "prepare"), (Annotator, "annotate"), (store, "save")]
)
def test_a_fault_of_ours_is_the_error_of_its_row(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    workspace.rows(1, 2, 3)
    known = getattr(owner, name)

    def faulty(*given: Any, **more: Any) -> Any:
        if "method 2 " in str(given):
            raise IndexError("list index out of range")
        return known(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, faulty)
        assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "3 papers: 2 done, 1 failed (1 IndexError" in workspace.stderr
    with open_corpus(workspace.corpus) as db:
        (failure,) = db.execute("SELECT reason, traceback FROM failures")
    assert failure["reason"] == "IndexError: list index out of range"
    assert "in faulty" in failure["traceback"]
    later = workspace.reopened()
    # A failure of `prepare` is repeated anyway, since it has no content key.
    repeat = "" if name == "prepare" else "--retry-failed "
    assert later.annotate(f"{repeat}save to out.jsonl").result.code == 0
    assert later.ids() == ["2401.00001", "2401.00002", "2401.00003"]


def test_a_paper_that_is_too_long_is_refused_before_its_request_is_made(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(workspace.table, {**paper(1), "abstract": ABSTRACT.format(1) + " word" * 1500})

    def faulty(*given: object, **more: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(Annotator, "prepare", faulty)
    assert workspace.annotate().result.code == 1
    with open_corpus(workspace.corpus) as db:
        (failure,) = db.execute("SELECT reason FROM failures")
    assert "words are too many for an abstract" in failure["reason"]


def test_a_fault_of_ours_in_every_row_is_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.rows(1, 2, 3)

    def faulty(*given: object, **more: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(store, "save", faulty)
    monkeypatch.setattr(store, "fail", faulty)
    assert workspace.annotate().result.code == 1
    expected = "3 rows failed, and the error could not be stored; the first: IndexError: list"
    assert expected in workspace.stderr
    assert "Traceback" not in workspace.stderr


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


NOTHING = json.dumps(dict.fromkeys(nanda().names, "Not stated."))


def living_papers() -> int:
    return sum(type(one) is Paper for one in gc.get_objects())


def test_papers_are_not_collected(workspace: Workspace) -> None:
    counts: list[int] = []

    def answer() -> str:
        counts.append(living_papers())
        return NOTHING

    before = living_papers()
    workspace.rows(*range(120))
    workspace.annotator.faults = dict.fromkeys((0, 60, 119), answer)
    assert workspace.annotate("save to out.jsonl -o out.csv").result.code == 0
    assert len(workspace.ids()) == 120
    assert len(counts) == 3
    assert max(counts) - before < 20  # papers in work, and a few that are read ahead
    assert living_papers() - before < 20


def test_callers_receive_the_progress_of_the_work_alone(workspace: Workspace) -> None:
    events: list[Progress] = []
    workspace.app.dispatch(
        f"/annotate {workspace.rows(1, 2)} save to out.jsonl", progress=events.append
    )
    assert (events[0].done, events[0].total) == (0, 2)
    assert (events[-1].done, events[-1].total) == (2, 2)


def test_the_papers_of_a_table_are_in_a_file_without_rows_that_are_left_out(
    workspace: Workspace,
) -> None:
    clash = {**paper(1), "abstract": ABSTRACT.format(9)}
    rows = (paper(1), {**paper(2), "abstract": ""}, paper(1), clash, paper(3), paper(4))
    source = from_table(write_table(workspace.table, *rows), Columns(), limit=5)
    assert dict(source.filtered) == {"no abstract": 1, "repeats an earlier row": 1, "refused": 1}
    assert isinstance(source.papers, PaperFile)
    assert len(source.papers) == 2
    for _ in range(2):
        assert [one.id for one in source.papers] == ["2401.00001", "2401.00003"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx", ".bib"])
def test_a_table_is_opened_and_parsed_once_whatever_is_saved(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    workspace.rows(1)
    workspace.annotate("save to before.jsonl")
    same = {**paper(4), "abstract": ABSTRACT.format(3)}
    write_table(workspace.table, *map(paper, (1, 2, 3)), same)
    path = workspace.table.with_suffix(suffix)
    if suffix != ".csv":
        workspace.app.dispatch(f"/annotate {workspace.table} save to {path} --db other.db")
    workspace.annotator.faults[2] = lambda: "not an annotation"
    with counting_reads(monkeypatch) as reads:
        targets = "save to out.jsonl -o out.csv -o out.xlsx -o out.parquet -o out.md -o out.html"
        outcome = workspace.app.dispatch(f"/annotate {path} {targets}")
    assert reads == {f"opened {path.name}": 1, f"parsed {path.name}": 1}
    summary = outcome.result.summary
    assert (summary["done"], summary["made"], summary["failed"]) == (3, 2, 1)


def test_a_request_is_made_once_and_an_annotation_is_not_read_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.rows(1)
    workspace.annotate("save to before.jsonl")
    same = {**paper(4), "abstract": ABSTRACT.format(3)}
    write_table(workspace.table, *map(paper, (1, 2, 3)), same)
    prepared: list[str] = []
    read: list[str] = []
    prepare, record = Annotator.prepare, store.record

    def recorded_prepare(annotator: Annotator, one: Paper) -> Prepared:
        prepared.append(one.id)
        return prepare(annotator, one)

    def recorded_read(db: Any, key: str, one: Paper) -> dict[str, Any] | None:
        read.append(one.id)
        return record(db, key, one)

    with monkeypatch.context() as patched:
        patched.setattr(Annotator, "prepare", recorded_prepare)
        patched.setattr(store, "record", recorded_read)
        assert workspace.annotate("save to out.jsonl").result.code == 0
    ids = [f"2401.0000{number}" for number in (1, 2, 3, 4)]
    assert workspace.ids() == prepared == ids
    assert set(read) == {"2401.00001"}  # paper 1 was annotated before
    lines = (workspace.folder / "out.jsonl").read_text(encoding="utf-8")
    again = workspace.reopened()
    assert again.annotate("--force save to out.jsonl").result.code == 0
    assert (again.folder / "out.jsonl").read_text(encoding="utf-8") == lines


def test_a_table_that_changes_or_goes_during_the_job_is_annotated_as_it_was(
    workspace: Workspace,
) -> None:
    def change() -> str:
        write_table(workspace.table, paper(5))
        return NOTHING

    def remove() -> str:
        workspace.table.unlink()
        return NOTHING

    workspace.rows(1, 2, 3)
    workspace.annotator.faults = {1: change, 3: remove}
    assert workspace.annotate().result.code == 0
    assert workspace.ids() == ["2401.00001", "2401.00002", "2401.00003"]


def test_papers_with_the_same_abstract_are_annotated_once_and_linked(
    workspace: Workspace,
) -> None:
    write_table(workspace.table, paper(1), {**paper(2), "abstract": ABSTRACT.format(1)})
    for _ in range(2):  # in the second run, both papers are done
        assert workspace.annotate("--force save to out.jsonl").result.code == 0
        assert workspace.annotator.counts == {1: 1}
        assert workspace.ids() == ["2401.00001", "2401.00002"]
        with open_corpus(workspace.corpus) as db:
            current = "SELECT paper_id FROM annotations WHERE current ORDER BY paper_id"
            assert [row["paper_id"] for row in db.execute(current)] == [1, 2]


@pytest.mark.parametrize(("done", "code"), [(5, 130), (6, 0)], ids=["due", "to link"])
def test_ctrl_c_ends_the_search_for_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, done: int, code: int
) -> None:
    workspace.rows(*range(6))
    workspace.annotate(f"--limit {done} save to out.jsonl")
    run, entries = AnnotateJob.run, Plan.entries
    jobs: list[AnnotateJob] = []
    read: list[int] = []

    def started(job: AnnotateJob) -> Tally:
        jobs.append(job)
        return run(job)

    def interrupted(plan: Plan, state: State | None = None) -> Iterator[Entry]:
        for entry in entries(plan, state):
            read.append(entry.place)
            jobs[0].call.cancel.request_stop()
            yield entry

    later = workspace.reopened()
    monkeypatch.setattr(AnnotateJob, "run", started)
    monkeypatch.setattr(Plan, "entries", interrupted)
    assert later.annotate("--force save to out.jsonl").result.code == code
    # The search stops after the first row; then the rows that are done are written.
    assert read == [0, *range(done)]
    assert len(later.ids()) == done
