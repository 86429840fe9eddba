"""Training on several processes: the same numbers, one set of files, and no process left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import finetune_training
import fsdp_on_cpu
import psutil
import pytest
import stub_rank
from finetune_training import messages_of, prepared_in, rows_of, run_in, work_in
from repository import ROOT

from harness.errors import InputError, Interrupted, SkillFailed
from harness.terminal.console import Progress
from skills.finetune.model import resources
from skills.finetune.model.base_shapes import published
from skills.finetune.recipe import Recipe
from skills.finetune.run_folder import StageContext
from skills.finetune.tokenization import prepared_rows
from skills.finetune.training import checkpoints, processes, trainer
from skills.finetune.training.callbacks import (
    Metrics,
    Schedule,
    TrainingCallbacks,
    TrainingProgress,
    TrainingRun,
)
from skills.finetune.training.processes import RankLost
from skills.finetune.training.train import train

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
ROWS = 9
"""Nine rows give an epoch a batch of one row, of which the second rank has none."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.accelerate_cli", "launch", "--num_processes", "2", "--cpu")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread for each rank; afterwards, no process is left."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    left = psutil.Process().children(recursive=True)
    assert [one.cmdline() for one in left if "torch.distributed.run" in one.cmdline()] == []


def prepared(folder: Path, base: Path, changes: Mapping[str, Any], count: int) -> StageContext:
    context = work_in(folder, base, changes, processes=count)
    return prepared_in(context, rows_of(ROWS), rows_of(3, seed=1))


def launched(*words: object) -> subprocess.CompletedProcess[str]:
    """Run Python with these words."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def curve(folder: Path, name: str = "loss") -> dict[int, float]:
    lines = Metrics(folder / "metrics.jsonl").read()
    return {line["step"]: line[name] for line in lines if name in line}


def files(folder: Path) -> set[str]:
    """Return the files of a training, except the random states: each rank has its own."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {str(path.relative_to(folder)) for path in paths if "rng_state" not in path.name}


def test_two_processes_train_as_one(base: Path, tmp_path: Path) -> None:
    """Without dropout; the tokens of a step are counted once, and only one process writes."""
    one, two = tmp_path / "one", tmp_path / "two"
    shown: list[Progress] = []
    for folder, count in ((one, 1), (two, 2)):
        context = prepared(folder, base, {"adapter.dropout": 0.0}, count)
        context.call.screen.on_progress = shown.append
        done = train(context)
        assert done.facts["processes"] == count
    assert len(curve(one)) == 6
    assert curve(two) == pytest.approx(curve(one), abs=1e-5)
    assert curve(two, "dev_loss") == pytest.approx(curve(one, "dev_loss"), abs=1e-5)
    assert curve(two, "grad_norm") == pytest.approx(curve(one, "grad_norm"), abs=1e-4)
    assert curve(two, "tokens") == curve(one, "tokens")
    assert files(two) == files(one)
    assert len([*(two / "checkpoint-2").glob("rng_state_*.pth")]) == 2
    steps = [one.done for one in shown if one.message.startswith("training: ")]
    assert steps == 2 * [*range(7)]


