"""The stage `ollama` against a server: creating, verifying, refusing."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama_run import ANNOTATION, CONVERSATION, Folder
from ollama_server import OllamaServer
from tiny_gguf import OTHER_TEMPLATE, write_model

from harness.errors import (
    GenerationFailed,
    HarnessError,
    ModelUnavailable,
    SkillFailed,
    UsageError,
)
from harness.models.backend import Message, Request
from harness.models.backends.ollama import OllamaBackend
from harness.models.pool import ModelPool, Models
from harness.models.registry import ModelEntry, Registry, ServeEntry
from skills.finetune.export.ollama_api import Ollama
from skills.finetune.recipe import overridden

# Success


def test_a_model_is_created_verified_and_answers(
    run: Folder, server: OllamaServer, client: ollama.Client
) -> None:
    run.modelfile()
    facts = run.create()
    assert facts["problems"] == []
    assert facts["verified"]
    assert facts["quantization_level"] == "Q8_0"
    assert facts["same_prompt"]
    assert facts["sent_bytes"] == run.out.quantized("Q8_0").stat().st_size
    body = server.bodies("/api/create")[0]
    assert body["parameters"]["stop"] == ["<|im_end|>", "</annotation>"]
    assert not {"quantize", "template", "system", "from"} & set(body)

    assert [model.model for model in client.list().models] == ["ft:latest"]
    assert client.show("ft").template == OTHER_TEMPLATE
    reply = client.chat("ft", CONVERSATION)
    assert (reply.message.content or "").startswith("<annotation>\nClaim: it says so here.\n")
    assert reply.done_reason == "stop"


def test_a_model_in_16_bits_is_quantized_by_the_server(
    unquantized: Folder, server: OllamaServer
) -> None:
    pytest.importorskip("llama_cpp_py_sync", reason="the finetune extra is not installed")
    facts = unquantized.create()
    assert facts["problems"] == []
    assert facts["quantization_level"] == "Q4_K_M"
    assert [body["quantize"] for body in server.bodies("/api/create")] == ["Q4_K_M"]
    assert unquantized.messages.count("ollama: verifying conversion\n") == 1


def test_the_harness_annotates_with_it(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    entry = ServeEntry(backend="ollama", model="ft", url=server.url, context=1024)
    request = Request((Message("system", "Annotate."), Message("user", "x")), max_tokens=200)
    text = OllamaBackend().load(entry).generate(request).text
    assert "Novelty: it says so here." in text


def test_nothing_is_sent_twice(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    run.create()
    assert "ollama: unchanged" in run.messages
    server.remove("ft:latest")
    facts = run.create()
    assert facts["verified"]
    assert facts["sent_bytes"] == 0
    assert "the server already has" in run.messages
    sent = [r for r in server.requests if r.path.startswith("/api/blobs/")]
    # The first run asks for the file and sends it; the last run only asks for it.
    assert len(sent) == 3


def test_a_new_modelfile_makes_a_new_model(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    run.recipe = overridden(run.recipe, {"export.temperature": 0.3})
    run.modelfile()
    assert run.create()["verified"]
    assert server.models["ft:latest"].parameters["temperature"] == 0.3


@pytest.mark.parametrize("puts_bos", [True, False])
def test_a_template_that_writes_the_first_token_is_right(run: Folder, puts_bos: bool) -> None:
    template = "{{ bos_token }}" + OTHER_TEMPLATE
    path = run.out.quantized("Q8_0")
    write_model(path, ANNOTATION, template=template, puts_bos=puts_bos)
    run.modelfile()
    assert run.create()["problems"] == []


def test_equivalent_built_in_template_is_a_note(
    run: Folder, server: OllamaServer, ggufs: Path
) -> None:
    run.take(ggufs / "guessed.gguf")
    run.modelfile()
    facts = run.create()
    assert facts["verified"]
    assert "a built-in template of Ollama" in facts["notes"][0]
    assert "using autodetected template chatml" in run.messages


def test_a_model_is_made_of_base_and_adapter(adapted: Folder, server: OllamaServer) -> None:
    facts = adapted.create()
    assert facts["verified"], facts
    assert facts["model"] == "ft-lora"
    assert facts["quantization_level"] == "Q8_0"
    assert len(server.bodies("/api/create")[0]["adapters"]) == 1


def test_a_base_in_16_bits_is_not_quantized_under_an_adapter(
    adapted: Folder, server: OllamaServer, ggufs: Path
) -> None:
    shutil.copy(ggufs / "f16.gguf", adapted.folder / "base.gguf")
    assert adapted.create()["quantization_level"] == "F16"
    assert "quantize" not in server.bodies("/api/create")[0]


# Findings


def problems(run: Folder) -> str:
    facts = run.create()
    assert not facts["verified"]
    return "; ".join(facts["problems"])


def test_an_answer_that_is_no_annotation_is_a_finding(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "silent.gguf")
    run.modelfile()
    assert "its answer is not an annotation: claim is " in problems(run)


def test_unverified_model_is_created_again(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "silent.gguf")
    run.modelfile()
    run.create()
    run.create()
    assert "unchanged" not in run.messages


def test_an_answer_without_an_end_is_a_finding(run: Folder) -> None:
    run.recipe = overridden(run.recipe, {"export.num_predict": 3})
    run.modelfile()
    assert "its answer was cut off (done_reason 'length')" in problems(run)


def test_another_template_than_the_training_rows_is_a_finding(run: Folder) -> None:
    run.modelfile()
    run.out.prepared.mkdir()
    prepared = run.out.prepared / "prepared.json"
    prepared.write_text(json.dumps({"template_sha256": "ab" * 32}))
    found = problems(run)
    assert found == "ft.Q8_0.gguf has a different chat template than the training rows"
    same = hashlib.sha256(OTHER_TEMPLATE.encode()).hexdigest()
    prepared.write_text(json.dumps({"template_sha256": same}))
    assert run.create()["verified"]


def test_another_prompt_is_a_finding(run: Folder, tmp_path: Path, ggufs: Path) -> None:
    run.take(ggufs / "guessed.gguf")
    with OllamaServer(tmp_path / "old", version="0.29.9") as old:
        run.options["host"] = old.url
        run.modelfile()
        text = run.out.modelfile.read_text("utf-8")
        run.out.modelfile.write_text(text + 'TEMPLATE "{{ .Prompt }}"\n', "utf-8")
        found = problems(run)
    assert "builds differs from the prompt in training: at character 0" in found
    assert "should have '<|im_start|>system" in found


def test_server_without_jinja_is_detected(run: Folder, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "old", version="0.29.9") as old:
        run.options["host"] = old.url
        run.modelfile()
        assert "the server builds differs from the prompt in training" in problems(run)


def test_server_that_cannot_render_is_detected(run: Folder, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "old", version="0.11.4") as old:
        run.options["host"] = old.url
        run.modelfile()
        assert "Ollama 0.11.4 does not return the prompt it builds" in problems(run)


def test_unexpected_settings_on_the_server_are_found(
    run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = server.keep

    def kept(name: str, made: Any) -> None:
        made.parameters |= {"stop": ["</annotation>", "\n"], "num_ctx": 512, "top_k": 1}
        made.system, made.file_type = "You are a pirate.", "F16"
        keep(name, made)

    monkeypatch.setattr(server, "keep", kept)
    run.modelfile()
    found = problems(run)
    for problem in (
        "it stops at '\\n', which is not in the Modelfile",
        "it does not stop at '<|im_end|>'",
        "its num_ctx is 512, and should be 1024",
        "its top_k is 1, and should be unset",
        "it has its own system",
        "its weights are F16, not Q8_0",
    ):
        assert problem in found


# Versions, addresses and failures


def test_an_ollama_that_takes_no_files_is_too_old(run: Folder, server: OllamaServer) -> None:
    server.version = "0.5.4"
    run.modelfile()
    error = run.refused()
    assert isinstance(error, UsageError)
    assert "Ollama 0.5.4 is too old" in str(error)
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


@pytest.mark.parametrize("version", ["0.34.1", "0.40.0-rc1", "1.0.0"])
def test_a_newer_ollama_is_not_asked_to_quantize(
    unquantized: Folder, server: OllamaServer, version: str
) -> None:
    server.version = version
    error = unquantized.refused()
    assert "does not quantize a GGUF to Q4_K_M" in str(error)
    assert "Run `/finetune quantize`" in str(error)
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


def test_a_newer_ollama_takes_a_quantized_model(run: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    run.modelfile()
    assert run.create()["verified"]


def test_a_newer_ollama_is_not_asked_for_adapters(adapted: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    assert "does not support adapters" in str(adapted.refused())


def test_server_without_a_version_rejects_adapters(adapted: Folder, server: OllamaServer) -> None:
    server.version, server.since = "0.0.0", lambda version: True  # type: ignore[method-assign]
    error = adapted.refused()
    assert isinstance(error, SkillFailed)
    assert "LoRA adapters are no longer supported" in str(error)


def test_unsupported_type_is_refused_before_sending(
    unquantized: Folder, server: OllamaServer
) -> None:
    unquantized.recipe = overridden(unquantized.recipe, {"export.quantize": "Q6_K"})
    unquantized.modelfile()
    assert "does not quantize a GGUF to Q6_K" in str(unquantized.refused())
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("early", SkillFailed, "answers 500: mkdir blobs: permission denied"),
        ("error", SkillFailed, "no space left on device. Free space in OLLAMA_MODELS"),
        (
            "unfinished",
            GenerationFailed,
            "last status was 'writing manifest' instead of",
        ),
        ("cut", GenerationFailed, "the connection was closed"),
    ],
)
def test_failed_create_is_reported(
    run: Folder, server: OllamaServer, how: str, kind: type[HarnessError], message: str
) -> None:
    run.modelfile()
    server.fail_create(how)
    error = run.refused()
    assert isinstance(error, kind)
    assert message in str(error)
    assert run.out.entry("ollama") is None


def test_a_model_that_is_not_there_is_not_found(server: OllamaServer) -> None:
    with Ollama(server.url) as client, pytest.raises(SkillFailed, match="404: model 'x' not found"):
        client.show("x")


def test_forbidden_host_name_is_reported(server: OllamaServer) -> None:
    port = server.url.rpartition(":")[2]
    with Ollama(f"127.1:{port}") as client, pytest.raises(ModelUnavailable) as caught:
        client.version()
    assert "answers 403: no reason given" in str(caught.value)
    assert "127.0.0.1 or localhost" in str(caught.value)


@pytest.mark.parametrize("body", ["[]", "<html>", "{}"])
def test_other_servers_are_reported(
    run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    handler = server._http.RequestHandlerClass
    monkeypatch.setattr(handler, "do_GET", lambda self: self._send(200, body.encode(), "text/html"))
    run.modelfile()
    assert "is not Ollama" in str(run.refused())


def test_missing_server_is_reported(run: Folder, server: OllamaServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    run.options["host"] = free
    run.modelfile()
    error = run.refused()
    assert isinstance(error, ModelUnavailable)
    assert f"no Ollama server at http://{free}" in str(error)


@pytest.fixture
def unnamed(run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A run that finds the server by OLLAMA_HOST alone."""
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    del run.options["host"]
    run.modelfile()
    return run


