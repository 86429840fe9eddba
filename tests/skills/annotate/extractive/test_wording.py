"""The option and the registry key of the wording: content keys, provenance, cascades."""

import io
import json

import pytest
from annotate_workspace import Workspace, write_table
from drafting_model import (
    DRAFTS,
    EXAMPLE,
    NAMES,
    DraftingModel,
    annotated,
    assert_quotes,
    use_weights,
)
from rich.console import Console

from harness.errors import ModelError
from skills.annotate.extractive import extract, ranking
from skills.annotate.render import for_terminal
from skills.annotate.selector import selector
from skills.corpus.content_key import verify
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import nanda


def test_the_wording_changes_the_content_key():
    def key(**options):
        return annotated(EXAMPLE, DraftingModel(DRAFTS), **options)["provenance"]["key"]

    assert key() == key() != key(wording="abstractive")


def test_other_weights_change_the_content_key(monkeypatch):
    first = annotated(EXAMPLE, DraftingModel(DRAFTS))["provenance"]
    use_weights(monkeypatch)
    second = annotated(EXAMPLE, DraftingModel(DRAFTS))["provenance"]
    assert first["key"] != second["key"]


def test_the_provenance_states_drafts_and_decoding():
    made = annotated(EXAMPLE, DraftingModel(DRAFTS))["provenance"]
    assert made["drafts"] == DRAFTS
    assert made["decoding"] == {
        "version": extract.VERSION,
        "wording": "extractive",
        "selector": selector.load().digest,
        "weights": ranking.load().digest,
    }


REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    form: tagged
    wording: extractive
    serve: [{backend: fake, model: small}]
  better:
    tasks: []
    form: tagged
    serve: [{backend: fake, model: better}]
"""


@pytest.fixture
def workspace(tmp_path):
    """A folder with two papers, whose registry has a model of the extractive wording."""
    registry = tmp_path / "models.yaml"
    registry.write_text(REGISTRY, encoding="utf-8")
    rows = [{"id": str(n), "abstract": f"In case {n}, this holds. {EXAMPLE}"} for n in (1, 2)]
    write_table(tmp_path / "papers.csv", *rows)
    return Workspace(tmp_path, DraftingModel(DRAFTS), registry=registry)


def records(workspace, line):
    """Return the annotations that a line saves for the two papers, as stored."""
    assert workspace.annotate(f"{line} save to out.jsonl --force").result.code == 0
    lines = (workspace.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    return [json.loads(one) for one in lines]


def test_the_registry_states_the_wording_of_a_model_and_the_option_overrides_it(workspace):
    for number, record in enumerate(records(workspace, ""), start=1):
        assert {*assert_quotes(record, f"In case {number}, this holds. {EXAMPLE}")} >= {"claim"}
    for record in records(workspace, "--wording abstractive"):
        assert nanda().stated({name: record[name] for name in NAMES}) == DRAFTS


def test_a_cascade_accepts_moves_that_are_quotes(workspace):
    line = "--cascade better --budget 50% --until .999"
    found = workspace.annotate(f"{line} save to out.jsonl").result.summary["cascade"]
    assert {name: one["papers"] for name, one in found["models"].items()} == {
        "nanda-annotator": 2,
        "better": 1,
    }


def test_a_cascade_of_the_models_own_words_is_refused(workspace):
    with pytest.raises(ModelError, match="gives no confidences"):
        workspace.annotate("--cascade better --until .9 --wording abstractive save to out.jsonl")
    assert workspace.model.requests == []


def test_an_annotation_in_its_own_words_made_before_is_read(workspace):
    """It has neither anchors nor confidence, and no decoding in its provenance."""
    old = records(workspace, "--wording abstractive")[0]
    before = {key: value for key, value in old.items() if key != "anchors"}
    before["provenance"] = {k: v for k, v in old["provenance"].items() if k != "decoding"}
    assert verify(before, f"In case 1, this holds. {EXAMPLE}") == []
    read = read_anchors(EXAMPLE, nanda().stated({name: old[name] for name in NAMES}), None)
    assert {one["by"] for one in read.values()} == {"lexical"}
    assert certainty_of(before.get("confidence"), NAMES) is None
    shown = io.StringIO()
    Console(file=shown, width=80).print(for_terminal(before, nanda(), EXAMPLE))
    assert "DryRun lets an agent rehearse each command." in shown.getvalue()
