"""A trained model in the user's own registry: written, asked first, and taken out again."""

from __future__ import annotations

import difflib
import io
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import settings
from harness.api.skill import Call, SkillOptions
from harness.cli.app import App
from harness.errors import InputError, OutputError, RegistryError, UsageError
from harness.models import registry
from harness.models.backends.base import Message
from harness.models.pool import ModelPool, Models
from harness.models.weights import FileStore
from harness.runs.run_log import Run
from harness.runs.runner import Door
from harness.settings import CODE_ROOT, Settings
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune.deploy.register import STAGE, unregister
from skills.finetune.deploy.registry_file import HEADER, RegistryFile
from skills.finetune.run import recipe as recipes
from skills.finetune.run.run_dir import Done, Out
from skills.finetune.run.stage import Work
from skills.nanda import framework as frameworks

SHIPPED = CODE_ROOT / "models" / "registry.yaml"
NAME = "nanda-annotator"
MINE = """\
# mine, and nobody else's
version: 1   # the only one

models:
  # asked for longer texts
  "mine":
      tasks:   [ annotate ]     # oddly spaced
      serve:
      - {backend: openai,  model: 'my-model', url: "http://127.0.0.1:8000/v1"}
      fallback: producer

# the end
"""
ENTRY = {
    "summary": "fine-tuned: #1, it's 'so'",
    "tasks": ["annotate"],
    "serve": [{"backend": "ollama", "model": "a:7b"}],
    "options": {"temperature": 0},
    "trained_on": {"data": "1e5", "rows": {"gold": 10}, "when": "2026-01-01", "no": "no"},
    "scores": {"dev_loss": 1.25},
}


class Options(SkillOptions):
    as_name: str | None = None


@dataclass
class Bench:
    """A folder with a run that is trained and converted, and a user's registry."""

    folder: Path
    recipe: recipes.Recipe
    stderr: io.StringIO
    settings: Settings

    @property
    def out(self) -> Out:
        return Out.of(self.folder / "out", self.recipe)

    @property
    def path(self) -> Path:
        return self.settings.user_registry

    @property
    def data(self) -> Any:
        return yaml.safe_load(self.path.read_text(encoding="utf-8"))

    def call(self, *, force: bool = False, as_name: str | None = None) -> Call:
        laid = registry.load(SHIPPED, self.path)
        return Call(
            text="",
            options=Options(as_name=as_name),
            models=Models(ModelPool(laid, {})),
            screen=Screen(io.StringIO(), self.stderr),
            log=Run(),
            settings=self.settings,
            force=force,
        )

    def write(self, text: str) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(text.encode())

    def text(self) -> str:
        return self.path.read_bytes().decode()

    def register(self, *, force: bool = False, as_name: str | None = None) -> Mapping[str, Any]:
        """As the runner of the stages does it: checked, done, noted."""
        data = self.folder / "train.jsonl"
        framework = frameworks.nanda()
        call = self.call(force=force, as_name=as_name)
        work = Work(call, self.recipe, self.out, framework, data)
        inputs = STAGE.inputs(work)
        if self.out.is_current("register", inputs):
            return {"current": True}
        return self.out.record("register", inputs, STAGE.perform(work), 1.0).facts

    def unregister(self, name: str = NAME, *, force: bool = False) -> Any:
        result = unregister(self.call(force=force), name)
        self.stderr.write(result.text)
        return result.data

    def trained(self, weights: Path | None = None, *, steps: int = 90, adapter: str = "a") -> None:
        """Leave what the stages before leave."""
        out = self.out
        out.adapter.mkdir(parents=True, exist_ok=True)
        out.prepared.mkdir(exist_ok=True)
        facts = {
            "base": "smollm2-135m-instruct",
            "base_digest": "b" * 64,
            "rows": {"train": 12, "dev": 2, "sources": {"gold": {"rows": 12, "weights": [1.0]}}},
        }
        (out.prepared / "prepared.json").write_text(json.dumps(facts))
        out.record("prepare", {"data": "d" * 64}, Done([out.prepared]), 1)
        (out.adapter / "adapter_model.safetensors").write_text(adapter)
        found = {"steps": steps, "steps_of_all_epochs": 90, "dev_loss": 1.23456, "loss": None}
        train = out.record("train", {"train": "t" * 64}, Done([out.adapter], found), 1)
        out.f16.write_text(f"f16 of {adapter}")
        out.lora.write_text(f"lora of {adapter}")
        made_of = train.outputs["adapter/adapter_model.safetensors"].sha256
        gguf = out.record("gguf", {"adapter": made_of}, Done([out.f16, out.lora]), 1)
        if weights is None:
            out.quantized("Q4_K_M").write_text(f"Q4_K_M of {adapter}")
        else:
            shutil.copyfile(weights, out.quantized("Q4_K_M"))
        quantized = {"f16": gguf.outputs[out.f16.name].sha256}
        out.record("quantize", quantized, Done([out.quantized("Q4_K_M")]), 1)

    def at_ollama(self, *, verified: bool = True, host: str = "http://127.0.0.1:11434") -> None:
        entry = self.out.entry("quantize")
        assert entry is not None
        made_of = {"files": [file.sha256 for file in entry.outputs.values()]}
        facts = {"model": NAME, "host": host, "verified": verified}
        self.out.record("ollama", made_of, Done([], facts), 1)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(
        tmp_path, recipes.load("smollm2-cpu"), io.StringIO(), fake_settings(tmp_path / "home")
    )
    (tmp_path / "home").mkdir()
    made.trained()
    return made


