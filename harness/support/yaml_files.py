"""Parse untrusted YAML within limits, and validate it as pydantic models.

Before any node is created, the parser's events are checked for nesting, the number of nodes, and
repetition by aliases, so that time and memory are proportional to the length of the text. libyaml
is used if PyYAML was built with it. Errors contain the file, and the line if it is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
import yaml.constructor
import yaml.reader
import yaml.scanner
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, UsageError
from harness.support.bounded_files import read_text

try:
    from yaml import CBaseLoader as BaseLoader
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import BaseLoader, SafeLoader  # type: ignore[assignment]

DEPTH = 50
"""Maximum nesting of lists and mappings."""
NODES = 20_000
"""Maximum number of values, keys, lists and mappings."""
REPEATED = 100_000
"""Maximum total of the characters and nodes that all aliases of a document repeat."""
DIRECTIVES = 10
"""Maximum number of lines that begin with "%", since the time that libyaml needs for %TAG lines
grows with the square of their number.
"""
DIGITS = {"tag:yaml.org,2002:int": 20, "tag:yaml.org,2002:float": 100}
"""Maximum number of characters of a number, by YAML tag. Integers are limited to about 64 bits,
since larger integers can be chosen so that their hashes collide.
"""
LIBYAML_DEPTH = "exceeded maximum nesting depth"
"""The error message of libyaml at its own nesting limit. libyaml reads ahead, so it may report
this error before the parser's events exceed `DEPTH`.
"""
_DIRECTIVE = re.compile(r"^%", re.M)
_SURROGATE = re.compile("[\ud800-\udfff]")
M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 1_000_000
"""Maximum size of a file in bytes."""
MAX_SHOWN = 200
"""Maximum number of characters that a message quotes from the file."""


class Excess(yaml.MarkedYAMLError):
    """Raised if a document exceeds a limit; `problem` describes the excess."""


class DataLoader(SafeLoader):
    """A loader that creates values of standard types; errors contain the line of the value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if len(node.value) > DIGITS.get(node.tag, len(node.value)):
            raise self._invalid(node)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as exc:
            raise self._invalid(node) from exc

    def _invalid(self, node: yaml.Node) -> yaml.constructor.ConstructorError:
        shown = repr(node.value[:40]) if isinstance(node, yaml.ScalarNode) else "a collection"
        problem = f"{shown} is not a valid {node.tag.rpartition(':')[2]}"
        return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class TextLoader(BaseLoader):
    """A loader that returns every scalar as a string, as written."""


def parse(text: str, loader: type[DataLoader | TextLoader] = DataLoader) -> tuple[Any, Any]:
    """Parse a text with at most one document.

    Args:
        loader: `DataLoader` for values of standard types, or `TextLoader` for strings.

    Returns:
        The root node and the data; both are None if the text is empty.

    Raises:
        yaml.YAMLError: the text is not YAML, has several documents, or exceeds a limit (`Excess`).
    """
    check(text)
    # The text is parsed twice, since loading the data inserts the values of `<<` into the nodes.
    return yaml.compose(text, Loader=loader), yaml.load(text, Loader=loader)  # noqa: S506


def check(text: str) -> None:
    """Raise Excess if a text exceeds a limit, or YAMLError if it is not YAML."""
    if len(_DIRECTIVE.findall(text)) > DIRECTIVES:
        raise Excess(problem=f"has more than {DIRECTIVES} directives")
    limits = _Limits()
    try:
        for event in yaml.parse(text, Loader=SafeLoader):
            limits.add(event)
    except yaml.scanner.ScannerError as exc:
        if exc.problem != LIBYAML_DEPTH:
            raise
        raise Excess(problem="is nested too deeply", problem_mark=exc.problem_mark) from exc


