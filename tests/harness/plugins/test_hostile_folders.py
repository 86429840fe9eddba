"""Folders of skills that would block the program, or take its memory or its stack."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from hostile_files import DOCUMENTS, NOT_FILES
from plugin_folders import GOOD, lenient, plugin

from harness import OutputError, UsageError
from harness.agent_skills import prompt_skill, skill_md
from harness.cli.app import App
from harness.plugins import discovery, locations
from harness.plugins.locations import skill_files
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, fake_settings

GREETING = "---\nname: {name}\ndescription: Greets people. Use when somebody asks.\n---\nGreet.\n"


def prompt(root, name, front_matter=""):
    """Create a prompt skill with more front matter."""
    folder = root / name
    folder.mkdir(parents=True)
    text = GREETING.format(name=name).replace("\n---\nGreet", f"\n{front_matter}---\nGreet")
    (folder / "SKILL.md").write_text(text)
    return folder


def agent(folder, line):
    """Run agent.py in a project as a user does; return the process and its seconds of CPU."""
    places = {f"HARNESS_{name}": str(folder / name) for name in ("DATA", "CONFIG", "CACHE")}
    before = os.times()
    done = subprocess.run(
        [sys.executable, CODE_ROOT / "agent.py", line],
        cwd=folder,
        env={**os.environ, **places},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    after = os.times()
    spent = after.children_user + after.children_system
    return done, spent - before.children_user - before.children_system


@pytest.mark.parametrize("name", ["laughs", "lists"])
def test_every_command_starts_beside_hostile_yaml(tmp_path, name):
    prompt(tmp_path / "skills", "bad", DOCUMENTS[name])
    prompt(tmp_path / "skills", "good")
    reason = {"laughs": "repeats too much by aliases", "lists": "is nested too deeply"}[name]
    for line in ("/help", "/skills"):
        done, seconds = agent(tmp_path, line)
        assert done.returncode == 0
        assert "/good" in done.stdout
        assert f"plugin bad left out: {tmp_path}/skills/bad/SKILL.md:" in done.stderr
        assert f"front matter {reason}" in done.stderr
        assert seconds < 20  # without limits, reading would never end
    assert "left out: bad" in done.stdout


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_no_small_file_is_left_out(tmp_path, kind):
    (tmp_path / "skills" / "bad").mkdir(parents=True)
    NOT_FILES[kind](tmp_path / "skills" / "bad" / "SKILL.md")
    prompt(tmp_path / "skills", "good")
    app = lenient(tmp_path)
    assert "good" in app.catalogue.skills
    reasons = [failure.reason for failure in app.catalogue.failures]
    if kind == "folder":  # a folder with this name is searched like any other
        assert reasons == []
    else:
        [reason] = reasons
        assert "cannot be read: it " in reason or "is a link out of the skill's folder" in reason


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_front_matter_is_left_out(tmp_path, name):
    prompt(tmp_path / "skills", "bad", DOCUMENTS[name])
    [failure] = lenient(tmp_path).catalogue.failures
    assert failure.name == "bad"
    assert "Traceback" not in failure.traceback


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"---\ndescription: a \0 b\n---\n", "cannot be read: it is a binary file"),
        (b"---\ndescription: \xff\n---\n", "cannot be read: 'utf-8'"),
        (b'---\ndescription: "\\ud800"\n---\n', "is not YAML"),
        (b"\xff\xfe-\0-\0-\0\n\0", "has no front matter"),
    ],
)
def test_what_is_no_text_is_left_out(tmp_path, content, reason):
    (prompt(tmp_path / "skills", "bad") / "SKILL.md").write_bytes(content)
    [failure] = lenient(tmp_path).catalogue.failures
    assert reason in failure.reason


@pytest.mark.parametrize("content", [b"a \0 b", b"a \xff b"])
def test_body_that_is_no_text_is_refused_on_use(tmp_path, content):
    with (prompt(tmp_path / "skills", "odd") / "SKILL.md").open("ab") as file:
        file.write(content)
    with pytest.raises(UsageError, match="cannot be read"):
        lenient(tmp_path).dispatch("/odd x")


@pytest.mark.parametrize("name", [b"a\xff.md", b"a\x1b[2J.md", b"a\nb.md"])
def test_file_name_that_is_no_text_is_not_listed(tmp_path, name):
    folder, model = prompt(tmp_path / "skills", "odd"), FakeModel("done")
    (folder / "plain.md").write_text("")
    (folder / os.fsdecode(name)).write_text("")
    fake_app(tmp_path, model).dispatch("/odd x")
    assert model.requests[0].messages[0].content.count("<file>") == 1


def test_plugin_folder_whose_name_is_no_text_is_loaded(tmp_path):
    folder = plugin(tmp_path / "skills", "odd", GOOD.format(name="odd"))
    folder.rename(os.fsdecode(os.fsencode(folder) + b"\xff"))
    assert lenient(tmp_path).dispatch("/odd --trust x").result.text == "good: x"


def test_number_of_shown_problems_is_limited(tmp_path):
    prompt(tmp_path / "skills", "odd", "".join(f"{'x' * 500}{n}: y\n" for n in range(100)))
    problems = lenient(tmp_path).catalogue.skills["odd"].problems
    assert len(problems) == skill_md.MAX_PROBLEMS + 1
    assert problems[-1] == "80 more problems"
    assert max(map(len, problems)) < 200


def test_many_bad_folders_are_reported_in_few_lines(tmp_path):
    for n in range(30):
        prompt(tmp_path / "skills", f"bad{n}", DOCUMENTS["laughs"])
    app = lenient(tmp_path)
    *_, last = lines = app.screen.err.getvalue().splitlines()
    assert (len(lines), last) == (11, "20 more plugins left out (/skills)")
    assert app.dispatch("/skills").result.text.count("left out: bad") == 30


def test_search_ends_after_its_number_of_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(locations, "ENTRIES", 30)
    prompt(tmp_path / "skills", "aaa")
    for n in range(40):
        (tmp_path / "skills" / "zzz" / str(n)).mkdir(parents=True)
    app = lenient(tmp_path)
    assert "aaa" in app.catalogue.skills
    [failure] = app.catalogue.failures
    assert failure.origin == str(tmp_path / "skills")
    assert failure.reason == "it was not searched further: it has more than 30 entries"


def test_links_to_a_folder_do_not_repeat_it(tmp_path):
    """Sixty links to the folder itself would make 60 ** 6 folders."""
    root = prompt(tmp_path / "skills", "aaa").parent
    for n in range(60):
        (root / f"b{n}").symlink_to(root)
    search = skill_files(root, 60.0)
    assert [path for path, _ in search.found] == [root / "aaa" / "SKILL.md"]
    assert (search.cut, search.folders) == ("", 2)


def test_many_folders_are_a_notice(tmp_path, monkeypatch):
    monkeypatch.setattr(discovery, "MANY_FOLDERS", 20)
    for n in range(30):
        (tmp_path / "skills" / "src" / str(n)).mkdir(parents=True)
    prompt(tmp_path / "skills", "zzz")
    app = fake_app(tmp_path)  # strict: a failure would raise
    assert "zzz" in app.catalogue.skills
    [remark] = app.catalogue.remarks
    assert remark.startswith(f"{tmp_path / 'skills'} has 33 folders, which slows every start")
    assert remark in app.screen.err.getvalue()


def test_file_system_that_does_not_answer_costs_its_deadline(tmp_path, monkeypatch):
    """As a network mount whose server is gone."""
    for name in ("aaa", "bbb"):
        prompt(tmp_path / "skills", name)
    prompt(tmp_path / ".agents" / "skills", "ccc")
    answers, read = threading.Event(), skill_md.read_bytes

    def hang(path, limit):
        if path.parent.name == "bbb":
            answers.wait(60)
        return read(path, limit)

    monkeypatch.setattr(skill_md, "read_bytes", hang)
    settings = dataclasses.replace(
        fake_settings(tmp_path), strict_plugins=False, folder_deadline=1.0
    )
    try:
        app = App(settings, Frontend("test"), Screen())
    finally:
        answers.set()
    assert {"aaa", "ccc"} <= app.catalogue.skills.keys()
    [failure] = app.catalogue.failures
    assert failure.reason == "it was not searched further after 1 s"


@pytest.mark.parametrize("kind", [kind for kind in NOT_FILES if kind != "folder"])
def test_resource_that_is_no_small_file_is_not_read(tmp_path, kind):
    folder = prompt(tmp_path / "skills", "refers")
    NOT_FILES[kind](folder / "notes.md")
    with (folder / "SKILL.md").open("a") as file:
        file.write("Read [this](notes.md).\n")
    app = fake_app(tmp_path, FakeModel("done"))
    app.dispatch("/refers x")
    assert "/refers: not read: notes.md: " in app.screen.err.getvalue()


@pytest.mark.parametrize("text", ["[", "[](", "[a](b ", "a/b ", "[a](b"])
def test_hostile_body_takes_no_quadratic_time(tmp_path, text):
    started = time.process_time()
    prompt_skill.referred_resources(tmp_path, text * (250_000 // len(text)))
    assert time.process_time() - started < 20  # quadratic time would be an hour


def test_number_of_references_is_limited(tmp_path):
    for n in range(prompt_skill.MAX_READ + 5):
        (tmp_path / f"{n}.md").write_text("x")
    files, refused = prompt_skill.referred_resources(
        tmp_path, "".join(f"[x]({n}.md)\n" for n in range(prompt_skill.MAX_READ + 5))
    )
    assert len(files) == prompt_skill.MAX_READ
    assert refused == ["all references after the first 100"]


@pytest.mark.parametrize("kind", ["sparse", "fifo"])
def test_trusted_folder_that_becomes_huge_is_not_read(tmp_path, kind):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    lenient(tmp_path).dispatch("/theirs --trust x")
    NOT_FILES[kind](folder / "data.bin")
    app = lenient(tmp_path)
    if kind == "sparse":
        assert "theirs" in app.catalogue.untrusted
    else:  # a FIFO has no content that code could use
        assert app.dispatch("/theirs x").result.text == "good: x"


DAMAGES = {"no-json": "{", "shape": "5", "huge": "[" * 5_000_000, "deep": "[" * 100_000}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["trusted", "disabled"])
def test_damaged_choices_are_reported_and_kept(tmp_path, name, damage):
    path = tmp_path / "config" / f"{name}.json"
    path.parent.mkdir()
    path.write_text(DAMAGES[damage])
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    [remark] = app.catalogue.remarks
    assert remark.startswith(f"{path} ")
    assert remark.endswith("; correct or delete it")
    assert remark in app.screen.err.getvalue()
    assert remark in app.dispatch("/skills").result.text
    line = {"trusted": "/theirs --trust x", "disabled": "/skills disable theirs"}[name]
    app.dispatch(line)
    assert path.with_name(f"{name}.json.damaged").read_text() == DAMAGES[damage]
    assert json.loads(path.read_text())
    assert lenient(tmp_path).catalogue.remarks == []


@pytest.mark.parametrize("name", ["\ud800", "\x1b[2J", 5])
def test_disabled_name_that_cannot_be_shown_is_damage(tmp_path, name):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "disabled.json").write_text(json.dumps(["annotate", name]))
    [remark] = lenient(tmp_path).catalogue.remarks
    assert "disabled.json is not a list of names, so no name is disabled; " in remark


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("name", ["trusted", "disabled"])
def test_choices_that_are_no_file_block_nothing(tmp_path, name, kind):
    (tmp_path / "config").mkdir()
    NOT_FILES[kind](tmp_path / "config" / f"{name}.json")
    [remark] = lenient(tmp_path).catalogue.remarks
    assert "cannot be read: " in remark


def test_a_config_folder_that_cannot_be_read_blocks_nothing(tmp_path):
    folder = tmp_path / ("x" * 300)  # even root cannot read this folder
    settings = dataclasses.replace(fake_settings(tmp_path), config_dir=folder)
    app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    names = ["trusted.json", "disabled.json", "skills.lock"]
    for name, remark in zip(names, app.catalogue.remarks, strict=True):
        assert remark.startswith(f"{folder / name} cannot be read: File name too long, so ")


def test_unwritable_choices_are_still_an_error(tmp_path):
    (tmp_path / "config" / "disabled.json").mkdir(parents=True)
    with pytest.raises(OutputError, match="the list of disabled names cannot be stored"):
        lenient(tmp_path).dispatch("/skills disable annotate")
