"""Activation of prompt skills by plain text."""

import io

import pytest
from plugin_folders import GOOD, plugin

from harness import Result, Skill
from harness.agent_skills.prompt_skill import PromptSkill
from harness.agent_skills.skill_file import SkillFile
from harness.chat.active_skills import activatable
from harness.cli import intent
from harness.errors import HarnessError, ModelUnavailable
from harness.plugins.catalogue import Found
from harness.runs.frontend import Frontend
from harness.testing import FakeModel, fake_app, temporary_registry

NOTES = (
    "Writes release notes from a list of commits, and drafts changelogs. Use when the user wants "
    "release notes, a changelog, or a summary of commits."
)
FORMS = (
    "Extracts text and tables from PDF files, fills forms, merges documents. Use when working with "
    "PDF files or when the user mentions PDFs, forms, or document extraction."
)
TRANSLATE = (
    "Translates abstracts of research papers to plain German. Use when somebody asks for German."
)
POEM = "Answers in a poem. Use when the user asks for a poem about a thing, or is, what, how, not."


def file(name, description, **fields):
    return SkillFile(f"{name}/SKILL.md", name, description, fields)


def use(skill, call):
    return Result(call.text)


def notices(app):
    """Return the lines on stderr, without that of the model that answers."""
    lines = app.screen.err.getvalue().splitlines()
    others = ("model: ", "producer (fake producer) cannot call")
    return [line for line in lines if not line.startswith(others)]


SKILLS = {
    name: Found(PromptSkill(file(name, description), use), "test")
    for name, description in {
        "release-notes": NOTES,
        "pdf-processing": FORMS,
        "plain-german": TRANSLATE,
        "poem": POEM,
    }.items()
}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Write release notes for these commits: fix a; fix b", "release-notes"),
        ("write the release notes from these commits\nfix a\nadd b", "release-notes"),
        ("Please write release notes for the following commits: a", "release-notes"),
        ("Could you please write release notes for these commits?", "release-notes"),
        ("write release notes", "release-notes"),
        ("Draft a changelog of these commits: a", "release-notes"),
        ("Extract the tables from the PDF report.pdf", "pdf-processing"),
        ("extract text from these PDF files: a.pdf, b.pdf", "pdf-processing"),
        ("Fill the PDF forms in ./forms/a.pdf save to x.md", "pdf-processing"),
        ("Translate this abstract to plain German: We present ...", "plain-german"),
        ("Translate the abstracts to German: We present ...", "plain-german"),
    ],
)
def test_matching_requests_activate_the_skill(line, name):
    assert intent.described(SKILLS, line) == [name]


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "Write a poem about release notes",
        "write notes",
        "Write release notes for version two of the parser: fix a",
        "Don't write release notes for these commits",
        "Write commits without release notes",
        "What are release notes of commits?",
        "How do I write release notes for commits?",
        "Why write release notes for commits",
        "write release notes for these commits?",
        "Is a changelog a list of commits?",
        "When the user wants release notes, write a changelog of commits",
        "Writing release notes for commits",
        "release notes, changelog, commits",
        "Commits, release notes and changelogs",
        "The release notes list the commits",
        "I wrote release notes from a list of commits",
        "Summarize the release notes of these commits",
        "Extract the claims from this abstract: We present PDF files",
        "Extract text tables forms and also names from PDF files",
        "Translate release notes to German",
        "Translate this abstract to French: We present",
        "translate plain text",
        "Explain text, tables and forms of PDF files",
        "Fill a form",
        "Merge release notes and PDF files",
        "https://example.org/write-release-notes-commits",
        "/usr/bin/write release notes commits",
        "Thanks, the release notes of the commits are fine",
        "Is, what, how, not, poem, thing",
        "Answers poem thing",
        "?",
        ":",
        "不要 write release notes of commits",
        "write release notes für commits",
        "write " + "release notes commits " * 20,
        "We present DryRun, a planning layer. It writes release notes from a list of commits.",
    ],
)
def test_other_requests_are_chat(line):
    assert intent.described(SKILLS, line) == []


@pytest.mark.parametrize("value", ["true", "True", "yes", "on"])
def test_a_skill_can_disable_activation(value):
    skill = PromptSkill(file("release-notes", NOTES, **{"disable-model-invocation": value}), use)
    line = "Write release notes for these commits: a"
    assert intent.described({"release-notes": Found(skill, "test")}, line) == []


