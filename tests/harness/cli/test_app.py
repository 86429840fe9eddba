"""`App.dispatch`: routing, fallback, stdin, chat, Ctrl-C and output."""

import io
import json

import pytest

from harness import (
    Call,
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    Message,
    ModelUnavailable,
    Result,
    Skill,
    UsageError,
)
from harness.cli.help_command import skill_help
from harness.errors import InternalError, RegistryError, UnknownSkill
from harness.runs.frontend import Frontend, print_error, show
from harness.testing import FAKE_REGISTRY, FakeBackend, FakeModel, fake_app
from skills.finetune.plugin import Finetune


class Echo(Skill):
    name = "echo"
    summary = "gives back what it got"
    triggers = (r"echo (?:this|that):\s*(?P<text>.+)",)
    saves = (".txt",)

    def run(self, call: Call) -> Result:
        data = {"text": call.text, "source": call.source}
        return Result(call.text, data, {".txt": lambda: call.text})


class Twice(Skill):
    name = "twice"
    summary = "uses the chat model twice"
    text = "none"

    def run(self, call: Call) -> Result:
        pieces = [
            call.models.run("chat", lambda model: model.generate(model.request(messages=())).text)
            for _ in range(2)
        ]
        return Result(" ".join(pieces))


class Ask(Skill):
    """Uses the model of the task "annotate"."""

    name = "ask"
    summary = "asks the tuned model"

    def run(self, call: Call) -> Result:
        def work(model):
            messages = (Message("user", call.text),)
            reply = model.generate(model.request(messages=messages), call.screen.emit)
            return reply.text, model.resolution

        text, resolution = call.models.run("annotate", work)
        return Result(text, {"resolved": resolution.resolved, "reason": resolution.reason})


def piped(data: bytes) -> Frontend:
    return Frontend("test", stdin=io.BytesIO(data))


def test_an_unknown_skill_is_refused_with_suggestions(tmp_path):
    with pytest.raises(UnknownSkill, match=r"no skill /halp.*mean /help.*There are ") as caught:
        fake_app(tmp_path).dispatch("/halp x")
    assert caught.value.exit_code == 2


def test_nothing_is_suggested_where_no_name_is_near(tmp_path):
    app = fake_app(tmp_path)
    with pytest.raises(UnknownSkill, match=r"no skill /nope\. There are ") as caught:
        app.dispatch("/help nope")
    assert "mean" not in str(caught.value)


def test_a_path_is_plain_text_for_the_producer(tmp_path):
    model = FakeModel("a folder")
    outcome = fake_app(tmp_path, model).dispatch("/usr/lib/python --json 'what' save to x.md")
    assert outcome.result.text == "a folder"
    assert model.requests[0].messages[-1].content == "/usr/lib/python --json 'what' save to x.md"


def test_chat_keeps_the_conversation_until_new(tmp_path):
    model = FakeModel("Hello.", "You said hi.", "Who are you?")
    app = fake_app(tmp_path, model)
    app.dispatch("hi")
    app.dispatch("what did I say?")
    system, *messages = model.requests[1].messages
    assert (system.role, system.content) == ("system", "You are a helpful assistant.")
    assert [m.content for m in messages] == ["hi", "Hello.", "what did I say?"]
    app.dispatch("/chat --new who am I?")
    assert [m.content for m in model.requests[2].messages[1:]] == ["who am I?"]


def test_a_long_conversation_drops_its_oldest_turns(tmp_path):
    model = FakeModel(" ".join(map(str, range(1000))))
    app = fake_app(tmp_path, model)
    for _ in range(4):
        app.dispatch("tell me")
    sent = [m.content for m in model.requests[-1].messages]
    assert len(sent) < 7
    assert [m.role for m in model.requests[-1].messages[:2]] == ["system", "user"]
    assert sent[-1] == "tell me"


def test_an_answer_is_shown_once_as_it_arrives(tmp_path):
    app = fake_app(tmp_path, FakeModel("one two three"))
    outcome = app.dispatch("count")
    assert app.screen.out.getvalue() == "one two three"
    show(outcome, app.screen)
    assert app.screen.out.getvalue() == "one two three\n"


