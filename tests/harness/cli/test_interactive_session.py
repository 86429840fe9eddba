"""The session: completion, history, Ctrl-C, Ctrl-D, pasted text, the status line."""

import stat
from contextlib import contextmanager

import pytest
from hostile_files import NOT_FILES
from plugin_folders import plugin
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness import Result, Skill, UsageError
from harness.cli.completion import LineCompleter
from harness.cli.interactive_session import Repl, _choose, _confirm
from harness.errors import ModelUnavailable, RegistryError
from harness.models.backend import Message
from harness.plugins.catalogue import Catalogue, Found
from harness.testing import FakeModel, fake_app

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


@contextmanager
def session(app, typed):
    with create_pipe_input() as keys:
        keys.send_text(typed)
        yield Repl(app, keys, DummyOutput())


def said(app, typed):
    """Return the stdout of a session."""
    with session(app, typed) as repl:
        repl.run()
    return app.screen.out.getvalue()


def test_lines_are_dispatched_until_ctrl_d(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello.", "Bye."))
    assert said(app, f"hi{ENTER}{ENTER}good-bye{ENTER}{CTRL_D}") == "Hello.\nBye.\n"


def test_exit_ends_the_session(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    assert said(app, f"/exit{ENTER}hi{ENTER}{CTRL_D}") == ""


def test_broken_registry_can_be_mended_in_the_session(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    text = app.settings.user_registry.read_text()
    app.settings.user_registry.write_text("broken: [")
    with pytest.raises(RegistryError):
        app.dispatch("hi")
    app.dispatch("/skills")
    app.settings.user_registry.write_text(text)
    assert said(app, f"hi{ENTER}/exit{ENTER}hi{ENTER}{CTRL_D}").endswith("Hello.\n")


def test_an_error_does_not_end_the_session(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    assert said(app, f"/nosuch{ENTER}hi{ENTER}{CTRL_D}") == "Hello.\n"
    assert "no skill /nosuch" in app.screen.err.getvalue()


def test_ctrl_c_clears_the_line_and_stops_the_work(tmp_path):
    class Interrupting(FakeModel):
        def generate(self, request, on_text=None, cancel=None):
            if "long" in request.messages[-1].content:
                on_text("so far")
                raise KeyboardInterrupt
            return super().generate(request, on_text, cancel)

    app = fake_app(tmp_path, Interrupting("Hello."))
    typed = f"half a line{CTRL_C}a long story{ENTER}hi{ENTER}{CTRL_D}"
    assert said(app, typed) == "so far\nHello.\n"
    assert "Interrupted." in app.screen.err.getvalue()


def test_pasted_lines_are_one_text(tmp_path):
    model = FakeModel("Hello.")
    app = fake_app(tmp_path, model)
    pasted = "\x1b[200~first line\nsecond line\x1b[201~"
    said(app, f"{pasted}{ENTER}{CTRL_D}")
    assert model.requests[0].messages[-1].content == "first line\nsecond line"


def test_history_is_stored_in_a_private_file(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    said(app, f"remember me{ENTER}{CTRL_D}")
    path = app.settings.history
    assert "remember me" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", NOT_FILES)
def test_history_that_is_no_small_file_blocks_nothing(tmp_path, kind):
    app = fake_app(tmp_path, FakeModel("Hello."))
    app.settings.history.parent.mkdir(parents=True)
    NOT_FILES[kind](app.settings.history)
    assert said(app, f"hi{ENTER}{CTRL_D}") == "Hello.\n"
    assert app.screen.err.getvalue().count("history cannot be stored") == 1


def test_unwritable_history_is_reported_once(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    app.settings.history.mkdir(parents=True)
    assert said(app, f"hi{ENTER}{CTRL_D}") == "Hello.\n"
    assert app.screen.err.getvalue().count("history cannot be stored") == 1


def test_the_status_line_shows_the_model_in_use(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    with session(app, f"hi{ENTER}{CTRL_D}") as repl:
        assert "no model in use" in repl.status()
        repl.run()
        assert repl.status() == " producer | fake producer"


def test_ctrl_c_and_ctrl_d_at_a_question():
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(CTRL_C)
        with pytest.raises(KeyboardInterrupt):
            _confirm("Overwrite it?")
        keys.send_text(CTRL_D)
        assert _confirm("Overwrite it?") is False
        keys.send_text("y")
        assert _confirm("Overwrite it?") is True


def test_a_question_with_several_answers(capsys):
    choices = ("yes", "no", "always: run ls", "always: run ls for /mine")
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        for typed, chosen in [
            ("Y", "yes"),
            ("2", "no"),
            ("always\r5\r\r3", choices[2]),  # "always" is ambiguous, 5 too large, "" empty
            ("4", choices[3]),
        ]:
            keys.send_text(f"{typed}\r")
            assert _choose("Run `ls`?", choices) == chosen
        keys.send_text(CTRL_D)
        assert _choose("Run `ls`?", choices) == ""
        keys.send_text(CTRL_C)
        with pytest.raises(KeyboardInterrupt):
            _choose("Run `ls`?", choices)
    assert "Run `ls`?\n  1 yes\n  2 no\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "first", "rest"),
    [
        ("/", "/annotate", None),
        ("/logs --", "--limit", None),
        ("/he", "/help", set()),
        ("/lo", "/logs", {"/reload"}),
        ("/logs", "/logs", set()),
        ("/logs ", "path", set()),
        ("/logs --l", "--limit", None),
        ("/logs --limit 3 --j", "--json", None),
        ("/skills tr", "trust", set()),
        ("/skills trust ", "waiting", set()),
        ("/skills enable ", "off", set()),
        ("/skills disable log", None, set()),
        ("/skills disable annot", "annotate", set()),
        ("/skills enable off w", None, set()),
        ("/help he", "help", set()),
        ("/help corpus sea", "search", set()),
        ("/model prod", "producer", {"fake/producer"}),
        ("/annotate x --model nanda-a", "nanda-annotator", set()),
        ("/evaluate gold.csv --models producer,nanda-a", "nanda-annotator", set()),
        ("/finetune t.jsonl --preset smol", "smollm2-cpu", set()),
        ("/finetune t.jsonl --preset=smol", "smollm2-cpu", set()),
        ("/corpus filter scope=u", "scope=unstated", set()),
        ("/corpus filter scope=stated yea", "year=", set()),
        ("/corpus search --move lim", "limitation", set()),
        ("/annotate pap", "papers.csv", set()),
        ("/annotate one", '"one paper.txt"', set()),
        ('/annotate "one p', '"one paper.txt"', set()),
        ("/annotate more/", "more/deep.txt", set()),
        ("/annotate ~/mor", "~/more/", set()),
        ("/annotate ./pap", "./papers.csv", set()),
        ("/annotate nowhere/x", None, set()),
        ("/annotate a long abstract about pap", None, set()),
        ("/annotate papers.csv save to pap", "papers.csv", set()),
        ("/annotate papers.csv -o 'one", "'one paper.txt'", set()),
        ("/corpus stats --db pap", "papers.csv", set()),
        ("/corpus stats --db=pap", "papers.csv", set()),
        ("/corpus add pap", "papers.csv", set()),
        ("/help pap", None, set()),
        ("/chat pap", None, set()),
        ("what is in @pap", "papers.csv", set()),
        ("@pap", "papers.csv", set()),
        ('compare @papers.csv and @"one p', '"one paper.txt"', set()),
        ("/chat --new @more/", "more/deep.txt", set()),
        ("mail me@pap", None, set()),
        ("/resume ", "1", set()),
        ("/resume 2", None, set()),
        ("/help waiting", None, set()),
        ("/help -h", None, set()),
        ("/wai", "/waiting", set()),
        ("plain /he", None, set()),
        ("/nosuch --", None, set()),
    ],
)
def test_completion(tmp_path, monkeypatch, typed, first, rest):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "more").mkdir()
    for name in ("papers.csv", "one paper.txt", "more/deep.txt", ".hidden"):
        (tmp_path / name).touch()
    plugin(tmp_path / "skills", "waiting", "raise RuntimeError")
    app = fake_app(tmp_path)
    app.dispatch("/skills disable off")
    app.conversation.add([Message("user", "hello"), Message("assistant", "Hello.")])
    completer = LineCompleter(lambda: app.catalogue, app.registry.names.items)
    found = [c.text for c in completer.get_completions(Document(typed), CompleteEvent())]
    assert (found or [None])[0] == first
    if rest is not None:
        assert set(found[1:]) == rest


@pytest.mark.parametrize("typed", ["/chat", "/cha"])
def test_exact_matches_and_prefixes_come_first(typed, tmp_path):
    """`/chat` must not complete to `/a-chat`."""
    names = ("a-chat", "chat-all", "chat")
    chat = fake_app(tmp_path).chat
    found = {name: Found(chat, "a test") for name in names}
    completer = LineCompleter(lambda: Catalogue(skills=found))
    found = [c.text for c in completer.get_completions(Document(typed), CompleteEvent())]
    assert found == ["/chat", "/chat-all", "/a-chat"]


def test_files_are_listed_for_an_empty_word_only_on_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("papers.csv", ".hidden"):
        (tmp_path / name).touch()
    completer = LineCompleter(lambda: fake_app(tmp_path).catalogue)

    def offered(line, requested):
        event = CompleteEvent(completion_requested=requested)
        return {c.text for c in completer.get_completions(Document(line), event)}

    assert "papers.csv" in offered("/annotate ", True)
    assert offered("/annotate ", False) == set()
    assert offered("/annotate A text about pap", True) == {"papers.csv"}
    assert offered("/annotate .h", False) == {".hidden"}


def test_a_skill_whose_completions_fail_offers_none(tmp_path):
    class Faulty(Skill):
        name = "faulty"
        summary = "fails"

        def completions(self, option, subcommand):
            raise ZeroDivisionError

        def run(self, call):
            return Result("x")

    app = fake_app(tmp_path, None, Faulty())
    completer = LineCompleter(lambda: app.catalogue)
    assert not list(completer.get_completions(Document("/faulty nowhere"), CompleteEvent()))


def test_model_is_chosen_for_the_chat_of_the_session(tmp_path):
    app = fake_app(tmp_path, FakeModel("Hello."))
    assert app.dispatch("/model").result.text == "chat: producer (fake producer)"
    app.dispatch("/model nanda-annotator")
    app.dispatch("hi")
    app.dispatch("/reload")
    app.dispatch("hi")
    assert app.last_resolution.resolved == "nanda-annotator"
    app.dispatch("/chat --model producer hi")
    assert app.last_resolution.resolved == "producer"
    with pytest.raises(UsageError, match="no model 'nosuch'"):
        app.dispatch("/model nosuch")
    assert app.dispatch("/model").result.data["model"] == "nanda-annotator"
    app.dispatch("/model --default")
    assert app.dispatch("/model").result.data["model"] == "producer"


def test_model_shows_that_there_is_none(tmp_path):
    app = fake_app(tmp_path, None)
    app.pool.backends["fake"].unavailable = "it is off"
    shown = app.dispatch("/model").result
    assert shown.text.startswith("chat: no model. ")
    assert shown.data == {"model": None, "where": None}
    with pytest.raises(ModelUnavailable):
        app.dispatch("/model producer")


def test_clear_forgets_the_conversation(tmp_path):
    model = FakeModel("Hello.")
    app = fake_app(tmp_path, model)
    app.dispatch("hi")
    app.dispatch("/clear")
    app.dispatch("hello")
    assert [m.content for m in model.requests[-1].messages if m.role != "system"] == ["hello"]
    assert "\x1b" not in app.screen.out.getvalue()


def test_completion_shows_descriptions(tmp_path):
    app = fake_app(tmp_path)
    completer = LineCompleter(lambda: app.catalogue)
    [limit] = completer.get_completions(Document("/logs --lim"), CompleteEvent())
    assert limit.display_meta_text == "N  maximum number of runs to list"
    [command] = completer.get_completions(Document("/logs"), CompleteEvent())
    assert command.display_meta_text.startswith("List the latest runs")
