"""The stage `prepare`: split, render and tokenize a data set for one base.

    OUT/prepared/train.jsonl, dev.jsonl    one `batches.Row` per line
    OUT/prepared/prepared.json             facts about the rows
    OUT/prepared/held_out.jsonl            the annotations of the dev rows, for the stage `compare`

Nothing is truncated: a row that is too long is refused by its id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.runs import targets
from harness.support.process import require
from harness.support.text_input import regular_file
from skills.finetune.data.token_counts import histogram, with_progress
from skills.finetune.model.bases import Base, open_base, open_tokenizer
from skills.finetune.model.folder import end_tokens, template_sha256
from skills.finetune.preparation.answers import check_answers, table_rows, unreadable
from skills.finetune.preparation.batches import Row, order, padding
from skills.finetune.preparation.decisions import Decider
from skills.finetune.preparation.examples import Example
from skills.finetune.preparation.split import Split, read_split
from skills.finetune.preparation.tokens import Renderer
from skills.finetune.run.run_dir import Done, partial
from skills.finetune.run.stage import Stage, StageContext

FORMAT = 2
"""Version of the files that this stage writes."""
HELD_OUT = "held_out.jsonl"
KEYS = ("id", "source", "weight", "input_ids", "completion_start", "decisions")
NAMED = 10
"""Rows named in a sentence; of more only the number is given."""
COUNTS = "the row as it is trained, its end token with the completion"


def inputs(context: StageContext) -> Mapping[str, Any]:
    """Return the inputs and settings that determine the prepared rows.

    Without a data set, the one that was prepared before is assumed, so that later stages can run
    with the folder alone.

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
    """Split, render and tokenize the rows; write them and the facts.

    Raises:
        InputError: a row cannot be used, naming it; or none is left.
        UsageError: there is no data set.
        OutputError: the files cannot be written.
    """
    if context.data is None:
        raise _no_data()
    context.run_dir.make()
    base, recipe = open_base(context), context.recipe
    examples = read_split(context.data, context.dev, recipe)
    all_examples = [*examples.train, *examples.dev]
    check_answers(all_examples)
    decider = Decider(context.framework, recipe.decisions)
    renderer = Renderer(open_tokenizer(base.folder), end_tokens(base.folder), decider)
    with context.call.screen.progress("preparing") as tick:
        rows = [renderer.row_of(example) for example in with_progress(all_examples, tick)]
    _check_lengths(all_examples, rows, recipe.training.max_length)
    train, dev = rows[: len(examples.train)], rows[len(examples.train) :]
    facts = _facts(context, base, renderer, examples, train, dev)
    for notice in _notices(context, examples):
        context.call.screen.notice(notice)
    with partial(context.run_dir.prepared) as folder:
        _write(folder / "train.jsonl", train)
        _write(folder / "dev.jsonl", dev)
        text = json.dumps(facts, ensure_ascii=False, indent=2)
        (folder / "prepared.json").write_text(text, encoding="utf-8")
        # By digest, since `compare` may use only the first ones.
        held_out = table_rows(sorted(examples.dev, key=lambda row: row.sha256), context.framework)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in held_out]
        (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8")
    return Done([context.run_dir.prepared], {"rows": facts["rows"], "padding": facts["padding"]})


STAGE = Stage("prepare", "split the rows and tokenize them", inputs, perform)


def _check_lengths(examples: Sequence[Example], rows: Sequence[Row], limit: int) -> None:
    """Raise InputError naming the rows that training would have to truncate."""
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
            hint="Raise training.max_length of the recipe, or leave them out: no row is truncated.",
        )


def _facts(
    context: StageContext,
    base: Base,
    renderer: Renderer,
    examples: Split,
    train: Sequence[Row],
    dev: Sequence[Row],
) -> dict[str, Any]:
    tokenizer, training = targets.digest(base.folder / "tokenizer.json"), context.recipe.training
    pad, end = renderer.tokenizer.pad_token_id, train[0].input_ids[-1]
    lengths = [len(row.input_ids) for row in train]
    in_order = [
        list(range(begin, min(begin + training.batch, len(train))))
        for begin in range(0, len(train), training.batch)
    ]
    pairs = [
        (row.completion_start, len(row.input_ids) - row.completion_start) for row in (*train, *dev)
    ]
    return {
        "format": FORMAT,
        "base": base.name,
        "base_digest": base.digest,
        "tokenizer_sha256": tokenizer,
        "template_sha256": template_sha256(base.folder),
        "eos_token_id": end,
        "eos_token": renderer.text([end]),
        "pad_token_id": end if pad is None else pad,
        "max_length": training.max_length,
        "rows": {
            "train": len(train),
            "dev": len(dev),
            "dev_from": "a file" if context.dev else f"{context.recipe.dev_share:g} of gold",
            "sources": _by_source(train),
            "kept_out": [example.id for example in examples.kept_out],
        },
        "tokens": histogram(base.name, tokenizer, COUNTS, pairs),
        "padding": {
            "batch": training.batch,
            "tokens": sum(lengths),
            "grouped": padding(order(lengths, training.batch, training.seed, 0), lengths),
            "ungrouped": padding(in_order, lengths),
        },
        "sample": renderer.pieces(train[0]),
    }


def _by_source(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the number and the weights of the training rows of each source."""
    count = Counter(row.source for row in rows)
    weights = {name: sorted({row.weight for row in rows if row.source == name}) for name in count}
    return {name: {"rows": count[name], "weights": weights[name]} for name in sorted(count)}


def _notices(context: StageContext, examples: Split) -> Iterator[str]:
    if examples.kept_out:
        names = _some([example.id for example in examples.kept_out])
        number = len(examples.kept_out)
        yield f"{number:,} rows are not trained on, since their papers are in dev: {names}"
    if not examples.dev:
        why = "dev_share is 0" if not context.recipe.dev_share else "there are too few gold rows"
        yield f"there are no dev rows to evaluate on ({why}); `--dev FILE` names some"
    yield from unreadable([*examples.train, *examples.dev], context.framework)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows with their keys in a fixed order: a resumed run compares digests of the files."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            values = asdict(row)
            line = {name: values[name] for name in KEYS}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _no_data() -> UsageError:
    return UsageError(
        "there is no data set to prepare",
        hint="Name the one that `/finetune dataset` wrote: `/finetune prepare train.jsonl`.",
    )