def prompt_skill(folder, name, description):
    folder = folder / ".agents" / "skills" / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {description}\n---\nWork.\n")


LINE = "Write release notes for these commits: fix a"


def test_activation_is_reported_and_keeps_the_line(tmp_path):
    prompt_skill(tmp_path, "release-notes", NOTES)
    model = FakeModel("notes")
    app = fake_app(tmp_path, model)
    assert app.dispatch(LINE).result.text == "notes"
    assert notices(app) == ["-> /release-notes (auto)"]
    system, user = model.requests[0].messages
    assert '<skill_content name="release-notes">' in system.content
    assert user.content == f"/release-notes {LINE}"
    [run] = app.run_log.recent(1)
    assert run["skill"] == "release-notes"


@pytest.fixture
def registry(request):
    """Return a registry whose producer has this context."""
    serve = [{"backend": "fake", "model": "producer", "context": request.param}]
    with temporary_registry({"producer": {"tasks": ["chat"], "serve": serve}}) as registry:
        yield registry


@pytest.mark.parametrize("registry", [32_768], indirect=True)
def test_a_model_with_tools_decides_itself(tmp_path, registry):
    """It has a tool to activate the skill; triggers of plugins still take precedence."""
    prompt_skill(tmp_path, "release-notes", NOTES)
    prompt_skill(tmp_path, "other-notes", NOTES)
    model = FakeModel("chat", takes_tools=True)
    app = fake_app(tmp_path, model, registry=registry)
    assert app.dispatch(LINE).result.text == "chat"
    assert notices(app) == []
    [request] = model.requests
    assert request.messages[-1].content == LINE
    assert activatable(request.tools) == {"release-notes", "other-notes"}
    folder = plugin(tmp_path / "config" / "skills", "good", GOOD.format(name="good"))
    code = folder / "plugin.py"
    triggers = "    triggers = (r'write release notes\\b',)\n    text ="
    code.write_text(code.read_text().replace("    text =", triggers))
    app.dispatch("/reload")
    assert app.dispatch(LINE).result.text == f"good: {LINE}"
    assert notices(app) == ["-> /good (auto)"]


@pytest.mark.parametrize("registry", [256], indirect=True)
def test_a_skill_that_the_model_has_no_room_for_is_activated(tmp_path, registry):
    prompt_skill(tmp_path, "release-notes", NOTES)
    app = fake_app(tmp_path, FakeModel("notes", takes_tools=True), registry=registry)
    assert app.dispatch(LINE).result.text == "notes"
    assert notices(app) == ["-> /release-notes (auto)"]


@pytest.mark.parametrize("general", [{}, {"model": "nosuch"}])
def test_activation_without_a_model_reports_the_error(tmp_path, general):
    prompt_skill(tmp_path, "release-notes", NOTES)
    app = fake_app(tmp_path, FakeModel(), unavailable="it is not there")
    app.general |= general
    with pytest.raises(HarnessError, match=r"it is not there|nosuch"):
        app.dispatch(LINE)
    assert "-> /release-notes (auto)" in app.screen.err.getvalue()


def test_two_matching_skills_are_listed_and_not_run(tmp_path):
    prompt_skill(tmp_path, "release-notes", NOTES)
    prompt_skill(tmp_path, "other-notes", NOTES)
    model = FakeModel("chat")
    app = fake_app(tmp_path, model)
    app.dispatch(LINE)
    assert model.requests[0].messages[-1].content == LINE
    assert app.screen.err.getvalue().startswith(
        "/other-notes and /release-notes would fit: name one of them to use it\n"
    )


def test_a_disabled_skill_is_not_activated(tmp_path):
    prompt_skill(tmp_path, "release-notes", NOTES)
    model = FakeModel("chat")
    app = fake_app(tmp_path, model)
    app.dispatch("/skills disable release-notes")
    app.dispatch(LINE)
    assert model.requests[0].messages[-1].content == LINE
    assert "(auto)" not in app.screen.err.getvalue()


