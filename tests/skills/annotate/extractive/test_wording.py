"""--wording: which models have the wanted one, and the fallback of those that do not."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Workspace, write_table
from quoted_abstract import EXAMPLE, NAMES, WRITTEN, completion
from rich.console import Console

from harness.errors import ModelUnavailable
from harness.testing import FakeModel, run_skill
from skills.annotate.plugin import Annotate
from skills.annotate.render import for_terminal
from skills.corpus.content_key import verify
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import nanda

REGISTRY = """\
version: 1
models:
  quoting:
    tasks: [annotate]
    form: quotes
    serve: [{backend: fake, model: quoting}]
    fallback: writing
  writing:
    tasks: []
    form: tagged
    serve: [{backend: fake, model: writing}]
"""


def annotated(model: FakeModel, form: Any = "tagged", **options: object) -> Any:
    return run_skill(
        Annotate(), EXAMPLE, model=model, form=form, source="stdin", options=options
    ).data


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with two papers, whose registry has a model that quotes and one that writes."""
    registry = tmp_path / "models.yaml"
    registry.write_text(REGISTRY, encoding="utf-8")
    rows = [{"id": str(n), "abstract": f"In case {n}, this holds. {EXAMPLE}"} for n in (1, 2)]
    write_table(tmp_path / "papers.csv", *rows)
    return Workspace(tmp_path, FakeModel(completion(WRITTEN)), registry=registry)


def in_own_words(workspace: Workspace) -> list[Any]:
    """Return the annotations of the two papers by the model that writes, as stored."""
    assert workspace.annotate("--wording abstractive save to out.jsonl").result.code == 0
    lines = (workspace.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    return [json.loads(one) for one in lines]


@pytest.mark.parametrize("form", ["tagged", "json"])
def test_a_model_that_writes_does_not_quote(form: str) -> None:
    model = FakeModel(completion(WRITTEN))
    with pytest.raises(ModelUnavailable, match="needs a model that quotes, such as nanda-sel"):
        annotated(model, form, wording="extractive")
    assert model.requests == []


def test_the_own_wording_of_a_model_changes_nothing() -> None:
    model = FakeModel(completion(WRITTEN))
    named, alone = annotated(model, wording="abstractive"), annotated(model)
    assert named["provenance"]["key"] == alone["provenance"]["key"]
    assert named["provenance"]["decoding"] is None
    assert "confidence" not in named


def test_the_fallback_has_the_other_wording(workspace: Workspace) -> None:
    for record in in_own_words(workspace):
        assert nanda().stated({name: record[name] for name in NAMES}) == WRITTEN
        assert record["provenance"]["resolved"] == "writing"
    assert "it only quotes, and --wording abstractive needs a model that writes" in workspace.stderr


def test_a_model_that_is_named_has_no_fallback(workspace: Workspace) -> None:
    workspace.app.general["model"] = "writing"
    with pytest.raises(ModelUnavailable, match="only writes its own words"):
        workspace.annotate("--wording extractive save to out.jsonl")
    assert workspace.model.requests == []


def test_an_annotation_in_own_words_made_before_is_read(workspace: Workspace) -> None:
    """It has neither anchors nor confidence, and no decoding in its provenance."""
    old = in_own_words(workspace)[0]
    before = {key: value for key, value in old.items() if key != "anchors"}
    before["provenance"] = {k: v for k, v in old["provenance"].items() if k != "decoding"}
    assert verify(before, f"In case 1, this holds. {EXAMPLE}") == []
    read = read_anchors(EXAMPLE, nanda().stated({name: old[name] for name in NAMES}), None)
    assert {one["by"] for one in read.values()} == {"lexical"}
    assert certainty_of(before.get("confidence"), NAMES) is None
    shown = io.StringIO()
    Console(file=shown, width=80).print(for_terminal(before, nanda(), EXAMPLE))
    assert "DryRun lets an agent rehearse each command." in shown.getvalue()
