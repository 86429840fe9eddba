"""Reading models/registry.yaml, and resolving tasks."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_files import DOCUMENTS, NOT_FILES

from harness.errors import ModelUnavailable, RegistryError, UsageError
from harness.models import registry
from harness.models.backend import Availability
from harness.models.pool import Candidate, Choice, ModelPool, Models
from harness.settings import CODE_ROOT
from harness.testing import FakeBackend, FakeModel, fake_app

SHIPPED = CODE_ROOT / "models" / "registry.yaml"

TUNED_OLLAMA = "nanda-annotator/ollama nanda-annotator"
READER = "nanda-annotator/reader nanda-reader"
TUNED_EMBEDDED = "nanda-annotator/llamacpp smollm2-135m-instruct + nanda-annotator-lora"
LARGE = "producer/ollama qwen2.5:32b"
SMALL = "producer/ollama qwen2.5:7b"
EMBEDDED = "producer/llamacpp smollm2-135m-instruct"
ALL = (TUNED_OLLAMA, READER, TUNED_EMBEDDED, LARGE, SMALL, EMBEDDED)
BACKENDS = dict.fromkeys(("llamacpp", "ollama", "reader"), FakeBackend(FakeModel()))


def name(candidate: Candidate) -> str:
    return f"{candidate.model_id}/{candidate.serve.label}"


def resolved(task, down=(), *, absent=False, **how):
    shipped = registry.load(SHIPPED)
    every = [
        Candidate(model_id, serve)
        for model_id, entry in shipped.models.items()
        for serve in entry.serve
    ]
    found = Availability(False, "down", absent)
    models = Models(ModelPool(shipped, BACKENDS), Choice(**how))
    return models.resolve(task, {c: found for c in every if name(c) in down})


@pytest.mark.parametrize(
    ("task", "down", "how", "chosen", "fell_back"),
    [
        ("annotate", (), {}, TUNED_OLLAMA, False),
        ("annotate", ALL[:1], {}, READER, False),
        ("annotate", ALL[:2], {}, TUNED_EMBEDDED, False),
        ("annotate", ALL[:3], {}, LARGE, True),
        ("annotate", ALL[:4], {}, SMALL, True),
        ("annotate", ALL[:5], {}, EMBEDDED, True),
        ("annotate", (LARGE, SMALL), {}, TUNED_OLLAMA, False),
        ("annotate", ALL[:2], {"model": "nanda-annotator"}, TUNED_EMBEDDED, False),
        ("annotate", ALL[:1], {"model": "nanda-reader"}, READER, False),
        ("annotate", ALL[:3], {"model": "producer"}, LARGE, False),
        ("annotate", ALL[:5], {"model": "producer"}, EMBEDDED, False),
        ("annotate", (), {"model": "qwen2.5:7b"}, SMALL, False),
        ("annotate", (), {"model": "ollama qwen2.5:7b"}, SMALL, False),
        ("annotate", (), {"model": "ollama/qwen2.5:7b"}, SMALL, False),
        ("annotate", (), {"model": "ollama/nanda-annotator"}, TUNED_OLLAMA, False),
        ("annotate", (), {"model": "ollama/llama3:8b"}, "ollama/llama3:8b/ollama llama3:8b", False),
        ("chat", (), {}, LARGE, False),
        ("chat", (LARGE,), {}, SMALL, False),
        ("chat", (LARGE, SMALL), {"model": "producer"}, EMBEDDED, False),
        ("judge", (LARGE, SMALL), {}, EMBEDDED, False),
        ("judge", (LARGE,), {}, SMALL, False),
    ],
)
def test_resolution_of_a_task(task, down, how, chosen, fell_back):
    resolution = resolved(task, down, **how)
    assert name(resolution.chosen) == chosen
    assert resolution.fell_back is fell_back
    assert bool(resolution.reason) is bool(resolution.skipped), "also within one model"


def test_skipped_candidates_have_reasons():
    resolution = resolved("annotate", ALL[:4])
    assert [(name(one), found.reason) for one, found in resolution.skipped.items()] == [
        (who, "down") for who in ALL[:4]
    ]
    assert resolution.requested == "nanda-annotator"
    assert resolution.resolved == "producer"
    assert resolution.reason == (
        "ollama nanda-annotator, reader nanda-reader, "
        "llamacpp smollm2-135m-instruct + nanda-annotator-lora: down"
    )


@pytest.mark.parametrize(
    ("task", "down", "how"),
    [
        ("annotate", ALL, {}),
        ("annotate", ALL[:3], {"fallback": False}),
        ("annotate", ALL[:3], {"model": "nanda-annotator"}),
        ("annotate", (SMALL,), {"model": "qwen2.5:7b"}),
    ],
)
def test_no_candidate_can_serve(task, down, how):
    with pytest.raises(ModelUnavailable, match="down") as caught:
        resolved(task, down, **how)
    assert caught.value.exit_code == 3


def test_an_unfit_model_serves_only_if_it_is_named():
    with pytest.raises(ModelUnavailable) as caught:
        resolved("chat", (LARGE, SMALL), absent=True)
    assert caught.value.message == "no available model is fit for chat"
    assert len(re.findall(r"\.( |$)", caught.value.hint)) == 2, "sentences"
    ways = ("`/models get qwen2.5:7b`", "llama-server", "registry.yaml", "/annotate")
    for way in (*ways, "`--model producer`", "`/models`"):
        assert way in caught.value.hint


def test_a_place_that_was_expected_to_serve_is_named_beside_an_unfit_one():
    with pytest.raises(ModelUnavailable) as caught:
        resolved("chat", (LARGE, SMALL))
    assert caught.value.message == (
        "no available model is fit for chat: producer (ollama qwen2.5:32b): down; "
        "producer (ollama qwen2.5:7b): down"
    )


def test_a_model_is_fit_unless_its_entry_states_otherwise(tmp_path):
    own = write(
        tmp_path,
        "models:\n  producer:\n    tasks: [chat, judge]\n"
        "    serve: [{backend: llamacpp, gguf: smollm2-135m-instruct}]\n",
    )
    pool = ModelPool(registry.load(SHIPPED, own), BACKENDS)
    assert Models(pool).resolve("chat", {}).resolved == "producer"


def test_unknown_model_is_a_usage_error():
    with pytest.raises(UsageError, match="Did you mean producer"):
        resolved("annotate", model="producr")


def test_task_without_a_model():
    with pytest.raises(ModelUnavailable, match="'sing'"):
        resolved("sing")


def write(folder: Path, text: str) -> Path:
    path = folder / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_user_registry_overlays_the_shipped_one(tmp_path):
    own = write(
        tmp_path,
        """\
