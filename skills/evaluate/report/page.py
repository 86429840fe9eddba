"""The comparison as a page: all figures by move, and the first model's worst papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from skills.evaluate.annotators import Subject
from skills.evaluate.metrics.labels import split_labels
from skills.evaluate.report import text
from skills.nanda.anchors import Marked, Segment, marked, read_anchors
from skills.reporting.page import write_page


def write_html(file: IO[bytes], found: Mapping[str, Any], subject: Subject) -> None:
    """Write the page; equal input gives equal bytes.

    Args:
        found: the comparison by `comparison.of_models` on `subject`.
    """
    columns = text.columns_of(found)
    if found["gold"]:
        columns["the gold itself"] = found["gold"]
    write_page(
        file,
        Path(__file__).with_name("page.html"),
        title=f"Evaluation on {Path(found['input']).name}",
        found=found,
        columns=columns,
        facts=list(_facts(found)),
        text=text,
        figures_of=lambda *key: text.figures_of(columns, *key),
        difference_rows=lambda one: text.difference_rows(found, one, text.BY_MOVE),
        subject=subject,
        sentences=lambda one: _sentences(one, found, subject),
    )


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Input", found["input"]
    yield "Papers", text.size_of(found)
    for one in found["annotators"]:
        if one["kind"] != "baseline":
            yield one["name"], text.model_facts(one)
            for role, digest in one["digests"].items():
                yield f"Weights ({role})", f"sha256 `{digest}`"
    yield "Framework", f"{found['framework']['name']} {found['framework']['version']}"
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    yield "Computed with", f"nanda-harness {found['harness']}, {libraries}"


def _sentences(
    worst: Mapping[str, Any], found: Mapping[str, Any], subject: Subject
) -> list[Marked]:
    """Return the sentences of an abstract, with their labels if they have any.

    Args:
        worst: the paper, with the first model's moves.
    """
    index, moves = worst["index"], worst["moves"]
    abstract = subject.papers[index].abstract
    stated = subject.framework.stated(moves) if moves else {}
    stored = found["annotators"][0]["by_paper"][index].get("anchors")
    sentences = marked(abstract, read_anchors(abstract, stated, stored))
    if subject.labelled is None:
        return sentences
    labels = split_labels(subject.labelled[index])
    return [
        replace(one, segments=(Segment(f"[{label}] "), *one.segments))
        for label, one in zip(labels, sentences, strict=True)
    ]
