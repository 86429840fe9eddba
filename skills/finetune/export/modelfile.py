"""The stage `modelfile`: write and parse Ollama's Modelfile.

The grammar follows ollama/ollama, parser/parser.go (August 2026). An instruction consists of a name
and a value, which is the rest of the line. A value between double quotes, or between groups of
three double quotes, may contain line breaks, and ends at the first line that ends with the same
quotes. There are no escapes and no single quotes. A line that starts with `#` is a comment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.models.gguf_file import open_gguf
from harness.runs import targets
from harness.support.text_input import at_home
from skills.finetune.run_folder import Entry, StageContext, file_digest
from skills.nanda.generated_forms import CLOSE_TAG

Parameter = int | float | bool | str | list[str]

INSTRUCTION = re.compile(
    r'''[ \t]*
    (?: (?P<name>FROM|ADAPTER|TEMPLATE|SYSTEM) | PARAMETER[ \t]+(?P<parameter>\w+) )[ \t]+
    (?: """(?P<three>.*?)"""  |  "(?!"")(?P<one>.*?)"  |  (?P<plain>[^"\s][^\n]*?) )
    [ \t]*(?:\n|\Z)''',
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
COMMENT = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
LIBRARY = re.compile(r"(?i)Qwen/Qwen(2\.5)-([\d.]+B)-Instruct")
"""Matches bases whose name in Ollama's library can be derived from their name on the hub."""
COMMENTS = (
    "No TEMPLATE: the GGUF contains the chat template that the model was trained with, and Ollama\n"
    "uses it. A Go template written here would replace it.",
    "No SYSTEM: every row of the training data starts with a system message, and /annotate sends\n"
    "this message. A SYSTEM line would only apply to requests without a system message.",
    "The stop texts: the end-of-turn token of the training rows, and the end of an annotation.",
)
ADAPTER_COMMENT = (
    "The adapter alone, on the base it was trained on. Ollama accepts this up to 0.34.0; from\n"
    "0.34.1 on it rejects adapters: use the merged model of the other Modelfile."
)


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The contents of a Modelfile.

    Attributes:
        base: the value of FROM: a file beside the Modelfile, or the name of a model on the server.
        adapter: the file of a LoRA adapter.
        parameters: the PARAMETER values by name, as numbers, booleans or texts; `stop` is a list.
        template: a Go template that replaces the chat template of the GGUF.
        system: the system message for requests that contain no system message.
    """

    base: str
    adapter: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None


def modelfile_text(modelfile: Modelfile, comments: Sequence[str] = ()) -> str:
    """Return the text of a Modelfile: comments, and the lines FROM, ADAPTER and PARAMETER.

    The fields `template` and `system` are not written.
    """
    lines = [f"# {line}" for comment in comments for line in comment.splitlines()]
    lines.append(f"FROM {modelfile.base}")
    if modelfile.adapter is not None:
        lines.append(f"ADAPTER {modelfile.adapter}")
    for name, values in modelfile.parameters.items():
        for value in values if isinstance(values, list) else [values]:
            quote = '"""' if '"' in str(value) else '"'
            text = f"{quote}{value}{quote}" if isinstance(value, str) else json.dumps(value)
            lines.append(f"PARAMETER {name} {text}")
    return "\n".join(lines) + "\n"