models:
  mine:
    tasks: [annotate]
    serve: [{backend: llamacpp, gguf: smollm2-135m-instruct, adapter: mine}]
  producer:
    tasks: [chat]
    serve: [{backend: ollama, model: "llama3:8b"}]
files:
  mine: {path: sub/mine.gguf}
""",
    )
    laid = registry.load(SHIPPED, own)
    assert laid.serving("annotate") == "mine"
    assert "nanda-annotator" in laid.models
    assert [serve.where for serve in laid.models["producer"].serve] == ["llama3:8b"]
    assert laid.files["mine"].local_path == tmp_path / "sub" / "mine.gguf"
    shipped_adapter = laid.files["nanda-annotator-lora"].local_path
    assert shipped_adapter == SHIPPED.parent / "nanda-annotator" / "nanda-annotator-lora.gguf"


MODEL = "tasks: [annotate], serve: [{backend: ollama, model: m}]"


def test_registry_d_overlays_both_with_the_newest_first(tmp_path):
    own = write(tmp_path, f"models:\n  mine: {{{MODEL}}}\n  old: {{{MODEL}, form: json}}\n")
    folder = tmp_path / "registry.d"
    folder.mkdir()
    for name, registered in (("new", 12), ("old", 11), ("by-hand", None)):
        stamp = f"registered: 2026-11-{registered}T00:00:00Z\n" if registered else ""
        text = f"{stamp}models:\n  {name}: {{{MODEL}, form: tagged}}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    laid = registry.load(SHIPPED, own)
    assert list(laid.models)[:4] == ["new", "old", "by-hand", "mine"]
    assert laid.models["old"].form == "tagged"
    assert "new" not in registry.load(SHIPPED, own, without=folder / "new.yaml").models
    own.unlink()
    assert laid.serving("annotate") == registry.load(SHIPPED, own).serving("annotate") == "new"


def test_broken_file_of_registry_d_names_its_line(tmp_path):
    own = tmp_path / "registry.yaml"
    broken = tmp_path / "registry.d" / "a.yaml"
    broken.parent.mkdir()
    broken.write_text(f"models:\n  a: {{{MODEL}, fallback: b}}\n", encoding="utf-8")
    with pytest.raises(RegistryError, match=f"^{broken}:2: a falls back"):
        registry.load(SHIPPED, own)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("models: [", 1, "not YAML"),
        ("models:\n  a: 1\n  a: 2\n", 3, "duplicate key 'a'"),
        ("models:\n  a:\n    tasks: [x]\n    serve: []\n", 4, "serve"),
        ("models:\n  a:\n    tasks: [x]\n    srve: []\n", 4, "srve: unknown key"),
        (
            "models:\n  a:\n    tasks: [x]\n    serve:\n      - {backend: ollama}\n",
            5,
            "an ollama entry needs a model",
        ),
        (
            "models:\n  a:\n    tasks: [x]\n    serve: [{backend: llamacpp, gguf: g}]\n"
            "    colour: red\nfiles:\n  g: {path: g.gguf}\n",
            5,
            "colour",
        ),
        *(
            (f"models:\n  a:\n    tasks: [x]\n    serve:\n      - {{{entry}}}\n", 5, message)
            for entry, message in [
                ("backend: openai, model: m, url: a, urls: [b]", "either a `url` or `urls`"),
                ("backend: openai, model: m, urls: []", "urls"),
                ("backend: openai, model: m, urls: [a, b, a]", "an address twice"),
                ("backend: llamacpp, gguf: g, urls: [a]", "not for llamacpp"),
            ]
        ),
        ("version: 2\n", 1, "version"),
        (
            "models:\n  a:\n    tasks: [x]\n    serve: [{backend: ollama, model: m}]\n"
            "    options:\n      temprature: 0\n",
            6,
            "temprature: unknown key",
        ),
        (
            "models:\n  a:\n    tasks: [x]\n    serve: [{backend: ollama, model: m}]\n"
            "    fallback: b\n",
            5,
            "a falls back to 'b'",
        ),
        (
            "models:\n  a:\n    tasks: [x]\n    serve:\n      - backend: llamacpp\n"
            "        gguf: g\n",
            6,
            "'g', which is not in files",
        ),
        (
            "models:\n  a:\n    tasks: [x]\n    serve: [{backend: ollama, model: m}]\n"
            "    form: anchored\n",
            5,
            r"models\.a\.form: Input should be 'json', 'tagged' or 'quotes'",
        ),
        ("files:\n  g: {path: x, sha256: abc}\n", 2, "sha256"),
        ("files:\n  g: {pypi: x==1}\n", 2, "needs a member and a sha256"),
        ("models:\n  a: {trained_on: {date: 2025-02-30}}\n", 2, "'2025-02-30' is not a valid"),
        ("models:\n  a: !!int abc\n", 2, "'abc' is not a valid int"),
        ("models:\n  a: !!bool abc\n", 2, "'abc' is not a valid bool"),
        ("models:\n  a: !!timestamp abc\n", 2, "'abc' is not a valid timestamp"),
        ("models:\n  a: !!int ''\n", 2, "'' is not a valid int"),
        ("models:\n  a: x\x07y\n", 2, r"the invalid character '\\x07'"),
    ],
)
def test_broken_registry_names_file_and_line(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(RegistryError, match=message) as caught:
        registry.load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert caught.value.exit_code == 2


def test_registry_that_contains_itself(tmp_path):
    with pytest.raises(RegistryError, match="contains itself"):
        registry.load(write(tmp_path, "models: &x\n  mine: *x\n"))


@pytest.fixture
def recursion_limit() -> Iterator[None]:
    """Python's default limit, which other libraries of the process raise."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
