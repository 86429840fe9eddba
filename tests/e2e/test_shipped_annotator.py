"""models/nanda-annotator: the shipped files match the evaluation, and a fresh clone uses them."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama_server import OllamaServer

from harness import settings
from harness.cli.app import App
from harness.models import registry
from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.weights import FileStore
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.evaluate import inputs, source_metrics
from skills.evaluate.annotators import baseline
from skills.evaluate.measures import Measures
from skills.finetune import recipe as recipes
from skills.finetune.export import modelfile
from skills.nanda.framework import nanda
from skills.reporting.statistics import Resamples, estimate

FOLDER = CODE_ROOT / "models" / "nanda-annotator"
ADAPTER = "nanda-annotator-lora"
SHARED = CODE_ROOT.parent / "shared" / "data"
POOL, LABELS = SHARED / "pool.csv", SHARED / "csabstruct_dev.jsonl"
LINE = f"/annotate {CODE_ROOT / 'examples' / 'abstract.txt'}"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def figures_of(section: str, line: str) -> list[str]:
    """Return the figures of the table row of the model card that contains `line`."""
    [text] = [text for text in CARD.split("\n## ") if text.startswith(section)]
    [row] = [row for row in text.splitlines() if row.startswith("|") and line in row]
    return re.findall(r"[-+]?\d\.\d+", row)


def are_rounded(figures: list[str], measured: list[float]) -> bool:
    """Return True if the figures are the measured values, rounded."""
    return len(figures) >= len(measured) and all(
        float(figure) == pytest.approx(value, abs=0.51 * 10 ** -len(figure.partition(".")[2]))
        for figure, value in zip(figures, measured, strict=False)
    )


def evaluation() -> dict[str, Any]:
    report = json.loads((FOLDER / "eval.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = report["annotators"][0]
    return found


def test_shipped_adapter_is_the_evaluated_one(tmp_path: Path) -> None:
    shipped = registry.load(settings.from_environment().shipped_registry)
    files = FileStore(shipped.files, tmp_path, print)
    path = files.ensure(ADAPTER)
    assert path.parent == FOLDER
    assert path.stat().st_size < 12e6
    assert evaluation()["digests"]["adapter"] == shipped.files[ADAPTER].sha256
    [embedded] = [
        place
        for place in shipped.models["nanda-annotator"].serve
        if place.backend == LlamaCppBackend.name
    ]
    assert embedded.merge


@pytest.mark.parametrize(
    ("line", "name", "move"),
    [
        ("held to the form", "valid", "overall"),
        ("the same, unconstrained", "valid_freely", "overall"),
        ("content words", "support", "overall"),
        ("copied in runs", "copied", "overall"),
        ("without a number", "numbers", "overall"),
        ("highest ROUGE-L", "overlap", "overall"),
        ("three paraphrases", "prompts", "overall"),
        ("three seeds", "seeds", "overall"),
        ("ROUGE-L, mean", "rouge_l", "overall"),
        ("kappa of stated or not: comparison", "kappa", "comparison"),
        ("kappa: limitation", "kappa", "limitation"),
        ("kappa: evidence", "kappa", "evidence"),
        ("kappa: implication", "kappa", "implication"),
    ],
)
def test_card_states_the_evaluation(line: str, name: str, move: str) -> None:
    found = evaluation()["metrics"][name][move]
    parts = ("value", "low", "high") if found["low"] is not None else ("value",)
    assert are_rounded(figures_of("Evaluation", line), [found[part] for part in parts])


@pytest.mark.parametrize(
    ("line", "name", "move"),
    [
        ("kappa: evidence", "kappa", "evidence"),
        ("kappa: comparison", "kappa", "comparison"),
        ("kappa: limitation", "kappa", "limitation"),
        ("kappa: implication", "kappa", "implication"),
        ("ROUGE-L", "rouge_l", "overall"),
    ],
)
def test_card_and_page_state_the_cross_validation(line: str, name: str, move: str) -> None:
    report = json.loads((FOLDER / "eval-crossvalidated.json").read_text(encoding="utf-8"))
    assert report["papers"] == 476
    found = report["annotators"][0]["metrics"][name][move]
    expected = [found[part] for part in ("value", "low", "high")]
    page = (CODE_ROOT / "docs" / "measurements" / "nanda-annotator.md").read_text(encoding="utf-8")
    for whole in (CARD, page):
        text = whole.partition("\n## Cross-validated\n")[2].partition("\n## ")[0]
        [row] = [row for row in text.splitlines() if row.startswith(f"| {line}")]
        assert are_rounded(re.findall(r"\d\.\d+", row), expected)


@pytest.mark.parametrize(
    ("line", "name", "move"),
    [
        ("content words", "support", "overall"),
        ("highest ROUGE-L", "overlap", "overall"),
        ("ROUGE-L, mean", "rouge_l", "overall"),
        ("agreement", "agreement", "overall"),
        ("kappa: comparison", "kappa", "comparison"),
        ("kappa: limitation", "kappa", "limitation"),
        ("kappa: evidence", "kappa", "evidence"),
    ],
)
def test_card_states_the_difference_from_its_base(line: str, name: str, move: str) -> None:
    report = json.loads((FOLDER / "eval-base.json").read_text(encoding="utf-8"))
    models = [one for one in report["annotators"] if one["kind"] == "model"]
    assert [one["name"] for one in models] == ["nanda-annotator", "producer", "producer-few-shot"]
    assert models[0]["digests"] == evaluation()["digests"]
    expected = [one["metrics"][name][move]["value"] for one in models]
    for one in report["differences"][:2]:
        found = one["metrics"][name][move]
        expected += [found[part] for part in ("value", "low", "high") if found[part] is not None]
    assert are_rounded(figures_of("Beside the untuned base", line), expected)


@pytest.mark.parametrize(
    ("line", "name", "move"),
    [
        ("method: from a method", "label_precision", "method"),
        ("evidence: from a result", "label_precision", "evidence"),
        ("claim: from a background", "background", "claim"),
        ("method: from a background", "background", "method"),
        ("evidence: from a background", "background", "evidence"),
    ],
)
def test_card_states_agreement_with_human_labels(line: str, name: str, move: str) -> None:
    report = json.loads((FOLDER / "eval-csabstruct.json").read_text(encoding="utf-8"))
    ours, base = (one["metrics"] for one in report["annotators"][:2])
    assert report["annotators"][0]["digests"] == evaluation()["digests"]
    [difference] = [one for one in report["differences"] if one["other"] == "producer"]
    parts = [metrics[name][move] for metrics in (ours, base, difference["metrics"])]
    expected = [one[part] for one in parts for part in ("value", "low", "high")]
    assert are_rounded(figures_of("Against labels by people", line), expected)


@pytest.mark.skipif(not LABELS.is_file(), reason="the shared labels of sentences are not here")
def test_card_states_agreement_of_agents_with_labels() -> None:
    framework = nanda()
    subject = inputs.with_labels(LABELS, framework, 60)
    assert subject.labelled is not None
    lines = (FOLDER / "agent-csabstruct.jsonl").read_text(encoding="utf-8").splitlines()
    annotated = {row["paper_id"]: row for row in map(json.loads, lines)}
    moves = [
        {name: annotated[paper.id][name] for name in framework.names} for paper in subject.papers
    ]
    found = source_metrics.statistics(baseline("agents", moves), subject, Measures())
    for move in ("method", "evidence"):
        one = estimate(Resamples(60).of_all(found)["label_precision", move])
        sentence = f"{one} for {move}"
        assert sentence in " ".join(CARD.split())


def test_card_states_the_speed_of_both_models() -> None:
    report = json.loads((FOLDER / "eval-csabstruct.json").read_text(encoding="utf-8"))
    ours, base = (one["speed"]["papers_per_minute"] for one in report["annotators"][:2])
    text = " ".join(CARD.split())
    assert f"the model annotated {ours} papers a minute" in text
    assert f"The base annotated {base} papers a minute under its JSON Schema." in text


def test_card_states_validity_without_a_constraint() -> None:
    report = json.loads((FOLDER / "eval-unconstrained.json").read_text(encoding="utf-8"))
    ours, base = report["annotators"][:2]
    assert ours["digests"] == evaluation()["digests"]
    free = [one["metrics"]["valid_freely"]["overall"] for one in (base, ours)]
    intervals = [f"({one['low']:.2f} to {one['high']:.2f})" for one in free]
    counts = [round(one["value"] * one["papers"]) for one in free]
    text = " ".join(CARD.split())
    assert f"for {counts[0]} of the first {free[0]['papers']} papers {intervals[0]}," in text
    assert f"nanda-annotator's for {counts[1]} {intervals[1]}:" in text


def test_listed_failures_are_among_the_worst() -> None:
    report = json.loads((FOLDER / "eval.json").read_text(encoding="utf-8"))
    page = (CODE_ROOT / "docs" / "measurements" / "nanda-annotator.md").read_text(encoding="utf-8")
    row = r"^\| \[([\d.]+)\]\(https://arxiv.org/abs/\1\) \| (.*?) \|"
    listed = re.findall(row, page, re.MULTILINE)
    worst = {one["id"]: one["moves"] for one in report["worst"]}
    assert len(listed) == 6
    for paper, quoted in listed:
        move, _, text = quoted.partition(": ")
        assert worst[paper][move.lower()].startswith(text.removesuffix("...").strip()), paper


def test_manifest_matches_adapter_and_recipe() -> None:
    made = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    lora = made["stages"]["gguf"]["outputs"]["nanda-annotator-lora.gguf"]
    assert lora["sha256"] == evaluation()["digests"]["adapter"]
    recipe = recipes.load_recipe(str(FOLDER / "recipe.yaml"))
    assert recipes.Recipe.model_validate(made["run"]["recipe"]) == recipe


def agents() -> list[dict[str, Any]]:
    lines = (FOLDER / "agent.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_agent_annotations_are_complete_without_abstracts() -> None:
    annotation = nanda().annotation_model()
    for row in agents():
        assert set(row) == {"paper_id", *nanda().names, "provenance"}
        annotation.model_validate({name: row[name] for name in nanda().names})
    made = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    sources = made["stages"]["prepare"]["facts"]["rows"]["sources"]
    assert sources["agent"]["rows"] == len({row["paper_id"] for row in agents()}) == len(agents())


@pytest.mark.skipif(not POOL.is_file(), reason="the shared pool of abstracts is not here")
def test_data_set_is_built_with_abstracts_of_the_pool(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    db = tmp_path / "pool.db"
    try:
        app.dispatch(f"/corpus add {POOL} --db {db}")
        line = f"/finetune dataset --agent {FOLDER / 'agent.jsonl'} --db {db}"
        app.dispatch(f"{line} save to {tmp_path / 'train.jsonl'}")
    finally:
        app.close()
    made = (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(made) == len(agents())


def test_recipe_matches_the_card() -> None:
    recipe = recipes.load_recipe(str(FOLDER / "recipe.yaml"))
    assert recipe.base == "smollm2-135m-instruct"
    assert f"rank {recipe.adapter.r} on every linear layer" in " ".join(CARD.split())


def app_in(folder: Path) -> App:
    """Return an application with the user's cache, which holds the base and merged models."""
    own = replace(fake_settings(folder), cache_dir=settings.from_environment().cache_dir)
    return App(own, Frontend("test"), Screen(io.StringIO(), io.StringIO()))


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_fresh_clone_annotates_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    app = app_in(tmp_path)
    try:
        record = app.dispatch(f"{LINE} --model nanda-annotator").result.data
    finally:
        app.close()
    provenance = record["provenance"]
    assert provenance["resolved"] == "nanda-annotator"
    assert "no Ollama server at http://127.0.0.1:9" in provenance["reason"]
    assert set(provenance["digests"]) == {"framework", "reader"}
    assert "unavailable" not in app.screen.err.getvalue()
    assert all(record[name].strip() for name in nanda().names)
    assert "DryRun" in " ".join(record[name] for name in nanda().names)


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_ollama_serves_it_by_its_modelfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings.from_environment()
    files = FileStore(registry.load(own.shipped_registry).files, own.cache_dir, print)
    parsed = modelfile.parse_modelfile((FOLDER / "Modelfile").read_text(encoding="utf-8"))
    with OllamaServer(tmp_path / "blobs") as server, ollama.Client(server.url) as client:
        digest = client.create_blob(files.merged("smollm2-135m-instruct", ADAPTER))
        made = {"files": {Path(parsed.base).name: digest}, "parameters": dict(parsed.parameters)}
        assert client.create("nanda-annotator", **made).status == "success"  # type: ignore[call-overload]
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        app = app_in(tmp_path)
        try:
            record = app.dispatch(f"{LINE} --model nanda-annotator").result.data
        finally:
            app.close()
    assert record["provenance"]["backend"] == "ollama"
    assert record["provenance"]["attempts"] == 1
    assert "DryRun" in " ".join(record[name] for name in nanda().names)


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_evaluation_reports_speed_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    app = app_in(tmp_path)
    line = f"/evaluate {CODE_ROOT / 'examples' / 'gold.csv'} --models nanda-annotator"
    try:
        found = app.dispatch(f"{line} --limit 1 --consistency 0").result
    finally:
        app.close()
    speed = found.data["annotators"][0]["speed"]
    assert speed["papers"] == 1
    assert speed["papers_per_minute"] > 0
    assert 150e6 < speed["memory"] < 4e9, "the base alone has 98 MB"
    assert f"{speed['memory'] / 1e6:,.0f} MB" in found.text