def parse_modelfile(text: str) -> Modelfile:
    """Return the contents of a Modelfile, whose lines end with line feeds.

    Raises:
        InputError: an instruction is unknown, incomplete or cannot be sent to a server, FROM is
            missing, or an instruction other than PARAMETER is repeated.
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
    """Add a parameter to `parameters`.

    Numbers and booleans are converted. The values of `stop` are collected in a list.
    """
    if name == "stop":
        before = parameters.get(name)
        parameters[name] = [*before, value] if isinstance(before, list) else [value]
        return
    try:
        typed = json.loads(value.lower())
    except ValueError:
        typed = value
    parameters[name] = typed if isinstance(typed, int | float) else value


def _error(text: str, position: int) -> InputError:
    """Return the error for the line at `position`, which cannot be parsed."""
    line = text[position:].partition("\n")[0].strip()
    return InputError(
        f"{line[:40]!r} is not a Modelfile instruction that can be sent to a server",
        where=f"Modelfile, line {text.count(chr(10), 0, position) + 1}",
        hint="A Modelfile has one `FROM` line; `ADAPTER`, `TEMPLATE`, `SYSTEM` and `PARAMETER NAME "
        "VALUE` are optional. A text that begins with a quotation mark must end with one.",
    )


def served_gguf(context: StageContext) -> Path:
    """Return the GGUF of the merged model: the quantized file if it exists, or the 16-bit file.

    Raises:
        InputError: neither file exists.
    """
    run_dir = context.run_dir
    for path in (run_dir.quantized(context.recipe.export.quantize), run_dir.f16):
        if path.is_file():
            return path
    raise run_dir.needs("gguf", "there is no GGUF of the model yet")


def adapter_base(context: StageContext) -> str | None:
    """Return the base of the adapter for FROM: a local GGUF or a model of Ollama's library.

    The result is None if the base has no local GGUF, and its name in the library is unknown.
    """
    registry = context.call.models.registry
    path = at_home(context.recipe.base)
    if context.recipe.base in registry.files:
        path = context.files.path(context.recipe.base)
    elif found := LIBRARY.fullmatch(context.recipe.base):
        return f"qwen{found[1]}:{found[2].lower()}-instruct"
    elif path.suffix != ".gguf":
        return None
    return str(path.resolve()) if path.is_file() else None


def write_modelfiles(context: StageContext) -> Entry:
    """Write the Modelfiles of the merged model and the adapter. Return the stage's entry.

    The adapter gets a Modelfile only if it exists as GGUF, and `adapter_base` finds its base.

    Raises:
        InputError: the GGUF is missing, or it has no chat template or end-of-turn token.
        OutputError: a file cannot be written.
    """
    path, run_dir, export = served_gguf(context), context.run_dir, context.recipe.export
    lora, base, seed = run_dir.lora, adapter_base(context), context.recipe.training.seed
    inputs = {
        "gguf": path.name,
        "gguf_sha256": file_digest(run_dir, path),
        "lora_sha256": file_digest(run_dir, lora) if lora.is_file() else None,
        "adapter_base": base,
        "seed": seed,
        **export.model_dump(include={"num_ctx", "num_predict", "temperature"}),
    }
    stage = context.begin("modelfile", "write the Modelfile for Ollama", inputs)
    if stage.unchanged is not None:
        return stage.unchanged
    gguf = open_gguf(path)
    if gguf.chat_template is None or gguf.end_of_turn is None:
        lacks = "chat template" if gguf.chat_template is None else "end-of-turn token"
        raise InputError(
            f"has no {lacks}",
            where=str(path),
            hint="Use a base that was trained for chat: its tokenizer files have a chat template "
            "and an end-of-turn token.",
        )
    parameters: dict[str, Parameter] = {
        "stop": list(dict.fromkeys((gguf.end_of_turn, CLOSE_TAG))),
        "temperature": export.temperature,
        "num_ctx": export.num_ctx,
        "num_predict": export.num_predict,
        "seed": seed,
    }
    merged = modelfile_text(Modelfile(f"./{path.name}", None, parameters), COMMENTS)
    modelfiles = {run_dir.modelfile: merged}
    if not lora.is_file():
        adapter = "none: the run has no adapter as GGUF"
    elif base is None:
        adapter = f"none: no GGUF of {context.recipe.base} is known, locally or in Ollama's library"
    else:
        adapter = base
        on_base = Modelfile(base, f"./{lora.name}", parameters)
        comments = (ADAPTER_COMMENT, *COMMENTS)
        modelfiles[run_dir.adapter_modelfile] = modelfile_text(on_base, comments)
    for target, text in modelfiles.items():
        targets.write_text(target, text)
    facts = {
        "from": path.name,
        "stop": parameters["stop"],
        "template_sha256": hashlib.sha256(gguf.chat_template.encode()).hexdigest(),
        "adapter": adapter,
    }
    return stage.record(list(modelfiles), facts)