def test_a_registry_is_made_where_there_is_none(bench: Bench) -> None:
    facts = bench.register()
    assert bench.text().startswith(HEADER)
    entry = bench.data["models"][NAME]
    assert entry["tasks"] == ["annotate"]
    assert entry["form"] == "tagged"
    assert entry["options"] == {"temperature": 0, "seed": 0}
    assert entry["fallback"] == "producer"
    assert entry["scores"] == {"dev_loss": 1.2346}
    assert entry["serve"] == [
        {"backend": "llamacpp", "gguf": "nanda-annotator-gguf"},
        {"backend": "llamacpp", "gguf": "smollm2-135m-instruct", "adapter": "nanda-annotator-lora"},
    ]
    origin = entry["trained_on"]
    assert origin["data"] == "train.jsonl"
    assert origin["data_sha256"] == "d" * 64
    assert origin["rows"] == {"gold": 12}
    assert (origin["base"], origin["base_digest"]) == ("smollm2-135m-instruct", "b" * 64)
    assert (origin["recipe"], origin["steps"]) == (bench.recipe.digest, 90)
    file = bench.data["files"]["nanda-annotator-gguf"]
    assert file["path"] == str(bench.out.quantized("Q4_K_M"))
    assert file["size"] == bench.out.quantized("Q4_K_M").stat().st_size
    assert facts["asked_first"] == NAME
    assert "In a session, /reload makes that known" in bench.stderr.getvalue()
    assert bench.unregister()["files"] == ["nanda-annotator-gguf", "nanda-annotator-lora"]
    assert "asks the one of that name that ships first" in bench.stderr.getvalue()
    assert bench.text() == HEADER


def test_what_a_person_wrote_stays_byte_for_byte(bench: Bench) -> None:
    bench.write(MINE)
    assert bench.register()["asked_first"] == NAME
    changes = list(difflib.ndiff(MINE.splitlines(True), bench.text().splitlines(True)))
    assert not [line for line in changes if line.startswith("-")]
    assert "\n      form: tagged\n      serve:\n        - {backend" in bench.text()
    assert bench.unregister()["asked_first"] == "mine"
    assert bench.text() == MINE


