"""The reference of what plugins may rely on, made from signatures and docstrings.

What is exported and has no docstring of its own cannot stay out: it would be an empty section.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import harness
from harness import errors, testing
from harness.api import hookspecs

HEAD = f"""\
# Reference

Made by `python docs/generate.py` from the code; do not edit. Version {hookspecs.API_VERSION}: what
stands here is kept as [hooks.md](hooks.md#versions) says.
"""
SECTION = re.compile(r"(Args|Attributes|Returns|Raises):(.*)")


def page() -> str:
    """The whole page."""
    hooks = {n: v for n, v in vars(hookspecs).items() if hasattr(v, f"{hookspecs.PROJECT}_spec")}
    parts = [HEAD, "## Hooks\n", *(_entry(name, hook) for name, hook in hooks.items())]
    parts += ["## harness\n", *_module(harness)]
    parts += ["## harness.testing\n", _prose(testing.__doc__ or ""), *_module(testing)]
    return "\n".join(parts)


def _module(module: ModuleType) -> Iterator[str]:
    for name in module.__all__:
        yield _entry(name, getattr(module, name))


def _entry(name: str, thing: Any) -> str:
    """One name: what it is called with, what it says of itself, and what it has."""
    if not inspect.isclass(thing) and not inspect.isroutine(thing):
        value = repr(thing) if len(repr(thing)) < 60 and name != "__version__" else "..."
        return f"### {name}\n\n{_code(f'{name} = {value}')}"
    blocks = [_code(_signature(name, thing)), _prose(_own_doc(thing))]
    if inspect.isclass(thing) and issubclass(thing, harness.HarnessError):
        blocks.append(_error(thing))
    if inspect.isclass(thing):
        blocks += [_member(thing, member) for member in _members(thing)]
    return f"### {name}\n\n" + "\n".join(block for block in blocks if block)


def _error(thing: type[harness.HarnessError]) -> str:
    """What the drawing of the tree says of an error, and its exit code."""
    drawn = re.search(rf"\b{thing.__name__} +(?:\d+ +)?(.+)", errors.__doc__ or "")
    about = re.sub(r" +\(retryable\)", "", drawn[1]).strip() if drawn else ""
    said = [f"{about[0].upper()}{about[1:]}." if about and not about[0].isdigit() else ""]
    said += [f"Exit code {thing.exit_code}.", "It may be tried again." if thing.retryable else ""]
    return " ".join(filter(None, said)) + "\n"


def _signature(name: str, thing: Any) -> str:
    """As it is written in a file: one line, or one parameter a line where that is too long."""
    if not inspect.isclass(thing):
        return f"def {_called(name, thing)}"
    bases = ", ".join(b.__name__ for b in thing.__bases__ if b is not object)
    head = f"class {name}({bases})" if bases else f"class {name}"
    if dataclasses.is_dataclass(thing):
        return "\n".join([f"{head}:", *(f"    {_field(f)}" for f in dataclasses.fields(thing))])
    annotated = [
        f"    {attribute}: {kind}{_default(vars(thing).get(attribute, inspect.Parameter.empty))}"
        for attribute, kind in inspect.get_annotations(thing).items()
        if not attribute.startswith("_") and attribute != "model_config"
    ]
    for special in ("__init__", "__call__"):
        own = vars(thing).get(special)
        if inspect.isfunction(own) and own.__module__.startswith("harness"):
            annotated.append(textwrap.indent(f"def {_called(special, own)}", "    "))
    return "\n".join([f"{head}:", *annotated]) if annotated else head


class _Bare(str):
    """An annotation as it is written in the code."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _called(name: str, function: Any) -> str:
    """A function's name and parameters, on one line or with a line for each."""
    signature = inspect.signature(function)
    empty = inspect.Parameter.empty
    given = [
        p if p.annotation is empty else p.replace(annotation=_Bare(p.annotation))
        for p in signature.parameters.values()
    ]
    returns = signature.return_annotation
    signature = signature.replace(
        parameters=given, return_annotation=returns if returns is empty else _Bare(returns)
    )
    text = f"{name}{signature}"
    if len(text) <= 90:
        return text
    lines, starred = [], False
    for parameter in given:
        starred = starred or parameter.kind is inspect.Parameter.VAR_POSITIONAL
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            lines, starred = [*lines, "    *,"], True
        lines.append(f"    {parameter},")
    end = "" if returns is empty else f" -> {returns}"
    return "\n".join([f"{name}(", *lines, f"){end}"])


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"{field.name}: {field.type} = {field.default_factory.__name__}()"
    missing = field.default is dataclasses.MISSING
    return f"{field.name}: {field.type}{'' if missing else _default(field.default)}"


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty or inspect.ismemberdescriptor(value):
        return ""
    if inspect.isroutine(value):  # a lambda shows where it lies in memory
        return " = ..."
    return f" = {value.__name__ if inspect.isclass(value) else repr(value)}"


def _members(cls: type) -> list[str]:
    """The methods and properties that a class defines itself and documents."""
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property))
        and value.__doc__
    ]


def _member(cls: type, name: str) -> str:
    value = vars(cls)[name]
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else ""
        head = f"`{name}: {returns}`"
    else:
        head = f"`{_one_line(_called(name, value))}`"
    return f"**{head}**\n\n{_prose(value.__doc__)}"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("( ", "(").replace(", )", ")")


def _own_doc(thing: Any) -> str:
    """Its docstring, but not the one that Python makes for a dataclass or takes from a base."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return "" if not own or own.startswith(f"{getattr(thing, '__name__', '')}(") else str(own)


def _prose(doc: str) -> str:
    """A docstring as Markdown: its sections are lists, what is indented stays as it is."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(doc)) if doc else []:
        first, _, rest = block.partition("\n")
        if match := SECTION.fullmatch(first):
            blocks.append(f"{match[1]}:{match[2]}" + (f"\n\n{_items(rest)}" if rest else ""))
        elif block.startswith("    ") or re.search(r"^\S+ = |^class |^assert ", block, re.M):
            blocks.append(_code(textwrap.dedent(block)).rstrip())
        else:
            blocks.append(block)
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _items(text: str) -> str:
    """`name: what it is` lines as a list; what is indented further goes on with the one above."""
    items: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line)
    return "\n".join(re.sub(r"^([\w, ]+):", r"- `\1`:", item) for item in items)


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"
