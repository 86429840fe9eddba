"""What a whole run refuses before anything is prepared or trained: hours would be lost."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from ollama_server import OllamaServer

from harness.cli.app import App
from harness.errors import HarnessError, InputError, ModelUnavailable, UsageError
from harness.testing import fake_app
from skills.finetune.run.recipe import load
from skills.finetune.run.run_dir import RunDir

pytestmark = pytest.mark.train
LINE = "/finetune train.jsonl --out ft --preset smollm2-cpu"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "We tally.", "completion": "<annotation>\nClaim: a\n</annotation>"}
    Path("train.jsonl").write_text(json.dumps(row) + "\n")
    return fake_app(tmp_path)


def refused(app: App, line: str, error: type[HarnessError]) -> str:
    """The sentence that a line is refused with; nothing is left of it."""
    with pytest.raises(error) as caught:
        app.dispatch(line)
    assert not Path("ft").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_llama_cpp(app: App, tmp_path: Path) -> None:
    said = refused(app, f'{LINE} --llama-cpp "{tmp_path}"', InputError)
    assert said.startswith(
        f"{tmp_path}: has no convert_hf_to_gguf.py. --llama-cpp names a checkout"
    )


def test_a_name_that_cannot_be_one(app: App) -> None:
    assert "'Not-Mine' cannot be a model's name" in refused(
        app, f"{LINE} --as-name Not-Mine", UsageError
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--start-from nanda-anotator", "there is no adapter 'nanda-anotator' to go on from"),
        ("--start-from producer", "the model producer has no adapter"),
    ],
)
def test_an_adapter_to_go_on_from_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: App, options: str, message: str
) -> None:
    assert message in refused(app, f"{LINE} {options} --as-name mine", InputError)


@pytest.mark.parametrize("options", ["", "--as-name nanda-annotator", "--as-name other"])
def test_a_model_in_the_place_of_the_one_that_it_goes_on_from(app: App, options: str) -> None:
    name = "other-lora" if "other" in options else "nanda-annotator"
    said = refused(app, f"{LINE} --start-from {name} {options}", UsageError)
    assert "would take the place of" in said
    assert said.endswith("--as-name gives it a name of its own.")


def test_a_server_that_was_named_and_does_not_answer(app: App) -> None:
    said = refused(app, f"{LINE} --host http://127.0.0.1:9", ModelUnavailable)
    assert said.startswith("no Ollama server at http://127.0.0.1:9")
    assert "ollama serve" in said


def test_a_server_that_is_too_old(app: App, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "blobs", version="0.5.4") as server:
        said = refused(app, f"{LINE} --host {server.url}", UsageError)
    assert said == (
        "Ollama 0.5.4 is too old: it cannot make a model of files that are sent to it. "
        "0.5.5 and later can. Update it."
    )


@pytest.mark.parametrize("missing", ["bitsandbytes", "torch", "sentencepiece"])
def test_a_package_that_is_missing(app: App, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    said = refused(app, LINE, UsageError)
    assert said.startswith(f"this needs {missing}, which is not installed")
    assert 'pip install "nanda-harness[finetune]"' in said


def test_a_data_set_and_a_dev_file_that_are_not_there(app: App) -> None:
    assert "none.jsonl: there is no such file" in refused(
        app, LINE.replace("train.jsonl", "none.jsonl"), InputError
    )
    assert "none.jsonl: there is no such file" in refused(
        app, f"{LINE} --dev none.jsonl", InputError
    )


@pytest.mark.parametrize("stage", ["", "prepare ", "train "])
def test_a_line_that_is_refused_changes_nothing_of_the_run(app: App, stage: str) -> None:
    recipe = load("smollm2-cpu")
    out = RunDir.of(Path("ft"), recipe)
    out.make()
    out.remember({"recipe": recipe.model_dump(mode="json"), "data": "old.jsonl", "dev": None})
    before = out.run
    with pytest.raises(InputError, match=r"base nobody/none is not on this|no prepared data"):
        app.dispatch(f"/finetune {stage}train.jsonl --out ft --base nobody/none")
    assert out.run == before
