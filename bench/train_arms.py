"""The arms of bench/train.py: SFTTrainer, and the stage `train` in several variants."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from skills.finetune import recipe as recipes
from skills.finetune.dataset.annotated_rows import chat_messages
from skills.finetune.model import resources
from skills.finetune.model.bases import describe, open_base, open_tokenizer
from skills.finetune.model.resources import device_kind, with_fast_compute
from skills.finetune.run_folder import StageContext
from skills.finetune.tokenization import prepared_rows
from skills.finetune.tokenization.prepared_rows import read_prepared
from skills.finetune.training import trainer
from skills.finetune.training.callbacks import (
    TrainingCallbacks,
    TrainingRun,
    peak_bytes,
    schedule,
)
from skills.finetune.training.trainer import load_model

TRL = "trl"


class Clock:
    """Counts the tokens and seconds of all steps except the first step."""

    def __init__(self) -> None:
        self.tokens = self.cells = self.steps = 0
        self.seconds = 0.0
        self.loss = 0.0
        self._begun = 0.0
        self._loaded = resident()

    def begin(self) -> None:
        self._begun = time.perf_counter()

    def count(self, attention_mask: Any, loss: Any) -> None:
        if self.steps:
            self.tokens += int(attention_mask.sum())
            self.cells += attention_mask.numel()
        self.loss = float(loss.detach())

    def end(self) -> None:
        if self.steps:
            self.seconds += time.perf_counter() - self._begun
        self.steps += 1

    def found(self) -> dict[str, Any]:
        peak = peak_bytes()
        return {
            "tokens": self.tokens,
            "seconds": round(self.seconds, 2),
            "padding": round(1 - self.tokens / self.cells, 4),
            "loss": round(self.loss, 4),
            "peak": peak,
            "over": peak - self._loaded,
        }


def with_trl(context: StageContext) -> dict[str, Any]:
    """Train with TRL's SFTTrainer and the recipe's settings, on the chat messages of the data."""
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTTrainer

    recipe, _ = with_fast_compute(context.recipe, resources.this_machine())
    base, adapter = open_base(context), recipe.adapter
    model = load_model(base.folder, packed(recipe), adapted=False)
    clock = Clock()

    class Counted(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = super().compute_loss(model, inputs, *args, **kwargs)
            clock.count(inputs["attention_mask"], found[0] if isinstance(found, tuple) else found)
            return found

    class Timed(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end()

    targets = adapter.targets
    Counted(
        model=model,
        args=sft_config(recipe, context.run_dir.folder / "trl"),
        train_dataset=sft_rows(context),
        processing_class=open_tokenizer(base.folder),
        peft_config=LoraConfig(
            r=adapter.r,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        ),
        callbacks=[Timed()],
    ).train()
    return clock.found()


def sft_config(recipe: recipes.Recipe, folder: Path) -> Any:
    from trl import SFTConfig

    training = recipe.training
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup,
        max_grad_norm=training.max_grad_norm,
        optim=training.optimizer,
        max_length=training.max_length,
        gradient_checkpointing=training.checkpointing,
        bf16=recipe.quantization.compute == "bfloat16",
        fp16=recipe.quantization.compute == "float16",
        use_cpu=device_kind() == "cpu",
        seed=training.seed,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )


def sft_rows(context: StageContext) -> Any:
    from datasets import Dataset

    assert context.data is not None
    rows = [json.loads(line) for line in context.data.read_text(encoding="utf-8").splitlines()]
    return Dataset.from_list(
        [
            {
                "prompt": chat_messages(row),
                "completion": [{"role": "assistant", "content": row["completion"]}],
            }
            for row in rows
        ]
    )


def with_ours(context: StageContext, changed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train as the stage `train` does, but without writing checkpoints.

    Args:
        changed: new values of settings of the recipe, by the name of the setting.
    """
    recipe, _ = with_fast_compute(
        recipes.overridden(context.recipe, changed or {}), resources.this_machine()
    )
    prepared, base = read_prepared(context.run_dir.prepared), open_base(context)
    facts = describe(context)
    assert facts is not None
    model = load_model(base.folder, recipe)
    clock = Clock()

    class Timed(TrainingCallbacks):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            super().on_step_begin(*args, **kwargs)
            clock.begin()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            super().on_step_end(*args, **kwargs)
            clock.end()
            args[2].should_save = False

    order = prepared_rows.Batches(prepared.lengths, recipe.training.batch, recipe.training.seed)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(
            folder=Path(folder),
            base=base.folder,
            base_name=base.name,
            facts=facts,
            recipe=recipe,
            guard={},
            steps=schedule(len(prepared.train), recipe.training),
        )
        watch = Timed(run, order, run.progress(), lambda: False)
        made = trainer.make_trainer(model, prepared, watch)
        computed = made.compute_loss

        def counted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = computed(model, inputs, *args, **kwargs)
            clock.count(inputs["attention_mask"], found)
            return found

        made.compute_loss = counted
        made.train()
    return clock.found()


def with_all_logits(context: StageContext) -> dict[str, Any]:
    """Train as `with_ours` does, but compute logits for all positions."""

    @contextmanager
    def everywhere(model: Any, keep: Any) -> Iterator[None]:
        handle = model.get_output_embeddings().register_forward_hook(
            lambda _module, _inputs, logits: logits[keep]
        )
        try:
            yield
        finally:
            handle.remove()

    with mock.patch.object(trainer, "only", everywhere):
        return with_ours(context)


def without_grouping(context: StageContext) -> dict[str, Any]:
    with mock.patch.object(prepared_rows, "GROUP", 1):
        return with_ours(context)


def packed(recipe: recipes.Recipe) -> recipes.Recipe:
    return recipes.overridden(recipe, {"quantization.unpacked": False})


ARMS: Mapping[str, Callable[[StageContext], dict[str, Any]]] = {
    TRL: with_trl,
    "ours": with_ours,
    "ours, NF4 packed": lambda context: with_ours(context, {"quantization.unpacked": False}),
    "ours, all logits": with_all_logits,
    "ours, no grouping": without_grouping,
}


def resident() -> int:
    """Return the resident bytes of this process, or on a GPU the bytes allocated by torch."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()
