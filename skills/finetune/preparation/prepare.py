"""The stage `prepare`: a data set parted, rendered and tokenized for one base.

    OUT/prepared/train.jsonl, dev.jsonl    a row a line, as `tokens.Tokens` has it
    OUT/prepared/prepared.json             what was found on the way

Nothing is ever cut off: a row that is too long is refused by its id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.runs import targets
from harness.support.optional_deps import require
from harness.support.text_input import regular_file
from skills.finetune.data.token_counts import histogram
from skills.finetune.model.bases import Base, open_base, open_tokenizer
from skills.finetune.model.folder import end_tokens, template_sha256
from skills.finetune.preparation.answers import check_answers, unread
from skills.finetune.preparation.batches import order
from skills.finetune.preparation.decisions import Decider
from skills.finetune.preparation.examples import Example, read_examples
from skills.finetune.preparation.split import Split, split
from skills.finetune.preparation.tokens import Renderer, Tokens
from skills.finetune.run.run_dir import Done, partial
from skills.finetune.run.stage import Stage, StageContext

FORMAT = 2
"""Of the files this stage writes."""
NAMED = 10
"""Rows that a sentence names; of more it says how many there are."""
Tick = Callable[[str], None]


def inputs(context: StageContext) -> Mapping[str, Any]:
    """All that the prepared rows depend on.

    Without a data set, those that were prepared before count as given, so that later stages can be
    done with the folder alone.

    Raises:
        InputError: the data set or the base cannot be used.
        UsageError: there is no data set, and nothing is prepared; or the extra is not installed.
    """
    require("transformers", "jinja2")
    before = context.run_dir.entry("prepare")
    if context.data is None and before is None:
        raise _no_data()
    kept = before.inputs if before is not None and context.data is None else {}
    base, training = open_base(context), context.recipe.training
    dev = targets.digest(regular_file(context.dev)) if context.dev else kept.get("dev")
    return {
        "data": targets.digest(regular_file(context.data)) if context.data else kept["data"],
        "dev": dev,
        "dev_share": None if dev else context.recipe.dev_share,
        "base": base.digest,
        "template": template_sha256(base.folder),
        "tokenizer": targets.digest(base.folder / "tokenizer.json"),
        "max_length": training.max_length,
        "batch": training.batch,
        "seed": training.seed,
        "decisions": context.recipe.decisions.model_dump(),
        "format": FORMAT,
    }


def perform(context: StageContext) -> Done:
    """Part, render and tokenize the rows; write them and what was found.

    Raises:
        InputError: a row cannot be used, naming it; or none is left.
        UsageError: there is no data set.
        OutputError: the files cannot be written.
    """
    if context.data is None:
        raise _no_data()
    context.run_dir.make()
    base = open_base(context)
    rows = split(
        read_examples(context.data),
        read_examples(context.dev) if context.dev else None,
        context.recipe.dev_share,
        context.recipe.training.seed,
    )
    check_answers([*rows.train, *rows.dev])
    decider = Decider(context.framework, context.recipe.decisions)
    renderer = Renderer(open_tokenizer(base), end_tokens(base.folder), decider)
    with context.call.screen.progress("preparing") as tick:
        train = list(_tokenized(rows.train, renderer, tick))
        dev = list(_tokenized(rows.dev, renderer, tick))
    _check_lengths([*rows.train, *rows.dev], [*train, *dev], context.recipe.training.max_length)
    facts = _facts(context, base, renderer, rows, train, dev)
    for notice in _notices(context, rows):
        context.call.screen.notice(notice)
    with partial(context.run_dir.prepared) as folder:
        _write(folder / "train.jsonl", (row.as_dict() for row in train))
        _write(folder / "dev.jsonl", (row.as_dict() for row in dev))
        text = json.dumps(facts, ensure_ascii=False, indent=2)
        (folder / "prepared.json").write_text(text, encoding="utf-8")
    return Done([context.run_dir.prepared], {"rows": facts["rows"], "padding": facts["padding"]})


STAGE = Stage("prepare", "part the rows and turn them into tokens", inputs, perform)


def _tokenized(rows: Sequence[Example], renderer: Renderer, tick: Tick) -> Iterator[Tokens]:
    for number, row in enumerate(rows, start=1):
        yield renderer.tokens_of(row)
        if number % 100 == 0:
            tick(f"{number:,} of {len(rows):,} rows")


def _check_lengths(examples: Sequence[Example], rows: Sequence[Tokens], limit: int) -> None:
    """Refuse rows that training would have to cut off.

    Raises:
        InputError: naming them.
    """
    long = [
        (example.where, f"{row.id} ({len(row.input_ids):,})")
        for example, row in zip(examples, rows, strict=True)
        if len(row.input_ids) > limit
    ]
    if long:
        these = "this row has" if len(long) == 1 else f"this row and {len(long) - 1:,} others have"
        raise InputError(
            f"{these} more than {limit:,} tokens: {_some([name for _, name in long])}",
            where=long[0][0],
            hint="Raise training.max_length of the recipe, or leave them out: nothing is cut off.",
        )


@dataclass(frozen=True, slots=True)
class _Counter:
    """Counts rows that are tokens already, for `token_counts.histogram`."""

    name: str
    sha256: str | None
    counts: str = "the row as it is trained, its end token with the completion"

    def count(self, example: Mapping[str, Any]) -> tuple[int, int]:
        start = example["completion_start"]
        return start, len(example["input_ids"]) - start


def _facts(
    context: StageContext,
    base: Base,
    renderer: Renderer,
    rows: Split,
    train: Sequence[Tokens],
    dev: Sequence[Tokens],
) -> dict[str, Any]:
    tokenizer = targets.digest(base.folder / "tokenizer.json")
    pad, end = renderer.tokenizer.pad_token_id, train[0].input_ids[-1]
    return {
        "format": FORMAT,
        "base": base.name,
        "base_digest": base.digest,
        "tokenizer_sha256": tokenizer,
        "template_sha256": template_sha256(base.folder),
        "eos_token_id": end,
        "eos_token": renderer.text([end]),
        "pad_token_id": end if pad is None else pad,
        "max_length": context.recipe.training.max_length,
        "rows": {
            "train": len(train),
            "dev": len(dev),
            "dev_from": "a file" if context.dev else f"{context.recipe.dev_share:g} of gold",
            "sources": _by_source(train),
            "kept_out": [row.id for row in rows.kept_out],
        },
        "tokens": histogram(
            _Counter(base.name, tokenizer), (row.as_dict() for row in (*train, *dev))
        ),
        "padding": _padding(train, context.recipe.training.batch, context.recipe.training.seed),
        "sample": renderer.pieces(train[0]),
    }


def _by_source(rows: Sequence[Tokens]) -> dict[str, Any]:
    """Of each source of training rows, how many there are and what weights they have."""
    count = Counter(row.source for row in rows)
    weights = {name: sorted({row.weight for row in rows if row.source == name}) for name in count}
    return {name: {"rows": count[name], "weights": weights[name]} for name in sorted(count)}


def _padding(rows: Sequence[Tokens], batch: int, seed: int) -> dict[str, int]:
    """Tokens of padding in the first epoch: as the batches are made, and in the order of rows.

    Returns: batch (rows), tokens (of all rows), grouped and ungrouped (padding).
    """
    lengths = [len(row.input_ids) for row in rows]
    numbers = range(len(rows))
    ungrouped = [list(numbers[begin : begin + batch]) for begin in numbers[::batch]]

    def padding(batches: Sequence[Sequence[int]]) -> int:
        return sum(
            max(lengths[row] for row in one) * len(one) - sum(lengths[row] for row in one)
            for one in batches
        )

    return {
        "batch": batch,
        "tokens": sum(lengths),
        "grouped": padding(order(lengths, batch, seed, 0)),
        "ungrouped": padding(ungrouped),
    }


def _notices(context: StageContext, rows: Split) -> Iterator[str]:
    if rows.kept_out:
        names = _some([row.id for row in rows.kept_out])
        yield f"{len(rows.kept_out):,} rows are not trained on, being papers of dev: {names}"
    if not rows.dev:
        why = "dev_share is 0" if not context.recipe.dev_share else "there are too few gold rows"
        yield f"no row measures the training ({why}); `--dev FILE` names some"
    yield from unread([*rows.train, *rows.dev], context.framework)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _write(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _no_data() -> UsageError:
    return UsageError(
        "there is no data set to prepare",
        hint="Name the one that `/finetune dataset` made: `/finetune prepare train.jsonl`.",
    )
