"""The producer model calls skills: over a socket, in both protocols, through both frontends."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_desk import AgentDesk, Producer, consistent
from curate_desk import PANEL, read_table
from protocol_server import ProtocolServer

from harness import Call, Result, Skill
from harness.api.skill import SkillOptions
from harness.cli.repl import Repl
from harness.errors import Interrupted
from harness.models.backends.base import Reply, Request, ToolCall
from harness.plugins.catalogue import Found
from harness.testing import calling, tool_call
from skills.curate.panel import panel

ASK = "annotate papers.csv, keep the good ones and tell me how many lack a limitation"
ANNOTATE = tool_call("annotate", text="papers.csv", save_to="annotated.jsonl")
CURATE = tool_call("curate", text="annotated.jsonl", probes=1, save_to="good.csv")
COUNT = tool_call("corpus", subcommand="filter", text="limitation=unstated")
LINES = [
    "/annotate papers.csv save to annotated.jsonl",
    "/curate annotated.jsonl --probes 1 save to good.csv",
    "/corpus filter limitation=unstated",
]
STATS = tool_call("corpus", subcommand="stats")

Make = Callable[..., AgentDesk]


def found(request: Request) -> str:
    """An answer made of the last result."""
    return f"{json.loads(request.messages[-1].content)['result']['found']} of 4 lack a limitation."


@pytest.fixture(params=["ollama", "openai"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    with ProtocolServer(names=("smollm2",)) as server:

        def made(*script: Any, context: int = 16384) -> AgentDesk:
            server.model = Producer(*script)
            desk = AgentDesk(tmp_path, server, protocol, context)
            desk.enter()
            return desk

        yield made


def producer(desk: AgentDesk) -> Producer:
    assert isinstance(desk.server.model, Producer)
    return desk.server.model


def shown(desk: AgentDesk) -> list[str]:
    return [line[3:] for line in desk.said.splitlines() if line.startswith("-> ")]


class Free(Skill):
    """Changes nothing, and does what the test says."""

    name = "free"
    summary = "do it"
    text = "optional"

    class Options(SkillOptions):
        times: int = 1

    def __init__(self, does: Callable[[Call], Result]) -> None:
        self._does = does

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        return self._does(call)


class Unsure(Free):
    """Has the test say what it changes."""

    name = "unsure"

    def __init__(self, says: Callable[[], Any]) -> None:
        super().__init__(lambda call: Result("done"))
        self._says = says

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return self._says()  # type: ignore[no-any-return]  # a stranger's may be anything


class Silent(Skill):
    """Does not say what it changes."""

    name = "silent"
    summary = "who knows"

    def run(self, call: Call) -> Result:
        return Result("done")


def add(desk: AgentDesk, skill: Skill) -> None:
    desk.app.catalogue.skills[skill.name] = Found(skill, "test")


# What the issue asks for


def test_plain_text_in_a_one_shot_runs_three_skills(make: Make, tmp_path: Path) -> None:
    desk = make(calling(ANNOTATE), calling(CURATE), calling(COUNT), found)
    desk.enter(yes=True)
    assert desk.give(ASK) == 0
    assert desk.out == "1 of 4 lack a limitation.\n"
    assert shown(desk) == LINES
    assert len((tmp_path / "annotated.jsonl").read_text().splitlines()) == 4
    assert [r["arxiv_id"] for r in read_table(tmp_path / "good.csv")] == [
        f"2401.0000{n}" for n in (1, 2, 3)
    ]
    annotated, curated, counted = producer(desk).told()
    assert annotated["saved"] == ["annotated.jsonl"]
    assert annotated["result"]["done"] == 4
    assert curated["result"]["kept"] == 3
    assert counted["result"]["found"] == 1
    runs = {run["line"]: run for run in desk.app.run_log.recent(9)}
    assert {runs[line]["door"] for line in LINES} == {"model"}
    assert runs[ASK]["skill"] == "chat"
    assert {run["status"] for run in runs.values()} == {"done"}
    assert consistent(desk.conversation)


def test_plain_text_in_a_session_asks_before_files_are_written(make: Make, tmp_path: Path) -> None:
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    asked: list[str] = []

    def yes(question: str) -> bool:
        assert not list(tmp_path.glob("good*")), "it is asked before anything is written"
        asked.append(question)
        return True

    desk = make(calling(ANNOTATE), calling(CURATE), calling(COUNT), found, "You are welcome.")
    desk.enter(confirm=yes)
    with create_pipe_input() as keys:
        keys.send_text(f"{ASK}\rthanks\r\x04")
        Repl(desk.app, keys, DummyOutput()).run()
    assert desk.out == "1 of 4 lack a limitation.\nYou are welcome.\n"
    assert asked == [
        "/annotate writes annotated.jsonl. Allow it?",
        "/curate writes good.csv, good_rejected.csv, good_curation_log.jsonl, "
        "good_curation_report.html. Allow it?",
    ]
    roles = [message.role for message in producer(desk).requests[-1].messages]
    assert roles == ["system", "user", *["assistant", "tool"] * 3, "assistant", "user"]


def test_the_model_is_told_of_skills_and_of_nothing_that_is_the_users_own(make: Make) -> None:
    desk = make("Hello.")
    desk.give("hi")
    [body] = desk.chats
    names = {tool["function"]["name"] for tool in body["tools"]}
    assert names == {"annotate", "corpus", "curate", "evaluate", "finetune", "models"}
    corpus = next(t["function"] for t in body["tools"] if t["function"]["name"] == "corpus")
    properties = corpus["parameters"]["properties"]
    assert properties["subcommand"]["enum"][:2] == ["add", "search"]
    assert properties["limit"]["type"] == "integer"
    assert properties["category"]["items"]["type"] == "string"
    assert {"text", "save_to", "db"} <= set(properties)
    assert "force" not in properties
    assert "cannot call skills" not in desk.said


# What is asked for first


def test_in_a_one_shot_nobody_is_there_to_allow_it(make: Make, tmp_path: Path) -> None:
    desk = make(calling(ANNOTATE), lambda r: json.loads(r.messages[-1].content)["error"])
    assert desk.give("annotate it") == 2
    assert not (tmp_path / "annotated.jsonl").exists()
    assert not desk.judge.requests
    assert desk.out == "/annotate writes annotated.jsonl, and nobody is here to allow that\n"
    assert producer(desk).told()[0]["what_to_do"] == "`--yes` before the line allows it."
    assert "nobody is here to allow that. `--yes`" in desk.said


def test_no_means_no_and_the_model_is_told(make: Make, tmp_path: Path) -> None:
    desk = make(calling(ANNOTATE), calling(STATS), "As you like.")
    desk.enter(confirm=lambda question: False)
    desk.give("annotate it")
    assert not (tmp_path / "annotated.jsonl").exists()
    assert "the user did not allow that" in producer(desk).told()[0]["error"]


@pytest.mark.parametrize(
    ("call", "question"),
    [
        (
            tool_call("finetune", text="train.jsonl", out="ft"),
            "/finetune trains a model in ft, which may take hours and registers it. Allow",
        ),
        (
            tool_call("finetune", subcommand="gguf", text="ft", llama_cpp="theirs"),
            "/finetune writes the model's files (write model and adapter for llama.cpp) and runs "
            "the code of theirs. Allow",
        ),
        (tool_call("corpus", subcommand="add", text="papers.csv"), "/corpus adds papers and anno"),
        (tool_call("annotate", text="papers.csv", db="x.db"), "/annotate writes into the database"),
        (tool_call("corpus", subcommand="page"), "/corpus writes corpus.html. Allow"),
        (
            tool_call("curate", text="papers.csv", review=True),
            "/curate lets you review",
        ),
        (tool_call("silent", text="x"), "/silent may change anything. Allow it?"),
    ],
)
def test_what_changes_anything_is_asked_about(make: Make, call: ToolCall, question: str) -> None:
    asked: list[str] = []
    desk = make(calling(call), "I see.")
    add(desk, Silent())
    desk.enter(confirm=lambda q: bool(asked.append(q)))
    desk.give("do it")
    [only] = asked
    assert only.startswith(question)


def test_a_skill_that_forgets_to_say_what_it_changes_is_asked_about(make: Make) -> None:
    asked: list[str] = []
    desk = make(calling(tool_call("unsure")), "I see.")
    add(desk, Unsure(lambda: None))
    desk.enter(confirm=lambda q: bool(asked.append(q)))
    desk.give("do it")
    assert asked == ["/unsure may change anything. Allow it?"]


def test_a_skill_that_breaks_over_what_it_changes_is_not_run_and_the_turn_goes_on(
    make: Make,
) -> None:
    def says() -> str:
        raise ValueError("no luck")

    desk = make(calling(tool_call("unsure")), "It is broken.")
    add(desk, Unsure(says))
    desk.enter(yes=True)
    assert desk.give("do it") == 1
    assert desk.out == "It is broken.\n"
    assert producer(desk).told()[0]["error"] == "/unsure failed: ValueError: no luck"


def test_what_changes_nothing_is_not_asked_about(make: Make) -> None:
    desk = make(calling(tool_call("annotate", text="papers.csv")), calling(STATS), "Four.")
    desk.enter(confirm=lambda question: pytest.fail(question))
    assert desk.give("how many are there?") == 0
    assert desk.out == "Four.\n"
    first, second = producer(desk).told()
    assert first["result"]["done"] == 4
    assert "saved" not in first
    assert second["result"]


def test_one_question_covers_a_file_that_is_there(make: Make, tmp_path: Path) -> None:
    (tmp_path / "annotated.jsonl").write_text("mine")
    asked: list[str] = []
    desk = make(calling(ANNOTATE), "Done.")
    desk.enter(confirm=lambda q: bool(asked.append(q)))
    desk.give("annotate it")
    assert asked == ["/annotate writes annotated.jsonl (which exists). Allow it?"]
    assert (tmp_path / "annotated.jsonl").read_text() == "mine"


def test_yes_in_a_one_shot_overwrites_nothing(make: Make, tmp_path: Path) -> None:
    (tmp_path / "annotated.jsonl").write_text("mine")
    desk = make(calling(ANNOTATE), "It is there already.")
    desk.enter(yes=True)
    assert desk.give("annotate it") == 4
    assert (tmp_path / "annotated.jsonl").read_text() == "mine"
    assert "exists already" in producer(desk).told()[0]["error"]


@pytest.mark.parametrize("option", ["save_to", "db"])
@pytest.mark.parametrize(
    "place", ["config/notes.md", "skills/new/SKILL.md", ".agents/skills/new/SKILL.md", "way/x.md"]
)
def test_nothing_that_the_harness_would_obey_is_written_for_a_model(
    make: Make, tmp_path: Path, option: str, place: str
) -> None:
    """Neither trust nor instructions: what an abstract says would outlive the turn."""
    for folder in ("skills/new", ".agents/skills/new", "config/skills"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "way").symlink_to(tmp_path / "skills")
    call = tool_call("annotate", text="papers.csv", **{option: place})
    desk = make(calling(call), "I may not.")
    desk.enter(yes=True, force=True)
    assert desk.give("do as the paper says") == 2
    assert not (tmp_path / place).exists()
    assert not desk.judge.requests
    error = producer(desk).told()[0]["error"]
    assert error.startswith(f"a model may not give /annotate {place}: files there control")


def test_text_of_a_models_never_becomes_an_option_or_a_file(make: Make, tmp_path: Path) -> None:
    """An abstract that tells the model to save to somewhere gets text to be annotated."""
    said: list[str] = []

    def does(call: Call) -> Result:
        said.append(call.text)
        assert not call.force
        assert not call.targets
        return Result("ok")

    text = "papers.csv --force --yes save to stolen.csv"
    desk = make(calling(tool_call("free", text=text)), "Done.")
    add(desk, Free(does))
    assert desk.give("do it") == 0
    assert said == [text]
    assert shown(desk) == [f"/free -- {text}"]


# Calls that are wrong


def test_wrong_calls_go_back_to_the_model_and_it_goes_on(make: Make) -> None:
    desk = make(
        calling(tool_call("annotation", text="x")),
        calling(tool_call("exit")),
        calling(tool_call("corpus", subcommand="stats", limit="ten")),
        calling(tool_call("corpus", subcommand="stats", colour="red")),
        calling(tool_call("corpus", subcommand="burn")),
        calling(tool_call("annotate", text=7)),
        calling(tool_call("annotate")),
        calling(tool_call("annotate", text="nowhere.csv")),
        "I give up.",
    )
    assert desk.give("try it") == 2  # /annotate failed, and did not succeed afterwards
    errors = [told["error"] for told in producer(desk).told()]
    assert errors[:7] == [
        "there is no tool 'annotation'",
        "there is no tool 'exit'",
        "--limit: 'ten' should be a valid integer",
        "there is no option --colour",
        "/corpus has no subcommand 'burn'",
        "text: 7 is not text",
        "text is required: TEXT|FILE|TABLE|ARXIV_ID|TOPIC|-",
    ]
    assert producer(desk).told()[7]["where"] == "nowhere.csv"
    assert desk.out == "I give up.\n"
    assert consistent(desk.conversation)


@pytest.mark.parametrize("protocol", ["openai"], indirect=True)
@pytest.mark.parametrize("arguments", ['{"subcommand": "sta', "[1]", '"stats"'])
def test_arguments_that_are_no_object(make: Make, arguments: str) -> None:
    desk = make(calling(ToolCall("corpus", arguments)), calling(STATS), "Sorry.")
    desk.give("count")
    told = producer(desk).told(1)[0]
    assert told["error"].startswith("the arguments are not")
    [call] = desk.chats[1]["messages"][-2]["tool_calls"]
    assert call["function"]["arguments"] == "{}", "a server must not be told broken JSON"


def test_several_calls_in_one_message(make: Make) -> None:
    seen: list[int] = []

    def does(call: Call) -> Result:
        seen.append(call.options.times)
        return Result(f"{call.options.times} times")

    three = [tool_call("free", times=n) for n in (1, 2, 3)]
    desk = make(calling(*three, text="Three at once."), "Done.")
    add(desk, Free(does))
    assert desk.give("do it") == 0
    assert seen == [1, 2, 3]
    assert [t["result"]["text"] for t in producer(desk).told()] == [f"{n} times" for n in seen]
    assert desk.out == "Done.\n", "what is said before a call is no result"
    assert "Three at once." in desk.said
    assert consistent(desk.conversation)


@pytest.mark.parametrize("protocol", ["openai"], indirect=True)
def test_calls_that_only_their_ids_tell_apart(make: Make) -> None:
    seen: list[int] = []

    def does(call: Call) -> Result:
        seen.append(call.options.times)
        return Result("ok")

    desk = make(calling(*(tool_call("free", times=n) for n in (1, 22, 333))), "Done.")
    desk.server.splits = "ids"
    add(desk, Free(does))
    assert desk.give("do it") == 0
    assert seen == [1, 22, 333]


def test_a_call_that_could_not_be_run_hides_no_failure(make: Make) -> None:
    """Neither the one of the skill that had failed before, nor its own."""
    failing = tool_call("annotate", text="nowhere.csv")
    wrong = tool_call("corpus", subcommand="stats", limit="ten")
    desk = make(calling(failing), calling(tool_call("annotate")), "I give up.")
    assert desk.give("annotate it") == 2
    desk.server.model = Producer(calling(wrong), "I give up.")
    assert desk.give("count") == 2
    desk.server.model = Producer(calling(wrong), calling(tool_call("free")), "Done.")
    add(desk, Free(lambda call: Result("ok")))
    assert desk.give("count") == 2, "another skill puts nothing right"
    desk.server.model = Producer(calling(tool_call("nosuch")), calling(tool_call("free")), "Done.")
    assert desk.give("do it") == 0, "what there is not cannot be called again"


# Answers that are none


@pytest.mark.parametrize("script", [("",), (calling(tool_call("free")), " \n")])
def test_no_answer_is_a_failure(make: Make, script: tuple[Any, ...]) -> None:
    desk = make(*script)
    add(desk, Free(lambda call: Result("ok")))
    assert desk.give("hi") == 1
    assert desk.out.strip() == ""
    assert "Error: the model gave no answer. Rephrase the text." in desk.said
    assert consistent(desk.conversation)


def test_an_answer_that_was_cut_says_so(make: Make) -> None:
    desk = make(Reply("And so", "length", 1, 1024, 0.1))
    assert desk.give("tell me all") == 0
    assert desk.out == "And so\n"
    assert "the answer was cut off at the limit of 1,024 tokens" in desk.said


# Limits


def test_the_step_limit(make: Make) -> None:
    desk = make(*[calling(STATS)] * 2, "So far.", "Later.")
    add(desk, Free(lambda call: Result("ok")))
    assert desk.give("/chat --steps 2 count for ever") == 1
    assert len(desk.chats) == 3
    assert "tools" not in desk.chats[-1] or not desk.chats[-1]["tools"]
    assert desk.out == "So far.\n"
    assert "called skills 2 times, which is the limit. `/chat --steps N TEXT`" in desk.said
    assert desk.give("go on") == 0
    assert consistent(desk.conversation)


def test_no_steps_means_no_tools(make: Make) -> None:
    desk = make("Hello.")
    assert desk.give("/chat --steps 0 hi") == 0
    assert not desk.chats[0].get("tools")


def test_a_long_result_is_cut_and_says_so(make: Make) -> None:
    desk = make(calling(tool_call("free")), "Long.")
    add(desk, Free(lambda call: Result(data={"rows": ["x" * 100] * 500})))
    assert desk.give("do it") == 0
    [told] = producer(desk).told()
    assert told["result"]["rows"] == ["x" * 100] * 20 + ["... (480 more)"]


def test_a_conversation_in_other_scripts_fits_the_context_too(make: Make) -> None:
    """A character of theirs is a token or so: Ollama would cut the beginning, without a word."""
    long = "论文" * 500
    desk = make(*["好的" * 100] * 4, context=4096)
    for _ in range(4):
        assert desk.give(f"/chat --steps 0 {long}") == 0
    said = [sum(len(m["content"]) for m in body["messages"]) for body in desk.chats]
    assert said[1] == len(long) * 2 + 200
    assert max(said) <= 4096 - 1024


def test_tools_and_conversation_fit_the_context(make: Make) -> None:
    desk = make(*[calling(tool_call("free"))] * 4, "Done.", context=4096)
    add(desk, Free(lambda call: Result("y" * 3000)))
    assert desk.give("do it") == 0
    sizes = [len(json.dumps(b["messages"])) + len(json.dumps(b["tools"])) for b in desk.chats]
    assert max(sizes) / 3 + 1024 < 4096 + 300  # the wire's own words
    assert "(left out: the conversation is too long)" in json.dumps(desk.chats[-1]["messages"])


def test_a_result_for_which_there_is_no_room_is_cut(make: Make) -> None:
    """The model's own limit is what is told of a result, which is more than a small one has."""
    desk = make(calling(tool_call("free", text="z" * 3000)), "Done.", context=4096)
    add(desk, Free(lambda call: Result("y" * 3500)))
    assert desk.give("do it") == 0
    assert "yyy... (cut: the conversation is too long)" in json.dumps(desk.chats[-1]["messages"])


