"""The stage `prepare`: split, render and tokenize a data set for one base.

    OUT/prepared/train.jsonl, dev.jsonl    one `prepared_rows.Row` per line
    OUT/prepared/prepared.json             facts about the rows
    OUT/prepared/held_out.jsonl            the annotations of the dev rows, for the stage `compare`

Rows are rendered with the chat template of the base. The loss includes the completion and the end
token after it, even if the end token is also used for padding. No row is truncated: a row that is
too long is an error.

A completion has about two hundred tokens. Only the first token of each move decides whether the
move is stated: it is either the token that begins "not stated", or another token. A recipe can add
a loss for these decisions (`recipe.Decisions`). A stated move that starts with the first
token of "not stated" ("Not much was known ...") has no decision, since a later token decides.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from harness.errors import InputError, UsageError
from harness.support.bounded_files import file_sha256
from harness.support.process import require
from harness.support.text_input import regular_file
from skills.finetune.dataset.token_counts import histogram, with_progress
from skills.finetune.model.bases import end_tokens, open_base, open_tokenizer, template_sha256
from skills.finetune.recipe import Decisions
from skills.finetune.run_folder import Entry, StageContext, partial
from skills.finetune.tokenization.examples import (
    Example,
    Messages,
    Split,
    check_answers,
    read_split,
    refusal_of,
    table_rows,
)
from skills.finetune.tokenization.prepared_rows import Row
from skills.nanda.forms import UnusableReply
from skills.nanda.framework import Framework
from skills.nanda.generated_forms import TaggedForm
from skills.nanda.text import counted, listed

FORMAT = 2
"""Version of the files that this stage writes."""
HELD_OUT = "held_out.jsonl"
KEYS = ("id", "source", "weight", "input_ids", "completion_start", "decisions")
NAMED = 10
"""Maximum number of rows that a message names; further rows are only counted."""
COUNTS = "the rendered row as in training; the completion includes the end token"


def prepare(context: StageContext) -> Entry:
    """Perform the stage: write tokenized rows and prepared.json. Return the stage's entry.

    Without a data set, the stage keeps the rows that are already prepared, so that a command for a
    later stage only needs the folder.

    Raises:
        InputError: the data set, a row or the base cannot be used.
        UsageError: there is no data set and the prepared rows are missing or outdated, the recipe
            names an unknown move, or the finetune extra is not installed.
        OutputError: the files cannot be written.
    """
    require("transformers", "jinja2")
    out, recipe, base = context.run_dir, context.recipe, open_base(context)
    inputs = {
        **row_inputs(context, out.entry("prepare")),
        "base": base.digest,
        "template": template_sha256(base.folder),
        "tokenizer": file_sha256(base.folder / "tokenizer.json"),
        # "batch" is not used, but without this key, older folders would be outdated.
        "batch": recipe.training.batch,
        "decisions": recipe.decisions.model_dump(),
        "format": FORMAT,
    }
    stage = context.begin("prepare", "split the rows and tokenize them", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    if context.data is None:
        raise UsageError(
            "there is no data set to prepare",
            hint="Name the data set of `/finetune dataset`: `/finetune prepare train.jsonl`.",
        )
    out.make()
    examples = read_split(context.data, context.dev, recipe)
    all_examples = [*examples.train, *examples.dev]
    check_answers(all_examples)
    framework = context.framework
    for name in recipe.decisions.stated:
        if name not in framework.names:
            raise UsageError(
                f"decisions.stated names {name!r}, which is not a move of {framework.name}",
                hint=f"The moves are {', '.join(framework.names)}.",
            )
    tokenizer, ends = open_tokenizer(base.folder), end_tokens(base.folder)
    renderer = Renderer(tokenizer, ends, framework, recipe.decisions)
    with context.call.screen.progress("preparing") as tick:
        rows = [renderer.row_of(example) for example in with_progress(all_examples, tick)]
    _check_lengths(all_examples, rows, recipe.training.max_length)
    train, dev_rows = rows[: len(examples.train)], rows[len(examples.train) :]
    facts = _facts_of_rows(context, inputs, renderer, examples, train, dev_rows)
    for notice in _notices(context, examples):
        context.call.screen.notice(notice)
    with partial(out.prepared) as folder:
        _write_rows(folder / "train.jsonl", train)
        _write_rows(folder / "dev.jsonl", dev_rows)
        text = json.dumps(facts, ensure_ascii=False, indent=2)
        (folder / "prepared.json").write_text(text, encoding="utf-8")
        # Sort by digest: the first rows, which `compare` may use alone, are then a random sample.
        held_out = table_rows(sorted(examples.dev, key=lambda row: row.sha256), framework)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in held_out]
        (folder / HELD_OUT).write_text("".join(lines), encoding="utf-8")
    return stage.record([out.prepared], {"rows": facts["rows"]})


def row_inputs(context: StageContext, before: Entry | None) -> dict[str, Any]:
    """Return the stage's inputs that determine the rows and do not depend on the base.

    Args:
        before: the stage's entry in the manifest, or None. If the run names no data set, the
            digests of the data files are taken from this entry.
    """
    recipe = context.recipe
    kept = before.inputs if before is not None and context.data is None else {}
    dev = file_sha256(regular_file(context.dev)) if context.dev else kept.get("dev")
    return {
        "data": file_sha256(regular_file(context.data)) if context.data else kept.get("data"),
        "dev": dev,
        "dev_share": None if dev else recipe.dev_share,
        "max_length": recipe.training.max_length,
        "seed": recipe.training.seed,
    }


def _check_lengths(examples: Sequence[Example], rows: Sequence[Row], limit: int) -> None:
    """Raise InputError if a row has more than `limit` tokens."""
    long = [
        (example.where, f"{row.id} ({len(row.input_ids):,})")
        for example, row in zip(examples, rows, strict=True)
        if len(row.input_ids) > limit
    ]
    if long:
        these = "this row has" if len(long) == 1 else f"this row and {len(long) - 1:,} others have"
        raise InputError(
            f"{these} more than {limit:,} tokens: {listed((name for _, name in long), NAMED)}",
            where=long[0][0],
            hint="Raise training.max_length, or leave out these rows: no row is truncated.",
        )


def _facts_of_rows(
    context: StageContext,
    inputs: Mapping[str, Any],
    renderer: Renderer,
    examples: Split,
    train: Sequence[Row],
    dev: Sequence[Row],
) -> dict[str, Any]:
    """Return the contents of prepared.json.

    Args:
        inputs: the inputs of the stage, with the digests of base, tokenizer and template.
    """
    base, tokenizer = context.recipe.base, inputs["tokenizer"]
    pad, end = renderer.tokenizer.pad_token_id, train[0].input_ids[-1]
    weights: dict[str, list[float]] = defaultdict(list)
    for row in train:
        weights[row.source].append(row.weight)
    sources = {
        name: {"rows": len(each), "weights": sorted({*each})}
        for name, each in sorted(weights.items())
    }
    pairs = [
        (row.completion_start, len(row.input_ids) - row.completion_start) for row in (*train, *dev)
    ]
    return {
        "format": FORMAT,
        "base": base,
        "base_digest": inputs["base"],
        "tokenizer_sha256": tokenizer,
        "template_sha256": inputs["template"],
        "eos_token_id": end,
        "eos_token": renderer.text([end]),
        "pad_token_id": end if pad is None else pad,
        "max_length": inputs["max_length"],
        "rows": {
            "train": len(train),
            "dev": len(dev),
            "dev_from": "a file" if context.dev else f"{context.recipe.dev_share:g} of gold",
            "sources": sources,
            "kept_out": [example.id for example in examples.kept_out],
        },
        "tokens": histogram(base, tokenizer, COUNTS, pairs),
        "sample": renderer.pieces(train[0]),
    }


def _notices(context: StageContext, examples: Split) -> Iterator[str]:
    """Yield warnings about rows kept out of training, missing dev rows, and bad completions."""
    if examples.kept_out:
        names = listed((example.id for example in examples.kept_out), NAMED)
        number = counted(len(examples.kept_out), "row")
        yield f"{number} not trained on: dev has the papers {names}"
    if not examples.dev:
        why = "dev_share is 0" if not context.recipe.dev_share else "there are too few gold rows"
        yield f"there are no dev rows to evaluate on ({why}); `--dev FILE` names dev rows"
    # An unusable completion is not an error: a model may be trained on lines other than moves.
    rows, form = [*examples.train, *examples.dev], TaggedForm(context.framework)
    found = [(row, reason) for row in rows if (reason := refusal_of(row.completion, form))]
    if found:
        (first, reason), unusable = found[0], len(found)
        yield (
            f"/annotate would not accept {unusable:,} of the {len(rows):,} completions; "
            f"the first is {first.where} ({reason})"
        )


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines; keys have a fixed order, so that equal rows have equal digests."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {name: getattr(row, name) for name in KEYS}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders rows with the chat template of a base, and tokenizes them.

    Attributes:
        tokenizer: the tokenizer of transformers, with the chat template of the base.
        ends: the tokens that end an answer according to the base's configuration.
        framework: the framework of the annotations in the completions. If it is None, the rows
            have no decisions.
        decisions: the weights of the decisions whether a move is stated.
    """

    tokenizer: Any
    ends: frozenset[int] = frozenset()
    framework: Framework | None = None
    decisions: Decisions = field(default_factory=Decisions)

    def row_of(self, example: Example) -> Row:
        """Return an example as a row of tokens, with its weight and decisions.

        The prompt is tokenized without the completion, as in /annotate.

        Raises:
            InputError: the template cannot be used or changes the texts, or prompt or completion
                contains a special token.
        """
        for message in example.messages:
            if special := {*self.tokenizer.all_special_ids} & {*self.tokens(message["content"])}:
                raise InputError(
                    f"its prompt contains the token {self.text([min(special)])}, which only the "
                    "base's chat template may add",
                    where=example.where,
                    hint="Remove the template from the row, or put a blank into the token, as "
                    "`/finetune dataset` does.",
                )
        prompt = self._rendered(example, example.messages, to_answer=True)
        answer = {"role": "assistant", "content": example.completion}
        written = self._rendered(example, [*example.messages, answer], to_answer=False)
        if not written.startswith(prompt + example.completion):
            raise InputError(
                "the base's chat template changes a prompt or its answer",
                where=example.where,
                hint="Remove blanks at the ends of the completion, or use another base.",
            )
        end = self._end(example, written[len(prompt) + len(example.completion) :])
        before, whole = self.tokens(prompt), self.tokens(prompt + example.completion)
        joined = whole[: len(before)] == before
        completion = whole[len(before) :] if joined else self.tokens(example.completion)
        if special := {*self._stops, end, *self.tokenizer.all_special_ids} & {*completion}:
            raise InputError(
                f"its completion contains the token {self.text([min(special)])}, at which "
                "generation would stop",
                where=example.where,
                hint="Put a blank into the token, as `/finetune dataset` does.",
            )
        ids = (*before, *completion, end)
        decisions = self._decisions(example, *((prompt, 0) if joined else ("", len(before))))
        return Row(example.id, ids, len(before), example.weight, decisions, example.source)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; no special tokens are added at its ends."""
        return cast("list[int]", self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: list[int] | tuple[int, ...]) -> str:
        """Return the text of tokens, including special tokens."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def pieces(self, row: Row) -> list[tuple[str, bool]]:
        """Return the texts of prompt and completion, each with True if the loss includes it."""
        start = row.completion_start
        return [(self.text(row.input_ids[:start]), False), (self.text(row.input_ids[start:]), True)]

    def _decisions(
        self, example: Example, before: str, tokens_before: int
    ) -> tuple[tuple[int, float, int], ...]:
        """Return the decisions of a completion, as in `Row.decisions`.

        Args:
            before: the prompt if the completion was tokenized together with it, or else "".
            tokens_before: number of tokens of the prompt if `before` is "", or else 0.
        """
        text = example.completion
        try:
            decisions = [*TaggedForm(self.framework).decisions(text)] if self.framework else []
        except UnusableReply:  # the completion is not an annotation
            return ()
        encoded = self.tokenizer(before + text, add_special_tokens=False)
        found = []
        for decision in decisions:
            factor = self.decisions.stated.get(decision.move, 1.0) if decision.stated else 1.0
            weight = self.decisions.weight * factor
            if not weight:
                continue
            place = len(before) + decision.place
            at = encoded.char_to_token(place)
            other = before + text[: decision.place] + decision.unstated
            written = self.tokenizer(other, add_special_tokens=False)
            unstated = written.input_ids[written.char_to_token(place)]
            if decision.stated and encoded.input_ids[at] == unstated:
                continue  # training would treat the move as "not stated"
            found.append((tokens_before + at, weight, unstated))
        return tuple(found)

    @property
    def _stops(self) -> frozenset[int]:
        return self.ends | {self.tokenizer.eos_token_id}

    def _end(self, example: Example, after: str) -> int:
        """Return the token at the beginning of `after`, the template's text after an answer.

        Raises:
            InputError: the token does not stop generation.
        """
        ids = self.tokens(after)
        if not ids or ids[0] not in self._stops:
            found = repr(self.text(ids[:1])) if ids else "nothing"
            raise InputError(
                f"the base's chat template writes {found} after an answer, which does not stop "
                "generation",
                where=example.where,
                hint="Use the base that was tuned to chat, or correct its chat template.",
            )
        return ids[0]

    def _rendered(self, example: Example, messages: Messages, *, to_answer: bool) -> str:
        """Return messages rendered with the chat template of the base.

        Args:
            example: the row that an error names.
            to_answer: True to add the beginning of an answer.

        Raises:
            InputError: the template rejects the messages.
        """
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages,
                    add_generation_prompt=to_answer,
                    tokenize=False,
                    enable_thinking=False,
                )
            )
        except TemplateError as exc:
            raise InputError(
                f"the base's chat template rejects the messages: {exc}",
                where=example.where,
                hint="Use another base, or change the rows.",
            ) from exc
