"""/skills test NAME: the trigger cases of a skill, against a model with and without tools."""

import json

import pytest
from agent_workspace import AgentWorkspace
from protocol_server import ProtocolServer

from harness import InputError, UsageError
from harness.testing import FakeModel, calling, fake_app, tool_call

CASES = [
    {"query": "Write release notes for v2", "should_trigger": True},
    {"query": "What is a release?", "should_trigger": False},
    {"query": "Write release notes from commits", "should_trigger": True},
]


def skill(root, cases, front_matter=""):
    folder = root / "skills" / "notes"
    (folder / "evals").mkdir(parents=True)
    about = "Writes release notes from commits."
    text = f"---\nname: notes\ndescription: {about}\n{front_matter}---\nDo it.\n"
    (folder / "SKILL.md").write_text(text)
    content = cases if isinstance(cases, str) else json.dumps(cases)
    (folder / "evals" / "evals.json").write_text(content)
    return folder


def activates(*words):
    """A model with tools that activates the skill for requests with one of the words."""

    def reply(request):
        query = request.conversation[-1].content
        if any(word in query for word in words):
            return calling(tool_call("activate_skill", skill="notes", text=query))
        return "No skill."

    return FakeModel(reply, takes_tools=True, context=8192)


def test_all_hits_exit_with_0(tmp_path):
    skill(tmp_path, CASES)
    model = activates("notes")
    result = fake_app(tmp_path, model).dispatch("/skills test notes").result
    assert result.code == 0
    assert (result.data["hits"], result.data["misses"]) == (3, 0)
    assert "hit  /notes      /notes     Write release notes for v2" in result.text
    assert "hit  not /notes  no skill   What is a release?" in result.text
    assert result.text.endswith("\n\n3 of 3 as expected, decided with producer (fake producer)")
    assert [request.conversation[-1].content for request in model.requests] == [
        case["query"] for case in CASES
    ]
    assert all(request.tools for request in model.requests)


def test_misses_of_both_kinds_exit_with_1(tmp_path):
    skill(tmp_path, CASES)
    result = fake_app(tmp_path, activates("What", "commits")).dispatch("/skills test notes").result
    assert result.code == 1
    assert [case["hit"] for case in result.data["cases"]] == [False, False, True]
    assert "MISS  /notes      no skill   Write release notes for v2" in result.text
    assert "MISS  not /notes  /notes     What is a release?" in result.text


def test_model_without_tools_is_replaced_by_the_descriptions(tmp_path):
    skill(tmp_path, CASES)
    model = FakeModel("never asked")
    app = fake_app(tmp_path, model)
    result = app.dispatch("/skills test notes").result
    assert [case["activated"] for case in result.data["cases"]] == [[], [], ["notes"]]
    assert model.requests == []
    assert "the model cannot call tools" in app.screen.err.getvalue()


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_over_a_socket(tmp_path, protocol, monkeypatch):
    monkeypatch.chdir(tmp_path)
    skill(tmp_path, CASES)
    with ProtocolServer(names=("smollm2",)) as server:
        server.model = activates("notes")
        agent = AgentWorkspace(tmp_path, server, protocol, 16384)
        agent.use_frontend()
        assert agent.run("/skills test notes") == 0
        assert len(agent.chats) == len(CASES)
        server.model = activates("release")
        assert agent.run("/skills test notes") == 1
    assert f"2 of 3 as expected, decided with producer ({protocol} smollm2)" in agent.out


@pytest.mark.parametrize("reply", ["", "[1]", '"x"', "{", '{"skill": ["notes"]}'])
def test_arguments_that_are_no_object_activate_nothing(tmp_path, reply):
    skill(tmp_path, [{"query": "Write it"}])
    call = tool_call("activate_skill")
    call = type(call)(call.name, reply)
    app = fake_app(tmp_path, FakeModel(calling(call), takes_tools=True, context=8192))
    assert app.dispatch("/skills test notes").result.data["misses"] == 1


def test_file_of_the_evaluation_guide_is_read(tmp_path):
    """Its cases have a prompt and an expected output; each is about the skill."""
    case = {"id": 1, "prompt": "Write release notes", "expected_output": "notes", "files": []}
    skill(tmp_path, {"skill_name": "notes", "evals": [case]})
    app = fake_app(tmp_path, activates("notes"))
    [tested] = app.dispatch("/skills test notes").result.data["cases"]
    assert (tested["query"], tested["should_trigger"]) == ("Write release notes", True)
    assert tested["hit"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", r"evals\.json:1: it is not JSON"),
        ("[\n{]", r"evals\.json:2: it is not JSON"),
        ("[" * 100_000, "is not usable JSON"),
        ("[]", "there are no cases"),
        ("{}", "list"),
        ('{"evals": 1}', "list"),
        ('[{"query": "a"}, {}]', r"evals\.json, case 2: .*required"),
        ('[{"query": ""}]', "case 1: .*at least 1 character"),
        ('[{"query": "a", "should_trigger": "maybe"}]', "case 1: should_trigger: .*boolean"),
        ("[1]", "case 1: "),
    ],
)
def test_invalid_cases_are_refused_with_their_place(tmp_path, content, reason):
    skill(tmp_path, content)
    model = activates("x")
    with pytest.raises(InputError, match=reason):
        fake_app(tmp_path, model).dispatch("/skills test notes")
    assert model.requests == []


def test_skills_without_cases_are_refused(tmp_path):
    folder = skill(tmp_path, CASES)
    app = fake_app(tmp_path, activates("x"))
    for line, reason in (
        ("/skills test", "needs a name"),
        ("/skills test none", "there is no skill /none"),
        ("/skills test help", "/help has no folder with evals/evals.json"),
    ):
        with pytest.raises(UsageError, match=reason):
            app.dispatch(line)
    (folder / "evals" / "evals.json").rename(tmp_path / "cases.json")
    with pytest.raises(InputError, match="there is no file with cases"):
        app.dispatch("/skills test notes")
    (folder / "evals" / "evals.json").symlink_to(tmp_path / "cases.json")
    with pytest.raises(InputError, match="there is no file with cases"):
        app.dispatch("/skills test notes")


def test_skill_that_models_may_not_use_has_no_test(tmp_path):
    skill(tmp_path, CASES, "disable-model-invocation: true\n")
    with pytest.raises(UsageError, match="/notes is for users only"):
        fake_app(tmp_path, activates("x")).dispatch("/skills test notes")
