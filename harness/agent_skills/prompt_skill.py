"""A skill that consists of a SKILL.md, whose body instructs the producer model.

The instructions may contain the placeholders of other clients:

    $ARGUMENTS                the text that the user wrote after the name
    $1, $2, ...               the words of this text; a quoted word may contain blanks
    {baseDir}, ${CLAUDE_SKILL_DIR}    the skill's folder
    ${CLAUDE_PLUGIN_ROOT}     the folder of the plugin with the skill, or else the skill's folder

A placeholder for a missing word, and a price such as $1.50, are not replaced.

The harness reads only the files to which the instructions refer. A reference is the target of a
Markdown link, or a word that is the name of a file of the folder ("references/forms.md"). Absolute
paths, "..", links out of the folder, binary files and files that are too long are refused.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from harness.agent_skills import skill_md
from harness.agent_skills.skill_file import SkillFile
from harness.agent_skills.skill_md import is_inside
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.support.bounded_files import Unsearched, read_text, walk

PLUGIN = ".claude-plugin"
"""Name of the folder in the root of a plugin of Claude Code."""
LEVELS = 6
"""Maximum number of parent folders of a skill that are searched for a plugin."""
_PLACEHOLDER = re.compile(
    r"(?P<all>\$ARGUMENTS\b)|\$(?P<number>[1-9]\d?)(?!\d|[.,]\d)"
    r"|(?P<own>\{baseDir\}|\$\{CLAUDE_SKILL_DIR\})|(?P<plugin>\$\{CLAUDE_PLUGIN_ROOT\})"
)


MAX_LISTED = 100
"""Maximum number of file names that are sent to the model."""
MAX_ENTRIES = 10_000
"""Maximum number of files and folders that are searched in a skill's folder."""
SIZE = 64 * 1024
"""Maximum size of a file to which a body refers, in bytes."""
MAX_READ = 100
"""Maximum number of files to read because a body refers to them."""
MAX_WORDS = 1000
"""Maximum number of words of a body to look up as file names."""
_REFERENCE = re.compile(
    # Possessive quantifiers prevent backtracking, so that the time is linear in the body's length.
    r"(?P<image>!?)\[[^\]\n]{0,300}+\]\(\s*+<?(?P<target>(?:(?!\]\()[^)<>\s])++)"
    r"(?:[<> \t][^)\n]{0,300}+)?+\)|(?P<word>[\w.~/-]++)",
    re.ASCII,
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
_SKIPPED = {"__pycache__", "node_modules", ".git"}
HINT = 80
"""Maximum number of characters of `argument-hint` that are shown."""


class PromptSkill(Skill):
    """A folder with a SKILL.md and no plugin.py.

    The body and the files are read at each use, so changes need no /reload. A model that needed the
    user's permission to use the skill uses `copy` instead of the folder.

    Args:
        use: runs the skill with the producer model.

    Attributes:
        hint: a description of the expected text, from `argument-hint`, or "".
        separate: True if the skill runs in a separate conversation (`context: fork`).
        allowed_tools: the tools that the skill wants to use, on one line.
        copy: the private copy that the user allowed a model to use; None to use the folder itself.
    """

    flags_are_text = True
    saves = (".md", ".txt")
    text = "optional"
    tool = False  # a single tool activates all prompt skills

    def __init__(self, file: SkillFile, use: Callable[[PromptSkill, Call], Result]) -> None:
        self.file = file
        self.copy: Path | None = None
        self._use = use
        self.name = file.name  # type: ignore[misc]  # each skill has its own name
        self.summary = file.description  # type: ignore[misc]
        self.hint = self._line("argument-hint")[:HINT]
        self.usage = self.hint or Skill.usage  # type: ignore[misc]
        self.separate = self._line("context").lower() == "fork"
        self.allowed_tools = self._line("allowed-tools")
        about = {"Compatibility": self._line("compatibility"), "Tools it uses": self.allowed_tools}
        lines = [f"{key}: {text}" for key, text in about.items() if text]
        if not file.for_models:
            lines.append("Only the user may use it; a model may not.")
        self.details = "\n".join(lines)  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        return self._use(self, call)

    def body(self, arguments: str) -> str:
        """Return the current instructions, with placeholders replaced.

        Args:
            arguments: the text that the user wrote after the name of the skill.

        Raises:
            UsageError: the instructions are missing, or cannot be read.
        """
        path = self.folder / self.file.path.name
        body = skill_md.body_of(skill_md.read_content(path), path)
        if not body:
            raise UsageError(f"/{self.name} has no instructions", where=str(path))
        return substitute(body, arguments, self.folder, self.file.folder.absolute())

    @property
    def folder(self) -> Path:
        """The folder whose files are read: `copy`, or the original folder if `copy` is None."""
        return self.copy or self.file.folder.absolute()

    def present(self, copy: Path) -> PromptSkill:
        """Return the skill in `copy`, which is a copy of this skill's folder."""
        return PromptSkill(skill_md.read(copy / self.file.path.name), self._use)

    def instructions(
        self, body: str, listed: Sequence[str], files: Mapping[str, str] | None = None
    ) -> str:
        """Return the text for a model: the skill's folder, the body, files, and file names.

        Args:
            listed: the names of the files in the skill's folder.
            files: the texts of files to which the body refers, by name.
        """
        texts = files or {}
        parts = [f"The folder of this skill is {self.folder}", body]
        parts += [f'<skill_file path="{n}">\n{text}\n</skill_file>' for n, text in texts.items()]
        if names := "".join(f"\n<file>{name}</file>" for name in listed if name not in texts):
            parts.append(f"<skill_resources>{names}\n</skill_resources>")
        content = "\n".join(parts)
        return f'<skill_content name="{self.name}">\n{content}\n</skill_content>'

    def _line(self, field: str) -> str:
        """Return a field as one line of printable text.

        A list is written as in YAML, such as "[a, b]". The result for a mapping is "".
        """
        value = self.file.fields.get(field, "")
        if isinstance(value, list):
            value = f"[{', '.join(map(str, value))}]"
        elif not isinstance(value, str):
            value = ""
        return " ".join("".join(c if c.isprintable() else " " for c in value).split())


def substitute(body: str, arguments: str, folder: Path, origin: Path | None = None) -> str:
    """Return a body with its placeholders replaced; placeholders in inserted text remain.

    Args:
        arguments: the text that the user wrote after the name of the skill.
        folder: the folder of the skill.
        origin: the original folder if `folder` is a copy. The original folder and its parents are
            searched for the plugin.
    """
    origin = origin or folder
    try:
        words = shlex.split(arguments)
    except ValueError:  # raised for an unpaired apostrophe, as in "don't"
        words = arguments.split()

    def value(match: re.Match[str]) -> str:
        if match["all"]:
            return arguments
        if match["number"]:
            place = int(match["number"]) - 1
            return words[place] if place < len(words) else match[0]
        above = (origin, *origin.parents[:LEVELS]) if match["plugin"] else ()
        return str(next((root for root in above if (root / PLUGIN).is_dir()), folder))

    return _PLACEHOLDER.sub(value, body)


def resource_names(folder: Path) -> list[str]:
    """Return the names of at most `MAX_LISTED` files below a folder, sorted, without SKILL.md.

    Files in folders of `_SKIPPED`, files with unprintable names, and links out of the folder are
    left out.
    """
    found: list[str] = []
    with contextlib.suppress(Unsearched):
        for place, children, files in walk(folder, MAX_ENTRIES):
            children[:] = [c for c in children if c not in _SKIPPED]
            inside = place.relative_to(folder)
            found += [(inside / name).as_posix() for name in files if name.lower() != "skill.md"]
    shown = sorted(name for name in found if name.isprintable())
    return [name for name in shown if is_inside(folder, folder / name)][:MAX_LISTED]


def referred_resources(folder: Path, body: str) -> tuple[dict[str, str], list[str]]:
    """Return the texts of the files that the instructions refer to, by name.

    The second result is a list of messages, which state why other files were not read.
    """
    files: dict[str, str] = {}
    refused: list[str] = []
    wanted = list(itertools.islice(_references(folder, body), MAX_READ + 1))
    for name in wanted[:MAX_READ]:
        try:
            files[name] = read_resource(folder, name)
        except UsageError as exc:
            refused.append("".join(c for c in str(exc) if c.isprintable()))
    if len(wanted) > MAX_READ:
        refused.append(f"all references after the first {MAX_READ}")
    return files, refused


def read_resource(folder: Path, name: str) -> str:
    """Return the text of a file of the folder.

    Raises:
        UsageError: the file is outside of the folder, missing, not text, or too long.
    """
    path = folder / name
    if Path(name).is_absolute() or name.startswith("~") or ".." in PurePosixPath(name).parts:
        raise UsageError("is outside of the skill's folder", where=name)
    if not os.path.lexists(path):
        raise UsageError("does not exist", where=name)
    if not is_inside(folder, path):
        raise UsageError("is a link out of the skill's folder", where=name)
    try:
        return read_text(path, SIZE)
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=name) from exc
    except UnicodeDecodeError as exc:
        raise UsageError("is not UTF-8 text", where=name) from exc


def _references(folder: Path, body: str) -> Iterator[str]:
    """Yield the distinct targets of links, and words that name a file or contain ".."."""
    seen: set[str] = set()
    words = 0
    for match in _REFERENCE.finditer(body):
        name = _named_file(match)
        if not name or name in seen:
            continue
        seen.add(name)
        if match["word"] and ".." not in PurePosixPath(name).parts:
            words += 1
            path = folder / name
            if words > MAX_WORDS or not os.path.lexists(path) or path.is_dir():
                continue
        yield name


def _named_file(match: re.Match[str]) -> str:
    """Return the file name in a match of `_REFERENCE`; "" if the match names no file.

    For example, the file name in "./x.md" is "x.md".
    """
    if (target := match["target"]) is not None:
        name = "" if match["image"] or _URL.match(target) else target.partition("#")[0]
    else:
        name = match["word"]
        parts = PurePosixPath(name).parts
        if ".." in parts:
            name = name if parts[-1] != ".." else ""
        elif name.startswith(("/", "~")) or not ("/" in name or "." in name):
            name = ""
        else:
            name = name.rstrip("./-")
    return name if not name or ".." in name else PurePosixPath(name).as_posix()