def test_a_plugin_is_never_activated_by_its_description(tmp_path):
    folder = tmp_path / "config" / "skills" / "release-notes"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: release-notes\ndescription: {NOTES}\n---\n")
    (folder / "plugin.py").write_text(
        "from harness import Result, Skill, hookimpl\n"
        "class Notes(Skill):\n    name = 'release-notes'\n"
        f"    summary = {NOTES!r}\n"
        "    def run(self, call):\n        return Result('ran')\n"
        "@hookimpl\ndef register_skills(register):\n    register(Notes())\n"
    )
    app = fake_app(tmp_path, FakeModel("chat"))
    assert app.dispatch(LINE).result.text == "chat"
    assert app.dispatch("/release-notes x").result.text == "ran"


def test_questions_do_not_activate_shipped_skills(tmp_path):
    app = fake_app(tmp_path, FakeModel("chat"))
    for line in (
        "annotate research papers",
        "Compare models as annotators of research papers",
        "Search the papers that have been annotated",
        "Fine-tune a small model that annotates papers",
    ):
        assert app.dispatch(line).result.text == "chat"


def test_a_long_line_is_matched_quickly():
    assert intent.described(SKILLS, "x" * 1_000_000) == []
    assert intent.described(SKILLS, "/" * 1_000_000) == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("annotate papers.csv please", "/annotate papers.csv"),
        ("annotate papers.csv save to out.csv", "/annotate papers.csv save to out.csv"),
        ("what does papers.csv say?", "/annotate papers.csv"),
        ("read papers.csv and save to out.csv", "/annotate papers.csv save to out.csv"),
        ('please read "my papers.csv".', '/annotate "my papers.csv"'),
        ("is 2405.12345 any good?", "/annotate 2405.12345"),
        ("what does missing.csv say?", ""),
        ("curate papers.csv", "/curate papers.csv"),
        ('curate "my papers.csv" please', '/curate "my papers.csv"'),
        ("which papers are about memory?", "/corpus search memory"),
        ("show me papers about memory", "/corpus search memory"),
        ("find papers about memory.", "/corpus search memory"),
        ("which papers mention memory", "/corpus search memory"),
        ("what is the evidence for sleep loss?", "/corpus search sleep loss"),
        ("how many papers are there?", "/corpus stats"),
        ("what is life?", ""),
        ("help me understand my papers", ""),
        ("add these papers to my library", ""),
        ("train my dog to sit", ""),
        ("exit now please", ""),
        ("annotate this", ""),
        ("word " * 40, "/annotate " + "word " * 39 + "word"),
    ],
)
def test_a_wish_that_a_command_serves(tmp_path, monkeypatch, line, offered):
    monkeypatch.chdir(tmp_path)
    for name in ("papers.csv", "my papers.csv"):
        (tmp_path / name).write_text("id,abstract\n1,We sort.\n")
    assert intent.offer(fake_app(tmp_path, None), line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("annotate this", "/annotate -"),
        ("what is the claim?", "/annotate -"),
        ("is 2405.12345 like this?", "/annotate 2405.12345"),
        ("which papers are about memory?", "/corpus search memory"),
    ],
)
def test_piped_text_is_offered_to_be_annotated(tmp_path, line, offered):
    app = fake_app(tmp_path, None)
    app.frontend = Frontend("test", stdin=io.BytesIO(b"We sort."))
    assert intent.offer(app, line) == offered


class Echo(Skill):
    name = "echo"
    summary = "Return the text"

    def run(self, call):
        return Result(call.text)

    def offer(self, wish):
        return "what you said" if "say it" in wish else ""


def test_a_line_is_offered_where_no_model_can_chat(tmp_path):
    app = fake_app(tmp_path, FakeModel(), Echo(), unavailable="it is not there")
    with pytest.raises(ModelUnavailable, match=r"it is not there.*: .* '/echo what you said'"):
        app.dispatch("now say it")
    asked = []
    app.frontend = Frontend("test", confirm=lambda question: not asked.append(question))
    assert app.dispatch("now say it").result.text == "what you said"
    assert "Run /echo what you said instead?" in asked[0]
    with pytest.raises(ModelUnavailable):
        app.dispatch("something else")
    app.frontend = Frontend("test", confirm=lambda question: False)
    for line in ("now say it", "/chat now say it"):
        with pytest.raises(ModelUnavailable):
            app.dispatch(line)
