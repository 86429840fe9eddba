"""Read the annotated table that a reader is trained on, with the places of the moves.

The place of a move is known exactly if `exact_spans` finds each passage of the move in the
abstract, word for word. Otherwise, the stored anchor of the move is used. If the table has no valid
anchor of the move, `anchors.lexical_anchors` selects the sentences that share most words with the
move.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from skills.corpus.table import TableRow, open_table
from skills.corpus.tables.columns import Columns
from skills.nanda.anchors import Anchor, read_anchors
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.passages import JOINT
from skills.nanda.sentences import heading_end, sentence_spans
from skills.nanda.text import counted, flatten

FEWEST = 20
"""Minimum number of papers for a cross-validation."""
REPLACED = 4
"""Maximum number of words that a name in brackets replaces at the beginning of a move."""
SHOWN = 5
"""Maximum number of reasons for unusable rows in a message."""
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"\[[^\[\]]+\](?:['\u2019]s)?(?=\s)")


@dataclass(frozen=True, slots=True)
class GoldPaper:
    """An annotated paper.

    Attributes:
        anchors: for each move, the place of its passages, or None if the move is not stated. A
            stated move that shares no words with the abstract is left out.
        exact: number of moves whose place is known exactly.
    """

    paper: Paper
    anchors: Mapping[str, Anchor | None]
    exact: int

    @property
    def stated(self) -> int:
        """Number of stated moves in `anchors`."""
        return sum(anchor is not None for anchor in self.anchors.values())


@dataclass(frozen=True, slots=True)
class Gold:
    """The usable papers of a table, ordered by the digests of their abstracts.

    Attributes:
        left_out: for each reason why rows are unusable, the places of these rows, such as
            "gold.csv, line 3".
    """

    papers: Sequence[GoldPaper]
    left_out: Mapping[str, Sequence[str]]

    @property
    def digest(self) -> str:
        """SHA-256 of the abstracts, titles and anchors of the papers."""
        return sha256_of(
            [[one.paper.sha256, flatten(one.paper.title), one.anchors] for one in self.papers]
        )

    @property
    def reasons(self) -> str:
        """The reasons for unusable rows, such as "1 row: has no abstract (gold.csv, line 3)"."""
        listed = [
            f"{counted(len(places), 'row')}: {reason} ({places[0]}{', ...' * (len(places) > 1)})"
            for reason, places in sorted(self.left_out.items(), key=lambda one: -len(one[1]))
        ]
        return "; ".join([*listed[:SHOWN], *(["..."] * (len(listed) > SHOWN))])


def read_gold(
    path: Path,
    framework: Framework,
    columns: Columns | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Gold:
    """Return the usable papers of an annotated table, and the reasons for unusable rows.

    Args:
        notice: called with each assumption about the table, as in `open_table`.

    Raises:
        InputError: the table cannot be read, lacks the column of abstracts or the column of a move,
            or has fewer than `FEWEST` usable papers.
    """
    table = open_table(path, columns, moves=framework.names, notice=notice)
    table.require_moves()
    found: dict[str, GoldPaper] = {}
    left_out: dict[str, list[str]] = defaultdict(list)
    for row in table.rows_or_errors():
        try:
            if isinstance(row, InputError):
                raise row
            paper = _read(row, framework)
            if paper.paper.sha256 in found:
                raise InputError("repeats an abstract", where=row.where)
            found[paper.paper.sha256] = paper
        except InputError as error:
            left_out[error.message].append(error.where or path.name)
    gold = Gold([found[key] for key in sorted(found)], left_out)
    if len(found) < FEWEST:
        why = f" ({gold.reasons})" if left_out else ""
        raise InputError(
            f"has {counted(len(found), 'usable paper')}, and a reader needs {FEWEST}{why}",
            where=str(path),
            hint="Review more papers, with `/serve` or `/curate --review`, and repeat the line.",
        )
    return gold


def _read(row: TableRow, framework: Framework) -> GoldPaper:
    """Return the paper of a row.

    Raises:
        InputError: the row has no abstract or an invalid move, or was annotated with another
            framework, or all moves are stated and no move shares words with the abstract.
    """
    abstract = row.paper.abstract
    if not sentence_spans(abstract):
        raise InputError("has no abstract", where=row.where)
    moves = row.valid_moves(framework)
    stated = framework.stated(moves)
    anchors: dict[str, Anchor | None] = dict.fromkeys(framework.names)
    exact = 0
    for move, anchor in read_anchors(abstract, stated, row.anchors).items():
        if spans := exact_spans(abstract, stated[move], anchor["spans"]):
            anchors[move] = {"sentences": [], "spans": spans, "by": "reviewer"}
            exact += 1
        else:  # the exact words are not known: the spans label only their sentences
            anchors[move] = {"sentences": [], "spans": anchor["spans"], "by": "lexical"}
    # The reader cannot learn a stated move without a place.
    known = {move: one for move, one in anchors.items() if one is None or one["spans"]}
    if not known:
        raise InputError("no move shares words with the abstract", where=row.where)
    return GoldPaper(row.paper, known, exact)


def exact_spans(abstract: str, text: str, known: Sequence[Sequence[int]] = ()) -> list[list[int]]:
    """Return the places of the passages of a move in the abstract, in order.

    If the move begins with a name in brackets, the name replaces the first words of a sentence.
    These words belong to the passage.

    Args:
        known: start and end of each sentence or passage that the move comes from. If the words of
            a passage occur at several places, the place within `known` is used.

    Returns:
        [start, end] of each passage; [] if a passage does not occur in the abstract word for word,
        or its place is not clear.
    """
    words = [(one[0].casefold(), *one.span()) for one in _WORD.finditer(abstract)]
    name = _NAME.match(text)
    spans = []
    for number, passage in enumerate(text[name.end() if name else 0 :].split(JOINT)):
        wanted = [one[0].casefold() for one in _WORD.finditer(passage)]
        if not (count := len(wanted)):
            return []
        found = [
            first
            for first in range(len(words) - count + 1)
            if [one[0] for one in words[first : first + count]] == wanted
        ]
        if len(found) > 1:
            starts = {first: words[first][1] for first in found}
            found = [one for one in found if any(a <= starts[one] < z for a, z in known)]
        if len(found) != 1:
            return []
        start, end = words[found[0]][1], words[found[0] + count - 1][2]
        spans.append([_opening(abstract, start) if name and not number else start, end])
    return sorted(spans)


def _opening(abstract: str, start: int) -> int:
    """Return the start of the sentence that contains `start`, or `start` itself.

    The result is `start` if more than `REPLACED` words of the sentence come before `start`. A
    heading such as "Results:" is not part of the sentence.
    """
    for first, after in sentence_spans(abstract):
        if first <= start < after:
            first = heading_end(abstract, first, after)
            before = _WORD.findall(abstract[first:start])
            return first if 0 < len(before) <= REPLACED else start
    return start
