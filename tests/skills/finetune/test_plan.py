"""/finetune plan: rows, memory, disk and time of a run, and its refusals, without weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from declared_outputs import check_output
from finetune_base import SMOLLM2, messages_of, work_over

from harness.errors import InputError, UsageError
from harness.settings import CODE_ROOT
from harness.support.bounded_files import file_sha256
from harness.support.process import require
from harness.testing import fake_app
from skills.finetune.model.base_shapes import PUBLISHED, published
from skills.finetune.model.resources import COMPUTE, Disk, Gpu, Machine, base_artifacts
from skills.finetune.plan import Plan, checkpoints, make_plan, plan_text
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Training, load_recipe, presets
from skills.finetune.run_folder import StageContext
from skills.finetune.training import train
from skills.finetune.training.checkpoints import RUN

QWEN = "Qwen/Qwen2.5-7B-Instruct"
GIB = 1 << 30
LARGE = Machine(64 * GIB, (Gpu("NVIDIA A100", 79 * GIB, 80 * GIB),), 16)
NO_GPU = Machine(24 * GIB, (), 2)


LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
BYTES = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": LEVEL,
    "decoder": LEVEL,
    "model": {
        "type": "BPE",
        "vocab": {char: place for place, char in enumerate([*map(chr, range(33, 127)), "Ġ"])},
        "merges": [],
    },
}
"""A tokenizer.json in which every byte is a token."""


def with_gpu(free: float) -> Machine:
    """Return a machine with a GPU that has `free` bytes."""
    return Machine(64 * GIB, (Gpu("NVIDIA T4", int(free), 16 * GIB),), 4)


def room(free: int = 1 << 50) -> Any:
    """Return a function that gives every folder a disk with `free` bytes."""
    return lambda path: Disk(path, free, 1)


def data_set(folder: Path, count: int = 40, words: int = 100, **changes: Any) -> Path:
    path = folder / "train.jsonl"
    rows = (
        {
            "system": "You take abstracts apart.",
            "prompt": f"Study {number} " + "ab " * words,
            "completion": f"<annotation> study {number} " + "cd " * 50 + "</annotation>",
            "id": f"p{number}",
            "source": "gold" if number % 2 else "agent",
            **changes,
        }
        for number in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def planned(
    folder: Path, machine: Machine = LARGE, base: str = QWEN, free: int = 1 << 50, **changes: Any
) -> Plan:
    settings = {name.replace("__", "."): value for name, value in changes.items()}
    return make_plan(work_over(folder, base, settings, data_set(folder)), machine, room(free))


def prepared(context: StageContext, rows: Sequence[tuple[int, int]], **facts: Any) -> StageContext:
    """Return `context` with prepared rows of these (tokens, completion tokens)."""
    folder = context.run_dir.prepared
    folder.mkdir(parents=True)
    lines = [
        {
            "id": f"p{number}",
            "source": "gold",
            "weight": 1.0,
            "input_ids": list(range(length)),
            "completion_start": length - completion,
        }
        for number, (length, completion) in enumerate(rows)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (folder / "dev.jsonl").write_text(json.dumps(lines[0]) + "\n")
    found = {"base": context.recipe.base, "pad_token_id": 0, **facts}
    (folder / "prepared.json").write_text(json.dumps(found))
    inputs = {
        "data": file_sha256(context.data) if context.data else "",
        "dev": None,
        "dev_share": context.recipe.dev_share,
        "max_length": context.recipe.training.max_length,
        "seed": context.recipe.training.seed,
    }
    context.run_dir.record("prepare", inputs, [folder])
    return context


def test_without_the_weights_published_shapes_are_used(tmp_path: Path) -> None:
    found = planned(tmp_path)
    assert found.facts.source == PUBLISHED
    text = plan_text(found)
    assert "(from the published config, the weights are not here)" in text
    assert "note: the base is not on this machine" in text
    assert found.refusals == ()


def test_an_unknown_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        planned(tmp_path, base="Somebody/Something-9B")
    assert "the base Somebody/Something-9B is unknown and not on this machine" in str(caught.value)
    assert caught.value.exit_code == 2


def test_tokens_are_estimated_without_a_tokenizer(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {}, data_set(tmp_path))
    found = make_plan(context, LARGE, room())
    assert found.rows.estimated
    assert found.rows.count + found.rows.dev == 40
    assert "estimate: 3 bytes a token" in found.rows.source
    assert "tokens are estimated at 3 bytes each" in messages_of(context)
    assert any("`/finetune prepare` makes them exact" in note for note in found.notes)
    # 25 bytes of system, 309 of prompt, 185 of completion; 16 tokens of template, 1 for the end.
    assert found.batch.length == 9 + 103 + 62 + 16 + 1
    assert found.batch.completion == 62 + 1


def test_tokens_are_counted_with_the_tokenizer_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 300,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(BYTES))
    found = planned(tmp_path, base=str(folder))
    assert found.facts.hidden == 64
    assert (
        found.batch.completion == len("<annotation> study 10 " + "cd " * 50 + "</annotation>") + 1
    )
    assert "the base is not on this machine" not in " ".join(found.notes)


def test_prepared_rows_are_used_unchanged(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {}, data_set(tmp_path))
    prepared(
        context, [(100, 30), (300, 20), (200, 80)], sample=[["Say a.\n", False], ["a<end>", True]]
    )
    found = make_plan(context, LARGE, room())
    assert found.rows.lengths == (100, 300, 200)
    assert found.rows.completions == (30, 20, 80)
    assert (found.rows.tokens, found.rows.dev, found.rows.estimated) == (600, 1, False)
    assert (found.batch.rows, found.batch.length, found.batch.completion) == (3, 300, 80)
    text = plan_text(found)
    assert 'one row; "+" marks the part in the loss\n  Say a.\n+ a<end>' in text
    assert messages_of(context) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"training.max_length": 1024},
        {"training.seed": 7},
        {"dev_share": 0.2},
        {"base": "Qwen/Qwen2.5-3B-Instruct"},
    ],
)
def test_rows_prepared_for_another_recipe_are_not_used(
    tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    data = data_set(tmp_path)
    prepared(work_over(tmp_path, QWEN, {}, data), [(100, 30)])
    found = make_plan(work_over(tmp_path, QWEN, changes, data), LARGE, room())
    assert found.rows.estimated
    assert found.rows.count > 1


def test_rows_prepared_from_other_data_are_not_used(tmp_path: Path) -> None:
    context = prepared(work_over(tmp_path, QWEN, {}, data_set(tmp_path)), [(100, 30)])
    assert not make_plan(context, LARGE, room()).rows.estimated
    data_set(tmp_path, count=41)
    assert make_plan(context, LARGE, room()).rows.estimated
    data_set(tmp_path)
    (context.run_dir.prepared / "train.jsonl").write_text("changed")
    assert make_plan(context, LARGE, room()).rows.estimated


def test_a_folder_is_planned_from_its_prepared_rows(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {}, data_set(tmp_path))
    prepared(context, [(100, 30)])
    alone = replace(context, data=None)
    assert make_plan(alone, LARGE, room()).rows.count == 1


def test_without_data_and_prepared_rows_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no rows: nothing is prepared in"):
        make_plan(work_over(tmp_path, QWEN), LARGE, room())


def test_an_invalid_data_set_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_plan(work_over(tmp_path, QWEN, {}, data_set(tmp_path, completion="")), LARGE, room())
    assert "line 1" in str(caught.value)


def test_steps_and_checkpoints(tmp_path: Path) -> None:
    data = data_set(tmp_path)
    context = work_over(tmp_path, QWEN, {"training.batch": 2, "training.accumulation": 2}, data)
    prepared(context, [(100, 30)] * 9)
    found = make_plan(context, LARGE, room())
    # Nine rows are five batches, and five batches are three steps; there are three epochs.
    assert (found.steps.per_epoch, found.steps.last) == (3, 9)
    assert "9 of 4 rows (batch 2 x accumulation 2), 3 epochs of 3" in plan_text(found)
    assert checkpoints(563, Training()) == (6, 6)
    assert checkpoints(563, Training(keep=2)) == (6, 4)
    assert checkpoints(100, Training(keep=2)) == (1, 1)


def test_max_steps_limits_the_steps(tmp_path: Path) -> None:
    found = planned(tmp_path, training__max_steps=4)
    assert found.steps.last == 4
    assert "4 of 16 rows (batch 4 x accumulation 4), max_steps" in plan_text(found)


def test_rows_that_are_too_long_are_counted(tmp_path: Path) -> None:
    long = data_set(tmp_path, count=1, words=300, source="agent").read_text()
    data = data_set(tmp_path)
    data.write_text(data.read_text() + long.replace('"p0"', '"p40"'))
    found = make_plan(work_over(tmp_path, QWEN, {"training.max_length": 191}, data), LARGE, room())
    assert found.rows.too_long == 1
    assert found.batch.length == 191
    assert found.rows.count + found.rows.dev == 40
    assert "the rows include 1 of more than 191 tokens" in " ".join(found.notes)


def test_no_row_that_fits_is_refused(tmp_path: Path) -> None:
    found = planned(tmp_path, training__max_length=64)
    (refusal,) = found.refusals
    assert str(refusal).startswith("there is no row to train on: all have more than 64 tokens. ")


def test_less_than_a_step_is_noted(tmp_path: Path) -> None:
    context = prepared(work_over(tmp_path, QWEN, {}, data_set(tmp_path)), [(100, 30)] * 3)
    (note,) = [note for note in make_plan(context, LARGE, room()).notes if "step" in note]
    assert note.startswith("3 rows cannot fill one step of 16")


def test_the_text_lists_memory_and_disk(tmp_path: Path) -> None:
    found = planned(tmp_path)
    text = plan_text(found)
    for name in (*found.memory, *(one.name for one in found.artifacts)):
        assert name in text
    assert "this machine: GPU NVIDIA A100, memory free: 84.8 GB" in text
    assert "measured peak: not measured" in text
    assert "time         not measured" in text


def test_too_little_memory_is_refused_with_two_knobs(tmp_path: Path) -> None:
    found = planned(tmp_path, with_gpu(8e9))
    (refusal,) = found.refusals
    assert isinstance(refusal, InputError)
    assert refusal.exit_code == 2
    assert refusal.message == (
        f"training {QWEN} needs 8.1 GB of memory, and the GPU (NVIDIA T4) has 8.0 GB free"
    )
    assert refusal.hint == ("Use --batch 1 --accumulation 16 (7.4 GB), or a smaller base.")
    assert f"cannot start: {refusal}" in plan_text(found)
    changed = planned(tmp_path, training__batch=1, training__accumulation=16)
    assert changed.need == pytest.approx(7.4e9, abs=5e7)


@pytest.mark.parametrize(
    ("changes", "knob"),
    [
        ({"quantization__unpacked": True}, "--set quantization.unpacked=false (8.1 GB)"),
        ({"quantization__kind": "none"}, "--set quantization.kind=nf4 (8.1 GB)"),
    ],
)
def test_the_knob_that_saves_most_is_named(
    tmp_path: Path, changes: Mapping[str, Any], knob: str
) -> None:
    (refusal,) = planned(tmp_path, with_gpu(9e9), **changes).refusals
    assert knob in str(refusal.hint)


def test_the_verdict_comes_first_and_figures_on_request(tmp_path: Path) -> None:
    found = planned(tmp_path)
    short = plan_text(found, details=False)
    assert short.startswith(f"fits: training {QWEN} needs ")
    assert len(short.splitlines()) < 20
    assert "gradients" not in short
    refused = planned(tmp_path, with_gpu(8e9))
    assert plan_text(refused).startswith(f"cannot start: {refused.refusals[0]}")


def test_the_verdict_names_a_cpu_and_the_preset_for_it(tmp_path: Path) -> None:
    large = plan_text(planned(tmp_path, NO_GPU), details=False).splitlines()
    assert large[0].startswith("fits in memory, but on the CPU (2 cores; time not measured): ")
    assert "7.6 billion parameters are too many for a CPU: use --preset smollm2-cpu" in large[1]
    context = prepared(work_over(tmp_path, SMOLLM2, {}, data_set(tmp_path)), [(100, 30)] * 40)
    small = plan_text(make_plan(context, NO_GPU, room()), details=False)
    assert small.startswith("fits in memory, but on the CPU ")
    assert "too many" not in small


def test_checkpointing_is_switched_on_where_memory_is_short(tmp_path: Path) -> None:
    found = planned(tmp_path, with_gpu(9e9), training__checkpointing=False)
    assert found.refusals == ()
    assert found.recipe.training.checkpointing
    assert found.need < 9e9
    (change,) = found.adapted
    assert change.startswith("checkpointing is switched on: it needs 8.1 GB of memory instead of ")
    assert change in plan_text(found)
    data = found.as_dict()
    assert (data["adapted"], data["recipe"]["training"]["checkpointing"]) == ([change], False)
    roomy = planned(tmp_path, LARGE, training__checkpointing=False)
    assert (roomy.adapted, roomy.recipe.training.checkpointing) == ((), False)


def test_memory_is_that_of_the_compute_type_in_use(tmp_path: Path) -> None:
    """A CPU without native bfloat16 computes in float32, with twice the activations."""
    slow = replace(NO_GPU, memory=99 * GIB, fast=("float32",))
    found, native = planned(tmp_path, slow), planned(tmp_path, replace(slow, fast=COMPUTE))
    assert found.adapted == (
        "this CPU does not support bfloat16 efficiently: computing in float32",
    )
    assert found.recipe.quantization.compute == "float32"
    assert found.memory["activations"] > 1.4 * native.memory["activations"]
    assert native.adapted == ()


def test_a_smaller_max_length_is_a_knob_for_few_long_rows(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {"training.max_length": 8192}, data_set(tmp_path))
    prepared(context, [(500, 100)] * 20 + [(8000, 4000)])
    (refusal,) = make_plan(context, with_gpu(8e9), room()).refusals
    assert str(refusal.hint).startswith("Use --max-length 500 without 1 of 21 rows (")


def test_without_a_knob_a_smaller_base_is_named(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {"training.batch": 1}, data_set(tmp_path))
    prepared(context, [(60, 30)])
    (refusal,) = make_plan(context, with_gpu(1e9), room()).refusals
    assert refusal.hint == "Use a smaller base."


def test_without_a_gpu_main_memory_counts(tmp_path: Path) -> None:
    found = planned(tmp_path, NO_GPU)
    assert found.machine.place == "cpu"
    assert found.machine.free == 24 * GIB
    assert "there is no GPU to use, so training runs on the CPU" in found.notes
    assert "process" in found.memory
    (refusal,) = planned(tmp_path, Machine(4 * GIB, (), 2)).refusals
    assert "and this machine, without a GPU to use, has 4.3 GB free" in str(refusal)


def test_processes_share_a_batch_and_the_memory(tmp_path: Path) -> None:
    one = planned(tmp_path, NO_GPU)
    two = planned(tmp_path, replace(NO_GPU, processes=2))
    assert (one.batch.rows, two.batch.rows) == (4, 2)
    assert two.machine.free == 12 * GIB
    assert two.need < one.need
    assert two.as_dict()["machine"]["processes"] == 2
    assert two.steps == one.steps
    text = plan_text(two)
    assert "in 2 processes needs" in text
    assert "12.9 GB are free for each" in text
    assert "processes    2, each with up to 2 of the 4 rows of a batch" in text
    assert "memory for each process" in text
    assert "\nprocesses " not in plan_text(one)


def test_each_process_has_a_gpu(tmp_path: Path) -> None:
    gpus = (*LARGE.gpus, replace(LARGE.gpus[0], free=20 * GIB))
    found = planned(tmp_path, replace(LARGE, gpus=gpus, processes=2))
    assert found.refusals == ()
    assert found.machine.free == 20 * GIB, "that of the fuller one"
    assert "GPU NVIDIA A100, NVIDIA A100" in plan_text(found)
    (refusal,) = planned(tmp_path, replace(LARGE, gpus=gpus, processes=3)).refusals
    assert str(refusal) == (
        "3 processes need as many GPUs, and 2 can be used. `--processes 2` uses each GPU."
    )


def test_a_process_without_rows_is_refused(tmp_path: Path) -> None:
    (refusal,) = planned(tmp_path, replace(LARGE, gpus=LARGE.gpus * 8, processes=8)).refusals
    assert str(refusal) == (
        "8 processes are more than the 4 rows of a batch, which they share. `--batch 8 "
        "--accumulation 2` gives each process a row."
    )
    assert refusal.exit_code == 2


def test_fsdp_divides_what_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    machine = replace(LARGE, gpus=LARGE.gpus * 4, processes=4)
    whole = planned(tmp_path, machine)
    divided = planned(tmp_path, replace(machine, is_sharded=True))
    assert divided.refusals == ()
    for name in ("base in NF4", "base in bfloat16", "adapter", "gradients", "optimizer"):
        assert divided.memory[name] == pytest.approx(whole.memory[name] / 4, abs=1)
    # The embedding and the output are in 16 bits, two of the 28 layers in NF4.
    assert divided.memory["layers gathered for use"] == pytest.approx(
        2.18e9 + 2 * 3.37e9 / 28, 0.01
    )
    base = whole.memory["base in NF4"] + whole.memory["base in bfloat16"]
    overhead = divided.memory["CUDA"]
    assert divided.need == base + overhead, "each process loads all of it first"
    text = plan_text(divided)
    assert "; FSDP divides base, adapter and optimizer among them" in text
    assert "the base before it is divided" in text


@pytest.mark.parametrize(
    ("machine", "changes", "why"),
    [
        (replace(NO_GPU, processes=2), {}, "and no GPU can be used. Leave out --sharding"),
        (LARGE, {}, "among processes, and there is only one process. `--processes N` starts"),
        (
            replace(LARGE, gpus=LARGE.gpus * 2, processes=2),
            {"training__optimizer": "paged_adamw_8bit"},
            "training.optimizer is paged_adamw_8bit, which cannot be used with --sharding fsdp",
        ),
    ],
)
def test_what_fsdp_cannot_divide_is_refused(
    tmp_path: Path, machine: Machine, changes: dict[str, Any], why: str
) -> None:
    (refusal,) = planned(tmp_path, replace(machine, is_sharded=True), **changes).refusals
    assert why in str(refusal)
    assert refusal.exit_code == 2


def test_a_torch_without_cuda_is_noted(tmp_path: Path) -> None:
    unused = Machine(24 * GIB, (), 2, gpu_unused="the installed torch is the build without CUDA")
    assert (
        "there is no GPU to use, so training runs on the CPU: the installed torch is the build "
        "without CUDA"
    ) in planned(tmp_path, unused).notes


def test_tight_memory_is_noted(tmp_path: Path) -> None:
    found = planned(tmp_path, with_gpu(8.5e9))
    assert found.refusals == ()
    assert "memory is tight: 8.1 GB of 8.5 GB free" in found.notes


def test_float16_needs_a_gpu(tmp_path: Path) -> None:
    assert planned(tmp_path, quantization__compute="float16").refusals == ()
    (refusal,) = planned(tmp_path, NO_GPU, quantization__compute="float16").refusals
    assert "quantization.compute is float16" in str(refusal)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    found = planned(tmp_path, free=20 * 10**9)
    (refusal,) = found.refusals
    assert isinstance(refusal, InputError)
    assert str(refusal) == (
        f"{tmp_path / 'out'}: the artifacts need 35.3 GB more, and the disk has 20.0 GB free. Name "
        "a folder on another disk with --out. The largest part is merged model, 16 bit with "
        "15.2 GB."
    )


def test_existing_files_need_no_more_disk(tmp_path: Path) -> None:
    before = planned(tmp_path, base=SMOLLM2)
    context = work_over(tmp_path, SMOLLM2, {}, tmp_path / "train.jsonl")
    context.run_dir.merged.mkdir(parents=True)
    with (context.run_dir.merged / "model.safetensors").open("wb") as file:
        file.truncate(2 * before.facts.parameters)
    after = make_plan(context, LARGE, room())
    saved = before.disks[0].missing - after.disks[0].missing
    assert saved == 2 * before.facts.parameters
    assert [one.name for one in after.artifacts][-2:] == ["base, fetched", "base, unpacked"]


def test_an_unpacked_base_needs_no_more_disk(tmp_path: Path) -> None:
    context = work_over(tmp_path, SMOLLM2, {}, data_set(tmp_path))
    sha256 = str(context.call.models.registry.files[SMOLLM2].sha256)
    folder = context.call.settings.cache_dir / "bases" / f"{sha256[:16]}-1"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("x" * 50)
    facts = published(SMOLLM2)
    assert facts is not None
    artifact = base_artifacts(facts, context)[-1]
    assert (artifact.name, artifact.bytes, artifact.missing) == ("base, unpacked", 100, 0)


def test_two_disks_are_listed_separately(tmp_path: Path) -> None:
    context = work_over(tmp_path, SMOLLM2, {}, data_set(tmp_path))

    def disk(path: Path) -> Disk:
        return Disk(path, 10**9, 1 if path.is_relative_to(context.run_dir.folder) else 2)

    found = make_plan(context, LARGE, disk)
    assert len(found.disks) == 2
    cache = 2 * found.facts.parameters
    assert found.disks[1].missing == pytest.approx(cache, rel=0.5)


def test_time_and_peak_come_from_an_equal_earlier_run(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {}, data_set(tmp_path))
    prepared(context, [(100, 30)] * 16)
    settings = context.recipe.model_dump(mode="json")
    run = {"guard": {"device": "cuda"}, "recipe": settings}
    (context.run_dir.folder / RUN).write_text(json.dumps(run))
    lines = [
        {"step": step, "tokens_per_second": pace, "peak_bytes": 9_000_000_000 + step}
        for step, pace in ((10, 30.0), (20, 40.0), (30, 50.0))
    ]
    metrics = "".join(json.dumps(line) + "\n" for line in lines)
    (context.run_dir.folder / "metrics.jsonl").write_text(metrics)
    found = make_plan(context, LARGE, room())
    # Three steps of 1,600 tokens at 40 a second.
    assert found.measured.seconds == pytest.approx(120)
    assert found.measured.peak == 9_000_000_030
    text = plan_text(found)
    assert "about 2 min, at 40 tokens a second as in the earlier run here" in text
    assert "measured peak: 9.0 GB, in the earlier run here" in text
    assert make_plan(context, NO_GPU, room()).measured.seconds is None
    gpus = LARGE.gpus * 2
    assert make_plan(context, replace(LARGE, gpus=gpus, processes=2), room()).measured.peak is None
    settings["training"]["batch"] = 2
    (context.run_dir.folder / RUN).write_text(json.dumps(run))
    assert make_plan(context, LARGE, room()).measured.peak is None


def test_a_plan_is_json(tmp_path: Path) -> None:
    found = planned(tmp_path, with_gpu(7.4e9))
    data = json.loads(json.dumps(found.as_dict()))
    assert data["memory"]["needed"] == sum(data["memory"]["parts"].values()) == found.need
    assert data["memory"]["measured_peak"] is None
    assert data["base"]["at_hand"] is False
    assert data["rows"]["estimated"] is True
    assert data["steps"]["last"] == found.steps.last
    assert data["refusals"] == [str(error) for error in found.refusals]
    assert {*data["disk"]["artifacts"]} >= {"checkpoints", "GGUF, Q4_K_M"}


def test_refusals_for_lack_of_memory_and_of_disk_space(tmp_path: Path) -> None:
    context = work_over(tmp_path, QWEN, {"quantization.kind": "none"}, data_set(tmp_path))
    assert make_plan(context, LARGE, room()).refusals == ()
    (memory,) = make_plan(context, with_gpu(7.4e9), room()).refusals
    assert re.search(r"needs .* GB of memory", memory.message)
    (disk,) = make_plan(context, LARGE, room(10**9)).refusals
    assert "the artifacts need" in disk.message


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, True),
        ({"quantization.kind": "none"}, False),
        ({"quantization.kind": "none", "training.optimizer": "adamw_8bit"}, True),
        ({"quantization.kind": "none", "training.optimizer": "paged_adamw_32bit"}, True),
    ],
)
def test_bitsandbytes_is_required_only_where_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, Any], needed: bool
) -> None:
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest)
    )
    monkeypatch.setattr(train, "MODULES", ())
    context = work_over(tmp_path, QWEN, changes, data_set(tmp_path))
    note = "training needs packages that are not installed: bitsandbytes"
    assert (note in make_plan(context, LARGE, room()).notes) is needed
    if needed:
        with pytest.raises(UsageError, match=r"this needs bitsandbytes.*nanda-harness\[finetune\]"):
            require(*train.packages(context.recipe))
    else:
        require(*train.packages(context.recipe))


@pytest.mark.parametrize("preset", presets())
def test_every_preset_can_be_planned(tmp_path: Path, preset: str) -> None:
    context = replace(work_over(tmp_path, QWEN, {}, data_set(tmp_path)), recipe=load_recipe(preset))
    assert make_plan(context, LARGE, room()).refusals == ()


SCRIPT = """
import json, sys
from pathlib import Path
sys.modules["torch"] = None  # as if it were not installed
sys.path[:0] = ["tests/support", "tests/support/finetune"]
from finetune_base import work_over
from skills.finetune import plan
found = plan.make_plan(work_over(Path(sys.argv[1]), sys.argv[2], {}, Path(sys.argv[3])))
print(plan.plan_text(found))
print(json.dumps(sorted(sys.modules)))
"""


def test_a_plan_needs_no_torch_and_loads_no_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), SMOLLM2, str(data_set(tmp_path))],
        capture_output=True,
        text=True,
        cwd=CODE_ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    *_, modules = done.stdout.splitlines()
    heavy = {"transformers", "peft", "bitsandbytes", "accelerate", "tokenizers"}
    assert heavy.isdisjoint(json.loads(modules))
    assert "no GPU" in done.stdout


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


def test_without_the_base_it_is_the_text_of_the_data_set(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = (
        fake_app(tmp_path).dispatch(f'/finetune plan "{data}" --details --set dev_share=0').result
    )
    assert (
        "one row, as in the data set: the base's chat template is not available, and the end "
        'token, which the loss includes, is not shown; "+" marks the part in the loss\n'
        "  Do.\n  We tally.\n+ <annotation>\n+ Claim: a\n+ </annotation>"
    ) in result.text
    check_output(Finetune(), "plan", result)
    assert result.data["rows"]["sample_decoded"] is False
    assert not (tmp_path / "finetune_output").exists(), "a plan writes nothing"
