"""One row with its mask in a plan, before anything is prepared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from declared_outputs import check_output

from harness.testing import fake_app
from skills.finetune.plugin import Finetune

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


def test_without_the_base_it_is_the_text_of_the_data_set(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = (
        fake_app(tmp_path).dispatch(f'/finetune plan "{data}" --details --set dev_share=0').result
    )
    assert (
        "one row, as in the data set: the base's chat template is not available, nor the end "
        'token, which the loss includes; "+" marks the part in the loss\n'
        "  Do.\n  We tally.\n+ <annotation>\n+ Claim: a\n+ </annotation>"
    ) in result.text
    check_output(Finetune(), "plan", result)
    assert result.data["rows"]["sample_decoded"] is False
    assert not (tmp_path / "finetune_output").exists(), "a plan writes nothing"
