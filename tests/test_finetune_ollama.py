"""The stages `modelfile` and `ollama`, over real sockets, with models that llama.cpp runs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ollama
import pytest
from ollama_server import OllamaServer
from tiny_gguf import F16, OTHER_TEMPLATE, write_adapter, write_model

from harness import output
from harness.backends.base import Message, Request
from harness.backends.ollama import OllamaBackend
from harness.entries import FileEntry, ServeEntry
from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    ModelUnavailable,
    SkillFailed,
    UsageError,
)
from harness.files import FileStore
from harness.models import ModelPool, Models
from harness.registry import Registry
from harness.runlog import Run
from harness.screen import Screen
from harness.skills import Call
from harness.testing import FakeModel, fake_models, fake_settings
from skills.finetune.chat_template import render
from skills.finetune.gguf_head import GgufHead, read_head
from skills.finetune.modelfile import parse
from skills.finetune.modelfile_stage import MODELFILE
from skills.finetune.ollama_api import Ollama, answers
from skills.finetune.ollama_create import OLLAMA
from skills.finetune.ollama_host import url_of
from skills.finetune.out import Out
from skills.finetune.recipe import Recipe, overridden
from skills.finetune.stages import perform
from skills.finetune.work import Work
from skills.nanda.framework import nanda

ANNOTATION = (
    "<annotation>\n",
    *(f"{move.label}: it says so here.\n" for move in nanda().moves),
    "</annotation>",
)
SAID = [{"role": "system", "content": "Annotate."}, {"role": "user", "content": "We present."}]


class Folder:
    """A run's folder with the GGUF files that a test wants, and its stages."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.options = folder, options
        self.recipe = overridden(
            Recipe(),
            {
                "export.num_ctx": 1024,
                "export.num_predict": 256,
                "export.quantize": "Q8_0",
                "base": "Some/Base",
            },
        )
        self.out = Out.of(folder, self.recipe)
        self.out.make()
        self.said, self.models = "", fake_models(FakeModel())

    def take(self, gguf: Path) -> None:
        """Have this file for the quantized model."""
        shutil.copy(gguf, self.out.quantized("Q8_0"))

    def work(self) -> Work:
        self.err = io.StringIO()
        call = Call(
            text="",
            options=SimpleNamespace(**self.options),
            models=self.models,
            screen=Screen(io.StringIO(), self.err),
            log=Run(),
            settings=fake_settings(self.folder),
        )
        return Work(call, self.recipe, self.out, nanda())

    def modelfile(self) -> Any:
        return perform(self.work(), MODELFILE)

    def create(self) -> Any:
        """Do the stage, and return the facts of its entry."""
        work = self.work()
        try:
            return perform(work, OLLAMA).facts
        finally:
            self.said = self.err.getvalue()

    def refused(self) -> HarnessError:
        with pytest.raises(HarnessError) as caught:
            self.create()
        assert str(caught.value).count("\n") == 0
        return caught.value


@pytest.fixture(scope="session")
def ggufs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ggufs")
    write_model(folder / "native.gguf", ANNOTATION, template=OTHER_TEMPLATE)
    write_model(folder / "f16.gguf", ANNOTATION, template=OTHER_TEMPLATE, file_type=F16)
    write_model(folder / "guessed.gguf", ANNOTATION)
    write_model(folder / "silent.gguf", ANNOTATION, template=OTHER_TEMPLATE, spoken=False)
    write_model(folder / "no_template.gguf", ANNOTATION, template=None)
    write_adapter(folder / "lora.gguf", ANNOTATION)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OllamaServer]:
    with OllamaServer(tmp_path / "blobs") as running:
        yield running


@pytest.fixture
def client(server: OllamaServer) -> Iterator[ollama.Client]:
    with ollama.Client(server.url) as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path, server: OllamaServer, ggufs: Path) -> Folder:
    """A run with a quantized model."""
    folder = Folder(tmp_path / "out", host=server.url)
    folder.take(ggufs / "native.gguf")
    return folder


