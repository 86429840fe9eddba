"""/annotate TABLE: results are stored at once, never repeated, and failures are kept."""

from __future__ import annotations

import _thread
import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annotate_workspace import ABSTRACT, Annotator, Workspace, paper, write_table
from declared_outputs import check_output

from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    ModelBusy,
    ModelError,
    ModelUnavailable,
    OutputError,
    UsageError,
)
from harness.settings import CODE_ROOT
from harness.support.process import job_lock
from harness.support.stop_token import StopToken
from skills.annotate.job import AnnotateJob
from skills.annotate.plugin import Annotate
from skills.corpus.db.connection import locks, open_corpus
from skills.corpus.db.damage import verify
from skills.corpus.records import key_of
from skills.nanda.framework import nanda

GONE = "backend: ollama, model: nowhere, url: 'http://127.0.0.1:9'"


def gone_at_first() -> Callable[[], str]:
    """Return a fault of a server that cannot be reached for the first request."""
    calls: list[int] = []

    def answer() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ModelUnavailable("the server cannot be reached")
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    return answer


def test_a_table_becomes_lines_in_order(workspace: Workspace) -> None:
    workspace.rows(3, 1, 2)
    outcome = workspace.annotate()
    assert outcome.result.code == 0
    assert workspace.ids() == ["2401.00003", "2401.00001", "2401.00002"]
    record = json.loads((workspace.folder / "out.jsonl").read_text().splitlines()[0])
    assert list(record) == ["arxiv_id", "title", *nanda().names, "anchors", "checks", "provenance"]
    assert record["title"] == "Paper 3"
    assert record["claim"] == "Claim of method 3."
    assert record["provenance"]["key"] == key_of(record["provenance"])
    assert record["provenance"]["input"]["row"] == "1"
    assert verify(record, ABSTRACT.format(3)) == []
    assert verify(record, ABSTRACT.format(4)) == ["it was made from another abstract"]
    assert "3 papers: 3 done; 3 in 0 s" in workspace.stderr


