"""Write annotations as a single HTML page with search, facets, statistics and failures."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from skills.corpus.db.facets import MOVE, STATED, UNKNOWN, UNSTATED, categories
from skills.corpus.records import Annotated, Failure
from skills.corpus.stats import Tally
from skills.nanda.anchors import read_anchors
from skills.nanda.framework import Framework, Move
from skills.nanda.marked_sentences import marked
from skills.nanda.remarks import findings_by_kind, from_sections, origin_of, suggested
from skills.nanda.text import flatten
from skills.nanda.unsupported import without_names
from skills.reporting.intervals import FEWEST
from skills.reporting.page import ANNOTATIONS, percent, write_page

FOLDER = Path(__file__).with_name("templates")
SCRIPTS = (ANNOTATIONS, FOLDER / "corpus_page.js")
Pairs = tuple[tuple[str, str], ...]
"""Pairs of a name and a text, as `facts` returns them."""
_SEPARATOR = "(?:,|\\{,\\}|[\u00a0\u2009\u202f'\u2019])?"
_BEFORE, _AFTER = r"(?<![\d.])(?<!\d[,'])(?<!\{,\})", rf"(?!\.?\d|{_SEPARATOR}\d{{3}}(?!\d))"
_OWN = ("attempts", "created", "input", "key", "prompt_sha256", "seconds", "tokens")
"""Keys of a provenance with values that differ between the papers of a job."""


def write_html(
    file: IO[bytes],
    title: str,
    items: Iterable[Annotated],
    failures: Iterable[Failure],
    framework: Framework,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the HTML page, one paper at a time.

    The same input always gives the same bytes.

    Args:
        items: annotations by `framework`.
        failures: failures of papers that have no annotation.
        framework: the framework of the annotations.
        about: facts about the run, which are shown below the heading; None for no facts.
    """
    failed, tally = list(failures), Tally(framework)
    provenances: dict[Pairs, int] = {}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    copied: defaultdict[str, list[float]] = defaultdict(list)

    def papers() -> Iterator[dict[str, Any]]:
        for item in items:
            tally.add(item)
            for move, share in item.record["checks"]["copied"].items():
                copied[move].append(share)
            view = paper_view(item, framework, provenances)
            for facet, values in view["facets"].items():
                counts[facet].update(values)
            yield view

    write_page(
        file,
        FOLDER / "corpus_page.html",
        *SCRIPTS,
        title=title,
        about=facts(about or {}),
        framework=framework,
        failures=failed,
        papers=papers(),
        provenances=provenances,
        facets=counts,
        statistics=lambda: tally.stats(Counter(one.error_type for one in failed)),
        fewest=FEWEST,
        unknown=UNKNOWN,
        copied=lambda move: fmean(copied[move]) if copied[move] else None,
    )


def paper_view(
    item: Annotated, framework: Framework, provenances: dict[Pairs, int]
) -> dict[str, Any]:
    """Return the variables of the page template for one paper.

    The list "entries" has the form that the macro `entries` in macros.html expects.

    Args:
        provenances: the index of each distinct provenance without the keys `_OWN`. A new
            provenance is added to this mapping.
    """
    paper = item.paper
    stated = framework.stated(item.record)
    anchors = read_anchors(paper.abstract, stated, item.record.get("anchors"))
    provenance = item.record["provenance"]
    shared = facts({key: value for key, value in provenance.items() if key not in _OWN})

    def entry(move: Move) -> dict[str, Any]:
        name, checks, anchor = move.name, item.record["checks"], anchors.get(move.name)
        if anchor is None:
            beside = from_sections(item.record).get(name, "")
            suggestions = suggested(item.record, name)
            return {"move": move, "pieces": None, "beside": beside, "suggestions": suggestions}
        return {
            "move": move,
            "pieces": _pieces(stated[name], checks, name),
            "sources": anchor["sentences"],
            "flags": list(findings_by_kind(name, item.record, framework.labels)),
            "checks": f"{percent(checks['copied'].get(name))} copied word for word · "
            f"{origin_of(anchor)}.",
        }

    entries = list(map(entry, framework.moves))
    kinds = [kind for entry in entries for kind, _ in entry.get("flags", ())]
    facets = {
        "year": [str(paper.year or UNKNOWN)],
        "category": sorted(set(categories(flatten(paper.categories)))) or [UNKNOWN],
        "findings": sorted(set(kinds)) or ["none"],
        "model": [provenance["resolved"]],
    }
    for move in framework.names:
        facets[MOVE + move] = [STATED if move in stated else UNSTATED]
    return {
        "paper": paper,
        "facets": facets,
        "sentences": marked(paper.abstract, anchors),
        "entries": entries,
        "shared": provenances.setdefault(shared, len(provenances)),
        "own": facts({key: provenance[key] for key in _OWN if key in provenance}),
    }


def facts(given: Mapping[str, Any]) -> Pairs:
    """Return the items of a mapping as names and texts.

    The name of an item in a nested mapping is "outer, inner". Underscores in names are replaced by
    blanks. Items with the value None or "" are omitted.
    """
    found: list[tuple[str, str]] = []
    for key, value in given.items():
        name = flatten(key).replace("_", " ")
        if isinstance(value, Mapping):
            found += ((f"{name}, {inner}", text) for inner, text in facts(value))
        elif isinstance(value, list | tuple):
            found.append((name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            grouped = type(value) is int and key != "seed"
            found.append((name, f"{value:,}" if grouped else str(value)))
    return tuple(found)


def _pieces(text: str, checks: Mapping[str, Any], move: str) -> list[str]:
    """Return the pieces of a text; every second piece is an unsupported number or name."""
    numbers = checks["unsupported_numbers"].get(move, ())
    names = checks["unsupported_names"].get(move, ())
    text, pieces, done = flatten(text), list[str](), 0
    # The digits in a name such as "GPT-4" are not a number.
    without = without_names(text) if numbers else ""
    patterns = [(_number(one), without) for one in numbers]
    patterns += [(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])", text) for one in names]
    spans = {match.span() for pattern, of in patterns for match in re.finditer(pattern, of)}
    for start, end in sorted(spans):
        if start >= done:
            pieces += [text[done:start], text[start:end]]
            done = end
    return [*pieces, text[done:]]


def _number(number: str) -> str:
    """Return a pattern that matches a number in all spellings, such as 12500 and 12,500."""
    digits = "".join(f"{c}{_SEPARATOR}" if c.isdigit() else re.escape(c) for c in number)
    return f"{_BEFORE}(?:{digits.removesuffix(_SEPARATOR)}){_AFTER}"
