"""Save annotations as a dataset folder for the Hugging Face Hub and the library `datasets`.

README.md is the dataset card. Texts and metadata that a person has added to the card are kept, such
as a description of the papers and the license. The rows of a split are in the file
data/SPLIT-00000-of-00001.parquet, as the Hub names such files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from harness._version import __version__
from harness.api.skill import Call, Result
from harness.errors import InputError, UsageError
from harness.models import hub
from harness.permissions import consent
from harness.runs import targets
from harness.runs.invocation import as_path
from skills.corpus.exports.user_edited import (
    HTML,
    Owned,
    State,
    Value,
    as_yaml,
    check_current,
    write_owned,
)
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import SECTIONS
from skills.corpus.tables.parquet_files import parquet_schema, write_parquet
from skills.nanda.confidence import SUGGESTED, UNCERTAIN
from skills.nanda.framework import Framework, selected_framework
from skills.nanda.text import counted, escape_markdown

CARD, DATA = "README.md", "data"
_ENDING = "-00000-of-00001.parquet"
_OF_A_REPOSITORY = (CARD, "LICENSE", "LICENSE.md", "LICENSE.txt")
"""Files that a new repository of the Hub may contain, besides hidden files."""
_KEPT = {
    "kept": "you have changed its figures (--force replaces them)",
    "unreadable": "its text or its metadata cannot be read",
}
_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}
"""The size categories of the Hub, by the number of rows below which a category applies."""
_FOR_A_PERSON = {
    "language": ["en"],
    "task_categories": ["text-generation", "token-classification"],
    "tags": ["scientific-papers", "abstracts", "annotations"],
}
"""Metadata that are written only to a new card. A person can change them later."""
_LICENSE = "# license: yours, one of https://huggingface.co/docs/hub/repositories-licenses\n"
_COPYRIGHT = """\
## Rights

The license of a dataset covers what its makers own. Abstracts, and moves that quote abstracts, may
be under the copyright of their authors or publishers: check that you may publish them.
"""


def check(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder that is neither a dataset nor a new repository, unless `force` is True.

    Raises:
        UsageError: the folder is refused.
    """
    if force or not folder.is_dir() or _has_annotations(folder / DATA):
        return
    names = {one.name for one in folder.iterdir() if not one.name.startswith(".")}
    if (folder / DATA).is_dir() and not any((folder / DATA).iterdir()):
        names.discard(DATA)
    if other := sorted(names.difference(_OF_A_REPOSITORY)):
        raise UsageError(
            f"contains a file that is not part of a dataset: {other[0]}",
            where=str(folder),
            hint="Name a new folder, or add --force to replace files with the same names.",
        )