def test_every_suffix_is_written(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotate("save to a.csv -o a.jsonl -o a.parquet -o a.json -o a.md -o a.html")
    with (workspace.folder / "a.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["arxiv_id", "title", "abstract", *nanda().names]
    assert table[1][:3] == ["2401.00001", "Paper 1", ABSTRACT.format(1)]
    assert [r["arxiv_id"] for r in json.loads((workspace.folder / "a.json").read_text())] == [
        row[0] for row in table[1:]
    ]
    assert "Claim of method 2." in (workspace.folder / "a.md").read_text()
    assert "Claim of method 2." in (workspace.folder / "a.html").read_text()
    assert (workspace.folder / "a.parquet").read_bytes()[:4] == b"PAR1"


def test_a_csv_target_keeps_the_inputs_id_column(workspace: Workspace) -> None:
    rows = [
        {"doi": "10/a", "text": ABSTRACT.format(1)},
        {"doi": "10/b", "text": ABSTRACT.format(2)},
    ]
    write_table(workspace.table, *rows)
    workspace.annotate("--abstract-column text --id-column doi save to a.csv")
    lines = (workspace.folder / "a.csv").read_text().splitlines()
    assert lines[0].startswith("doi,title,abstract,claim,")
    assert [line.split(",")[0] for line in lines[1:]] == ["10/a", "10/b"]


def test_without_a_target_the_lines_go_to_stdout(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotate("")
    lines = workspace.app.screen.out.getvalue().splitlines()  # type: ignore[union-attr]
    assert [json.loads(line)["arxiv_id"] for line in lines] == ["2401.00001", "2401.00002"]


def test_the_summary_object(workspace: Workspace) -> None:
    write_table(workspace.table, paper(1), paper(2), {**paper(3), "abstract": ""}, paper(1))
    workspace.annotator.faults[2] = lambda: "no JSON"
    outcome = workspace.annotate()
    summary = outcome.result.summary
    assert summary is not None
    assert json.loads(outcome.result.as_json()) == summary
    check_output(Annotate(), "", outcome.result)
    counts = {key: summary[key] for key in ("rows", "done", "made", "failed", "errors", "pending")}
    assert counts == {
        "rows": 4,
        "done": 1,
        "made": 1,
        "failed": 1,
        "errors": {"InvalidReply": 1},
        "pending": 0,
    }
    assert summary["filtered"] == {"no abstract": 1, "repeats an earlier row": 1}
    assert (summary["model"], summary["requested"]) == ("nanda-annotator", "nanda-annotator")
    assert summary["tokens"]["completion"] == 60  # two answers of the failed row, one of the other
    assert outcome.result.code == 1


def test_done_rows_are_not_repeated(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotate()
    later = workspace.reopened()
    later.annotate()
    assert later.annotator.counts == {}
    assert "2 done before" in later.stderr
    assert "2 papers: 2 done (0 now)" in later.stderr
    assert later.ids() == ["2401.00001", "2401.00002"]


def test_new_rows_of_an_input_are_annotated(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotate()
    workspace.rows(3, 1, 2, 4)
    later = workspace.reopened()
    later.annotate()
    assert later.annotator.counts == {3: 1, 4: 1}
    assert later.ids() == ["2401.00003", "2401.00001", "2401.00002", "2401.00004"]


def test_an_abstract_is_generated_once_across_files(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate()
    write_table(workspace.table, {**paper(1), "arxiv_id": "9", "title": "Other"}, paper(2))
    workspace.annotate("--id-column arxiv_id save to other.jsonl")
    assert workspace.annotator.counts == {1: 1, 2: 1}
    first = json.loads((workspace.folder / "other.jsonl").read_text().splitlines()[0])
    assert (first["arxiv_id"], first["title"]) == ("9", "Other")


def test_a_repeated_abstract_is_generated_once(workspace: Workspace) -> None:
    write_table(workspace.table, paper(1), {**paper(1), "arxiv_id": "2401.99999"}, paper(2))
    workspace.annotate()
    assert workspace.annotator.counts == {1: 1, 2: 1}
    assert workspace.ids() == ["2401.00001", "2401.99999", "2401.00002"]
    assert "3 papers: 3 done; 3 in" in workspace.stderr  # not "(2 now)", since all are new
    with open_corpus(workspace.corpus) as db:
        assert db.execute("SELECT count(*) FROM annotations").fetchone()[0] == 3


def test_the_rows_of_a_repeated_abstract_fail_together(workspace: Workspace) -> None:
    write_table(workspace.table, paper(1), {**paper(1), "arxiv_id": "2401.99999"})
    workspace.annotator.faults[1] = lambda: "no JSON"
    summary = workspace.annotate().result.summary
    assert (summary["failed"], summary["failed_now"]) == (2, 2)
    later = workspace.annotate().result.summary
    assert (later["failed"], later["failed_now"]) == (2, 0)


@pytest.mark.parametrize("changed", ["--max-tokens 300", "--framework own.yaml"])
def test_a_changed_prompt_or_sampling_is_new_work(workspace: Workspace, changed: str) -> None:
    text = (CODE_ROOT / "skills" / "nanda" / "nanda.yaml").read_text(encoding="utf-8")
    own = text.replace("max_words: 1500", "max_words: 1400")
    (workspace.folder / "own.yaml").write_text(own, encoding="utf-8")
    workspace.rows(1)
    workspace.annotate()
    workspace.annotate(f"{changed} save to other.jsonl")
    assert workspace.annotator.counts == {1: 2}


def test_the_newest_annotation_is_current(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate()
    other = Annotator()
    other.digests = {"fake": "1" * 64}
    later = workspace.reopened(other)
    later.annotate()
    assert other.counts == {1: 1}
    with open_corpus(workspace.corpus) as db:
        assert [row["current"] for row in db.execute("SELECT current FROM annotations")] == [0, 1]
        later.reopened().annotate()
        rows = list(db.execute("SELECT current, annotation_id FROM moves GROUP BY annotation_id"))
        assert [row["current"] for row in rows] == [1, 0]


def test_a_failed_row_keeps_its_reply(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.annotator.faults[2] = lambda: '{"claim": "half'
    outcome = workspace.annotate()
    assert outcome.result.code == 1
    assert workspace.ids() == ["2401.00001", "2401.00003"]
    assert "1 failed (1 InvalidReply; --retry-failed repeats them)" in workspace.stderr
    with open_corpus(workspace.corpus) as db:
        failure = next(iter(db.execute("SELECT * FROM failures")))
    assert failure["raw_reply"] == '{"claim": "half'
    assert failure["error_type"] == "InvalidReply"
    assert ABSTRACT.format(2) in json.loads(failure["request"])["messages"][1]["content"]
    assert failure["traceback"] is None


def test_an_internal_error_is_a_failed_row_with_traceback(workspace: Workspace) -> None:
    def broken() -> str:
        raise ZeroDivisionError("surprise")

    workspace.rows(1, 2)
    workspace.annotator.faults[1] = broken
    assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00002"]
    with open_corpus(workspace.corpus) as db:
        failure = next(iter(db.execute("SELECT * FROM failures")))
    assert failure["reason"] == "ZeroDivisionError: surprise"
    assert "in broken" in failure["traceback"]


def test_retry_failed_repeats_failed_rows_alone(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotator.faults[2] = lambda: "no JSON"
    workspace.annotate()
    later = workspace.reopened()
    assert later.annotate().result.code == 1
    assert later.annotator.counts == {}
    assert "1 failed before (--retry-failed repeats them)" in later.stderr
    later.rows(1, 2, 3)
    assert later.annotate("--retry-failed save to out.jsonl").result.code == 0
    assert later.annotator.counts == {2: 1}
    assert later.ids() == ["2401.00001", "2401.00002"]
    assert "1 not done yet" in later.stderr
    with open_corpus(workspace.corpus) as db:
        assert db.execute("SELECT count(*) FROM failures").fetchone()[0] == 0


def test_repeated_failures_are_counted(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotator.faults[1] = lambda: "no JSON"
    workspace.annotate()
    workspace.annotate("--retry-failed save to out.jsonl")
    with open_corpus(workspace.corpus) as db:
        assert [row["attempts"] for row in db.execute("SELECT attempts FROM failures")] == [2]


def test_retryable_errors_are_retried(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[HarnessError] = [ModelBusy("full"), GenerationFailed("cut")]

    def twice() -> str:
        if errors:
            raise errors.pop()
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    workspace.rows(1, 2)
    workspace.annotator.faults[1] = twice
    assert workspace.annotate().result.code == 0
    assert workspace.annotator.counts == {1: 3, 2: 1}


def test_a_model_that_goes_away_stops_the_job(workspace: Workspace) -> None:
    def gone() -> str:
        raise ModelUnavailable("the server cannot be reached", hint="Start it.")

    workspace.rows(1, 2, 3)
    workspace.annotator.faults = {2: gone, 3: gone}
    outcome = workspace.annotate()
    assert outcome.result.code == 3
    assert workspace.ids() == ["2401.00001"]
    assert str(outcome.result.stopped) == (
        "the server cannot be reached. Start it. 1 of 3 are done and kept; the same line continues "
        "the job."
    )
    later = workspace.reopened()
    later.annotate()
    assert later.annotator.counts == {2: 1, 3: 1}
    assert len(later.ids()) == 3


def test_a_model_that_fails_at_first_is_replaced(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotator.faults[1] = gone_at_first()
    workspace.annotate()
    record = json.loads((workspace.folder / "out.jsonl").read_text())
    assert record["provenance"]["requested"] == "nanda-annotator"
    assert record["provenance"]["resolved"] == "producer"
    assert "using producer" in workspace.stderr


def test_ctrl_c_saves_what_is_done(workspace: Workspace) -> None:
    def interrupted() -> str:
        _thread.interrupt_main()
        threading.Event().wait(0.3)
        raise GenerationFailed("cut")

    workspace.rows(1, 2, 3, 4, 5, 6)
    workspace.annotator.faults[3] = interrupted
    outcome = workspace.annotate()
    assert outcome.result.code == 130
    assert workspace.ids()[:2] == ["2401.00001", "2401.00002"]
    assert outcome.result.stopped is not None
    assert "of 6 are done and kept; the same line continues" in str(outcome.result.stopped.hint)
    later = workspace.reopened()
    assert later.annotate().result.code == 0  # interrupted rows have not failed
    assert later.ids() == [paper(n)["arxiv_id"] for n in range(1, 7)]


def test_ctrl_c_does_not_interrupt_the_summary(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = AnnotateJob._link

    def interrupted(job: AnnotateJob) -> None:
        _thread.interrupt_main()
        link(job)

    monkeypatch.setattr(AnnotateJob, "_link", interrupted)
    workspace.rows(1, 2)
    assert workspace.annotate().result.code == 0
    assert len(workspace.ids()) == 2


def test_ctrl_c_during_planning(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = AnnotateJob._plan

    def interrupted(job: AnnotateJob) -> None:
        _thread.interrupt_main()
        plan(job)

    monkeypatch.setattr(AnnotateJob, "_plan", interrupted)
    workspace.rows(1, 2)
    with pytest.raises(Interrupted, match="Nothing was begun"):
        workspace.annotate()
    assert workspace.annotator.counts == {}


def test_a_fallback_does_not_repeat_annotated_papers(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotate("--limit 1 save to out.jsonl")
    later = workspace.reopened()
    registry = later.app.settings.user_registry
    text = registry.read_text(encoding="utf-8").replace("backend: fake, model: annotator", GONE)
    registry.write_text(text, encoding="utf-8")
    later.app.dispatch("/reload")
    with pytest.raises(
        ModelError, match="nanda-annotator has annotated 1 of these papers"
    ) as caught:
        later.annotate()
    assert caught.value.exit_code == 3
    assert later.annotator.counts == {}
    later.annotate("--model producer save to other.jsonl")
    assert later.annotator.counts == {2: 1}  # the same weights have the same keys


def test_rows_appended_during_the_job_are_ignored(workspace: Workspace) -> None:
    def append() -> str:
        with workspace.table.open("a", encoding="utf-8") as file:
            file.write('2401.00009,Torn,"an abstract that is still being')
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    workspace.rows(1, 2)
    workspace.annotator.faults[1] = append
    outcome = workspace.annotate()
    assert outcome.result.code == 0
    assert outcome.result.summary is not None
    assert (outcome.result.summary["rows"], outcome.result.summary["pending"]) == (2, 0)
    assert len(workspace.ids()) == 2


def test_the_corpus_is_never_overwritten(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate("--db own.csv save to out.jsonl")
    with pytest.raises(UsageError, match="is the corpus itself"):
        workspace.annotate("--db own.csv --force save to own.csv")


def test_a_run_that_another_model_took_over_is_closed(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotator.faults[1] = gone_at_first()
    workspace.annotate()
    with open_corpus(workspace.corpus) as db:
        statuses = [row["status"] for row in db.execute("SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


def test_as_many_at_once_as_the_model_has_slots(tmp_path: Path) -> None:
    barrier = threading.Barrier(3, timeout=10)

    def meet() -> str:
        barrier.wait()
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    workspace = Workspace(tmp_path, Annotator(slots=3))
    workspace.rows(*range(6))
    workspace.annotator.faults = dict.fromkeys(range(6), meet)
    assert workspace.annotate(f"save to {tmp_path / 'out.jsonl'}").result.code == 0
    assert "6 papers to do, 3 at a time" in workspace.stderr


def test_limit_takes_the_first_rows(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.annotate("--limit 2 save to out.jsonl")
    assert workspace.ids() == ["2401.00001", "2401.00002"]
    workspace.annotate()
    assert workspace.annotator.counts == {1: 1, 2: 1, 3: 1}
    assert len(workspace.ids()) == 3


def test_a_row_too_long_for_the_context_fails_unsent(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path, Annotator(context=1800))
    long = {**paper(2), "abstract": ABSTRACT.format(2) + " word" * 600}
    write_table(workspace.table, paper(1), long)
    workspace.annotate(f"save to {tmp_path / 'out.jsonl'}")
    assert workspace.annotator.counts == {1: 1}
    with open_corpus(workspace.corpus) as db:
        failure = next(iter(db.execute("SELECT * FROM failures")))
    assert failure["error_type"] == "InputError"
    assert "tokens" in failure["reason"]


def test_a_row_of_too_many_words_fails_alone(workspace: Workspace) -> None:
    write_table(
        workspace.table, paper(1), {**paper(2), "abstract": ABSTRACT.format(2) + " word" * 1500}
    )
    assert workspace.annotate().result.code == 1
    assert workspace.ids() == ["2401.00001"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("arxiv_id,abstract\n", "no rows"),
        ("arxiv_id,text\n1,x\n", "abstract"),
        (
            "arxiv_id,abstract\n1,\n2,\n3,Too short.\n",
            r"no row can be used: 2 \(no abstract\), 1 \(fewer than 5 words\)",
        ),
    ],
)
def test_bad_tables_are_refused_before_a_model_loads(
    workspace: Workspace, content: str, message: str
) -> None:
    workspace.table.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        workspace.annotate()
    assert not workspace.corpus.exists()
    assert "at a time" not in workspace.stderr


def test_the_input_is_never_overwritten(workspace: Workspace) -> None:
    workspace.rows(1)
    before = workspace.table.read_bytes()
    with pytest.raises(UsageError, match="is the input itself"):
        workspace.annotate("--force save to papers.csv")
    assert workspace.table.read_bytes() == before


@pytest.mark.parametrize("name", ["papers", "papers/", '"papers/*.parquet"'])
def test_several_parquet_files_are_one_table(workspace: Workspace, name: str) -> None:
    parts = workspace.folder / "papers"
    parts.mkdir()
    for numbers in ((1, 2), (3,)):
        table = pa.Table.from_pylist(list(map(paper, numbers)))
        pq.write_table(table, parts / f"{numbers[0]}.parquet")
    line = f"/annotate {name if '/' in name else parts} save to out.jsonl"
    assert workspace.app.dispatch(line).result.code == 0
    assert workspace.ids() == ["2401.00001", "2401.00002", "2401.00003"]
    assert f"{name if '/' in name else parts}".strip('/"') in workspace.stderr
    last = json.loads((workspace.folder / "out.jsonl").read_text().splitlines()[-1])
    assert last["provenance"]["input"]["path"].endswith("papers/3.parquet")
    assert last["provenance"]["input"]["row"] == "1"
    with pytest.raises(UsageError, match="would be a part of the input"):
        workspace.app.dispatch(f"/annotate {parts} save to papers/out.parquet")


def test_a_folder_without_tables_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"is a folder without \.parquet"):
        workspace.annotate(table=workspace.folder)
    assert not workspace.corpus.exists()


def test_a_table_in_the_home_folder(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(workspace.folder))
    workspace.rows(1, 2)
    for _ in range(2):
        assert workspace.annotate(table=Path("~/papers.csv")).result.code == 0
    with (
        job_lock(locks(workspace.corpus), str(workspace.table.resolve())),
        pytest.raises(UsageError, match="is locked by process"),
    ):
        workspace.annotate(table=Path("~/papers.csv"))


def test_the_output_of_another_job_is_not_replaced(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate()
    other = write_table(workspace.folder / "other.csv", paper(2))
    with pytest.raises(OutputError, match="exists already"):
        workspace.annotate(table=other)
    assert workspace.annotator.counts == {1: 1}


def test_db_names_another_database(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.annotate("--db own.db save to out.jsonl")
    assert (workspace.folder / "own.db").exists()
    assert not workspace.corpus.exists()
    workspace.annotate("--db other.db save to other.jsonl")
    assert workspace.annotator.counts == {1: 2}


def test_a_file_that_is_not_a_database_is_refused(workspace: Workspace) -> None:
    workspace.rows(1)
    (workspace.folder / "own.db").write_text("no database, but long enough to be looked at" * 9)
    with pytest.raises(InputError, match="is not a corpus database"):
        workspace.annotate("--db own.db save to out.jsonl")
    assert workspace.annotator.counts == {}


def test_each_start_of_a_job_is_a_row_in_runs(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotator.faults[2] = lambda: "no JSON"
    workspace.annotate()
    with open_corpus(workspace.corpus) as db:
        run = next(iter(db.execute("SELECT * FROM runs")))
    assert (run["status"], run["model"]) == ("failed", "nanda-annotator")
    assert json.loads(run["summary"])["done"] == 1
    assert json.loads(run["settings"])["slots"] == 1
