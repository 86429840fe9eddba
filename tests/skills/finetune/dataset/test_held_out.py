"""Papers of the development and test sets are held out of training, under any id."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from finetune_tables import abstract, row, rows, table
from repository import SHARED

from harness.errors import InputError
from skills.finetune.build_finetune_from_annotations import Dataset, build_dataset
from skills.finetune.dataset.dataset_options import MAX_SIMILARITY
from skills.finetune.dataset.merging import AbstractIndex

DATA = SHARED
TEXT = abstract(500, words=100)
CHANGED = TEXT.replace(TEXT.split()[50], "other", 1)


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return table(tmp_path / "gold.csv", rows(range(10)))


def dev_table(folder: Path, content: Iterable[Mapping[str, str]]) -> str:
    return str(table(folder / "dev.csv", content))


def out(dataset: Dataset) -> list[dict[str, Any]]:
    return [left.as_dict() for left in dataset.left_out if left.why == "excluded"]


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [int(each["id"].partition(".")[2]) - 1 for each in found]


def test_held_out_table_excludes_its_ids(gold: Path, tmp_path: Path) -> None:
    papers = [{"arxiv_id": row(3)["arxiv_id"] + "v2", "abstract": "Quite another text."}]
    dataset = build_dataset(gold, None, dev=[dev_table(tmp_path, papers)])
    assert len(dataset.rows) == 9
    [found] = out(dataset)
    assert (found["reason"], found["split"]) == ("its id is that of a paper kept for dev", "dev")
    assert found["of_where"].endswith("dev.csv, line 2")


@pytest.mark.parametrize(
    ("text", "reason", "similarity"),
    [
        (TEXT.replace(" ", "\n", 9), "its abstract is that of a paper kept for test", 1.0),
        (CHANGED, "its abstract is nearly that of a paper kept for test", 0.9417),
    ],
)
def test_held_out_table_excludes_its_abstracts(
    tmp_path: Path, text: str, reason: str, similarity: float
) -> None:
    gold = table(tmp_path / "gold.csv", [row(1), row(2, abstract=text)])
    held = table(tmp_path / "held.csv", [{"paper_id": "cs-7", "abstract": TEXT}])
    dataset = build_dataset(gold, None, test=[str(held)])
    [found] = out(dataset)
    assert (found["reason"], found["of"], found["similarity"]) == (reason, "cs-7", similarity)
    assert numbers([found]) == [2]


def test_id_list_may_have_comments(gold: Path, tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    first, second = row(1)["arxiv_id"], row(2)["arxiv_id"]
    path.write_text(f"# for the test\n\n{first}\narXiv:{second}v3  a remark\n", encoding="utf-8")
    dataset = build_dataset(gold, None, test=[str(path)])
    assert numbers(out(dataset)) == [1, 2]
    assert [each["of_where"][-6:] for each in out(dataset)] == ["line 3", "line 4"]
    assert [(file.role, Path(file.path).name) for file in dataset.inputs] == [
        ("gold", "gold.csv"),
        ("test", "ids.txt"),
    ]


def test_ids_may_be_named_on_the_line(gold: Path) -> None:
    dev = [f"{row(1)['arxiv_id']},{row(2)['arxiv_id']}", row(4)["arxiv_id"]]
    dataset = build_dataset(gold, None, dev=dev, test=["hep-th/9901001"])
    assert numbers(out(dataset)) == [1, 2, 4]
    many = ",".join(row(number)["arxiv_id"] for number in range(1, 2000))
    assert len(build_dataset(gold, None, dev=[many]).rows) == 1


def test_held_out_paper_is_excluded_from_all_sources(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [row(1)])
    agent = table(tmp_path / "agent.csv", [row(1, "agent"), row(2, "agent")])
    curated = table(tmp_path / "curated.csv", [row(1, "curated")])
    dataset = build_dataset(gold, agent, curated, dev=[row(1)["arxiv_id"]])
    assert [each["source"] for each in out(dataset)] == ["gold", "curated", "agent"]
    assert [example["id"] for example in dataset.examples()] == [row(2)["arxiv_id"]]


def test_held_out_id_also_excludes_copies_of_its_abstract(tmp_path: Path) -> None:
    gold = table(tmp_path / "gold.csv", [row(1, abstract=TEXT), row(2)])
    agent = table(tmp_path / "agent.csv", [row(3, "agent", abstract=CHANGED), row(4, "agent")])
    curated = table(tmp_path / "curated.csv", [row(3, "curated", abstract="Told in new words.")])
    dataset = build_dataset(gold, agent, curated, dev=[row(1)["arxiv_id"]])
    assert [(each["source"], *numbers([each])) for each in out(dataset)] == [
        ("gold", 1),
        ("curated", 3),
        ("agent", 3),
    ]
    assert len(dataset.rows) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing.csv", "there is no such file"),
        ("missing.txt", "there is no such file"),
        ("gold_dev.cvs", "is neither a table nor a list of ids"),
        ("./dev", "is neither a table nor a list of ids"),
        ("two words", "is neither a table nor a list of ids"),
        ("notes.txt", "does not name a paper"),
        (",", "does not name a paper"),
    ],
)
def test_invalid_held_out_sets(
    gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("# nothing yet\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        build_dataset(gold, None, dev=[given])


def test_similarity_of_two_abstracts() -> None:
    assert similarity("One two three four.", "one, two; three FOUR") == 1.0
    assert similarity("a b c d", "a b c e") == pytest.approx(1 / 3)
    assert similarity("a b", "a b!") == 1.0
    assert similarity("...", "?") == 0.0
    assert similarity("a b c", "...") == 0.0


def similarity(one: str, other: str) -> float:
    index: AbstractIndex[None] = AbstractIndex(0.0)
    index.add(one, None)
    found = index.find(other)
    return found.similarity if found else 0.0


def test_the_nearest_of_several_is_found() -> None:
    index: AbstractIndex[str] = AbstractIndex()
    words = TEXT.split()
    for name, text in (
        *(("near", CHANGED), ("far", " ".join(words[:80]))),
        *(("again", CHANGED), ("other", abstract(2))),
    ):
        index.add(text, name)
    found = index.find(TEXT)
    assert found is not None
    assert (found.value, found.similarity) == ("near", similarity(TEXT, CHANGED))
    assert index.find("...") is None


def test_shared_data_has_no_near_duplicates() -> None:
    names = ("gold_train.csv", "gold_train_cs.csv", "gold_dev.csv", "pool.csv")
    if not all((DATA / name).is_file() for name in names):
        pytest.skip("the shared data is not here")
    abstracts = []
    for name in names:
        with (DATA / name).open(encoding="utf-8-sig", newline="") as file:
            abstracts += [line["abstract"] for line in csv.DictReader(file)]
    index: AbstractIndex[str] = AbstractIndex(0.3)
    alike = []
    for text in abstracts:
        if (found := index.find(text)) is not None:
            alike.append(found.similarity)
        index.add(text, text)
    assert len(abstracts) == 2149
    assert [round(similarity, 2) for similarity in alike] == [0.38]
    assert max(alike) < MAX_SIMILARITY - 0.2
