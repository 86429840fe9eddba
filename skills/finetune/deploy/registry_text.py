"""Where an entry stands in the text of a YAML file, and the text with another one there.

ruamel.yaml tells the places, and writes the new entry in the manner of its neighbours. The text
around it is never written anew, since no YAML writer gives every blank, quote and line end back.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

MARK = "# by /finetune register"
"""Stands behind the key of a section that was not there before, which goes with its last entry."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_ONE_LINE = 95  # characters of a mapping or list that stays on the line of its key


class NotEditable(Exception):
    """The text is laid out in a way that is not edited."""


def put(text: str, section: str, name: str, entry: Mapping[str, Any]) -> str:
    root = _root(text)
    found = _child(root, section)
    if found is None:
        return _with_section(text, root, section, _block(section, {name: entry}, text, root))
    key, mapping = found
    old = _child(mapping, name)
    if mapping.flow_style:
        if old:
            start, end = old[0].start_mark.index, old[1].end_mark.index
            return text[:start] + _flow(name, entry) + text[end:]
        start = text.index("{", mapping.start_mark.index) + 1
        comma = ", " if mapping.value else ""
        return text[:start] + _flow(name, entry) + comma + text[start:]
    lines = _block(None, {name: entry}, text, root, mapping)
    if old is None:
        start = _line_end(text, key.end_mark.index)
        return text[:start] + lines + text[start:]
    start, end = _lines_of(text, *old)
    if not text[:end].endswith(("\r", "\n")):
        lines = lines.rstrip("\r\n")
    return text[:start] + lines + text[end:]


def _with_section(text: str, root: Any, section: str, lines: str) -> str:
    """The section after all others, behind a blank line; a last line without its end stays so."""
    at = len(text) if root is None else root.end_mark.index
    before, after = text[:at], text[at:]
    end = _line_end_of(text)
    if before and not before.endswith(("\r", "\n")):
        return before + end + end + lines.removesuffix(end) + after
    return before + (end if before else "") + lines + after


def drop(text: str, section: str, name: str) -> str:
    found = _child(_root(text), section)
    old = found and _child(found[1], name)
    if not found or not old:
        raise NotEditable
    section_key, mapping = found
    if mapping.flow_style:
        return _without_flow(text, mapping, old)
    start, end = _lines_of(text, *old)
    if len(mapping.value) > 1:
        return _cut(text, start, end)
    head = text[section_key.end_mark.index : start]
    first = section_key.start_mark.index - section_key.start_mark.column
    if _LINE_END.sub("", head, count=1) == f":  {MARK}":
        blank = re.search(r"(?:^|(?<=\n)|(?<=\r))(?:\r\n|\n|\r)\Z", text[:first])
        return _cut(text, blank.start() if blank else first, end)
    colon = text.index(":", section_key.end_mark.index) + 1
    return _cut(text[:colon] + " {}" + text[colon:], start + 3, end + 3)


def _without_flow(text: str, mapping: Any, old: tuple[Any, Any]) -> str:
    """Without one entry of a mapping in braces, and without the comma that parted it."""
    start, end = old[0].start_mark.index, old[1].end_mark.index
    if comma := re.compile(r"\s*, ?").match(text, end):
        end = comma.end()
    elif len(mapping.value) > 1:
        start = text.rindex(",", 0, start)
    return text[:start] + text[end:]


def _cut(text: str, start: int, end: int) -> str:
    """Without these lines; a last line without its end takes the one before it along."""
    if end == len(text) and not text.endswith(("\r", "\n")):
        before = re.search(r"(?:\r\n|\n|\r)\Z", text[:start])
        start = before.start() if before else start
    return text[:start] + text[end:]


def _root(text: str) -> Any:
    """The file's mapping as a node that knows its place; None for a file with nothing in it."""
    from ruamel.yaml import YAML

    root = YAML().compose(io.StringIO(text))
    if root is not None and root.id == "scalar" and not root.value:
        return None  # `---` and nothing after it
    if root is not None and (root.id != "mapping" or root.flow_style):
        raise NotEditable
    return root


