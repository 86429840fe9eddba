"""/annotate TABLE keeps no papers in memory: it reads the table again, and detects changes."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from annotate_workspace import ABSTRACT, Workspace, paper, write_table

from harness.errors import InputError
from harness.terminal.console import Progress
from skills.annotate.table.job import AnnotateJob, PlannedRow
from skills.annotate.table.plan import Entry
from skills.annotate.table.sources import Selection, from_papers, from_table
from skills.corpus.db.connection import open_corpus
from skills.corpus.tables.columns import Columns
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

NOTHING = json.dumps(dict.fromkeys(nanda().names, "Not stated."))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


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
    assert max(counts) - before < 20  # those in work, and a few that are read ahead
    assert living_papers() - before < 20


def test_callers_receive_the_progress_of_the_work_alone(workspace: Workspace) -> None:
    events: list[Progress] = []
    workspace.app.dispatch(
        f"/annotate {workspace.rows(1, 2)} save to out.jsonl", progress=events.append
    )
    assert (events[0].done, events[0].total) == (0, 2)
    assert (events[-1].done, events[-1].total) == (2, 2)


def test_a_source_is_read_again_for_each_step(workspace: Workspace) -> None:
    source = from_table(workspace.rows(1, 2, 3), Columns(), limit=2)
    assert len(source.papers) == 2
    for _ in range(2):
        assert [one.id for one in source.papers] == ["2401.00001", "2401.00002"]
    assert [one.id for one in Selection(source.papers, [1])] == ["2401.00002"]
    assert list(Selection(from_papers("bees", list(source.papers)).papers, [])) == []


def test_rows_that_are_left_out_are_left_out_each_time(workspace: Workspace) -> None:
    clash = {**paper(1), "abstract": ABSTRACT.format(9)}
    rows = (paper(1), {**paper(2), "abstract": ""}, paper(1), clash, paper(3))
    source = from_table(write_table(workspace.table, *rows), Columns(), None)
    assert dict(source.filtered) == {"no abstract": 1, "repeats an earlier row": 1, "refused": 1}
    for _ in range(2):
        assert [one.id for one in source.papers] == ["2401.00001", "2401.00003"]


def rewriting(workspace: Workspace, *rows: dict[str, str]) -> Callable[[], str]:
    """Return a fault during which the table is written again with these rows."""

    def answer() -> str:
        write_table(workspace.table, *rows)
        return NOTHING

    return answer


@pytest.mark.parametrize(
    "rows",
    [
        (paper(1), paper(2), {**paper(3), "abstract": ABSTRACT.format(33)}),
        (paper(1), paper(2), {**paper(3), "title": "Another"}),
        (paper(2), paper(1), paper(3)),
        (paper(1), paper(2)),
    ],
    ids=["an abstract", "a title", "the order", "fewer rows"],
)
def test_a_table_that_changes_during_the_job_is_named(
    workspace: Workspace, rows: tuple[dict[str, str], ...]
) -> None:
    workspace.rows(1, 2, 3)
    workspace.annotator.faults[3] = rewriting(workspace, *rows)
    with pytest.raises(InputError, match=r"papers\.csv: has changed since this command") as caught:
        workspace.annotate()
    assert "what is done is kept" in caught.value.hint
    assert not (workspace.folder / "out.jsonl").exists()
    with open_corpus(workspace.corpus) as db:
        assert db.execute("SELECT count(*) FROM annotations").fetchone()[0] == 3
    later = workspace.reopened()
    assert later.annotate().result.code == 0
    assert later.ids() == [row["arxiv_id"] for row in rows]


def test_a_table_that_is_written_again_with_the_same_rows_is_used(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.annotator.faults[1] = rewriting(workspace, paper(1), paper(2))
    assert workspace.annotate().result.code == 0
    assert len(workspace.ids()) == 2


def test_a_table_that_is_gone_is_named(workspace: Workspace) -> None:
    def remove() -> str:
        workspace.table.unlink()
        return NOTHING

    workspace.rows(1, 2)
    workspace.annotator.faults[2] = remove
    with pytest.raises(InputError, match=r"papers\.csv: there is no such file"):
        workspace.annotate()


def test_papers_with_the_same_abstract_are_annotated_once_and_linked(
    workspace: Workspace,
) -> None:
    write_table(workspace.table, paper(1), {**paper(2), "abstract": ABSTRACT.format(1)})
    for _ in range(2):  # the second time, both were done before
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
    planned = AnnotateJob.planned
    read: list[int] = []

    def interrupted(job: AnnotateJob) -> Iterator[tuple[Entry, PlannedRow]]:
        for entry, row in planned(job):
            read.append(entry.place)
            job.call.cancel.request_stop()
            yield entry, row

    later = workspace.reopened()
    monkeypatch.setattr(AnnotateJob, "planned", interrupted)
    assert later.annotate("--force save to out.jsonl").result.code == code
    assert read == [0, *range(6)]  # after the first row, the rows that are done are written
    assert len(later.ids()) == done
