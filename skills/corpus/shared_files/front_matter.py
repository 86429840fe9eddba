"""Read the front matter of a Markdown file, and change properties of it without any other byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.support.reading import bounded_yaml

Value = str | int | Sequence[str | Mapping[str, Any]]
"""The value of a property that the harness writes."""

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*\r?$\n?", re.S | re.M)


class BrokenFrontMatterError(ValueError):
    """The front matter is not a mapping in YAML."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A file, divided: `text[start:end]` is the YAML between the two lines "---".

    Attributes:
        values: texts, lists and mappings of texts; a number or date is the text that is written.
    """

    text: str
    start: int
    end: int
    values: Mapping[str, Any]

    @property
    def yaml(self) -> str:
        return self.text[self.start : self.end]


def parse(text: str) -> Parts:
    """Divide a file; without front matter, `start` and `end` are 0.

    Raises:
        BrokenFrontMatterError: the front matter cannot be read, or exceeds a limit.
    """
    found = _FRONT_MATTER.match(text)
    if found is None:
        return Parts(text, 0, 0, {})
    start, end = found.span("yaml")
    try:
        _, values = bounded_yaml.parse(text[start:end], bounded_yaml.TextLoader)
    except yaml.YAMLError as exc:
        raise BrokenFrontMatterError(str(exc)) from exc
    if not isinstance(values or {}, dict):
        raise BrokenFrontMatterError("it is not a mapping")
    return Parts(text, start, end, values or {})


def as_yaml(name: str, value: Value) -> str:
    """Return a property with its line end; a text is in double quotes, so that it stays a text."""
    if isinstance(value, int):
        return f"{name}: {value}\n"
    if isinstance(value, str):
        return f"{name}: {_quoted(value)}\n"
    if all(isinstance(one, str) for one in value):
        return "".join((f"{name}:\n", *(f"  - {_quoted(one)}\n" for one in value)))
    return yaml.safe_dump({name: list(value)}, allow_unicode=True, sort_keys=False)


def with_properties(yaml_text: str, properties: Mapping[str, Value | None]) -> str:
    """Return YAML with these properties in place of those of the same name, else at the end.

    Everything else stays as it is, comments and order included.

    Args:
        properties: None removes one.
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
    """Yield the name of each property with the place of its lines."""
    node = yaml.compose(yaml_text, yaml.SafeLoader)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        end = max(_end(value), key.end_mark.index)
        if yaml_text[end - 1 : end] != "\n":
            line = yaml_text.find("\n", end)
            end = len(yaml_text) if line < 0 else line + 1
        yield str(key.value), key.start_mark.index, end


def _end(node: yaml.Node) -> int:
    """Return where the text of a node ends; PyYAML counts what follows a block as part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(map(_end, last)) if isinstance(last, tuple) else _end(last)
    return int(node.end_mark.index)


def _quoted(text: Any) -> str:
    if isinstance(text, str) and text.isprintable():  # as almost always, and much faster
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    written = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return written.removesuffix("\n")
