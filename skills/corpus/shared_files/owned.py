"""Write a file again without losing what a person wrote into it.

What is ours are some properties of the front matter, and a block of text between two comments. The
first comment has the names of these properties, and a digest of all that we wrote, by which a
change by a person is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from skills.corpus.shared_files.front_matter import Parts, Value, as_yaml, parse, with_properties

State = Literal["made", "updated", "unchanged", "kept"]

MOST_BYTES = 4_000_000
"""The size of a file that is read again."""
_LINK = re.compile(r"\[\[[^\]\n]*\]\]")


@dataclass(frozen=True, slots=True)
class Comment:
    """How a format writes comments."""

    opening: str
    closing: str

    def line(self, text: str) -> str:
        return f"{self.opening} {text} {self.closing}"


OBSIDIAN = Comment("%%", "%%")
HTML = Comment("<!--", "-->")


@dataclass(frozen=True, slots=True)
class Owned:
    """What is ours in a file: some properties, and a text of whole lines."""

    properties: Mapping[str, Value]
    block: str
    comment: Comment = OBSIDIAN

    @property
    def text(self) -> str:
        """A new file with nothing else."""
        front = "".join(as_yaml(name, value) for name, value in self.properties.items())
        return f"---\n{front}---\n{self.marked}"

    @property
    def marked(self) -> str:
        """The block between its comments."""
        digest = _digest(self.properties, self.block)
        begin = (
            f"nanda-harness {digest} wrote this up to its next comment, and the properties "
            f"{', '.join(self.properties)}"
        )
        return f"{self.comment.line(begin)}\n{self.block}{self.comment.line(_END)}\n"

    def merged(self, text: str, *, force: bool = False, adopt: bool = False) -> tuple[str, State]:
        """Return `text` with ours in it, and whether that has changed it.

        It is kept as it is if a person has changed what was ours, unless `force`. A property that a
        person has added under one of our names stays, too.

        Args:
            adopt: add ours to a file that has nothing of it.

        Raises:
            BrokenFrontMatterError: the front matter cannot be read.
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
        """Return True if all of ours is in `text` as it would be written: most files, fast."""
        end = text.find("\n---", 3) + 1
        lines = (f"\n{as_yaml(name, value)}" for name, value in self.properties.items())
        return self.marked in text and all(line in text[:end] for line in lines)

    def _put(self, before: Parts, names: list[str]) -> str:
        """Return the file with ours in place of what was ours."""
        text = before.text
        end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
        gone = dict.fromkeys(name for name in names if name not in self.properties)
        front = with_properties(before.yaml.replace("\r\n", "\n"), {**gone, **self.properties})
        head = text[: before.start] if before.end else f"---{end}"
        rest = text[before.end :] if before.end else f"---{end}{text}"
        marked = self.marked.replace("\n", end)
        below, count = _mark(self.comment).subn(lambda _: marked, rest, count=1)
        if not count:
            below = f"{rest}{end * (not rest.endswith(end))}{end}{marked}"
        return f"{head}{front.replace(chr(10), end)}{below}"


_END = "nanda-harness ends here"


def _mark(comment: Comment) -> re.Pattern[str]:
    """Return the pattern of the block with its comments."""
    opening, closing = re.escape(comment.opening), re.escape(comment.closing)
    return re.compile(
        rf"^{opening} nanda-harness (?P<digest>[0-9a-f]{{12}}) wrote this up to its next comment, "
        rf"and the properties (?P<names>[^\n]*?) {closing}\r?\n"
        rf"(?P<block>(?:(?!{opening} nanda-harness )[^\n]*\n)*)"
        rf"{opening} {_END} {closing}[ \t]*\r?(?:\n|\Z)",
        re.M,
    )


def _texts(value: Any) -> Any:
    """Return properties as `front_matter.parse` reads them."""
    if isinstance(value, Mapping):
        return {str(name): _texts(one) for name, one in value.items()}
    return [_texts(one) for one in value] if isinstance(value, (list, tuple)) else str(value)


def _digest(properties: Mapping[str, Any], block: str) -> str:
    """Return the digest of what we wrote, without the names of linked notes: they are renamed."""
    kept = [sorted(_texts(properties).items()), _LINK.sub("[[]]", block)]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:12]
