"""Parsing YAML that may come from anywhere, in time and memory proportional to its length.

The events of the parser are checked before any node is created: nesting, the number of nodes, and
what aliases repeat. libyaml is used if PyYAML has it.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
import yaml.constructor
import yaml.scanner

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
"""Maximum number of characters and nodes that all aliases together repeat."""
DIRECTIVES = 10
"""Maximum number of lines that begin with "%"; libyaml compares each %TAG with all before it."""
DIGITS = {"tag:yaml.org,2002:int": 20, "tag:yaml.org,2002:float": 100}
"""Maximum characters of numbers: 64 bits, since larger keys of mappings can be made to collide."""
LIBYAML_DEPTH = "exceeded maximum nesting depth"
"""The error of libyaml, which reads ahead and so may reach its own limit before `DEPTH` is."""
_DIRECTIVE = re.compile(r"^%", re.M)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Excess(yaml.MarkedYAMLError):
    """The document exceeds a limit; `problem` states which."""


class DataLoader(SafeLoader):
    """Creates values of the standard types; each error names the line of the value."""

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
    """Creates text of every scalar, as it is written."""


def parse(text: str, loader: type[DataLoader | TextLoader] = DataLoader) -> tuple[Any, Any]:
    """Return the root node and the data of the only document; None for an empty text.

    Raises:
        yaml.YAMLError: it is not YAML, has several documents, or exceeds a limit (`Excess`).
    """
    check(text)
    if issubclass(loader, TextLoader):
        reader = loader(text)
        try:
            root = reader.get_single_node()
            return root, None if root is None else reader.construct_document(root)
        finally:
            reader.dispose()
    # Composed twice, because creating the data copies what `<<` merges into the nodes.
    return yaml.compose(text, Loader=loader), yaml.load(text, Loader=loader)  # noqa: S506


def check(text: str) -> None:
    """Raise Excess if a limit is exceeded, or YAMLError if it is not YAML."""
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
    """What the events of a document amount to so far, with every alias replaced."""

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
            if _SURROGATE.search(event.value):  # libyaml refuses them, PyYAML's own parser does not
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
        size = 1 + self._sizes.get(event.anchor, 0)  # a missing anchor is an error of its own
        self._size += size
        self._repeated += size
        if self._repeated > REPEATED:
            raise _excess("repeats too much by aliases", event)


def _excess(problem: str, event: yaml.Event) -> Excess:
    return Excess(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