def test_json_is_one_object_despite_streams_and_warnings(tmp_path):
    app = fake_app(tmp_path, FakeModel("one two"))
    app.screen.notice("a warning")
    show(app.dispatch("/chat --json count"), app.screen)
    found = json.loads(app.screen.out.getvalue())
    assert found.keys() == {"text", "answered_by", "session"}
    assert found["text"] == "one two"
    assert found["answered_by"] == {
        "requested": "producer",
        "resolved": "producer",
        "reason": None,
        "backend": "fake",
        "where": "producer",
        "place": "producer",
        "digests": {"fake": "0" * 64},
    }


def test_the_model_that_answers_is_reported_once_in_a_run(tmp_path):
    app = fake_app(tmp_path, FakeModel("one", "two"), Twice())
    app.dispatch("/twice")
    assert app.screen.err.getvalue() == "model: producer · fake · producer · 00000000\n"
    (row,) = app.run_log.recent(1)
    assert (row["place"], json.loads(row["digests"])) == ("producer", {"fake": "0" * 64})
    app.dispatch("/twice")
    assert app.screen.err.getvalue().count("model: ") == 2


class Barred(Skill):
    """Replaces the stream of notices, as a progress bar does."""

    name = "barred"
    summary = "shows a bar"
    text = "none"

    def run(self, call: Call) -> Result:
        call.screen.err = io.StringIO()
        call.models.notice("a server is left out")
        return Result(call.screen.err.getvalue())


def test_a_notice_of_models_is_printed_above_the_bar(tmp_path):
    app = fake_app(tmp_path, None, Barred())
    assert app.dispatch("/barred").result.text == "a server is left out\n"
    assert not app.screen.err.getvalue()


def test_a_trigger_activates_its_skill(tmp_path):
    app = fake_app(tmp_path, FakeModel("chat"), Echo())
    assert app.dispatch("Echo this: What's up").result.text == "What's up"
    assert app.screen.err.getvalue() == "-> /echo (auto)\n"
    assert app.dispatch("how do I echo this?").result.text == "chat"


def test_an_activated_skill_takes_options_like_a_command(tmp_path):
    app = fake_app(tmp_path, None, Echo())
    app.dispatch(f"echo that: some text save to {tmp_path}/x.txt")
    assert (tmp_path / "x.txt").read_text() == "some text"


@pytest.mark.parametrize("line", ["/echo -", "/echo", "/echo  "])
def test_stdin_is_read_for_a_hyphen_or_missing_text(tmp_path, line):
    app = fake_app(tmp_path, None, Echo(), door=piped("é and more\n".encode() * 5000))
    result = app.dispatch(line).result
    assert result.data == {"text": "é and more\n" * 5000, "source": "stdin"}
    assert "reading stdin" in app.screen.err.getvalue()


def test_stdin_is_not_read_if_there_is_text(tmp_path):
    """`while read line; do agent.py "/echo x"; done` must not lose its input."""
    stdin = io.BytesIO(b"the next line")
    app = fake_app(tmp_path, FakeModel("hi"), Echo(), door=Frontend("test", stdin=stdin))
    for line in ("/echo x", "/skills", "/chat --new", "/chat hello", "echo this: x", "help"):
        app.dispatch(line)
    assert stdin.tell() == 0


@pytest.mark.parametrize(
    ("door", "line", "error", "message"),
    [
        (piped(b""), "/echo -", InputError, "stdin is empty"),
        (piped(b" \n"), "/echo", InputError, "stdin is empty"),
        (piped(b"ok \xff"), "/echo -", InputError, r"not UTF-8 text \(byte 3\)"),
        (Frontend("test"), "/echo -", InputError, "stdin is not available"),
        (Frontend("test"), "/echo", UsageError, "/echo needs TEXT"),
        (Frontend("test"), "/models x", UsageError, "takes no text"),
        (Frontend("test"), "/echo --model nosuch x", UsageError, "no model 'nosuch'"),
    ],
)
def test_missing_or_unusable_text_is_refused(tmp_path, door, line, error, message):
    with pytest.raises(error, match=message) as caught:
        fake_app(tmp_path, None, Echo(), door=door).dispatch(line)
    assert caught.value.exit_code == 2


