"""The declarations of a skill."""

import pytest

from harness import Result, Skill, SkillOptions


class Notes(Skill):
    name = "notes"
    summary = "Keeps notes"
    subcommands = {"count": "count", "add": "add", "drop": "drop all"}
    impact = {"": "reads", "add": "adds", "drop": "changes"}

    def run(self, call):
        return Result()


class Silent(Notes):
    impact = {}


@pytest.mark.parametrize(
    ("skill", "subcommand", "impact", "effects"),
    [
        (Notes(), "", "reads", ""),
        (Notes(), "count", "reads", ""),
        (Notes(), "add", "adds", "may change anything"),
        (Notes(), "drop", "changes", "may change anything"),
        (Silent(), "count", "changes", "may change anything"),
    ],
)
def test_a_user_is_asked_about_all_that_does_not_only_read(skill, subcommand, impact, effects):
    assert skill.impact_of(subcommand) == impact
    assert skill.effects(SkillOptions(), subcommand) == effects
