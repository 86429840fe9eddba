"""Ollama's Modelfile, written and read.

The grammar is that of ollama/ollama, parser/parser.go (read in August 2026). An instruction is a
name and a value on the rest of its line. A value may stand between one quotation mark or three on
each side, and then holds line breaks; it ends with the first line that ends with its quote. There
are no escapes and no single quotes, so that some texts cannot be written at all. `#` begins a
comment where an instruction would begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import InputError

Parameter = int | float | bool | str | tuple[str, ...]

QUOTE, LONG_QUOTE = '"', '"""'
INSTRUCTIONS = frozenset(
    {
        "from",
        "adapter",
        "draft",
        "template",
        "system",
        "parameter",
        "message",
        "license",
        "renderer",
        "parser",
        "requires",
    }
)
ROLES = ("system", "user", "assistant")
INTEGERS = frozenset(
    {
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    }
)
NUMBERS = frozenset(
    {
        "top_p",
        "min_p",
        "typical_p",
        "temperature",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
)
SWITCHES, LISTS = frozenset({"use_mmap"}), frozenset({"stop"})
DROPPED = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)
"""Parameters of old that are taken and have no effect any more."""
WORDS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


@dataclass(frozen=True, slots=True)
class Modelfile:
    """What a Modelfile says.

    Attributes:
        base: after FROM: a file beside it, or the name of a model that the server has.
        adapter: the file of a LoRA adapter.
        parameters: by name, as the server takes them; `stop` is always a tuple.
        template: a Go template that is used instead of the GGUF's own.
        system: what is said before every conversation that has no system message.
        others: instructions that are kept as they are, "LICENSE" or "MESSAGE user", and values.
    """

    base: str
    adapter: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    others: tuple[tuple[str, str], ...] = ()


def write(modelfile: Modelfile, comments: Sequence[str] = ()) -> str:
    """The text of a Modelfile, `comments` first; `parse` reads it back as it was.

    Raises:
        InputError: there is no parameter of that name or kind, or a value cannot be written.
    """
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    lines.append(f"FROM {_plain('FROM', modelfile.base)}")
    if modelfile.adapter is not None:
        lines.append(f"ADAPTER {_plain('ADAPTER', modelfile.adapter)}")
    for name, value in modelfile.parameters.items():
        for one in value if isinstance(value, tuple) else (value,):
            lines.append(f"PARAMETER {name} {_shown(name, one)}")
    for name, text in (("TEMPLATE", modelfile.template), ("SYSTEM", modelfile.system)):
        if text is not None:
            lines.append(f"{name} {_quoted(name, text)}")
    lines += (f"{name} {_quoted(name, text)}" for name, text in modelfile.others)
    written = "\n".join(lines) + "\n"
    if parse(written) != modelfile:
        raise InputError("the Modelfile would be read as something else than it was written from")
    return written


def parse(text: str) -> Modelfile:
    """Read a Modelfile.

    Raises:
        InputError: it has an instruction or a parameter that Ollama does not know, a value of the
            wrong kind, an open quote, or no FROM; naming the line.
    """
    single: dict[str, str] = {}
    parameters: dict[str, Parameter] = {}
    others: list[tuple[str, str]] = []
    for line, name, argument, value in _instructions(text.removeprefix("\ufeff")):
        if name == "parameter":
            _add(parameters, argument, value, line)
        elif name in ("from", "adapter", "template", "system"):
            if name == "from" and name in single:
                raise _error(line, "it has a second FROM, which is for models of several files")
            single[name] = value
        else:
            others.append((f"{name.upper()} {argument}".strip(), value))
    if "from" not in single:
        raise InputError("the Modelfile has no FROM line")
    return Modelfile(
        single["from"],
        single.get("adapter"),
        parameters,
        single.get("template"),
        single.get("system"),
        tuple(others),
    )


def _instructions(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Line, name in small letters, argument of PARAMETER or MESSAGE, and value of each."""
    lines = _lines(text)
    at = 0
    while at < len(lines):
        first, at = at + 1, at + 1
        line = lines[first - 1].lstrip(" \t")
        if not line.strip() or line.startswith("#"):
            continue
        found = re.match(r"([A-Za-z]+)[ \t]", line)
        if found is None or found[1].lower() not in INSTRUCTIONS:
            raise _error(first, f"{line.split()[0][:40]!r} is no instruction of a Modelfile")
        name, rest = found[1].lower(), line[found.end() :]
        argument = ""
        if name in ("parameter", "message"):
            argument, rest = _argument(name, rest, first)
        while (value := _value(rest)) is None:
            if at == len(lines):
                raise _error(first, "the quote that begins here has no end")
            rest, at = rest + lines[at], at + 1
        yield first, name, argument, value


def _argument(name: str, rest: str, line: int) -> tuple[str, str]:
    found = re.match(r"(\w+)[ \t]", rest, re.ASCII)
    if found is None or (name == "message" and found[1] not in ROLES):
        what = f"a role ({', '.join(ROLES)})" if name == "message" else "a parameter's name"
        raise _error(line, f"{name.upper()} needs {what} and a value after one blank")
    return found[1], rest[found.end() :]


def _value(rest: str) -> str | None:
    """The value that the rest of a line holds; None where a quote is still open."""
    text = "".join(char for char in rest if char.isprintable() or char in "\t\r\n").strip()
    for quote in (LONG_QUOTE, QUOTE):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : -len(quote)] if closed else None
    return text


def _add(parameters: dict[str, Parameter], name: str, value: str, line: int) -> None:
    if name in DROPPED:
        return
    if name in LISTS:
        before = parameters.get(name, ())
        parameters[name] = (*before, value) if isinstance(before, tuple) else (value,)
        return
    try:
        parameters[name] = _typed(name, value)
    except (ValueError, KeyError) as exc:
        raise _error(line, f"the parameter {name} cannot be {value[:40]!r}") from exc
    except LookupError as exc:
        raise _error(line, str(exc)) from exc


def _typed(name: str, value: str) -> Parameter:
    if name in INTEGERS:
        return int(value)
    if name in NUMBERS:
        return float(value)
    if name in SWITCHES:
        return WORDS[value.lower()]
    raise LookupError(f"there is no parameter {name!r}")


def _shown(name: str, value: Parameter) -> str:
    if isinstance(value, str):
        return _quoted(f"the parameter {name}", value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _plain(name: str, value: str) -> str:
    """A path or a name, which stands without quotes where it can."""
    return value if value and _value(f"{value}\n") == value else _quoted(name, value)


def _quoted(name: str, value: str) -> str:
    """`value` in the quotes that it can be read back from."""
    for quote in (QUOTE, LONG_QUOTE):
        written = f"{quote}{value}{quote}"
        if _read_back(written) == value:
            return written
    raise InputError(
        f"{name}: the text {value[:40]!r} cannot be written in a Modelfile",
        hint="There are no escapes: not for control characters, nor for a quote that ends a line.",
    )


def _read_back(written: str) -> str | None:
    """What a value is read as: less than was written, where a line of it ends with the quote."""
    rest = ""
    for line in _lines(f"{written}\n"):
        rest += line
        if (value := _value(rest)) is not None:
            return value
    return None


def _lines(text: str) -> list[str]:
    """Lines with their ends, which are a line feed or a carriage return and nothing else."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def _error(line: int, message: str) -> InputError:
    return InputError(message, where=f"Modelfile, line {line}")
