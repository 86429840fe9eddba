"""Count the tokens of the rows of a planned run, from prepared rows or from the data set."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError
from skills.finetune.dataset.token_counts import RENDERED, open_counter, with_progress
from skills.finetune.model.bases import chat_template, end_tokens, open_tokenizer, tokenizer_folder
from skills.finetune.run_folder import StageContext
from skills.finetune.tokenization.examples import read_split
from skills.finetune.tokenization.prepare import Renderer, row_inputs
from skills.finetune.tokenization.prepared_rows import read_prepared

TEMPLATE_TOKENS = 16
"""Assumed number of tokens that a chat template adds to a row, if only the texts are counted.

ChatML adds 4 tokens and one or two line breaks to each of system text, prompt and completion.
"""
Pieces = tuple[tuple[str, bool], ...]
"""The text of a row, cut into pieces; the bool is True if the loss includes the piece."""


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """The numbers of tokens of the rows of a run.

    Attributes:
        lengths: number of tokens of each training row, prompt and completion together.
        completions: number of tokens of the completion of each training row, including the end
            token.
        dev: number of dev rows.
        too_long: number of training rows longer than `max_length`. The stage `prepare` refuses such
            rows; `lengths` and `completions` do not contain them.
        source: the method of counting, as a clause.
        estimated: True if the numbers of tokens are estimates.
        sample: the text of one row, for display.
        decoded: True if the sample is decoded from tokens, with the chat template of the base;
            otherwise the sample is the text in the data set, without template and end token.
    """

    lengths: tuple[int, ...]
    completions: tuple[int, ...]
    dev: int
    too_long: int
    source: str
    estimated: bool
    sample: Pieces
    decoded: bool

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Number of tokens of one epoch, without padding."""
        return sum(self.lengths)

    def up_to(self, length: int) -> PlannedRows:
        """Return a copy without rows of more than `length` tokens, which count as `too_long`."""
        pairs = zip(self.lengths, self.completions, strict=True)
        kept = [pair for pair in pairs if pair[0] <= length]
        return replace(
            self,
            lengths=tuple(one for one, _ in kept),
            completions=tuple(one for _, one in kept),
            too_long=self.too_long + self.count - len(kept),
        )


def planned_rows(context: StageContext) -> PlannedRows:
    """Return token counts of the prepared rows if they are current, otherwise of the data set.

    Raises:
        InputError: the data set or one of its rows is invalid.
        UsageError: there are no prepared rows and no data set.
    """
    if (prepared := _prepared(context)) is not None:
        return prepared
    if context.data is None:
        raise UsageError(
            f"there are no rows: nothing is prepared in {context.run_dir.folder}",
            hint="Name a data set of `/finetune dataset`: `/finetune plan train.jsonl`.",
        )
    return _counted(context, context.data)


def _prepared(context: StageContext) -> PlannedRows | None:
    """Return the token counts of the prepared rows, or None if rows are missing or outdated.

    The base of the recipe and the base of the prepared rows are compared by name only, since
    the digest comes from `open_base`, which may have to unpack a GGUF.
    """
    entry = context.run_dir.entry("prepare")
    if entry is None or not context.run_dir.is_current("prepare", entry.inputs):
        return None
    wanted = row_inputs(context, entry)
    if any(entry.inputs.get(name) != value for name, value in wanted.items()):
        return None
    prepared = read_prepared(context.run_dir.prepared)
    if prepared.facts.get("base") != context.recipe.base:
        return None
    return PlannedRows(
        tuple(prepared.lengths),
        tuple(prepared.completions),
        len(prepared.dev),
        0,
        f"as prepared in {context.run_dir.prepared}",
        estimated=False,
        sample=tuple((text, in_loss) for text, in_loss in prepared.facts.get("sample", ())),
        decoded=True,
    )


def _counted(context: StageContext, data: Path) -> PlannedRows:
    """Return the token counts of the rows of a data set; no file is downloaded.

    The sample is rendered as in training if tokenizer, chat template and packages are available. If
    the base is a GGUF of the registry or not on this machine, `open_counter` chooses the tokenizer.
    """
    recipe, call, folder = context.recipe, context.call, tokenizer_folder(context)
    parted = read_split(data, context.dev, recipe)
    is_gguf = recipe.base in call.models.registry.files
    tokenizer = None if is_gguf or folder is None else folder / "tokenizer.json"
    cache, notice = call.settings.cache_dir, call.screen.notice
    pairs: list[tuple[int, int]] = []
    with (
        call.screen.progress("counting tokens") as tick,
        open_counter(tokenizer, call.models.registry, cache, notice) as counter,
    ):
        around = 0 if counter.counts == RENDERED else TEMPLATE_TOKENS
        for row in with_progress(parted.train, tick):
            system = [one["content"] for one in row.messages if one["role"] == "system"]
            others = [one["content"] for one in row.messages if one["role"] != "system"]
            prompt, completion = counter.count("\n".join(system), "\n".join(others), row.completion)
            pairs.append((prompt + completion + around + 1, completion + 1))
    first = parted.train[0]
    given = "".join(f"{message['content']}\n" for message in first.messages)
    sample: Pieces = ((given, False), (first.completion, True))
    installed = all(importlib.util.find_spec(name) for name in ("transformers", "jinja2"))
    decoded = folder is not None and installed and bool(chat_template(folder))
    if folder is not None and decoded:
        renderer = Renderer(open_tokenizer(folder), end_tokens(folder))
        sample = tuple(renderer.pieces(renderer.row_of(first)))
    rows = PlannedRows(
        tuple(length for length, _ in pairs),
        tuple(completion for _, completion in pairs),
        len(parted.dev),
        0,
        f"counted in {data.name} by {counter.name}",
        estimated=True,
        sample=sample,
        decoded=decoded,
    )
    return rows.up_to(recipe.training.max_length)
