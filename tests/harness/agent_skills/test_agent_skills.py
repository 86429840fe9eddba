"""Reading tests/data/agent_skills/: the Agent Skills specification and its edge cases."""

import dataclasses
import io
import re
import shutil
from pathlib import Path

import pytest
from plugin_folders import GOOD, entry_point, lenient, plugin
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from repository import TEST_DATA

from harness import InputError, InvalidReply, LoopingReply, Reply, UsageError
from harness.agent_skills import skill_md
from harness.agent_skills.prompt_skill import PromptSkill
from harness.cli.app import App
from harness.cli.interactive_session import Repl
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, fake_settings

FOLDERS = TEST_DATA / "agent_skills"
LOADED, NOTED, REFUSED = "loaded", "noted", "refused"
NO_NAME = "is not lower-case letters, digits and single hyphens"
NO_SLUG = f"{NO_NAME}, nor is the folder's"
DOUBLE = "/double-hyphen"
TABLE = [
    # folder, outcome of lenient reading, its reason; the reason in strict reading, if another
    ("minimal", LOADED, ""),
    ("complete", LOADED, ""),
    ("hyphens-inside", LOADED, ""),
    ("block-text", LOADED, ""),
    ("windows-lines", LOADED, ""),
    ("byte-order-mark", LOADED, ""),
    ("umlaute", LOADED, ""),
    ("n" * 64, LOADED, ""),
    ("latin-1-body", LOADED, ""),
    ("links-within", LOADED, ""),
    ("reaches-out", LOADED, ""),
    ("group/nested", LOADED, ""),
    ("n" * 65, NOTED, "the name has 65 characters, 64 are allowed"),
    ("other-name", NOTED, "the name 'another-name' is not the folder's, 'other-name'"),
    ("no-name", NOTED, "no name; the folder's is used"),
    ("name-in-capitals", NOTED, f"the name 'Name In Capitals' {NO_NAME}; the folder's is used"),
    ("name-of-digits", NOTED, "the name '12' is not the folder's, 'name-of-digits'"),
    ("unknown-fields", NOTED, "unknown field 'model'"),
    ("long-description", NOTED, "the description has 1499 characters, 1024 are allowed"),
    ("escape-codes", NOTED, "the description has unprintable characters"),
    ("colon-in-text", NOTED, "description contains ': ' and is not quoted", "is not YAML"),
    ("list-of-tools", NOTED, "allowed-tools is a list, not text"),
    ("nested-metadata", NOTED, "metadata has values that are not text"),
    ("text-metadata", NOTED, "metadata is not a mapping"),
    ("long-compatibility", NOTED, "the compatibility has 501 characters, 500 are allowed"),
    ("key-twice", NOTED, "duplicate key 'description'; the last one is used"),
    ("empty-body", NOTED, "there are no instructions below the front matter"),
    ("small-letters", NOTED, "the file is called skill.md, not SKILL.md"),
    ("Bad_Folder", NOTED, f"the name 'Bad_Folder' {NO_SLUG}; it is called /bad-folder here"),
    ("double--hyphen", NOTED, f"the name 'double--hyphen' {NO_SLUG}; it is called {DOUBLE} here"),
    ("no-description", REFUSED, "SKILL.md: has no description"),
    ("blank-description", REFUSED, "SKILL.md:3: has no description"),
    ("list-description", REFUSED, "SKILL.md:3: its description is a list, not text"),
    ("no-front-matter", REFUSED, "has no front matter between two lines of ---"),
    ("open-front-matter", REFUSED, "has no front matter between two lines of ---"),
    ("empty-file", REFUSED, "has no front matter between two lines of ---"),
    ("no-yaml", REFUSED, "SKILL.md:3: front matter is not YAML: did not find expected ',' or ']'"),
    ("no-mapping", REFUSED, "front matter is not a mapping"),
    ("itself", REFUSED, "SKILL.md:5: front matter contains itself"),
    ("latin-1", REFUSED, "cannot be read: 'utf-8' codec can't decode byte 0xe4"),
    ("linked-out", REFUSED, "is a link out of the skill's folder", "is not the folder's"),
]
NAMES = {
    "other-name": "another-name",
    "name-of-digits": "12",
    "group/nested": "nested",
    "Bad_Folder": "bad-folder",
    "double--hyphen": "double-hyphen",
}


PLACES = ("skills", ".agents/skills", "config/skills")