def test_a_model_at_ollama_is_named_first_if_it_was_verified(bench: Bench) -> None:
    bench.at_ollama(host="http://127.0.0.1:9")
    bench.register()
    first = bench.data["models"][NAME]["serve"][0]
    assert first == {"backend": "ollama", "model": NAME, "url": "http://127.0.0.1:9"}
    bench.at_ollama()
    bench.register()
    assert bench.data["models"][NAME]["serve"][0] == {"backend": "ollama", "model": NAME}
    bench.at_ollama(verified=False)
    bench.register()
    assert bench.data["models"][NAME]["serve"][0]["backend"] == "llamacpp"


def test_a_model_at_ollama_of_an_earlier_training_is_not_named(bench: Bench) -> None:
    bench.at_ollama()
    bench.trained(adapter="b")
    bench.register()
    assert bench.data["models"][NAME]["serve"][0]["backend"] == "llamacpp"


def test_a_file_beneath_the_registry_is_named_from_there(bench: Bench) -> None:
    bench.settings = replace(bench.settings, user_registry=bench.folder / "registry.yaml")
    bench.register()
    path = bench.data["files"]["nanda-annotator-gguf"]["path"]
    assert path == "out/nanda-annotator.Q4_K_M.gguf"
    laid = registry.load(SHIPPED, bench.path)
    assert laid.files["nanda-annotator-gguf"].local_path == bench.out.quantized("Q4_K_M")


def test_a_run_cut_short_has_a_name_of_its_own_and_no_task(bench: Bench) -> None:
    bench.trained(steps=4)
    facts = bench.register()
    name = facts["name"]
    assert name.startswith("nanda-annotator-cut-")
    assert list(bench.data["models"]) == [name]
    assert bench.data["models"][name]["tasks"] == []
    assert facts["asked_first"] == NAME  # the one that ships
    assert f"--model {name} asks it" in bench.stderr.getvalue()
    assert bench.register(as_name="probe")["tasks"] == []
    with pytest.raises(UsageError, match="cut short is not registered as nanda-annotator"):
        bench.register(as_name=NAME)
    assert bench.register(force=True)["name"] == NAME
    assert bench.data["models"][NAME]["tasks"] == ["annotate"]


def test_a_run_without_its_steps_told_is_cut_short_if_max_steps_is_set(bench: Bench) -> None:
    bench.out.record("train", {}, Done([bench.out.adapter], {}), 1)
    assert not bench.register()["cut"]
    bench.recipe = recipes.overridden(bench.recipe, {"training.max_steps": 4})
    assert bench.register()["cut"]


def test_a_second_training_takes_the_place_of_the_first(bench: Bench) -> None:
    bench.write(MINE)
    bench.register()
    bench.write(bench.text().replace("  # asked for longer", "  # asked for far longer"))
    bench.trained(adapter="b", steps=90)
    facts = bench.register()
    assert facts["replaced"]
    assert bench.text().count("nanda-annotator:") == 1
    bench.unregister()
    assert bench.text() == MINE.replace("longer", "far longer")


def test_nothing_is_written_twice_and_all_again_after_unregister(bench: Bench) -> None:
    assert bench.register()["written"]
    bench.unregister()
    assert bench.register()["written"]
    before = bench.path.stat().st_mtime_ns
    assert bench.register() == {"current": True}
    assert bench.path.stat().st_mtime_ns == before
    bench.unregister()
    assert bench.register()["written"]


def test_an_adapter_that_is_no_longer_registered_goes(bench: Bench) -> None:
    bench.register()
    bench.out.lora.unlink()
    bench.register()
    assert list(bench.data["files"]) == ["nanda-annotator-gguf"]


