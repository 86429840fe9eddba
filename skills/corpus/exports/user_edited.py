"""Update text files without losing the changes that people have made.

The harness owns some properties of the YAML front matter, and a block of lines between two
comments. The first comment contains the names of these properties, and a digest of the properties
and the block. If the digest does not match, a person has changed the properties or the block.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from harness.errors import UsageError
from harness.runs import targets
from harness.support import yaml_files
from harness.support.bounded_files import read_bytes

State = Literal["made", "updated", "unchanged", "kept", "unreadable"]
"""The result of writing a file; files with the last three states are not written."""

MOST_BYTES = 4_000_000
"""Maximum size in bytes of a file that is updated."""
_LINK = re.compile(r"\[\[[^\]\n]*\]\]")
_END = "nanda-harness ends here"
Value = str | int | Sequence[str | Mapping[str, Any]]
"""The value of a property in the front matter."""
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*\r?$\n?", re.S | re.M)
OBSIDIAN, HTML = "%% {} %%", "<!-- {} -->"
"""The comment syntax of notes in Obsidian, and of Markdown files in general."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The part of a file that the harness owns.

    Attributes:
        properties: the properties in the front matter.
        block: the text of the block, which consists of whole lines.
        comment: the syntax of the comments around the block: `OBSIDIAN` or `HTML`.
    """

    properties: Mapping[str, Value]
    block: str
    comment: str = OBSIDIAN

    @property
    def text(self) -> str:
        """The text of a new file that contains only this part."""
        front = "".join(as_yaml(name, value) for name, value in self.properties.items())
        return f"---\n{front}---\n{self.marked}"

    @property
    def marked(self) -> str:
        """The block with its two comments."""
        digest = _digest(self.properties, self.block)
        begin = (
            f"nanda-harness {digest} wrote this up to its next comment, and the properties "
            f"{', '.join(self.properties)}"
        )
        return f"{self.comment.format(begin)}\n{self.block}{self.comment.format(_END)}\n"

    def merged(self, text: str, *, force: bool = False, adopt: bool = False) -> tuple[str, State]:
        """Replace the harness's part of a file, and return the new text and the state.

        The state is "unchanged" if the file contains this part, or contained this part before a
        person changed it. Otherwise, if a person has changed or removed the old part, the text is
        not changed, and the state is "kept". In all other cases, the state is "updated". A property
        that a person has added is kept, even if the harness owns a property with the same name.

        Args:
            text: the text of the file.
            force: True to write this part even if a person has changed or removed the old part. In
                a file without the old part, properties with the same names are also replaced.
            adopt: True to add this part to a file that does not contain an old part.

        Raises:
            yaml.YAMLError: the front matter cannot be parsed.
        """
        if self._is_in(text):
            return text, "unchanged"
        found, before = _mark(self.comment).search(text), parse(text)
        names = found["names"].split(", ") if found else []
        theirs = set(before.values).difference(names) if found or not force else set[str]()
        own = {name: v for name, v in self.properties.items() if name not in theirs}
        wanted = Owned(own, self.block, self.comment)
        there = {name: before.values[name] for name in names if name in before.values}
        block = found["block"].replace("\r\n", "\n") if found else ""
        if found and _texts(own) == _texts(there) and block == self.block:
            return text, "unchanged"
        if found is None and adopt:
            return wanted._put(before, names), "updated"
        if not force and not (found and _digest(there, block) == found["digest"]):
            is_old = found and _digest(own, self.block) == found["digest"]
            return text, "unchanged" if is_old else "kept"
        return wanted._put(before, names), "updated"

    def _is_in(self, text: str) -> bool:
        """Return True if a file contains this part unchanged.

        This check is true for most files, and is faster than parsing the front matter.
        """
        end = text.find("\n---", 3) + 1
        lines = (f"\n{as_yaml(name, value)}" for name, value in self.properties.items())
        return self.marked in text and all(line in text[:end] for line in lines)

    def _put(self, before: Parts, names: list[str]) -> str:
        """Return the text of the file `before`, with this part in place of the old part.

        Args:
            names: the names of the properties of the old part.
        """
        text = before.text
        end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
        gone = dict.fromkeys(name for name in names if name not in self.properties)
        old = text[before.start : before.end].replace("\r\n", "\n")
        front = with_properties(old, {**gone, **self.properties})
        head = text[: before.start] if before.end else f"---{end}"
        rest = text[before.end :] if before.end else f"---{end}{text}"
        marked = self.marked.replace("\n", end)
        below, count = _mark(self.comment).subn(lambda _: marked, rest, count=1)
        if not count:
            below = f"{rest}{end * (not rest.endswith(end))}{end}{marked}"
        return f"{head}{front.replace(chr(10), end)}{below}"


def write_owned(
    path: Path, ours: Owned, *, new: str | None = None, force: bool = False, adopt: bool = False
) -> State:
    """Create a file, or update the harness's part of an existing file; return the state.

    Args:
        new: the text of a new file; None for `Owned.text`.
        force: see `Owned.merged`.
        adopt: see `Owned.merged`.
    """
    if not path.exists():
        targets.write_text(path, f"{ours.text}\n" if new is None else new)
        return "made"
    try:
        before = read_bytes(path, MOST_BYTES).decode()
        after, state = ours.merged(before, force=force, adopt=adopt)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return "unreadable"
    if after != before:
        targets.write_text(path, after)
    return state


def check_current(path: Path, ours: Owned, *names: str) -> None:
    """Raise a UsageError if a person has changed the harness's part of a file.

    Args:
        names: the properties to compare in addition to the block.
    """
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    front = (as_yaml(name, ours.properties[name]) for name in names if name in ours.properties)
    if any(part not in text for part in (ours.block, *front)):
        raise UsageError(
            "a person has changed the figures in this file, or the file cannot be read",
            where=str(path),
            hint="--force replaces the changed figures.",
        )


def _mark(comment: str) -> re.Pattern[str]:
    """Return a pattern that matches the block with its two comments."""
    opening, closing = map(re.escape, comment.split(" {} "))
    return re.compile(
        rf"^{opening} nanda-harness (?P<digest>[0-9a-f]{{12}}) wrote this up to its next comment, "
        rf"and the properties (?P<names>[^\n]*?) {closing}\r?\n"
        rf"(?P<block>(?:(?!{opening} nanda-harness )[^\n]*\n)*)"
        rf"{opening} {_END} {closing}[ \t]*\r?(?:\n|\Z)",
        re.M,
    )


def _texts(value: Any) -> Any:
    """Return values as `parse` returns them: numbers and dates as strings."""
    if isinstance(value, Mapping):
        return {str(name): _texts(one) for name, one in value.items()}
    return [_texts(one) for one in value] if isinstance(value, (list, tuple)) else str(value)


def _digest(properties: Mapping[str, Any], block: str) -> str:
    """Return the digest of a part; the names of linked notes do not change the digest."""
    kept = [sorted(_texts(properties).items()), _LINK.sub("[[]]", block)]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Parts:
    """The text of a file, and the place and the values of its front matter.

    Attributes:
        text: the whole text, including the front matter.
        start: offset of the YAML in `text`.
        end: offset of the end of the YAML.
        values: the properties; numbers and dates are strings.
    """

    text: str
    start: int
    end: int
    values: Mapping[str, Any]


def parse(text: str) -> Parts:
    """Find and parse the front matter in the text of a file.

    If there is no front matter, `start` and `end` of the result are 0.

    Raises:
        yaml.YAMLError: the front matter is not a YAML mapping, or exceeds a limit.
    """
    found = _FRONT_MATTER.match(text)
    if found is None:
        return Parts(text, 0, 0, {})
    start, end = found.span("yaml")
    _, values = yaml_files.parse(text[start:end], yaml_files.TextLoader)
    if not isinstance(values or {}, dict):
        raise yaml.YAMLError("the front matter is not a mapping")
    return Parts(text, start, end, values or {})


def as_yaml(name: str, value: Value) -> str:
    """Return a property as YAML; strings are quoted, so that YAML reads them as strings."""
    if isinstance(value, int):
        return f"{name}: {value}\n"
    if isinstance(value, str):
        return f"{name}: {_quoted(value)}\n"
    if all(isinstance(one, str) for one in value):
        return "".join((f"{name}:\n", *(f"  - {_quoted(one)}\n" for one in value)))
    return yaml.safe_dump({name: list(value)}, allow_unicode=True, sort_keys=False)


def with_properties(yaml_text: str, properties: Mapping[str, Value | None]) -> str:
    """Return a YAML text with properties replaced, added or removed, and other lines unchanged.

    Args:
        properties: the new values by name; None removes a property.
    """
    made = {name: "" if v is None else as_yaml(name, v) for name, v in properties.items()}
    pieces, at, done = [], 0, set[str]()
    for name, start, end in _places(yaml_text):
        if name in made:
            pieces += [yaml_text[at:start], "" if name in done else made[name]]
            at, done = end, done | {name}
    rest = yaml_text[at:]
    added = "".join(made[name] for name in made if name not in done)
    return "".join((*pieces, rest, "\n" * bool(rest and not rest.endswith("\n") and added), added))


def _places(yaml_text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each property, and the start and the end of its lines."""
    node = yaml.compose(yaml_text, yaml.SafeLoader)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        end = max(_end(value), key.end_mark.index)
        if yaml_text[end - 1 : end] != "\n":
            line = yaml_text.find("\n", end)
            end = len(yaml_text) if line < 0 else line + 1
        yield str(key.value), key.start_mark.index, end


def _end(node: yaml.Node) -> int:
    """Return the offset of the end of a YAML node, before the empty lines that PyYAML includes."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(map(_end, last)) if isinstance(last, tuple) else _end(last)
    return int(node.end_mark.index)


def _quoted(text: Any) -> str:
    if isinstance(text, str) and text.isprintable():  # a fast path for most texts
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    written = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return written.removesuffix("\n")
