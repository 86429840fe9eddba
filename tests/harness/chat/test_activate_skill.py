"""The catalogue of prompt skills within its room, and the limit of tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import Call, Result, Skill
from harness.agent_skills.prompt_skill import PromptSkill
from harness.agent_skills.skill_md import SkillFile
from harness.api.skill import SkillOptions
from harness.chat.active_skills import LEAST_CATALOGUE, ActivateSkill, activatable, catalogue
from harness.chat.tool_loop import SHARE
from harness.chat.toolbox import ALL, BARE, MOST, PreparedCall, Toolbox, size
from harness.models.backend import Tool, ToolCall
from harness.models.served import BYTES_PER_TOKEN
from harness.plugins.catalogue import Found
from harness.testing import FakeModel, fake_app


def prompt_skill(name: str, description: str = "d", **fields: Any) -> PromptSkill:
    file = SkillFile(Path(f"/skills/{name}/SKILL.md"), name, description, fields)
    return PromptSkill(file, lambda skill, call: Result())


def lines(rows: dict[str, str]) -> str:
    return "".join(f"- {name}: {about}\n" for name, about in rows.items())


def test_everything_is_listed_if_there_is_room() -> None:
    skills = [prompt_skill("one", "Does it."), prompt_skill("two", "Does that.")]
    assert catalogue(skills, LEAST_CATALOGUE) == {"one": "Does it.", "two": "Does that."}


@pytest.mark.parametrize("room", [100, 400, 1000, LEAST_CATALOGUE])
@pytest.mark.parametrize("count", [1, 30, 200])
def test_the_catalogue_keeps_within_its_room(room: int, count: int) -> None:
    skills = [
        prompt_skill(f"skill-{n:03}", "Beschreibt ää Würfel. " * (n % 40)) for n in range(count)
    ]
    rows = catalogue(skills, room)
    assert len(lines(rows).encode()) <= room
    assert [*rows] == [skill.name for skill in skills][: len(rows)]


def test_the_longest_descriptions_are_cut_before_a_skill_is_dropped() -> None:
    skills = [
        prompt_skill("short", "Brief."),
        *(prompt_skill(f"s{n}", "x" * 900) for n in range(9)),
    ]
    rows = catalogue(skills, 2000)
    assert [*rows] == [skill.name for skill in skills]
    assert rows["short"] == "Brief."
    assert {about[-3:] for name, about in rows.items() if name != "short"} == {"..."}
    assert len(lines(rows)) > 1900, "the room is used"


def test_levels_are_smaller_and_list_what_can_be_activated(tmp_path: Path) -> None:
    skills = [prompt_skill(f"skill-{n}", "word " * 50) for n in range(60)]
    tool = ActivateSkill(fake_app(tmp_path), skills, LEAST_CATALOGUE)
    sizes = [size(tool.described(level)) for level in range(BARE, ALL + 1)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 800
    assert activatable([tool.described(ALL)]) == {skill.name for skill in skills}
    fewer = activatable([tool.described(BARE)])
    assert fewer < {skill.name for skill in skills}
    assert activatable([]) == frozenset()


@pytest.mark.parametrize(("context", "count", "described"), [(4096, 25, False), (8192, 45, True)])
def test_all_tools_fit_and_descriptions_come_before_options(
    tmp_path: Path, context: int, count: int, described: bool
) -> None:
    """With a context of 4,096 tokens there is room for names, with 8,192 for descriptions."""
    app = fake_app(tmp_path, FakeModel("ok", takes_tools=True))
    prompts = [prompt_skill(f"skill-{number:02}", "word " * 100) for number in range(count)]
    app.catalogue.skills = {**app.catalogue.skills, **{s.name: Found(s, "test") for s in prompts}}
    tools = app.toolbox.tools(context * BYTES_PER_TOKEN // SHARE)
    assert not app.toolbox.left_out(tools)
    assert activatable(tools) == {skill.name for skill in prompts}
    [activation] = [tool for tool in tools if tool.name == "activate_skill"]
    assert (f"- skill-{count - 1}: word" in activation.description) == described


class Numbered(Skill):
    summary = "one of many"

    def __init__(self, number: int) -> None:
        self.name = f"plugin-{number}"  # type: ignore[misc]

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        return ""

    def run(self, call: Call) -> Result:
        return Result()


def test_no_request_has_more_tools_than_servers_accept(tmp_path: Path) -> None:
    """With 150 plugins and 150 prompt skills, the shipped skills are still there (D4)."""
    model = FakeModel("ok", takes_tools=True)
    app = fake_app(tmp_path, model)
    prompts = (prompt_skill(f"prompt-{number}", "word " * 100) for number in range(150))
    others = {skill.name: Found(skill, "test") for skill in (*map(Numbered, range(150)), *prompts)}
    app.catalogue.skills = {**others, **app.catalogue.skills}
    tools = app.toolbox.tools(10_000_000)
    names = {tool.name for tool in tools}
    assert len(tools) == MOST
    assert {"annotate", "corpus", "curate", "evaluate", "finetune", "activate_skill"} <= names


@dataclass(frozen=True)
class Plain:
    """A tool that is not called."""

    name: str

    def described(self, level: int) -> Tool:
        return Tool(self.name, "", {"type": "object", "properties": {}})

    def prepared(self, call: ToolCall) -> PreparedCall:
        raise AssertionError("the tool is not called")


class Servers:
    """More tools than a request may have, which were all found."""

    def tools(self) -> list[Plain]:
        return [Plain("search"), *(Plain(f"server__{n}") for n in range(300))]

    searched = tools


@pytest.mark.parametrize("others", [0, 300])
def test_tools_of_servers_displace_no_built_in_one(others: int) -> None:
    own = [Plain("annotate"), Plain("read_file"), *(Plain(f"other-{n}") for n in range(others))]
    names = {tool.name for tool in Toolbox([lambda: own], Servers).tools(10_000_000)}
    assert len(names) == MOST
    assert {"search", "annotate", "read_file"} < names
