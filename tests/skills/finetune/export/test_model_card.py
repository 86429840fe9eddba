"""/finetune push: the files of a registered model, its card, and its evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub
from register_bench import Bench

from harness.api.skill import Result
from harness.errors import ChecksumMismatch, HarnessError, InputError, NotAllowed, UsageError
from skills.finetune.export.model_card import push
from skills.finetune.plugin import Finetune, HubPush

CONFIG = {"base_model_name_or_path": "/home/someone/base", "r": 4}
FIGURE = {"value": 0.4321, "low": 0.4, "high": 0.46, "papers": 60}


@pytest.fixture
def model(bench: Bench, hub: Hub) -> Bench:
    (bench.out.adapter / "adapter_config.json").write_text(json.dumps(CONFIG))
    bench.out.modelfile.write_text("FROM ./ft.Q4_K_M.gguf\n")
    bench.out.remember({"recipe": bench.recipe.model_dump(mode="json")})
    bench.register()
    return bench


def pushed(
    bench: Bench, text: str = "ft", *, yes: bool = True, force: bool = False, **given: Any
) -> Result:
    options = Finetune.Options(**{"to": "me/ft", **given})
    call = replace(bench.call(force=force), text=text, subcommand="push", options=options, yes=yes)
    result = push(call)
    HubPush.model_validate(result.data)
    return result


def evaluate(bench: Bench, path: Path, digest: str | None = None) -> Path:
    """Write an eval.json of the model."""
    digest = digest or bench.file()["files"]["ft-gguf"]["sha256"]
    others = {"name": "other", "digests": {"gguf": "0" * 64}, "metrics": {}}
    own = {
        "name": "ft",
        "digests": {"gguf": digest},
        "metrics": {
            "rouge_l": {"overall": FIGURE, "claim": FIGURE},
            "chrf": {"overall": {**FIGURE, "papers": 0}},
            "kappa": {"overall": {"value": None, "low": None, "high": None, "why": "undefined"}},
        },
    }
    found = {
        "input": "/data/gold_dev.csv",
        "metrics": {"rouge_l": "ROUGE-L F1 to the gold"},
        "annotators": [others, own],
    }
    path.write_text(json.dumps(found))
    return path


def card(hub: Hub) -> tuple[dict[str, Any], str]:
    _, front, text = hub.repositories["me/ft"].files["README.md"].decode().split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_push_sends_adapter_gguf_modelfile_and_card(model: Bench, hub: Hub) -> None:
    result = pushed(model, trained_on=("me/papers",))
    files = hub.repositories["me/ft"].files
    assert set(files) == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "ft.Q4_K_M.gguf",
        "ft-lora.gguf",
        "Modelfile",
    }
    config = json.loads(files["adapter_config.json"])
    assert config == {"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", "r": 4}
    assert str(model.folder) not in str(files), "no path of this machine"
    metadata, text = card(hub)
    assert metadata == {
        "license": "apache-2.0",
        "language": ["en"],
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "datasets": ["me/papers"],
        "tags": ["nanda-annotator", "nanda-harness", "scientific-papers", "lora", "gguf"],
        "model_name": "ft",
    }
    assert "Trained on\n12 abstracts in 90 steps, dev loss 1.235" in text
    assert "/models add hf:me/ft" in text
    assert str(model.file()["files"]["ft-gguf"]["sha256"]) in text
    assert result.text.startswith(f"{hub.url}/me/ft (private), commit ")
    assert "6 files, " in model.stderr.getvalue()
    assert not pushed(model, trained_on=("me/papers",)).data["changed"]


def test_the_evaluation_is_stated_in_both_formats(model: Bench, hub: Hub) -> None:
    from huggingface_hub import ModelCard, parse_eval_result_entries

    evaluate(model, model.out.folder / "eval.json")
    pushed(model, evaluated_on="me/gold@" + "c" * 40)
    files = hub.repositories["me/ft"].files
    [result] = ModelCard(files["README.md"].decode()).data.eval_results
    assert (result.metric_type, result.metric_value) == ("rouge_l", 0.4321)
    assert (result.dataset_type, result.dataset_name) == ("me/gold", "gold_dev")
    assert result.dataset_revision == "c" * 40
    [entry] = parse_eval_result_entries(yaml.safe_load(files[".eval_results/gold.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("me/gold", "rouge_l", 0.4321)
    assert "95% interval 0.400 to 0.460, 60 papers" in str(entry.notes)
    assert "| ROUGE-L F1 to the gold | gold_dev | 0.432 |" in card(hub)[1]


def test_the_card_follows_the_figures_and_keeps_what_a_person_wrote(
    model: Bench, hub: Hub, tmp_path: Path
) -> None:
    facts = {"agreement": [0.41, 0.3], "papers": 40}
    model.out.record("compare", {"files": model.file()["files"]}, facts=facts)
    pushed(model)
    readme = model.out.folder / "README.md"
    text = readme.read_text().replace("for which papers", "papers of physics")
    readme.write_text(text.replace("---\n", "---\ndatasets:\n  - me/mine\n", 1))
    pushed(model, evaluation=evaluate(model, tmp_path / "e.json"), trained_on=("me/other",))
    metadata, text = card(hub)
    assert metadata["datasets"] == ["me/mine"]
    assert "papers of physics" in text
    [index] = metadata["model-index"]
    values = [metric["value"] for one in index["results"] for metric in one["metrics"]]
    assert values == [0.41, 0.4321]
    for figure in ("value: 0.4321", "| 0.432 |"):
        good = readme.read_text()
        readme.write_text(good.replace(figure, figure.replace("432", "999")))
        with pytest.raises(UsageError, match="has changed the figures"):
            pushed(model, evaluation=tmp_path / "e.json")
        readme.write_text(good)
    readme.write_text(readme.read_text().replace("0.432", "0.999"))
    with pytest.raises(UsageError, match="has changed the figures"):
        pushed(model, evaluation=tmp_path / "e.json")
    pushed(model, evaluation=tmp_path / "e.json", force=True)
    assert "0.999" not in card(hub)[1]


@pytest.mark.parametrize(
    ("text", "given", "error", "message"),
    [
        ("", {}, UsageError, "/finetune push needs a name"),
        ("fx", {}, UsageError, "no registered model 'fx'.* Did you mean ft"),
        ("nanda-annotator", {}, UsageError, "there is no registered model 'nanda-annotator'"),
        ("ft", {"to": None}, UsageError, "no repository is named"),
        ("ft", {"evaluation": Path("none.json")}, InputError, "none.json"),
    ],
)
def test_lines_that_push_nothing(
    model: Bench,
    hub: Hub,
    text: str,
    given: dict[str, Any],
    error: type[HarnessError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        pushed(model, text, **given)
    assert not hub.requests


def test_only_the_registered_files_and_their_evaluation_are_pushed(
    model: Bench, hub: Hub, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="does not evaluate the files"):
        pushed(model, evaluation=evaluate(model, tmp_path / "e.json", "f" * 64))
    (tmp_path / "e.json").write_text('{"input": "", "metrics": {}, "annotators": 3}')
    with pytest.raises(InputError, match="is not a file of /evaluate"):
        pushed(model, evaluation=tmp_path / "e.json")
    model.out.quantized("Q4_K_M").write_text("another")
    with pytest.raises(ChecksumMismatch, match=r"ft-gguf has sha256"):
        pushed(model)
    assert not hub.requests


@pytest.mark.parametrize("name", ["manifest.json", "adapter/adapter_model.safetensors"])
def test_an_incomplete_run_is_not_pushed(model: Bench, hub: Hub, name: str) -> None:
    (model.out.folder / name).unlink()
    with pytest.raises(InputError, match="is not the folder of a run: manifest"):
        pushed(model)


def test_without_consent_the_files_are_shown_and_not_sent(model: Bench, hub: Hub) -> None:
    with pytest.raises(NotAllowed, match=r"/finetune push sends 6 files, .* `--yes` before the"):
        pushed(model, yes=False)
    assert "  ft.Q4_K_M.gguf\n" in model.stderr.getvalue()
    assert not hub.repositories
