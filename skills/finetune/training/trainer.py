"""Load the model, and train it with the trainer of transformers and a weighted loss.

The loss of a step covers the completion tokens t of all its rows, and the decisions d of the model
whether a move is stated. The weight w of a token is the weight of its row. The weight of a decision
is the weight of its row times the weight in the recipe (`recipe.Decisions`).

    loss = -(sum_t w_t log p(t) + sum_d w_d log q(d)) / (sum_t w_t + sum_d w_d)

Here p(t) is the probability of the token given the text before it. If the move is not stated, q(d)
is the probability of the token that means "not stated"; if it is stated, q(d) is 1 minus this
probability. A stated move has no decision if its text starts with that token (`prepare.Renderer`).
The sums run over all batches of the step, so accumulation gives the same result as one large batch
(as with `num_items_in_batch` of transformers). With equal weights and no decisions, the loss is the
mean over the step's completion tokens.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from skills.finetune import ranks
from skills.finetune.model.resources import device_kind
from skills.finetune.recipe import Recipe
from skills.finetune.tokenization.prepared_rows import IGNORED, Prepared, by_length, collate
from skills.finetune.training.callbacks import TrainingCallbacks
from skills.finetune.training.checkpoints import STAGING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

FSDP = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "reshard_after_forward": True,
    # Rank 0 writes the whole adapter to a single adapter_model.safetensors.
    "state_dict_type": "FULL_STATE_DICT",
    "cpu_ram_efficient_loading": False,  # if True, some ranks do not load NF4 weights
}
"""Settings of accelerate for FSDP: ranks divide each decoder layer, and gather it for use."""
POINTS = 10
"""Minimum number of points of the loss curve, unless the run has fewer steps."""


def make_trainer(model: Any, prepared: Prepared, watch: TrainingCallbacks) -> Any:
    """Return a trainer; call its `train(resume_from_checkpoint=...)` to start it.

    Args:
        model: the result of `load_model`.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class CompletionTrainer(_Completions, Trainer):  # type: ignore[misc]
        pass

    hooks = {name: staticmethod(getattr(watch, name)) for name in dir(watch) if name[:3] == "on_"}
    trainer = CompletionTrainer(
        model=model,
        args=_arguments(watch, evaluates=bool(prepared.dev)),
        train_dataset=list(prepared.train),
        eval_dataset=list(prepared.dev) or None,
        callbacks=[type("Watching", (TrainerCallback,), hooks)()],
    )
    trainer.remove_callback(PrinterCallback)  # this callback prints to stdout
    trainer.prepared, trainer.watch = prepared, watch
    return trainer


