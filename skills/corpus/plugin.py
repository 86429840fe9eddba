"""The skill /corpus. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.corpus.options import DatabaseOptions, TitledColumnOptions
from skills.nanda.framework_option import FrameworkOption

_SAVED = ("search", "filter", "export", "page")


class SearchOptions(SkillOptions):
    move: tuple[str, ...] = Field((), description="only in this move; may be repeated")
    year: str | None = Field(None, description="papers of 2024, 2023..2025, 2024.. or ..2022")
    category: tuple[str, ...] = Field((), description="papers with this category; may be repeated")
    limit: int | None = Field(None, ge=1, description="maximum number of moves (default: 20)")


class FilterOptions(SkillOptions):
    limit: int | None = Field(
        None, ge=1, description="maximum number of papers (default: 50 are shown, all are saved)"
    )


class AddOptions(TitledColumnOptions):
    limit: int | None = Field(None, ge=1, description="only the first N rows")


class Corpus(Skill):
    name = "corpus"
    summary = "Search, filter, count and export the papers that have been annotated"
    usage = "TEXT"
    details = (
        "What follows a subcommand:\n"
        "  add FILE       a table of papers (.csv, .tsv, .jsonl, .parquet, .md); where it has a\n"
        "                 column for each move, with their annotations; no model is asked\n"
        '  search WORDS   all of them in one move; "words in double quotes" are a phrase\n'
        "  filter CONDITION ...\n"
        "                 all of them: limitation=stated scope=unstated comparison~baseline\n"
        '                 claim!~"a phrase" year=2023..2025 category=cs.CL model=NAME\n'
        "                 support<0.5 unsupported>0; != is the opposite of =\n"
        "  show ID        the id that a paper has in its source, or its number in the corpus\n"
        "  export FILE    all annotations, in any of the formats below\n"
        "  page [FILE]    the same as a page to look at\n"
        "\n"
        "`save to PATH` keeps what search and filter find."
    )
    text = "optional"
    subcommands: ClassVar[dict[str, str]] = {
        "add": "take in papers and annotations from a file",
        "search": "find moves by their words, the best first",
        "filter": "find papers by what their annotations state",
        "stats": "count: who states what, by category and year; support; failures",
        "show": "one paper with its annotation",
        "export": "write all annotations to a file",
        "page": "write all annotations to a page for the browser (corpus.html)",
        "verify": "compute all keys anew, and say which annotations do not agree with theirs",
    }
    saves = (".jsonl", ".csv", ".parquet", ".json", ".md", ".html")
    target_text: ClassVar[dict[str, str]] = {"export": "", "page": "corpus.html"}

    class Options(AddOptions, FilterOptions, SearchOptions, DatabaseOptions):
        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "search": SearchOptions,
        "filter": FilterOptions,
        "add": AddOptions,
    }

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        assert isinstance(options, Corpus.Options)
        where = f"the database {options.db}" if options.db else "your corpus"
        return f"takes papers and annotations into {where}" if subcommand == "add" else ""

    def run(self, call: Call) -> Result:
        asked = call.subcommand
        if not asked:
            word = call.text.split(maxsplit=1)[:1]
            raise UsageError(
                f"/corpus has no subcommand {word[0][:40]!r}"
                if word
                else "/corpus needs a subcommand",
                hint=f"It has {', '.join(self.subcommands)}.",
            )
        _check_targets(call)
        from skills.corpus.commands import COMMANDS

        return COMMANDS[asked](call)


def _check_targets(call: Call) -> None:
    """Raise UsageError for targets that the subcommand does not write."""
    asked = call.subcommand
    if call.targets and asked not in _SAVED:
        raise UsageError(f"/corpus {asked} saves no file", hint="--json prints its result as JSON.")
    if asked == "page":
        for target in call.targets:
            if target.suffix.lower() != ".html":
                raise UsageError(
                    "a page is an .html file",
                    where=str(target),
                    hint="/corpus export writes the other formats.",
                )


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Corpus())
