"""The stage `ollama`: create the model on a server from the Modelfile, and verify it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, UsageError
from harness.models.gguf_file import GgufFile, open_gguf
from harness.support.process import require
from harness.support.text_input import reading
from harness.terminal.console import Screen
from skills.finetune.export.modelfile import Modelfile, parse_modelfile, served_gguf
from skills.finetune.export.ollama_api import Ollama, parse_version
from skills.finetune.export.register import name_of
from skills.finetune.run_folder import Entry, RunDir, StageContext, file_digest
from skills.finetune.tokenization.examples import refusal_of
from skills.nanda.forms import Form
from skills.nanda.generated_forms import TaggedForm
from skills.nanda.paper import Paper

FILES_SINCE = (0, 5, 5)
"""The first version in which /api/create uses uploaded files, not paths on the server's disk."""
GGUF_ALONE_SINCE = (0, 34, 1)
"""The first version in which /api/create rejects adapters and does not quantize a GGUF."""
QUANTIZES = ("Q4_K_M", "Q4_K_S", "Q8_0")
"""The types to which /api/create quantizes a GGUF in versions before `GGUF_ALONE_SINCE`."""
SIXTEEN_BITS = ("F16", "BF16", "F32")
ADAPTER_SUFFIX = "-lora"
"""Suffix of the name of the model that consists of the base and the adapter."""
ABSTRACT = (
    "Agents that call tools fail in ways their logs do not show. We present Ledger, which records "
    "each call with its inputs and replays a run step by step. In a study with 24 engineers, "
    "faults were found 40% faster than with plain logs. Ledger handles only tools without side "
    "effects. The results suggest that replay should be part of every agent framework."
)
"""An invented abstract that the created model annotates as a check."""
SHOWN = 300
"""Maximum number of characters of the answer that are stored in the manifest."""


def create_in_ollama(context: StageContext) -> Entry:
    """Create the model of the Modelfile on a server, and verify it. Return the stage's entry.

    Raises:
        InputError: the Modelfile or a file named in it is missing or cannot be used.
        ModelUnavailable: no server answers.
        UsageError: the server's version does not support the model, or the user does not agree.
        HarnessError: the server refuses a request.
    """
    plan, run_dir, screen = ollama_plan(context), context.run_dir, context.call.screen
    entry = run_dir.entry("ollama")
    with Ollama(context.call.options.host) as ollama:
        version = ollama.version()
        check_version(version, plan)
        # `stands` is False if the model was deleted from the server, was replaced there, or has
        # failed its check.
        stands = entry is None or (
            entry.facts.get("digest") == ollama.digest(plan.model)
            and bool(entry.facts.get("verified"))
        )
        request = plan.request(run_dir)
        inputs = {"host": ollama.host, "version": version, "create": request}
        summary = "create the model in Ollama, and verify it"
        stage = context.begin("ollama", summary, inputs, stands=stands)
        if stage.unchanged is not None:
            return stage.unchanged
        paths = [path for path in (plan.file, plan.adapter) if path is not None]
        _check_consent(context, ollama.host, plan.model, paths)
        sent = sum(_send(ollama, run_dir, path, screen) for path in paths)
        _create(ollama, request, screen)
        with screen.progress("verifying"):
            template = run_dir.prepared_facts().get("template_sha256")
            found = verify(ollama, plan, version, TaggedForm(context.framework), template)
        facts = {"digest": ollama.digest(plan.model), "sent_bytes": sent, **found}
    for line in (*found["problems"], *found["notes"]):
        screen.notice(f"ollama: {line}")
    facts = {"model": plan.model, "host": ollama.host, "version": version, **facts}
    return stage.record(facts=facts)


def _check_consent(context: StageContext, host: str, model: str, paths: Sequence[Path]) -> None:
    """Request the user's consent to send a model to a server that the user has not named.

    A server counts as named if it is the server of --host, of an entry of the registry, or of an
    earlier consent for this run. OLLAMA_HOST and the default address only locate a server, and do
    not count as consent.

    Raises:
        UsageError: the user refuses, or the session is not interactive.
    """
    call, entry = context.call, context.run_dir.entry("ollama")
    places = [place for one in call.models.registry.models.values() for place in one.serve]
    ours = [place for place in places if place.backend == "ollama"]
    named = set()
    for url in (url for place in ours for url in place.addresses):
        with Ollama(url) as ollama:  # `Ollama` completes the address
            named.add(ollama.host)
    before = entry.facts.get("host") if entry else None
    if call.options.host or host in {*named, before}:
        return
    size = sum(path.stat().st_size for path in paths)
    question = f"Send {model} ({size / 1e6:,.1f} MB) to Ollama at {host}?"
    if call.confirm is None or not call.confirm(question):
        raise UsageError(
            f"{model} is not sent to Ollama at {host}, which you have not named: `--host {host}` "
            "names it"
        )


