"""/annotate with a table: nothing lost, nothing paid twice, and everything said of what failed."""

from __future__ import annotations

import _thread
import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import App
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
from harness.models.backends.base import OnText, Reply, Request
from harness.runs.process_lock import job_lock
from harness.runs.runner import Outcome
from harness.settings import CODE_ROOT
from harness.testing import FakeModel, fake_app
from skills.annotate.table.job import AnnotateJob
from skills.corpus.content_key import key_of, verify
from skills.corpus.db.connection import locks, open_corpus
from skills.nanda.framework import nanda

GONE = "backend: ollama, model: nowhere, url: 'http://127.0.0.1:9'"
ABSTRACT = "We present method {0} for the task of sorting papers, and it is {0} times as fast."


def paper(number: int) -> dict[str, str]:
    return {
        "arxiv_id": f"2401.{number:05}",
        "title": f"Paper {number}",
        "abstract": ABSTRACT.format(number),
    }


def write_table(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


class Annotator(FakeModel):
    """Annotates each abstract with its own words; `faults` does something else for some of them.

    `asked` counts the requests of each abstract.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: dict[int, int] = {}
        self.faults: dict[int, Callable[[], str]] = {}

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        text = request.messages[1].content
        number = int(text.partition("method ")[2].split()[0])
        with self._arriving:
            self.asked[number] = self.asked.get(number, 0) + 1
        if number in self.faults:
            text = self.faults[number]()
        else:
            moves = {name: f"{name.capitalize()} of method {number}." for name in nanda().names}
            text = json.dumps({**moves, "limitation": "Not stated."})
        if on_text:
            on_text(text)
        return Reply(text, "stop", self.count_tokens(request), 20, 0.01)


class Desk:
    """An application in a folder of its own, with a table of papers."""

    def __init__(self, folder: Path, model: FakeModel | None = None, **options: Any) -> None:
        self.folder = folder
        self.model = Annotator() if model is None else model
        self.app: App = fake_app(folder, self.model, **options)
        self.table = folder / "papers.csv"

    def rows(self, *numbers: int) -> Path:
        return write_table(self.table, *map(paper, numbers))

    def annotate(self, rest: str = "save to out.jsonl", table: Path | None = None) -> Outcome:
        return self.app.dispatch(f"/annotate {table or self.table} {rest}")

    @property
    def said(self) -> str:
        return str(self.app.screen.err.getvalue())  # type: ignore[attr-defined]

    def ids(self, name: str = "out.jsonl") -> list[str]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["arxiv_id"] for line in lines]

    @property
    def corpus(self) -> Path:
        return self.app.settings.data_dir / "corpus.db"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)


def again(desk: Desk, model: FakeModel | None = None) -> Desk:
    """The same folder in another process, as it were."""
    desk.app.close()
    return Desk(desk.folder, model or Annotator())


def gone_at_first() -> Callable[[], str]:
    """A fault of a server that is not there for the first request."""
    calls: list[int] = []

    def answer() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ModelUnavailable("the server cannot be reached")
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    return answer


def annotator(desk: Desk) -> Annotator:
    assert isinstance(desk.model, Annotator)
    return desk.model


def test_a_table_becomes_one_line_for_each_row_in_order(desk: Desk) -> None:
    desk.rows(3, 1, 2)
    outcome = desk.annotate()
    assert outcome.result.code == 0
    assert desk.ids() == ["2401.00003", "2401.00001", "2401.00002"]
    record = json.loads((desk.folder / "out.jsonl").read_text().splitlines()[0])
    assert list(record) == ["arxiv_id", "title", *nanda().names, "checks", "provenance"]
    assert record["title"] == "Paper 3"
    assert record["claim"] == "Claim of method 3."
    assert record["provenance"]["key"] == key_of(record["provenance"])
    assert record["provenance"]["input"]["row"] == "1"
    assert verify(record, ABSTRACT.format(3)) == []
    assert verify(record, ABSTRACT.format(4)) == ["it was made from another abstract"]
    assert "3 rows: 3 done; 3 in 0 s" in desk.said


def test_every_suffix_is_written(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.annotate("save to a.csv -o a.jsonl -o a.parquet -o a.json -o a.md -o a.html")
    with (desk.folder / "a.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["arxiv_id", "title", "abstract", *nanda().names]
    assert table[1][:3] == ["2401.00001", "Paper 1", ABSTRACT.format(1)]
    assert [r["arxiv_id"] for r in json.loads((desk.folder / "a.json").read_text())] == [
        row[0] for row in table[1:]
    ]
    assert "Claim of method 2." in (desk.folder / "a.md").read_text()
    assert "Claim of method 2." in (desk.folder / "a.html").read_text()
    assert (desk.folder / "a.parquet").read_bytes()[:4] == b"PAR1"


def test_a_csv_target_keeps_the_inputs_id_column(desk: Desk) -> None:
    rows = [
        {"doi": "10/a", "text": ABSTRACT.format(1)},
        {"doi": "10/b", "text": ABSTRACT.format(2)},
    ]
    write_table(desk.table, *rows)
    desk.annotate("--abstract-column text --id-column doi save to a.csv")
    lines = (desk.folder / "a.csv").read_text().splitlines()
    assert lines[0].startswith("doi,title,abstract,claim,")
    assert [line.split(",")[0] for line in lines[1:]] == ["10/a", "10/b"]


def test_without_a_target_the_lines_go_to_stdout(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.annotate("")
    lines = desk.app.screen.out.getvalue().splitlines()  # type: ignore[union-attr]
    assert [json.loads(line)["arxiv_id"] for line in lines] == ["2401.00001", "2401.00002"]


def test_the_summary_object(desk: Desk) -> None:
    write_table(desk.table, paper(1), paper(2), {**paper(3), "abstract": ""}, paper(1))
    annotator(desk).faults[2] = lambda: "no JSON"
    outcome = desk.annotate()
    summary = outcome.result.summary
    assert summary is not None
    assert json.loads(outcome.result.as_json()) == summary
    told = {key: summary[key] for key in ("rows", "done", "made", "failed", "errors", "pending")}
    assert told == {
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


def test_done_rows_are_not_asked_for_again(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.annotate()
    later = again(desk)
    later.annotate()
    assert annotator(later).asked == {}
    assert "2 done before" in later.said
    assert "2 rows: 2 done (0 now)" in later.said
    assert later.ids() == ["2401.00001", "2401.00002"]


def test_an_input_that_grew_is_continued(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.annotate()
    desk.rows(3, 1, 2, 4)
    later = again(desk)
    later.annotate()
    assert annotator(later).asked == {3: 1, 4: 1}
    assert later.ids() == ["2401.00003", "2401.00001", "2401.00002", "2401.00004"]


def test_the_same_abstract_is_paid_for_once_across_files_and_ids(desk: Desk) -> None:
    desk.rows(1)
    desk.annotate()
    write_table(desk.table, {**paper(1), "arxiv_id": "9", "title": "Other"}, paper(2))
    desk.annotate("--id-column arxiv_id save to other.jsonl")
    assert annotator(desk).asked == {1: 1, 2: 1}
    first = json.loads((desk.folder / "other.jsonl").read_text().splitlines()[0])
    assert (first["arxiv_id"], first["title"]) == ("9", "Other")


def test_the_same_abstract_twice_in_one_file_is_asked_once_and_stored_for_both(desk: Desk) -> None:
    write_table(desk.table, paper(1), {**paper(1), "arxiv_id": "2401.99999"}, paper(2))
    desk.annotate()
    assert annotator(desk).asked == {1: 1, 2: 1}
    assert desk.ids() == ["2401.00001", "2401.99999", "2401.00002"]
    with open_corpus(desk.corpus) as db:
        assert db["annotations"].count == 3


@pytest.mark.parametrize("changed", ["--max-tokens 300", "--framework own.yaml"])
def test_a_changed_prompt_or_sampling_is_new_work(desk: Desk, changed: str) -> None:
    text = (CODE_ROOT / "skills" / "nanda" / "nanda.yaml").read_text(encoding="utf-8")
    own = text.replace("max_words: 1500", "max_words: 1400")
    (desk.folder / "own.yaml").write_text(own, encoding="utf-8")
    desk.rows(1)
    desk.annotate()
    desk.annotate(f"{changed} save to other.jsonl")
    assert annotator(desk).asked == {1: 2}


def test_another_model_is_new_work_and_the_newest_is_current(desk: Desk) -> None:
    desk.rows(1)
    desk.annotate()
    other = Annotator()
    other.digests = {"fake": "1" * 64}
    later = again(desk, other)
    later.annotate()
    assert other.asked == {1: 1}
    with open_corpus(desk.corpus) as db:
        assert [row["current"] for row in db.query("SELECT current FROM annotations")] == [0, 1]
        again(later).annotate()
        rows = list(db.query("SELECT current, annotation_id FROM moves GROUP BY annotation_id"))
        assert [row["current"] for row in rows] == [1, 0]


def test_a_failed_row_takes_no_other_along_and_keeps_its_reply(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    annotator(desk).faults[2] = lambda: '{"claim": "half'
    outcome = desk.annotate()
    assert outcome.result.code == 1
    assert desk.ids() == ["2401.00001", "2401.00003"]
    assert "1 failed (1 InvalidReply; --retry-failed repeats them)" in desk.said
    with open_corpus(desk.corpus) as db:
        failure = next(iter(db.query("SELECT * FROM failures")))
    assert failure["raw_reply"] == '{"claim": "half'
    assert failure["error_type"] == "InvalidReply"
    assert ABSTRACT.format(2) in json.loads(failure["request"])["messages"][1]["content"]
    assert failure["traceback"] is None


def test_a_fault_of_ours_is_a_failed_row_with_its_traceback(desk: Desk) -> None:
    def broken() -> str:
        raise ZeroDivisionError("surprise")

    desk.rows(1, 2)
    annotator(desk).faults[1] = broken
    assert desk.annotate().result.code == 1
    assert desk.ids() == ["2401.00002"]
    with open_corpus(desk.corpus) as db:
        failure = next(iter(db.query("SELECT * FROM failures")))
    assert failure["reason"] == "ZeroDivisionError: surprise"
    assert "in broken" in failure["traceback"]


def test_failed_rows_are_redone_only_when_asked_for_and_then_alone(desk: Desk) -> None:
    desk.rows(1, 2)
    annotator(desk).faults[2] = lambda: "no JSON"
    desk.annotate()
    later = again(desk)
    assert later.annotate().result.code == 1
    assert annotator(later).asked == {}
    assert "1 failed before (--retry-failed repeats them)" in later.said
    later.rows(1, 2, 3)
    assert later.annotate("--retry-failed save to out.jsonl").result.code == 0
    assert annotator(later).asked == {2: 1}
    assert later.ids() == ["2401.00001", "2401.00002"]
    assert "1 not done yet" in later.said
    with open_corpus(desk.corpus) as db:
        assert db["failures"].count == 0


def test_a_row_that_fails_again_says_how_often(desk: Desk) -> None:
    desk.rows(1)
    annotator(desk).faults[1] = lambda: "no JSON"
    desk.annotate()
    desk.annotate("--retry-failed save to out.jsonl")
    with open_corpus(desk.corpus) as db:
        assert [row["attempts"] for row in db.query("SELECT attempts FROM failures")] == [2]


def test_errors_that_can_pass_are_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[HarnessError] = [ModelBusy("full"), GenerationFailed("cut")]

    def twice() -> str:
        if errors:
            raise errors.pop()
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    monkeypatch.setattr("harness.runs.jobs.Job._sleep", lambda *_: None)
    desk.rows(1, 2)
    annotator(desk).faults[1] = twice
    assert desk.annotate().result.code == 0
    assert annotator(desk).asked == {1: 3, 2: 1}


def test_a_model_that_goes_away_stops_the_job_and_says_how_to_go_on(desk: Desk) -> None:
    def gone() -> str:
        raise ModelUnavailable("the server cannot be reached", hint="Start it.")

    desk.rows(1, 2, 3)
    annotator(desk).faults = {2: gone, 3: gone}
    outcome = desk.annotate()
    assert outcome.result.code == 3
    assert desk.ids() == ["2401.00001"]
    assert str(outcome.result.stopped) == (
        "the server cannot be reached. Start it. 1 of 3 are done and kept; the same line goes on "
        "from there."
    )
    later = again(desk)
    later.annotate()
    assert annotator(later).asked == {2: 1, 3: 1}
    assert len(later.ids()) == 3


def test_a_model_that_is_gone_before_anything_is_done_may_be_replaced(desk: Desk) -> None:
    desk.rows(1)
    annotator(desk).faults[1] = gone_at_first()
    desk.annotate()
    record = json.loads((desk.folder / "out.jsonl").read_text())
    assert record["provenance"]["requested"] == "nanda-annotator"
    assert record["provenance"]["resolved"] == "producer"
    assert "using producer" in desk.said


def test_ctrl_c_writes_what_is_done_and_says_how_to_go_on(desk: Desk) -> None:
    def interrupted() -> str:
        _thread.interrupt_main()
        threading.Event().wait(0.3)
        raise GenerationFailed("cut")

    desk.rows(1, 2, 3, 4, 5, 6)
    annotator(desk).faults[3] = interrupted
    outcome = desk.annotate()
    assert outcome.result.code == 130
    assert desk.ids()[:2] == ["2401.00001", "2401.00002"]
    assert outcome.result.stopped is not None
    assert "of 6 are done and kept; the same line goes on" in str(outcome.result.stopped.hint)
    later = again(desk)
    assert later.annotate().result.code == 0  # what was cut off had not failed
    assert later.ids() == [paper(n)["arxiv_id"] for n in range(1, 7)]


def test_ctrl_c_while_all_is_summed_up_lets_it_be_finished(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = AnnotateJob._link

    def interrupted(job: AnnotateJob) -> None:
        _thread.interrupt_main()
        link(job)

    monkeypatch.setattr(AnnotateJob, "_link", interrupted)
    desk.rows(1, 2)
    assert desk.annotate().result.code == 0
    assert len(desk.ids()) == 2


def test_ctrl_c_before_anything_was_begun_begins_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = AnnotateJob._plan

    def interrupted(job: AnnotateJob) -> None:
        _thread.interrupt_main()
        plan(job)

    monkeypatch.setattr(AnnotateJob, "_plan", interrupted)
    desk.rows(1, 2)
    with pytest.raises(Interrupted, match="Nothing was begun"):
        desk.annotate()
    assert annotator(desk).asked == {}


def test_a_fallback_does_not_start_over_what_the_model_asked_for_began(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.annotate("--limit 1 save to out.jsonl")
    later = again(desk)
    registry = later.app.settings.user_registry
    text = registry.read_text(encoding="utf-8").replace("backend: fake, model: annotator", GONE)
    registry.write_text(text, encoding="utf-8")
    later.app.dispatch("/reload")
    with pytest.raises(ModelError, match="nanda-annotator has annotated 1 of these papers") as told:
        later.annotate()
    assert told.value.exit_code == 3
    assert annotator(later).asked == {}
    later.annotate("--model producer save to other.jsonl")
    assert annotator(later).asked == {2: 1}  # the same weights have the same keys


def test_what_is_appended_meanwhile_is_left_to_the_next_time(desk: Desk) -> None:
    def append() -> str:
        with desk.table.open("a", encoding="utf-8") as file:
            file.write('2401.00009,Torn,"an abstract that is still being')
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    desk.rows(1, 2)
    annotator(desk).faults[1] = append
    outcome = desk.annotate()
    assert outcome.result.code == 0
    assert outcome.result.summary is not None
    assert (outcome.result.summary["rows"], outcome.result.summary["pending"]) == (2, 0)
    assert len(desk.ids()) == 2


def test_the_corpus_is_never_overwritten(desk: Desk) -> None:
    desk.rows(1)
    desk.annotate("--db own.csv save to out.jsonl")
    with pytest.raises(UsageError, match="is the corpus itself"):
        desk.annotate("--db own.csv --force save to own.csv")


def test_a_run_that_another_model_took_over_is_closed(desk: Desk) -> None:
    desk.rows(1)
    annotator(desk).faults[1] = gone_at_first()
    desk.annotate()
    with open_corpus(desk.corpus) as db:
        statuses = [row["status"] for row in db.query("SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


def test_as_many_at_once_as_the_model_has_slots(tmp_path: Path) -> None:
    barrier = threading.Barrier(3, timeout=10)

    def meet() -> str:
        barrier.wait()
        return json.dumps(dict.fromkeys(nanda().names, "Not stated."))

    desk = Desk(tmp_path, Annotator(slots=3))
    desk.rows(*range(6))
    annotator(desk).faults = dict.fromkeys(range(6), meet)
    assert desk.annotate(f"save to {tmp_path / 'out.jsonl'}").result.code == 0
    assert "6 to do, 3 at a time" in desk.said


def test_limit_takes_the_first_rows_and_a_larger_one_goes_on(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    desk.annotate("--limit 2 save to out.jsonl")
    assert desk.ids() == ["2401.00001", "2401.00002"]
    desk.annotate()
    assert annotator(desk).asked == {1: 1, 2: 1, 3: 1}
    assert len(desk.ids()) == 3


def test_a_row_too_long_for_the_context_fails_with_its_count_before_it_is_asked(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, Annotator(context=1400))
    long = {**paper(2), "abstract": ABSTRACT.format(2) + " word" * 600}
    write_table(desk.table, paper(1), long)
    desk.annotate(f"save to {tmp_path / 'out.jsonl'}")
    assert annotator(desk).asked == {1: 1}
    with open_corpus(desk.corpus) as db:
        failure = next(iter(db.query("SELECT * FROM failures")))
    assert failure["error_type"] == "InputError"
    assert "tokens" in failure["reason"]


def test_a_row_of_too_many_words_fails_alone(desk: Desk) -> None:
    write_table(desk.table, paper(1), {**paper(2), "abstract": ABSTRACT.format(2) + " word" * 1500})
    assert desk.annotate().result.code == 1
    assert desk.ids() == ["2401.00001"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("arxiv_id,abstract\n", "no rows"),
        ("arxiv_id,text\n1,x\n", "abstract"),
        ("arxiv_id,abstract\n1,\n2,\n", "no row has an abstract"),
        ("arxiv_id,abstract\n1,a b c d e f\n1,other words stand here now\n", "id"),
        ("arxiv_id,abstract\n1,a b c d e f\n2\n", "line 3"),
    ],
)
def test_bad_tables_are_refused_before_a_model_loads(desk: Desk, content: str, said: str) -> None:
    desk.table.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        desk.annotate()
    assert not desk.corpus.exists()
    assert "at a time" not in desk.said


def test_the_input_is_never_overwritten(desk: Desk) -> None:
    desk.rows(1)
    before = desk.table.read_bytes()
    with pytest.raises(UsageError, match="is the input itself"):
        desk.annotate("--force save to papers.csv")
    assert desk.table.read_bytes() == before


def test_a_table_at_home_is_found_again_beside_its_output(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(desk.folder))
    desk.rows(1, 2)
    for _ in range(2):
        assert desk.annotate(table=Path("~/papers.csv")).result.code == 0
    with (
        job_lock(locks(desk.corpus), str(desk.table.resolve())),
        pytest.raises(UsageError, match="is at work on"),
    ):
        desk.annotate(table=Path("~/papers.csv"))


def test_an_output_of_another_job_is_in_the_way(desk: Desk) -> None:
    desk.rows(1)
    desk.annotate()
    other = write_table(desk.folder / "other.csv", paper(2))
    with pytest.raises(OutputError, match="exists already"):
        desk.annotate(table=other)
    assert annotator(desk).asked == {1: 1}


def test_db_names_another_database(desk: Desk) -> None:
    desk.rows(1)
    desk.annotate("--db own.db save to out.jsonl")
    assert (desk.folder / "own.db").exists()
    assert not desk.corpus.exists()
    desk.annotate("--db other.db save to other.jsonl")
    assert annotator(desk).asked == {1: 2}


def test_what_is_no_database_is_refused_before_a_model_loads(desk: Desk) -> None:
    desk.rows(1)
    (desk.folder / "own.db").write_text("no database, but long enough to be looked at" * 9)
    with pytest.raises(InputError, match="is not a corpus database"):
        desk.annotate("--db own.db save to out.jsonl")
    assert annotator(desk).asked == {}


def test_each_start_of_a_job_is_a_row_in_runs(desk: Desk) -> None:
    desk.rows(1, 2)
    annotator(desk).faults[2] = lambda: "no JSON"
    desk.annotate()
    with open_corpus(desk.corpus) as db:
        run = next(iter(db.query("SELECT * FROM runs")))
    assert (run["status"], run["model"]) == ("failed", "nanda-annotator")
    assert json.loads(run["summary"])["done"] == 1
    assert json.loads(run["settings"])["slots"] == 1
