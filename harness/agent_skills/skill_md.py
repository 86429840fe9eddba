"""SKILL.md of the Agent Skills specification: front matter and a body of instructions.

The files of users are read leniently, as the specification requires: a file is refused only if it
cannot be read, is a link out of its folder, or has no usable front matter or description. Other
faults are shown as problems. A name that cannot be a command is replaced by the name of the folder,
or else by a similar name (`slug`). In shipped files, every fault is an error.

The front matter is YAML in which every scalar is text, exactly as written: `version: 1.0` is "1.0"
and `name: on` is "on", as in the specification's own reader. Two frequent faults are tolerated
since the intended value is clear: a duplicate key, and a value without the required quotes, such as
`Use for: x`, `[a] [b]` or `**/*.py`.

At start-up only the front matter is kept; a prompt skill reads the file again when it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.agent_skills.skill_file import FILE, NAME, SkillFile
from harness.errors import UsageError
from harness.support.bounded_files import read_bytes

FIRST_LINE = 2
"""Line number at which the front matter begins, after the line `---`."""
_UNQUOTED = re.compile(
    r"""^([A-Za-z][\w-]*):[ \t]+([^\s"'\[{|>&*!#%@`].*: .*|\[[^\]\n]*\][ \t]*[^\s#].*|[*@%`].*)$""",
    re.M,
)


FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
OTHERS = ("argument-hint", "context", "disable-model-invocation", "user-invocable")
"""Fields of other clients that also have an effect in the harness."""
LIMITS = {"name": 64, "description": 1024, "compatibility": 500}
HEAD = 64 * 1024
"""Maximum size of the front matter, in bytes."""
SIZE = 256 * 1024
"""Maximum size of the file, in bytes."""
MAX_PROBLEMS = 20
"""Maximum number of problems that are shown."""
MAX_SHOWN = 80
"""Maximum number of characters of a name or a key in a message."""
_FRONT_MATTER = re.compile(
    # Only a line of exactly three hyphens ends the front matter; "---" may be part of a value.
    rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)",
    re.S | re.M,
)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The front matter: the parsed text between the two lines of `---`.

    Attributes:
        path: the path of the file.
        fields: the values of the fields, by name.
        lines: the line number of each field.
        problems: messages about the faults that were tolerated.
    """

    path: Path
    fields: Mapping[str, Any]
    lines: Mapping[str, int]
    problems: list[str]

    def text(self, key: str) -> str:
        """Return the stripped text of a field; "" if the field is missing or not text."""
        value = self.fields.get(key)
        return value.strip() if isinstance(value, str) else ""

    def kind(self, key: str) -> str | None:
        """Return "list" or "mapping" if a field is not text; None if it is text or missing."""
        value = self.fields.get(key, "")
        if isinstance(value, str):
            return None
        return "list" if isinstance(value, list) else "mapping"

    def check_length(self, key: str) -> None:
        """Add a problem if the text of a field is too long."""
        size, limit = len(self.text(key)), LIMITS[key]
        if size > limit:
            self.problems.append(f"the {key} has {size} characters, {limit} are allowed")


def parse_front_matter(text: str, path: Path, *, lenient: bool) -> FrontMatter:
    """Parse the text between the two lines of `---`, and return its fields and problems.

    Args:
        lenient: True to tolerate values that lack the required quotes.

    Raises:
        UsageError: the text is not a YAML mapping.
    """
    from harness.support.yaml_files import repeated_keys

    problems: list[str] = []
    try:
        root, fields = _load(text, path)
    except UsageError:
        quoted = _UNQUOTED.sub(lambda m: f"{m[1]}: {json.dumps(m[2].rstrip())}", text)
        if not lenient or quoted == text:
            raise
        root, fields = _load(quoted, path)
        for key, value in _UNQUOTED.findall(text):
            fault = f"begins with {value[0]!r}" if value[0] in "[*@%`" else "contains ': '"
            problems.append(f"{key} {fault} and is not quoted")
    for key, _ in repeated_keys(root):
        problems.append(f"duplicate key {key[:MAX_SHOWN]!r}; the last one is used")
    lines = {key.value: key.start_mark.line + FIRST_LINE for key, _ in root.value} if root else {}
    return FrontMatter(path, fields, lines, problems)


def _load(text: str, path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the root node of a YAML mapping, and its fields; None and {} for an empty text."""
    import yaml

    from harness.support import yaml_files

    try:
        root, fields = yaml_files.parse(text, yaml_files.TextLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + FIRST_LINE if mark else 1
        problem = getattr(exc, "problem", None) or str(exc).partition("\n")[0]
        if not isinstance(exc, yaml_files.Excess):
            problem = f"is not YAML: {problem}"
        raise UsageError(f"front matter {problem}", where=f"{path}:{line}") from exc
    except TypeError as exc:  # raised if a key is a list
        raise UsageError("front matter is not a plain mapping", where=str(path)) from exc
    if root is None:
        return None, {}
    if not isinstance(root, yaml.MappingNode) or not all(isinstance(k, str) for k in fields):
        raise UsageError("front matter is not a mapping", where=str(path))
    return root, fields


def body_of(content: bytes, path: Path) -> str:
    """Return the instructions in the content of a SKILL.md, without the front matter.

    Raises:
        UsageError: the content is not text.
    """
    match = _FRONT_MATTER.match(content)
    return _decode(content[match.end() if match else 0 :], path).strip()


def read(path: Path, *, strict: bool = False, instructs: bool | None = None) -> SkillFile:
    """Return the content of the front matter of a SKILL.md, and the problems of the file.

    Args:
        strict: True to raise an error for any deviation from the specification.
        instructs: True if the skill has no code, so that instructions are required; None to
            require instructions if there is no plugin.py beside the file.

    Raises:
        UsageError: the file cannot be read, or has no usable front matter or description. Without
            `strict`, a link out of the folder is also an error. With `strict`, every deviation from
            the specification is an error.
    """
    if not strict and path.is_symlink() and not is_inside(path.parent, path):
        raise UsageError("is a link out of the skill's folder", where=str(path))
    content = read_content(path)
    head = content[:HEAD]
    match = _FRONT_MATTER.match(head)
    if match is None:
        within = f" within its first {HEAD // 1024} KB" if len(content) > HEAD else ""
        raise UsageError(f"has no front matter between two lines of ---{within}", where=str(path))
    front = parse_front_matter(_decode(match[1], path), path, lenient=not strict)
    name, description, problems = _name(front), _description(front), front.problems
    _check_fields(front)
    if instructs is None:
        instructs = not (path.parent / "plugin.py").is_file()
    if instructs and not content[match.end() :].strip():
        problems.append("there are no instructions below the front matter")
    if strict and problems:
        raise UsageError("; ".join(problems), where=str(path), hint="Correct the file.")
    if (more := len(problems) - MAX_PROBLEMS) > 0:
        problems[MAX_PROBLEMS:] = [f"{more} more problem{'s' * (more != 1)}"]
    return SkillFile(path, name, description, front.fields, tuple(problems))


def slug(name: str) -> str:
    """Return a command name for a text: a similar name, or "skill-" and a hash of the text."""
    return similar(name) or f"skill-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def similar(name: str) -> str:
    """Return a command name from the Latin letters and digits of a text; "" if it has none.

    Examples are "code-review" for "_Code_Review", and "cafe" for "Café".
    """
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: LIMITS["name"]].strip("-")