def _send(ollama: Ollama, run_dir: RunDir, path: Path, screen: Screen) -> int:
    """Send a file unless the server already has it; return the number of bytes sent."""
    sha256, size = file_digest(run_dir, path), path.stat().st_size
    if ollama.has_blob(sha256):
        screen.notice(f"ollama: the server already has {path.name}")
        return 0
    screen.notice(f"ollama: sending {path.name}, {size / 1e6:,.1f} MB")
    with screen.progress(f"sending {path.name}") as tick:
        ollama.send_blob(
            path, sha256, lambda sent: tick(f"{sent / 1e6:,.0f} of {size / 1e6:,.0f} MB")
        )
    return size


def _create(ollama: Ollama, request: dict[str, Any], screen: Screen) -> None:
    """Create a model, and show each step of the server once."""
    last = ""
    with screen.progress("creating the model") as tick:
        for status in ollama.create(request):
            tick(status)
            step = status.rstrip("0123456789%").strip()
            if step != last:  # the percentage changes many times a second
                screen.notice(f"ollama: {step}")
            last = step


@dataclass(frozen=True, slots=True)
class OllamaPlan:
    """The model to create on a server, as the Modelfile defines it.

    Attributes:
        model: the name of the model on the server.
        file: the GGUF to send; None if the Modelfile names a model of the server.
        adapter: the GGUF of the adapter to send; None if the Modelfile names no adapter.
        quantize: the type to which the server must quantize a 16-bit file; None to use the file
            as it is.
        gguf: the GGUF with which template and tokens on the server are compared.
        file_type: the final type of the weights; None if only the server states the type.
    """

    model: str
    modelfile: Modelfile
    file: Path | None
    adapter: Path | None
    quantize: str | None
    gguf: GgufFile
    file_type: str | None

    def request(self, run_dir: RunDir) -> dict[str, Any]:
        """Return the arguments of /api/create."""
        modelfile = self.modelfile
        files, adapters = (
            {path.name: f"sha256:{file_digest(run_dir, path)}"} if path else None
            for path in (self.file, self.adapter)
        )
        request = {
            "from": None if files else modelfile.base,
            "files": files,
            "adapters": adapters,
            "parameters": modelfile.parameters,
            "quantize": self.quantize,
            "template": modelfile.template,
            "system": modelfile.system,
        }
        return {"model": self.model, **{name: value for name, value in request.items() if value}}


def ollama_plan(context: StageContext) -> OllamaPlan:
    """Return the plan for creating the model that the Modelfile defines.

    Raises:
        InputError: the Modelfile or a file named in it is missing or cannot be used.
    """
    of_adapter, run_dir = context.call.options.adapter, context.run_dir
    path = run_dir.adapter_modelfile if of_adapter else run_dir.modelfile
    if not path.is_file():
        raise run_dir.needs("modelfile", f"{path.name} does not exist")
    with reading(path):
        content = path.read_text(encoding="utf-8")
    modelfile = parse_modelfile(content)
    file, adapter = _named(path, modelfile.base), _named(path, modelfile.adapter)
    gguf = open_gguf(file or served_gguf(context))
    file_type = gguf.file_type if file else None
    quantize = None
    if file_type in SIXTEEN_BITS and not adapter:
        quantize = file_type = context.recipe.export.quantize
    name = name_of(context) + ADAPTER_SUFFIX * of_adapter
    return OllamaPlan(name, modelfile, file, adapter, quantize, gguf, file_type)


def check_version(version: str, plan: OllamaPlan | None = None) -> None:
    """Raise UsageError if a server of this version would reject the plan.

    Args:
        plan: the model to create; None to check only that the server accepts files.
    """
    numbers = parse_version(version)
    if numbers is None:
        return
    if numbers < FILES_SINCE:
        raise UsageError(
            f"Ollama {version} is too old: it cannot create a model from uploaded files",
            hint="Update Ollama to 0.5.5 or later.",
        )
    if plan and plan.adapter and numbers >= GGUF_ALONE_SINCE:
        raise UsageError(
            f"Ollama {version} does not support adapters",
            hint="Ollama 0.34.1 removed adapters. Leave out --adapter: the merged model is "
            "equivalent.",
        )
    if plan and plan.quantize and (numbers >= GGUF_ALONE_SINCE or plan.quantize not in QUANTIZES):
        raise UsageError(
            f"Ollama {version} does not quantize a GGUF to {plan.quantize}",
            hint="Run `/finetune quantize`, then `/finetune modelfile` to use the quantized file.",
        )


def _named(modelfile: Path, name: str | None) -> Path | None:
    """Return the path of the file `name`; None if `name` is None or the name of a model.

    Raises:
        InputError: `name` is a .gguf file that does not exist.
    """
    path = modelfile.parent / (name or "")
    if path.is_file():
        return path
    if name and path.suffix == ".gguf":
        raise InputError(f"names {name}, which does not exist", where=str(modelfile))
    return None