class TwoModels:
    """A registry in which the tuned model and the producer can fail."""

    def __init__(self, tuned: FakeModel, producer: FakeModel) -> None:
        self.models = {"annotator": tuned, "producer": producer}
        self.down: dict[str, str] = {}
        self.loaded: list[str] = []
        self.name = "fake"

    def probe(self, entry):
        return FakeBackend(FakeModel(), self.down.get(entry.model, "")).probe(entry)

    def load(self, entry, slots=1):
        self.loaded.append(entry.model)
        return self.models[entry.model]


def two_models(tmp_path, tuned, producer):
    app = fake_app(tmp_path, None, Ask())
    backend = TwoModels(tuned, producer)
    app.catalogue.backends["fake"] = backend
    app.pool.backends["fake"] = backend
    return app, backend


def test_fallback_from_an_absent_model_is_reported(tmp_path):
    app, backend = two_models(tmp_path, FakeModel("tuned"), FakeModel("general"))
    backend.down["annotator"] = "not pulled"
    result = app.dispatch("/ask x").result
    assert result.data == {"resolved": "producer", "reason": "fake annotator: not pulled"}
    notices = [n for n in app.screen.err.getvalue().splitlines() if n.startswith("annotate:")]
    assert notices == [
        "annotate: nanda-annotator unavailable (fake annotator: not pulled); "
        "using producer (fake producer)"
    ]
    [run] = app.run_log.recent(1)
    assert (run["requested"], run["resolved"], run["reason"]) == (
        "nanda-annotator",
        "producer",
        "fake annotator: not pulled",
    )


def test_fallback_from_a_model_that_disappears(tmp_path):
    tuned = FakeModel(ModelUnavailable("connection refused"))
    app, backend = two_models(tmp_path, tuned, FakeModel("general"))
    result = app.dispatch("/ask x").result
    assert result.text == "general"
    assert result.data["reason"] == "fake annotator: connection refused"
    assert backend.loaded == ["annotator", "producer"]
    assert tuned.closed


@pytest.mark.parametrize("how", ["--no-fallback", "--model nanda-annotator", "--model annotator"])
def test_no_fallback_is_respected(tmp_path, how):
    app, backend = two_models(tmp_path, FakeModel("tuned"), FakeModel("general"))
    backend.down["annotator"] = "not pulled"
    with pytest.raises(ModelUnavailable, match="not pulled") as caught:
        app.dispatch(f"/ask {how} x")
    assert caught.value.exit_code == 3
    assert backend.loaded == []


def test_a_bad_answer_causes_no_fallback(tmp_path):
    tuned = FakeModel(GenerationFailed("cut off"))
    app, backend = two_models(tmp_path, tuned, FakeModel("general"))
    with pytest.raises(GenerationFailed):
        app.dispatch("/ask x")
    assert backend.loaded == ["annotator"]


@pytest.mark.parametrize("where", ["probe", "load"])
def test_fallback_from_a_failing_backend(tmp_path, where, monkeypatch):
    app, backend = two_models(tmp_path, FakeModel("tuned"), FakeModel("general"))
    real = getattr(backend, where)

    def broken(entry, slots=1):
        if entry.model == "annotator":
            raise RuntimeError("no luck")
        return real(entry)

    monkeypatch.setattr(backend, where, broken)
    result = app.dispatch("/ask x").result
    assert result.text == "general"
    assert "RuntimeError: no luck" in result.data["reason"]


def test_a_model_stays_loaded_between_lines(tmp_path):
    app, backend = two_models(tmp_path, FakeModel("tuned"), FakeModel("general"))
    app.dispatch("/ask x")
    app.dispatch("/ask y")
    assert backend.loaded == ["annotator"]
    app.close()
    assert backend.models["annotator"].closed