def test_a_file_that_another_model_uses_stays(bench: Bench) -> None:
    bench.register()
    other = "  other: {tasks: [x], serve: [{backend: llamacpp, gguf: nanda-annotator-gguf}]}\n"
    bench.write(bench.text().replace("\n\nfiles:", f"\n{other}\nfiles:"))
    assert bench.unregister()["files"] == ["nanda-annotator-lora"]
    assert list(bench.data["models"]) == ["other"]
    assert list(bench.data["files"]) == ["nanda-annotator-gguf"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  nanda-annotator: {tasks: [x], serve: [{backend: ollama, model: m}]}\n",
            "nanda-annotator is there already, and was not written by /finetune register",
        ),
        ("files:\n  nanda-annotator-gguf: {path: x}\n", "the file nanda-annotator-gguf is there"),
    ],
)
def test_what_a_person_wrote_is_replaced_with_force_alone(
    bench: Bench, text: str, said: str
) -> None:
    bench.write(text)
    with pytest.raises(UsageError, match=said) as refused:
        bench.register()
    assert "--force" in str(refused.value.hint)
    assert bench.text() == text
    bench.register(as_name="other")
    bench.unregister("other")
    assert bench.text() == text
    bench.register(force=True)
    assert bench.data["models"][NAME]["form"] == "tagged"


def test_an_entry_changed_by_hand_is_replaced_with_force_alone(bench: Bench) -> None:
    bench.register()
    bench.write(bench.text().replace("seed: 0", "seed: 7"))
    with pytest.raises(UsageError, match="was changed by hand since it was registered"):
        bench.register()
    bench.register(force=True)
    assert bench.data["models"][NAME]["options"]["seed"] == 0


def test_only_what_was_registered_is_unregistered(bench: Bench) -> None:
    bench.write(MINE)
    with pytest.raises(UsageError, match="mine was not written by /finetune register"):
        bench.unregister("mine")
    with pytest.raises(UsageError, match="no model 'nanda'"):
        bench.unregister("nanda")
    bench.register()
    with pytest.raises(UsageError, match="no model 'nanda-annotatr'") as unknown:
        bench.unregister("nanda-annotatr")
    assert "nanda-annotator" in str(unknown.value.hint)
    assert bench.unregister("mine", force=True)["name"] == "mine"


def test_a_model_that_another_falls_back_to_is_not_taken_out(bench: Bench) -> None:
    bench.register(as_name="tuned")
    other = "  other: {tasks: [x], serve: [{backend: ollama, model: m}], fallback: tuned}\n"
    text = bench.text().replace("\n\nfiles:", f"\n{other}\nfiles:")
    bench.write(text)
    with pytest.raises(RegistryError, match="would be broken by that: other falls back to 'tuned'"):
        bench.unregister("tuned")
    assert bench.text() == text


@pytest.mark.parametrize("name", ["no", "1e3", "0b1", "2026-01-01", "null"])
def test_names_that_yaml_would_read_as_something_else(bench: Bench, name: str) -> None:
    bench.register(as_name=name)
    assert list(bench.data["models"]) == [name]
    bench.unregister(name)
    assert bench.text() == HEADER


def test_a_name_that_cannot_be_one(bench: Bench) -> None:
    with pytest.raises(UsageError, match="'My Model' cannot be a model's name"):
        bench.register(as_name="My Model")


def test_a_run_that_is_not_trained_or_not_converted(bench: Bench) -> None:
    bench.out.quantized("Q4_K_M").unlink()
    assert bench.register()["name"] == NAME
    assert bench.data["files"]["nanda-annotator-gguf"]["path"] == str(bench.out.f16)
    bench.out.f16.unlink()
    with pytest.raises(InputError, match="there is no GGUF of the model yet"):
        bench.register()
    bench.out.forget("train")
    with pytest.raises(InputError, match="nothing is trained here"):
        bench.register()


def test_a_gguf_of_an_earlier_training_is_refused(bench: Bench) -> None:
    (bench.out.adapter / "adapter_model.safetensors").write_text("of another training")
    bench.out.record("train", {}, Done([bench.out.adapter], {"steps": 90}), 1)
    with pytest.raises(InputError, match="what gguf has left is older than what it is made of"):
        bench.register()


