"""Descriptions and results of tools, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jsonschema
import pytest
from pydantic import BaseModel, Field

from harness.api.options import GeneralOptions
from harness.api.skill import Call, Impact, Result, Skill, SkillOptions
from harness.chat.toolbox import ALL, BARE, DETAILS, OPTIONS
from harness.errors import SkillFailed
from harness.mcp.server_calls import answer, tools_of
from harness.runs.frontend import Outcome


class Row(BaseModel):
    number: int


class Rows(BaseModel):
    rows: list[Row]


class Count(BaseModel):
    count: int


class ListOptions(SkillOptions):
    limit: int = 9


class AddOptions(SkillOptions):
    at: int = Field(0, description="the number of the new row")


class Table(Skill):
    name = "table"
    summary = "Keep rows"
    subcommands: ClassVar[dict[str, str]] = {"list": "all rows", "count": "how many", "add": "one"}
    impact: ClassVar[dict[str, Impact]] = {"list": "reads", "count": "reads", "add": "adds"}
    output: ClassVar[Mapping[str, type[BaseModel]]] = {"list": Rows, "count": Count}
    output_summary = Count
    saves = (".txt",)

    class Options(ListOptions, AddOptions):
        pass

    variants: ClassVar[dict[str, type[SkillOptions]]] = {"list": ListOptions, "add": AddOptions}

    def run(self, call: Call) -> Result:
        return Result()


SCHEMAS = [tool.complete().output_schema for tool in tools_of(Table())]


def content(subcommand: str, data: Any = None, summary: Any = None) -> Any:
    outcome = Outcome(Result("", data, summary=summary), GeneralOptions())
    return answer(Table(), subcommand, outcome).structured_content


def test_each_subcommand_has_its_form() -> None:
    whole, reading = SCHEMAS
    listed = content("list", {"rows": [{"number": 1}]})
    for schema in (whole, reading):
        jsonschema.validate(listed, schema)
        jsonschema.validate(content("count", {"count": 1}), schema)
    for wrong in ({"rows": [{"number": "x"}]}, {"count": "many"}, 3):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"exit_code": 0, "result": wrong}, reading)
    jsonschema.validate(content("add", "anything"), whole)


def test_a_summary_has_its_own_form() -> None:
    whole, _ = SCHEMAS
    jsonschema.validate(content("list", summary={"count": 1}), whole)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"exit_code": 0, "summary": {"count": "x"}}, whole)


def test_a_result_of_another_form_is_a_fault_of_the_skill() -> None:
    with pytest.raises(
        SkillFailed, match="/table returned a result that does not match its `output`"
    ):
        content("list", {"rows": 3})
    with pytest.raises(
        SkillFailed, match="/table returned a summary that does not match its `output_summary`"
    ):
        content("list", summary={"count": "x"})


@pytest.mark.parametrize("level", [BARE, DETAILS, OPTIONS, ALL])
def test_a_tool_that_reads_has_what_its_subcommands_take(level: int) -> None:
    whole, reading = (tool.described(level).parameters for tool in tools_of(Table()))
    assert whole["required"] == ["text"]
    assert reading["required"] == ["subcommand", "text"]
    assert reading["properties"]["subcommand"]["enum"] == ["list", "count"]
    assert {"save_to", "at"} <= whole["properties"].keys() or level < OPTIONS
    assert not {"save_to", "at"} & reading["properties"].keys()
    assert ("limit" in reading["properties"]) is (level >= OPTIONS)


def test_results_may_have_more_fields() -> None:
    listed = content("list", {"rows": [{"number": 1, "doubt": 0.2}], "doubts": 1})
    for tool in tools_of(Table()):
        jsonschema.validate(listed, tool.complete().output_schema)
        jsonschema.validate(listed, tool.listed(tool.described(BARE)).output_schema)
