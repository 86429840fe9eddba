"""The rows a run will train on, and their lengths: as prepared, or counted in the data set."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.runs import targets
from harness.support.text_input import regular_file
from skills.finetune.data.token_counts import RENDERED, open_counter
from skills.finetune.planning.sample import Sample, sample_of
from skills.finetune.planning.terms import Batch
from skills.finetune.preparation.batches import read_prepared
from skills.finetune.preparation.examples import Example, read_examples
from skills.finetune.preparation.split import split
from skills.finetune.run.stage import StageContext

STAGE = "prepare"
TEMPLATE_TOKENS = 16
"""What a chat template puts around system, prompt and completion, where it was not counted: ChatML
has 4 tokens and a line break or two for each of the three."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of training.

    Attributes:
        lengths: tokens of each row, prompt and completion.
        completions: tokens of each completion, the end token included.
        dev: rows that are measured on.
        too_long: rows over `max_length`, which `prepare` refuses; they are not among the others.
        source: how they were counted, as a clause.
        estimated: whether that is not what training will see.
        sample: one of them with its mask.
    """

    lengths: tuple[int, ...]
    completions: tuple[int, ...]
    dev: int
    too_long: int
    source: str
    estimated: bool
    sample: Sample = field(default_factory=Sample)

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Of one epoch, without padding."""
        return sum(self.lengths)

    def up_to(self, length: int) -> Rows:
        """Those of at most so many tokens."""
        pairs = zip(self.lengths, self.completions, strict=True)
        kept = [pair for pair in pairs if pair[0] <= length]
        return replace(
            self,
            lengths=tuple(one for one, _ in kept),
            completions=tuple(one for _, one in kept),
            too_long=self.too_long + self.count - len(kept),
        )

    def largest(self, batch: int) -> Batch:
        """The largest batch that they can make, which decides over memory.

        The longest rows stand together, for batches are grouped by length.
        """
        rows = min(batch, self.count)
        return Batch(rows, max(self.lengths, default=0), max(self.completions, default=0))


def rows_of(context: StageContext) -> Rows:
    """The rows as they are prepared, where that is current; else as the data set has them.

    Raises:
        InputError: the data set cannot be read, or a row of it is none.
        UsageError: there is neither.
    """
    if (prepared := _prepared(context)) is not None:
        return prepared
    if context.data is None:
        raise UsageError(
            f"there are no rows: nothing is prepared in {context.run_dir.folder}",
            hint="Name the data set that `/finetune dataset` made: `/finetune plan train.jsonl`.",
        )
    with context.call.screen.progress("counting tokens") as tick:
        return _counted(context, context.data, tick)


def _prepared(context: StageContext) -> Rows | None:
    """What `prepare` has left; None where it was not done, or not of this data and this recipe.

    The base itself is not looked at, for that may mean to unpack it: its name must do.
    """
    entry = context.run_dir.entry(STAGE)
    if entry is None or not context.run_dir.is_current(STAGE, entry.inputs):
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
    return Rows(
        tuple(len(row.input_ids) for row in prepared.train),
        tuple(len(row.input_ids) - row.start for row in prepared.train),
        len(prepared.dev),
        0,
        f"as prepared in {context.run_dir.prepared}",
        estimated=False,
        sample=Sample(
            tuple((str(text), bool(said)) for text, said in prepared.facts.get("sample", ()))
        ),
    )


def _counted(context: StageContext, data: Path, tick: Callable[[str], None]) -> Rows:
    recipe, call = context.recipe, context.call
    parted = split(
        read_examples(data),
        read_examples(context.dev) if context.dev else None,
        recipe.dev_share,
        recipe.training.seed,
    )
    pairs: list[tuple[int, int]] = []
    with open_counter(
        _tokenizer(recipe.base), call.models.registry, call.settings.cache_dir, call.screen.notice
    ) as counter:
        around = 0 if counter.counts == RENDERED else TEMPLATE_TOKENS
        for number, row in enumerate(parted.train, start=1):
            prompt, completion = counter.count(_texts(row))
            pairs.append((prompt + completion + around + 1, completion + 1))
            if number % 100 == 0:
                tick(f"{number:,} of {len(parted.train):,} rows")
    rows = Rows(
        tuple(length for length, _ in pairs),
        tuple(completion for _, completion in pairs),
        len(parted.dev),
        0,
        f"counted in {data.name} by {counter.name}",
        estimated=True,
        sample=sample_of(context, parted.train[0]),
    )
    return rows.up_to(recipe.training.max_length)


def _texts(row: Example) -> Mapping[str, str]:
    """A row as a counter takes it."""
    said = {
        role: "\n".join(
            one["content"] for one in row.messages if (one["role"] == "system") == first
        )
        for role, first in (("system", True), ("prompt", False))
    }
    return {**said, "completion": row.completion}


def _tokenizer(base: str) -> Path | None:
    """The tokenizer.json of a base, where it is on this machine as a file of its own."""
    folder = Path(base).expanduser()
    if (own := folder / "tokenizer.json").is_file():
        return own
    if "/" not in base or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base, "tokenizer.json")
    except HFValidationError:  # a path that is not there
        return None
    return Path(found) if isinstance(found, str) else None
