"""Memory of training: formulas compared with sums by hand, and with measurements."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from finetune_base import work_over

from harness.errors import UsageError
from skills.finetune.model import resources
from skills.finetune.model.base_shapes import BaseFacts, all_published, published
from skills.finetune.model.resources import (
    Batch,
    Gpu,
    activation_bytes,
    adapter_matrices,
    artifacts,
    nf4_bytes,
    optimizer_bytes,
    training_memory,
)
from skills.finetune.recipe import Adapter, Quantization, Recipe, Training, load_recipe, overridden

# Hidden size 8, 2 layers, 2 query heads and 1 key-value head of size 4, MLP 16, 10 tokens, tied.
# A layer: q 8x8, k and v 8x4, o 8x8, gate and up 8x16, down 16x8: 64+32+32+64+128+128+128 = 576.
# All: 2 x (576 + two norms of 8) + embedding 80 + last norm 8 = 1,272.
TINY = BaseFacts("tiny", 8, 2, 2, 1, 4, 16, 10, True, 1272, "a test")


LESSON = load_recipe("lesson")


QWEN = published(LESSON.base)


def test_shapes_of_a_tiny_base() -> None:
    assert TINY.linear["v_proj"] == (8, 4)
    assert TINY.linear["down_proj"] == (16, 8)
    assert TINY.linear_parameters == 2 * 576


@pytest.mark.parametrize("facts", all_published(), ids=lambda facts: facts.name)
def test_published_shapes_give_the_published_parameters(facts: BaseFacts) -> None:
    queries_and_keys = (facts.heads + 2 * facts.kv_heads) * facts.head_dim
    biases = facts.layers * queries_and_keys if "Qwen" in facts.name else 0
    norms = (2 * facts.layers + 1) * facts.hidden
    tables = facts.vocab * facts.hidden * (1 if facts.tied else 2)
    assert facts.parameters == facts.linear_parameters + biases + norms + tables


def test_a_base_is_known_only_by_its_name() -> None:
    assert QWEN is not None
    assert (QWEN.hidden, QWEN.layers, QWEN.heads, QWEN.kv_heads) == (3584, 28, 28, 4)
    assert (QWEN.intermediate, QWEN.vocab, QWEN.tied) == (18944, 152064, False)
    assert QWEN.parameters == 7_615_616_512
    assert published("Qwen/Qwen2.5-7B") == QWEN
    assert published("qwen2.5-7b-instruct") == QWEN
    smollm = published("smollm2-135m-instruct")
    assert smollm is not None
    assert smollm.parameters == 134_515_008
    for other in ("Somebody/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-72B-Instruct", "", "/a/Qwen2.5-7B"):
        assert published(other) is None


def test_nf4_by_hand() -> None:
    # 1,000 weights: 500 bytes, and 16 constants of 4 bytes; or of 1 byte, and one more of 4.
    assert nf4_bytes(1000, double=False) == 500 + 64
    assert nf4_bytes(1000, double=True) == 500 + 16 + 4
    bits = 8 * nf4_bytes(1 << 30, double=True) / (1 << 30)
    assert bits == pytest.approx(4.127, abs=0.001)


def trained(facts: BaseFacts, adapter: Adapter) -> int:
    return facts.layers * sum(adapter_matrices(facts, adapter))


def test_adapters_by_hand() -> None:
    queries_and_values = Adapter(r=2, targets=("q_proj", "v_proj"))
    # q: 2 x (8 + 8) = 32; v: 2 x (8 + 4) = 24.
    assert adapter_matrices(TINY, queries_and_values) == (16, 16, 16, 8)
    assert trained(TINY, queries_and_values) == 2 * (32 + 24)
    # q 16, k 12, v 12, o 16, gate 24, up 24, down 24, each x 2.
    assert trained(TINY, Adapter(r=2, targets="all-linear")) == 2 * 2 * 128
    twice = Adapter(r=2, targets=("q_proj", "v_proj", "q_proj"))
    assert trained(TINY, twice) == 112


def test_adapter_sizes_match_those_counted_in_training() -> None:
    smollm = published("smollm2-135m-instruct")
    assert smollm is not None
    assert trained(smollm, Adapter()) == 921_600
    assert trained(smollm, Adapter(targets="all-linear")) == 4_884_480


def test_an_unknown_layer_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as caught:
        adapter_matrices(TINY, Adapter(targets=("q_proj", "qkv_proj")))
    assert str(caught.value) == (
        "adapter.targets: tiny does not have a layer 'qkv_proj'. The layers are q_proj, k_proj, "
        "v_proj, o_proj, gate_proj, up_proj, down_proj; all-linear selects all layers."
    )


def test_optimizers_by_hand() -> None:
    assert optimizer_bytes([100, 28], "adamw_torch") == 8 * 128
    assert optimizer_bytes([5000], "paged_adamw_32bit") == 40_000
    # Two averages, each with 1 byte a weight and 20 constants of 4 bytes. A matrix with fewer than
    # 4,096 weights keeps 4 bytes a weight.
    assert optimizer_bytes([5000, 4095], "adamw_8bit") == 2 * (5000 + 80) + 8 * 4095
    assert optimizer_bytes([4096], "paged_adamw_8bit") == 2 * (4096 + 64)


def test_all_parts_of_a_tiny_run_by_hand() -> None:
    recipe = Recipe(
        adapter=Adapter(r=2, dropout=0.1, targets=("q_proj", "v_proj")),
        training=Training(batch=2, checkpointing=False),
    )
    found = training_memory(TINY, recipe, Batch(2, 5, 3), "gpu")
    # A position of a layer: norms 64, attention 4x8x2, mask 5x2, MLP 3x16x2: 234; two adapters
    # with an input of 8 in 2 bytes, a mask of 8 and an A of 2 in 2 bytes: 2 x 28.
    assert found == {
        "base in NF4": 576 + 18 + 4,
        "base in bfloat16": 2 * (1272 - 1152),
        "adapter": 112 * 4,
        "gradients": 112 * 4,
        "optimizer": 112 * 8,
        "activations": 10 * (2 + 1) * (234 + 56),
        "a layer unpacked for use": 128 * 2,
        "logits": 2 * 3 * 10 * 12,
        "CUDA": 1_400_000_000,
    }


def test_checkpointing_by_hand() -> None:
    recipe = Recipe(adapter=Adapter(r=2, dropout=0), training=Training(checkpointing=True))
    size = activation_bytes(TINY, recipe, Batch(2, 5, 3), "cpu")
    assert size == 10 * (2 * 16 + 2 * (234 + 2 * (16 + 4)))
    masked = overridden(recipe, {"adapter.dropout": 0.1})
    more = activation_bytes(TINY, masked, Batch(2, 5, 3), "cpu") - size
    assert more == 10 * 2 * (2 * 8 * 4)


def test_without_quantization_it_is_lora() -> None:
    recipe = Recipe(quantization=Quantization(kind="none"))
    found = training_memory(TINY, recipe, Batch(2, 5, 3), "cpu")
    assert found["base in bfloat16"] == 2 * 1272
    assert "base in NF4" not in found
    assert "a layer unpacked for use" not in found
    wide = overridden(recipe, {"quantization.compute": "float32"})
    assert (training_memory(TINY, wide, Batch(2, 5, 3), "cpu"))["base in float32"] == 4 * 1272


def test_unpacked_weights_have_the_compute_type() -> None:
    recipe = Recipe(quantization=Quantization(unpacked=True))
    found = training_memory(TINY, recipe, Batch(2, 5, 3), "cpu")
    assert found["base in NF4, unpacked"] == 2 * 1152
    assert found["base in bfloat16"] == 2 * (1272 - 1152)
    assert "base in NF4" not in found
    assert "a layer unpacked for use" not in found


def test_the_lessons_figures() -> None:
    assert QWEN is not None
    found = training_memory(QWEN, LESSON, Batch(4, 800, 260), "gpu")
    held = ("base in NF4", "base in bfloat16", "adapter", "gradients", "optimizer")
    assert 5.5e9 < sum(found[name] for name in held) < 5.7e9
    assert 2 * QWEN.parameters == pytest.approx(15.2e9, rel=0.01)
    assert sum(found.values()) < 12e9


def test_memory_of_a_cpu_run_matches_the_measured_one() -> None:
    """9.4 GB were resident with batch 8, all-linear, gold rows."""
    smollm = published("smollm2-135m-instruct")
    assert smollm is not None
    recipe = load_recipe("smollm2-cpu")
    need = sum(training_memory(smollm, recipe, Batch(8, 560, 260), "cpu").values())
    assert 7.5e9 < need < 11e9


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Q4_K_M", 4_683_073_000),
        ("Qwen/Qwen2.5-14B-Instruct", "Q4_K_M", 8_988_110_000),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Q4_K_M", 397_808_000),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "Q4_K_M", 105_600_000),
    ],
)
def test_quantized_files_are_at_most_as_large_as_planned(
    tmp_path: Path, name: str, kind: str, size: int
) -> None:
    facts = published(name)
    assert facts is not None
    context = work_over(tmp_path, name, {"export.quantize": kind})
    found = {one.name: one.bytes for one in artifacts(facts, context, tokens=0, checkpoints=0)}
    assert size <= found[f"GGUF, {kind}"] <= 1.4 * size


class FakeCuda:
    def __init__(self, available: bool) -> None:
        self.is_available = lambda: available
        self.device_count = lambda: 2
        self.get_device_name = lambda number: "NVIDIA T4"
        self.mem_get_info = lambda number: (15000 - number, 16000)
        self.is_bf16_supported = lambda including_emulation: False


@pytest.mark.parametrize(
    ("available", "cuda", "gpus", "unused"),
    [
        (True, "12.8", (Gpu("NVIDIA T4", 15000, 16000),), ""),
        (False, "12.8", (), ""),
        (False, None, (), "the installed torch is a build without CUDA"),
    ],
)
def test_gpus_are_detected_with_torch(
    monkeypatch: pytest.MonkeyPatch, available: bool, cuda: Any, gpus: Any, unused: str
) -> None:
    torch = SimpleNamespace(
        cuda=FakeCuda(available),
        version=SimpleNamespace(cuda=cuda),
        backends=SimpleNamespace(cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2")),
        __spec__=object(),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    found = resources.this_machine()
    assert (found.gpus, found.gpu_unused) == (gpus, unused)
    of_three = resources.this_machine(3)
    assert [gpu.free for gpu in of_three.gpus] == ([15000, 14999] if gpus else [])
    assert of_three.free == (14999 if gpus else of_three.memory // 3)
    assert found.fast == (("float16", "float32") if available else ("float32",))
    assert found.memory > 0
    assert found.cores > 0


def test_without_torch_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert resources.this_machine().gpu is None


def test_a_missing_folder_has_the_disk_of_its_parent(tmp_path: Path) -> None:
    found = resources.disk_of(tmp_path / "a" / "b")
    assert found.free > 0
    assert found.device == tmp_path.stat().st_dev


@pytest.mark.parametrize(("batch", "processes", "rows"), [(8, 1, 8), (8, 2, 4), (7, 2, 4)])
def test_the_processes_share_the_rows_of_a_batch(batch: int, processes: int, rows: int) -> None:
    recipe = overridden(Recipe(), {"training.batch": batch})
    machine = resources.Machine(0, (), 1, processes=processes)
    assert Batch.largest([5] * 20, [3] * 20, recipe, machine) == Batch(rows, 5, 3)