def placed(folder, root):
    """Copy the folder and its neighbours to `root`."""
    for name in {folder, "minimal", "complete"} - {""}:
        target = root / name
        if not target.exists():
            shutil.copytree(FOLDERS / name, target, symlinks=True)
    return root / folder


def skill_of(folder):
    return NAMES.get(folder, Path(folder).name)


@pytest.mark.parametrize(("folder", "outcome", "reason"), [row[:3] for row in TABLE])
def test_user_files_are_read_leniently(tmp_path, folder, outcome, reason):
    placed(folder, tmp_path / ".agents" / "skills")
    app = lenient(tmp_path)
    shown = app.dispatch("/skills").result
    failures = [f["reason"] for f in shown.data["failures"]]
    if outcome == REFUSED:
        [said] = failures
        assert reason in said
        assert f"left out: {Path(folder).name} (" in shown.text
        assert "Traceback" not in shown.text
        assert skill_of(folder) not in app.catalogue.skills
        return
    assert failures == []
    name = skill_of(folder)
    problems = {s["name"]: s["problems"] for s in shown.data["skills"]}[name]
    if outcome == LOADED:
        assert problems == []
    else:
        assert reason in problems
        assert f"/{name}: {reason}" in shown.text
    assert app.catalogue.skills[name].skill.summary.isprintable()
    assert f"/{name}" in app.dispatch("/help").result.text
    assert app.dispatch(f"/help {name}").result.text.startswith(f"Usage: /{name} ")


@pytest.mark.parametrize(("folder", "outcome", "reason"), [(r[0], r[1], r[-1]) for r in TABLE])
def test_shipped_files_are_read_strictly(tmp_path, folder, outcome, reason):
    [path] = [p for p in placed(folder, tmp_path).iterdir() if p.name.upper() == "SKILL.MD"]
    if outcome == LOADED:
        assert skill_md.read(path, strict=True).problems == ()
        return
    with pytest.raises(UsageError, match=re.escape(reason)):
        skill_md.read(path, strict=True)


def test_every_folder_is_in_the_table():
    there = {
        p.parent.relative_to(FOLDERS).as_posix()
        for p in FOLDERS.rglob("[Ss]*.[Mm][Dd]")
        if p.name.upper() == "SKILL.MD"
    }
    assert there == {row[0] for row in TABLE}


@pytest.mark.parametrize("place", PLACES)
def test_fields_of_other_clients_are_accepted(tmp_path, place):
    placed("unknown-fields", tmp_path / place)
    app = lenient(tmp_path)
    assert app.screen.err.getvalue() == ""
    assert "/unknown-fields: unknown field 'model'" in app.dispatch("/skills").result.text


def test_every_shipped_skill_has_a_file(tmp_path):
    """A shipped plugin without a SKILL.md is loaded, for plugins without skills."""
    catalogue = lenient(tmp_path).catalogue
    shipped = catalogue.skills.keys() - catalogue.framework
    assert {"annotate", "corpus", "curate", "finetune"} <= shipped
    assert [name for name in shipped if catalogue.skills[name].file is None] == []


def test_shipped_skill_with_a_fault_is_left_out(tmp_path):
    shipped = tmp_path / "shipped"
    shutil.copytree(CODE_ROOT / "skills" / "corpus", shipped / "corpus")
    file = shipped / "corpus" / "SKILL.md"
    file.write_text(file.read_text().replace("license:", "licence:"))
    settings = dataclasses.replace(
        fake_settings(tmp_path), strict_plugins=False, shipped_skills=shipped
    )
    app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    [failure] = app.catalogue.failures
    assert "unknown field 'licence'" in failure.reason
    assert "corpus" not in app.catalogue.skills


def test_skill_md_of_a_package_is_read_leniently(tmp_path, monkeypatch):
    site = tmp_path / "site"
    noted = "---\nname: counted\ndescription: Counts. Use when told.\nhooks: x\n---\n"
    entry_point(site, "counted", GOOD.format(name="counted"), noted)
    entry_point(site, "unread", GOOD.format(name="unread"), "no front matter")
    monkeypatch.syspath_prepend(site)
    app = fake_app(tmp_path / "home")
    found = app.catalogue.skills
    assert found["counted"].problems == ("unknown field 'hooks'",)
    assert found["counted"].file.description == "Counts. Use when told."
    assert "no front matter" in found["unread"].problems[0]
    assert "/counted: unknown field 'hooks'" in app.dispatch("/skills").result.text


