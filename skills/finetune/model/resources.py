"""Compute the memory and disk space that a run needs, and detect this machine's resources.

bitsandbytes quantizes only the linear layers of the decoder; other weights keep the compute type.

Activations are the tensors that autograd keeps from the forward pass for the backward pass. The
table lists them for a decoder layer as implemented in transformers (modeling_llama.py,
modeling_qwen2.py), in bytes per position. H is the hidden width, Q is the number of heads times the
width of a head, I is the width of the MLP, S is the number of tokens of a row, and c is the number
of bytes of the compute type.

    two RMS norms           8 H      their input in float32
    attention               4 Q c    queries, keys and values (repeated for every head), the result
    attention mask            S c    created for every layer if a batch has padding
    MLP                     3 I c    the gate, its SiLU, and the factor of the SiLU
    adapted linear layer             its input after dropout, the output of A, the dropout mask

A frozen linear layer keeps nothing: its input is only needed for the gradient of its weights. The
dropout mask takes one byte per value on a GPU, and four on a CPU. With checkpointing (Chen et al.
2016, arXiv 1604.06174), only the input of each layer is kept, and one layer at a time is computed
again. A test checks that the sum is within 5 % of the bytes that autograd keeps on a CPU.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.errors import UsageError
from harness.support.process import available_cores, low_spin_openmp
from skills.finetune import ranks
from skills.finetune.model.base_shapes import BaseFacts
from skills.finetune.model.bases import unpacked_folder
from skills.finetune.recipe import Adapter, Quantization, Recipe, overridden
from skills.finetune.run_folder import StageContext, in_words

Place = Literal["gpu", "cpu"]

TRAINED = 4
"""Number of bytes of a trained value, and also of its gradient. peft keeps adapters in float32
(`autocast_adapter_dtype` of get_peft_model), so that small steps are not lost.
"""
BLOCK = 64
"""Number of NF4 weights that share a scaling constant (bitsandbytes.functional.quantize_4bit)."""
NESTED_BLOCK = 256
"""With double quantization, number of scaling constants that share a second-level constant."""
SMALLEST_8BIT = 4096
"""Number of values below which a tensor keeps 32-bit states (`min_8bit_size` of bitsandbytes)."""
OPTIMIZER_BLOCK = 256
"""Number of values of an 8-bit optimizer state that share a constant (bitsandbytes.optim)."""
SCORE = 12
"""Peak bytes for each logit: the log-probability, its gradient and the gradient of the logit, in
float32 (torch.nn.functional.cross_entropy).
"""
OVERHEAD = {
    "gpu": ("CUDA", 1_400_000_000),
    "cpu": ("process", 850_000_000),
}
"""Bytes that do not depend on the base. CUDA: context, workspaces and fragmentation, as estimated
by Unsloth (studio/backend/utils/hardware/VRAM_ESTIMATION.md). Process: 560 MB (measured with torch,
transformers, peft, bitsandbytes and a base, without the weights of the base), and an allowance for
memory that the allocator cannot use.
"""
BITS = {"Q4_K_M": 4.95, "Q5_K_M": 5.75, "Q6_K": 6.6, "Q8_0": 8.5}
"""Upper bounds of the bits per weight of llama.cpp's types. If the number of weights in a matrix
row is not a multiple of 256, the matrix gets a larger type, at most Q8_0 (src/llama-quant.cpp).
"""
TOKEN_BYTES = 39
"""Bytes of a GGUF per token of its vocabulary: SmolLM2 has 49,152 tokens in 1.9 MB."""
TEXTS = 12_000_000
"""Bytes of the tokenizer files and the template of a base in the format of transformers."""
STATE = 100_000
"""Bytes of a checkpoint besides adapter and optimizer: random states, schedule, history."""
BYTES_PER_ID = 7
"""Bytes of a token id in the JSON of a prepared row: about five digits, a comma and a space."""
COMPUTE = ("bfloat16", "float16", "float32")
"""The compute types of a recipe."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The size of the largest batch that one process of a run computes.

    Attributes:
        length: number of tokens of the longest row, to which the other rows are padded.
        completion: number of tokens of the longest completion.
    """

    rows: int
    length: int
    completion: int

    @classmethod
    def largest(
        cls, lengths: Sequence[int], completions: Sequence[int], recipe: Recipe, machine: Machine
    ) -> Batch:
        """Return the largest batch of a process, with the longest row and completion."""
        rows = min(-(-recipe.training.batch // machine.processes), len(lengths))
        return cls(rows, max(lengths, default=0), max(completions, default=0))


def training_memory(
    facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place, *, shards: int = 1
) -> dict[str, int]:
    """Return the peak memory of one training process in bytes, by use, such as "gradients".

    bitsandbytes quantizes the linear layers except the output (`get_keys_to_not_convert` of
    transformers.quantizers.base).

    Args:
        shards: number of processes among which FSDP divides base, adapter, gradients and optimizer.
            FSDP gathers two layers at a time: the layer in use, and the next layer. Each process
            first loads the whole base, since weights in NF4 cannot be divided earlier
            (`fsdp2_prepare_model` of accelerate).

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    quantization, width = recipe.quantization, compute_bytes(recipe.quantization)
    matrices = adapter_matrices(facts, recipe.adapter) * facts.layers
    packed = facts.linear_parameters if quantization.kind == "nf4" else 0
    held = {
        f"base in {quantization.compute}": (facts.parameters - packed) * width,
        "adapter": TRAINED * sum(matrices),
        "gradients": TRAINED * sum(matrices),
        "optimizer": optimizer_bytes(matrices, recipe.training.optimizer),
    }
    name, overhead = OVERHEAD[place]
    of_batch = {
        "activations": activation_bytes(facts, recipe, batch, place),
        "logits": batch.rows * batch.completion * facts.vocab * SCORE,
        name: overhead,
    }
    if packed and quantization.unpacked:
        held["base in NF4, unpacked"] = packed * width
    elif packed:
        held["base in NF4"] = nf4_bytes(packed, double=quantization.double)
        largest = max(inputs * outputs for inputs, outputs in facts.linear.values())
        of_batch["a layer unpacked for use"] = largest * width
    if shards == 1:
        return held | of_batch
    base = sum(size for name, size in held.items() if name.startswith("base"))
    ends = (facts.parameters - facts.linear_parameters) * width
    divided = {name: -(-size // shards) for name, size in held.items()} | of_batch
    divided["layers gathered for use"] = ends + 2 * (base - ends) // facts.layers
    if (loading := base + overhead - sum(divided.values())) > 0:
        divided["the base before it is divided"] = loading
    return divided


def activation_bytes(facts: BaseFacts, recipe: Recipe, batch: Batch, place: Place) -> int:
    """Return the bytes of a batch's activations, as described in the docstring of this module.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    width, queries = compute_bytes(recipe.quantization), facts.heads * facts.head_dim
    mask = 0 if not recipe.adapter.dropout else 1 if place == "gpu" else 4
    names = facts.targets(recipe.adapter.targets)
    layer = 8 * facts.hidden + (4 * queries + batch.length + 3 * facts.intermediate) * width
    layer += sum(facts.linear[name][0] for name in names) * (width + mask)
    layer += len(names) * recipe.adapter.r * width
    positions = batch.rows * batch.length
    if not recipe.training.checkpointing:
        return positions * (facts.layers + 1) * layer  # the additional layer is for gradients
    return positions * (facts.layers * facts.hidden * width + 2 * layer)


def adapter_matrices(facts: BaseFacts, adapter: Adapter) -> tuple[int, ...]:
    """Return the sizes of the matrices A (r x inputs) and B (outputs x r) of a decoder layer.

    See Hu et al. 2021 (arXiv 2106.09685), section 4.1. With grouped-query attention, keys and
    values have fewer outputs and therefore smaller matrices.

    Raises:
        UsageError: the adapter names a layer that the base does not have.
    """
    shapes = [facts.linear[name] for name in facts.targets(adapter.targets)]
    return tuple(adapter.r * size for shape in shapes for size in shape)


def nf4_bytes(weights: int, *, double: bool) -> int:
    """Return the bytes of weights in NF4.

    A weight has half a byte, and 64 weights share a constant of 4 bytes: 4.5 bits per weight. With
    double quantization the constant has 1 byte, and 256 constants share another 4 bytes: 4.127 bits
    per weight (Dettmers et al. 2023, arXiv 2305.14314, section 3).
    """
    constants = -(-weights // BLOCK)
    nested = constants + 4 * -(-constants // NESTED_BLOCK)
    return -(-weights // 2) + (nested if double else 4 * constants)


def optimizer_bytes(matrices: Iterable[int], optimizer: str) -> int:
    """Return the bytes of Adam's two moving averages for trained matrices of these sizes.

    An average has 4 bytes per value (Kingma and Ba 2014, arXiv 1412.6980). With an 8-bit optimizer,
    an average of at least `SMALLEST_8BIT` values has 1 byte per value, and 256 values share a
    constant of 4 bytes (Dettmers et al. 2021, arXiv 2110.02861).
    Paged optimizers count in full, although the driver may move their pages to main memory.
    """
    smallest = SMALLEST_8BIT if optimizer.endswith("8bit") else math.inf
    return sum(
        2 * (size + 4 * -(-size // OPTIMIZER_BLOCK) if size >= smallest else 4 * size)
        for size in matrices
    )


def compute_bytes(quantization: Quantization) -> int:
    """Return the number of bytes of one value in the compute type."""
    return 4 if quantization.compute == "float32" else 2


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder that a run writes.

    Attributes:
        path: the last part of this path may be a glob pattern for several files or folders.
        bytes: the size of the complete file or folder.
        present: number of bytes that exist already.
    """

    name: str
    path: Path
    bytes: int
    present: int

    @property
    def missing(self) -> int:
        """Number of bytes that are still to be written."""
        return max(0, self.bytes - self.present)


def artifacts(
    facts: BaseFacts, context: StageContext, *, tokens: int, checkpoints: int
) -> tuple[Artifact, ...]:
    """Return the large artifacts of the stages in the run's folder, and the base in the cache.

    Args:
        tokens: number of tokens of all training rows.
        checkpoints: maximum number of checkpoints that exist at the same time.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    recipe, out = context.recipe, context.run_dir
    matrices, kind = adapter_matrices(facts, recipe.adapter) * facts.layers, recipe.export.quantize
    adapter, vocabulary = TRAINED * sum(matrices), TOKEN_BYTES * facts.vocab
    state = adapter + optimizer_bytes(matrices, recipe.training.optimizer) + STATE
    bits = BITS["Q8_0"] if facts.hidden % 256 else BITS[kind]
    found = (
        ("prepared rows", out.prepared, tokens * BYTES_PER_ID),
        ("checkpoints", out.folder / "checkpoint-*", checkpoints * state),
        ("adapter", out.adapter, adapter),
        ("merged model, 16 bit", out.merged, 2 * facts.parameters + TEXTS),
        ("GGUF, f16", out.f16, 2 * facts.parameters + vocabulary),
        (f"GGUF, {kind}", out.quantized(kind), round(bits * facts.parameters / 8) + vocabulary),
        ("GGUF of the adapter", out.lora, adapter),
    )
    own = (Artifact(name, path, size, _present(path)) for name, path, size in found)
    return (*own, *base_artifacts(facts, context))


def base_artifacts(facts: BaseFacts, context: StageContext) -> tuple[Artifact, ...]:
    """Return the artifacts of a base in the registry: its unpacked folder, and its download if any.

    The result is () if the base is not in the registry.
    """
    registry, name = context.call.models.registry, context.recipe.base
    if name not in registry.files:
        return ()
    path, entry = context.files.path(name), registry.files[name]
    sha256 = entry.sha256 or (context.files.digest(name) if path.is_file() else "none")
    folder = unpacked_folder(context.call.settings.cache_dir, sha256)
    present = _present(folder)  # the folder gets its name only when it is complete
    size = present or 2 * facts.parameters + TEXTS
    unpacked = Artifact("base, unpacked", folder, size, present)
    if not entry.origin:
        return (unpacked,)
    return (Artifact("base, fetched", path, entry.size or 0, _present(path)), unpacked)


def _present(path: Path) -> int:
    """Return the total bytes of all files and folders that match a path or a glob pattern."""
    found = (file for match in path.parent.glob(path.name) for file in (match, *match.rglob("*")))
    return sum(file.stat().st_size for file in found if file.is_file())


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as reported by torch; sizes in bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a folder.

    Attributes:
        free: number of bytes that can be written.
        device: id of the file system; folders with the same id share the free space.
        missing: number of bytes that a run still has to write.
    """

    path: Path
    free: int
    device: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """The resources that a machine has for a run.

    Attributes:
        memory: number of bytes of main memory that are available without swapping.
        gpus: the GPUs that training would use, one for each process; empty without a GPU.
        gpu_unused: the reason why the installed torch cannot use a GPU, or "".
        fast: the compute types that the device supports natively, without slow emulation.
        processes: number of training processes, which share the memory if there is no GPU.
        is_sharded: True if FSDP divides the base among the processes.
    """

    memory: int
    gpus: tuple[Gpu, ...]
    cores: int
    gpu_unused: str = ""
    fast: tuple[str, ...] = COMPUTE
    processes: int = 1
    is_sharded: bool = False

    @property
    def shards(self) -> int:
        """Number of parts into which FSDP divides the base; 1 without sharding."""
        return self.processes if self.is_sharded else 1

    @property
    def gpu(self) -> Gpu | None:
        return self.gpus[0] if self.gpus else None

    @property
    def place(self) -> Place:
        """The device that trains: "gpu" or "cpu"."""
        return "gpu" if self.gpus else "cpu"

    @property
    def free(self) -> int:
        """Bytes of free memory that each process has on the device that trains."""
        return min((gpu.free for gpu in self.gpus), default=self.memory // self.processes)


@low_spin_openmp()  # this function may be the first to import torch
def this_machine(processes: int = 1, *, is_sharded: bool = False) -> Machine:
    """Return this machine's resources; GPUs and `fast` are detected only if torch is installed.

    On a CPU without AVX-512, `fast` does not contain bfloat16: oneDNN computes it in plain loops,
    which takes 9 times as long as float32 in the forward pass, and 47 times as long in the backward
    pass (400 x 576 by 576 x 1536, on an EPYC with AVX2).
    """
    import psutil

    memory, cores = int(psutil.virtual_memory().available), available_cores()
    found = Machine(memory, (), cores, processes=processes, is_sharded=is_sharded)
    if importlib.util.find_spec("torch") is None:
        return found
    import torch

    cuda = torch.cuda
    if not cuda.is_available():
        no_cuda = torch.version.cuda is None
        unused = "the installed torch is a build without CUDA" if no_cuda else ""
        is_wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        fast = ("bfloat16", "float32") if is_wide else ("float32",)
        return replace(found, gpu_unused=unused, fast=fast)
    count = min(processes, cuda.device_count())
    gpus = tuple(Gpu(cuda.get_device_name(n), *cuda.mem_get_info(n)) for n in range(count))
    native = cuda.is_bf16_supported(including_emulation=False)
    return replace(found, gpus=gpus, fast=COMPUTE if native else ("float16", "float32"))


def device_kind() -> str:
    """Return "cuda" if there is a GPU, otherwise "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def disk_of(folder: Path) -> Disk:
    """Return the file system of a folder, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return Disk(folder, shutil.disk_usage(existing).free, existing.stat().st_dev)


def adapted(
    recipe: Recipe, facts: BaseFacts, batch: Batch, machine: Machine
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe adapted to a machine, and a clause for each changed setting.

    Args:
        batch: the size of the largest batch.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    recipe, changed = with_fast_compute(recipe, machine)
    saving = overridden(recipe, {"training.checkpointing": True})
    need, less = (
        sum(training_memory(facts, one, batch, machine.place, shards=machine.shards).values())
        for one in (recipe, saving)
    )
    changes = (changed,) if changed else ()
    if need <= machine.free or need <= less:
        return recipe, changes
    return saving, (
        *changes,
        f"checkpointing is switched on: it needs {in_words(less)} of memory instead of "
        f"{in_words(need)}, and {in_words(machine.free)} are free. Training takes longer, with "
        "the same results",
    )


def of_run(context: StageContext) -> Machine:
    """Return the resources that this machine has for the processes of a run."""
    processes = ranks.on_this_machine(context.processes)
    return this_machine(processes, is_sharded=context.is_sharded)


def check_processes(recipe: Recipe, machine: Machine) -> None:
    """Check the number of processes of a run, and whether --sharding can be used.

    Raises:
        UsageError: there are more processes than rows in a batch, or more processes than GPUs (not
            checked on a CPU), or --sharding cannot be used.
    """
    count, training = machine.processes, recipe.training
    if count > training.batch:
        accumulation = max(1, training.rows_per_step // count)
        raise UsageError(
            f"{count} processes are more than the {training.batch} rows of a batch, which they "
            "share",
            hint=f"`--batch {count} --accumulation {accumulation}` gives each process a row.",
        )
    if machine.gpus and count > len(machine.gpus):
        raise UsageError(
            f"{count} processes need as many GPUs, and {len(machine.gpus)} can be used",
            hint=f"`--processes {len(machine.gpus)}` uses each GPU.",
        )
    if not machine.is_sharded:
        return
    if not machine.gpus:
        raise UsageError(
            "--sharding fsdp divides the base among GPUs, and no GPU can be used",
            hint="Leave out --sharding: on a CPU, the processes share the memory anyway.",
        )
    if machine.shards == 1:
        raise UsageError(
            "--sharding fsdp divides the base among processes, and there is only one process",
            hint="`--processes N` starts N processes, each with its own GPU.",
        )
    if training.optimizer != "adamw_torch":
        raise UsageError(
            f"training.optimizer is {training.optimizer}, which cannot be used with "
            "--sharding fsdp",
            hint="--set training.optimizer=adamw_torch selects an optimizer whose states are "
            "divided, too.",
        )


def with_fast_compute(recipe: Recipe, machine: Machine) -> tuple[Recipe, str]:
    """Return the recipe with a fast compute type, and a clause about the change, or ""."""
    wanted = recipe.quantization.compute
    if wanted in machine.fast:
        return recipe, ""
    other = next(kind for kind in ("float16", "float32") if kind in machine.fast)
    device = "GPU" if machine.gpu else "CPU"
    why = f"this {device} does not support {wanted} efficiently: computing in {other}"
    return overridden(recipe, {"quantization.compute": other}), why
