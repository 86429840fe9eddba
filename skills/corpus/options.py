"""Options shared by the skills that read tables and write to the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.api.options import ClusterOptions
from harness.api.skill import SkillOptions
from harness.errors import UsageError
from skills.corpus.sources.services import CORPUS, NAMES, named

if TYPE_CHECKING:
    from skills.corpus.tables.columns import Columns

TABLES = ".csv, .tsv, .xlsx, .ods, .xls, .jsonl or .parquet"
"""The suffixes of tables in words; `table.reader_class` returns the reader of a file."""
SAVED_TABLES = (".jsonl", ".csv", ".xlsx", ".parquet")
"""The suffixes of tables as which annotations are saved, and from which they are read."""
SAVED_REFERENCES = (".bib", ".ris", ".csl.json")
"""The suffixes of reference files as which annotations are saved, in notes."""
SAVED_SPANS = (".annotations.json", ".labelstudio.json", ".argilla.json")
"""The suffixes of files for annotation tools, with the passages of the moves."""
Wording = Literal["extractive", "abstractive"]
PICTURES = (".svg", ".png")
SAVES = (".html", ".json", *PICTURES)


def _share(given: object) -> object:
    """Return a percentage as a share."""
    text = str(given).strip()
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else given
    except ValueError:
        return given


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
"""A share, given as 0.2 or 20%."""


class ColumnOptions(SkillOptions):
    """The names of the columns of a table; by default, columns are recognized by common names."""

    abstract_column: str | None = Field(
        None, description="the name of the column with the abstracts"
    )
    id_column: str | None = Field(None, description="the name of the column with the ids")


class TitledColumnOptions(ColumnOptions):
    title_column: str | None = Field(None, description="the name of the column with the titles")


class LibraryOptions(TitledColumnOptions):
    """The columns of a table of papers, and the selection of items of a Zotero library."""

    collection: str | None = Field(
        None,
        description="only a collection of a Zotero library, NAME or PARENT/NAME, with its parts",
    )
    tag: tuple[str, ...] = Field(
        (), description="from a Zotero library, only items with this tag; may be repeated"
    )

    def table_columns(self) -> Columns:
        """Return the columns and the selection of the table."""
        from skills.corpus.tables.columns import Columns

        names = self.abstract_column, self.id_column, self.title_column
        return Columns(*names, self.collection, self.tag)


class DatabaseOptions(SkillOptions):
    db: Path | None = Field(None, description="the corpus database, instead of your own")


class RawOptions(SkillOptions):
    raw: bool = Field(
        False,
        description="save texts in .csv and .xlsx without the apostrophe that keeps a spreadsheet "
        "from running them",
    )


class DatasetOptions(RawOptions):
    """The options of saved tables, and of a dataset, `save to NAME.dataset/`."""

    abstracts: bool = Field(True, description="save a dataset without the texts of the abstracts")
    split: str | None = Field(
        None, pattern=r"^\w+(\.\w+)*$", description="the split of a dataset (default: train)"
    )


class AnswerOptions(SkillOptions):
    max_tokens: int | None = Field(
        None,
        ge=16,
        description="maximum number of tokens of an answer; default: enough for every annotation",
    )
    wording: Wording | None = Field(
        None,
        description="moves that quote the abstract (extractive) or are in a model's own words "
        "(abstractive); a model has one of them",
    )


class WorkerOptions(ClusterOptions):
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="number of parallel requests; default: as many as the model serves",
    )


class ReportOptions(SkillOptions):
    details: bool = Field(False, description="show all figures, not only the verdict")


class MapOptions(SkillOptions):
    move: tuple[str, ...] = Field(
        (), description="show clusters and timeline of this move, without a matrix; may be repeated"
    )
    rows: str | None = Field(None, description="the move of the rows (default: method)")
    columns: str | None = Field(None, description="the move of the columns (default: scope)")
    clusters: int | None = Field(
        None,
        ge=2,
        le=30,
        description="number of clusters of each move (default: chosen, at most 12)",
    )


def check_target(target: Path, subcommand: str) -> None:
    """Check that a subcommand of /corpus can save to a target.

    Raises:
        UsageError: only another subcommand saves files of this kind.
    """
    suffix, is_map = target.suffix.lower(), subcommand == "map"
    if is_map and target.name.lower().endswith(SAVED_SPANS):
        suffix = "".join(target.suffixes[-2:]).lower()
    if (is_map and suffix not in SAVES) or (not is_map and suffix in PICTURES):
        raise UsageError(
            f"/corpus {subcommand} saves no {suffix} file",
            where=str(target),
            hint=f"A map is saved as {', '.join(SAVES)}."
            if is_map
            else "`/corpus map` draws pictures.",
        )


def _sources(text: str | None) -> str | None:
    return None if text is None else ",".join(named(text, more=(CORPUS,)))


Sources = Annotated[str | None, AfterValidator(_sources)]
"""The names of sources, separated by commas."""


class SourceOptions(SkillOptions):
    source: Sources = Field(
        None, description=f"sources of ids, separated by commas: {','.join(NAMES)}"
    )


class BudgetOptions(SkillOptions):
    dry_run: bool = Field(False, description="show the cost without sending requests")


class FetchOptions(BudgetOptions, RawOptions):
    max: int = Field(50, ge=1, le=2000, description="maximum number of papers")
    year: str | None = Field(None, description="papers of 2024, 2023..2025, 2024.. or ..2022")


class CompleteOptions(SourceOptions, BudgetOptions):
    requests: int | None = Field(
        None,
        ge=1,
        description="maximum number of requests to each source; repeat the line to continue",
    )
    by_title: bool = Field(
        False, description="also look up papers without an identifier, with one request each"
    )
    refresh: bool = Field(False, description="also repeat lookups of the last 30 days")


class HubOptions(SkillOptions):
    """The options of a push to the Hugging Face Hub."""

    to: str | None = Field(None, description="the repository on the Hugging Face Hub, USER/REPO")
    public: bool = Field(
        False, description="create a public repository, or push to one (default: private)"
    )
