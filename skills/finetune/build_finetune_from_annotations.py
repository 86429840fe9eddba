"""Build training data (prompts and completions) from gold, agent and curated tables.

    python -m skills.finetune.build_finetune_from_annotations \\
        --gold gold.csv --agent agent.csv [--curated curated.csv] [--curated-only] --out train.jsonl

This program is equivalent to `/finetune dataset ... save to train.jsonl`: options and exit codes
are the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import InputError, UsageError
from harness.runs.invocation import Invocation, from_words
from harness.support.text_input import regular_file
from skills.finetune.dataset.annotated_rows import (
    Reading,
    chat_messages,
    format_annotation_output,
    format_annotation_prompt,
    format_annotation_system,
    read_annotations,
)
from skills.finetune.dataset.dataset_options import Choices, Source
from skills.finetune.dataset.merging import Dataset, merge

__all__ = [
    "Choices",
    "Dataset",
    "Reading",
    "build_dataset",
    "chat_messages",
    "format_annotation_output",
    "format_annotation_prompt",
    "format_annotation_system",
    "main",
]

Paths = Path | str | Sequence[Path | str] | None


def build_dataset(
    gold_csv: Paths,
    agent_csv: Paths,
    curated_csv: Paths = None,
    *,
    curated_only: bool = False,
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    choices: Choices | None = None,
    reading: Reading | None = None,
    tick: Callable[[str], None] = lambda status: None,
) -> Dataset:
    """Return the training set from tables of annotations, with one row for each paper.

    Gold rows replace curated rows, and both replace agent rows. The id of a paper is in the column
    arxiv_id, otherwise paper_id, otherwise id. Of several papers with nearly the same abstract,
    only the first is kept.

    Args:
        gold_csv, agent_csv, curated_csv: a table (`skills.corpus.table`), several tables, or None.
        curated_only: True to leave out agent rows that were not curated, whatever `choices`
            contains.
        dev, test: tables, .txt files of ids, or comma-separated ids. Their papers, and all copies
            of these papers, are held out of training.
        choices, reading: see `Choices` and `Reading`; None for the defaults.
        tick: called with the current step, such as "reading gold".

    Raises:
        InputError: no table is given, the curated table for `curated_only` is not given, a file
            cannot be read, a table lacks a move, or no row is left.
    """
    choices, reading = choices or Choices(), reading or Reading()
    if curated_only:
        choices = replace(choices, curated_only=True)
    files: dict[Source, tuple[Path, ...]] = {
        "gold": _paths(gold_csv),
        "curated": _paths(curated_csv),
        "agent": _paths(agent_csv),
    }
    _check(files, choices)
    entries = {source: read_annotations(paths, reading) for source, paths in files.items()}
    return merge(entries, files, dev, test, choices, reading, tick)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `/finetune dataset` with the arguments as options, and return the exit code.

    The data set is saved to `--out PATH` or `-o PATH`. Without `argv`, the arguments of the process
    are used, and the function may end the process.
    """
    from harness.cli.main import run_script

    return run_script(_invocation, argv)


def _invocation(words: list[str]) -> Invocation:
    from skills.finetune.plugin import Finetune

    renamed = [re.sub(r"\A--out(?==|\Z)", "-o", word) for word in words]
    parsed = from_words(Finetune(), renamed, "dataset")
    if not parsed.help and not parsed.targets:
        raise UsageError("no output file is given", hint="`--out train.jsonl`")
    return parsed


def _paths(given: Paths) -> tuple[Path, ...]:
    if given is None:
        return ()
    return tuple(map(Path, [given] if isinstance(given, (str, Path)) else given))


def _check(files: Mapping[Source, Sequence[Path]], choices: Choices) -> None:
    """Raise InputError if no table or no curated table is named, or a table is not a file."""
    if not any(files.values()):
        raise InputError(
            "there are no annotations to build training data from",
            hint="Name tables of annotations with `--gold FILE` and `--agent FILE`.",
        )
    if choices.curated_only and not files["curated"]:
        raise InputError(
            "--curated-only requires curated annotations", hint="Name them with `--curated FILE`."
        )
    for paths in files.values():
        for path in paths:
            regular_file(path)


if __name__ == "__main__":
    sys.exit(main())
