"""The checks before a training: its plan, one row with its mask, and the peak of memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from finetune_base import smollm2, tiny_base, work_over
from ollama_server import OllamaServer

from harness.cli.app import App
from harness.errors import HarnessError, InputError, ModelUnavailable, UsageError
from harness.settings import CODE_ROOT
from harness.testing import fake_app
from skills.finetune.plan_rows import planned_rows
from skills.finetune.recipe import load_recipe
from skills.finetune.run_folder import RunDir
from skills.finetune.tokenization.prepare import prepare

pytestmark = pytest.mark.train
LINE = "/finetune train.jsonl --out ft --preset smollm2-cpu"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "We tally.", "completion": "<annotation>\nClaim: a\n</annotation>"}
    Path("train.jsonl").write_text(json.dumps(row) + "\n")
    return fake_app(tmp_path)


def refused(app: App, line: str, error: type[HarnessError]) -> str:
    """Return the message that a command is refused with; it leaves no files."""
    with pytest.raises(error) as caught:
        app.dispatch(line)
    assert not Path("ft").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_llama_cpp(app: App, tmp_path: Path) -> None:
    message = refused(app, f'{LINE} --llama-cpp "{tmp_path}"', InputError)
    assert message.startswith(
        f"{tmp_path}: has no convert_hf_to_gguf.py. --llama-cpp must name a checkout"
    )


def test_an_invalid_name(app: App) -> None:
    assert "'Not-Mine' is not a valid model name" in refused(
        app, f"{LINE} --as-name Not-Mine", UsageError
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--start-from nanda-anotator", "there is no adapter 'nanda-anotator' to continue from"),
        ("--start-from producer", "the model producer does not have an adapter"),
    ],
)
def test_a_missing_adapter_to_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: App, options: str, message: str
) -> None:
    assert message in refused(app, f"{LINE} {options} --as-name mine", InputError)


@pytest.mark.parametrize("options", ["--as-name nanda-annotator", "--as-name other"])
def test_the_name_of_the_model_to_start_from_is_refused(app: App, options: str) -> None:
    name = "other-lora" if "other" in options else "nanda-annotator"
    message = refused(app, f"{LINE} --start-from {name} {options}", UsageError)
    assert "the new model would replace" in message
    assert message.endswith("Give the new model another name with --as-name.")


def test_a_named_server_that_does_not_answer(app: App) -> None:
    message = refused(app, f"{LINE} --host http://127.0.0.1:9", ModelUnavailable)
    assert message.startswith("no Ollama server at http://127.0.0.1:9")
    assert "ollama serve" in message


def test_an_old_server(app: App, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "blobs", version="0.5.4") as server:
        message = refused(app, f"{LINE} --host {server.url}", UsageError)
    assert message == (
        "Ollama 0.5.4 is too old: it cannot create a model from uploaded files. "
        "Update Ollama to 0.5.5 or later."
    )


@pytest.mark.parametrize("missing", ["bitsandbytes", "torch", "sentencepiece"])
def test_a_missing_package(app: App, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    message = refused(app, LINE, UsageError)
    assert message.startswith(f"this needs {missing}, which is not installed")
    assert 'pip install "nanda-harness[finetune]"' in message


def test_missing_data_and_dev_files(app: App) -> None:
    assert "none.jsonl: there is no such file" in refused(
        app, LINE.replace("train.jsonl", "none.jsonl"), InputError
    )
    assert "none.jsonl: there is no such file" in refused(
        app, f"{LINE} --dev none.jsonl", InputError
    )


@pytest.mark.parametrize("stage", ["", "prepare ", "train "])
def test_a_refused_command_does_not_change_the_run(app: App, stage: str) -> None:
    recipe = load_recipe("smollm2-cpu")
    out = RunDir.of(Path("ft"), recipe)
    out.make()
    out.remember({"recipe": recipe.model_dump(mode="json"), "data": "old.jsonl", "dev": None})
    before = out.run
    with pytest.raises(InputError, match=r"base 'nobody/none' is not on this|no prepared data"):
        app.dispatch(f"/finetune {stage}train.jsonl --out ft --base nobody/none")
    assert out.run == before


ROW = {
    "prompt": "We tally.",
    "completion": "<annotation>\nClaim: a\n</annotation>",
    "system": "Do.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


def test_with_the_base_it_equals_the_prepared_row(data: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    context = work_over(tmp_path, base, {"dev_share": 0}, data)
    planned = planned_rows(context)
    assert planned.decoded
    assert planned.sample[1] == (f"{ROW['completion']}<|im_end|>", True)
    prepare(context)
    prepared = json.loads((context.run_dir.prepared / "prepared.json").read_text())
    assert [list(piece) for piece in planned.sample] == prepared["sample"]


def test_a_template_that_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}")
    with pytest.raises(InputError, match="which does not stop generation") as caught:
        planned_rows(work_over(tmp_path, base, {"dev_share": 0}, data))
    assert "train.jsonl, line 1" in str(caught.value)


def agent(folder: Path, line: str, *options: str) -> str:
    """Run a command in a process of its own, as the peak is that of the process."""
    command = [sys.executable, str(CODE_ROOT / "agent.py"), *options, line]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.timeout(900)
def test_a_training_takes_what_was_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step, computed in float32 as on a CPU without fast bfloat16."""
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    smollm2()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_CONFIG", str(tmp_path / "config"))
    gold = CODE_ROOT / "examples" / "gold.csv"
    agent(tmp_path, f"/finetune dataset --gold {gold} save to train.jsonl")
    options = "--preset smollm2-cpu --out ft --set dev_share=0 --max-steps 1 --batch 2"
    agent(tmp_path, f"/finetune prepare train.jsonl {options}")
    agent(tmp_path, "/finetune train ft")
    plan: dict[str, Any] = json.loads(agent(tmp_path, "/finetune plan ft", "--json"))
    memory = plan["memory"]
    assert plan["adapted"] == [
        "this CPU does not support bfloat16 efficiently: computing in float32"
    ]
    assert memory["measured_peak"] == pytest.approx(memory["needed"], rel=0.15)
