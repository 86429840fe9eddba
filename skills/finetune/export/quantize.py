"""The stage `quantize`: quantize the GGUF with llama.cpp's own library.

The converter cannot write Q4_K_M. A mix such as Q4_K_M needs rows of a multiple of 256 weights; a
tensor with other rows gets a larger type instead (src/llama-quant.cpp), which for a small model may
be most of them. So the manifest counts the tensors by type, and the file is named by the request.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.models.gguf_file import GgufFile, open_gguf
from harness.support.process import available_cores, require
from skills.finetune.export import readback
from skills.finetune.export.artifact_files import digest_of, need_disk
from skills.finetune.export.llama_cpp import library_version, run_program
from skills.finetune.run.run_dir import Done
from skills.finetune.run.stage import Stage, StageContext

WORKER = Path(__file__).with_name("quantize_worker.py")
FALLBACKS = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")
LARGEST = 0.6
"""Upper bound of the result's size relative to the 16-bit source: Q8_0, the largest type and the
last fallback for rows of a multiple of 32, has 8.5 bits per weight."""


def inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the digest of the f16 GGUF, the type, and the library.

    Raises:
        UsageError: the finetune extra is missing.
        InputError: there is no f16 GGUF.
    """
    require("cffi")
    return {
        "library": library_version(),
        "f16": digest_of(context.run_dir, "gguf", context.run_dir.f16),
        "quantize": context.recipe.export.quantize,
    }


def perform(context: StageContext) -> Done:
    """Quantize, read back, and move into place.

    Raises:
        SkillFailed: the library failed, or changed more than the weights.
        OutputError: the disk is too small, or the file cannot be written.
        Interrupted: the run was cancelled.
    """
    out, kind = context.run_dir, context.recipe.export.quantize
    source, target = out.f16, out.quantized(kind)
    need_disk(out.folder, int(source.stat().st_size * LARGEST), f"the {kind} GGUF")
    before = readback.identity_of(open_gguf(source))
    with tempfile.TemporaryDirectory(prefix=".quantize-", dir=out.folder) as temporary:
        written = Path(temporary) / target.name
        log = _run(context, source, written)
        after = open_gguf(written)
        readback.check(after, before, source.name)
        _check_type(after, kind)
        fallbacks = FALLBACKS.search(log)
        facts = {
            "library": library_version(),
            **readback.facts_of(after),
            "fallbacks": int(fallbacks[1]) if fallbacks else 0,
        }
        written.replace(target)
    return Done([target], facts)


def _run(context: StageContext, source: Path, target: Path) -> str:
    kind = context.recipe.export.quantize
    command = [sys.executable, "-P", WORKER, source, target, _file_type(kind), available_cores()]
    doing = f"quantizing to {kind}"
    with context.call.screen.progress(doing) as tick:
        return run_program(
            list(map(str, command)),
            context.run_dir.folder / "quantize.log",
            doing=doing,
            tick=tick,
            cancel=context.call.cancel,
        )


def _file_type(kind: str) -> int:
    """Return the number of a type in enum llama_ftype of llama.h."""
    from gguf import LlamaFileType

    return int(LlamaFileType[f"MOSTLY_{kind}"])


def _check_type(gguf: GgufFile, kind: str) -> None:
    if gguf.file_type != kind:
        raise SkillFailed(f"its type is {gguf.file_type}, not {kind}", where=str(gguf.path))


STAGE = Stage("quantize", "quantize the model", inputs, perform)
