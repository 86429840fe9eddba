"""Write annotations into a folder that the Hugging Face Hub and `datasets` read.

README.md is the card and croissant.json the metadata of a dataset; both keep what a person wrote.
The rows of a split are data/SPLIT-00000-of-00001.parquet, as the Hub names such files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from harness._version import __version__
from harness.errors import OutputError, UsageError
from harness.runs import targets
from harness.support.bounded_files import read_bytes
from skills.corpus.exports import croissant
from skills.corpus.exports.user_edited import (
    HTML,
    MOST_BYTES,
    BrokenFrontMatterError,
    Owned,
    State,
    Value,
    as_yaml,
)
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.records import Annotated
from skills.corpus.tables.columns import SECTIONS
from skills.corpus.tables.writers import parquet_schema, write_parquet_as
from skills.nanda.confidence import SUGGESTED, UNCERTAIN
from skills.nanda.framework import Framework
from skills.nanda.text import counted, escape_markdown

CARD, METADATA, DATA = "README.md", "croissant.json", "data"
_ENDING = "-00000-of-00001.parquet"
_OF_A_REPOSITORY = (CARD, "LICENSE", "LICENSE.md", "LICENSE.txt")
"""What a new repository of the Hub has, besides hidden files."""

_KEPT = {
    "kept": "you have changed what was written (--force replaces it)",
    "unreadable": "its text or its metadata cannot be read",
}


def check(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder with other things than a dataset of ours, or a new repository of the Hub.

    Raises:
        UsageError: it has other things, and not `force`.
    """
    if force or not folder.is_dir() or croissant.is_ours(folder / METADATA):
        return
    names = {one.name for one in folder.iterdir() if not one.name.startswith(".")}
    if _is_begun(folder / DATA):
        names.discard(DATA)
    if other := sorted(names.difference(_OF_A_REPOSITORY)):
        raise UsageError(
            f"has other things than a dataset: {other[0]}",
            where=str(folder),
            hint="Name a new folder, or add --force, which replaces files of the same names.",
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
    """Write the annotations as a split of the dataset, and describe all of its splits.

    Args:
        items: returns a new iterator over the annotations.
        abstracts: False leaves out the texts of the abstracts.
        sections: add a column of the moves that were found in sections.
        force: replace what is ours in the card also where a person has changed it.
        notice: called with a line about what was done.

    Raises:
        UsageError: the folder has other things.
        OutputError: a file cannot be written.
    """
    check(folder, force=force)
    try:
        (folder / DATA).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot be created: {exc.strerror}", where=str(folder)) from exc

    schema = parquet_schema(framework, id_column, sections=sections)
    if not abstracts:
        schema = schema.remove(schema.get_field_index("abstract"))
    for other, path in _splits(folder).items():
        if other != split:
            _refuse_other_columns(path, other, schema.names)

    def write(file: IO[bytes]) -> None:
        made = map(_for_others, items())
        shown = made if abstracts else map(_without_sentences, made)
        write_parquet_as(schema, file, shown, framework)

    targets.write(folder / DATA / f"{split}{_ENDING}", write)
    facts = {name: facts_of(path, framework) for name, path in _splits(folder).items()}
    _describe(folder, framework, facts, force=force, notice=notice)
    notice(f"{folder}: {counted(facts[split].rows, 'row')} in the split {split}")


def _describe(
    folder: Path,
    framework: Framework,
    facts: Mapping[str, Facts],
    *,
    force: bool,
    notice: Callable[[str], None],
) -> None:
    """Write the metadata and the card of a dataset with these splits."""
    name = folder.resolve().name.removesuffix(".dataset") or "dataset"
    described = croissant.updated(folder / METADATA, name, _splits(folder), framework)
    targets.write_text(folder / METADATA, described)
    state = update(folder / CARD, name, framework, facts, force=force)
    if why := _KEPT.get(state):
        notice(f"{folder / CARD} is kept, since {why}")


def _is_begun(data: Path) -> bool:
    """Return True if a folder has at most splits of ours, of a run that ended before the rest."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return all("provenance" in pq.read_schema(path).names for path in data.iterdir())
    except (OSError, pa.ArrowException):
        return False


def _splits(folder: Path) -> dict[str, Path]:
    """Return the file of each split that is there, that of "train" first."""
    found = {path.name.removesuffix(_ENDING): path for path in (folder / DATA).glob(f"*{_ENDING}")}
    return dict(sorted(found.items(), key=lambda one: (one[0] != "train", one[0])))


def _refuse_other_columns(path: Path, split: str, names: list[str]) -> None:
    """Refuse a file of another split with other columns: `datasets` would read neither."""
    import pyarrow.parquet as pq

    there = pq.read_schema(path).names
    if other := sorted(set(there).symmetric_difference(names)):
        raise UsageError(
            f"has other columns than the split to be saved: {', '.join(other)}",
            where=f"the split {split}",
            hint="All splits of a dataset have the same columns. Save to another folder.",
        )


def _without_sentences(item: Annotated) -> Annotated:
    """Return an annotation whose checks do not repeat sentences of the abstract."""
    checks = item.record["checks"]
    source = {
        move: {name: value for name, value in one.items() if name != "text"}
        for move, one in checks.get("source", {}).items()
    }
    return replace(item, record={**item.record, "checks": {**checks, "source": source}})


def _for_others(item: Annotated) -> Annotated:
    """Return an annotation without folders, addresses and accounts of the person who made it."""
    # Both may have the address of a server; `where` names the model.
    made = {**item.record["provenance"], "reason": None}
    made.pop("place", None)
    known = {name: value for name, value in made["input"].items() if name != ZOTERO}
    if isinstance(path := known.get("path"), str):
        known["path"] = path.replace("\\", "/").rpartition("/")[2]
    return replace(item, record={**item.record, "provenance": {**made, "input": known}})


SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_LETTERS = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"]
_FOR_A_PERSON = {
    "language": ["en"],
    "task_categories": ["text-generation", "token-classification"],
    "tags": ["scientific-papers", "abstracts", "annotations"],
}
"""Metadata that are set once: a person may change them."""
_LICENSE = (
    "# license: of your own work, one of https://huggingface.co/docs/hub/repositories-licenses\n"
)
_COPYRIGHT = """\
## Rights

The license of a dataset covers what its makers own. The abstracts may be under the copyright of
their authors or publishers, and moves that quote them as well: check that you may publish them.
"""
_WITHOUT = """\
## Rights

The abstracts are left out. Moves may quote them, and may be under the copyright of their authors or
publishers: check that you may publish them.
"""


def update(
    path: Path, name: str, framework: Framework, facts: Mapping[str, Facts], *, force: bool
) -> State | Literal["unreadable"]:
    """Write the card, or bring ours in it up to date."""
    ours = owned(framework, facts)
    if not path.exists():
        once = "".join(as_yaml(key, value) for key, value in _FOR_A_PERSON.items())
        head = f"# {escape_markdown(name)}\n\nWhich papers these are: describe them here.\n\n"
        new = ours.text.replace("---\n", f"---\n{_LICENSE}{once}", 1)
        targets.write_text(path, new.replace("\n---\n", f"\n---\n\n{head}", 1))
        return "made"
    try:
        before = read_bytes(path, MOST_BYTES).decode()
        after, state = ours.merged(before, force=force, adopt=True)
    except (OSError, UnicodeDecodeError, BrokenFrontMatterError):
        return "unreadable"
    if after != before:
        targets.write_text(path, after)
    return state


def owned(framework: Framework, facts: Mapping[str, Facts]) -> Owned:
    """Return what is ours in the card.

    Args:
        facts: the figures of each split.
    """
    whole = Facts()
    for one in facts.values():
        whole.add(one)
    size = next((i for i, most in enumerate(SIZES) if whole.rows < most), len(SIZES))
    files = [{"split": split, "path": f"data/{split}-*"} for split in facts]
    metadata: dict[str, Value] = {
        "size_categories": [_LETTERS[size]],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    block = "\n".join(
        (
            _summary(framework, facts, whole),
            _moves(framework, whole),
            _columns(whole),
            _COPYRIGHT if whole.has_abstracts else _WITHOUT,
        )
    )
    return Owned(metadata, block, HTML)


def _summary(framework: Framework, facts: Mapping[str, Facts], whole: Facts) -> str:
    made = _made(whole)
    splits = ", ".join(f"{split} ({counted(one.rows, 'row')})" for split, one in facts.items())
    return f"""\
## Annotations

{counted(whole.rows, "abstract")}, annotated with the moves of the \
{escape_markdown(framework.title)}, version {escape_markdown(framework.version)}. {made}
A move that the abstract does not state holds exactly `{framework.not_stated}`

Splits: {splits}.

```python
from datasets import load_dataset

rows = load_dataset("USER/NAME", split="{next(iter(facts))}")  # or the path of this folder
```
"""


def _made(facts: Facts) -> str:
    """Return a sentence about who made the annotations, and when."""
    models = "; ".join(
        f"{escape_markdown(model)} with nanda-harness {escape_markdown(version)} ({count:,})"
        for (model, version), count in facts.models.most_common()
    )
    days = sorted(facts.days)
    when = f", {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    return f"Made by {models}{when}; saved with nanda-harness {__version__}."


def _moves(framework: Framework, whole: Facts) -> str:
    rows = [
        (
            f"`{move}`",
            _share(whole.stated[move], whole.rows),
            f"{whole.support[move] / whole.stated[move]:.2f}" if whole.stated[move] else "",
            _share(whole.doubtful[move], whole.stated[move]),
        )
        for move in framework.names
    ]
    head = ("move", "stated", "support", "with a number or name that is not in the abstract")
    return f"""\
## Moves

Support is the share of the content words of a stated move that occur in its abstract. The checks
are made by rules, not by people.

{_table(head, rows)}
"""


def _columns(whole: Facts) -> str:
    rows = [
        ("the id", "of the paper in its source: `arxiv_id`, `paper_id` or `id`"),
        ("`title`, `authors`, `published`, `categories`", "as the source writes them"),
        *[("`abstract`", "the text that was annotated")] * whole.has_abstracts,
        ("each move", "a text"),
        *[("`sections`", "JSON: moves that sections of the paper state")] * whole.has_sections,
        ("`support`", "by move, 0 to 1, or null"),
        ("`confidence`", "by move, the estimated probability that it is right, or null"),
        ("`uncertain`", f"the stated moves with a confidence below {UNCERTAIN}"),
        (
            "`suggestions`",
            f"JSON: passages with a confidence below {SUGGESTED}, of moves that are not stated",
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


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} ({part:,})" if whole else ""


@dataclass(slots=True)
class Facts:
    """The figures of a split, or of several.

    Attributes:
        stated: by move, the papers that state it.
        doubtful: by move, those of them in which a number or name is not in the abstract.
        support: by move, the sum of the support of those that state it.
        models: the models and versions of the harness that made the annotations.
        days: the days on which they were made.
    """

    rows: int = 0
    stated: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    support: Counter[str] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    days: set[str] = field(default_factory=set)
    has_abstracts: bool = False
    has_sections: bool = False

    def add(self, other: Facts) -> None:
        """Add the figures of another split."""
        self.rows += other.rows
        self.has_abstracts |= other.has_abstracts
        self.has_sections |= other.has_sections
        self.days |= other.days
        for name in ("stated", "doubtful", "support", "models"):
            getattr(self, name).update(getattr(other, name))


def facts_of(path: Path, framework: Framework) -> Facts:
    """Return the figures of a file as `write_parquet` writes it."""
    import pyarrow.parquet as pq

    found = Facts()
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        found.has_abstracts, found.has_sections = "abstract" in names, SECTIONS in names
        moves = [name for name in framework.names if name in names]
        for batch in file.iter_batches(columns=[*moves, "checks", "provenance"]):
            for row in batch.to_pylist():
                _count(found, row, framework, moves)
    return found


def _count(found: Facts, row: Mapping[str, Any], framework: Framework, moves: list[str]) -> None:
    checks, made = json.loads(row["checks"]), json.loads(row["provenance"])
    found.rows += 1
    found.models[(made["resolved"], made["harness"])] += 1
    found.days.add(made["created"][:10])
    for move in moves:
        if row[move] != framework.not_stated:
            found.stated[move] += 1
            found.support[move] += checks["support"].get(move, 0.0)
            unknown = (checks["unsupported_numbers"], checks["unsupported_names"])
            found.doubtful[move] += any(move in moves for moves in unknown)