@pytest.fixture
def unquantized(run: Folder, ggufs: Path) -> Folder:
    """A run with a model in 16 bits alone, which Ollama is to quantize."""
    run.out.quantized("Q8_0").unlink()
    shutil.copy(ggufs / "f16.gguf", run.out.f16)
    run.recipe = overridden(run.recipe, {"export.quantize": "Q4_K_M"})
    run.modelfile()
    return run


# The Modelfile


def test_the_modelfile_is_that_of_the_file_it_names(run: Folder) -> None:
    entry = run.modelfile()
    text = run.out.modelfile.read_text("utf-8")
    assert parse(text).base == "./nanda-annotator.Q8_0.gguf"
    assert parse(text).parameters == {
        "stop": ("<|im_end|>", "</annotation>"),
        "temperature": 0.1,
        "num_ctx": 1024,
        "num_predict": 256,
        "seed": 42,
    }
    assert "No TEMPLATE" in text
    assert "No SYSTEM" in text
    assert entry.facts["adapter"].startswith("none")


def test_the_quantized_file_stands_over_the_other(unquantized: Folder, ggufs: Path) -> None:
    text = unquantized.out.modelfile.read_text("utf-8")
    assert parse(text).base == "./nanda-annotator.f16.gguf"
    shutil.copy(ggufs / "native.gguf", unquantized.out.quantized("Q4_K_M"))
    unquantized.modelfile()
    text = unquantized.out.modelfile.read_text("utf-8")
    assert parse(text).base == "./nanda-annotator.Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5:7b-instruct"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5:0.5b-instruct"),
        ("Some/Base", None),
    ],
)
def test_the_adapter_stands_on_a_base_that_ollama_knows(
    run: Folder, ggufs: Path, base: str, named: str | None
) -> None:
    run.recipe = overridden(run.recipe, {"base": base})
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    entry = run.modelfile()
    if named is None:
        assert "no GGUF of Some/Base is known" in entry.facts["adapter"]
        assert not run.out.adapter_modelfile.exists()
        return
    found = parse(run.out.adapter_modelfile.read_text("utf-8"))
    assert (found.base, found.adapter) == (named, "./nanda-annotator-lora.gguf")


def test_a_base_of_the_registry_is_named_by_its_path(run: Folder, ggufs: Path) -> None:
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    base = ggufs / "silent.gguf"
    run.models = Models(ModelPool(Registry(files={"small": FileEntry(path=str(base))}), {}))
    run.recipe = overridden(run.recipe, {"base": "small"})
    run.modelfile()
    assert parse(run.out.adapter_modelfile.read_text("utf-8")).base == str(base.resolve())


def test_a_model_without_a_template_is_refused(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "no_template.gguf")
    with pytest.raises(InputError, match="has no chat template"):
        run.modelfile()
    gguf = run.out.quantized("Q8_0")
    gguf.write_bytes(b"GGUF and no more")
    with pytest.raises(InputError, match="is no GGUF file that can be read"):
        run.modelfile()
    gguf.unlink()
    with pytest.raises(InputError, match="there is no GGUF of the model yet"):
        run.modelfile()


# The whole way


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

    assert [model.model for model in client.list().models] == ["nanda-annotator:latest"]
    assert client.show("nanda-annotator").template == OTHER_TEMPLATE
    reply = client.chat("nanda-annotator", SAID)
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
    assert unquantized.said.count("quantizing F16 model to Q4_K_M") == 1


