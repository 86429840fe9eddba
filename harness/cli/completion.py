"""Complete lines in a session: names of commands, subcommands, options, values and files.

In plain text, only names of files after @ are completed. After /chat, options are completed as
well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from harness.plugins.catalogue import Catalogue

if TYPE_CHECKING:
    from harness.api.options import Flag
    from harness.api.skill import Skill


_LAST = re.compile(r"""(?:(?<=\s)|\A)(?:"[^"]*|'[^']*|\S*)\Z""")
"""Matches the last word of a line, including its opening quote."""
_ATTACHED = re.compile(r"""(?:\A|\s)@("[^"\n]*|'[^'\n]*|\S*)\Z""")
_MODELS = ("--model", "--models")
Rows = Iterable[tuple[str, str]]
MOST = 200
"""Maximum number of entries of a folder that are offered."""


class LineCompleter(Completer):
    """A completer of the word before the cursor.

    Args:
        catalogue: returns the catalogue, which /reload replaces.
        models: returns the names for --model, each with a few words of description.
        files: completes the beginning of a path; by default, from the file system.
    """

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        models: Callable[[], Rows] = lambda: (),
        files: Callable[[str], Iterable[Completion]] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._models = models
        self._files = files or paths

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        before = document.text_before_cursor
        name, blank, rest = before.partition(" ")
        if not before.startswith("/") or name == "/chat":
            if attached := _ATTACHED.search(before):
                yield from self._files(attached[1])
                return
            if not before.startswith("/"):
                return
        catalogue = self._catalogue()
        if not blank:
            rows = [
                *_skills(catalogue, typed=True),
                *((n, f"disabled; /skills enable {n}") for n in catalogue.disabled),
                *((n, "a plugin that is not trusted") for n in catalogue.untrusted),
            ]
            yield from _matching(before, sorted((f"/{n}", about) for n, about in rows))
        elif (found := catalogue.skills.get(name[1:])) is not None:
            yield from self._arguments(found.skill, rest, complete_event.completion_requested)

    def _arguments(self, skill: Skill, rest: str, requested: bool) -> Iterator[Completion]:
        """Yield completions of the last word: an option, the value of an option, or other text.

        Args:
            rest: the text between the name of the command and the cursor.
            requested: True if the user pressed Tab. Otherwise, files are offered for a word of the
                text only if the word is probably the name of a file.
        """
        match = _LAST.search(rest)
        word = match[0] if match else ""
        before = rest[: len(rest) - len(word)].split()
        subcommand = before[0] if before and before[0] in skill.subcommands else ""
        flags = _flags(skill, subcommand)
        valued = {name: flag for name, flag in flags.items() if flag.sets is None}
        option = valued.get(before[-1]) if before else None
        name, equals, value = word.partition("=")
        if equals and name in valued:
            word, option = value, valued[name]
        if before[-1:] == ["-o"] or before[-2:] == ["save", "to"]:
            yield from self._files(word)
        elif option:
            if option.choices:
                yield from _matching(word, [(choice, "") for choice in option.choices])
            elif option.name in _MODELS:
                yield from _matching(word.rpartition(",")[2], self._models())
            elif option.metavar.startswith("PATH"):
                yield from self._files(word)
            yield from _matching(word, _offered(skill, option.name, subcommand))
        elif word.startswith("-"):
            unused = (f for f in flags.values() if f.many or f.name not in before)
            rows = [(f.name, f"{f.metavar}  {f.help}".strip()) for f in unused]
            yield from _matching(word, rows)
        else:
            catalogue = self._catalogue()
            if not before:
                yield from _matching(word, skill.subcommands.items())
            yield from _matching(word, self._names(catalogue, [skill.name, *before]))
            yield from _matching(word, _offered(skill, "", subcommand))
            texts = [w for w in before if not w.startswith("-") and w != subcommand]
            likely = bool(word) and (not texts or word[0] in "~./'\"" or "/" in word)
            reads = skill.name not in catalogue.framework or subcommand in ("add", "sync")
            if skill.text != "none" and reads and (requested or likely):
                yield from self._files(word)

    def _names(self, catalogue: Catalogue, words: Sequence[str]) -> Rows:
        """Return the names that /help, /skills and /model accept after these words, and their help.

        The result is empty for other words.
        """
        waiting = [(name, file.description) for name, file in catalogue.untrusted.items()]
        theirs = [row for row in _skills(catalogue) if row[0] not in catalogue.framework]
        match words:
            case ["help"]:
                return _skills(catalogue)
            case ["help", name] if found := catalogue.skills.get(name.removeprefix("/")):
                return found.skill.subcommands.items()
            case ["model"]:
                return self._models()
            case ["skills"]:
                return [*_skills(catalogue), *waiting]
            case ["skills", "remove" | "test" | "check" | "update"]:
                return theirs
            case ["skills", "trust"]:
                return waiting
            case ["skills", "disable"]:
                return [*theirs, *waiting, *((f.name, f.reason) for f in catalogue.failures)]
            case ["skills", "enable"]:
                return list(catalogue.disabled.items())
        return []


def _skills(catalogue: Catalogue, *, typed: bool = False) -> list[tuple[str, str]]:
    """Return names and summaries of skills. The hint of a prompt skill precedes its summary.

    Args:
        typed: True to return only skills that the user may call.
    """
    from harness.agent_skills.prompt_skill import PromptSkill

    rows = []
    for name, found in catalogue.skills.items():
        if found.for_users or not typed:
            hint = found.imported.hint if isinstance(found.imported, PromptSkill) else ""
            rows.append((name, f"{hint}  {found.summary}" if hint else found.summary))
    return rows


def _flags(skill: Skill, subcommand: str) -> dict[str, Flag]:
    if skill.flags_are_text:
        return {}
    from harness.api import options

    return options.flags_for(skill, subcommand) | options.flags(options.GeneralOptions)


def _offered(skill: Skill, option: str, subcommand: str) -> Rows:
    """Return the completions of the skill, or no completions if its code fails."""
    try:
        return list(skill.completions(option, subcommand).items())
    except Exception:  # noqa: BLE001  the code of a plugin must not break typing
        return ()


def _matching(word: str, rows: Rows) -> Iterator[Completion]:
    """Yield a completion for each row whose text contains the word without leading "/" and "-".

    A text that equals the word comes first, then texts that begin with the word.
    """

    def rank(row: tuple[str, str]) -> tuple[bool, bool]:
        return row[0] != word, not row[0].startswith(word)

    found = [row for row in rows if word.lstrip("/-") in row[0]]
    for text, about in sorted(found, key=rank):
        yield Completion(text, start_position=-len(word), display_meta=about)


def paths(word: str) -> Iterator[Completion]:
    """Yield completions of a path.

    Args:
        word: the beginning of the path, which may have an opening quote. Hidden files are offered
            only if the last part of `word` begins with a dot.
    """
    quote = word[0] if word[:1] in ("'", '"') else ""
    typed = word.removeprefix(quote)
    folder = typed[: typed.rfind("/") + 1]
    beginning = typed.removeprefix(folder)
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            found = [entry for entry in entries if entry.name.startswith(beginning)]
    except (OSError, RuntimeError, ValueError):  # raised for an unknown folder or user, or a NUL
        return
    shown = [e for e in found if e.name.isprintable() and (beginning or e.name[0] != ".")]
    for entry in sorted(shown, key=lambda e: e.name.lower())[:MOST]:
        name = entry.name + "/" * entry.is_dir()
        path = folder + name
        # a folder gets no closing quote, so that the user can continue the path
        if quote or any(map(str.isspace, path)):
            mark = quote or ("'" if '"' in path else '"')
            path = f"{mark}{path}" if path.endswith("/") else f"{mark}{path}{mark}"
        yield Completion(path, start_position=-len(word), display=name)
