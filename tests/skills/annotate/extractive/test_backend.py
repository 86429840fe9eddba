"""The model that is the selector alone: `nanda-selector` of the registry."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Workspace, write_table
from quoted_abstract import EXAMPLE, assert_quotes
from repository import SUPPORT

from harness.errors import Interrupted, ModelUnavailable, SkillFailed
from harness.models import registry
from harness.models.backends.base import Message, Request
from harness.models.schema import ServeEntry
from harness.models.weights import FileStore
from harness.plugins.node_backends import node_backends
from harness.settings import CODE_ROOT
from harness.testing import FakeModel, run_skill
from skills.annotate.extractive import extract
from skills.annotate.extractive.backend import SelectorBackend, SelectorModel
from skills.annotate.plugin import Annotate
from skills.annotate.selector import selector
from skills.nanda.forms.quotes import QuotesForm
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ENTRY = ServeEntry(backend="selector", model="nanda-selector")


@pytest.fixture(scope="module")
def model(model_files: FileStore) -> SelectorModel:
    return SelectorBackend(model_files).load(ENTRY)


def annotated(model: SelectorModel | FakeModel, **options: object) -> Any:
    return run_skill(
        Annotate(), EXAMPLE, model=model, form="quotes", source="stdin", options=options
    ).data


def test_the_registry_has_it() -> None:
    shipped = registry.load(CODE_ROOT / "models" / "registry.yaml")
    entry = shipped.models["nanda-selector"]
    assert (entry.form, entry.serve) == ("quotes", (ENTRY,))
    assert shipped.named(selector.BASE)[0] == "producer", "not the selector, which reads with it"


@pytest.mark.model
def test_its_moves_are_quotes(model: SelectorModel) -> None:
    record = annotated(model)
    assert len(assert_quotes(record, EXAMPLE)) >= 6
    assert record["limitation"].startswith("The approach does not cover commands")
    made = record["provenance"]
    assert made["tokens"]["prompt"] > 100
    assert made["tokens"]["completion"] == 0
    assert made["decoding"] == extract.decoding()
    assert {*made["digests"]} == {"gguf", "selector"}


@pytest.mark.model
def test_a_table_is_annotated_with_confidences(model: SelectorModel, tmp_path: Path) -> None:
    config = tmp_path / "registry.yaml"
    config.write_text(
        "version: 1\nmodels:\n  quoting:\n    tasks: [annotate]\n    form: quotes\n"
        "    serve: [{backend: fake, model: quoting}]\n",
        encoding="utf-8",
    )
    rows = [{"id": str(n), "abstract": f"In case {n}, this holds. {EXAMPLE}"} for n in (1, 2)]
    write_table(tmp_path / "papers.csv", *rows)
    workspace = Workspace(tmp_path, model, registry=config)
    assert workspace.annotate("save to out.jsonl").result.code == 0
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        assert_quotes(json.loads(line), f"In case {number}, this holds. {EXAMPLE}")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"wording": "abstractive"}, "only quotes"),
        ({"framework": SUPPORT / "two_moves.yaml"}, "built-in framework"),
    ],
    ids=["wording", "framework"],
)
def test_what_needs_a_model_that_writes_is_refused(
    options: dict[str, object], problem: str
) -> None:
    model = FakeModel()
    with pytest.raises(ModelUnavailable, match=problem):
        annotated(model, **options)
    assert model.requests == []


@pytest.mark.model
def test_it_answers_nothing_but_abstracts(model: SelectorModel) -> None:
    chat = (Message("system", "Be kind."), Message("user", "Hello"))
    with pytest.raises(SkillFailed, match="only annotates abstracts"):
        model.generate(Request(chat))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        model.generate(Request((Message("user", EXAMPLE),)), cancel=stop)


@pytest.mark.model
def test_a_move_that_the_text_certainly_states_is_found(model: SelectorModel) -> None:
    text = "Our nurses are kind. The wards are warm in winter."
    form = QuotesForm(nanda())
    request = Request(form.messages(Paper("id", "1", "", text)))
    without = form.read(model.generate(request), text)
    stated = form.read(model.generate(form.stating(request, ["limitation"])), text)
    assert (without["limitation"], stated["limitation"] in text) == (nanda().not_stated, True)


def test_it_is_available_where_its_file_is(
    model_files: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SelectorBackend(model_files).probe(ENTRY).reason == ""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    found = SelectorBackend(model_files).probe(ENTRY)
    assert (found.available, found.reason) == (True, "98 MB to download")


def test_the_nodes_of_a_cluster_have_it(model_files: FileStore) -> None:
    assert node_backends(model_files)["selector"].probe(ENTRY).available