def test_a_broken_registry_is_named_and_left_as_it_is(bench: Bench) -> None:
    bench.write(MINE.replace("tasks:", "taks:"))
    laid = replace(bench.settings, user_registry=bench.folder / "none.yaml")
    call = replace(bench, settings=laid).call()
    call.settings = bench.settings
    work = Work(call, bench.recipe, bench.out, frameworks.nanda())
    for do in (STAGE.inputs, STAGE.perform):
        with pytest.raises(RegistryError, match="taks: unknown key") as broken:
            do(work)
        assert str(broken.value.where).startswith(f"{bench.path}:")
    assert "taks:" in bench.text()


def test_a_registry_that_somebody_changes_meanwhile_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(MINE)
    edited = RegistryFile.read(path, SHIPPED).put("models", "new", ENTRY)
    path.write_text(MINE + "# and one more line\n")
    with pytest.raises(OutputError, match="was changed by somebody else meanwhile"):
        edited.save(SHIPPED)
    assert path.read_text() == MINE + "# and one more line\n"


def test_a_registry_reached_by_a_link_stays_one(bench: Bench) -> None:
    kept = bench.folder / "dotfiles.yaml"
    kept.write_text(MINE)
    bench.path.parent.mkdir()
    bench.path.symlink_to(kept)
    bench.register()
    assert bench.path.is_symlink()
    path = bench.data["files"]["nanda-annotator-gguf"]["path"]
    assert path == "out/nanda-annotator.Q4_K_M.gguf"  # as the harness reads it: from the real one
    bench.unregister()
    assert kept.read_text() == MINE


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "models": {}}\n',
        "version: 1\nmodels: &m {}\nfiles: *m\n",
        # A line end behind it would be one more in the summary.
        "models:\n  a:\n    tasks: [x]\n    serve: [{backend: ollama, model: m}]\n    summary: |\n"
        "      its own words",
    ],
)
def test_what_cannot_be_edited_alone_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    file = RegistryFile.read(path, SHIPPED)
    with pytest.raises(RegistryError, match="files is written in a way that does not allow"):
        file.put("files", "new", {"path": "x"})


def test_anchors_of_others_are_left_alone(tmp_path: Path) -> None:
    text = (
        "models: &m\n  a: &a {tasks: [x], serve: [{backend: ollama, model: m}]}\n  b: *a\n"
        "files: &f {}\n"
    )
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    file = RegistryFile.read(path, SHIPPED)
    edited = file.put("models", "new", ENTRY).put("files", "f", {"path": "x"})
    assert edited.drop("files", "f").drop("models", "new").text == text
    for name in ("a", "b"):  # one is the other
        with pytest.raises(RegistryError, match="without anchors"):
            edited.drop("models", name)


