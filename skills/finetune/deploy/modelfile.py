"""Write and parse Ollama's Modelfile.

The grammar is that of ollama/ollama, parser/parser.go (August 2026). An instruction is a name and
a value on the rest of its line. A value may be enclosed in one or three quotation marks and may
then contain line breaks; it ends with the first line that ends with its quote. There are no escapes
and no single quotes. `#` starts a comment at the start of a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import InputError

Parameter = int | float | bool | str | list[str]

INSTRUCTION = re.compile(
    r'''[ \t]*
    (?: (?P<name>FROM|ADAPTER|TEMPLATE|SYSTEM) | PARAMETER[ \t]+(?P<parameter>\w+) )[ \t]+
    (?: """(?P<three>.*?)"""  |  "(?!"")(?P<one>.*?)"  |  (?P<plain>[^"\s][^\n]*?) )
    [ \t]*(?:\n|\Z)''',
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
COMMENT = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The contents of a Modelfile.

    Attributes:
        base: the value of FROM: a file beside the Modelfile, or the name of a model on the server.
        adapter: the file of a LoRA adapter.
        parameters: by name, typed as the server expects them; `stop` is always a list.
        template: a Go template that replaces the chat template of the GGUF.
        system: the system message of conversations that have none.
    """

    base: str
    adapter: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None


def write(modelfile: Modelfile, comments: Sequence[str] = ()) -> str:
    """Return the text of a Modelfile, starting with `comments`; `parse` is the inverse."""
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    lines.append(f"FROM {modelfile.base}")
    if modelfile.adapter is not None:
        lines.append(f"ADAPTER {modelfile.adapter}")
    for name, values in modelfile.parameters.items():
        for value in values if isinstance(values, list) else [values]:
            text = _quoted(value) if isinstance(value, str) else json.dumps(value)
            lines.append(f"PARAMETER {name} {text}")
    for name, content in (("TEMPLATE", modelfile.template), ("SYSTEM", modelfile.system)):
        if content is not None:
            lines.append(f"{name} {_quoted(content)}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> Modelfile:
    """Parse a Modelfile with line feeds as line ends.

    Raises:
        InputError: an instruction is unknown, incomplete or cannot be sent to a server, or FROM is
            missing or repeated.
    """
    texts: dict[str, str] = {}
    parameters: dict[str, Parameter] = {}
    position = 0
    while position < len(text):
        found = COMMENT.match(text, position) or INSTRUCTION.match(text, position)
        if found is None:
            raise _error(text, position)
        if found.re is INSTRUCTION:
            value = next(
                found[form] for form in ("three", "one", "plain") if found[form] is not None
            )
            if found["parameter"]:
                _add(parameters, found["parameter"], value)
            elif (name := found["name"].lower()) not in texts:
                texts[name] = value
            else:
                raise _error(text, position)
        position = found.end()
    if "from" not in texts:
        raise InputError("the Modelfile has no FROM line")
    return Modelfile(texts.pop("from"), parameters=parameters, **texts)


def _add(parameters: dict[str, Parameter], name: str, value: str) -> None:
    """Add a parameter, typed as a number or boolean where its text is one."""
    if name == "stop":
        before = parameters.get(name)
        parameters[name] = [*before, value] if isinstance(before, list) else [value]
        return
    try:
        typed = json.loads(value.lower())
    except ValueError:
        typed = value
    parameters[name] = typed if isinstance(typed, int | float) else value


def _quoted(value: str) -> str:
    quote = '"""' if '"' in value else '"'
    return f"{quote}{value}{quote}"


def _error(text: str, position: int) -> InputError:
    line = text[position:].partition("\n")[0].strip()
    return InputError(
        f"{line[:40]!r} is not a Modelfile instruction that can be sent to a server",
        where=f"Modelfile, line {text.count(chr(10), 0, position) + 1}",
        hint="Use one FROM, and ADAPTER, TEMPLATE, SYSTEM, or PARAMETER NAME VALUE. Close quotes.",
    )
