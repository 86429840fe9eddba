"""Few-shot examples from the table that a registry entry names."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from repository import ROOT

from harness.cli.app import App
from harness.errors import InputError, RegistryError
from harness.testing import FAKE_REGISTRY, FakeModel, fake_app
from skills.nanda.framework import nanda
from skills.nanda.generated_forms import JsonForm
from skills.nanda.passages import numbered, prompt_of

MOVES = {name: f"Parcels, agents: {name}." for name in nanda().names}
GOOD = json.dumps(MOVES)
ABSTRACT = "We sort parcels by hand."


def app_with(folder: Path, model: FakeModel, examples: str, form: str = "json") -> App:
    """Return an application whose producer has examples."""
    (folder / "config").mkdir(parents=True, exist_ok=True)
    app = fake_app(folder, model)
    entry = f"  producer:\n    form: {form}\n    examples: {examples}\n"
    registry = FAKE_REGISTRY.replace("  producer:\n", entry)
    app.settings.user_registry.write_text(registry, encoding="utf-8")
    app.reload()
    return app


def table(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "abstract", *nanda().names])
        writer.writeheader()
        writer.writerows(rows)
    return path


def line(tmp_path: Path) -> str:
    paper = tmp_path / "paper.txt"
    paper.write_text(ABSTRACT, encoding="utf-8")
    return f"/annotate {paper} --model producer"


def test_a_model_receives_the_examples_of_its_entry(tmp_path: Path) -> None:
    model = FakeModel(GOOD)
    (tmp_path / "config").mkdir()
    shown = {**MOVES, "limitation": "n/a"}
    table(tmp_path / "config" / "gold.csv", {"id": "1", "abstract": "We count bees.", **shown})
    app = app_with(tmp_path, model, "gold.csv")
    record = app.dispatch(line(tmp_path)).result.data
    system, asked, answer, user = model.requests[0].messages
    assert (system.role, asked.role, answer.role, user.role) == (
        *("system", "user", "assistant", "user"),
    )
    assert "We count bees." in asked.content
    assert JsonForm(nanda()).parse(answer.content) == {**MOVES, "limitation": "Not stated."}
    assert prompt_of(numbered(ABSTRACT)) in user.content
    table(tmp_path / "config" / "gold.csv", {"id": "1", "abstract": "We count ants.", **shown})
    other = app.dispatch(line(tmp_path)).result.data
    assert "We count ants." in model.requests[1].messages[1].content, "the table is read again"
    assert other["provenance"]["key"] != record["provenance"]["key"]


def test_the_example_of_the_repository_can_be_shown(tmp_path: Path) -> None:
    model = FakeModel(GOOD)
    app = app_with(tmp_path, model, str(ROOT / "examples" / "gold.csv"))
    app.dispatch(line(tmp_path))
    assert "DryRun" in model.requests[0].messages[1].content


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "has no example|has no rows"),
        ([{"id": "1", "abstract": "We count.", **MOVES, "scope": ""}], "line 2: scope is empty"),
        ([{"id": "1", "abstract": "", **MOVES}], "line 2.* has no abstract"),
    ],
)
def test_invalid_examples_are_refused(
    tmp_path: Path, rows: list[dict[str, str]], problem: str
) -> None:
    model = FakeModel(GOOD)
    path = table(tmp_path / "gold.csv", *rows)
    app = app_with(tmp_path, model, str(path))
    with pytest.raises(InputError) as refused:
        app.dispatch(line(tmp_path))
    assert re.search(problem, str(refused.value))
    assert model.requests == []


def test_unusable_examples_in_the_registry_are_refused(tmp_path: Path) -> None:
    model = FakeModel(GOOD)
    app = app_with(tmp_path, model, "none.csv")
    with pytest.raises(InputError, match=r"none\.csv"):
        app.dispatch(line(tmp_path))
    with pytest.raises(RegistryError, match="only for the form json"):
        app_with(tmp_path / "other", model, "none.csv", form="tagged")
    assert model.requests == []
