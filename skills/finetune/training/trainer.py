"""The trainer of transformers with the batches and the loss of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skills.finetune.model.loading import device_kind
from skills.finetune.preparation.batches import Prepared, by_length, collate, share
from skills.finetune.run import ranks
from skills.finetune.run.recipe import Recipe
from skills.finetune.training.checkpoints import STAGING
from skills.finetune.training.loss import completion_losses, total_weight, weighted_loss
from skills.finetune.training.watch import TrainingCallbacks

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader


FSDP = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "reshard_after_forward": True,
    "state_dict_type": "FULL_STATE_DICT",  # so that rank 0 writes one adapter_model.safetensors
    "cpu_ram_efficient_loading": False,  # not for weights in NF4, which each rank loads
}
"""Settings of accelerate: each decoder layer is divided, and gathered for its use."""
POINTS = 10
"""The fewest points of the loss curve, if the run has as many steps."""


def make_trainer(
    model: Any,
    recipe: Recipe,
    prepared: Prepared,
    watch: TrainingCallbacks,
    *,
    is_sharded: bool = False,
) -> Any:
    """Return a trainer, to be started with `train(resume_from_checkpoint=...)`.

    Args:
        model: of `loading.load_model`.
        is_sharded: FSDP divides the base among the ranks.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class CompletionTrainer(_Completions, Trainer):  # type: ignore[misc]
        pass

    hooks = {name: staticmethod(getattr(watch, name)) for name in dir(watch) if name[:3] == "on_"}
    trainer = CompletionTrainer(
        model=model,
        args=_arguments(
            recipe,
            watch.folder / STAGING,
            evaluates=bool(prepared.dev),
            last=watch.schedule.last,
            resumed=watch.pace.done > 0,
            is_sharded=is_sharded,
        ),
        train_dataset=list(prepared.train),
        eval_dataset=list(prepared.dev) or None,
        callbacks=[type("Watching", (TrainerCallback,), hooks)()],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout
    trainer.recipe, trainer.prepared, trainer.watch = recipe, prepared, watch
    return trainer


class _Completions:
    """The overrides of the trainer of transformers."""

    loss_is_scaled_for_ga: bool | None = True
    """The loss is divided by the total of `get_batch_samples`, not by the number of batches."""
    recipe: Recipe
    prepared: Prepared
    watch: TrainingCallbacks

    def get_train_dataloader(self) -> DataLoader[Any]:
        from torch.utils.data import DataLoader

        return DataLoader(
            list(self.prepared.train),
            batch_sampler=self.watch.order,
            collate_fn=lambda rows: collate(rows, self.prepared.pad),
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: Any
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Return this rank's share of the batches of a step, and the divisor of its loss."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        if not batches:
            return batches, None
        self.watch.step_tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        # The gradients of the ranks are averaged, and their sum is that of the step.
        total = total_weight(batches).to(device) / ranks.world()
        return [self.share(batch) for batch in batches], total

    def share(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the rows of a batch that this rank computes."""
        return dict(share(batch, ranks.rank(), ranks.world()))

    def compute_loss(
        self: Any,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        losses, weights = self.losses(model, inputs)
        loss = weighted_loss(losses, weights, num_items_in_batch)
        self.watch.count(loss)
        return loss

    def losses(self: Any, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return `completion_losses` in the recipe's compute type."""
        import torch

        compute = getattr(torch, self.recipe.quantization.compute)
        kind = self.args.device.type
        with torch.autocast(kind, dtype=compute, enabled=compute != torch.float32):
            return completion_losses(model, inputs)

    def evaluate(
        self: Any,
        eval_dataset: Any = None,
        ignore_keys: Any = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return the mean loss over the completion tokens of the dev rows, without weights."""
        import torch

        dev = [replace(row, decisions=()) for row in self.prepared.dev]
        pad = self.prepared.pad
        total, tokens = 0.0, 0.0
        self.model.eval()
        with torch.no_grad():
            for rows in by_length(dev, self.recipe.training.batch):
                batch = self.share(collate([dev[row] for row in rows], pad))
                inputs = self._prepare_inputs(batch)
                losses, _ = self.losses(self.model, inputs)
                total += float(losses.double().sum())
                tokens += len(losses)
        total, tokens = ranks.summed(total, tokens)
        metrics = {"eval_loss": total / tokens}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


def _arguments(
    recipe: Recipe, staging: Path, *, evaluates: bool, last: int, resumed: bool, is_sharded: bool
) -> Any:
    """Return the settings of transformers that differ from its defaults.

    A short run logs more often, so that its curve has more than a point. `max_steps` is not among
    them: it would change the learning rate's schedule.
    """
    from transformers import TrainingArguments

    training = recipe.training
    args = TrainingArguments(
        output_dir=str(staging),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        per_device_eval_batch_size=training.batch,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup,  # below 1: a share of all steps (transformers 5)
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=training.optimizer,
        fp16=recipe.quantization.compute == "float16",
        logging_steps=max(1, min(training.log_steps, last // POINTS)),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=training.eval_steps if evaluates else None,
        # The loss of the adapter that training continues from, for comparison.
        eval_on_start=evaluates and not resumed and recipe.adapter.start_from is not None,
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        save_strategy="steps",
        save_steps=training.save_steps,
        seed=training.seed,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        use_cpu=device_kind() == "cpu",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # they are constants
        fsdp=is_sharded or None,
        fsdp_config=dict(FSDP) if is_sharded else None,
    )
    args._n_gpu = min(args.n_gpu, 1)  # with several, each gets a copy of the model
    return args