@pytest.mark.parametrize("steps", [0, 10])
def test_what_cannot_fit_is_refused_before_it_is_sent(
    make: Make, protocol: str, steps: int
) -> None:
    desk = make("Hello.", context=4096)
    assert desk.give(f"/chat --steps {steps} {'word ' * 2000}") == 2
    assert "tokens and leaves no room for an answer of 1024 in the model's context" in desk.said
    assert not desk.chats
    assert desk.give("hi") == 0


def test_skills_that_have_no_room_are_named_once(make: Make) -> None:
    desk = make("Hello.", context=2048)
    for _ in range(2):
        assert desk.give("hi") == 0
    told = {tool["function"]["name"] for tool in desk.chats[0]["tools"]}
    assert {"annotate", "corpus", "curate"} <= told
    assert "finetune" not in told
    notice = "cannot call /evaluate and /finetune: a context of 2,048 tokens has no room"
    assert desk.said.count(notice) == 1
    assert desk.give("/chat --steps 0 hi") == 0


# Servers in trouble


def test_a_server_that_goes_in_the_middle(make: Make) -> None:
    """What was done stays done, and no other model takes over half a conversation."""
    desk = make(calling(STATS), "never said")
    add(desk, Free(lambda call: Result("ok")))
    desk.server.drop_at = 1
    assert desk.give("count") == 1
    assert "became unavailable after a call" in desk.said
    assert consistent(desk.conversation)
    desk.server.drop_at = None
    assert desk.give("and now?") == 0
    assert desk.out.endswith("never said\n")