def test_a_killed_rank_ends_all_and_the_training_resumes_exactly(
    base: Path, tmp_path: Path
) -> None:
    """With dropout, under torchrun."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    script = finetune_training.__file__
    ended = launched(*TORCHRUN, script, base, whole, "{}", "no")
    assert ended.returncode == 0, ended.stderr
    assert len(curve(whole)) == 6
    ended = launched(*TORCHRUN, script, base, killed, "{}", "step:3")
    assert ended.returncode != 0
    # The remaining rank prints this, unless torchrun ends it before it notices the loss.
    lost = "a process of the training has ended before the others"
    assert lost in ended.stderr or "SIGKILL" in ended.stderr
    assert checkpoints.newest_valid(killed, print) == killed / "checkpoint-2"
    ended = launched(*TORCHRUN, script, base, killed, "{}", "resume")
    assert ended.returncode == 0, ended.stderr
    assert curve(killed) == curve(whole)
    name = "checkpoint-6/adapter_model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert files(killed) == files(whole)


def test_the_settings_of_fsdp(tmp_path: Path) -> None:
    """FSDP divides NF4 weights only if they are stored as a floating type."""
    import torch

    recipe = Recipe()
    storage = {
        is_sharded: trainer._quantization(recipe, is_sharded=is_sharded).bnb_4bit_quant_storage
        for is_sharded in (False, True)
    }
    assert storage == {False: torch.uint8, True: torch.bfloat16}
    facts = published(recipe.base)
    assert facts is not None
    run = TrainingRun(
        folder=tmp_path,
        base=tmp_path,
        base_name=recipe.base,
        facts=facts,
        recipe=recipe,
        guard={},
        steps=Schedule(10, 10, 10),
    )
    plugins = []
    for one in (run, run.model_copy(update={"is_sharded": True})):
        order = prepared_rows.Batches((), 1, 0)
        watch = TrainingCallbacks(one, order, one.progress(), lambda: False)
        plugins.append(trainer._arguments(watch, evaluates=False).fsdp_plugin_args)
    assert plugins[0] is None
    assert plugins[1] == {
        "fsdp_version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
    }


def test_a_base_in_nf4_is_divided_by_fsdp(base: Path, tmp_path: Path) -> None:
    """It trains with the numbers of one process."""
    changes = {"quantization.kind": "nf4", "adapter.dropout": 0.0, "training.max_steps": 4}
    one, divided = tmp_path / "one", tmp_path / "divided"
    run_in(one, base, changes, dev=0)
    script, settings = fsdp_on_cpu.__file__, json.dumps(changes)
    ended = launched(*TORCHRUN, script, base, divided, settings, "")
    assert ended.returncode == 0, ended.stderr
    assert curve(divided) == pytest.approx(curve(one), abs=1e-5)
    assert files(divided / "adapter") == files(one / "adapter")
    names = {path.name for path in (divided / "checkpoint-4").iterdir()}
    assert "pytorch_model_fsdp.bin" in names, "it was FSDP"


def test_a_training_is_not_resumed_with_another_sharding(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(tmp_path / "run", base, {"training.max_steps": 2}, dev=0)
    monkeypatch.setattr(resources, "check_processes", lambda recipe, machine: None)
    with pytest.raises(InputError, match="other settings: sharding was unknown, is fsdp"):
        run_in(tmp_path / "run", base, resume=True, dev=0, sharding="fsdp")


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that sets how often Ctrl-C is pressed after the first step."""
    finish_row = TrainingProgress.finish_row

    def press(times: int) -> None:
        def pressing(self: TrainingProgress, row: str, weight: int, tokens: int | None) -> None:
            finish_row(self, row, weight, tokens)
            for _ in range(times if row == "1" else 0):
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(TrainingProgress, "finish_row", pressing)

    return press


def test_ctrl_c_ends_all_processes_after_a_checkpoint(
    base: Path, tmp_path: Path, pressed: Callable[[int], None]
) -> None:
    pressed(1)
    with pytest.raises(Interrupted) as caught:
        train(prepared(tmp_path / "run", base, {"training.epochs": 100}, 2))
    newest = checkpoints.newest_valid(tmp_path / "run", print)
    assert newest is not None
    step = newest.name.removeprefix("checkpoint-")
    assert f"stopped after step {step} of 300, which is saved" in str(caught.value)
    assert not (tmp_path / "run" / checkpoints.STAGING).exists()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that replaces the ranks by those of stub_rank.py, which do not import torch."""

    def replace(what: str) -> None:
        monkeypatch.setattr(processes, "MODULE", "stub_rank")
        monkeypatch.setenv("PYTHONPATH", str(Path(stub_rank.__file__).parent))
        monkeypatch.setenv("STUB", what)

    return replace


def test_a_second_ctrl_c_ends_all_processes_at_once(
    base: Path, tmp_path: Path, pressed: Callable[[int], None], stub: Callable[[str], None]
) -> None:
    pressed(2)
    stub("wait")
    with pytest.raises(Interrupted, match="stopped at once"):
        run_in(tmp_path / "run", base, processes=2)


def test_an_error_of_the_ranks_is_that_of_the_command(
    base: Path, tmp_path: Path, stub: Callable[[str], None]
) -> None:
    stub("fail")
    with pytest.raises(SkillFailed) as caught:
        run_in(tmp_path / "run", base, processes=2)
    assert str(caught.value) == str(stub_rank.ERROR)
    assert (tmp_path / "run" / processes.LOG).is_file()
    with pytest.raises(RankLost, match="a process of the training has ended before the others"):
        raise processes._error({"kind": "RankLost"}, tmp_path)


def test_another_number_of_processes_is_noted_where_dropout_depends_on_it(
    base: Path, tmp_path: Path, stub: Callable[[str], None]
) -> None:
    stub("fail")
    run_in(tmp_path / "run", base, {"training.max_steps": 2}, dev=0)
    context = work_in(tmp_path / "run", base, processes=2, resume=True)
    with pytest.raises(SkillFailed):
        train(prepared_in(context, rows_of(10)))
    assert "checkpoint-2 was trained with --processes 1, now it is 2" in messages_of(context)


def test_accelerate_launch_on_cpus_starts_one_process_which_finds_how_many(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from skills.finetune import ranks\nprint(ranks.processes(None))\n")
    ended = launched(*ACCELERATE, script)
    assert ended.stdout == "2\n", ended.stderr