def verify(
    ollama: Ollama, plan: OllamaPlan, version: str, form: Form, trained_with: str | None
) -> dict[str, Any]:
    """Check a model on the server: its settings, the prompt of a request, and an annotation.

    Args:
        form: the form that the model was trained on.
        trained_with: SHA-256 of the chat template used for training, or None if unknown.

    Returns:
        The keys verified (True if there are no problems), problems (differences from the trained
        model), notes (differences without effect), quantization_level, same_prompt (True if the
        server builds the same prompt as the training), and done_reason and answer (of the test
        annotation).

    Raises:
        HarnessError: the server rejects a request, or its answer is incomplete.
    """
    shown = ollama.show(plan.model)
    messages = [
        {"role": message.role, "content": message.content}
        for message in form.messages(Paper("id", "", "", ABSTRACT))
    ]
    file_type = (shown.get("details") or {}).get("quantization_level")
    problems = []
    if plan.file_type is not None and file_type != plan.file_type:
        problems.append(f"its weights are {file_type}, not {plan.file_type}")
    problems += _parameters(str(shown.get("parameters") or ""), plan.modelfile)
    problems += [
        f"it has its own {name}, with which no row of the training data starts"
        for name in ("system", "messages")
        if shown.get(name)
    ]
    template, notes = plan.gguf.chat_template or "", []
    prompt = list(_prompt(ollama, plan, version, messages))
    if trained_with not in (None, hashlib.sha256(template.encode()).hexdigest()):
        prompt.append(f"{plan.gguf.path.name} has a different chat template than the training rows")
    if not prompt and str(shown.get("template") or "").strip() != template.strip():
        notes.append(
            "it uses a built-in template of Ollama in place of the GGUF's template; both give the "
            "same prompt for an annotation"
        )
    answer, done_reason = ollama.chat(plan.model, messages)
    problems += prompt
    if done_reason != "stop":
        problems.append(f"its answer was cut off (done_reason {done_reason!r})")
    if reason := refusal_of(answer, form):
        problems.append(f"its answer is not an annotation: {reason}")
    return {
        "verified": not problems,
        "problems": problems,
        "notes": notes,
        "quantization_level": file_type,
        "same_prompt": not prompt,
        "done_reason": done_reason,
        "answer": answer[:SHOWN],
    }


def _parameters(shown: str, modelfile: Modelfile) -> Iterator[str]:
    """Yield the differences between the Modelfile's parameters and the lines of /api/show."""
    found: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, shown.splitlines())):
        name, _, text = line.partition(" ")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        found.setdefault(name, []).append(value)
    wanted = {
        name: value if isinstance(value, list) else [value]
        for name, value in modelfile.parameters.items()
    }
    for name in sorted({*found, *wanted}):
        actual, should = found.get(name, []), wanted.get(name, [])
        if name == "stop":
            unwanted = [text for text in actual if text not in should]
            yield from (f"it stops at {text!r}, which is not in the Modelfile" for text in unwanted)
            yield from (f"it does not stop at {text!r}" for text in should if text not in actual)
        elif actual != should:
            yield f"its {name} is {_listed(actual)}, and should be {_listed(should)}"


def _prompt(
    ollama: Ollama, plan: OllamaPlan, version: str, messages: list[dict[str, str]]
) -> Iterator[str]:
    """Yield a problem if the server's prompt is not the training prompt, or cannot be compared."""
    gguf = plan.gguf
    found = ollama.render(plan.model, messages)
    if found is None:
        yield (
            f"Ollama {version} does not return the prompt it builds, so the prompt cannot be "
            "compared; 0.11.5 and later versions return it"
        )
        return
    wanted = rendered(gguf, messages)
    # The engine adds the first token itself, and removes it if the template adds it too.
    adds_bos = gguf.values.get("tokenizer.ggml.add_bos_token", True)
    if found in (wanted, wanted.removeprefix((gguf.token("bos") or "") if adds_bos else "")):
        return
    differ = (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
    at = next(differ, min(len(found), len(wanted)))
    yield (
        "the prompt that the server builds differs from the prompt in training: at character "
        f"{at} it has {found[at : at + 40]!r} and should have {wanted[at : at + 40]!r}"
    )


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "unset"


def rendered(gguf: GgufFile, messages: Sequence[Mapping[str, str]]) -> str:
    """Return `messages` in the chat template of a GGUF, up to the beginning of the answer.

    Raises:
        InputError: the template rejects the conversation.
        UsageError: Jinja is not installed.
    """
    require("jinja2")
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = to_json  # Jinja's own filter escapes HTML
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        text: str = environment.from_string(gguf.chat_template or "").render(
            messages=messages,
            add_generation_prompt=True,
            enable_thinking=False,
            tools=None,
            documents=None,
            **{f"{role}_token": gguf.token(role) or "" for role in ("bos", "eos")},
        )
        return text
    except jinja2.TemplateError as exc:
        raise InputError(f"its chat template fails: {exc}", where=str(gguf.path)) from exc
