"""Training data from annotations: gold, agent and curated tables into prompts and completions.

    python -m skills.finetune.build_finetune_from_annotations \\
        --gold gold.csv --agent agent.csv [--curated curated.csv] [--curated-only] --out train.jsonl

The same as `/finetune dataset ... save to train.jsonl`, with its options and exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import output
from harness.errors import InputError, UsageError
from skills.corpus.table_files import regular_file, shown
from skills.corpus.tables import Columns
from skills.finetune.annotation_pairs import (
    chat_messages,
    format_annotation_output,
    format_annotation_prompt,
    format_annotation_system,
)
from skills.finetune.dataset import Choices, Dataset, InputFile
from skills.finetune.dataset_rows import SOURCES, Source, read_entries, rows_of
from skills.finetune.held_out import HeldOutSet, read_held_out
from skills.finetune.merging import merge
from skills.nanda.framework import Framework, nanda

__all__ = [
    "Choices",
    "Columns",
    "Dataset",
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
    framework: Framework | None = None,
    columns: Columns | None = None,
    corpus: Path | None = None,
    tick: Callable[[str], None] = lambda status: None,
) -> Dataset:
    """Read the tables and put them together: curated over agent, gold over both.

    A paper is known by its arxiv_id, else paper_id, else id. Rows of agent that curated lacks stay.

    Args:
        gold_csv, agent_csv, curated_csv: a table each (.csv, .tsv, .jsonl, .parquet), several of
            them, or None.
        curated_only: leave out the rows of agent that curated lacks; `choices` has it as well.
        dev, test: papers kept out of training, and all copies of them: tables, .txt files of ids,
            or ids with commas between.
        columns: names of columns, which are found by name otherwise; for all tables.
        corpus: the database with the abstracts of annotations that were saved as .jsonl.
        tick: told what is being done.

    Raises:
        InputError: a table cannot be read, lacks a move, or none is given; or no row is left.
    """
    choices = choices or Choices(curated_only)
    framework, columns = framework or nanda(), columns or Columns()
    tables: dict[Source, tuple[Path, ...]] = {
        "gold": _paths(gold_csv),
        "agent": _paths(agent_csv),
        "curated": _paths(curated_csv),
    }
    _check(tables, choices)
    held_out = [
        *(read_held_out("dev", given, framework, columns, corpus) for given in dev),
        *(read_held_out("test", given, framework, columns, corpus) for given in test),
    ]
    sources = []
    for source in SOURCES:
        tick(f"reading {source}")
        entries = read_entries(tables[source], framework, columns, corpus)
        sources.append(rows_of(source, entries, framework))
    tick("comparing abstracts")
    return merge(sources, held_out, choices, framework, _inputs(tables, held_out))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `/finetune dataset` with these words for options; return its exit code.

    `--out PATH`, or `-o PATH`, is where the data set is saved.
    """
    from harness import cli
    from harness.presentation import print_error
    from harness.screen import Screen

    try:
        return cli.main([_as_line(list(sys.argv[1:] if argv is None else argv))])
    except UsageError as error:
        print_error(error, Screen())
        return error.exit_code


def _as_line(words: list[str]) -> str:
    """The words of a shell as a line of the harness, every value in quotes.

    Raises:
        UsageError: it is not said where to save, or a word cannot be quoted.
    """
    if "--help" in words or "-h" in words:
        return "/help finetune"
    options, targets = [], []
    waiting = iter(words)
    for word in waiting:
        name, given, value = word.partition("=")
        if name in ("--out", "-o"):
            targets.append(value if given else next(waiting, ""))
        elif name.startswith("--"):
            options.append(f"{name}={_quoted(value)}" if given else name)
        else:
            options.append(_quoted(word))
    if not any(targets):
        raise UsageError("it is not said where to save", hint="`--out train.jsonl`")
    saved = " ".join(f"-o {_quoted(target)}" for target in targets)
    return " ".join(("/finetune dataset", *options, saved))


def _quoted(word: str) -> str:
    quote = "'" if '"' in word else '"'
    if quote in word or "\n" in word:
        raise UsageError(f"{word[:60]!r} cannot be quoted", hint="Rename the file.")
    return f"{quote}{word}{quote}"


def _paths(given: Paths) -> tuple[Path, ...]:
    if given is None:
        return ()
    return tuple(map(Path, [given] if isinstance(given, (str, Path)) else given))


def _check(given: Mapping[Source, Sequence[Path]], choices: Choices) -> None:
    """Refuse what cannot give a data set, before a table is read."""
    if not any(given.values()):
        raise InputError(
            "there are no annotations to make training data of",
            hint="`--gold FILE` and `--agent FILE` name tables of them.",
        )
    if choices.curated_only and not given["curated"]:
        raise InputError(
            "--curated-only needs curated annotations", hint="`--curated FILE` names them."
        )
    for path in (path for paths in given.values() for path in paths):
        regular_file(path)


def _inputs(
    given: Mapping[Source, Sequence[Path]], held_out: Sequence[HeldOutSet]
) -> list[InputFile]:
    files: list[tuple[str, Path]] = [(role, path) for role in SOURCES for path in given[role]]
    files += [(held.split, held.path) for held in held_out if held.path is not None]
    return [InputFile(role, shown(p), output.digest(p.expanduser())) for role, p in files]


if __name__ == "__main__":
    sys.exit(main())
