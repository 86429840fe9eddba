"""/reload in a session: new, changed and removed skills."""

import dataclasses
import sys
from contextlib import contextmanager

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness.cli.app import App
from harness.cli.interactive_session import Repl
from harness.errors import Interrupted, UsageError
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, fake_settings

ENTER = "\r"
HEAD = "---\nname: {name}\ndescription: says a word\n---\n"
PLUGIN = """
from harness import Result, Skill, hookimpl
{get_word}

class Say(Skill):
    name = "{name}"
    summary = "says a word"
    text = "optional"

    def run(self, call):
        return Result(word())

@hookimpl
def register_skills(register):
    register(Say())
"""
BESIDE = "from .words import word"
BY_PATH = "import sys; sys.path.insert(0, {folder!r})\nfrom reload_words import word"
LATE = "def word():\n    from .words import word\n    return word()"


def word_file(text):
    return f"def word():\n    return {text!r}\n"


def write_skill(folder, get_word=BESIDE, module="words", word="before"):
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(HEAD.format(name=folder.name))
    get_word = get_word.format(folder=str(folder))
    (folder / "plugin.py").write_text(PLUGIN.format(name=folder.name, get_word=get_word))
    (folder / f"{module}.py").write_text(word_file(word))


@pytest.fixture(autouse=True)
def modules_as_they_were(monkeypatch):
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("reload_", "harness_folder_")):
            del sys.modules[name]


@contextmanager
def session(app):
    """Run lines in one session and return what each prints to stdout."""
    with create_pipe_input() as keys:
        repl = Repl(app, keys, DummyOutput())

        def typed(line):
            start = len(app.screen.out.getvalue())
            keys.send_text(f"{line}{ENTER}/exit{ENTER}")
            repl.run()
            return app.screen.out.getvalue()[start:]

        yield typed


@pytest.mark.parametrize("get_word", [BESIDE, LATE], ids=["at-import", "when-it-runs"])
def test_edited_module_is_reloaded(tmp_path, get_word):
    folder = tmp_path / "config" / "skills" / "say"
    write_skill(folder, get_word)
    with session(fake_app(tmp_path)) as typed:
        assert typed("/say") == "before\n"
        (folder / "words.py").write_text(word_file("after!"))
        assert typed("/say") == "before\n"
        typed("/reload")
        assert typed("/say") == "after!\n"


def test_edited_top_level_module_is_reloaded(tmp_path):
    folder = tmp_path / "config" / "skills" / "say"
    write_skill(folder, BY_PATH, "reload_words")
    with session(fake_app(tmp_path)) as typed:
        assert typed("/say") == "before\n"
        (folder / "reload_words.py").write_text(word_file("after!"))
        typed("/reload")
        assert typed("/say") == "after!\n"


def install(site, module, word, version="1.0"):
    """Create the files of an installed package with an entry point."""
    (site / module).mkdir(parents=True, exist_ok=True)
    plugin = PLUGIN.format(name="say", get_word=BESIDE)
    (site / module / "__init__.py").write_text(plugin)
    (site / module / "words.py").write_text(word_file(word))
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[harness.skills]\nsay = {module}\n")
    return info


def test_installed_and_upgraded_package_is_reloaded(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    sys.path.insert(0, str(site))
    with session(fake_app(tmp_path)) as typed:
        assert typed("/say") == ""
        old = install(site, "reload_said", "before")
        assert "new: /say" in typed("/reload")
        assert typed("/say") == "before\n"
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
        install(site, "reload_said", "after!", "2.0")
        typed("/reload")
        assert typed("/say") == "after!\n"
        assert "reload_said 2.0" in typed("/skills")


def test_own_modules_are_not_reloaded(tmp_path):
    """A module imported again has other classes, so errors would no longer be recognized."""
    settings = dataclasses.replace(
        fake_settings(tmp_path), project_dir=fake_settings(tmp_path).shipped_skills.parent
    )
    app = App(settings, Frontend("test"), Screen())
    before = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in ("harness", "skills")}
    app.dispatch("/reload")
    assert {n: sys.modules.get(n) for n in before} == before


def test_edited_project_plugin_needs_trust_again(tmp_path):
    folder = tmp_path / "skills" / "say"
    write_skill(folder)
    asked = []
    door = Frontend("repl", confirm=lambda question: asked.append(question) or True)
    with session(fake_app(tmp_path, FakeModel(), door=door)) as typed:
        assert typed("/say") == "before\n"
        (folder / "words.py").write_text(word_file("after!"))
        reloaded = typed("/reload")
        assert "not trusted: /say; read it, then `/skills trust say`" in reloaded
        assert "gone" not in reloaded
        assert typed("/say") == "after!\n"
        assert typed("/say") == "after!\n"
    assert len(asked) == 2


def test_folder_beside_shipped_skills_needs_trust(tmp_path):
    """In a checkout ./skills contains both; folders that are not packages need trust."""
    shipped = tmp_path / "checkout" / "skills"
    write_skill(shipped / "say")
    settings = dataclasses.replace(
        fake_settings(tmp_path), shipped_skills=shipped, project_dir=tmp_path / "checkout"
    )
    app = App(settings, Frontend("test"), Screen())
    assert set(app.catalogue.untrusted) == {"say"}
    app.dispatch("/skills trust say")
    assert app.dispatch("/say").result.text == "before"
    (shipped / "say" / "words.py").write_text(word_file("after!"))
    app.dispatch("/reload")
    app.dispatch("/skills trust say")
    assert app.dispatch("/say").result.text == "after!"


def test_trust_after_an_edit_needs_no_reload(tmp_path):
    folder = tmp_path / "skills" / "say"
    write_skill(folder)
    app = fake_app(tmp_path)
    app.dispatch("/skills trust say")
    (folder / "words.py").write_text(word_file("after!"))
    app.dispatch("/skills trust say")
    assert app.dispatch("/say").result.text == "after!"
    with pytest.raises(UsageError, match="there is no untrusted plugin 'say'"):
        app.dispatch("/skills trust say")


def test_interrupted_reload_keeps_loaded_skills(tmp_path):
    """A plugin may import a module of its own when it runs."""
    own = tmp_path / "config" / "skills"
    write_skill(own / "say", LATE)
    app = fake_app(tmp_path)
    write_skill(own / "zz", "import os, time\nos.kill(os.getpid(), 2)\ntime.sleep(600)")
    with pytest.raises(Interrupted):
        app.dispatch("/reload")
    assert app.dispatch("/say").result.text == "before"
    assert "zz" not in app.catalogue.skills
