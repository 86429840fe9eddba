"""Write and parse Ollama's Modelfile.

The grammar is that of ollama/ollama, parser/parser.go (August 2026). An instruction is a name and
a value on the rest of its line. A value may be enclosed in one or three quotation marks and may
then contain line breaks; it ends with the first line that ends with its quote. There are no escapes
and no single quotes, so some texts cannot be written. `#` starts a comment at the start of a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import InputError

Parameter = int | float | bool | str | tuple[str, ...]

QUOTES = ('"', '"""')
TEXTS = ("from", "adapter", "template", "system")
UNSUPPORTED = ("message", "license", "draft", "renderer", "parser", "requires")
"""Instructions of Ollama that are not part of the request to /api/create."""


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The contents of a Modelfile.

    Attributes:
        base: the value of FROM: a file beside the Modelfile, or the name of a model on the server.
        adapter: the file of a LoRA adapter.
        parameters: by name, typed as the server expects them; `stop` is always a tuple.
        template: a Go template that replaces the chat template of the GGUF.
        system: the system message of conversations that have none.
    """

    base: str
    adapter: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None


def write(modelfile: Modelfile, comments: Sequence[str] = ()) -> str:
    """Return the text of a Modelfile, starting with `comments`; `parse` is the inverse.

    Raises:
        InputError: a value cannot be written.
    """
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    for name, path in (("FROM", modelfile.base), ("ADAPTER", modelfile.adapter)):
        if path is not None:
            is_plain = path and _value(f"{path}\n") == path
            lines.append(f"{name} {path if is_plain else _quoted(name, path)}")
    for name, values in modelfile.parameters.items():
        for value in values if isinstance(values, tuple) else (values,):
            text = _quoted(name, value) if isinstance(value, str) else json.dumps(value)
            lines.append(f"PARAMETER {name} {text}")
    for name, content in (("TEMPLATE", modelfile.template), ("SYSTEM", modelfile.system)):
        if content is not None:
            lines.append(f"{name} {_quoted(name, content)}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> Modelfile:
    """Parse a Modelfile.

    Raises:
        InputError: an instruction is unknown or cannot be sent to a server, a quote is not closed,
            or FROM is missing; with the line number.
    """
    texts: dict[str, str] = {}
    parameters: dict[str, Parameter] = {}
    for line, name, value in _instructions(text.removeprefix("\ufeff")):
        if name == "parameter":
            found = re.match(r"(\w+)[ \t]", value, re.ASCII)
            if found is None:
                raise _error(line, "PARAMETER needs a name and a value")
            _add(parameters, found[1], str(_value(value[found.end() :])))
        elif name == "from" and name in texts:
            raise _error(line, "a second FROM is not supported")
        else:
            texts[name] = str(_value(value))
    if "from" not in texts:
        raise InputError("the Modelfile has no FROM line")
    return Modelfile(texts.pop("from"), parameters=parameters, **texts)


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the name in lower case and the unparsed value of each instruction."""
    lines = enumerate(_lines(text), start=1)
    for number, line in lines:
        stripped = line.lstrip(" \t")
        if not stripped.strip() or stripped.startswith("#"):
            continue
        found = re.match(r"([A-Za-z]+)[ \t]", stripped)
        name = found[1].lower() if found else ""
        if name in UNSUPPORTED:
            raise _error(number, f"{name.upper()} cannot be sent to a server: remove it")
        if found is None or name not in (*TEXTS, "parameter"):
            raise _error(number, f"{stripped.split()[0][:40]!r} is not a Modelfile instruction")
        value = stripped[found.end() :]
        quoted = re.sub(r"^\w+[ \t]", "", value) if name == "parameter" else value
        while _value(quoted) is None:
            following = next(lines, None)
            if following is None:
                raise _error(number, "the quote that starts here is not closed")
            value, quoted = value + following[1], quoted + following[1]
        yield number, name, value


def _value(rest: str) -> str | None:
    """Return the value that `rest` contains, or None while its quote is not closed."""
    text = "".join(char for char in rest if char.isprintable() or char in "\t\r\n").strip()
    for quote in reversed(QUOTES):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : -len(quote)] if closed else None
    return text


def _add(parameters: dict[str, Parameter], name: str, value: str) -> None:
    """Add a parameter, typed as a number or boolean where its text is one."""
    if name == "stop":
        before = parameters.get(name, ())
        parameters[name] = (*before, value) if isinstance(before, tuple) else (value,)
        return
    try:
        typed = json.loads(value.lower())
    except ValueError:
        typed = value
    parameters[name] = typed if isinstance(typed, int | float) else value


def _quoted(name: str, value: str) -> str:
    """Return `value` in the quotes from which it can be read back."""
    for quote in QUOTES:
        written, read = f"{quote}{value}{quote}", ""
        for line in _lines(f"{written}\n"):
            read += line
            if (found := _value(read)) is not None:
                break
        if found == value and read == f"{written}\n":
            return written
    raise InputError(
        f"{name}: the text {value[:40]!r} cannot be written in a Modelfile",
        hint="There are no escapes for control characters or for a quote at the end of a line.",
    )


def _lines(text: str) -> list[str]:
    """Split at line feeds and carriage returns only, keeping the line ends."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def _error(line: int, message: str) -> InputError:
    return InputError(message, where=f"Modelfile, line {line}")
