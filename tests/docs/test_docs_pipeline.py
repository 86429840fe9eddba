"""docs/pipeline.md follows an existing row and shows the program's real output."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from repository import ROOT

from skills.finetune import recipe as recipes
from skills.finetune.build_finetune_from_annotations import build_dataset
from skills.finetune.dataset.annotated_rows import chat_messages
from skills.finetune.model.base_shapes import published
from skills.finetune.model.resources import Batch, training_memory
from skills.finetune.pipeline import STAGES
from skills.finetune.recipe import Recipe

PAGE = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")


def row() -> dict[str, object]:
    line, *_ = build_dataset(ROOT / "examples" / "gold.csv", None).lines()
    found: dict[str, object] = json.loads(line)
    return found


def test_row_is_that_of_the_example() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    parts = json.loads(shown)
    made = row()
    assert parts.keys() == made.keys()
    for name, text in parts.items():
        if not isinstance(text, str):
            assert made[name] == text
            continue
        beginning, _, end = text.partition("...")
        assert str(made[name]).startswith(beginning.rstrip()), name
        assert str(made[name]).endswith(end), name


def test_lines_in_the_loss_are_its_completion() -> None:
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.removeprefix("   ") for line in shown.splitlines() if line.strip()]
    signs = "".join(line[0] for line in lines)
    assert re.fullmatch(r" +\++", signs), "the prompt first, without a sign"
    stated = [line[2:] for line in lines[: signs.index("+")]]
    learnt = [line[2:] for line in lines[signs.index("+") :]]
    made = row()
    assert str(chat_messages(made)[0]["content"]) in "\n".join(stated)
    assert learnt[0] == "<annotation>"
    assert learnt[-1] == "</annotation><|im_end|>"
    completion = str(made["completion"]).splitlines()
    assert [line for line in learnt[:-1] if line != "..."] == completion[: len(learnt) - 2]


def test_table_lists_all_stages() -> None:
    [table] = re.findall(r"\| stage \|.*?\n\n", PAGE, re.DOTALL)
    assert tuple(re.findall(r"^ *\| (\w+) \|", table, re.MULTILINE))[1:] == (*STAGES,)


def test_settings_are_those_of_the_recipe() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| ", PAGE, re.MULTILINE)
    stated = {name: yaml.safe_load(value) for name, value in rows}
    assert stated == dict(settings_of(recipes.load_recipe("lesson")))


def settings_of(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    for name, value in recipe:
        if isinstance(value, BaseModel):
            for inner, found in value:
                yield f"{name}.{inner}", list(found) if isinstance(found, tuple) else found
        elif name not in ("version", "summary"):
            yield name, value


def test_memory_is_that_of_the_plan() -> None:
    lesson = recipes.load_recipe("lesson")
    facts = published(lesson.base)
    assert facts is not None
    batch = Batch(lesson.training.batch, 512, 256)
    found = training_memory(facts, lesson, batch, "gpu")
    base = [found["base in NF4"], found["base in bfloat16"]]
    trained = [found[name] for name in ("adapter", "gradients", "optimizer")]
    cells = dict(re.findall(r"^\| (weights|gradients|optimizer|together) \| (.*) \|$", PAGE, re.M))

    def figures(name: str) -> list[str]:
        return re.findall(r"([\d.]+) (?:GB|MB|in NF4)", cells[name])

    def shown(size: float, unit: float = 1e9) -> str:
        return f"{size / unit:.{1 if unit == 1e9 else 0}f}"

    assert figures("weights") == [shown(sum(base)), shown(base[0])]
    assert figures("gradients") == [shown(found["gradients"], 1e6)]
    assert figures("optimizer") == [shown(found["optimizer"], 1e6)]
    assert figures("together") == [shown(sum((*base, *trained)))]
    # Mixed precision with Adam: 16 bytes a parameter (Rajbhandari et al. 2020, section 3.1).
    assert f"{shown(16 * facts.parameters)} GB for the {facts.parameters:,}" in PAGE
