"""An invented corpus for the tests of the page: forty papers, some with findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skills.corpus.records import Annotated, Failure, record_of
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper

SUBJECTS = ("Ferries", "Beehives", "Lighthouses", "Orchards")
HOSTILE = (
    '</script><img src=x onerror="hit=1"> <!-- ]]> \' " \u2028 \u2029 & \\u003c {{x}} $title '
    "\u05e9\u05dc\u05d5\u05dd \u202e evil"
)


def annotated(
    number: int = 1, /, moves: Mapping[str, str] | None = None, **changes: Any
) -> Annotated:
    """One annotation; `moves` are those that differ, `changes` are fields of its paper."""
    subject = SUBJECTS[number % 4]
    abstract = (
        f"{subject} drift without a plan. We present Keeper{number}, a planner that moves {subject}"
        f" at dawn. On {number + 10} harbours it saves 12,500 litres of fuel over Mover. "
        "Storms remain out of reach."
    )
    fields: dict[str, Any] = {
        "id_field": "arxiv_id",
        "id": f"{24 + number % 3}05.{number:05}",
        "title": f"Keeping {subject} {number}",
        "abstract": abstract,
        "source": {"kind": "table", "path": "papers.csv", "row": str(number)},
        "authors": "A. Keeper, Bj\u00f6rk Sailor",
        "published": f"{2024 + number % 3}-05-{number % 28 + 1:02}",
        "categories": ("cs.AI, cs.RO", f"cs.Q{chr(64 + number)}", "")[number % 3],
    }
    paper = Paper(**{**fields, **changes})
    stated = {
        "claim": f"Keeper{number} plans how {subject} move.",
        "evidence": f"On {number + 10} harbours it saves 12,500 litres of fuel.",
        "method": f"A planner moves {subject} at dawn.",
        "scope": f"{subject} in harbours.",
        "limitation": "Storms remain out of reach." if number % 5 == 0 else "Not stated.",
        "comparison": "It saves fuel over Mover." if number % 2 else "Not stated.",
        "implication": "Not stated.",
        "novelty": f"Keeper{number}, a planner for dawn.",
        **(moves or {}),
    }
    return of_moves(paper, stated, nanda(), number)


def of_moves(
    paper: Paper, moves: Mapping[str, str], framework: Framework, number: int = 1
) -> Annotated:
    """An annotation of these moves, with its checks."""
    provenance = {
        "requested": "keeper",
        "resolved": "keeper" if number % 4 else "smaller-keeper",
        "reason": None,
        "digests": {"gguf": "ab" * 32},
        "sampling": {"temperature": 0.0, "seed": 12345},
        "key": f"{number:064x}",
        "attempts": 1,
        "tokens": {"prompt": 400 + number, "completion": 200},
        "seconds": 1.25,
    }
    return Annotated(paper, record_of(paper, moves, framework, provenance))


def corpus() -> list[Annotated]:
    """Forty papers; the third has unsupported claims, one has no year."""
    items = [annotated(number) for number in range(1, 41)]
    items[2] = annotated(
        3,
        {"evidence": "It wins by 98,765 points over GPT-9.", "scope": "Kindergartens and courts."},
    )
    items[6] = annotated(7, published="")
    return items


def failures() -> list[Failure]:
    """Three papers without an annotation, with two types of error."""
    papers = [Paper("paper_id", f"f{i}", f"Lost paper {i}", "It is lost.") for i in range(3)]
    return [
        Failure(papers[0], "InvalidReply", "The answer is cut off.", False, "Claim: <b>\nx"),
        Failure(papers[1], "GenerationFailed", "The server went away.", True),
        Failure(papers[2], "InvalidReply", "A move is missing.", False),
    ]