def sent(server: OllamaServer) -> list[str]:
    paths = [request.path for request in server.requests]
    return [path for path in paths if path.startswith(("/api/blobs", "/api/create"))]


def test_the_user_confirms_a_server_that_nobody_named_once(
    unnamed: Folder, server: OllamaServer
) -> None:
    questions: list[str] = []
    unnamed.confirm = lambda question: not questions.append(question)  # type: ignore[func-returns-value]
    assert unnamed.create()["host"] == server.url
    size = unnamed.out.quantized("Q8_0").stat().st_size / 1e6
    assert questions == [f"Send ft ({size:,.1f} MB) to Ollama at {server.url}?"]
    server.remove("ft:latest")
    unnamed.create()
    assert len(questions) == 1, "the answer about this run is kept"


@pytest.mark.parametrize("answer", [None, False], ids=["nobody to ask", "refused"])
def test_nothing_is_sent_to_a_server_that_nobody_named(
    unnamed: Folder, server: OllamaServer, answer: bool | None
) -> None:
    unnamed.confirm = None if answer is None else lambda _: False
    error = unnamed.refused()
    assert isinstance(error, UsageError)
    assert f"which you have not named: `--host {server.url}` names it" in error.message
    assert sent(server) == []


def test_a_server_of_the_registry_is_named(unnamed: Folder, server: OllamaServer) -> None:
    place = ServeEntry(backend="ollama", model="m", url=f"{server.url}/")
    named = Registry(models={"mine": ModelEntry(tasks=("chat",), serve=(place,))})
    unnamed.models = Models(ModelPool(named, {}))
    assert unnamed.create()["host"] == server.url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (":8000", "http://127.0.0.1:8000"),
        ("box:8000/", "http://box:8000"),
        ("http://box", "http://box"),
        ("https://box/ollama", "https://box/ollama"),
    ],
)
def test_hosts_are_parsed_as_in_ollama_host(host: str, url: str) -> None:
    with Ollama(host) as client:
        assert client.host == url


def test_a_host_that_is_not_an_address_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="is not the address of an Ollama server"):
        Ollama("http://box:port")


def test_a_modelfile_or_a_file_of_it_that_is_missing_is_refused(run: Folder) -> None:
    assert "Modelfile does not exist. Run `/finetune modelfile" in str(run.refused())
    run.modelfile()
    run.out.quantized("Q8_0").unlink()
    assert "names ./ft.Q8_0.gguf, which does not exist" in str(run.refused())
    run.out.modelfile.write_text("FROM x\nLICENSE mine\n")
    assert "'LICENSE mine' is not a Modelfile instruction" in str(run.refused())
