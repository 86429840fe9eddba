"""Write annotations into a folder that the Hugging Face Hub and `datasets` read.

README.md is the card and croissant.json the metadata of a dataset; both keep what a person wrote.
The rows of a split are data/SPLIT-00000-of-00001.parquet, as the Hub names such files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from harness.errors import OutputError, UsageError
from harness.runs import targets
from skills.corpus.dataset import card, croissant
from skills.corpus.dataset.facts import Facts, facts_of
from skills.corpus.identity.identifiers import ZOTERO
from skills.corpus.records import Annotated
from skills.corpus.tables.writers import parquet_schema, write_parquet_as
from skills.nanda.framework import Framework
from skills.nanda.text import counted

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
    state = card.update(folder / CARD, name, framework, facts, force=force)
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