@pytest.mark.parametrize("how", ["refused", "refused untold", "untold"])
def test_a_model_without_tools(make: Make, how: str) -> None:
    desk = make("Hello.")
    desk.server.tools = how
    assert desk.give("hi") == 0
    assert desk.give("hi again") == 0
    assert desk.out == "Hello.\nHello.\n"
    told_first = desk.protocol == "ollama"
    without = told_first or how != "untold"
    assert desk.said.count("cannot call skills") == (1 if without else 0)
    with_tools = [bool(body.get("tools")) for body in desk.chats]
    if without:
        assert with_tools == [False, False] if told_first else [True, False, False]
    assert ("does not support tools" in desk.said) == (without and not told_first)


def test_a_later_model_without_tools_is_told_no_calls(make: Make) -> None:
    desk = make(calling(STATS, text="Let me count."), "Four.", "Hello.")
    desk.give("count")
    desk.server.tools = "refused"
    desk.refer(16384)
    assert desk.give("hi") == 0
    roles = [m["role"] for m in desk.chats[-1]["messages"]]
    if desk.protocol == "ollama":
        assert roles == ["user", "assistant", "user"]
        assert desk.chats[-1]["messages"][1]["content"] == "Let me count.\nFour."


# Ctrl-C


def test_ctrl_c_in_a_skill_ends_the_turn(make: Make) -> None:
    def does(call: Call) -> Result:
        raise KeyboardInterrupt

    desk = make(calling(tool_call("free"), STATS), "Hello again.")
    add(desk, Free(does))
    assert desk.give("do it") == 130
    assert len(desk.chats) == 1
    assert shown(desk) == ["/free"]
    assert consistent(desk.conversation)
    assert "not run" in desk.conversation[-2].content
    assert desk.give("hi") == 0
    assert {r["status"] for r in desk.app.run_log.recent(3)} == {"done", "interrupted"}