def test_the_harness_annotates_with_it(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    entry = ServeEntry(backend="ollama", model="nanda-annotator", url=server.url, context=1024)
    request = Request((Message("system", "Annotate."), Message("user", "x")), max_tokens=200)
    text = OllamaBackend().load(entry).generate(request).text
    assert "Novelty: it says so here." in text


def test_nothing_is_sent_twice(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    run.create()
    assert "ollama: unchanged" in run.said
    server.remove("nanda-annotator:latest")
    facts = run.create()
    assert facts["verified"]
    assert facts["sent_bytes"] == 0
    assert "is there already" in run.said
    sent = [r for r in server.requests if r.path.startswith("/api/blobs/")]
    assert len(sent) == 3  # asked, sent; asked again


def test_a_new_modelfile_makes_a_new_model(run: Folder, server: OllamaServer) -> None:
    run.modelfile()
    run.create()
    run.recipe = overridden(run.recipe, {"export.temperature": 0.3})
    run.modelfile()
    assert run.create()["verified"]
    assert server.models["nanda-annotator:latest"].parameters["temperature"] == 0.3


def test_a_guessed_template_that_says_the_same_is_noted(
    run: Folder, server: OllamaServer, ggufs: Path
) -> None:
    run.take(ggufs / "guessed.gguf")
    run.modelfile()
    facts = run.create()
    assert facts["verified"]
    assert "took for the model's own" in facts["notes"][0]
    assert "using autodetected template chatml" in run.said


@pytest.fixture
def adapted(run: Folder, ggufs: Path) -> Folder:
    """A run with a Modelfile of a base and the adapter."""
    shutil.copy(ggufs / "silent.gguf", run.folder / "base.gguf")
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    run.recipe = overridden(run.recipe, {"base": str(run.folder / "base.gguf")})
    run.options["adapter"] = True
    run.modelfile()
    return run


def test_a_model_is_made_of_base_and_adapter(adapted: Folder, server: OllamaServer) -> None:
    facts = adapted.create()
    assert facts["verified"], facts
    assert facts["model"] == "nanda-annotator-lora"
    assert facts["quantization_level"] == "Q8_0"
    assert len(server.bodies("/api/create")[0]["adapters"]) == 1


# What is found wrong is told


def problems(run: Folder) -> str:
    facts = run.create()
    assert not facts["verified"]
    return "; ".join(facts["problems"])


def test_an_answer_that_is_no_annotation_is_a_finding(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "silent.gguf")
    run.modelfile()
    assert "its answer is no annotation: missing or unusable: claim, " in problems(run)


def test_a_run_that_was_not_found_good_is_done_again(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "silent.gguf")
    run.modelfile()
    run.create()
    run.create()
    assert "unchanged" not in run.said


def test_an_answer_without_an_end_is_a_finding(run: Folder) -> None:
    run.recipe = overridden(run.recipe, {"export.num_predict": 3})
    run.modelfile()
    assert "its answer has no end (done_reason 'length')" in problems(run)


def test_another_template_than_the_training_rows_is_a_finding(run: Folder) -> None:
    run.modelfile()
    run.out.prepared.mkdir()
    prepared = run.out.prepared / "prepared.json"
    prepared.write_text(json.dumps({"template_sha256": "ab" * 32}))
    found = problems(run)
    assert found == "nanda-annotator.Q8_0.gguf has another chat template than the training rows"
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
    assert "the prompt it makes is not the one of the training: at character 0" in found
    assert "should be '<|im_start|>system" in found


def test_a_server_that_runs_no_jinja_is_found_out(run: Folder, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "old", version="0.29.9") as old:
        run.options["host"] = old.url
        run.modelfile()
        assert "the prompt it makes is not the one of the training" in problems(run)


def test_a_server_that_cannot_tell_its_prompt_is_found_out(run: Folder, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "old", version="0.11.4") as old:
        run.options["host"] = old.url
        run.modelfile()
        assert "Ollama 0.11.4 does not tell which prompt it makes" in problems(run)


def test_what_stands_in_the_way_at_the_server_is_found(
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
        "it stops at '\\n', which nobody asked for",
        "it does not stop at '<|im_end|>'",
        "its num_ctx is 512, not 1024",
        "its top_k is 1, not not set",
        "it has system of its own",
        "its weights are kept as F16, not as Q8_0",
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
    assert "`/finetune quantize` does it here" in str(error)
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


def test_a_newer_ollama_takes_a_quantized_model(run: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    run.modelfile()
    assert run.create()["verified"]


def test_a_newer_ollama_is_not_asked_for_adapters(adapted: Folder, server: OllamaServer) -> None:
    server.version = "0.34.1"
    assert "takes no adapters" in str(adapted.refused())


def test_one_that_hides_its_version_says_so_itself(adapted: Folder, server: OllamaServer) -> None:
    server.version, server.since = "0.0.0", lambda version: True  # type: ignore[method-assign]
    error = adapted.refused()
    assert isinstance(error, SkillFailed)
    assert "LoRA adapters are no longer supported" in str(error)
    assert "leave out --adapter" in str(error)


def test_a_type_that_ollama_lacks_is_refused_before_anything_is_sent(
    unquantized: Folder, server: OllamaServer
) -> None:
    unquantized.recipe = overridden(unquantized.recipe, {"export.quantize": "Q6_K"})
    unquantized.modelfile()
    assert "does not quantize a GGUF to Q6_K" in str(unquantized.refused())
    assert not any(r.path.startswith("/api/blobs/") for r in server.requests)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("early", SkillFailed, "answers 500: mkdir blobs: permission denied"),
        ("error", SkillFailed, "no space left on device. It keeps its models where OLLAMA_MODELS"),
        ("unfinished", GenerationFailed, "its last word was 'writing manifest', no success"),
        ("cut", GenerationFailed, "the connection was cut"),
        ("garbage", GenerationFailed, "a line of it is no JSON object"),
    ],
)
def test_a_create_that_fails_is_told_in_a_sentence(
    run: Folder, server: OllamaServer, how: str, kind: type[HarnessError], said: str
) -> None:
    run.modelfile()
    server.fail_create(how)
    error = run.refused()
    assert isinstance(error, kind)
    assert said in str(error)
    assert run.out.entry("ollama") is None


def test_a_file_that_changes_while_it_is_sent_is_refused(server: OllamaServer, ggufs: Path) -> None:
    with Ollama(server.url) as client, pytest.raises(InputError, match="has changed while"):
        client.send_blob(ggufs / "lora.gguf", "0" * 64, lambda _: None)


def test_a_model_that_is_not_there_is_not_found(server: OllamaServer) -> None:
    with Ollama(server.url) as client, pytest.raises(SkillFailed, match="404: model 'x' not found"):
        client.show("x")


def test_a_server_that_refuses_its_name_is_told(server: OllamaServer) -> None:
    port = server.url.rpartition(":")[2]
    with Ollama(f"127.1:{port}") as client, pytest.raises(ModelUnavailable) as caught:
        client.version()
    assert "answers 403: and does not say why" in str(caught.value)
    assert "127.0.0.1 or localhost" in str(caught.value)


def test_where_nobody_answers_it_is_said(run: Folder, server: OllamaServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    assert answers(server.url) == "0.33.0"
    assert answers(free) is None
    assert answers("not an address at all") is None
    run.options["host"] = free
    run.modelfile()
    error = run.refused()
    assert isinstance(error, ModelUnavailable)
    assert f"no Ollama server at http://{free}" in str(error)


def test_without_a_host_ollama_host_is_asked(
    run: Folder, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    del run.options["host"]
    run.modelfile()
    assert run.create()["host"] == server.url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (":8000", "http://127.0.0.1:8000"),
        ("box:8000/", "http://box:8000"),
        ("http://box", "http://box"),
        ("https://box/ollama", "https://box/ollama"),
    ],
)
def test_addresses_are_read_as_by_the_python_client(given: str, url: str) -> None:
    assert str(url_of(given)) == url
    with ollama.Client(given) as theirs:
        assert str(theirs._client.base_url).rstrip("/") == url


@pytest.mark.parametrize("given", ["ftp://box", "http://box:port", "a b"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="is not the address of an Ollama server"):
        url_of(given)


def test_a_modelfile_or_a_file_of_it_that_is_missing_is_refused(run: Folder) -> None:
    assert "Modelfile: cannot be read" in str(run.refused())
    run.modelfile()
    run.out.quantized("Q8_0").unlink()
    assert "names ./nanda-annotator.Q8_0.gguf, which is not there" in str(run.refused())
    run.out.modelfile.write_text("FROM x\nLICENSE mine\n")
    assert "LICENSE is not sent on" in str(run.refused())


# The test server, by the Python client


def test_the_python_client_makes_models_of_files_and_of_models(
    client: ollama.Client, ggufs: Path
) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    assert digest == f"sha256:{output.digest(ggufs / 'native.gguf')}"
    lines = list(client.create("one", files={"m.gguf": digest}, stream=True))
    assert [line.status for line in lines][-1] == "success"
    assert client.create("two", from_="one", parameters={"stop": ["evidence"]}).status == "success"
    assert client.show("two").details.quantization_level == "Q8_0"
    pieces = list(client.chat("one", SAID, stream=True, options={"num_predict": 4}))
    assert len(pieces) > 2
    assert pieces[-1].done_reason == "length"
    assert client.chat("one", []).done_reason == "load"
    client.delete("one")
    assert [model.model for model in client.list().models] == ["two:latest"]


def test_a_stop_that_is_no_list_is_kept_and_fails_every_chat(
    client: ollama.Client, ggufs: Path
) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    client.create("one", files={"m.gguf": digest}, parameters={"stop": "</annotation>"})
    with pytest.raises(ollama.ResponseError, match='option "stop" must be of type'):
        client.chat("one", SAID)


def test_the_test_server_refuses_what_ollama_refuses(client: ollama.Client, ggufs: Path) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    lora = client.create_blob(ggufs / "lora.gguf")
    other = ggufs / "other.txt"
    other.write_text("no model")
    text = client.create_blob(other)
    for body, said in (
        ({}, "neither 'from' or 'files' was specified"),
        ({"from_": "absent"}, "pull model manifest: file does not exist"),
        ({"files": {"/m.gguf": digest}}, "file path must be relative"),
        ({"files": {"m.txt": text}}, "supplied file was not in GGUF format"),
        ({"files": {"m.gguf": digest}, "adapters": {"a": lora, "b": lora}}, "only one adapter"),
        ({"files": {"m.gguf": digest}, "quantize": "Q5_K_M"}, "unsupported quantization type"),
    ):
        with pytest.raises(ollama.ResponseError, match=said):
            list(client.create("one", stream=True, **body))  # type: ignore[call-overload]


# What the stages stand on


def test_the_head_of_a_gguf_is_what_the_package_reads(ggufs: Path) -> None:
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(ggufs / "native.gguf")
    head = read_head(ggufs / "native.gguf")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            assert head.values[name] == field.contents(), name
    assert (head.file_type, head.end_of_turn, head.is_adapter) == ("Q8_0", "<|im_end|>", False)
    assert read_head(ggufs / "lora.gguf").is_adapter


@pytest.mark.model
def test_smollm2_is_given_the_prompt_it_was_trained_with(
    run: Folder, model_files: FileStore
) -> None:
    run.take(model_files.ensure("smollm2-135m-instruct"))
    run.recipe = overridden(run.recipe, {"export.num_predict": 16})
    run.modelfile()
    facts = run.create()
    assert facts["same_prompt"]
    assert facts["quantization_level"] == "Q4_1"
    assert "its answer has no end (done_reason 'length')" in facts["problems"]


@pytest.mark.train
def test_prompts_are_rendered_as_by_transformers() -> None:
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    template = (
        "{{ bos_token }}{% for message in messages %}\n  {% if message.role == 'tool' %}"
        "{{ raise_exception('no') }}{% endif %}\n{{ message | tojson }}{% endfor %}"
        "{{- 'é' | tojson }}{% if add_generation_prompt %}{% break %}{% endif %}"
    ).replace("{% break %}", "go")
    head = head_with(template)
    expected, _ = utils.render_jinja_template(
        conversations=[SAID], chat_template=template, add_generation_prompt=True, bos_token="<s>"
    )
    assert render(head, SAID) == expected[0]
    with pytest.raises(InputError, match="its chat template fails: no"):
        render(head, [{"role": "tool", "content": ""}])


def head_with(template: str) -> GgufHead:
    tokens = {"tokenizer.ggml.tokens": ["<s>"], "tokenizer.ggml.bos_token_id": 0}
    return GgufHead(Path("m.gguf"), {"tokenizer.chat_template": template, **tokens})
