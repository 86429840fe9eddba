"""Fixtures of the tests of /finetune: an Ollama server, and runs to deploy to it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest
from ollama_run import ANNOTATION, Folder
from ollama_server import OllamaServer
from register_bench import NAME, Bench
from tiny_gguf import F16, OTHER_TEMPLATE, write_adapter, write_model

from harness.testing import fake_settings
from skills.finetune import recipe as recipes
from skills.finetune.recipe import overridden


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
    """A run with a 16-bit model, which the server has to quantize."""
    run.out.quantized("Q8_0").unlink()
    shutil.copy(ggufs / "f16.gguf", run.out.f16)
    run.recipe = overridden(run.recipe, {"export.quantize": "Q4_K_M"})
    run.modelfile()
    return run


@pytest.fixture
def adapted(run: Folder, ggufs: Path) -> Folder:
    """A run with a Modelfile of a base and the adapter."""
    shutil.copy(ggufs / "silent.gguf", run.folder / "base.gguf")
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    run.recipe = overridden(run.recipe, {"base": str(run.folder / "base.gguf")})
    run.options["adapter"] = True
    run.modelfile()
    return run


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    recipe = overridden(recipes.load_recipe("smollm2-cpu"), {"export.name": NAME})
    made = Bench(tmp_path, recipe, io.StringIO(), fake_settings(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    made.trained()
    return made