class _Limits:
    """Checks the nesting, the number of nodes and the repetition by aliases of a document."""

    def __init__(self) -> None:
        self._nodes = 0
        self._size = 0
        self._repeated = 0
        self._opened: list[tuple[str | None, int]] = []
        self._sizes: dict[str | None, int] = {}

    def add(self, event: yaml.Event) -> None:
        before = self._size
        if isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._add_node(event)
            # libyaml refuses surrogates, but PyYAML's parser does not
            if _SURROGATE.search(event.value):
                raise _excess("contains half of a surrogate pair", event)
            self._size += 1 + len(event.value)
            self._sizes[event.anchor] = self._size - before
        elif isinstance(event, yaml.CollectionStartEvent):
            self._add_node(event)
            self._size += 1
            self._opened.append((event.anchor, before))
            if len(self._opened) > DEPTH:
                raise _excess("is nested too deeply", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, started = self._opened.pop()
            self._sizes[anchor] = self._size - started

    def _add_node(self, event: yaml.Event) -> None:
        self._nodes += 1
        if self._nodes > NODES:
            raise _excess(f"has more than {NODES:,} values", event)

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        if any(anchor == event.anchor for anchor, _ in self._opened):
            raise _excess("contains itself", event)
        size = 1 + self._sizes.get(event.anchor, 0)  # an undefined anchor is reported later
        self._size += size
        self._repeated += size
        if self._repeated > REPEATED:
            raise _excess("repeats too much by aliases", event)


def _excess(problem: str, event: yaml.Event) -> Excess:
    return Excess(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


def load(path: Path, model: type[M], error: type[HarnessError] = UsageError) -> M:
    """Return the content of `path`, validated as `model`.

    Raises:
        error: the file cannot be read, is not YAML, has a duplicate key, exceeds a limit, or does
            not match the model. If several fields do not match, the message contains the first
            error, its line and the number of other errors.
    """
    root, found = _parsed(path, error)
    for key, line in repeated_keys(root):
        raise error(f"duplicate key {key[:MAX_SHOWN]!r}", where=f"{path}:{line}")
    try:
        return model.model_validate(found if found is not None else {})
    except ValidationError as exc:
        raise _validation_error(exc, root, path, error) from exc


def data(path: Path, error: type[HarnessError] = UsageError) -> Any:
    """Return the parsed content of a file without validation, or None if it is empty.

    Raises:
        error: the file cannot be read, is not YAML or exceeds a limit.
    """
    return _parsed(path, error)[1]


def _parsed(path: Path, error: type[HarnessError]) -> tuple[yaml.Node | None, Any]:
    try:
        text = read_text(path, MAX_BYTES)
        return parse(text)
    except OSError as exc:
        raise error(f"cannot be read ({exc.strerror})", where=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise error("is not UTF-8 text", where=str(path)) from exc
    except yaml.YAMLError as exc:
        raise _syntax_error(exc, path, text, error) from exc


def where(path: Path, *loc: str | int) -> str:
    """Return "FILE:LINE" for a field of a file that `load` has read.

    Args:
        loc: the keys and indices that lead to the field.
    """
    root, _ = _parsed(path, UsageError)
    return f"{path}:{_line(root, loc)}"


def repeated_keys(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Yield each duplicate key below `node` with its line; PyYAML accepts duplicate keys."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from repeated_keys(child)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if str(key.value) in seen:
            yield str(key.value), key.start_mark.line + 1
        seen.add(str(key.value))
        yield from repeated_keys(value)


def _syntax_error(
    exc: yaml.YAMLError, path: Path, text: str, error: type[HarnessError]
) -> HarnessError:
    if (invalid := yaml.reader.Reader.NON_PRINTABLE.search(text)) is not None:
        line = text.count("\n", 0, invalid.start()) + 1
        return error(f"contains the invalid character {invalid[0]!a}", where=f"{path}:{line}")
    mark = getattr(exc, "problem_mark", None)
    # For an unclosed bracket or quotation, libyaml reports the line after the last line.
    where = f"{path}:{min(mark.line + 1, len(text.splitlines()))}" if mark else str(path)
    problem = (getattr(exc, "problem", None) or str(exc).partition("\n")[0])[:MAX_SHOWN]
    if isinstance(exc, Excess):
        return error(problem, where=where)
    return error(f"is not YAML: {problem}", where=where)


def _validation_error(
    exc: ValidationError, root: yaml.Node | None, path: Path, error: type[HarnessError]
) -> HarnessError:
    # A misspelled key causes two errors, an unknown and a missing key; the unknown key comes first.
    first, *rest = sorted(exc.errors(), key=lambda e: e["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])[:MAX_SHOWN]
    more = f" (and {len(rest)} more)" if rest else ""
    problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"][:MAX_SHOWN]
    message = f"{field}: {problem}{more}" if field else f"{problem}{more}"
    return error(message, where=f"{path}:{_line(root, first['loc'])}")


def _line(node: yaml.Node | None, loc: Sequence[Any]) -> int:
    """Return the line of the field at `loc`, or of its innermost parent that is in the file."""
    if node is None:
        return 1
    line: int = node.start_mark.line + 1
    if not loc:
        return line
    head, *tail = loc
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(head):
                here: int = key.start_mark.line + 1
                return max(here, _line(value, tail)) if tail else here
    if isinstance(node, yaml.SequenceNode) and isinstance(head, int) and head < len(node.value):
        return _line(node.value[head], tail)
    return line