def _child(mapping: Any, name: str) -> tuple[Any, Any] | None:
    """Key and value of an entry.

    Raises:
        NotEditable: the value stands elsewhere, and may be that of others, too.
    """
    for key, value in () if mapping is None else mapping.value:
        if key.value == name:
            if value.start_mark.index < key.end_mark.index:  # an alias
                raise NotEditable
            return key, value
    return None


def _lines_of(text: str, key: Any, value: Any) -> tuple[int, int]:
    """Where the lines of an entry begin and end; comments after its last value are not its own."""
    last = value
    while last.id in ("mapping", "sequence") and not last.flow_style and last.value:
        child = last.value[-1]
        last = child[1] if isinstance(child, tuple) else child
    start, end = key.start_mark.index - key.start_mark.column, last.end_mark.index
    is_literal = last.id == "scalar" and last.style in ("|", ">")
    if not (is_literal and text[:end].endswith(("\r", "\n"))):
        end = _line_end(text, max(end, key.end_mark.index))
    return start, end


def _line_end(text: str, index: int) -> int:
    """Where the line after that of `index` begins."""
    found = _LINE_END.search(text, index)
    return found.end() if found else len(text)


def _line_end_of(text: str) -> str:
    found = _LINE_END.search(text)
    return found[0] if found else "\n"


def _block(
    section: str | None, entries: Mapping[str, Any], text: str, root: Any, mapping: Any = None
) -> str:
    """Entries in lines, indented and ended as the file does; under a section's key if it is new."""
    outer = 0 if root is None else _column(root)
    mappings = [value for _, value in (root.value if root else ()) if _in_lines(value)]
    step = _column(mappings[0]) - outer if mappings else 2
    column = outer + step if mapping is None else _column(mapping)
    siblings = [value for _, value in (mapping.value if mapping else ()) if _in_lines(value)]
    if siblings:
        step = _column(siblings[0]) - column
    dumped = _dumped(_styled(entries, -1), max(step, 1))
    lines = [" " * column + line for line in dumped.splitlines()]
    if section is not None:
        lines.insert(0, " " * outer + f"{section}:  {MARK}")
    end = _line_end_of(text)
    return end.join(lines) + end


def _column(mapping: Any) -> int:
    """Where its keys begin; the mapping itself begins with its anchor, if it has one."""
    found: int = mapping.value[0][0].start_mark.column
    return found


def _in_lines(node: Any) -> bool:
    return node.id == "mapping" and not node.flow_style


def _flow(name: str, entry: Mapping[str, Any]) -> str:
    """ "NAME: {...}" on one line."""
    return _dumped(_styled({name: entry}, 1, in_braces=True), 2).strip()[1:-1]


def _dumped(data: Any, step: int) -> str:
    from ruamel.yaml import YAML

    writer = YAML()
    writer.width = 1 << 20  # a long line is not broken
    dash = min(step, 2)
    writer.indent(mapping=step, sequence=dash + 2, offset=dash)
    into = io.StringIO()
    writer.dump(data, into)
    return into.getvalue()


def _styled(value: Any, depth: int, *, in_braces: bool = False) -> Any:
    """The value as ruamel writes it: what is short, and all in braces, on the line of its key."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return value if _reads_back(value) else DoubleQuotedScalarString(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    short = depth > 0 and len(json.dumps(value, default=str)) <= _ONE_LINE
    inside = in_braces or short
    if isinstance(value, Mapping):
        made: Any = CommentedMap(
            (_styled(k, 0), _styled(v, depth + 1, in_braces=inside)) for k, v in value.items()
        )
    else:
        made = CommentedSeq(_styled(v, depth + 1, in_braces=inside) for v in value)
    if inside:
        made.fa.set_flow_style()
    else:
        made.fa.set_block_style()
    return made


def _reads_back(value: str) -> bool:
    """Whether the harness reads the text as itself: it knows YAML 1.1, where `no` is no text."""
    try:
        return bool(yaml.safe_load(value) == value)
    except yaml.YAMLError:
        return False
