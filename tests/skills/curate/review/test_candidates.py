"""The input of a review: tables of every kind, and abstracts from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection, connect

import pytest
from corpus_papers import annotated, corpus_of
from reviewing import ABSTRACT, MOVES, Workspace, read_rows, row, write_rows

from harness.errors import InputError, UsageError
from skills.corpus.db import reads
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.parquet_files import parquet_schema, write_parquet
from skills.corpus.tables.saved_tables import table_rows, write_csv
from skills.corpus.tables.text_tables import write_jsonl
from skills.curate.review.candidates import read
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def item(number: int, abstract: str = "") -> Annotated:
    """Return annotation `number` as made by /annotate."""
    given = row(number)
    paper = Paper("arxiv_id", given["arxiv_id"], given["title"], abstract or given["abstract"])
    return annotated(paper, **MOVES)


def saved(path: Path, *items: Annotated) -> Path:
    with path.open("wb") as file:
        if path.suffix == ".jsonl":
            write_jsonl(file, items)
        else:
            write_parquet(file, items, nanda(), parquet_schema(nanda(), "arxiv_id"))
    return path


def papers(path: Path, *numbers: int) -> Path:
    """Write a table of papers without annotations."""
    rows = (row(number, authors=f"Ada {number}") for number in numbers)
    return write_rows(path, *({k: v for k, v in one.items() if k not in MOVES} for one in rows))


def without(one: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in one.items() if name not in names}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_tables_with_abstracts(workspace: Workspace, suffix: str) -> None:
    path = write_rows(workspace.folder / f"agent{suffix}", row(1), row(2))
    assert workspace.review("aaq", path)["accepted"] == 2
    assert read_rows(workspace.gold) == [row(1), row(2)]


def test_saved_parquet_is_reviewed(workspace: Workspace) -> None:
    path = saved(workspace.folder / "agent.parquet", item(1), item(2))
    assert workspace.review("aaq", path)["accepted"] == 2
    assert read_rows(workspace.gold) == [row(1), row(2)]


def test_saved_annotations_find_their_abstracts_in_a_table(workspace: Workspace) -> None:
    path = saved(workspace.folder / "agent.jsonl", item(1), item(2))
    summary = workspace.review("aaq", path, from_=papers(workspace.folder / "papers.csv", 2, 1, 3))
    assert (summary["papers"], summary["lost"]) == (2, [])
    assert read_rows(workspace.gold) == [row(1), row(2)]


def test_saved_annotations_find_their_abstracts_in_the_corpus(workspace: Workspace) -> None:
    path = saved(workspace.folder / "agent.jsonl", item(1), item(2, ABSTRACT.format(7)))
    db = corpus_of(workspace.folder / "c.db", [item(1), item(2), item(2, ABSTRACT.format(7))])
    workspace.review("aaq", path, db=db)
    assert read_rows(workspace.gold) == [row(1), row(2, abstract=ABSTRACT.format(7))]


def test_the_abstract_that_was_annotated_comes_first(workspace: Workspace) -> None:
    """The table has another abstract; the corpus has the one that was annotated."""
    path = saved(workspace.folder / "agent.jsonl", item(1, ABSTRACT.format(7)))
    db = corpus_of(workspace.folder / "c.db", [item(1, ABSTRACT.format(7))])
    workspace.review("aq", path, db=db, from_=papers(workspace.folder / "papers.csv", 1))
    assert read_rows(workspace.gold) == [row(1, abstract=ABSTRACT.format(7))]


def test_rows_without_an_abstract_are_reported(workspace: Workspace) -> None:
    path = saved(workspace.folder / "agent.jsonl", item(1), item(2), item(3, "Other words."))
    given = papers(workspace.folder / "papers.csv", 1, 3)
    result = workspace.result("aq", path, from_=given)
    lost = result.summary["lost"] if result.summary else []
    assert lost == [
        f"{path}, line 2: no abstract of paper 2405.00002 in {given}",
        f"{path}, line 3: the abstract of paper 2405.00003 has changed since it was annotated",
    ]
    for reason in lost:
        assert f"not shown: {reason}" in workspace.stderr
    assert "1 accepted, 0 rejected, 0 to do, 2 without an abstract" in result.text


def test_many_lost_rows_are_counted(workspace: Workspace) -> None:
    path = saved(workspace.folder / "agent.jsonl", *map(item, range(1, 10)))
    workspace.review("q", path, from_=papers(workspace.folder / "papers.csv", 1))
    assert workspace.stderr.count("not shown: ") == 6
    assert "not shown: 3 more" in workspace.stderr


def test_a_table_of_moves_alone(workspace: Workspace) -> None:
    workspace.annotations(without(row(1), "abstract", "title"))
    workspace.review("aq", from_=papers(workspace.folder / "papers.csv", 1))
    assert read_rows(workspace.gold) == [row(1)]


def test_options_name_the_columns_of_either_table(workspace: Workspace) -> None:
    moves = without(row(1), "abstract", "arxiv_id", "title")
    workspace.annotations({"key": "p1", "heading": "Mine", **moves})
    given = {"key": "p1", "text": row(1)["abstract"], "abstract": "Not this one."}
    workspace.review(
        "aq",
        from_=write_rows(workspace.folder / "papers.csv", given),
        id_column="key",
        abstract_column="text",
        title_column="heading",
    )
    [gold] = read_rows(workspace.gold)
    assert gold == {"key": "p1", "title": "Mine", "abstract": row(1)["abstract"], **MOVES}


def test_empty_cells_are_looked_up_too(workspace: Workspace) -> None:
    workspace.annotations(row(1), row(2, abstract=""))
    workspace.review("aaq", from_=papers(workspace.folder / "papers.csv", 1, 2))
    assert read_rows(workspace.gold) == [row(1), row(2)]


def test_arxiv_ids_match_in_every_notation(workspace: Workspace) -> None:
    workspace.annotations(without(row(1, arxiv_id="2405.00001v3"), "abstract"))
    given = write_rows(
        workspace.folder / "p.csv", without(row(1, arxiv_id="arXiv:2405.00001"), *MOVES)
    )
    workspace.review("aq", from_=given)
    assert read_rows(workspace.gold) == [row(1)]


def test_several_abstracts_in_the_corpus_are_ambiguous(workspace: Workspace) -> None:
    db = corpus_of(workspace.folder / "c.db", [item(1), item(1, ABSTRACT.format(7))])
    workspace.annotations(without(row(1), "abstract"), without(row(2), "abstract"))
    with pytest.raises(InputError, match="the corpus has several abstracts of paper"):
        workspace.review("q", db=db)


def test_rows_with_nothing_to_review_are_counted(workspace: Workspace) -> None:
    workspace.annotations(row(1), row(2, **dict.fromkeys(MOVES, "")), row(1, claim="Another."))
    summary = workspace.review("aq")
    assert (summary["papers"], summary["without_moves"], summary["repeats"]) == (1, 1, 1)
    assert "not shown: 1 row without any move" in workspace.stderr
    assert "not shown: 1 row about the paper of an earlier row" in workspace.stderr
    assert read_rows(workspace.gold) == [row(1)]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (without(row(1), "claim"), "has no column claim"),
        (row(1, **dict.fromkeys(MOVES, "")), "no row has any move"),
        (without(row(1), "abstract", "arxiv_id"), "has no column 'abstract'"),
        (without(row(1), "abstract"), "no row can be reviewed"),
    ],
)
def test_tables_that_cannot_be_reviewed(
    workspace: Workspace, one: dict[str, str], message: str
) -> None:
    workspace.annotations(one)
    with pytest.raises(InputError, match=message):
        workspace.review("q")


def test_other_files_are_refused(workspace: Workspace) -> None:
    for name, message in (
        ("a.md", "is not a list of papers"),
        ("a.txt", "cannot read a table from .txt"),
    ):
        (workspace.folder / name).write_text("text")
        with pytest.raises(InputError, match=message):
            workspace.review("q", workspace.folder / name)
    with pytest.raises(InputError, match="there is no such file"):
        workspace.review("q", workspace.folder / "nowhere.csv")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_a_suggestion_is_taken_with_one_key(workspace: Workspace, suffix: str) -> None:
    made, text = item(1), "It needs no oracle."
    start = made.paper.abstract.index(text)
    one = {"text": text, "confidence": 0.21, "spans": [[start, start + len(text)]]}
    doubt = {"confidence": dict.fromkeys(MOVES, 0.9), "suggestions": {"limitation": one}}
    items = [replace(made, record={**made.record, **doubt})]
    db, path = corpus_of(workspace.folder / "c.db", items), workspace.folder / f"agent{suffix}"
    if suffix == ".csv":
        with path.open("wb") as file:
            write_csv(file, table_rows(items, nanda(), "arxiv_id"))
    else:
        saved(path, *items)
    assert workspace.review("taq", path, db=db)["edited"] == 1
    assert f"? suggestion, confidence 0.21: {text}" in workspace.stderr
    assert [gold["limitation"] for gold in read_rows(workspace.gold)] == [text]


def with_certainty() -> list[Annotated]:
    """Return annotations 1 to 4; 3 is the least certain, and 4 the next."""
    sure = {1: 0.9, 2: None, 3: 0.4, 4: 0.6}
    items = []
    for number, share in sure.items():
        one = item(number)
        confidence = {"confidence": dict.fromkeys(MOVES, share)} if share else {}
        items.append(replace(one, record={**one.record, **confidence}))
    return items


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_the_least_certain_annotations_come_first(workspace: Workspace, suffix: str) -> None:
    """A .csv file has neither confidences nor anchors; they are those of the corpus."""
    items = with_certainty()
    db = corpus_of(workspace.folder / "c.db", items)
    path = workspace.folder / f"agent{suffix}"
    if suffix == ".csv":
        with path.open("wb") as file:
            write_csv(file, table_rows(items, nanda(), "arxiv_id"))
    else:
        saved(path, *items)
    found = read(path, nanda(), Columns(), None, db)
    assert [int(one.paper.id[-1]) for one in found] == [3, 4, 1, 2]
    assert found.certainty[found[0].key] == pytest.approx(0.4)
    workspace.review("q", path, db=db)
    assert "certainty 0.40" in workspace.stderr
    assert "! uncertain: confidence 0.40" in workspace.stderr
    entry = found[0].entry
    assert entry is not None
    assert entry.anchors == items[2].record["anchors"]


def test_conditions_select_from_the_corpus(workspace: Workspace) -> None:
    db = corpus_of(workspace.folder / "c.db", [item(1), item(2)])
    corpus = Path("corpus")

    def ids(where: str) -> list[str]:
        desk = workspace.desk("ada", corpus, db=db, where=where)
        return [one.paper.id for one in desk.papers]

    assert ids("claim=stated") == ids("") == [item(1).paper.id, item(2).paper.id]
    with pytest.raises(InputError, match="no annotation meets 'limitation=stated'"):
        ids("limitation=stated")
    with pytest.raises(InputError):
        ids("nonsense")
    workspace.annotations(row(1))
    with pytest.raises(UsageError, match="from the corpus, not from a table"):
        workspace.desk("ada", where="claim=stated")


def test_the_corpus_is_a_queue_of_which_only_the_next_paper_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = corpus_of(workspace.folder / "c.db", with_certainty())
    read_ids: list[int] = []
    annotated_of = reads.annotated

    def counting(db: Connection, framework: Framework, ids: Iterable[int]) -> Iterator[Annotated]:
        read_ids.extend(wanted := list(ids))
        return annotated_of(db, framework, wanted)

    monkeypatch.setattr(reads, "annotated", counting)
    few = workspace.desk("ada", Path("corpus"), db=db, words="ledger 22 faults")
    assert few.papers.keys == (item(2).paper.id,)
    assert read_ids == []
    desk = workspace.desk("ada", Path("corpus"), db=db, order="uncertain")
    at = desk.next()
    assert at == 0
    assert desk.sheet(at).paper.id == item(3).paper.id
    assert desk.counts()["to_do"] == 4
    assert read_ids == [3]
    assert [one.key for one in desk.papers] == list(desk.papers.keys)
    assert [int(one.paper.id[-1]) for one in desk.papers] == [3, 4, 1, 2]
    assert sorted(read_ids) == [1, 2, 3, 4]


def test_an_annotation_that_lacks_a_move_is_not_in_the_queue(workspace: Workspace) -> None:
    db = corpus_of(workspace.folder / "c.db", [item(1), item(2)])
    with closing(connect(db)) as opened, opened:
        opened.execute(
            "UPDATE annotations SET record = json_remove(record, '$.claim') WHERE id = 1"
        )
    desk = workspace.desk("ada", Path("corpus"), db=db)
    assert [one.paper.id for one in desk.papers] == [item(2).paper.id]


@pytest.fixture
def searched(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    rows = [row(n, title="On Ships" if n % 3 else "On Rails") for n in range(30)]
    rows[5]["novelty"] = "It plans voyages at night."
    made.annotations(*rows)
    items = [
        annotated(
            Paper("arxiv_id", one["arxiv_id"], one["title"], one["abstract"]),
            **{name: one[name] for name in MOVES},
        )
        for one in rows
    ]
    corpus_of(tmp_path / "c.db", items)
    return made


def ids(searched: Workspace, path: Path | None = None, **options: object) -> list[str]:
    desk = searched.desk(path=path, db=searched.folder / "c.db", **options)  # type: ignore[arg-type]
    return [item.paper.id[-2:] for item in desk.papers]


@pytest.mark.parametrize("path", [None, Path("corpus")])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rails PlanBench", [f"{n:02}" for n in range(0, 30, 3)]),
        ("PLANNED VOYAGE", ["05"]),
        ('"at night"', ["05"]),
        ("2405.00007", ["07"]),
    ],
)
def test_words_select_alike_from_a_table_and_from_the_corpus(
    searched: Workspace, path: Path | None, words: str, found: list[str]
) -> None:
    assert ids(searched, path, words=words) == found


@pytest.mark.parametrize("path", [None, Path("corpus")])
@pytest.mark.parametrize("words", ["rails ships", "ships voyages", "stated", '"night at"', "voy"])
def test_words_that_no_annotation_has(searched: Workspace, path: Path | None, words: str) -> None:
    """Both are in paper 5, but not together; and it states no limitation."""
    with pytest.raises(InputError, match=f"no annotation has the words '{words}'"):
        ids(searched, path, words=words)


def test_words_and_conditions_of_the_corpus(searched: Workspace) -> None:
    corpus = Path("corpus")
    assert ids(searched, corpus, words="ships", where="novelty~voyages") == ["05"]
    with pytest.raises(InputError, match="has the words 'rails' and meets 'novelty~voyages'"):
        ids(searched, corpus, words="rails", where="novelty~voyages")


def test_a_sample_depends_on_the_seed_and_on_nothing_else(searched: Workspace) -> None:
    first = ids(searched, sample=8)
    assert first == ids(searched, sample=8)
    assert first != sorted(first)  # in random order
    assert set(first) != set(ids(searched, sample=8, seed=1))
    searched.annotations(*map(row, [*range(29, -1, -1), 90, 91]))
    assert len(set(first) & set(ids(searched, sample=8))) >= 6
    assert len(ids(searched, sample=80)) == 32


def test_a_sample_is_drawn_from_the_papers_with_the_words(searched: Workspace) -> None:
    assert set(ids(searched, words="rails", sample=4)) < {f"{n:02}" for n in range(0, 30, 3)}
