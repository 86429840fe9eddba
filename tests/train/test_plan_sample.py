"""One row with its mask in a plan, before anything is prepared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetune_base import tiny_base, work_over

from harness.errors import InputError
from skills.finetune.plan_rows import planned_rows
from skills.finetune.tokenization.prepare import prepare

pytestmark = pytest.mark.train


ROW = {
    "prompt": "We tally.",
    "completion": "<annotation>\nClaim: a\n</annotation>",
    "system": "Do.",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


def test_with_the_base_it_equals_the_prepared_row(data: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    context = work_over(tmp_path, base, {"dev_share": 0}, data)
    planned = planned_rows(context)
    assert planned.decoded
    assert planned.sample[1] == (f"{ROW['completion']}<|im_end|>", True)
    prepare(context)
    prepared = json.loads((context.run_dir.prepared / "prepared.json").read_text())
    assert [list(piece) for piece in planned.sample] == prepared["sample"]


def test_a_template_that_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}")
    with pytest.raises(InputError, match="which does not stop generation") as caught:
        planned_rows(work_over(tmp_path, base, {"dev_share": 0}, data))
    assert "train.jsonl, line 1" in str(caught.value)
