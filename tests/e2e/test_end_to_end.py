"""The shipped registry, skills and backends together: who serves /annotate, over a real socket."""

import io
import json

import pytest
import yaml
from protocol_server import ProtocolServer

from harness import GenerationFailed, ModelUnavailable
from harness.cli.app import App
from harness.errors import ModelBusy
from harness.models import registry
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_settings
from skills.nanda.framework import nanda

MOVES = {name: f"The {name} of DryRun." for name in nanda().names}
AS_JSON = json.dumps(MOVES)
AS_TEXT = "\n".join(
    ["<annotation>", *(f"{move.label}: {MOVES[move.name]}" for move in nanda().moves), ""]
)
LINE = f"/annotate {CODE_ROOT / 'examples' / 'abstract.txt'}"


SHIPPED = CODE_ROOT / "models" / "registry.yaml"
FILES = registry.load(SHIPPED).files
DRAFTING = yaml.safe_load(SHIPPED.read_text())["models"]["nanda-annotator"]
BASE, ADAPTER = (FILES[name].sha256 for name in ("smollm2-135m-instruct", "nanda-annotator-lora"))


@pytest.fixture
def app(tmp_path):
    """An application whose user has an entry of nanda-annotator, too."""
    app = App(fake_settings(tmp_path), Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    use_registry(app)
    yield app
    app.close()


def use_registry(app, **more):
    path = app.settings.user_registry
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"version": 1, "models": {"nanda-annotator": DRAFTING}, **more}
    path.write_text(yaml.safe_dump(own))
    app.dispatch("/reload")


@pytest.fixture
def without_adapter(app):
    """An application whose tuned model is served by Ollama only."""
    names = ("nanda-annotator-lora", "nanda-reader")
    use_registry(app, files={name: {"path": "nowhere", "sha256": ADAPTER} for name in names})
    return app


def serve(monkeypatch, text, *names):
    server = ProtocolServer(FakeModel(text), names=names)
    server.made_of = (BASE, ADAPTER)
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    return server


def chats(server):
    return [r.body for r in server.requests if r.path == "/api/chat"]


def test_tuned_model_is_used_first_in_its_own_format(app, monkeypatch):
    with serve(monkeypatch, AS_TEXT, "nanda-annotator:latest", "qwen2.5:7b") as server:
        record = app.dispatch(f"{LINE} --wording abstractive").result.data
        [request] = chats(server)
    assert {name: record[name] for name in MOVES} == MOVES
    assert request["model"] == "nanda-annotator"
    assert "format" not in request or request["format"] is None
    assert "</annotation>" in request["options"]["stop"]
    assert request["options"]["num_ctx"] == 4096
    provenance = record["provenance"]
    assert (provenance["resolved"], provenance["backend"]) == ("nanda-annotator", "ollama")
    assert provenance["reason"] is None
    assert "unavailable" not in app.screen.err.getvalue()


def test_another_model_of_that_name_is_named_and_not_used(app, monkeypatch):
    with serve(monkeypatch, AS_TEXT, "nanda-annotator:latest") as server:
        server.made_of = ("cd" * 32,)
        record = app.dispatch(LINE).result.data
        assert not chats(server)
        app.dispatch(f"{LINE} --model ollama/nanda-annotator --wording abstractive")
        assert len(chats(server)) == 1
    lines = app.screen.err.getvalue().splitlines()
    foreign = f"nanda-annotator at {server.url} is another model: digest abababab, expected "
    assert foreign in lines[0]
    assert "`--model ollama/nanda-annotator` uses this model" in lines[0]
    assert foreign in record["provenance"]["reason"]
    assert record["provenance"]["backend"] == "reader"
    place = f"nanda-annotator at {server.url}"
    assert f"model: nanda-annotator · ollama · {place} · abababab" in lines


def test_a_recommended_model_chats_without_words_about_one_that_is_not_there(app, monkeypatch):
    with serve(monkeypatch, "Hello.", "qwen2.5:7b") as server:
        app.dispatch("hi")
        shown = app.dispatch("/models").result.text
    lines = app.screen.err.getvalue().splitlines()
    assert lines[0] == f"model: producer · ollama · qwen2.5:7b at {server.url} · abababab"
    assert "yes, but unfit for chat" in shown


def test_producer_replaces_it_with_a_notice_and_json(without_adapter, monkeypatch):
    with serve(monkeypatch, AS_JSON, "qwen2.5:7b") as server:
        record = without_adapter.dispatch(LINE).result.data
        [request] = chats(server)
    assert {name: record[name] for name in MOVES} == MOVES
    assert request["model"] == "qwen2.5:7b"
    assert list(request["format"]["properties"]) == ["sentence-numbers", *MOVES]
    provenance = record["provenance"]
    assert (provenance["requested"], provenance["resolved"]) == ("nanda-annotator", "producer")
    assert "Ollama has no nanda-annotator" in provenance["reason"]
    notice = without_adapter.screen.err.getvalue().splitlines()[0]
    assert notice.startswith(
        "annotate: nanda-annotator unavailable (ollama nanda-annotator: Ollama"
    )
    assert notice.endswith("using producer (ollama qwen2.5:7b)")
    [run] = without_adapter.run_log.recent(1)
    assert (run["requested"], run["resolved"]) == ("nanda-annotator", "producer")


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [("busy", ModelBusy, 3), ("error", GenerationFailed, 1), ("cut", GenerationFailed, 1)],
)
def test_failing_server_does_not_change_the_model(app, monkeypatch, failure, error, code):
    with serve(monkeypatch, AS_TEXT, "nanda-annotator:latest", "qwen2.5:7b") as server:
        server.fail(failure, "nanda-annotator")
        with pytest.raises(error) as caught:
            app.dispatch(LINE)
    assert caught.value.exit_code == code
    [run] = app.run_log.recent(1)
    assert (run["status"], run["resolved"]) == ("failed", "nanda-annotator")


@pytest.mark.parametrize("failure", ["load_error", "missing"])
def test_model_that_cannot_be_loaded_is_replaced(without_adapter, monkeypatch, failure):
    with serve(monkeypatch, AS_JSON, "nanda-annotator:latest", "qwen2.5:7b") as server:
        server.fail(failure, "nanda-annotator")
        record = without_adapter.dispatch(LINE).result.data
    assert record["provenance"]["resolved"] == "producer"
    assert "ollama nanda-annotator: " in record["provenance"]["reason"]


def test_no_fallback_is_respected(without_adapter, monkeypatch):
    with (
        serve(monkeypatch, AS_JSON, "qwen2.5:7b") as server,
        pytest.raises(ModelUnavailable, match="Ollama has no nanda-annotator"),
    ):
        without_adapter.dispatch(f"{LINE} --no-fallback")
    assert not chats(server)
