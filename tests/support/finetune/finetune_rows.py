"""Invented rows of a data set, as `/finetune dataset` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skills.finetune.dataset.annotated_rows import (
    format_annotation_output,
    format_annotation_prompt,
    format_annotation_system,
)
from skills.nanda.framework import nanda
from skills.nanda.paper import abstract_digest

SUBJECTS = ("river gauges", "bread ovens", "bicycle lanes", "sea grass", "tram stops")


def abstract(number: int) -> str:
    subject = SUBJECTS[number % len(SUBJECTS)]
    return (
        f"We study {subject} in {1990 + number} towns.  In 12,5{number:02d} readings (n={number}; "
        f"p<0.0{number % 9 + 1}) the new rule saved 3.{number}% of the cost — no more ½ measures."
    )


def row(number: int, **changes: Any) -> dict[str, Any]:
    moves = {name: f"The {name} of study {number} is 4.{number}%." for name in nanda().names}
    text = abstract(number)
    return {
        "prompt": format_annotation_prompt(text),
        "completion": format_annotation_output(moves),
        "system": format_annotation_system(),
        "id": f"2401.{number:05d}",
        "id_field": "arxiv_id",
        "source": "gold",
        "weight": 1.0,
        "sha256": abstract_digest(text),
        **changes,
    }


def saved(folder: Path, rows: Sequence[Mapping[str, Any]], name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path
