"""The rows a run will train on, and their lengths: as prepared, or counted in the data set."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import output
from harness.errors import InputError, UsageError
from skills.finetune.batches import read_prepared
from skills.finetune.memory_terms import Batch
from skills.finetune.recipe import Recipe
from skills.finetune.token_counts import RENDERED, open_counter
from skills.finetune.work import Work

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
        too_long: rows over `max_length`, which are refused and not among the others.
        source: how they were counted, as a clause.
        estimated: whether that is not what training will see.
        sample: pieces of one decoded row as (text, whether it is in the loss); () if unprepared.
    """

    lengths: tuple[int, ...]
    completions: tuple[int, ...]
    dev: int
    too_long: int
    source: str
    estimated: bool
    sample: tuple[tuple[str, bool], ...] = ()

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


def rows_of(work: Work) -> Rows:
    """The rows as they are prepared, where that is current; else as the data set has them.

    Raises:
        InputError: the data set cannot be read, or a row of it is none.
        UsageError: there is neither.
    """
    if (prepared := _prepared(work)) is not None:
        return prepared
    if work.data is None:
        raise UsageError(
            f"there are no rows: nothing is prepared in {work.out.folder}",
            hint="Name the data set that `/finetune dataset` made: `/finetune plan train.jsonl`.",
        )
    with work.call.screen.progress("counting tokens") as tick:
        return _counted(work, work.data, tick)


def _prepared(work: Work) -> Rows | None:
    """What `prepare` has left; None where it was not done, or not of this data and this recipe."""
    entry = work.out.entry(STAGE)
    if entry is None or not work.out.is_current(STAGE, entry.inputs):
        return None
    named = set(_texts(entry.inputs))
    files = [path for path in (work.data, work.dev) if path is not None]
    if not all(output.digest(path) in named for path in files if path.is_file()):
        return None
    prepared = read_prepared(work.out.prepared)
    if prepared.facts.get("base") != work.recipe.base:
        return None
    rows = Rows(
        tuple(len(row.input_ids) for row in prepared.train),
        tuple(len(row.input_ids) - row.start for row in prepared.train),
        len(prepared.dev),
        0,
        f"as prepared in {work.out.prepared}",
        estimated=False,
        sample=_sample(prepared.facts.get("sample")),
    )
    return rows.up_to(work.recipe.training.max_length)


def _counted(work: Work, data: Path, tick: Any) -> Rows:
    examples = list(read_examples(data))
    gold = sum(row.get("source") == "gold" for row in examples)
    dev = len(list(read_examples(work.dev))) if work.dev else _held_out(gold, work.recipe)
    pairs: list[tuple[int, int]] = []
    call = work.call
    with open_counter(
        _tokenizer(work.recipe.base),
        call.models.registry,
        call.settings.cache_dir,
        call.screen.notice,
    ) as counter:
        around = 0 if counter.counts == RENDERED else TEMPLATE_TOKENS
        for number, row in enumerate(examples, start=1):
            prompt, completion = counter.count(row)
            pairs.append((prompt + completion + around + 1, completion + 1))
            if number % 100 == 0:
                tick(f"{number:,} of {len(examples):,} rows")
    # Which gold rows will be held out is not known yet: the shortest stand for them.
    kept = sorted(pairs)[0 if work.dev else min(dev, len(pairs)) :]
    rows = Rows(
        tuple(length for length, _ in kept),
        tuple(completion for _, completion in kept),
        dev,
        0,
        f"counted in {data.name} by {counter.name}",
        estimated=True,
    )
    return rows.up_to(work.recipe.training.max_length)


def read_examples(data: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a data set, one at a time.

    Raises:
        InputError: the file cannot be read, or a line of it is no row with a prompt and a
            completion.
    """
    try:
        with data.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _example(line, f"{data}:{number}")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InputError(f"cannot be read: {reason}", where=str(data)) from exc


def _example(line: str, where: str) -> Mapping[str, Any]:
    hint = "A data set is a .jsonl that `/finetune dataset` made."
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise InputError(f"is no JSON: {exc}", where=where, hint=hint) from exc
    if not isinstance(row, dict):
        raise InputError("is no row", where=where, hint=hint)
    for name in ("system", "prompt", "completion"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise InputError(f"has no {name}", where=where, hint=hint)
    return row


def _held_out(gold: int, recipe: Recipe) -> int:
    """Gold rows that are measured on where no file of them is named."""
    return round(gold * recipe.dev_share)


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


def _sample(found: Any) -> tuple[tuple[str, bool], ...]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    return tuple((str(text), bool(in_loss)) for text, in_loss in found)


def _texts(value: Any) -> Iterator[str]:
    """All texts within a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one)