def save(
    folder: Path,
    framework: Framework,
    id_column: str,
    items: Callable[[], Iterator[Annotated]],
    *,
    split: str = "train",
    abstracts: bool = True,
    sections: bool = False,
    force: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Save annotations as a split of a dataset, and describe all splits in the card.

    Args:
        id_column: the name of the column with the ids of the papers.
        items: returns a new iterator over the annotations.
        split: the name of the split.
        abstracts: False to omit the texts of the abstracts.
        sections: True to add a column with the moves that were found in sections of the papers.
        force: True to accept every folder, and to replace the harness's part of the card even if a
            person has changed this part.
        notice: called with each sentence about the result.

    Raises:
        UsageError: `check` refuses the folder, or another split has other columns.
        OutputError: a file cannot be written.
    """
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    check(folder, force=force)
    with targets.reported(folder):
        (folder / DATA).mkdir(parents=True, exist_ok=True)
    schema = parquet_schema(framework, id_column, sections=sections)
    if not abstracts:
        schema = schema.remove(schema.get_field_index("abstract"))
    for other, path in _splits(folder).items():
        if other == split:
            continue
        if differing := sorted({*pq.read_schema(path).names}.symmetric_difference(schema.names)):
            # The library `datasets` requires that all splits have the same columns.
            raise UsageError(
                f"has other columns than the split to be saved: {', '.join(differing)}",
                where=f"the split {other}",
                hint="All splits of a dataset must have the same columns. Save to another folder.",
            )

    def write(file: IO[bytes]) -> None:
        made = (_for_others(item, abstracts=abstracts) for item in items())
        write_parquet(file, made, framework, schema)

    targets.write(folder / DATA / f"{split}{_ENDING}", write)
    figures = _figures(_splits(folder), framework)
    if why := _KEPT.get(_update_card(folder, framework, figures, force=force)):
        notice(f"{folder / CARD} is kept, since {why}")
    notice(f"{folder}: {counted(figures.splits[split], 'row')} in the split {split}")


def push(call: Call) -> Result:
    """Update the card of a dataset, push the dataset to the Hub, and return the result.

    Raises:
        InputError: the folder is not a dataset with annotations by the framework.
        UsageError: a person has changed the figures in the card, the card cannot be read, or
            `hub.push` raises the error.
        SkillFailed: the Hub cannot be reached, or refuses the files.
    """
    folder, options = as_path(call.text.strip()), call.options
    hub.check_repository(options.to)
    framework = selected_framework(options.framework, call.frameworks)
    splits = _splits(folder) if _has_annotations(folder / DATA, framework.names) else {}
    if not splits:
        raise InputError(
            f"is not a dataset of annotations by the framework {framework.name}",
            where=str(folder),
            hint="`/corpus export FOLDER.dataset` writes a dataset; --framework selects another "
            "framework.",
        )
    figures = _figures(splits, framework)
    _update_card(folder, framework, figures, force=call.force)
    check_current(folder / CARD, _card(framework, figures))
    if not re.search("^license:", (folder / CARD).read_text(encoding="utf-8"), re.MULTILINE):
        call.screen.notice(f"{folder / CARD} states no license")
    present = [folder / name for name in _OF_A_REPOSITORY if (folder / name).is_file()]
    pushed = hub.push(
        options.to,
        "dataset",
        {path.relative_to(folder).as_posix(): path for path in (*present, *splits.values())},
        public=options.public,
        notice=call.screen.notice,
        allow=lambda action: consent(f"/corpus push {action}", call.confirm, yes=call.yes),
    )
    return Result(str(pushed), pushed.model_dump())


def _has_annotations(data: Path, moves: Sequence[str] = ()) -> bool:
    """Return True if all files in a folder are Parquet files of annotations with these moves.

    The result is False if the folder is empty or does not exist.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        files = list(data.iterdir())
        columns = {"provenance", *moves}
        return bool(files) and all(columns <= {*pq.read_schema(path).names} for path in files)
    except (OSError, pa.ArrowException):
        return False


def _splits(folder: Path) -> dict[str, Path]:
    """Return the file of each split of a dataset by the name of the split, with "train" first."""
    found = {path.name.removesuffix(_ENDING): path for path in (folder / DATA).glob(f"*{_ENDING}")}
    return dict(sorted(found.items(), key=lambda one: (one[0] != "train", one[0])))


def _for_others(item: Annotated, *, abstracts: bool) -> Annotated:
    """Return an annotation without folders, server addresses and Zotero accounts of the user.

    Args:
        abstracts: False to also remove the sentences that the checks quote from the abstract.
    """
    # `place` and `reason` may contain server addresses. `where` names only a model or files.
    made = {**item.record["provenance"], "reason": None}
    made.pop("place", None)
    known = {name: value for name, value in made["input"].items() if name != ZOTERO}
    if isinstance(path := known.get("path"), str):
        known["path"] = path.replace("\\", "/").rpartition("/")[2]
    record = {**item.record, "provenance": {**made, "input": known}}
    if not abstracts:
        checks = record["checks"]
        source = {
            move: {name: value for name, value in one.items() if name != "text"}
            for move, one in checks.get("source", {}).items()
        }
        record["checks"] = {**checks, "source": source}
    return replace(item, record=record)


@dataclass(slots=True)
class Figures:
    """The figures in a dataset card.

    Attributes:
        splits: number of rows by split.
        stated: number of papers that state a move, by move.
        doubtful: number of papers whose abstract lacks a number or name of the move, by move.
        support: sum of the support in the papers that state a move, by move.
        models: number of annotations by model and version of the harness.
        days: the days on which annotations were made.
    """

    splits: Counter[str] = field(default_factory=Counter)
    stated: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    support: Counter[str] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    days: set[str] = field(default_factory=set)
    has_abstracts: bool = False
    has_sections: bool = False


def _figures(splits: Mapping[str, Path], framework: Framework) -> Figures:
    """Return the figures of a dataset, computed from the files of all splits."""
    import pyarrow.parquet as pq

    found = Figures()
    for split, path in splits.items():
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            found.has_abstracts |= "abstract" in names
            found.has_sections |= SECTIONS in names
            columns = [*framework.names, "checks", "provenance"]
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    checks, made = json.loads(row["checks"]), json.loads(row["provenance"])
                    found.splits[split] += 1
                    found.models[(made["resolved"], made["harness"])] += 1
                    found.days.add(made["created"][:10])
                    doubtful = {*checks["unsupported_numbers"], *checks["unsupported_names"]}
                    for move in framework.stated(row):
                        found.stated[move] += 1
                        found.support[move] += checks["support"].get(move, 0.0)
                        found.doubtful[move] += move in doubtful
    return found


def _update_card(folder: Path, framework: Framework, figures: Figures, *, force: bool) -> State:
    """Write a new card, or update the harness's part of an existing card; return the state."""
    ours = _card(framework, figures)
    name = folder.resolve().name.removesuffix(".dataset") or "dataset"
    once = "".join(as_yaml(key, value) for key, value in _FOR_A_PERSON.items())
    head = f"# {escape_markdown(name)}\n\nDescribe here which papers these are.\n\n"
    new = ours.text.replace("---\n", f"---\n{_LICENSE}{once}", 1)
    new = new.replace("\n---\n", f"\n---\n\n{head}", 1)
    return write_owned(folder / CARD, ours, new=new, force=force, adopt=True)


def _card(framework: Framework, figures: Figures) -> Owned:
    """Return the harness's part of the card: metadata, figures and columns."""
    rows = figures.splits.total()
    size = next((name for limit, name in _SIZES.items() if rows < limit), "10M<n<100M")
    files = [{"split": split, "path": f"data/{split}-*"} for split in figures.splits]
    blocks = (
        _summary(framework, figures),
        _moves(framework, figures),
        _columns(figures),
        _COPYRIGHT,
    )
    metadata: dict[str, Value] = {
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return Owned(metadata, "\n".join(blocks), HTML)


def _summary(framework: Framework, figures: Figures) -> str:
    models = "; ".join(
        f"{escape_markdown(model)} with nanda-harness {escape_markdown(version)} ({count:,})"
        for (model, version), count in figures.models.most_common()
    )
    days = sorted(figures.days)
    when = f", {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    splits = ", ".join(f"{one} ({counted(rows, 'row')})" for one, rows in figures.splits.items())
    return f"""\
## Annotations

{counted(figures.splits.total(), "abstract")}, annotated with the moves of the \
{escape_markdown(framework.title)}, version {escape_markdown(framework.version)}. \
Made by {models}{when}; saved with nanda-harness {__version__}.
A move that the abstract does not state holds exactly `{framework.not_stated}`

Splits: {splits}.

```python
from datasets import load_dataset

rows = load_dataset("USER/NAME", split="{next(iter(figures.splits))}")  # or the path of this folder
```
"""


def _moves(framework: Framework, figures: Figures) -> str:
    def share(part: int, whole: int) -> str:
        return f"{part / whole:.0%} ({part:,})" if whole else ""

    stated = figures.stated
    rows = [
        (
            f"`{move}`",
            share(stated[move], figures.splits.total()),
            f"{figures.support[move] / stated[move]:.2f}" if stated[move] else "",
            share(figures.doubtful[move], stated[move]),
        )
        for move in framework.names
    ]
    head = ("move", "stated", "support", "with a number or name that is not in the abstract")
    return f"""\
## Moves

Support is the share of the content words of a stated move that occur in its abstract. The checks
are rules, not the judgement of a person.

{_table(head, rows)}
"""


def _columns(figures: Figures) -> str:
    rows = [
        ("`arxiv_id`, `paper_id` or `id`", "the id of the paper in its source"),
        ("`title`, `authors`, `published`, `categories`", "as the source writes them"),
        *[("`abstract`", "the text that was annotated")] * figures.has_abstracts,
        ("each move", "a text"),
        *[("`sections`", "JSON: moves that sections of the paper state")] * figures.has_sections,
        ("`support`", "by move, 0 to 1, or null"),
        ("`confidence`", "by move, the estimated probability that the move is right, or null"),
        ("`uncertain`", f"the stated moves with a confidence below {UNCERTAIN}"),
        (
            "`suggestions`",
            f"JSON: for moves that are not stated, passages with a confidence below {SUGGESTED}",
        ),
        (
            "`anchors`, `checks`, `provenance`",
            "JSON: the sentences that a move comes from, what the checks found, and how the "
            "annotation was made",
        ),
    ]
    return f"## Columns\n\n{_table(('column', 'content'), rows)}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
