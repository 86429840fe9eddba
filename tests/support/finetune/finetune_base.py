"""A base small enough for training in a test: random weights with SmolLM2's tokenizer.

    @pytest.fixture(scope="module")
    def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tiny_base(tmp_path_factory.mktemp("base") / "tiny")

Where it is used, mark the test `train`: it skips without the finetune extra.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness import settings
from harness.api.skill import Call
from harness.errors import ModelUnavailable
from harness.models import registry
from harness.models.pool import ModelPool, Models
from harness.models.weights import FileStore
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.plugin import Finetune
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.run_folder import RunDir, StageContext
from skills.nanda.framework import nanda

SMOLLM2 = "smollm2-135m-instruct"
HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 64, 2, 4, 2, 128
VERSION = 2
"""Version of the output of `tiny_base`, which is cached."""


def tiny_base(folder: Path) -> Path:
    """Copy a random llama as transformers saves it to `folder`; always the same bytes.

    It is made once on a machine, in the user's cache, and copied to `folder`, 10 MB.
    """
    pytest.importorskip("torch", reason="needs the finetune extra")
    pytest.importorskip("transformers", reason="needs the finetune extra")
    made = settings.from_environment().cache_dir / "tests" / f"tiny-base-{VERSION}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            _make(made)
    shutil.copytree(made, folder)
    return folder


def smollm2() -> Path:
    """Return the GGUF of SmolLM2-135M-Instruct; skip if it cannot be downloaded."""
    configured = settings.from_environment()
    shipped = registry.load(configured.shipped_registry)
    try:
        return FileStore(shipped.files, configured.cache_dir, print).ensure(SMOLLM2)
    except ModelUnavailable as exc:
        pytest.skip(f"the base model can be neither found nor fetched: {exc}")


def work_over(
    folder: Path,
    base: str | Path,
    changes: Mapping[str, Any] | None = None,
    data: Path | None = None,
    dev: Path | None = None,
) -> StageContext:
    """Return a run in `folder`/out with the shipped registry and a cache in `folder`."""
    recipe = overridden(Recipe(), {"base": str(base), **(changes or {})})
    own = fake_settings(folder)
    call = Call(
        text="",
        options=Finetune.Options(),
        models=Models(ModelPool(registry.load(own.shipped_registry), {})),
        screen=Screen(io.StringIO(), io.StringIO()),
        log=Run(),
        settings=own,
    )
    return StageContext(call, recipe, RunDir.of(folder / "out", recipe), nanda(), data, dev)


def messages_of(context: StageContext) -> str:
    """Return the messages of a run on stderr."""
    assert isinstance(context.call.screen.err, io.StringIO)
    return context.call.screen.err.getvalue()


def _make(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from skills.finetune.model.bases import unpack_tokenizer
    from skills.finetune.run_folder import partial

    with partial(folder) as temporary, torch.random.fork_rng():
        unpack_tokenizer(smollm2(), temporary)
        tokenizer = AutoTokenizer.from_pretrained(temporary)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=INTERMEDIATE,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(temporary)
