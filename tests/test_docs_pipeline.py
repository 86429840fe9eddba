"""docs/pipeline.md follows a row that is really there, and shows what the program makes of it."""

import json
import re
from pathlib import Path

from skills.finetune import recipe as recipes
from skills.finetune.build_finetune_from_annotations import build_dataset
from skills.finetune.data.annotation_pairs import chat_messages
from skills.finetune.stages import ORDER

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")


def row() -> dict[str, object]:
    [line] = build_dataset(ROOT / "examples" / "gold.csv", None).lines()
    found: dict[str, object] = json.loads(line)
    return found


def test_the_row_is_that_of_the_example() -> None:
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


def test_the_lines_of_the_loss_are_its_completion() -> None:
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.removeprefix("   ") for line in shown.splitlines()]
    learnt = [line[2:] for line in lines if line.startswith("+ ")]
    made = row()
    for line in learnt:
        assert line == "..." or line.removesuffix("<|im_end|>") in str(made["completion"])
    told = "\n".join(line[2:] for line in lines if line.startswith("  "))
    assert str(chat_messages(made)[0]["content"]) in told


def test_the_table_of_stages_has_all_of_them() -> None:
    [table] = re.findall(r"\| stage \|.*?\n\n", PAGE, re.DOTALL)
    assert tuple(re.findall(r"^ *\| (\w+) \|", table, re.MULTILINE))[1:] == ORDER


def test_the_settings_are_the_recipes() -> None:
    cells = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", PAGE, re.MULTILINE))
    lesson = recipes.load("lesson")
    assert lesson.base.endswith(cells["base"])
    assert lesson.quantization.compute == cells["compute"]
    assert (lesson.adapter.r, lesson.adapter.alpha) == (int(cells["r"]), int(cells["alpha"]))
    assert lesson.adapter.targets == tuple(cells["targets"].split(", "))
    assert lesson.adapter.dropout == float(cells["dropout"])
    training = lesson.training
    assert training.epochs == int(cells["epochs"])
    assert f"{training.batch} x {training.accumulation}" == cells["batch x accumulation"]
    assert training.learning_rate == float(cells["learning rate"])
    assert f"{training.schedule}, {training.warmup:g}" == cells["schedule, warmup"]
    assert training.optimizer == cells["optimizer"]
    assert training.weight_decay == float(cells["weight decay"])
    assert training.max_grad_norm == float(cells["gradient norm"])
    assert training.max_length == int(cells["max length"])
    assert training.checkpointing is (cells["checkpointing"] == "yes")
    assert training.seed == int(cells["seed"])
    assert f"{training.save_steps}, {training.log_steps} steps" == cells["save, log"]
