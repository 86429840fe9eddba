"""The skill /corpus. Everything it needs to work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.api.hookspecs import RegisterSkill, hookimpl
from harness.api.options import misplaced
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from skills.nanda.framework_option import FrameworkOption

_GOES_WITH = {
    "move": ("search",),
    "year": ("search",),
    "category": ("search",),
    "limit": ("search", "filter", "add"),
    "abstract_column": ("add",),
    "id_column": ("add",),
    "title_column": ("add",),
}
"""The options that are not for all subcommands."""
_SAVED = ("search", "filter", "export", "page")


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

    class Options(SkillOptions):
        db: Path | None = Field(None, description="the corpus database, instead of your own")
        framework: FrameworkOption = None
        move: tuple[str, ...] = Field((), description="search: in this move alone; may be repeated")
        year: str | None = Field(
            None, description="search: papers of 2024, 2023..2025, 2024.. or ..2022"
        )
        category: tuple[str, ...] = Field(
            (), description="search: papers with this category; may be repeated"
        )
        limit: int | None = Field(
            None,
            ge=1,
            description="search: moves at most (20 unless given); filter: papers at most (50 are "
            "shown unless given, and all saved); add: rows at most",
        )
        abstract_column: str | None = Field(None, description="add: the column of abstracts")
        id_column: str | None = Field(None, description="add: the column of ids")
        title_column: str | None = Field(None, description="add: the column of titles")

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
        _refuse_misplaced(call)
        from skills.corpus.commands import COMMANDS

        return COMMANDS[asked](call)


def _refuse_misplaced(call: Call) -> None:
    """Refuse options and targets that the subcommand would not look at."""
    asked = call.subcommand
    if wrong := misplaced(call.options, _GOES_WITH, asked):
        flag, subcommands = wrong
        raise UsageError(
            f"{flag} does not go with /corpus {asked}",
            hint=f"It goes with {', '.join(subcommands)}.",
        )
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
