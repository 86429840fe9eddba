"""Define the skill /corpus; the modules that execute it are imported when it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Document, DocumentSource, Impact, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.models.hub import HubPush
from harness.runs.targets import suffix_of
from harness.settings import Settings
from skills.corpus.options import (
    SAVED_REFERENCES,
    SAVED_SPANS,
    SAVED_TABLES,
    TABLES,
    DatabaseOptions,
    DatasetOptions,
    HubOptions,
    LibraryOptions,
    RawOptions,
    SourceOptions,
)
from skills.corpus.outputs import OUTPUTS, SUMMARIES
from skills.nanda.framework import FrameworkOption
from skills.nanda.text import set_of
from skills.reporting.outputs import Output

PICTURES = (".svg", ".png")
SAVES = (".html", ".json", *PICTURES)
"""The suffixes of files in which a map can be saved."""


class YearOptions(SkillOptions):
    year: str | None = Field(
        None, description="only papers of these years: 2024, 2023..2025, 2024.. or ..2022"
    )


class SearchOptions(YearOptions, DatasetOptions):
    move: tuple[str, ...] = Field((), description="search only this move; may be repeated")
    category: tuple[str, ...] = Field(
        (), description="only papers with this category; may be repeated"
    )
    limit: int | None = Field(None, ge=1, description="maximum number of moves (default: 20)")
    like: bool = Field(False, description="search only by meaning, without regard to the words")
    words: bool = Field(False, description="search only by words")


class SimilarOptions(SkillOptions):
    move: tuple[str, ...] = Field((), description="compare only this move (default: all)")
    limit: int | None = Field(None, ge=1, description="maximum number of papers (default: 10)")


class QuoteOptions(SkillOptions):
    limit: int | None = Field(None, ge=1, description="maximum number of passages (default: 20)")


class FilterOptions(DatasetOptions):
    limit: int | None = Field(
        None, ge=1, description="maximum number of papers (default: 50 are shown, all are saved)"
    )


class PullOptions(SkillOptions):
    local: bool = Field(
        False, description="use the running Zotero (10 or newer) instead of zotero.org"
    )


class ZoteroOptions(PullOptions):
    dry_run: bool = Field(False, description="show the changes without making them")


class PushOptions(ZoteroOptions):
    highlights: bool = Field(True, description="write only notes, without highlights in PDF files")


class AddOptions(SourceOptions, LibraryOptions):
    limit: int | None = Field(None, ge=1, description="read only the first N rows")


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
        description="maximum number of clusters of each move (default: chosen, at most 12)",
    )


class BudgetOptions(SkillOptions):
    dry_run: bool = Field(False, description="show the cost, and send no request")


class FetchOptions(BudgetOptions, YearOptions, RawOptions):
    max: int = Field(50, ge=1, le=2000, description="maximum number of papers")


class CompleteOptions(SourceOptions, BudgetOptions):
    requests: int | None = Field(
        None,
        ge=1,
        description="maximum number of requests to each source; repeat the line for the remaining "
        "papers",
    )
    by_title: bool = Field(
        False, description="also look up papers by title if the source knows none of their ids"
    )
    refresh: bool = Field(
        False, description="also look up papers that were looked up in the last 30 days"
    )


class Corpus(Skill, DocumentSource):
    name = "corpus"
    summary = "Search, filter, count and export the papers that have been annotated"
    usage = "TEXT"
    details = (
        "Arguments of the subcommands:\n"
        f"  add FILE       a {TABLES} file,\n"
        "                 a .md list of papers, a folder or pattern of .parquet files,\n"
        "                 references (.bib, .ris, .nbib, CSL-JSON),\n"
        "                 or a Zotero data directory or its zotero.sqlite (--collection, --tag);\n"
        "                 annotations are also imported if there is a column for each move;\n"
        "                 or a .txt list of DOIs, arXiv ids and PMIDs, which are looked up\n"
        '  fetch SOURCE "QUERY"\n'
        "                 add papers that openalex, crossref, semanticscholar, pubmed or arxiv\n"
        "                 finds; commas separate several sources\n"
        "  index FOLDER   a folder of .parquet files, which --db FOLDER then reads\n"
        '  search WORDS   words or a meaning; "words in double quotes" must occur as a phrase\n'
        '  quote "TEXT"   a piece of the wording of an abstract or of a move, ignoring case\n'
        "  filter CONDITION ...\n"
        "                 all conditions must hold: limitation=stated scope=unstated\n"
        '                 comparison~baseline claim!~"a phrase" year=2023..2025 category=cs.CL\n'
        "                 model=NAME support<0.5 unsupported>0; != is the opposite of =\n"
        "  show ID, split ID, similar ID\n"
        "                 the id of a paper in its source, its number in the corpus, or its DOI,\n"
        "                 arXiv id, PMID or OpenAlex id\n"
        "  export FILE    all annotations, in any of the formats below\n"
        "  page [FILE]    all annotations as an HTML page\n"
        "  highlight [ID|CONDITION ...]\n"
        "                 all papers that were annotated from PDF files, or the selected papers;\n"
        "                 `save to FOLDER/` saves copies\n"
        "  map [CONDITION ...]\n"
        "                 all papers, or the papers that `filter` finds; `save to` an .html,\n"
        "                 .svg, .png or .json file\n"
        "  push FOLDER.dataset\n"
        "                 a folder that `save to FOLDER.dataset/` has written, --to USER/REPO\n"
        "  zotero-push [CONDITION ...]\n"
        "                 all annotations of papers from Zotero, or the annotations that `filter`\n"
        "                 finds; ZOTERO_API_KEY is a key with permission to write\n"
        "\n"
        "`save to PATH` saves the results of search and filter."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "add": "import papers and annotations from a file",
        "search": "find moves by words and by meaning, best matches first",
        "similar": "find the papers nearest to a paper, by one move or by all moves",
        "quote": "find passages of abstracts and moves by a piece of their wording",
        "filter": "find papers by what their annotations state",
        "stats": "show statistics: moves by category and year, unsupported numbers, failures",
        "show": "show a paper with its annotations",
        "export": "write all annotations to a file",
        "page": "write all annotations to an HTML page (corpus.html)",
        "highlight": "write copies of PDF files with the passages of their moves highlighted",
        "fetch": "search sources such as openalex, and add the papers that they find",
        "complete": "look up abstracts, DOIs, years, venues, citations and retractions",
        "map": "cluster papers by their moves, with a timeline and a matrix that shows gaps",
        "index": "prepare a folder of Parquet parts for --db FOLDER",
        "verify": "compute all content keys again, and report differences",
        "duplicates": "show which papers were merged or linked, and by which rule",
        "split": "undo the merges and links of a paper permanently",
        "set-aside": "rename a damaged database; the next command begins a new one",
        "push": "push a dataset of annotations to the Hugging Face Hub, if you agree",
        "zotero-push": "write annotations into Zotero: notes of items, highlights in PDF files",
        "zotero-undo": "delete the notes and highlights of zotero-push that no person has changed",
        "zotero-pull": "read people's highlights and comments in the PDF files of your papers",
    }
    phrases = ("search",)
    saves = (*SAVED_TABLES, ".json", ".md", ".html", *SAVED_REFERENCES, *SAVED_SPANS, *PICTURES)
    folders = ("", ".vault", ".dataset")
    target_text: ClassVar[dict[str, str]] = {"export": "", "page": "corpus.html"}

    impact: ClassVar[dict[str, Impact]] = {
        **dict.fromkeys(
            set_of("search similar quote filter stats show map verify duplicates"), "reads"
        ),
        **dict.fromkeys(
            set_of("add fetch complete index export page highlight zotero-pull"), "adds"
        ),
    }
    output: ClassVar[dict[str, type[BaseModel]]] = {**OUTPUTS, "push": HubPush}
    output_summary: ClassVar[dict[str, type[Output]]] = SUMMARIES

    class Options(
        CompleteOptions,
        FetchOptions,
        AddOptions,
        FilterOptions,
        QuoteOptions,
        SimilarOptions,
        SearchOptions,
        MapOptions,
        PushOptions,
        HubOptions,
        DatabaseOptions,
    ):
        db: Path | None = Field(
            None,
            description="the corpus to use instead of your own: a database, or a folder of Parquet "
            "parts to read",
        )
        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "search": SearchOptions,
        "similar": SimilarOptions,
        "quote": QuoteOptions,
        "filter": FilterOptions,
        "export": DatasetOptions,
        "add": AddOptions,
        "fetch": FetchOptions,
        "complete": CompleteOptions,
        "map": MapOptions,
        "push": HubOptions,
        "zotero-push": PushOptions,
        "zotero-undo": ZoteroOptions,
        "zotero-pull": PullOptions,
    }

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        from skills.corpus.search.filters import FIELDS
        from skills.nanda.framework import nanda

        if option in ("--move", "--rows", "--columns"):
            return {move.name: "" for move in nanda().moves}
        if option or subcommand not in ("filter", "map"):
            return {}
        states = [f"{name}={state}" for name in nanda().names for state in ("stated", "unstated")]
        return dict.fromkeys((*states, *(f"{name}=" for name in FIELDS)), "")

    def offer(self, wish: str) -> str:
        about = re.search(
            r"\b(?:papers?|evidence|corpus)\b[^?.!]*?\b(?:on|about|that|with|for|mention)\s+([^?.!]+)",
            wish,
            re.IGNORECASE,
        )
        counted = re.search(r"\bhow many\s+papers\b", wish, re.IGNORECASE)
        return f"search {about[1]}" if about else "stats" * bool(counted)

    def piped_as(self, text: str, subcommand: str) -> str:
        from skills.corpus.lookups.id_list import id_in
        from skills.corpus.tables.text_formats import suffix_of

        if subcommand != "add":
            return ""
        lines = text.split("\n")
        return ".txt" if all(map(id_in, filter(str.strip, lines))) else suffix_of(text) or ".csv"

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        from skills.corpus.sources.services import VARIABLE

        assert isinstance(options, Corpus.Options)
        where = f"the database {options.db}" if options.db else "your corpus"
        changes = {
            "add": f"adds papers and annotations to {where}{_sends(options)}",
            "fetch": f"sends the query to the named sources and adds papers to {where}",
            "complete": f"adds facts to the papers of {where}{_sends(options, VARIABLE)}",
            "split": f"splits a paper of {where}",
            "index": "adds an index to the folder of parts",
            "set-aside": f"renames {where} if it is damaged",
            "push": f"sends the dataset to {options.to} on the Hugging Face Hub",
            "zotero-push": "writes notes and highlights into your Zotero library",
            "zotero-undo": "deletes notes and highlights from your Zotero library",
            "zotero-pull": f"reads the highlights of your Zotero library into {where}",
        }
        return changes.get(subcommand, "")

    def documents(self, settings: Settings, after: str, most: int) -> Sequence[Document]:
        from skills.corpus import views

        return views.listed(settings, after, most)

    def document(self, settings: Settings, key: str) -> str:
        from skills.corpus import views

        return views.read(settings, key)

    def run(self, call: Call) -> Result:
        if not call.subcommand:
            word = call.text.split(maxsplit=1)[:1]
            raise UsageError(
                f"/corpus has no subcommand {word[0][:40]!r}"
                if word
                else "/corpus needs a subcommand",
                hint=f"Subcommands: {', '.join(self.subcommands)}.",
            )
        if call.targets and call.subcommand not in self.output_summary:
            raise UsageError(
                f"/corpus {call.subcommand} saves no file",
                hint="--json prints the result as JSON.",
            )
        for target in call.targets:
            _check_target(target, call.subcommand)
        from skills.corpus import exporters
        from skills.corpus.commands import execute

        exporters.check_folders(call, self, of_pdfs=call.subcommand == "highlight")

        return execute(call)


def _check_target(target: Path, subcommand: str) -> None:
    """Raise UsageError if the subcommand cannot save a file in the format of the target."""
    suffix = suffix_of(target, SAVED_SPANS) or target.suffix.lower()
    problem, hint = f"/corpus {subcommand} cannot save a {suffix} file", ""
    if subcommand == "map" and suffix not in SAVES:
        hint = f"A map is saved as {', '.join(SAVES)}."
    elif subcommand != "map" and suffix in PICTURES:
        hint = "`/corpus map` draws pictures."
    elif subcommand == "page" and suffix != ".html":
        problem, hint = "a page is an .html file", "/corpus export writes the other formats."
    if hint:
        raise UsageError(problem, where=str(target), hint=hint)


def _sends(options: Corpus.Options, variable: str = "") -> str:
    """Return the part of an effect that names the sources to which data is sent, or "".

    Args:
        variable: the environment variable that names the sources without `--source`, or "".
    """
    sources, titles = options.source or os.environ.get(variable), " and titles" * options.by_title
    return f", sending ids{titles} to {sources}" if sources else ""


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Corpus())