def test_the_last_entry_of_a_persons_section_leaves_it_empty(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text("models: # mine\n  a: {tasks: [x], serve: [{backend: ollama, model: m}]}\n")
    edited = RegistryFile.read(path, SHIPPED).put("models", "new", ENTRY).drop("models", "a")
    assert edited.drop("models", "new").text == "models: {} # mine\n"


def _registry(chance: random.Random) -> str:
    """Some registry: its order, indentation, quotes, comments and line ends as they come."""
    step = chance.choice([1, 2, 4])
    end = chance.choice(["\n", "\n", "\r\n"])

    def tail() -> str:
        return chance.choice(["", " # c", '   # a: "b {'])

    def noise() -> list[str]:
        some = ["", "   ", "#", f"{' ' * chance.randint(0, 6)}# note: x"]
        return [chance.choice(some) for _ in range(chance.choice([0, 0, 1, 2]))]

    def quoted(text: str) -> str:
        return chance.choice([text, f'"{text}"', f"'{text}'"])

    def model(number: int) -> list[str]:
        one, two = " " * step, " " * step * 2
        literal = [f"{two}summary: {chance.choice(['|', '>-'])}", f"{two}{one}text: of # it"]
        return [
            f"{one}{quoted(f'm{number}')}:{chance.choice(['', f' &m{number}'])}{tail()}",
            *noise(),
            f"{two}{chance.choice(['tasks: [x]', 'tasks:   [ x , y]'])}{tail()}",
            f"{two}serve:{tail()}",
            *noise(),
            f"{two}{chance.choice(['', '  '])}- {{backend: ollama,  model: 'q:7b'}}{tail()}",
            *chance.choice([[], literal, [f"{two}summary: plain", f"{two} goes on{tail()}"]]),
            *noise(),
        ]

    def file(number: int) -> list[str]:
        return [f"{' ' * step}f{number}: {{path: {quoted('a/b.gguf')} }}{tail()}", *noise()]

    sections = [[f"version: 1{tail()}"]]
    for name, child in (("models", model), ("files", file)):
        children = [line for number in range(chance.randint(1, 2)) for line in child(number)]
        braces = [f"{name}: {chance.choice(['{}', '{ }'])}{tail()}"]
        block = [f"{name}:{tail()}", *noise(), *children]
        sections += chance.choice([[], [braces], [block], [block]])
    chance.shuffle(sections)
    lines = [*noise(), *(line for section in sections for line in (*section, *noise()))]
    begin, last = chance.choice(["", "", "\ufeff", f"---{end}"]), chance.choice([end, end, ""])
    return begin + end.join(lines) + last


@pytest.mark.parametrize("seed", range(16))
def test_any_registry_comes_back_byte_for_byte(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    text = _registry(chance)
    path = tmp_path / "registry.yaml"
    path.write_bytes(text.encode())
    before = RegistryFile.read(path, SHIPPED)
    edited = before.put("files", "g", {"path": "x y.gguf", "size": 5}).put("models", "no", ENTRY)
    edited.save(SHIPPED)
    found = yaml.safe_load(path.read_bytes())
    assert found["models"]["no"] == ENTRY
    assert next(iter(found["models"])) == "no"
    left = difflib.ndiff(text.splitlines(), edited.text.splitlines())
    gone = [
        line for line in left if line.startswith("- ") and "{}" not in line and "{ }" not in line
    ]
    assert not gone
    again = RegistryFile.read(path, SHIPPED).put("models", "no", {**ENTRY, "scores": {}})
    steps = [("models", "no"), ("files", "g")]
    chance.shuffle(steps)
    for section, name in steps:
        again = again.drop(section, name)  # type: ignore[arg-type]
    again.save(SHIPPED)
    assert path.read_bytes().decode() == text


def test_the_next_annotate_asks_the_registered_model(
    bench: Bench, model_files: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the embedded engine, and the base's own GGUF in the place of a trained one."""
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    bench.trained(model_files.ensure("smollm2-135m-instruct"))
    cache = settings.from_environment().cache_dir
    bench.settings = replace(bench.settings, cache_dir=cache)
    app = App(bench.settings, Door("test"), Screen(io.StringIO(), io.StringIO()))
    try:
        bench.register()
        assert _shown(app)["serve"][0]["backend"] == "ollama"  # as it was when the session began
        app.dispatch("/reload")
        place = _shown(app)["serve"][0]
        assert (place["where"], place["available"]) == ("nanda-annotator-gguf", True)
        assert _shown(app)["trained_on"]["rows"] == {"gold": 12}

        def ask(model: Any) -> tuple[str, str]:
            reply = model.generate(model.request(messages=(Message("user", "Hi"),), max_tokens=4))
            return model.resolution.resolved, reply.text

        resolved, text = Models(app.pool).run("annotate", ask)
        assert (resolved, bool(text)) == (NAME, True)
        weights = bench.out.quantized("Q4_K_M")
        assert weights.name in str(
            app.pool.backends["llamacpp"]._files.path("nanda-annotator-gguf")
        )
        app.dispatch(f"/finetune unregister {NAME}")
        app.dispatch("/reload")
        assert _shown(app)["trained_on"] == {}
    finally:
        app.close()


def _shown(app: App) -> dict[str, Any]:
    models = app.dispatch("/models").result.data["models"]
    return next(model for model in models if model["id"] == NAME)
