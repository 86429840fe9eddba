"""The Ollama test server compared with Ollama's client, and prompts with transformers."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import ollama
import pytest
from ollama_run import CONVERSATION, Folder

from harness.errors import (
    InputError,
)
from harness.models.gguf_file import GgufFile
from harness.models.weights import FileStore
from harness.support.bounded_files import file_sha256
from skills.finetune.export.ollama_model import rendered
from skills.finetune.recipe import overridden

# The test server, used by the Python client


def test_the_python_client_makes_models_of_files_and_of_models(
    client: ollama.Client, ggufs: Path
) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    assert digest == f"sha256:{file_sha256(ggufs / 'native.gguf')}"
    lines = list(client.create("one", files={"m.gguf": digest}, stream=True))
    assert [line.status for line in lines][-1] == "success"
    assert client.create("two", from_="one", parameters={"stop": ["evidence"]}).status == "success"
    assert client.show("two").details.quantization_level == "Q8_0"
    pieces = list(client.chat("one", CONVERSATION, stream=True, options={"num_predict": 4}))
    assert len(pieces) > 2
    assert pieces[-1].done_reason == "length"
    assert client.chat("one", []).done_reason == "load"
    client.delete("one")
    assert [model.model for model in client.list().models] == ["two:latest"]


def test_stop_must_be_a_list(client: ollama.Client, ggufs: Path) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    client.create("one", files={"m.gguf": digest}, parameters={"stop": "</annotation>"})
    with pytest.raises(ollama.ResponseError, match='option "stop" must be of type'):
        client.chat("one", CONVERSATION)


def test_the_test_server_refuses_what_ollama_refuses(client: ollama.Client, ggufs: Path) -> None:
    digest = client.create_blob(ggufs / "native.gguf")
    lora = client.create_blob(ggufs / "lora.gguf")
    other = ggufs / "other.txt"
    other.write_text("no model")
    text = client.create_blob(other)
    for name, status in (("sha256:1", 400), ("sha256:" + "0" * 64, 404), (digest, 200)):
        with pytest.raises(ollama.ResponseError) if status > 200 else nullcontext() as caught:
            client._request_raw("HEAD", f"/api/blobs/{name}")
        assert caught is None or caught.value.status_code == status
    for body, message in (
        ({}, "neither 'from' or 'files' was specified"),
        ({"from_": "absent"}, "pull model manifest: file does not exist"),
        ({"files": {"/m.gguf": digest}}, "file path must be relative"),
        ({"files": {"m.txt": text}}, "supplied file was not in GGUF format"),
        ({"files": {"m.gguf": digest}, "adapters": {"a": lora, "b": lora}}, "only one adapter"),
        ({"files": {"m.gguf": digest}, "quantize": "Q5_K_M"}, "unsupported quantization type"),
    ):
        with pytest.raises(ollama.ResponseError, match=message):
            list(client.create("one", stream=True, **body))  # type: ignore[call-overload]


# Prompts


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
    assert "its answer was cut off (done_reason 'length')" in facts["problems"]


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
        conversations=[CONVERSATION],
        chat_template=template,
        add_generation_prompt=True,
        bos_token="<s>",
    )
    assert rendered(head, CONVERSATION) == expected[0]
    with pytest.raises(InputError, match="its chat template fails: no"):
        rendered(head, [{"role": "tool", "content": ""}])


def head_with(template: str) -> GgufFile:
    tokens = {"tokenizer.ggml.tokens": ["<s>"], "tokenizer.ggml.bos_token_id": 0}
    return GgufFile(Path("m.gguf"), {"tokenizer.chat_template": template, **tokens}, {})
