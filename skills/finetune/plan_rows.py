"""The rows of a run and their lengths: as prepared, or counted in the data set."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.runs import targets
from harness.support.text_input import regular_file
from skills.finetune.dataset.token_counts import RENDERED, open_counter, with_progress
from skills.finetune.model.bases import chat_template, end_tokens, open_tokenizer, tokenizer_folder
from skills.finetune.model.resources import Batch
from skills.finetune.run_folder import StageContext
from skills.finetune.tokenization.examples import Example, read_split
from skills.finetune.tokenization.prepare import Renderer
from skills.finetune.tokenization.prepared_rows import read_prepared

PREPARE_STAGE = "prepare"
TEMPLATE_TOKENS = 16
"""Tokens that a chat template adds to system, prompt and completion, if it is not counted: ChatML
has 4 tokens and one or two line breaks for each of the three."""


Pieces = tuple[tuple[str, bool], ...]
"""The text of a row in order, each piece with whether the loss includes it."""


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """The rows of training.

    Attributes:
        lengths: tokens of each row, prompt and completion.
        completions: tokens of each completion, with the end token.
        dev: number of rows to measure on.
        too_long: rows over `max_length`, which `prepare` refuses; not part of the others.
        source: how they were counted, as a clause.
        estimated: the numbers may differ from those of training.
        sample: one row for display.
        decoded: the sample is decoded from tokens, with the base's chat template; otherwise it is
            the text of the data set, without template and end token.
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
        """Tokens of one epoch, without padding."""
        return sum(self.lengths)

    def up_to(self, length: int) -> PlannedRows:
        """Return the rows of at most `length` tokens."""
        pairs = zip(self.lengths, self.completions, strict=True)
        kept = [pair for pair in pairs if pair[0] <= length]
        return replace(
            self,
            lengths=tuple(one for one, _ in kept),
            completions=tuple(one for _, one in kept),
            too_long=self.too_long + self.count - len(kept),
        )

    def largest(self, batch: int) -> Batch:
        """Return the largest batch."""
        return Batch.largest(self.lengths, self.completions, batch)


def planned_rows(context: StageContext) -> PlannedRows:
    """Return the prepared rows if they are current, else those of the data set.

    Raises:
        InputError: the data set or one of its rows is invalid.
        UsageError: there is neither.
    """
    if (prepared := _prepared(context)) is not None:
        return prepared
    if context.data is None:
        raise UsageError(
            f"there are no rows: nothing is prepared in {context.run_dir.folder}",
            hint="Name a data set of `/finetune dataset`: `/finetune plan train.jsonl`.",
        )
    with context.call.screen.progress("counting tokens") as tick:
        return _counted(context, context.data, tick)


def sample_of(context: StageContext, row: Example) -> tuple[Pieces, bool]:
    """Return a row as training sees it, or as the data set has it, and whether it is decoded.

    Nothing is fetched, and no weights are loaded.

    Raises:
        InputError: the base's chat template does not fit the row.
    """
    folder = tokenizer_folder(context)
    installed = all(importlib.util.find_spec(name) for name in ("transformers", "jinja2"))
    if folder is None or not installed or not chat_template(folder):
        given = "".join(f"{message['content']}\n" for message in row.messages)
        return ((given, False), (row.completion, True)), False
    renderer = Renderer(open_tokenizer(folder), end_tokens(folder))
    return tuple(renderer.pieces(renderer.row_of(row))), True


def _prepared(context: StageContext) -> PlannedRows | None:
    """Return the prepared rows; None if there are none of this data and recipe.

    The base is compared by name only, since reading it may require unpacking it.
    """
    entry = context.run_dir.entry(PREPARE_STAGE)
    if entry is None or not context.run_dir.is_current(PREPARE_STAGE, entry.inputs):
        return None
    wanted: dict[str, Any] = {"max_length": context.recipe.training.max_length}
    if context.data is not None:
        wanted["data"] = targets.digest(regular_file(context.data))
    if context.dev is not None:
        wanted["dev"] = targets.digest(regular_file(context.dev))
    elif entry.inputs.get("dev") is None:
        wanted |= {"dev_share": context.recipe.dev_share, "seed": context.recipe.training.seed}
    elif context.data is not None:
        return None
    if any(entry.inputs.get(name) != value for name, value in wanted.items()):
        return None
    prepared = read_prepared(context.run_dir.prepared)
    if prepared.facts.get("base") != context.recipe.base:
        return None
    return PlannedRows(
        tuple(len(row.input_ids) for row in prepared.train),
        tuple(len(row.input_ids) - row.completion_start for row in prepared.train),
        len(prepared.dev),
        0,
        f"as prepared in {context.run_dir.prepared}",
        estimated=False,
        sample=tuple((text, in_loss) for text, in_loss in prepared.facts.get("sample", ())),
        decoded=True,
    )


def _counted(context: StageContext, data: Path, tick: Callable[[str], None]) -> PlannedRows:
    recipe, call = context.recipe, context.call
    parted = read_split(data, context.dev, recipe)
    pairs: list[tuple[int, int]] = []
    with open_counter(
        _tokenizer(context), call.models.registry, call.settings.cache_dir, call.screen.notice
    ) as counter:
        around = 0 if counter.counts == RENDERED else TEMPLATE_TOKENS
        for row in with_progress(parted.train, tick):
            prompt, completion = counter.count(_texts(row))
            pairs.append((prompt + completion + around + 1, completion + 1))
    sample, decoded = sample_of(context, parted.train[0])
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


def _texts(row: Example) -> Mapping[str, str]:
    """Return a row in the form that a token counter takes."""
    messages = row.messages
    system = "\n".join(one["content"] for one in messages if one["role"] == "system")
    prompt = "\n".join(one["content"] for one in messages if one["role"] != "system")
    return {"system": system, "prompt": prompt, "completion": row.completion}


def _tokenizer(context: StageContext) -> Path | None:
    """Return the base's tokenizer.json; the embedded engine counts for a GGUF of the registry."""
    is_gguf = context.recipe.base in context.call.models.registry.files
    folder = None if is_gguf else tokenizer_folder(context)
    return folder and folder / "tokenizer.json"