def test_all_six_fields_are_shown(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    skills = fake_app(tmp_path).dispatch("/skills").result.data["skills"]
    [complete] = [s for s in skills if s["name"] == "complete"]
    assert complete["front_matter"] == {
        "name": "complete",
        "description": "Counts the words of a text. Use when somebody asks how long it is.",
        "license": "Apache-2.0",
        "compatibility": "Needs a producer model with 4,096 tokens of context.",
        "metadata": {"author": "somebody", "version": "1.0"},
        "allowed-tools": "Read Bash(git:*)",
    }


def used(tmp_path, folder, model=None):
    """Return the system message of one use of the skill, and the notices on stderr."""
    model = model or FakeModel("done")
    app = fake_app(tmp_path, model)
    app.dispatch(f"/{skill_of(folder)} my text")
    notices = app.screen.err.getvalue().splitlines(keepends=True)
    others = ("model: ", "producer (fake producer) cannot call skills")
    said = "".join(line for line in notices if not line.startswith(others))
    return model.requests[-1].messages[0].content, said


def test_body_keeps_its_lines_of_hyphens(tmp_path):
    placed("hyphens-inside", tmp_path / ".agents" / "skills")
    told, _ = used(tmp_path, "hyphens-inside")
    assert "Split it.\n\n---\n\nThis is still the body." in told
    assert "description" not in told


def test_files_are_read_if_referred_to_else_listed(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    told, said = used(tmp_path, "complete")
    assert '<skill_file path="references/rules.md">\nHyphenated words are one word.\n' in told
    assert '<skill_file path="scripts/count.py">\nimport sys\n' in told
    assert "<file>assets/words.bin</file>" in told
    assert "<file>references/rules.md</file>" not in told
    assert said == ""


def test_link_within_the_folder_is_followed(tmp_path):
    placed("links-within", tmp_path / ".agents" / "skills")
    assert "It is real." in used(tmp_path, "links-within")[0]


def test_files_outside_of_the_folder_are_refused(tmp_path):
    placed("reaches-out", tmp_path / ".agents" / "skills")
    told, said = used(tmp_path, "reaches-out")
    assert "<skill_file" not in told
    assert "Hyphenated" not in told
    assert "root:" not in told
    assert "<file>references/outside.md</file>" not in told
    assert said.splitlines() == [
        f"/reaches-out: not read: {name}"
        for name in (
            "../minimal/SKILL.md: is outside of the skill's folder",
            "../complete/references/rules.md: is outside of the skill's folder",
            "/etc/passwd: is outside of the skill's folder",
            "~/.profile: is outside of the skill's folder",
            "references/outside.md: is a link out of the skill's folder",
            "references/missing.md: does not exist",
            "assets/binary.dat: is not UTF-8 text",
        )
    ]


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (65 * 1024, "cannot be read: it has more than 64 KB"),
        (40 * 1024, "no room in the model's context"),
    ],
)
def test_too_long_file_is_left_out_with_a_notice(tmp_path, size, reason):
    folder = placed("complete", tmp_path / ".agents" / "skills")
    (folder / "references" / "rules.md").write_text("x" * size)
    told, said = used(tmp_path, "complete")
    assert "xxx" not in told
    assert f"/complete: not read: references/rules.md: {reason}" in said


def test_too_long_text_is_refused_before_sending(tmp_path):
    placed("minimal", tmp_path / ".agents" / "skills")
    model = FakeModel("done", context=2000)
    app = fake_app(tmp_path, model)
    with pytest.raises(InputError, match="leaves no room for an answer of 1024"):
        app.dispatch(f"/minimal {'word ' * 1000}")
    assert not model.requests


def test_files_leave_room_for_the_instructions(tmp_path, monkeypatch):
    """Otherwise the request would be refused if tokens are estimated."""
    monkeypatch.setattr(FakeModel, "count_tokens", lambda *_: None)
    folder = placed("complete", tmp_path / ".agents" / "skills")
    model = FakeModel(Reply("done", "stop", 1, 1, 0.0), context=4096)
    app = fake_app(tmp_path, model)
    told = []
    for size in range(4900, 5900, 100):
        (folder / "references" / "rules.md").write_text("x" * size)
        app.dispatch("/complete a")
        told.append("xxx" in model.requests[-1].messages[0].content)
    assert told == sorted(told, reverse=True)
    assert told[0] is not told[-1]


