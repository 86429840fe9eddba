"""How training ends early, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import finetune_training
import pytest
from finetune_training import messages_of, patched_at, prepared_in, rows_of, run_in, work_in
from repository import ROOT

from harness.errors import HarnessError, InputError, Interrupted, OutputError, SkillFailed
from harness.support import process
from skills.finetune.training import checkpoints, trainer
from skills.finetune.training.callbacks import Metrics, TrainingCallbacks
from skills.finetune.training.train import train, train_inputs

pytestmark = pytest.mark.train
LONGEST = max(len(row["input_ids"]) for row in rows_of(10))


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of six steps."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    run_in(folder, base)
    return folder


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`patched_at`, undone after the test."""
    for name in ("on_step_begin", "on_evaluate"):
        monkeypatch.setattr(TrainingCallbacks, name, getattr(TrainingCallbacks, name))
    return patched_at


def last(folder: Path) -> bytes:
    return (folder / "checkpoint-6" / "adapter_model.safetensors").read_bytes()


def losses(folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return [(line["step"], line[name]) for line in lines if name in line]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("dying", "left"), [("step:3", 2), ("save:4", 2)])
def test_killed_run_resumes_from_the_last_checkpoint(
    base: Path, whole: Path, tmp_path: Path, dying: str, left: int
) -> None:
    """Killed in a step, and while a checkpoint is written."""
    folder = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, finetune_training.__file__, str(base), str(folder), "{}", dying],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (folder / checkpoints.STAGING).exists()
    assert checkpoints.newest_valid(folder, print) == folder / f"checkpoint-{left}"
    run_in(folder, base, resume=True)
    assert losses(folder) == losses(whole)
    assert last(folder) == last(whole)
    assert not (folder / checkpoints.STAGING).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_end_saves_first(
    base: Path, whole: Path, tmp_path: Path, patched: Callable[..., None], number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    patched("on_step_begin", 2, lambda: signal.raise_signal(number))
    with pytest.raises(Interrupted) as caught:
        run_in(tmp_path / "run", base)
    assert caught.value.exit_code == 130
    assert str(caught.value) == (
        "stopped after step 3 of 6, which is saved. `--resume` continues from there."
    )
    assert signal.getsignal(number) is before
    assert not (tmp_path / "run" / "adapter").exists()
    run_in(tmp_path / "run", base, resume=tmp_path / "run" / "checkpoint-3")
    assert losses(tmp_path / "run") == losses(whole)
    assert last(tmp_path / "run") == last(whole)


def test_stop_request_runs_a_due_evaluation_first(
    base: Path, whole: Path, tmp_path: Path, patched: Callable[..., None]
) -> None:
    folder = tmp_path / "run"
    patched("on_step_begin", 1, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        run_in(folder, base)
    assert [step for step, _ in losses(folder, "dev_loss")] == [2]
    best = checkpoints.load(folder / "checkpoint-2", folder).best
    assert best == (2, losses(folder, "dev_loss")[0][1])
    run_in(folder, base, resume=True)
    assert losses(folder, "dev_loss") == losses(whole, "dev_loss")


def test_a_run_is_stopped_while_the_dev_loss_is_measured(
    base: Path, tmp_path: Path, patched: Callable[..., None]
) -> None:
    patched("on_evaluate", 2, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        run_in(tmp_path / "run", base)


def test_a_second_ctrl_c_ends_at_once(
    base: Path, tmp_path: Path, patched: Callable[..., None]
) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    patched("on_step_begin", 2, twice)
    with pytest.raises(Interrupted, match="stopped at once"):
        run_in(tmp_path / "run", base)
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]


def test_a_cancelled_call_ends_after_its_step(base: Path, tmp_path: Path) -> None:
    context = prepared_in(work_in(tmp_path / "run", base), rows_of(10))
    context.call.cancel.set()
    with pytest.raises(Interrupted, match="stopped after step 1 of 6"):
        train(context)


def test_non_finite_loss_stops_before_the_update(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = trainer.completion_losses, []

    def spoilt(model: Any, batch: Any) -> Any:
        calls.append(model.training)
        values, rows = original(model, batch)
        return values * (float("nan") if calls.count(True) > 4 else 1), rows

    monkeypatch.setattr(trainer, "completion_losses", spoilt)
    with pytest.raises(SkillFailed) as caught:
        run_in(tmp_path / "run", base)
    assert "the loss is not finite at step 3" in str(caught.value)
    assert "The last checkpoint is checkpoint-2" in str(caught.value)
    assert "learning_rate" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        (
            {"training.batch": 4, "training.accumulation": 4},
            "training.batch 2 instead of 4, with training.accumulation 8 instead of 4, has as many "
            "rows per step.",
        ),
        (
            {"training.batch": 3, "training.accumulation": 1},
            "training.batch 1 instead of 3, with training.accumulation 3 instead of 1, has as many "
            "rows per step.",
        ),
        (
            {"training.batch": 1},
            "training.checkpointing recomputes activations instead of storing them.",
        ),
        (
            {"training.batch": 1, "training.checkpointing": True},
            f"Leave rows of nearly {LONGEST} tokens out of the data set, or use a smaller base.",
        ),
    ],
)
def test_out_of_memory_names_the_setting(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    hint: str,
) -> None:
    import torch

    def full(model: Any, batch: Any) -> Any:
        torch.empty(2**50, dtype=torch.uint8)

    monkeypatch.setattr(trainer, "completion_losses", full)
    with pytest.raises(SkillFailed, match="not enough memory for a batch of") as caught:
        run_in(tmp_path / "run", base, changes)
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", ["torch.OutOfMemoryError", "MemoryError"])
def test_out_of_memory_is_recognized_in_any_form(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The error of a CPU is tested above."""
    import torch

    error = torch.OutOfMemoryError("CUDA") if name.startswith("torch") else MemoryError()

    def full(model: Any, batch: Any) -> Any:
        raise error

    monkeypatch.setattr(trainer, "completion_losses", full)
    with pytest.raises(SkillFailed, match="not enough memory for a batch of"):
        run_in(tmp_path / "run", base)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_full_disk_is_an_output_error(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="a checkpoint was not written") as caught:
        run_in(tmp_path / "run", base)
    assert "--resume" in str(caught.value.hint)


def test_resume_with_other_settings_is_refused(base: Path, whole: Path) -> None:
    with pytest.raises(InputError) as caught:
        run_in(whole, base, {"training.learning_rate": 0.02, "adapter.dropout": 0.2}, resume=True)
    assert "adapter.dropout was 0.1, is 0.2; training.learning_rate was 0.01, is 0.02" in str(
        caught.value
    )
    with pytest.raises(InputError, match="checkpoint-6 of an earlier run"):
        run_in(whole, base)


def test_a_finished_run_is_resumed_without_a_step(base: Path, whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    adapter = (whole / "adapter" / "adapter_model.safetensors").read_bytes()
    context = run_in(whole, base, resume=True)
    assert (whole / "metrics.jsonl").read_bytes() == before
    assert (whole / "adapter" / "adapter_model.safetensors").read_bytes() == adapter
    assert messages_of(context) == "train: train an adapter on the prepared rows\n"


def test_bad_input_is_refused_before_the_base_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = work_in(tmp_path / "run", base)

    def refused(part: str) -> None:
        with pytest.raises(HarnessError) as caught:
            train(context)
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)

    refused("there is no prepared data")
    with pytest.raises(InputError, match="there is no prepared data"):
        train_inputs(context)
    prepared_in(context, rows_of(4))
    facts = context.run_dir.prepared / "prepared.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "base_digest": "c" * 64}))
    refused("the rows were prepared for")
    monkeypatch.setattr(
        process.importlib.util, "find_spec", lambda name: None if name == "peft" else name
    )
    refused('pip install "nanda-harness[finetune]"')


def test_stage_inputs_change_with_training_settings(base: Path, tmp_path: Path) -> None:
    before = train_inputs(prepared_in(work_in(tmp_path / "run", base), rows_of(4)))
    same = train_inputs(work_in(tmp_path / "run", base, {"export.name": "another"}))
    assert same == before
    for changes in ({"training.max_steps": 2}, {"adapter.r": 8}, {"quantization.kind": "nf4"}):
        assert train_inputs(work_in(tmp_path / "run", base, changes)) != before
    assert train_inputs(prepared_in(work_in(tmp_path / "run", base), rows_of(5))) != before
    assert finetune_training.SMALL["quantization.kind"] == "none"
