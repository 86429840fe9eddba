"""A dataset is read by `datasets`, and keeps what a person wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpus_papers import annotated, paper
from hub_server import Hub

from harness.cli.app import App
from harness.errors import InputError, NotAllowed, UsageError
from harness.models.hub import HubPush
from harness.testing import fake_app
from skills.corpus.db.connection import open_corpus
from skills.corpus.exports import dataset as datasets
from skills.corpus.importer import add
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import Columns
from skills.nanda.framework import nanda

Save = Callable[..., list[str]]
ITEMS = [
    annotated(
        paper(1, title="Größe | *x*"), limitation=nanda().not_stated, claim="It has 77 of X."
    ),
    annotated(paper(2), model="other"),
]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(*items: Annotated, **options: Any) -> list[str]:
        notices: list[str] = []
        datasets.save(
            tmp_path / "papers.dataset",
            nanda(),
            "arxiv_id",
            lambda: iter(items or ITEMS),
            notice=notices.append,
            **options,
        )
        return notices

    return saved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "papers.dataset"


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_it(
    save: Save, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("datasets", reason="`datasets` is in the extra dev")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    save()
    save(ITEMS[0], split="test")
    loaded = library.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 2, "test": 1}
    row = loaded["train"][0]
    assert row["arxiv_id"] == ITEMS[0].paper.id
    assert row["title"] == "Größe | *x*"
    assert row["abstract"] == ITEMS[0].paper.abstract
    assert {name: row[name] for name in nanda().names} == {
        name: ITEMS[0].record[name] for name in nanda().names
    }
    assert row["support"]["limitation"] is None
    assert json.loads(row["provenance"])["resolved"] == "annotator"


def test_the_card(save: Save, folder: Path) -> None:
    save()
    metadata, text = card(folder)
    assert "license" not in metadata
    assert metadata["language"] == ["en"]
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "data/train-*"}],
        }
    ]
    assert "2 abstracts, annotated with the moves of the Nanda" in text
    assert "annotator with nanda-harness 0 (1); other with nanda-harness 0 (1), 2026-11-24" in text
    assert "| `limitation` | 50% (1) |" in text
    assert re.search(r"^\| `claim` \| 100% \(2\) \| 0\.\d\d \| 50% \(1\) \|$", text, re.MULTILINE)
    assert "under the copyright" in text


def test_the_card_keeps_what_a_person_wrote(save: Save, folder: Path) -> None:
    save()
    path = folder / "README.md"
    mine = path.read_text().replace('  - "en"', "  - de\nlicense: cc-by-4.0")
    path.write_text(mine.replace("Describe here which papers these are.", "Mine.") + "End.\n")
    save(ITEMS[0])
    metadata, text = card(folder)
    assert metadata["language"] == ["de"]
    assert metadata["license"] == "cc-by-4.0"
    assert "Mine." in text
    assert text.endswith("End.\n")
    assert "1 abstract, annotated" in text


def test_figures_that_a_person_has_changed_are_kept(save: Save, folder: Path) -> None:
    save()
    path = folder / "README.md"
    path.write_text(path.read_text().replace("50% (1)", "half"))
    before = path.read_text()
    assert "README.md is kept" in save(ITEMS[0])[0]
    assert path.read_text() == before
    save(ITEMS[0], force=True)
    assert "1 abstract, annotated" in path.read_text()


def test_a_card_that_cannot_be_read_is_kept(save: Save, folder: Path) -> None:
    save()
    for content in (b"---\nlicense: [\n---\n", b"M\xfcller"):
        (folder / "README.md").write_bytes(content)
        assert "README.md is kept, since its text or its metadata" in save(force=True)[0]
        assert (folder / "README.md").read_bytes() == content


def test_a_new_repository_of_the_hub(save: Save, folder: Path) -> None:
    folder.mkdir()
    (folder / ".gitattributes").write_text("")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    save()
    metadata, text = card(folder)
    assert metadata["license"] == "mit"
    assert metadata["configs"]
    assert text.startswith("# Mine\n\n<!-- nanda-harness")
    save()


def test_a_folder_with_other_things_is_refused(save: Save, folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.docx").write_text("")
    with pytest.raises(UsageError, match=r"not part of a dataset: thesis\.docx"):
        save()
    assert not (folder / "data").exists()
    save(force=True)
    save()


@pytest.mark.parametrize("missing", [("README.md",), ("README.md", "data/*")])
def test_a_run_that_ended_early_is_repeated(
    save: Save, folder: Path, missing: tuple[str, ...]
) -> None:
    save()
    for path in [path for pattern in missing for path in folder.glob(pattern)]:
        path.unlink()
    save()
    assert "2 abstracts, annotated" in card(folder)[1]


def test_a_dataset_that_was_described_by_croissant_is_continued(save: Save, folder: Path) -> None:
    save()
    (folder / "croissant.json").write_text("{}")
    assert save(split="test")[-1].endswith("2 rows in the split test")


def test_data_of_another_dataset_is_refused(save: Save, folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table({"text": ["x"]}), folder / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(UsageError, match="not part of a dataset: data"):
        save()


def test_abstracts_may_be_left_out(save: Save, folder: Path) -> None:
    save(abstracts=False)
    table = pq.read_table(folder / "data" / "train-00000-of-00001.parquet")
    assert "abstract" not in table.column_names
    sentence = ITEMS[0].paper.abstract.partition(". ")[0]
    assert not any(sentence in str(row) for row in table.to_pylist())
    assert "`abstract`" not in card(folder)[1]


def test_moves_of_sections_have_a_column(save: Save, folder: Path) -> None:
    found = {"limitation": {"section": "6", "page": 8, "text": "Only mazes."}}
    item = annotated(paper(1))
    save(Annotated(item.paper, {**item.record, "sections": found}), sections=True)
    [row] = pq.read_table(folder / "data").to_pylist()
    assert json.loads(row["sections"]) == found


def test_splits_have_the_same_columns(save: Save, folder: Path) -> None:
    save()
    before = (folder / "README.md").read_bytes()
    with pytest.raises(UsageError, match=r"the split train: has other columns.*: abstract"):
        save(split="test", abstracts=False)
    assert (folder / "README.md").read_bytes() == before
    save(abstracts=False)  # the columns of the only split may change


def test_no_folder_server_or_account_is_named(save: Save, folder: Path) -> None:
    item = annotated(paper(1))
    made = item.record["provenance"]
    made["input"] |= {"path": "/home/anna/secret/papers.csv", "zotero": "users/1/items/ANNA2345"}
    made["place"] = "annotator at gpu.anna.example:8000"
    made["reason"] = "ollama at anna.example cannot be reached"
    save(item)
    content = (folder / "data" / "train-00000-of-00001.parquet").read_bytes()
    [row] = pq.read_table(folder / "data").to_pylist()
    assert json.loads(row["provenance"])["input"]["path"] == "papers.csv"
    assert b"anna" not in content.lower()


def test_a_corpus_takes_the_annotations_back(save: Save, folder: Path, tmp_path: Path) -> None:
    save()
    with open_corpus(tmp_path / "corpus.db") as db:
        added = add(db, folder / "data", nanda(), Columns(None, None, None))
    assert (added.papers, added.annotations, added.renamed) == (2, 2, 0)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.chdir(tmp_path)
    return fake_app(tmp_path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/corpus export a.vault --split dev", "--split applies only to a dataset"),
        (
            "/annotate x.csv --no-abstracts save to a.csv",
            "--no-abstracts applies only to a dataset",
        ),
        ("/corpus export a.dataset --split ../x", "--split"),
        ("/corpus stats --no-abstracts", "--no-abstracts"),
    ],
)
def test_options_of_a_dataset(app: App, line: str, problem: str) -> None:
    Path("x.csv").write_text(f"id,abstract\n1,{'A planner waits. ' * 10}\n")
    with pytest.raises(UsageError, match=problem):
        app.dispatch(line)


def test_a_dataset_is_pushed_with_the_figures_of_its_rows(
    save: Save, folder: Path, hub: Hub, tmp_path: Path
) -> None:
    app = fake_app(tmp_path / "app", None)
    save()
    rows = (folder / "data" / "train-00000-of-00001.parquet").read_bytes()
    save(ITEMS[0])
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes(rows)  # but the card says 1 row
    line = f"--yes /corpus push {folder} --to me/papers"
    result = app.dispatch(line).result
    repository = hub.repositories["me/papers"]
    assert (repository.kind, repository.private) == ("dataset", True)
    assert set(repository.files) == {"README.md", "data/train-00000-of-00001.parquet"}
    assert "train (2 rows)" in repository.files["README.md"].decode()
    assert HubPush.model_validate(result.data).url == f"{hub.url}/datasets/me/papers"
    assert not app.dispatch(line).result.data["changed"]
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("train (2 rows)", "train (9 rows)"))
    with pytest.raises(UsageError, match="a person has changed the figures"):
        app.dispatch(line)
    assert app.dispatch(f"--force {line}").result.data["changed"] is False


def test_other_folders_and_pushes_without_consent_are_refused(
    save: Save, folder: Path, hub: Hub, tmp_path: Path
) -> None:
    app = fake_app(tmp_path / "app", None)
    folder.mkdir()
    with pytest.raises(InputError, match="is not a dataset of annotations by the framework nanda"):
        app.dispatch(f"--yes /corpus push {folder} --to me/papers")
    save()
    with pytest.raises(NotAllowed, match=r"/corpus push sends 2 files, .*a new private repository"):
        app.dispatch(f"/corpus push {folder} --to me/papers")
    assert not hub.repositories
