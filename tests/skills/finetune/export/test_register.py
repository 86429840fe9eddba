"""A trained model in the user's registry: written, the default or not, and removed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama_server import OllamaServer
from register_bench import DEFAULT, NAME, SHIPPED, Bench

from harness import settings
from harness.cli.app import App
from harness.errors import InputError, RegistryError, UsageError
from harness.models import registry
from harness.models.backend import Message
from harness.models.backends.ollama import OllamaBackend
from harness.models.pool import Models
from harness.models.weights import FileStore
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from skills.finetune.export.register import file_of

MINE = """\
# mine, and nobody else's
version: 1   # the only one

models:
  # for longer texts
  "mine":
      tasks:   [ annotate ]     # oddly spaced
      serve:
      - {backend: openai,  model: 'my-model', url: "http://127.0.0.1:8000/v1"}
      fallback: producer

# the end
"""


def test_register_writes_a_file_and_unregister_deletes_it(bench: Bench) -> None:
    bench.register()
    assert not bench.path.exists()
    assert bench.names == [NAME]
    entry = bench.entry()
    assert entry["tasks"] == []
    assert entry["form"] == "tagged"
    assert entry["options"] == {"temperature": 0, "seed": 0}
    assert entry["fallback"] == DEFAULT
    assert entry["scores"] == {"dev_loss": 1.2346}
    assert entry["serve"] == [
        {"backend": "llamacpp", "gguf": "ft-gguf"},
        {"backend": "llamacpp", "gguf": "smollm2-135m-instruct", "adapter": "ft-lora"},
    ]
    origin = entry["trained_on"]
    assert origin["data"] == "train.jsonl"
    assert origin["data_sha256"] == "d" * 64
    assert origin["rows"] == {"gold": 12}
    assert (origin["base"], origin["base_digest"]) == ("smollm2-135m-instruct", "b" * 64)
    assert (origin["recipe"], origin["steps"]) == (bench.recipe.digest, 90)
    file = bench.file()["files"]["ft-gguf"]
    assert file["path"] == str(bench.out.quantized("Q4_K_M"))
    assert file["size"] == bench.out.quantized("Q4_K_M").stat().st_size
    assert bench.first == DEFAULT
    assert "In a running session, use /reload" in bench.stderr.getvalue()
    assert bench.unregister()["files"] == ["ft-gguf", "ft-lora"]
    assert f"/annotate now tries {DEFAULT} first" in bench.stderr.getvalue()
    assert bench.names == []


def test_the_users_own_file_is_not_touched(bench: Bench) -> None:
    bench.write(MINE)
    bench.register(default=True)
    assert bench.first == NAME
    assert bench.unregister()["asked_first"] == "mine"
    assert bench.text() == MINE


def test_default_makes_a_model_the_first(bench: Bench) -> None:
    for name in ("a", "c", "b", "a"):
        bench.register(as_name=name, default=True)
        assert bench.first == name
    assert bench.unregister("a")["asked_first"] == "b"
    bench.at_ollama()
    # A new place for the model does not make it the newest default.
    facts = bench.register(as_name="c")
    assert (facts["default"], facts["written"], bench.first) == (True, True, "b")


def test_other_weights_are_no_longer_the_default(bench: Bench) -> None:
    assert bench.register(default=True)["default"]
    bench.register()
    assert bench.entry()["tasks"] == ["annotate"]
    bench.trained(adapter="b")
    assert not bench.register()["default"]


def test_a_model_at_ollama_is_tried_first_if_verified(bench: Bench) -> None:
    bench.at_ollama(host="http://127.0.0.1:9")
    bench.register()
    first = bench.entry()["serve"][0]
    assert first == {"backend": "ollama", "model": NAME, "url": "http://127.0.0.1:9"}
    bench.at_ollama()
    bench.register()
    assert bench.entry()["serve"][0] == {"backend": "ollama", "model": NAME}
    bench.at_ollama(verified=False)
    bench.register()
    assert bench.entry()["serve"][0]["backend"] == "llamacpp"


def test_an_older_model_at_ollama_is_not_used(bench: Bench) -> None:
    bench.at_ollama()
    bench.trained(adapter="b")
    bench.register()
    assert bench.entry()["serve"][0]["backend"] == "llamacpp"


def test_a_file_below_the_registrys_folder_has_a_relative_path(bench: Bench) -> None:
    bench.settings = replace(bench.settings, user_registry=bench.folder / "registry.yaml")
    bench.register()
    path = bench.file()["files"]["ft-gguf"]["path"]
    assert path == "../out/ft.Q4_K_M.gguf"
    found = registry.load(SHIPPED, bench.path).files["ft-gguf"].local_path
    assert found is not None
    assert found.samefile(bench.out.quantized("Q4_K_M"))


def test_a_shipped_model_is_not_replaced(bench: Bench) -> None:
    with pytest.raises(UsageError, match="nanda-annotator is the name of a shipped model"):
        bench.register(as_name="nanda-annotator", force=True)


def test_a_second_training_replaces_the_first(bench: Bench) -> None:
    bench.register()
    bench.trained(adapter="b", steps=80)
    bench.register()
    assert bench.names[0] == NAME
    bench.trained(adapter="c", steps=90)
    assert bench.register()["replaced"]


def test_nothing_is_written_twice_but_again_after_unregister(bench: Bench) -> None:
    assert bench.register()["written"]
    assert "outside" not in bench.stderr.getvalue()
    bench.unregister()
    assert bench.register()["written"]
    assert "again (the result outside of the folder changed)" in bench.stderr.getvalue()
    before = file_of(bench.path, NAME).stat().st_mtime_ns
    assert bench.register() == {"current": True}
    assert file_of(bench.path, NAME).stat().st_mtime_ns == before
    bench.unregister()
    assert bench.register()["written"]


def test_an_adapter_that_was_deleted_is_not_registered_again(bench: Bench) -> None:
    bench.register()
    bench.out.lora.unlink()
    bench.register()
    assert list(bench.file()["files"]) == ["ft-gguf"]


def test_the_users_own_entries_are_replaced_only_with_force(bench: Bench) -> None:
    text = "models:\n  ft: {tasks: [x], serve: [{backend: ollama, model: m}]}\n"
    bench.write(text)
    with pytest.raises(UsageError, match="exists already, and was not written by") as refused:
        bench.register()
    assert "--force" in str(refused.value.hint)
    bench.register(as_name="other")
    bench.unregister("other")
    bench.register(force=True)
    assert registry.load(SHIPPED, bench.path).models[NAME].form == "tagged"
    assert bench.text() == text


def test_an_entry_in_another_file_of_registry_d_is_replaced_only_with_force(bench: Bench) -> None:
    own = file_of(bench.path, "own")
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("models:\n  ft: {tasks: [x], serve: [{backend: ollama, model: m}]}\n")
    with pytest.raises(UsageError, match="exists already, and was not written by"):
        bench.register()


def test_an_edited_entry_is_replaced_only_with_force(bench: Bench) -> None:
    bench.register()
    path = file_of(bench.path, NAME)
    path.write_text(path.read_text().replace("seed: 0", "seed: 7"))
    with pytest.raises(UsageError, match="was changed by hand since it was registered"):
        bench.register()
    bench.register(force=True)
    assert bench.entry()["options"]["seed"] == 0


@pytest.mark.parametrize(
    ("asking", "removed"),
    [
        ({}, False),
        ({"confirm": lambda _: False}, False),
        ({"confirm": lambda _: True}, True),
        ({"yes": True}, True),
    ],
)
def test_unregister_offers_to_remove_the_model_at_ollama(
    bench: Bench, server: OllamaServer, ggufs: Path, asking: dict[str, Any], removed: bool
) -> None:
    digest = made_at(server, ggufs)
    bench.at_ollama(host=server.url, digest=digest)
    bench.register()
    assert bench.entry()["serve"][0]["digest"] == digest
    [line] = bench.unregister(**asking)["ollama"]
    command = f"`OLLAMA_HOST={server.url} ollama rm {NAME}` removes it."
    assert line == f"{NAME} at {server.url} is " + ("removed." if removed else f"kept: {command}")
    assert (f"{NAME}:latest" in server.names) is not removed
    assert line in bench.stderr.getvalue()


def test_another_model_at_ollama_is_neither_used_nor_removed(
    bench: Bench, server: OllamaServer, ggufs: Path
) -> None:
    made_at(server, ggufs)
    bench.at_ollama(host=server.url, digest="12" * 32)
    bench.register()
    place = registry.load(SHIPPED, bench.path).models[NAME].serve[0]
    assert "is another model: digest " in OllamaBackend().probe(place).reason
    [line] = bench.unregister(yes=True)["ollama"]
    assert line == f"{NAME} at {server.url} is another model by now, and is kept."
    assert server.names == (f"{NAME}:latest",)


@pytest.mark.parametrize("agrees", [None, True])
def test_yes_removes_no_model_of_an_entry_without_a_digest(
    bench: Bench, server: OllamaServer, ggufs: Path, agrees: bool | None
) -> None:
    digest = made_at(server, ggufs)
    bench.at_ollama(host=server.url, digest=digest)
    bench.register()
    path = file_of(bench.path, NAME)
    path.write_text(re.sub(rf".*digest: '?{digest}'?.*\n", "", path.read_text()))
    assert "digest" not in bench.entry()["serve"][0]
    asked: list[str] = []
    confirm = agrees and (lambda question: not asked.append(question))
    [line] = bench.unregister(yes=True, confirm=confirm)["ollama"]
    kept = (
        f"kept, since its entry states no digest: `OLLAMA_HOST={server.url} ollama rm {NAME}` "
        "removes it."
    )
    assert line == f"{NAME} at {server.url} is " + ("removed." if agrees else kept)
    assert asked == [f"Also remove {NAME} at {server.url} (digest {digest[:8]})?"] * bool(agrees)
    assert bool(server.names) is not bool(agrees)


def made_at(server: OllamaServer, ggufs: Path) -> str:
    """Create the model on the server, and return its digest."""
    with ollama.Client(server.url) as client:
        blob = client.create_blob(ggufs / "native.gguf")
        client.create(NAME, files={"m.gguf": blob})
    return server.models[f"{NAME}:latest"].digest


def test_an_earlier_name_of_the_run_is_kept(bench: Bench) -> None:
    bench.out.remember({**bench.out.run, "as_name": "mine"})
    assert bench.register()["name"] == "mine"
    assert bench.register(as_name="other")["name"] == "other"


def test_only_registered_models_are_unregistered(bench: Bench) -> None:
    bench.write(MINE)
    with pytest.raises(UsageError, match="mine was not written by /finetune register"):
        bench.unregister("mine", force=True)
    with pytest.raises(UsageError, match="no registered model 'nanda'"):
        bench.unregister("nanda")
    bench.register()
    with pytest.raises(UsageError, match="no registered model 'ftt'") as unknown:
        bench.unregister("ftt")
    assert "ft" in str(unknown.value.hint)
    by_hand = file_of(bench.path, "hand")
    by_hand.write_text("models: {hand: {tasks: [x], serve: [{backend: ollama, model: m}]}}\n")
    with pytest.raises(UsageError, match="--force deletes the file"):
        bench.unregister("hand")
    assert bench.unregister("hand", force=True)["name"] == "hand"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("{backend: ollama, model: m}], fallback: tuned}", "other falls back to 'tuned'"),
        ("{backend: llamacpp, gguf: tuned-gguf}]}", "other is served from 'tuned-gguf'"),
    ],
)
def test_a_model_in_use_is_not_unregistered(bench: Bench, other: str, message: str) -> None:
    bench.register(as_name="tuned")
    bench.write(f"models:\n  other: {{tasks: [x], serve: [{other}\n")
    with pytest.raises(RegistryError, match=f"tuned is in use: {message}"):
        bench.unregister("tuned")
    assert bench.names == ["tuned"]


@pytest.mark.parametrize("name", ["no", "1e3", "0b1", "2026-01-01", "null"])
def test_names_that_yaml_reads_as_other_types(bench: Bench, name: str) -> None:
    bench.register(as_name=name)
    assert name in registry.load(SHIPPED, bench.path).models
    assert bench.register(as_name=name) == {"current": True}
    bench.unregister(name)
    assert bench.names == []


def test_an_invalid_name(bench: Bench) -> None:
    with pytest.raises(UsageError, match="'My Model' is not a valid model name"):
        bench.register(as_name="My Model")


def test_a_run_that_is_not_trained_or_not_converted(bench: Bench) -> None:
    bench.out.quantized("Q4_K_M").unlink()
    assert bench.register()["name"] == NAME
    assert bench.file()["files"]["ft-gguf"]["path"] == str(bench.out.f16)
    bench.out.f16.unlink()
    with pytest.raises(InputError, match="there is no GGUF of the model yet"):
        bench.register()
    bench.out.forget("train")
    with pytest.raises(InputError, match="nothing is trained here"):
        bench.register()


def test_a_gguf_of_an_earlier_training_is_refused(bench: Bench) -> None:
    (bench.out.adapter / "adapter_model.safetensors").write_text("of another training")
    facts = {"steps": 90, "steps_of_all_epochs": 90}
    bench.out.record("train", {}, [bench.out.adapter], facts)
    with pytest.raises(InputError, match="the output of gguf is older than its inputs"):
        bench.register()


def test_the_next_annotate_asks_the_default_model(
    bench: Bench, model_files: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the embedded engine, and the base's own GGUF instead of a trained one."""
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    bench.trained(model_files.ensure("smollm2-135m-instruct"))
    cache = settings.from_environment().cache_dir
    bench.settings = replace(bench.settings, cache_dir=cache)
    app = App(bench.settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    try:
        assert _shown(app) is None
        bench.register(default=True)
        assert _shown(app) is None  # as it was when the session began
        app.dispatch("/reload")
        place = _shown(app)["serve"][0]
        assert (place["where"], place["available"]) == ("ft-gguf", True)
        assert _shown(app)["trained_on"]["rows"] == {"gold": 12}

        def generate(model: Any) -> tuple[str, str]:
            reply = model.generate(model.request(messages=(Message("user", "Hi"),), max_tokens=4))
            return model.resolution.resolved, reply.text

        resolved, text = Models(app.pool).run("annotate", generate)
        assert (resolved, bool(text)) == (NAME, True)
        weights = bench.out.quantized("Q4_K_M")
        assert weights.name in str(app.pool.backends["llamacpp"].imported._files.path("ft-gguf"))
        app.dispatch(f"/finetune unregister {NAME}")
        app.dispatch("/reload")
        assert _shown(app) is None
    finally:
        app.close()


def _shown(app: App) -> Any:
    models = app.dispatch("/models").result.data["models"]
    return next((model for model in models if model["id"] == NAME), None)
