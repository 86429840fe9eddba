"""Build training data from gold, agent and curated tables: prompts and completions.

    python -m skills.finetune.build_finetune_from_annotations \\
        --gold gold.csv --agent agent.csv [--curated curated.csv] [--curated-only] --out train.jsonl

The same as `/finetune dataset ... save to train.jsonl`, with the same options and exit codes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import InputError, UsageError
from harness.runs import targets as output
from harness.runs.grammar import from_words
from harness.runs.invocation import Invocation
from harness.support.text_input import regular_file, shown
from skills.corpus.tables.reader import TableRow
from skills.finetune.data.annotation_pairs import (
    chat_messages,
    format_annotation_output,
    format_annotation_prompt,
    format_annotation_system,
)
from skills.finetune.data.dataset import Choices, Dataset, InputFile
from skills.finetune.data.held_out import read_held_out
from skills.finetune.data.merging import merge
from skills.finetune.data.rows import Reading, Source, read_annotations

__all__ = [
    "Choices",
    "Dataset",
    "Reading",
    "build_dataset",
    "build_from_entries",
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
    """Read and merge the tables: curated takes precedence over agent, gold over both.

    A paper is identified by its arxiv_id, else paper_id, else id. Agent rows without a curated row
    are kept.

    Args:
        gold_csv, agent_csv, curated_csv: each a table (.csv, .tsv, .jsonl, .parquet), several of
            them, or None.
        curated_only: leave out agent rows that were not curated, whatever `choices` contains.
        dev, test: papers held out of training, and all copies of them: tables, .txt files of ids,
            or comma-separated ids.
        tick: called with the current step.

    Raises:
        InputError: a table cannot be read or lacks a move, none is given, or no row is left.
    """
    choices, reading = choices or Choices(), reading or Reading()
    if curated_only:
        choices = replace(choices, curated_only=True)
    agent, curated = _paths(agent_csv), _paths(curated_csv)
    _check((*_paths(gold_csv), *agent, *curated), curated, choices)
    return build_from_entries(
        gold_csv,
        read_annotations(agent, reading),
        read_annotations(curated, reading),
        agent_csv=agent,
        curated_csv=curated,
        dev=dev,
        test=test,
        choices=choices,
        reading=reading,
        tick=tick,
    )


def build_from_entries(
    gold_csv: Paths,
    agent: Iterable[TableRow],
    curated: Iterable[TableRow],
    *,
    agent_csv: Paths = None,
    curated_csv: Paths = None,
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    choices: Choices | None = None,
    reading: Reading | None = None,
    tick: Callable[[str], None] = lambda status: None,
) -> Dataset:
    """Build a data set from agent and curated annotations that are already read, as in /curate.

    Args:
        agent_csv, curated_csv: the tables they were read from, for the manifest.

    Raises:
        InputError: as `build_dataset`.
    """
    choices, reading, gold = choices or Choices(), reading or Reading(), _paths(gold_csv)
    entries: dict[Source, Iterable[TableRow]] = {
        "gold": read_annotations(gold, reading),
        "curated": curated,
        "agent": agent,
    }
    held_out = [
        *(read_held_out("dev", given, reading) for given in dev),
        *(read_held_out("test", given, reading) for given in test),
    ]
    tables = {"gold": gold, "curated": _paths(curated_csv), "agent": _paths(agent_csv)}
    named = [
        *((source, path) for source, paths in tables.items() for path in paths),
        *((held.split, held.path) for held in held_out if held.path is not None),
    ]
    inputs = [
        InputFile(role, shown(path), output.digest(path.expanduser())) for role, path in named
    ]
    return merge(entries, held_out, choices, reading.framework, inputs, tick)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `/finetune dataset` with the arguments as options; return its exit code.

    The data set is saved to `--out PATH` or `-o PATH`.
    """
    from harness.cli.main import run_script

    return run_script(_invocation, argv)


def _invocation(words: list[str]) -> Invocation:
    from skills.finetune.plugin import Finetune

    renamed = [re.sub(r"\A--out(?==|\Z)", "-o", word) for word in words]
    parsed = from_words(Finetune(), renamed, "dataset")
    if not parsed.help and not parsed.targets:
        raise UsageError("no file to save to is given", hint="`--out train.jsonl`")
    return parsed


def _paths(given: Paths) -> tuple[Path, ...]:
    if given is None:
        return ()
    return tuple(map(Path, [given] if isinstance(given, (str, Path)) else given))


def _check(tables: Sequence[Path], curated: Sequence[Path], choices: Choices) -> None:
    """Raise InputError for missing tables, before any table is read."""
    if not tables:
        raise InputError(
            "there are no annotations to build training data from",
            hint="Name tables of annotations with `--gold FILE` and `--agent FILE`.",
        )
    if choices.curated_only and not curated:
        raise InputError(
            "--curated-only requires curated annotations", hint="Name them with `--curated FILE`."
        )
    for path in tables:
        regular_file(path)


if __name__ == "__main__":
    sys.exit(main())