def test_a_job_that_was_stopped_ends_the_turn(make: Make) -> None:
    stopped = Interrupted("interrupted", hint="2 of 4 are done and kept.")
    desk = make(calling(tool_call("free")), "never said")
    add(desk, Free(lambda call: Result("half", stopped=stopped)))
    assert desk.give("do it") == 130
    assert len(desk.chats) == 1
    assert "2 of 4 are done and kept." in desk.said


def test_ctrl_c_at_the_question_ends_the_turn(make: Make) -> None:
    def interrupt(question: str) -> bool:
        raise KeyboardInterrupt

    desk = make(calling(ANNOTATE), "never said")
    desk.enter(confirm=interrupt)
    assert desk.give("do it") == 130
    assert len(desk.chats) == 1
    assert consistent(desk.conversation)


def test_ctrl_c_in_the_second_generation(make: Make) -> None:
    desk = make(calling(tool_call("free")), "Hello again.")

    def does(call: Call) -> Result:
        desk.server.fail("slow")
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Result("ok")

    add(desk, Free(does))
    assert desk.give("do it") == 130
    assert desk.out.startswith("piece 0 piece 1")
    assert consistent(desk.conversation)
    desk.server.fail(None)
    assert desk.give("hi") == 0
    assert desk.out.endswith("Hello again.\n")


