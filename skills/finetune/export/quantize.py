"""The stage `quantize`: the GGUF in fewer bits, by llama.cpp's own library.

The converter knows no Q4_K_M, whatever tutorials say of its --outtype. A mix as Q4_K_M needs rows
of a multiple of 256 weights; a tensor with others gets a larger type instead (src/llama-quant.cpp),
which for a small model may be most of them. So tensors are counted by their types, and the file is
called by what was asked for.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.support.cpu import available_cores
from harness.support.optional_deps import require
from skills.finetune.export import readback
from skills.finetune.export.artifact_files import digest_of, need_disk
from skills.finetune.export.llama_cpp import library_version, run_program
from skills.finetune.export.readback import Readback
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext

WORKER = Path(__file__).with_name("quantize_worker.py")
FALLBACKS = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")
LARGEST = 0.6
"""Bytes of the result for one of the source's at most: Q8_0, the largest type and the last of the
fallbacks for rows of a multiple of 32, has 8.5 bits a weight of 16."""


def inputs(context: StageContext) -> Mapping[str, Any]:
    """The digest of the f16 GGUF, the type, and the library.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: there is no f16 GGUF.
    """
    require("gguf", "cffi")
    return {
        "library": library_version(),
        "f16": digest_of(context.run_dir, "gguf", context.run_dir.f16),
        "quantize": context.recipe.export.quantize,
    }


def perform(context: StageContext) -> Done:
    """Quantize, read back, and put in place.

    Raises:
        SkillFailed: the library failed, or changed more than the weights.
        OutputError: there is no room on the disk, or it cannot be written.
        Interrupted: the work was called off.
    """
    run_dir, kind = context.run_dir, context.recipe.export.quantize
    source, target = run_dir.f16, run_dir.quantized(kind)
    need_disk(run_dir.folder, int(source.stat().st_size * LARGEST), f"the {kind} GGUF")
    before = readback.read(source)
    with tempfile.TemporaryDirectory(prefix=".quantize-", dir=run_dir.folder) as temporary:
        written = Path(temporary) / target.name
        said = _run(context, source, written)
        after = readback.read(written, "general.file_type")
        readback.check(after, before.identity, source.name)
        _check_type(after, kind)
        fallbacks = FALLBACKS.search(said)
        facts = {
            "library": library_version(),
            **after.facts,
            "fallbacks": int(fallbacks[1]) if fallbacks else 0,
        }
        written.replace(target)
    return Done([target], facts)


def file_type(kind: str) -> int:
    """The number of a type in enum llama_ftype of llama.h."""
    from gguf import LlamaFileType

    return int(LlamaFileType[f"MOSTLY_{kind}"])


def _run(context: StageContext, source: Path, target: Path) -> str:
    kind = context.recipe.export.quantize
    command = [sys.executable, "-P", WORKER, source, target, file_type(kind), available_cores()]
    doing = f"quantizing to {kind}"
    with context.call.screen.progress(doing) as tick:
        return run_program(
            list(map(str, command)),
            context.run_dir.folder / "quantize.log",
            doing=doing,
            tick=tick,
            cancel=context.call.cancel,
        )


def _check_type(found: Readback, kind: str) -> None:
    """Raises SkillFailed where the file says that it is of another type."""
    told = found.extra["general.file_type"]
    if told != file_type(kind):
        raise SkillFailed(
            f"general.file_type is {told}, and {file_type(kind)} was asked for ({kind})",
            where=str(found.path),
        )


STAGE = Stage("quantize", "write the model in fewer bits", inputs, perform)
