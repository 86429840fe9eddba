"""Options that several skills share, and the suffixes of files that are read and saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.api.options import ClusterOptions
from harness.api.skill import SkillOptions
from harness.errors import UsageError
from harness.runs.targets import suffix_of
from skills.corpus.sources.names import CORPUS, NAMES, named

if TYPE_CHECKING:
    from skills.corpus.tables.columns import Columns

TABLES = ".csv, .tsv, .xlsx, .ods, .xls, .jsonl or .parquet"
"""The suffixes of readable tables, as text (see `table.reader_class`)."""
SAVED_TABLES = (".jsonl", ".csv", ".xlsx", ".parquet")
"""The suffixes of tables that contain annotations, for saving and reading."""
SAVED_REFERENCES = (".bib", ".ris", ".csl.json")
"""The suffixes of reference files that are saved; annotations are saved as notes."""
SAVED_SPANS = (".annotations.json", ".labelstudio.json", ".argilla.json")
"""The suffixes of files that contain the passages of moves, for annotation tools."""
Wording = Literal["extractive", "abstractive"]
PICTURES = (".svg", ".png")
SAVES = (".html", ".json", *PICTURES)
"""The suffixes of files in which a map can be saved."""


def as_share(given: object) -> object:
    """Return a percentage such as "20%" as the number 0.2; return other values unchanged."""
    text = str(given).strip()
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else given
    except ValueError:
        return given


ShareOption = Annotated[float, BeforeValidator(as_share), Field(ge=0, le=1)]
"""A number from 0 to 1; "20%" is also accepted."""


class ColumnOptions(SkillOptions):
    """Options that name columns of a table; other columns are found by their usual names."""

    abstract_column: str | None = Field(
        None, description="the name of the column with the abstracts"
    )
    id_column: str | None = Field(None, description="the name of the column with the ids")


class TitledColumnOptions(ColumnOptions):
    title_column: str | None = Field(None, description="the name of the column with the titles")


class LibraryOptions(TitledColumnOptions):
    """Options for the columns of a table of papers, and for the items of a Zotero library."""

    collection: str | None = Field(
        None, description="read only this collection of a Zotero library: NAME or PARENT/NAME"
    )
    tag: tuple[str, ...] = Field(
        (), description="read only items of a Zotero library with this tag; may be repeated"
    )

    def table_columns(self) -> Columns:
        """Return the values of these options for a reader of tables."""
        from skills.corpus.tables.columns import Columns

        names = self.abstract_column, self.id_column, self.title_column
        return Columns(*names, self.collection, self.tag)


class DatabaseOptions(SkillOptions):
    db: Path | None = Field(None, description="the corpus database to use instead of your own")


class RawOptions(SkillOptions):
    raw: bool = Field(
        False,
        description="save .csv and .xlsx cells without the apostrophe that keeps a spreadsheet "
        "from executing them",
    )


class DatasetOptions(RawOptions):
    """Options for saved tables and for datasets (`save to NAME.dataset/`)."""

    abstracts: bool = Field(True, description="save a dataset without the texts of the abstracts")
    split: str | None = Field(
        None,
        pattern=r"^\w+(\.\w+)*$",
        description="the name of the split that is saved in a dataset (default: train)",
    )


class AnswerOptions(SkillOptions):
    max_tokens: int | None = Field(
        None,
        ge=16,
        description="maximum number of tokens of an answer (default: enough for every annotation)",
    )
    wording: Wording | None = Field(
        None,
        description="the required wording: moves that quote the abstract (extractive), or moves in "
        "the words of the model (abstractive)",
    )


class WorkerOptions(ClusterOptions):
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="number of parallel requests (default: as many as the model serves)",
    )


class ReportOptions(SkillOptions):
    details: bool = Field(False, description="show all figures instead of only the verdict")


class MapOptions(SkillOptions):
    move: tuple[str, ...] = Field(
        (), description="show clusters and timeline of this move, without a matrix; may be repeated"
    )
    rows: str | None = Field(
        None, description="the move in the rows of the matrix (default: method)"
    )
    columns: str | None = Field(
        None, description="the move in the columns of the matrix (default: scope)"
    )
    clusters: int | None = Field(
        None,
        ge=2,
        le=30,
        description="number of clusters of each move (default: chosen automatically, at most 12)",
    )


def check_target(target: Path, subcommand: str) -> None:
    """Check that a map is saved in a format of `SAVES`, and that only a map is saved as a picture.

    Raises:
        UsageError: the subcommand cannot save this format.
    """
    is_map = subcommand == "map"
    suffix = suffix_of(target, SAVED_SPANS) or target.suffix.lower()
    if (is_map and suffix not in SAVES) or (not is_map and suffix in PICTURES):
        raise UsageError(
            f"/corpus {subcommand} cannot save a {suffix} file",
            where=str(target),
            hint=f"A map is saved as {', '.join(SAVES)}."
            if is_map
            else "`/corpus map` draws pictures.",
        )


def _sources(text: str | None) -> str | None:
    return None if text is None else ",".join(named(text, more=(CORPUS,)))


Sources = Annotated[str | None, AfterValidator(_sources)]
"""Names of sources, separated by commas; unknown names are refused."""


class SourceOptions(SkillOptions):
    source: Sources = Field(
        None,
        description="sources at which papers are looked up, separated by commas: "
        f"{','.join(NAMES)}",
    )


class BudgetOptions(SkillOptions):
    dry_run: bool = Field(False, description="show the cost, and send no request")


class FetchOptions(BudgetOptions, RawOptions):
    max: int = Field(50, ge=1, le=2000, description="maximum number of papers")
    year: str | None = Field(
        None, description="only papers of these years: 2024, 2023..2025, 2024.. or ..2022"
    )


class CompleteOptions(SourceOptions, BudgetOptions):
    requests: int | None = Field(
        None,
        ge=1,
        description="maximum number of requests to each source; repeat the line for the remaining "
        "papers",
    )
    by_title: bool = Field(
        False, description="also look up papers without an identifier, with one request each"
    )
    refresh: bool = Field(
        False, description="also look up papers that were looked up in the last 30 days"
    )


class HubOptions(SkillOptions):
    """The options of a push to the Hugging Face Hub."""

    to: str | None = Field(None, description="the repository on the Hugging Face Hub, USER/REPO")
    public: bool = Field(
        False, description="create or update a public repository (default: private)"
    )
