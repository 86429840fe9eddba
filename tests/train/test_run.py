"""/finetune from a data set to an annotation: every stage with SmolLM2-135M under NF4.

The training is killed once and resumed; that this does not change the result is tested in
test_stopping.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from finetune_base import smollm2
from finetune_chain import ABSTRACT, DEV_ROWS, NOBODY, STEPS, Chain, as_learnt, one_thread
from ollama_server import OllamaServer

from harness.errors import UsageError
from skills.finetune.export.compare import FEWEST
from skills.finetune.pipeline import STAGES

pytestmark = [pytest.mark.train, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Trained:
    """A run that was killed, refused and resumed, with the output of each."""

    chain: Chain
    killed: str
    refused: str
    left: list[int]
    stages: dict[str, Any]
    messages: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    smollm2()
    folder = tmp_path_factory.mktemp("chain")
    chain = Chain(folder)
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("OLLAMA_HOST", NOBODY)
        chain.make_data()
        killed = chain.kill_at("checkpoint-2")
        with pytest.raises(UsageError) as caught:
            chain.run(chain.begin)
        left = chain.steps()
        stages, messages = chain.stages(f'/finetune "{chain.out}" --resume')
        yield Trained(chain, killed, str(caught.value), left, stages, messages)
    chain.app.close()
    shutil.rmtree(folder)  # the models need much space


def test_a_killed_training_must_be_resumed_or_replaced(trained: Trained) -> None:
    assert "train: train an adapter" in trained.killed
    assert "there is an unfinished training here (checkpoint-" in trained.refused
    assert "--resume continues the training; --force starts again" in trained.refused
    assert trained.left[:2] == [1, 2]
    assert len(trained.left) < STEPS
    assert trained.chain.steps() == [*range(1, STEPS + 1)], "each step once"
    assert trained.stages["train"]["steps"] == STEPS
    assert trained.stages["train"]["dev_loss"] < 0.1, "it has learnt what all rows say"


def test_the_files_and_facts_of_each_stage(trained: Trained) -> None:
    assert list(trained.stages) == [name for name in STAGES if name != "ollama"]
    out = trained.chain.out
    files = {path.name for path in out.iterdir() if path.is_file()}
    assert {
        "ft.f16.gguf",
        "ft.Q4_K_M.gguf",
        "ft-lora.gguf",
        "Modelfile",
        "Modelfile.adapter",
        "metrics.jsonl",
        "loss.png",
        "manifest.json",
    } <= files
    assert {"prepared", "adapter", "merged", f"checkpoint-{STEPS}"} <= {
        path.name for path in out.iterdir() if path.is_dir()
    }
    [left_out] = [line for line in trained.messages.splitlines() if line.startswith("ollama:")]
    assert left_out == f"ollama: skipped: no Ollama server at {NOBODY}"
    assert trained.stages["quantize"]["fallbacks"] > 0, "576 is no multiple of 256"
    assert not trained.stages["register"]["default"]
    why = f"a comparison needs {FEWEST} held-out gold papers, and this run has {DEV_ROWS}"
    assert trained.stages["compare"]["outcome"].endswith(why)


def test_annotate_uses_the_quantized_file_and_what_was_learnt(
    trained: Trained,
) -> None:
    chain = trained.chain
    chain.run("/reload")
    outcome, _ = chain.run(f"/annotate {ABSTRACT} --model ft")
    record = outcome.result.data
    assert as_learnt(record) >= 5, record
    provenance = record["provenance"]
    assert (provenance["resolved"], provenance["backend"]) == ("ft", "llamacpp")
    quantized = trained.stages["quantize"]["outputs"]
    assert quantized == ["ft.Q4_K_M.gguf"]
    digest = chain.manifest("quantize")["outputs"][quantized[0]]["sha256"]
    assert digest in provenance["digests"].values()


def test_a_second_run_changes_nothing(trained: Trained) -> None:
    chain = trained.chain
    before = {path: path.stat().st_mtime_ns for path in chain.out.rglob("*.gguf")}
    _, messages = chain.stages(f'/finetune "{chain.out}"')
    unchanged = [line for line in messages.splitlines() if line.endswith(": unchanged")]
    assert unchanged == [f"{name}: unchanged" for name in STAGES if name != "ollama"]
    _, messages = chain.stages(f"{chain.begin} --force")
    assert "train: unchanged" in messages, "a finished training is not repeated"
    assert {path: path.stat().st_mtime_ns for path in chain.out.rglob("*.gguf")} == before


def test_with_a_server_the_model_is_created_there_and_used(
    trained: Trained, tmp_path: Path
) -> None:
    chain = trained.chain
    registered = yaml.safe_load(chain.registered.read_bytes())
    with OllamaServer(tmp_path / "blobs") as server:
        stages, messages = chain.stages(f'/finetune "{chain.out}" --host {server.url}')
        assert stages["ollama"]["verified"] is True, messages
        assert stages["ollama"]["done_reason"] == "stop"
        assert stages["ollama"]["same_prompt"] is True
        assert list(server.models) == ["ft:latest"]
        chain.run("/reload")
        outcome, _ = chain.run(f"/annotate {ABSTRACT} --model ft")
        record = outcome.result.data
        assert as_learnt(record) >= 5, record
        assert record["provenance"]["backend"] == "ollama"
        _, messages = chain.stages(f'/finetune "{chain.out}" --host {server.url}')
        assert "ollama: unchanged" in messages
    chain.run(f'/finetune register "{chain.out}"')
    assert yaml.safe_load(chain.registered.read_bytes())["models"] != registered["models"]
    chain.run("/finetune unregister ft")
    assert not chain.registered.exists()
    chain.run(f'/finetune "{chain.out}"')  # without a server, the entry is as before
    assert yaml.safe_load(chain.registered.read_bytes())["models"] == registered["models"]