def test_models_shows_each_entry_with_its_reason(tmp_path):
    app, backend = two_models(tmp_path, FakeModel(), FakeModel())
    backend.down["annotator"] = "not pulled"
    result = app.dispatch("/models").result
    tuned, producer = result.data["models"]
    assert (tuned["id"], tuned["serve"][0]["available"], tuned["serve"][0]["reason"]) == (
        "nanda-annotator",
        False,
        "not pulled",
    )
    assert producer["serve"][0]["available"] is True
    assert "not pulled" in result.text
    assert backend.loaded == []


def test_ctrl_c_ends_the_work_and_keeps_the_application(tmp_path):
    class Interrupting(FakeModel):
        def generate(self, request, on_text=None, cancel=None):
            on_text("so far")
            raise KeyboardInterrupt

    app = fake_app(tmp_path, Interrupting(), Echo())
    with pytest.raises(Interrupted) as caught:
        app.dispatch("hello")
    assert caught.value.exit_code == 130
    assert [m.content for m in app.conversation.messages] == ["hello", "so far"]
    assert app.dispatch("/echo x").result.text == "x"


def test_a_line_may_use_another_registry(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi"))
    other = tmp_path / "other.yaml"
    other.write_text(FAKE_REGISTRY.replace("producer", "general"))
    app.dispatch(f"/models --registry {other}")
    shown = app.dispatch(f"/models --registry {other}").result.data["models"]
    assert "general" in [m["id"] for m in shown]
    assert "general" not in [m["id"] for m in app.dispatch("/models").result.data["models"]]
    other.write_text("models: [")
    with pytest.raises(RegistryError, match=f"{other}:1"):
        app.dispatch(f"/models --registry {other}")
    with pytest.raises(RegistryError, match="no such registry"):
        app.dispatch(f"/models --registry {tmp_path}/nosuch.yaml")
    assert app.dispatch("hello").result.text == "hi"


def test_reload_with_a_broken_registry_changes_nothing(tmp_path):
    app = fake_app(tmp_path, FakeModel("hi", "hi"))
    assert app.dispatch("hello").result.text == "hi"
    app.settings.user_registry.write_text("models: 1")
    with pytest.raises(RegistryError):
        app.dispatch("/reload")
    assert app.dispatch("hello").result.text == "hi"


def test_brief_help_describes_no_options_of_subcommands():
    lines = skill_help(Finetune(), brief=True).splitlines()
    assert [line for line in lines if line.startswith("Options for")] == [
        "Options for /finetune without a subcommand:",
        "Options for a reader:",
    ]


def test_help_is_generated_from_options(tmp_path):
    app = fake_app(tmp_path, None, Echo())
    assert "/echo" in app.dispatch("/help").result.text
    shown = app.dispatch("/help logs").result
    assert "--limit N" in shown.text
    assert "number of runs to list (default: 20)" in shown.text
    assert shown.data["options"]["properties"]["limit"]["default"] == 20
    assert app.dispatch("/logs --help").result.text == shown.text
    with pytest.raises(UnknownSkill):
        app.dispatch("/help nosuch")


def test_exit_ends_the_session(tmp_path):
    assert fake_app(tmp_path).dispatch("/exit").result.leave


def test_an_internal_error_has_a_traceback(tmp_path, monkeypatch):
    app = fake_app(tmp_path, FakeModel("hi"))
    monkeypatch.setattr(app, "_skill", lambda *_, **__: 1 / 0)
    with pytest.raises(InternalError) as caught:
        app.dispatch("/help")
    print_error(caught.value, app.screen)
    said = app.screen.err.getvalue()
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("Error: internal error: ZeroDivisionError")


def test_an_error_shows_location_and_hint(tmp_path):
    app = fake_app(tmp_path)
    error = HarnessError("is empty", where="a.txt:3", hint="Fill it.")
    print_error(error, app.screen)
    assert app.screen.err.getvalue() == "Error: a.txt:3: is empty. Fill it.\n"