@pytest.mark.parametrize("name", ["x" * 5000, "a\x1b[2J.md", ".", "references"])
def test_odd_names_are_refused(tmp_path, name):
    folder = placed("complete", tmp_path / ".agents" / "skills")
    with (folder / "SKILL.md").open("a") as file:
        file.write(f"Read [this]({name}).\n")
    told, said = used(tmp_path, "complete")
    assert told.count("<skill_file ") == 2
    assert said.startswith("/complete: not read: ")
    assert said.rstrip("\n").isprintable()


def test_linked_folder_is_a_skill_folder(tmp_path):
    placed("complete", tmp_path / "elsewhere")
    (tmp_path / ".agents" / "skills").mkdir(parents=True)
    (tmp_path / ".agents" / "skills" / "complete").symlink_to(tmp_path / "elsewhere" / "complete")
    assert "Hyphenated" in used(tmp_path, "complete")[0]


def test_changed_body_needs_no_reload(tmp_path):
    folder = placed("minimal", tmp_path / ".agents" / "skills")
    model = FakeModel("done")
    app = fake_app(tmp_path, model)
    app.dispatch("/minimal a")
    text = (folder / "SKILL.md").read_text()
    (folder / "SKILL.md").write_text(text.replace("Count the words.", "Count the letters."))
    app.dispatch("/minimal a")
    first, second = (request.messages[0].content for request in model.requests)
    assert "Count the words." in first
    assert "Count the letters." in second


def test_huge_body_is_refused_at_start_and_on_use(tmp_path):
    folder = placed("minimal", tmp_path / ".agents" / "skills")
    app = lenient(tmp_path)
    with (folder / "SKILL.md").open("a") as file:
        file.write("word " * 60_000)
    with pytest.raises(UsageError, match="it has more than 256 KB"):
        app.dispatch("/minimal x")
    [failure] = lenient(tmp_path).catalogue.failures
    assert failure.reason.endswith("SKILL.md: cannot be read: it has more than 256 KB")


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("latin-1-body", "cannot be read: 'utf-8'"),
        ("empty-body", "/empty-body has no instructions"),
    ],
)
def test_unusable_body_is_refused_on_use(tmp_path, folder, reason):
    placed(folder, tmp_path / ".agents" / "skills")
    model = FakeModel("done")
    app = fake_app(tmp_path, model)
    with pytest.raises(UsageError, match=reason):
        app.dispatch(f"/{folder} x")
    assert model.requests == []


def test_empty_answer_is_a_failure(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    result = fake_app(tmp_path, FakeModel(" \n")).dispatch("/complete two words").result
    assert isinstance(result.stopped, InvalidReply)
    assert result.code == 1


def test_looping_answer_is_a_failure_and_not_saved(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    app = fake_app(tmp_path, FakeModel("Two words again. " * 300))
    with pytest.raises(LoopingReply, match="repeats itself"):
        app.dispatch(f"/complete two words save to {tmp_path / 'answer.md'}")
    assert not (tmp_path / "answer.md").exists()
    assert app.run_log.recent(1)[0]["status"] == "failed"


def test_cut_off_answer_is_reported(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    app = fake_app(tmp_path, FakeModel(Reply("Two wo", "length", 3, 1024, 0.1)))
    assert app.dispatch("/complete two words").result.text == "Two wo"
    assert "cut off at the limit of 1,024 tokens" in app.screen.err.getvalue()


def test_prompt_skill_in_a_session(tmp_path):
    placed("complete", tmp_path / ".agents" / "skills")
    app = fake_app(tmp_path, FakeModel("Two words."))
    with create_pipe_input() as keys:
        keys.send_text("/complete two words\r\x04")
        Repl(app, keys, DummyOutput()).run()
    assert app.screen.out.getvalue() == "Two words.\n"
    assert isinstance(app.catalogue.skills["complete"].skill, PromptSkill)


def test_depth_of_the_search_is_limited(tmp_path):
    root = tmp_path / ".agents" / "skills"
    deep = root / "a" / "b" / "c" / "d" / "e"
    placed("minimal", deep)
    shutil.copytree(FOLDERS / "group" / "nested", deep / "f" / "nested")
    plugin(root / "node_modules", "packed", GOOD.format(name="packed"))
    plugin(root / ".hidden", "hidden", GOOD.format(name="hidden"))
    (root / "loop").symlink_to(root)
    app = lenient(tmp_path)
    assert "minimal" in app.catalogue.skills
    assert "nested" not in app.catalogue.skills
    assert app.catalogue.shadowed == []  # the link leads to a folder that was searched already
    assert not {"packed", "hidden"} & app.catalogue.untrusted.keys()
