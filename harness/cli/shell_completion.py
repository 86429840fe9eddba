"""The scripts of `nanda completion SHELL`, with which a shell completes lines.

A script contains a table of the words that a session offers for completion. The shell therefore
does not start the program when the user presses Tab. Each row of the table has a context, a word,
and a description, separated by tabs:

    line            /corpus     Keep, search and export papers
    /corpus         search      find papers
    /corpus search  --limit     N  number of papers
    /corpus search  :paths      (the word may be a path)
    /corpus --sort  year        (a value of the option)
    *               --json      (a general option, for each context with a row :general)

The scripts in shells/ find the context of the word at the cursor, also within quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.document import Document

from harness.api.options import Flag, GeneralOptions, ProgramOptions, flags, flags_for
from harness.api.skill import Skill
from harness.cli.completion import LineCompleter, Rows
from harness.errors import UsageError
from harness.plugins.catalogue import Catalogue

SHELLS = {"bash": "bash", "zsh": "zsh", "fish": "fish", "powershell": "ps1"}
"""The suffixes of the scripts in shells/, by the name of the shell."""
PROGRAM = {
    "--help": "show how the program is called",
    "--version": "show the version",
    ":general": "",
    ":paths": "",
    "mcp": "serve the skills to other agents",
    "acp": "serve an editor",
    "completion": "print the script with which a shell completes lines",
}
"""Words that may precede or replace a line, with descriptions. The words :general and :paths are
entries of the table that represent the general options and any path.
"""
OF_SESSION = ("resume",)
"""Commands whose completions are numbers of stored sessions, which a script cannot contain."""
ABOUT = 80
"""Maximum number of characters of a description."""
_Row = tuple[str, str, str]


def script(shell: str, catalogue: Catalogue, models: Rows) -> str:
    """Return the completion script of a shell.

    Args:
        models: names of models, each with a few words of description.

    Raises:
        UsageError: the shell is unknown.
    """
    if shell not in SHELLS:
        raise UsageError(
            f"there is no completion for {shell[:40]!r}" if shell else "the shell is missing",
            hint=f"Use `nanda completion` with {', '.join(SHELLS)}.",
        )
    template = Path(__file__).with_name("shells") / f"nanda.{SHELLS[shell]}"
    table = "\n".join(map("\t".join, _clean(_Words(catalogue, models).rows())))
    return template.read_text(encoding="utf-8").rstrip("\n").replace("@TABLE@", table)


def _clean(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Yield each row once, in a form that can be written between single quotes in each shell.

    Rows whose word contains white space, a quote, a backslash, a backtick or $ are left out. In
    descriptions, apostrophes and backslashes are replaced. Long descriptions are cut.
    """
    for context, word, about in dict.fromkeys(rows):
        if not re.search(r"[\s'\"\\`$]", word):
            shown = re.sub(r"[\s\\]+", " ", about.replace("'", "\N{MODIFIER LETTER APOSTROPHE}"))
            yield context, word, shown[:ABOUT].strip()


class _Words:
    """The words that a session offers for completion in each context."""

    def __init__(self, catalogue: Catalogue, models: Rows) -> None:
        self._skills = {name: one for name, one in catalogue.skills.items() if one.for_users}
        names = list(models)
        files = [Completion(":paths")]
        self._completer = LineCompleter(lambda: catalogue, lambda: names, lambda _: files)

    def rows(self) -> Iterator[_Row]:
        """Yield the rows of the program, of its general options, and of each command."""
        yield "-o", ":paths", ""
        yield from self._options("*", flags(GeneralOptions))
        for word, about in (*self._offered("/"), *PROGRAM.items()):
            yield "line", word, about
        yield from self._options("line", flags(ProgramOptions))
        yield from (("completion", shell, "") for shell in SHELLS)
        yield from (("mcp", "--skills", PROGRAM["mcp"]), ("mcp --skills", ":none", ""))
        for name, found in self._skills.items():
            for subcommand in ("", *found.skill.subcommands):
                yield from self._command(found.skill, f"/{name} {subcommand}".rstrip(), subcommand)
            for word, about in self._offered(f"/help {name} "):
                yield f"/help {name}", word, about

    def _command(self, skill: Skill, context: str, subcommand: str) -> Iterator[_Row]:
        if skill.name not in OF_SESSION:
            yield from ((context, *row) for row in self._offered(f"{context} "))
        if not skill.flags_are_text:
            yield context, ":general", ""
            yield from self._options(context, flags_for(skill, subcommand))

    def _options(self, context: str, given: Mapping[str, Flag]) -> Iterator[_Row]:
        """Yield rows with the options, and rows with the values of each option that has a value."""
        for flag in given.values():
            yield context, flag.name, f"{flag.metavar}  {flag.help}".strip()
            if flag.sets is None:
                line = f"{context if context[0] == '/' else '/help'} {flag.name} "
                for word, about in list(self._offered(line)) or [(":none", "")]:
                    yield f"{context} {flag.name}", word, about

    def _offered(self, line: str) -> Iterator[tuple[str, str]]:
        event = CompleteEvent(completion_requested=True)
        for one in self._completer.get_completions(Document(line), event):
            yield one.text, one.display_meta_text