def test_registry_that_is_nested_too_deeply(tmp_path):
    with pytest.raises(RegistryError, match=r"registry\.yaml:1: is nested too deeply"):
        registry.load(write(tmp_path, "models: " + "[" * 3000))


def test_error_names_the_user_registry(tmp_path):
    own = write(
        tmp_path,
        "models:\n  a: {tasks: [x], serve: [{backend: ollama, model: m}], fallback: b}\n",
    )
    with pytest.raises(RegistryError, match=f"^{own}:2: a falls back"):
        registry.load(SHIPPED, own)


@pytest.mark.parametrize("name", ["openai/", "ollama/", "nosuch/x", ""])
def test_incomplete_name_is_unknown(name):
    with pytest.raises(UsageError, match="no model"):
        registry.load(SHIPPED).named(name)


def test_cycle_of_fallbacks_ends(tmp_path):
    model = "tasks: [x], serve: [{backend: ollama, model: m}]"
    path = write(
        tmp_path, f"models:\n  a: {{{model}, fallback: b}}\n  b: {{{model}, fallback: a}}\n"
    )
    assert registry.load(path).chain("a") == ("a", "b")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_registry_is_refused(tmp_path, name):
    with pytest.raises(RegistryError, match=r"too|itself|more than"):
        registry.load(write(tmp_path, DOCUMENTS[name]))