class _Completions:
    """Methods that replace methods of the trainer of transformers."""

    loss_is_scaled_for_ga: bool | None = True
    """True, so that the trainer does not divide the loss by the number of accumulated batches.

    `compute_loss` divides the loss by the total weight that `get_batch_samples` returns.
    """
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
        """Count a step's tokens; return this rank's part of each batch, and the loss divisor."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        if not batches:
            return batches, None
        self.watch.step_tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        # The gradients of the ranks are averaged, but the step needs their sum.
        total = total_weight(batches).to(device) / ranks.world()
        return [share(batch) for batch in batches], total

    def compute_loss(
        self: Any,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """Return the loss that a batch contributes to the step, and count it in `watch`."""
        losses, weights = self.losses(model, inputs)
        loss = weighted_loss(losses, weights, num_items_in_batch)
        self.watch.count(loss)
        return loss

    def losses(self: Any, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the result of `completion_losses`, called under autocast to the compute type."""
        import torch

        compute = getattr(torch, self.watch.run.recipe.quantization.compute)
        kind = self.args.device.type
        with torch.autocast(kind, dtype=compute, enabled=compute != torch.float32):
            return completion_losses(model, inputs)

    def evaluate(
        self: Any,
        eval_dataset: Any = None,
        ignore_keys: Any = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return and log the unweighted mean loss of the completion tokens of the dev rows."""
        import torch

        dev = [replace(row, decisions=()) for row in self.prepared.dev]
        pad = self.prepared.pad
        total, tokens = 0.0, 0.0
        self.model.eval()
        with torch.no_grad():
            for rows in by_length(dev, self.watch.run.recipe.training.batch):
                batch = share(collate([dev[row] for row in rows], pad))
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


def _arguments(watch: TrainingCallbacks, *, evaluates: bool) -> Any:
    """Return the arguments of the trainer for a run.

    A short run logs more often, so that the loss curve has several points. The setting `max_steps`
    is not passed, since it would change the schedule of the learning rate.
    """
    from transformers import TrainingArguments

    run, recipe, training = watch.run, watch.run.recipe, watch.run.recipe.training
    args = TrainingArguments(
        output_dir=str(run.folder / STAGING),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup,  # below 1, the value is a share of all steps (transformers 5)
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=training.optimizer,
        fp16=recipe.quantization.compute == "float16",
        logging_steps=max(1, min(training.log_steps, run.steps.last // POINTS)),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=training.eval_steps if evaluates else None,
        # Measure the dev loss of the adapter that training starts from, for comparison.
        eval_on_start=evaluates and not watch.pace.done and recipe.adapter.start_from is not None,
        metric_for_best_model="eval_loss" if evaluates else None,
        save_steps=training.save_steps,
        seed=training.seed,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        use_cpu=device_kind() == "cpu",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # the buffers are constants
        fsdp=run.is_sharded or None,
        fsdp_config=dict(FSDP) if run.is_sharded else None,
    )
    args._n_gpu = min(args.n_gpu, 1)  # otherwise, each of several GPUs would get a model copy
    return args


def share(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the rows of a batch that this rank computes: every n-th row for n ranks.

    A rank without a row gets a row without loss, since all ranks must take part in each step.

    Args:
        batch: the result of `prepared_rows.collate`.
    """
    own = {name: rows[ranks.rank() :: ranks.world()] for name, rows in batch.items()}
    if len(own["labels"]):
        return own
    first = {name: rows[:1] for name, rows in batch.items()}
    return {**first, "labels": first["labels"].new_full((), IGNORED).expand_as(first["labels"])}


def completion_losses(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the loss (negative log likelihood) of each completion token and of each decision.

    The model's own forward pass computes the logits, but only for positions that predict a
    completion token, since the logits over a large vocabulary take most of the memory. The losses
    are computed in float32.

    Args:
        model: a causal model of transformers, with or without an adapter of peft.
        batch: the result of `prepared_rows.collate`, B x T.

    Returns: the losses and their weights, as two float32 vectors. In each vector, the values of the
        completion tokens precede the values of the decisions.
    """
    import torch

    targets = batch["labels"][:, 1:]
    predicted = targets != IGNORED
    keep = torch.nn.functional.pad(predicted, (0, 1), value=False)
    with only(model, keep):
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
    logits, tokens = logits.float(), targets[predicted]
    losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    weights, deciding = batch["weights"][:, 1:][predicted], batch["deciding"][:, 1:][predicted]
    decides = deciding > 0
    if not decides.any():
        return losses, weights
    not_stated = batch["not_stated"][:, 1:][predicted][decides]
    decided = decision_losses(logits[decides], not_stated, tokens[decides] != not_stated)
    return torch.cat((losses, decided)), torch.cat((weights, deciding[decides]))


def decision_losses(logits: Tensor, not_stated: Tensor, stated: Tensor) -> Tensor:
    """Return the loss of each decision: the binary cross-entropy of a token against all others.

    The log-odds of a token are its logit minus the logsumexp of all other logits. This difference
    remains precise if the probability is close to 0 or 1.

    Args:
        logits: n x vocabulary.
        not_stated: for each decision, the token that means "not stated", int64 of n.
        stated: True for each stated move, bool of n.

    Returns: the losses, float32 of n.
    """
    import torch

    own = logits.gather(1, not_stated[:, None])[:, 0]
    others = logits.scatter(1, not_stated[:, None], float("-inf")).logsumexp(dim=1)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        own - others, (~stated).float(), reduction="none"
    )


def weighted_loss(losses: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Return the part of a step's loss that a batch adds: the weighted sum divided by `total`.

    Args:
        losses, weights: the result of `completion_losses`.
        total: the `total_weight` of all batches of the step, divided by the number of ranks.
    """
    return (losses * weights).sum() / total


def total_weight(batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return the total weight of completion tokens and decisions in batches, a float32 scalar."""
    import torch

    sums = [batch[name].sum() for batch in batches for name in ("weights", "deciding")]
    return torch.stack(sums).sum()


@contextmanager
def only(model: Any, keep: Tensor) -> Iterator[None]:
    """Within the block, let the model return logits only for n positions, as n x vocabulary.

    Args:
        keep: True for each of the n positions, bool of B x T.
    """

    def select(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][keep], *inputs[1:])

    inner = getattr(model, "module", model)  # DistributedDataParallel wraps the model
    handle = inner.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, hide warnings of libraries, since a user cannot act on them."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@quiet()
def load_model(
    folder: Path, recipe: Recipe, *, adapted: bool = True, is_sharded: bool = False
) -> Any:
    """Return the base with a new adapter, which has no effect yet.

    Only the adapter is trainable. The result is the same as after `prepare_model_for_kbit_training`
    of peft, except that weights which are not quantized keep their type: in float32, as in peft,
    the embedding and output layer of a 7B model would need 4.4 GB instead of 2.2 GB. Norms compute
    in float32, and the adapter is in float32.

    This function seeds torch with the seed of the recipe, since the adapter's weights are random.

    Args:
        adapted: False to load the base without an adapter.
        is_sharded: True if FSDP will divide the base among the ranks.

    Raises:
        InputError: the folder has no model that can be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, set_seed
    from transformers.utils import logging as their_logging

    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    kind = device_kind()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=getattr(torch, recipe.quantization.compute),
            quantization_config=_quantization(recipe, is_sharded=is_sharded),
            device_map={"": ranks.local_rank() if kind == "cuda" else "cpu"},
            local_files_only=True,
            use_safetensors=True,
        )
    except (OSError, ValueError) as exc:
        raise InputError(f"the base cannot be loaded: {exc}", where=str(folder)) from exc
    if recipe.quantization.kind == "nf4" and recipe.quantization.unpacked:
        _unpack(model, getattr(torch, recipe.quantization.compute))
    model.config.use_cache = False
    model.requires_grad_(False)
    if recipe.training.checkpointing:
        # Only new versions of transformers have `activation_checkpointing_enable`. Reentrant
        # checkpointing would require an input with a gradient.
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    set_seed(recipe.training.seed)
    return _with_adapter(model, recipe) if adapted else model


def _quantization(recipe: Recipe, *, is_sharded: bool) -> Any:
    """Return the settings of bitsandbytes for NF4, or None without quantization.

    FSDP divides only tensors of a floating-point type. So, with FSDP, the packed weights are stored
    as tensors of the compute type; as uint8, they would stay whole in every rank.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if recipe.quantization.kind == "none":
        return None
    compute = getattr(torch, recipe.quantization.compute)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=recipe.quantization.double,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=compute if is_sharded else None,
    )


def _unpack(model: Any, compute: Any) -> None:
    """Replace each NF4 layer with a linear layer that has the dequantized weights.

    Results do not change, since bitsandbytes dequantizes to the same weights for every matrix
    product. The attributes that mark a model as quantized are reset or removed, so that
    transformers and peft treat the model as not quantized.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for name, packed in list(model.named_modules()):
        if isinstance(packed, Linear4bit):
            weight = dequantize_4bit(packed.weight.data, packed.weight.quant_state).to(compute)
            plain = torch.nn.Linear(packed.in_features, packed.out_features, device="meta")
            plain.weight, plain.bias = torch.nn.Parameter(weight), packed.bias
            model.set_submodule(name, plain)
    model.is_quantized = model.is_loaded_in_4bit = False
    model.hf_quantizer = model.quantization_method = None
    del model.config.quantization_config


def _with_adapter(model: Any, recipe: Recipe) -> Any:
    """Return the model with a new adapter; `resources.adapted` checked the names of its layers."""
    from peft import LoraConfig, get_peft_model

    adapter = recipe.adapter
    targets = adapter.targets
    # Store an integer if possible, since converters expect an integer.
    alpha: Any = int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
