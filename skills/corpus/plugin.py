"""Define the skill /corpus; its dependencies are imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from harness.api.document import Document, DocumentSource
from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Impact, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.settings import Settings
from skills.corpus.options import DatabaseOptions, TitledColumnOptions
from skills.corpus.outputs import OUTPUTS, SUMMARIES
from skills.nanda.framework_option import FrameworkOption

_SAVED = ("search", "filter", "export", "page")


class SearchOptions(SkillOptions):
    move: tuple[str, ...] = Field((), description="only in this move; may be repeated")
    year: str | None = Field(None, description="papers of 2024, 2023..2025, 2024.. or ..2022")
    category: tuple[str, ...] = Field((), description="papers with this category; may be repeated")
    limit: int | None = Field(None, ge=1, description="maximum number of moves (default: 20)")


class QuoteOptions(SkillOptions):
    limit: int | None = Field(None, ge=1, description="maximum number of passages (default: 20)")


class FilterOptions(SkillOptions):
    limit: int | None = Field(
        None, ge=1, description="maximum number of papers (default: 50 are shown, all are saved)"
    )


class AddOptions(TitledColumnOptions):
    limit: int | None = Field(None, ge=1, description="only the first N rows")


class Corpus(Skill, DocumentSource):
    name = "corpus"
    summary = "Search, filter, count and export the papers that have been annotated"
    usage = "TEXT"
    details = (
        "Arguments of the subcommands:\n"
        "  add FILE       a table of papers (.csv, .tsv, .jsonl, .parquet, .md); with a column\n"
        "                 for each move, annotations are imported, too; no model is used\n"
        '  search WORDS   all must be in one move; "words in double quotes" are a phrase\n'
        '  quote "TEXT"   a piece of the wording of an abstract or of a move, in any case\n'
        "  filter CONDITION ...\n"
        "                 all must hold: limitation=stated scope=unstated comparison~baseline\n"
        '                 claim!~"a phrase" year=2023..2025 category=cs.CL model=NAME\n'
        "                 support<0.5 unsupported>0; != is the opposite of =\n"
        "  show ID        the id of a paper in its source, or its number in the corpus\n"
        "  export FILE    all annotations, in any of the formats below\n"
        "  page [FILE]    all annotations as an HTML page\n"
        "\n"
        "`save to PATH` saves the results of search and filter."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "add": "import papers and annotations from a file",
        "search": "find moves by their words, best matches first",
        "quote": "find passages of abstracts and moves by a piece of their wording",
        "filter": "find papers by what their annotations state",
        "stats": "statistics: stated moves by category and year, unknown numbers, failures",
        "show": "show a paper with its annotations",
        "export": "write all annotations to a file",
        "page": "write all annotations to an HTML page (corpus.html)",
        "verify": "compute all keys again and report the annotations that do not match theirs",
        "set-aside": "rename a damaged database, so that the next command begins a new one",
    }
    saves = (".jsonl", ".csv", ".parquet", ".json", ".md", ".html")
    target_text: ClassVar[dict[str, str]] = {"export": "", "page": "corpus.html"}

    impact: ClassVar[dict[str, Impact]] = {
        **dict.fromkeys(("search", "quote", "filter", "stats", "show", "verify"), "reads"),
        **dict.fromkeys(("add", "export", "page"), "adds"),
    }
    output = OUTPUTS
    output_summary = SUMMARIES

    class Options(AddOptions, FilterOptions, QuoteOptions, SearchOptions, DatabaseOptions):
        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "search": SearchOptions,
        "quote": QuoteOptions,
        "filter": FilterOptions,
        "add": AddOptions,
    }

    def completions(self, option: str, subcommand: str) -> Mapping[str, str]:
        from skills.corpus.search.filters import FIELDS
        from skills.nanda.framework import nanda

        if option == "--move":
            return {move.name: "" for move in nanda().moves}
        if option or subcommand != "filter":
            return {}
        states = [f"{name}={state}" for name in nanda().names for state in ("stated", "unstated")]
        return dict.fromkeys((*states, *(f"{name}=" for name in FIELDS)), "")

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Corpus.Options)
        where = f"the database {options.db}" if options.db else "your corpus"
        changes = {
            "add": f"adds papers and annotations to {where}",
            "set-aside": f"renames {where} if it is damaged",
        }
        return changes.get(subcommand, "")

    def documents(self, settings: Settings, after: str, most: int) -> Sequence[Document]:
        from skills.corpus import papers_to_read

        return papers_to_read.listed(settings, after, most)

    def document(self, settings: Settings, key: str) -> str:
        from skills.corpus import papers_to_read

        return papers_to_read.read(settings, key)

    def run(self, call: Call) -> Result:
        if not call.subcommand:
            word = call.text.split(maxsplit=1)[:1]
            raise UsageError(
                f"/corpus has no subcommand {word[0][:40]!r}"
                if word
                else "/corpus needs a subcommand",
                hint=f"It has {', '.join(self.subcommands)}.",
            )
        if call.targets and call.subcommand not in _SAVED:
            raise UsageError(
                f"/corpus {call.subcommand} saves no file",
                hint="--json prints its result as JSON.",
            )
        for target in call.targets if call.subcommand == "page" else ():
            if target.suffix.lower() != ".html":
                raise UsageError(
                    "a page is an .html file",
                    where=str(target),
                    hint="/corpus export writes the other formats.",
                )
        from skills.corpus.commands import COMMANDS

        return COMMANDS[call.subcommand](call)


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Corpus())
