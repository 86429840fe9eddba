"""Options that several skills share, suffixes of files, and the names of sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.api.options import ClusterOptions
from harness.api.skill import SkillOptions

if TYPE_CHECKING:
    from skills.corpus.tables.columns import Columns

TABLES = ".csv, .tsv, .xlsx, .ods, .xls, .jsonl or .parquet"
"""The suffixes of readable tables, as text (see `table.READERS`)."""
SAVED_TABLES = (".jsonl", ".csv", ".xlsx", ".parquet")
"""The suffixes of tables that contain annotations, for saving and reading."""
SAVED_REFERENCES = (".bib", ".ris", ".csl.json")
"""The suffixes of reference files that are saved; annotations are saved as notes."""
SAVED_SPANS = (".annotations.json", ".labelstudio.json", ".argilla.json")
"""The suffixes of files that contain the passages of moves, for annotation tools."""
Wording = Literal["extractive", "abstractive"]

NAMES = ("openalex", "crossref", "semanticscholar", "pubmed", "arxiv")
CORPUS = "corpus"
"""The name of the corpus as a value of `--source`; the corpus is not one of the sources."""


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


def named(text: str, *, more: Sequence[str] = ()) -> list[str]:
    """Return the names in a comma-separated list of sources, without repetitions.

    Args:
        more: names that are accepted besides the sources.

    Raises:
        ValueError: a name is unknown, or the list is empty.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES and name not in more:
            raise ValueError(
                f"unknown source {name[:40]!r}; choose from {', '.join((*more, *NAMES))}"
            )
    if not names:
        raise ValueError(f"no source is named; choose from {', '.join((*more, *NAMES))}")
    return names


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


class HubOptions(SkillOptions):
    """The options of a push to the Hugging Face Hub."""

    to: str | None = Field(None, description="the repository on the Hugging Face Hub, USER/REPO")
    public: bool = Field(
        False, description="create or update a public repository (default: private)"
    )
