"""Render the results of /corpus as plain text, and papers as documents of the MCP server."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.api.skill import Document
from harness.errors import NothingFound
from harness.settings import Settings
from harness.terminal.rendering import table
from skills.corpus.db import reads
from skills.corpus.db.connection import default_path, open_corpus
from skills.corpus.db.facets import UNKNOWN
from skills.corpus.outputs import (
    Added,
    Hits,
    Indexed,
    Pair,
    PaperDetails,
    Passage,
    Side,
    SimilarPaper,
    Stats,
    Verified,
)
from skills.corpus.records import Annotated
from skills.corpus.search.fulltext import MARK
from skills.nanda.anchors import Anchor, read_anchors
from skills.nanda.framework import RESERVED, Framework
from skills.nanda.marked_sentences import marked
from skills.nanda.remarks import findings, from_sections, numbers_of, suggested
from skills.nanda.text import counted
from skills.reporting.intervals import FEWEST, Share

Block = tuple[Sequence[str], Sequence[Sequence[object]]]
WIDTH = 96
_NOUNS = {"cited": "number of citations", "retracted": "retraction status"}
NAMED = 3
"""Maximum number of moves that are listed for a similar paper."""
_LEGEND = """\
stated: percent of the annotations{}; unsupported: percent of the stated
moves with a number or name that is not in the abstract"""


def added(added: Added, refused: int) -> str:
    """Return lines about an import, with the numbers of added, known and refused rows."""
    annotations = counted(added.annotations, "annotation")
    lines = [f"Added {counted(added.papers, 'paper')} and {annotations} from {added.file}."]
    if added.known_papers or added.known_annotations:
        known = counted(added.known_annotations, "annotation")
        lines.append(f"Already present: {counted(added.known_papers, 'paper')} and {known}.")
    for count, noun, text in (
        (added.without_moves, "paper", "Without moves: {}."),
        (added.failures, "paper", "Failed when annotated: {}."),
        (added.empty, "row", "Skipped without an abstract: {}."),
        (added.repeated, "row", "Skipped as repeated: {}."),
        (refused, "row", "Refused: {} (see stderr)."),
        (added.merged, "paper", "Merged with other papers (/corpus duplicates): {}."),
        (
            added.renamed,
            "annotation",
            "Stored with the provenance of an import, since their own is wrong: {}.",
        ),
    ):
        if count:
            lines.append(text.format(counted(count, noun)))
    if added.awaited:
        kept = counted(added.awaited, "paper")
        verb = "is" if added.awaited == 1 else "are"
        lines.append(f"{kept} without an abstract {verb} kept for /corpus complete.")
    return "\n".join(lines)


def indexed(found: Indexed) -> str:
    """Return a sentence about the size of an index."""
    known = f"{counted(found.parts, 'part')} with {counted(found.rows, 'row')}"
    return f"The index of {found.folder} has {known}; {counted(found.added, 'part')} added."


def hits(found: Hits) -> str:
    """Return a table of the matching moves."""
    rows = [
        (hit.id, hit.year, hit.title, hit.move + hit.mark, hit.found_by, hit.snippet)
        for hit in found.hits
    ]
    return table(("paper", "year", "title", "move", "found by", "text"), rows)


def left_out(count: int, column: str) -> str:
    """Return a sentence about papers that are left out because their value is unknown."""
    papers = "1 matching paper is" if count == 1 else f"{count:,} matching papers are"
    return f"{papers} left out, since the {_NOUNS.get(column, column)} is unknown"


def passages(found: Sequence[Passage]) -> str:
    """Return a table of passages."""
    rows = [
        (one.id, one.year, one.title, one.where, numbers_of(one.sentences), one.passage)
        for one in found
    ]
    return table(("paper", "year", "title", "where", "sentences", "passage"), rows)


def papers(items: Iterable[Annotated], framework: Framework) -> str:
    """Return a table of papers, with the number of moves that each annotation states."""
    rows = []
    for item in items:
        stated = f"{len(framework.stated(item.record))} of {len(framework.names)}"
        paper = item.paper
        rows.append((paper.id, paper.year, paper.categories, stated, paper.title))
    return table(("paper", "year", "categories", "stated", "title"), rows)


def statistics(stats: Stats) -> str:
    """Return the statistics as tables; shares are percentages with 95% intervals."""
    return "\n\n".join(
        block if isinstance(block, str) else table(*block) for block in statistics_blocks(stats)
    )


def statistics_blocks(stats: Stats, *, brief: bool = False) -> list[str | Block]:
    """Return the paragraphs and tables of the statistics; a table is (headings, rows).

    Args:
        brief: True to omit facets without known values, and the intervals of categories and years.
            With fewer than `FEWEST` annotations, the intervals of moves are omitted, too.
    """
    of_groups = _share if brief else _percent
    of_moves = of_groups if stats.annotations < FEWEST else _percent
    blocks: list[str | Block] = [_totals(stats, with_interval=of_moves is _percent)]
    if stats.annotations:
        head = ("move", "stated", "unsupported numbers", "unsupported names")
        rows = [
            (name, *map(of_moves, (move.stated, move.unsupported_numbers, move.unsupported_names)))
            for name, move in stats.moves.items()
        ]
        blocks.append((head, rows))
        for facet, groups in (("category", stats.categories), ("year", stats.years)):
            if not brief or any(group.name != UNKNOWN for group in groups):
                shares = [
                    (group.name, f"{group.papers:,}", *map(of_groups, group.stated.values()))
                    for group in groups
                ]
                blocks.append(((facet, "papers", *stats.moves), shares))
    if stats.failures:
        blocks.append((("failed", "papers"), list(stats.failures.items())))
    return blocks


def papers_details(found: Sequence[PaperDetails]) -> str:
    """Return the text about papers: metadata, abstract with marked passages, and annotations."""
    return "\n\n\n".join(map(_paper_details, found))


def similar(found: Sequence[SimilarPaper]) -> str:
    """Return a table of similar papers, with the names of their most similar moves."""
    rows = []
    for one in found:
        near = itertools.islice(one.near.items(), NAMED)
        named = ", ".join(f"{move} {similarity:.2f}" for move, similarity in near)
        rows.append((one.id, one.year, one.title, named, one.text))
    return table(("paper", "year", "title", "similar in", "text"), rows)


def verified(found: Verified) -> str:
    """Return a text with the number of checked annotations and a table of the mismatches."""
    checked = f"{counted(found.checked, 'annotation')} checked"
    if not found.wrong:
        return f"{checked}: all match their keys."
    rows = [(one.annotation, one.paper, "; ".join(one.reasons)) for one in found.wrong]
    listed = table(("annotation", "paper", "mismatch"), rows)
    return f"{checked}, {len(rows):,} do not match:\n{listed}"


def _totals(stats: Stats, *, with_interval: bool) -> str:
    models = ", ".join(f"{name} {count:,}" for name, count in stats.models.items())
    text = f"{counted(stats.papers, 'paper')}, {counted(stats.annotations, 'annotation')}"
    text += f" by the framework {stats.framework}" + (f" (by {models})" if models else "")
    legend = _LEGEND.format(", with the 95% interval" * with_interval)
    return f"{text}\n{legend}" if stats.annotations else text


def _percent(share: Share) -> str:
    """Return a share in percent with its interval, such as "85 (81-88)", or "" if undefined."""
    if share.value is None:
        return ""
    low, high = share.interval
    return f"{share.value * 100:.0f} ({low * 100:.0f}-{high * 100:.0f})"


def _share(share: Share) -> str:
    """Return a share in percent, such as "85", or "" if undefined."""
    return "" if share.value is None else f"{share.value * 100:.0f}"


def _paper_details(found: PaperDetails) -> str:
    known = filter(None, (found.authors, found.published[:10], found.categories))
    head = [f"{found.id_field} {found.id} (paper {found.row})", found.title, "; ".join(known)]
    head += [*_looked_up(found), *other_sources(found)]
    blocks = [
        "\n".join(_wrapped(line) for line in head if line),
        _wrapped(_numbered(found.abstract, anchors_of(found))),
    ]
    blocks += (_annotation(found.abstract, record) for record in found.annotations)
    if found.failure is not None:
        blocks.append(f"The annotation failed: {found.failure.reason}")
    elif not found.annotations:
        blocks.append("There is no annotation.")
    return "\n\n".join(blocks)


def _looked_up(found: PaperDetails) -> Iterator[str]:
    """Yield lines with the facts that were looked up for a paper, the sources and the days."""
    if found.retracted:
        yield "RETRACTED" + (f" by {found.retraction}" if found.retraction else "")
    known = [f"in {found.venue}"] if found.venue else []
    if found.cited is not None:
        known.append(f"cited {counted(found.cited, 'time')}")
    if known:
        yield "; ".join(known)
    if found.looked_up:
        places = (f"{name} ({day})" for name, day in found.looked_up.items())
        yield f"Looked up at {', '.join(places)}"


def anchors_of(found: PaperDetails) -> dict[str, Anchor]:
    """Return the anchors of all annotations of a paper.

    A key such as "0.claim" consists of the index of the annotation and the name of the move.
    """
    read = (_anchors(found.abstract, record) for record in found.annotations)
    return {f"{n}.{move}": one for n, of in enumerate(read) for move, one in of.items()}


def _anchors(abstract: str, record: Mapping[str, Any]) -> dict[str, Anchor]:
    # Only stated moves have a support. A comparison with "Not stated." would not be reliable, since
    # a framework may have another text for moves that are not stated.
    stated = {name: record[name] for name in record["checks"]["support"]}
    return read_anchors(abstract, stated, record.get("anchors"))


def _numbered(abstract: str, anchors: Mapping[str, Anchor]) -> str:
    """Return an abstract with sentence numbers, and with marks around the passages of moves."""
    sentences = []
    for number, sentence in enumerate(marked(abstract, anchors), start=1):
        runs = itertools.groupby(sentence.segments, lambda one: MARK if one.moves else "")
        texts = (f"{mark}{''.join(one.text for one in run)}{mark}" for mark, run in runs)
        sentences.append(f"[{number}] {''.join(texts)}")
    return " ".join(sentences)


def _annotation(abstract: str, record: Mapping[str, Any]) -> str:
    provenance = record["provenance"]
    moves = {name: text for name, text in record.items() if name not in RESERVED}
    moves |= from_sections(record)
    anchors = _anchors(abstract, record)
    column = max(map(len, moves)) + 2
    indent, labels = " " * column, {name: name for name in moves}
    lines: list[str] = []
    for name, text in moves.items():
        numbers = numbers_of(anchors[name]["sentences"]) if name in anchors else ""
        lines.append(_wrapped(f"{name:<{column}}{text} {numbers}", indent))
        doubts = [f"! {one}" for one in findings(name, record, labels)]
        doubts += [f"? {one}" for one in suggested(record, name)]
        lines += [_wrapped(f"{indent}{one}", f"{indent}  ") for one in doubts]
    framework = provenance["framework"]["name"]
    return "\n".join([*lines, f"({provenance['resolved']}, {provenance['created']}, {framework})"])


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def pairs(found: Sequence[Pair]) -> str:
    """Return a table of pairs of rows that were merged, linked or split."""
    rows = [
        (one.relation, *map(_side, (one.paper, one.other)), one.rule, one.evidence) for one in found
    ]
    return table(("", "paper", "and", "rule", "evidence"), rows)


def other_sources(found: PaperDetails) -> list[str]:
    """Return lines about the other identifiers and the merged, linked or split rows of a paper."""
    other = [f"{kind} {value}" for kind, value in found.identifiers.items()]
    lines = [", ".join(one for one in other if not one.endswith(f" {found.id}"))]
    for pair in found.duplicates:
        side = pair.other if pair.paper.row == found.row else pair.paper
        why = f": {pair.rule} ({pair.evidence})" if pair.rule else ""
        preposition = "from" if pair.relation == "split" else "with"
        lines.append(f"{pair.relation.title()} {preposition} {_side(side)}{why}")
    return list(filter(None, lines))


def _side(side: Side) -> str:
    return f"{side.id} (paper {side.row})"


def listed(settings: Settings, after: str, most: int) -> Sequence[Document]:
    """Return a page of the list of documents; the page is empty if there is no corpus.

    Args:
        after: the key of the last document of the previous page, or "".
        most: maximum number of documents.
    """
    path = default_path(settings)
    if not path.is_file():
        return ()
    with open_corpus(path, must_exist=True) as db:
        rows = reads.listed(db, int(after or 0), most)
    return [
        Document(
            str(row["id"]),
            row["title"] or row["source_id"],
            ", ".join(filter(None, (row["source_id"], str(row["year"] or "")))),
        )
        for row in rows
    ]


def read(settings: Settings, key: str) -> str:
    """Return a paper with its annotations as JSON.

    Args:
        key: the row id of the paper.

    Raises:
        NothingFound: there is no paper with this key.
        InputError: there is no corpus.
    """
    with open_corpus(default_path(settings), must_exist=True) as db:
        is_number = key.isascii() and key.isdigit() and len(key) < 19
        found = reads.numbered(db, int(key)) if is_number else None
    if found is None:
        raise NothingFound(f"the corpus has no paper {key[:60]!r}")
    return json.dumps(found.details().model_dump(), ensure_ascii=False, indent=2, default=str)