def is_inside(folder: Path, path: Path) -> bool:
    """Return True if the file is in the folder after all links are resolved."""
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # raised for a broken link or a loop of links
        return False


def read_content(path: Path) -> bytes:
    """Return the content of a SKILL.md.

    Raises:
        UsageError: the file cannot be read, or is larger than `SIZE`.
    """
    try:
        return read_bytes(path, SIZE)
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=str(path)) from exc


def _decode(content: bytes, path: Path) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"cannot be read: {exc}", where=str(path)) from exc
    if "\0" in text:
        raise UsageError("cannot be read: it is a binary file", where=str(path))
    return text


def _name(front: FrontMatter) -> str:
    """Return the name of the skill, and add problems with the name to `front.problems`."""
    given, folder = front.text("name"), front.path.parent
    linked = folder.name  # the name of a link to the folder is also accepted
    if NAME.fullmatch(given):
        if given not in (linked, folder.resolve().name):
            front.problems.append(f"the name {given[:MAX_SHOWN]!r} is not the folder's, {linked!r}")
        front.check_length("name")
        return given
    rule = "lower-case letters, digits and single hyphens"
    wrong = f"the name {given[:MAX_SHOWN]!r} is not {rule}" if given else "no name"
    if NAME.fullmatch(linked):
        front.problems.append(f"{wrong}; the folder's is used")
        return linked
    name = slug(given or linked)
    front.problems.append(f"{wrong}, nor is the folder's; it is called /{name} here")
    return name


def _description(front: FrontMatter) -> str:
    """Return the description as one printable line, and add its problems to `front.problems`.

    Raises:
        UsageError: there is no description, or it is not text.
    """
    given = front.text("description")
    printable = "".join(c for c in given if c.isprintable() or c.isspace())
    line = " ".join(printable.split())
    if not line:
        kind, number = front.kind("description"), front.lines.get("description")
        raise UsageError(
            f"its description is a {kind}, not text" if kind else "has no description",
            where=f"{front.path}:{number}" if number else str(front.path),
        )
    if printable != given:
        front.problems.append("the description has unprintable characters")
    front.check_length("description")
    return line[: LIMITS["description"]]


def _check_fields(front: FrontMatter) -> None:
    """Add problems with field names, field values and the file name to `front.problems`."""
    known = (*FIELDS, *OTHERS)
    problems = front.problems
    problems += [f"unknown field {key[:MAX_SHOWN]!r}" for key in front.fields if key not in known]
    for key in ("name", "license", "compatibility", "allowed-tools"):
        if (kind := front.kind(key)) is not None:
            problems.append(f"{key} is a {kind}, not text")
    front.check_length("compatibility")
    if front.fields.get("compatibility") == "":
        problems.append("compatibility is empty")
    metadata = front.fields.get("metadata", {})
    if not isinstance(metadata, dict):
        problems.append("metadata is not a mapping")
    elif not all(isinstance(value, str) for value in metadata.values()):
        problems.append("metadata has values that are not text")
    if front.path.name != FILE:
        problems.append(f"the file is called {front.path.name}, not {FILE}")
