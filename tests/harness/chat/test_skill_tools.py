"""Tool calls of a model: the invocation, the line shown for it, and the schema of tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import Field

from harness import Call, Result, Skill, UsageError
from harness.api.options import GeneralOptions
from harness.api.skill import SkillOptions
from harness.chat.skill_tools import SkillTool, invocation_of, skill_tools, tool_of
from harness.chat.toolbox import ALL, BARE, DETAILS, offered, size
from harness.models.backend import ToolCall
from harness.runs.invocation import Invocation, parse, render_line, split_command
from harness.testing import fake_app, tool_call


class Sort(Skill):
    name = "sort"
    summary = "Put in order"
    text = "optional"
    saves = (".txt", ".csv")
    subcommands = {"by": "by a column"}

    class Options(SkillOptions):
        tag: tuple[str, ...] = Field((), description="may be repeated")
        limit: int | None = Field(None, ge=1)
        deep: bool = False
        colour: bool = Field(True, description="print without colour")
        how: Literal["up", "down"] = "up"
        from_: Path | None = Field(None, alias="from")

    def run(self, call: Call) -> Result:
        return Result()


class Needy(Sort):
    text = "required"

    class Options(SkillOptions):
        column: str = Field(description="of titles")
        limit: int = 1


def called(**arguments: Any) -> Invocation:
    return invocation_of(Sort(), tool_call("sort", **arguments))


def line(**arguments: Any) -> str:
    return render_line(Sort(), called(**arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "/sort"),
        ({"text": "a b"}, "/sort a b"),
        ({"text": "x", "limit": 3, "deep": True}, "/sort x --limit 3 --deep"),
        ({"text": "x", "limit": 3.0, "deep": False, "colour": True}, "/sort x --limit 3"),
        ({"text": "x", "colour": False, "limit": None}, "/sort x --no-colour"),
        ({"text": "x", "tag": ["a", "b c"]}, '/sort x --tag a --tag "b c"'),
        ({"text": "x", "tag": "a"}, "/sort x --tag a"),
        ({"text": "x", "from": "in.csv"}, "/sort x --from in.csv"),
        ({"subcommand": "by", "text": "x"}, "/sort by x"),
        ({"text": "x", "save_to": "my out.txt"}, '/sort x save to "my out.txt"'),
        ({"text": "x", "save_to": ["a.txt", "b.csv"]}, "/sort x save to a.txt -o b.csv"),
        ({"text": "a\n'b' \"c\""}, "/sort a\n'b' \"c\""),
    ],
)
def test_a_call_is_shown_as_the_line_a_user_would_type(
    arguments: dict[str, Any], expected: str
) -> None:
    assert line(**arguments) == expected


@pytest.mark.parametrize(
    "text",
    [
        "papers.csv --force",
        "--force papers.csv",
        "x save to y.txt",
        "x -o y.csv --yes",
        "x save to my file.txt",
        "x --help",
        "-h",
        "x --nosuch",
        "  two blanks",
        "/exit",
        "-- x",
        "a\nsave to b.txt",
        "by x",
        "blanks at the end  ",
    ],
)
def test_text_never_becomes_an_option_or_a_target(text: str) -> None:
    for more in ({}, {"limit": 2, "save_to": "z.txt"}):
        invocation = called(text=text, **more)
        _, rest = split_command(line(text=text, **more)) or ("", "")
        for read in (invocation, parse(Sort(), rest)):
            assert (read.text, read.subcommand) == (text, "")
            assert [str(t) for t in read.targets] == (["z.txt"] if more else [])
            assert read.general == GeneralOptions()
            assert not read.help


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "--limit: '0' should be greater than or equal to 1"),
        ({"limit": True}, "--limit: 'true' should be a valid integer"),
        ({"how": "sideways"}, "--how: 'sideways' should be"),
        ({"deep": "perhaps"}, "--deep: "),
        ({"force": True}, "there is no option 'force'. Options: tag, limit, deep, colour, how, f"),
        ({"save_to": 3}, "save_to: 3 is not a path"),
        ({"subcommand": "burn"}, "has no subcommand 'burn'. Subcommands: by"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        called(text="x", **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("arguments", ["{", "[]", "3", '{"text": "' + "x" * 999])
def test_arguments_must_be_a_json_object(arguments: str) -> None:
    with pytest.raises(UsageError, match="the arguments are not") as caught:
        invocation_of(Sort(), ToolCall("sort", arguments))
    assert len(str(caught.value)) < 400


def callable_skills(folder: Path) -> list[SkillTool]:
    return [*skill_tools(fake_app(folder), shipped=True)]


def test_every_shipped_skill_has_a_valid_schema(tmp_path: Path) -> None:
    skills = callable_skills(tmp_path)
    tools = offered(skills, 10**6)
    assert {"annotate", "curate", "corpus", "evaluate", "finetune"} <= {tool.name for tool in tools}
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))
        written = json.dumps(dict(tool.parameters))
        assert not {"$ref", "anyOf", "null"} & set(written.replace('"', " ").split())


def test_the_schema_matches_the_options() -> None:
    schema = dict(tool_of(Sort()).parameters)
    assert schema["properties"]["colour"]["description"] == "false to print without colour"
    good = {"text": "x", "tag": ["a"], "limit": 1, "how": "up", "from": "a.csv", "save_to": "b.txt"}
    jsonschema.validate(good, schema)
    for wrong in ({"limit": 0}, {"how": "sideways"}, {"tag": "a"}, {"subcommand": "burn"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_tools_are_shortened_to_fit(tmp_path: Path) -> None:
    skills = callable_skills(tmp_path)
    least = sum(size(skill.described(BARE)) for skill in skills)
    most = sum(size(skill.described(ALL)) for skill in skills)
    for room in (least, least + 1500, most):
        tools = offered(skills, room)
        assert sum(map(size, tools)) <= room
        assert len(tools) == len(skills)
    assert len(offered(skills, least // 2)) < len(tools)


def test_details_take_precedence_over_options(tmp_path: Path) -> None:
    """In 13,600 bytes, a model needs the details to know `limitation=unstated`."""
    skills = callable_skills(tmp_path)
    told = {tool.name: tool for tool in offered(skills, 13_600)}
    for skill in skills:
        assert told[skill.name].description == skill.described(DETAILS).description
    assert "limitation=stated" in told["corpus"].description
    assert "limit" in told["annotate"].parameters["properties"]
    bare = tool_of(Needy(), BARE).parameters
    assert bare["properties"]["column"] == {"type": "string", "description": "of titles"}
    assert bare["required"] == ["text", "column"]
    assert "limit" not in bare["properties"]


def test_a_schema_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolbox = fake_app(tmp_path).toolbox
    first = toolbox.tools(20_000)
    monkeypatch.delattr("pydantic.json_schema.GenerateJsonSchema.generate")
    assert toolbox.tools(20_000) == first