@pytest.mark.parametrize("kind", NOT_FILES)
def test_registry_that_is_no_small_file_is_refused(tmp_path, kind):
    NOT_FILES[kind](tmp_path / "registry.yaml")
    with pytest.raises(RegistryError, match="cannot be read"):
        registry.load(tmp_path / "registry.yaml")


def test_registry_may_have_a_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "registry.yaml"
    path.write_bytes(f"\ufeffmodels:\r\n  mine: {{{MODEL}}}\r\n".encode())
    assert registry.load(path).serving("annotate") == "mine"


def registered(tmp_path):
    """Create a user registry and a folder with one good registered model; return both."""
    own, folder = write(tmp_path, f"models:\n  mine: {{{MODEL}}}\n"), tmp_path / "registry.d"
    folder.mkdir()
    (folder / "good.yaml").write_text(f"models:\n  good: {{{MODEL}, fallback: mine}}\n")
    return own, folder


@pytest.mark.parametrize("kind", [*NOT_FILES, *DOCUMENTS, "fallback", "empty"])
def test_broken_file_of_registry_d_costs_itself_alone(tmp_path, kind):
    own, folder = registered(tmp_path)
    bad = folder / "bad.yaml"
    if kind in NOT_FILES:
        NOT_FILES[kind](bad)
    else:
        others = {"fallback": f"models:\n  bad: {{{MODEL}, fallback: gone}}\n", "empty": "x: 1\n"}
        bad.write_text({**DOCUMENTS, **others}[kind])
    errors = []
    laid = registry.load(SHIPPED, own, left_out=errors.append)
    if kind == "folder":  # a folder is not read as a registry
        assert errors == []
    else:
        [error] = errors
        assert str(error).startswith(str(bad))
    assert laid.serving("annotate") == "good"
    assert "bad" not in laid.models
    app = fake_app(tmp_path)
    shown = app.dispatch(f"/models --registry {own}")
    assert "good" in shown.result.text
    assert app.screen.err.getvalue().count("registered model left out: ") == len(errors)


@pytest.mark.parametrize("role", ["fallback", "gguf"])
def test_message_about_a_long_name_is_short(tmp_path, role):
    model = f"tasks: [x], serve: [{{backend: ollama, model: m, gguf: {'x' * 5000}}}]"
    if role == "fallback":
        model = f"{MODEL}, fallback: {'x' * 5000}"
    text = f"models:\n  {'y' * 900}: {{{model}}}\n"
    with pytest.raises(RegistryError, match="which is not") as refused:
        registry.load(write(tmp_path, text))
    assert len(str(refused.value)) < 500


def test_model_that_needs_one_left_out_is_left_out_too(tmp_path):
    own, folder = registered(tmp_path)
    (folder / "bad.yaml").write_text("models: [")
    (folder / "needs.yaml").write_text(f"models:\n  needs: {{{MODEL}, fallback: bad}}\n")
    errors = []
    laid = registry.load(SHIPPED, own, left_out=errors.append)
    assert [error.where for error in errors] == [f"{folder}/bad.yaml:1", f"{folder}/needs.yaml:2"]
    assert laid.serving("annotate") == "good"


def test_broken_registry_of_the_user_is_never_left_out(tmp_path):
    """Otherwise another model than the chosen one would answer."""
    own = write(tmp_path, "models: [")
    with pytest.raises(RegistryError, match="is not YAML"):
        registry.load(SHIPPED, own, left_out=lambda _: None)


def test_folder_with_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "MAX_FILES", 5)
    own, folder = registered(tmp_path)
    for n in range(6):
        (folder / f"{n}.txt").write_text("")
    errors = []
    laid = registry.load(SHIPPED, own, left_out=errors.append)
    assert laid.serving("annotate") == "mine"
    assert [str(error) for error in errors] == [
        f"{folder}: cannot be used: it has more than 5 entries"
    ]