# As it is read


def test_on_a_terminal_all_is_shown_as_it_comes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make(calling(tool_call("free"), text="A moment."), "Done.")
    at_the_call: list[str] = []

    def does(call: Call) -> Result:
        at_the_call.append(desk.out)
        return Result("ok")

    add(desk, Free(does))
    monkeypatch.setattr(desk.app.screen.out, "isatty", lambda: True, raising=False)
    assert desk.give("do it") == 0
    assert at_the_call == ["A moment.\n"]
    assert desk.out == "A moment.\nDone.\n"


def test_json_tells_the_calls(make: Make) -> None:
    desk = make(calling(tool_call("free")), "Done.")
    add(desk, Free(lambda call: Result("ok")))
    desk.enter(json=True)
    assert desk.give("do it") == 0
    assert json.loads(desk.out) == {"text": "Done.", "calls": [{"line": "/free", "exit_code": 0}]}


def test_a_registry_of_the_line_holds_for_its_calls(make: Make, tmp_path: Path) -> None:
    """The models must not be read anew in the middle of a turn."""
    desk = make(calling(tool_call("models")), "Done.")
    other = tmp_path / "other.yaml"
    other.write_text(desk.app.settings.user_registry.read_text())
    desk.app.settings.user_registry.write_text("version: 1\n")
    desk.app.reload()
    assert desk.give(f"/chat --registry {other} which are there?") == 0
    [told] = producer(desk).told()
    assert "worker" in json.dumps(told)
