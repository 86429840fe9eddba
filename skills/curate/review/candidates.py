"""Read the annotations to review, each with the abstract of its paper.

Abstracts that the table of annotations lacks are looked up by id, first in a table of papers, then
in the corpus. If an annotation stores the digest of its abstract, the abstract that is found must
have this digest.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.errors import InputError, UsageError
from harness.support.text_input import shown
from skills.corpus.corpus_store import Database
from skills.corpus.db import reads
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.papers import paper_of
from skills.corpus.listing import Listing, Selection
from skills.corpus.search.fulltext import keys_with
from skills.corpus.table import Table, TableRow, open_table, paper_key, read_header
from skills.corpus.tables.columns import AbstractBy, Columns
from skills.curate.items import CORPUS, Item, as_entry, no_annotations
from skills.curate.review.rounds import WINDOW, teaching_order
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

Places = Mapping[str, Mapping[str, Sequence[Paper]]]
"""Papers with abstracts, by the place where they were found, then by the key of the id.

A place is a name for messages: the path of a table, or "the corpus".
"""
CHUNK = 500
"""Maximum number of annotations that are read at once."""


@dataclass(frozen=True)
class Candidates:
    """The annotations under review, in the order in which they are offered.

    Annotations of the corpus are read when they are first used.

    Attributes:
        keys: the keys of the annotated papers (`Item.key`), in the order of the review.
        read: returns the annotations with the given keys, in the order of the keys.
        id_column: the name of the id column for a new gold table.
        lost: a message for each row whose abstract cannot be found, with the reason.
        without_moves: number of rows without any move.
        repeats: number of rows about the paper of an earlier row.
        certainty: the certainty of each annotation that has confidences, by key.
        is_selected: True if words or conditions have selected the annotations.
    """

    keys: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterable[Item]]
    id_column: str
    lost: Sequence[str] = ()
    without_moves: int = 0
    repeats: int = 0
    certainty: Mapping[str, float] = field(default_factory=dict)
    is_selected: bool = False
    _known: dict[str, Item] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: int) -> Item:
        return next(self.some(self.keys[at : at + 1]))

    def some(self, keys: Iterable[str]) -> Iterator[Item]:
        """Yield the annotations with these keys, in the order of `keys`."""
        wanted = iter(keys)
        while chunk := list(itertools.islice(wanted, CHUNK)):
            if unknown := [key for key in chunk if key not in self._known]:
                self._known.update(zip(unknown, self.read(unknown), strict=True))
            yield from (self._known[key] for key in chunk)

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each annotation in `keys`, by key."""
        return {key: place for place, key in enumerate(self.keys)}

    def known(self, keys: Iterable[str]) -> list[Item]:
        """Return the annotations with these keys, in the order of the review.

        Keys without an annotation are ignored.
        """
        found = (key for key in keys if key in self.places)
        return list(self.some(sorted(found, key=self.places.__getitem__)))

    def sample(self, size: int, seed: int) -> Candidates:
        """Return annotations that are drawn at random, in random order.

        The draw depends only on `seed` and the ids, so that it changes little if the table grows.

        Args:
            size: number of annotations to draw; all are returned if there are fewer.
        """

        def drawn(key: str) -> str:
            return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()

        return self._ordered(sorted(self.keys, key=drawn)[:size])

    def by_certainty(self) -> Candidates:
        """Return the annotations by ascending certainty; annotations without certainty are last."""
        return self._ordered(sorted(self.keys, key=lambda key: self.certainty.get(key, math.inf)))

    def by_teaching(self, reviewed: Mapping[str, str]) -> Candidates:
        """Return reviewed annotations first, then the annotations that would teach a model most.

        Of the annotations that are not reviewed, only the `WINDOW` least certain annotations are
        ordered by `teaching_order`. The others follow by ascending certainty.

        Args:
            reviewed: the abstracts of the reviewed papers by key, in the order of the result.
        """
        first = [key for key in reviewed if key in self.places]
        rest = [key for key in self.by_certainty().keys if key not in reviewed]
        window = [key for key in rest[:WINDOW] if key in self.certainty]
        candidates = {
            item.key: (self.certainty[item.key], item.paper.abstract) for item in self.some(window)
        }
        ordered = teaching_order(candidates, reviewed.values())
        return self._ordered([*first, *ordered, *rest[len(window) :]])

    def _ordered(self, keys: Iterable[str]) -> Candidates:
        return replace(self, keys=tuple(keys))


def read(
    path: Path,
    framework: Framework,
    columns: Columns,
    abstracts: Path | None,
    corpus: Path,
    conditions: str = "",
    words: str = "",
) -> Candidates:
    """Read the annotations to review and their abstracts, the least certain annotation first.

    Args:
        path: the table; "corpus" stands for the current annotations of the corpus.
        columns: the names of the columns of the table or of `abstracts`.
        abstracts: a table of papers, or None.
        corpus: the corpus database, which need not exist for a table.
        conditions: conditions in the form of `/corpus filter`, or ""; allowed for the corpus only.
        words: the id of a paper, or words that must all occur in one move, or all in title and
            abstract; "" selects all annotations.

    Raises:
        UsageError: there are conditions, but the annotations come from a table.
        InputError: a table cannot be read, or no annotation is selected or can be reviewed.
    """
    if str(path) == CORPUS:
        return _from_corpus(corpus, framework, conditions, words)
    if conditions:
        raise UsageError(
            "conditions select from the corpus, not from a table",
            hint='`/corpus filter "CONDITIONS" save to part.jsonl` saves the annotations that '
            "meet the conditions as a table.",
        )
    table = _open(path, columns, framework.names, "id")
    table.require_moves()
    rows = list(table.rows())
    full = [row for row in rows if row.has_moves]
    if not full:
        raise InputError("no row has any move", where=shown(path))
    wanted = {paper_key(row.paper.id) for row in full if not row.paper.abstract}
    places = _search(wanted, abstracts, columns, corpus) if wanted else {}
    items: dict[str, Item] = {}
    lost, repeats = [], 0
    for row in full:
        key = paper_key(row.paper.id)
        paper = row.paper if row.paper.abstract else _find(row, places)
        if isinstance(paper, str):
            lost.append(f"{row.where}: {paper}")
        elif key in items:
            repeats += 1
        else:
            items[key] = Item(paper, framework.written(row.moves), row.where, entry=row)
    if not items:
        raise InputError(
            f"no row can be reviewed: {lost[0]}",
            hint="`--from papers.csv` names a table that has the abstracts.",
        )
    if words.strip():
        found = with_words(items.values(), words, framework)
        if not found:
            raise _without(words)
        items = {key: one for key, one in items.items() if key in found}
    bare = [item for item in items.values() if item.entry and item.entry.confidence is None]
    items |= {item.key: item for item in _stored(bare, corpus, framework)}
    certainties = (
        (key, certainty_of(item.entry and item.entry.confidence, framework.names))
        for key, item in items.items()
    )
    return Candidates(
        tuple(items),
        lambda keys: [items[key] for key in keys],
        table.id_column or rows[0].paper.id_field,
        lost=lost,
        without_moves=len(rows) - len(full),
        repeats=repeats,
        certainty={key: certainty for key, certainty in certainties if certainty is not None},
        is_selected=bool(words.strip()),
    ).by_certainty()


def _from_corpus(corpus: Path, framework: Framework, conditions: str, words: str) -> Candidates:
    is_part = bool(conditions.strip() or words.strip())
    with open_corpus(corpus, must_exist=True) as db:
        ids = Listing(Database(db, framework), Selection(words, conditions)).annotation_ids()
        found: dict[str, int] = {}
        certainty: dict[str, float] = {}
        for row, source_id, confidence in reads.confidences(db, framework, ids):
            key = paper_key(source_id)
            if key not in found:
                found[key] = row
                if (mean := certainty_of(confidence, framework.names)) is not None:
                    certainty[key] = mean
        if not found and is_part:
            raise _without(words, conditions)
        if not found:
            raise no_annotations(framework)
        id_column = reads.id_column(db, ids)

    def stored(keys: Sequence[str]) -> list[Item]:
        with open_corpus(corpus, must_exist=True) as db:
            rows = reads.annotated(db, framework, [found[key] for key in keys])
            entries = [as_entry(row, framework) for row in rows]
        return [Item(one.paper, one.moves, one.where, entry=one) for one in entries]

    return Candidates(
        tuple(found),
        stored,
        id_column,
        repeats=len(ids) - len(found),
        certainty=certainty,
        is_selected=is_part,
    ).by_certainty()


def _stored(items: Sequence[Item], corpus: Path, framework: Framework) -> Iterator[Item]:
    """Yield the items whose moves are in the corpus, with the stored anchors and confidences."""
    if not items or not corpus.is_file():
        return
    with open_corpus(corpus, must_exist=True) as db:
        for item in items:
            if known := reads.with_moves(db, item.paper, item.moves, framework):
                yield replace(item, entry=as_entry(known[1], framework))


def _without(words: str, conditions: str = "") -> InputError:
    """Return the error to raise if words or conditions select no annotation."""
    parts = [f"has the words {words!r}"] * bool(words.strip())
    parts += [f"meets {conditions!r}"] * bool(conditions.strip())
    what = "words or conditions" if len(parts) > 1 else "words" if words.strip() else "conditions"
    return InputError(f"no annotation {' and '.join(parts)}", hint=f"Give fewer {what}.")


def _open(
    path: Path, columns: Columns, moves: Sequence[str] = (), abstract_by: AbstractBy = "column"
) -> Table:
    """Open a table, and ignore the names in `columns` that the table lacks.

    The same options name the columns of the table of annotations and of the table of papers.
    """
    present = columns.present_in(read_header(path))
    return open_table(path, present, moves=moves, abstract_by=abstract_by)


def _search(wanted: set[str], abstracts: Path | None, columns: Columns, corpus: Path) -> Places:
    """Return the papers with the keys `wanted` in a table of papers and in the corpus."""
    places: dict[str, Mapping[str, list[Paper]]] = {}
    if abstracts is not None:
        given = defaultdict(list)
        for row in _open(abstracts, columns).rows():
            if row.paper.abstract and (key := paper_key(row.paper.id)) in wanted:
                given[key].append(row.paper)
        places[shown(abstracts)] = given
    if corpus.is_file():
        with open_corpus(corpus, must_exist=True) as db:
            query = "SELECT * FROM papers WHERE source_id = ?"
            places["the corpus"] = {
                key: [paper_of(row) for row in db.execute(query, [key])] for key in wanted
            }
    return places


def _find(row: TableRow, places: Places) -> Paper | str:
    """Return the paper of a row with its abstract, or the reason why no abstract can be used."""
    named = f"paper {row.paper.id}" if row.paper.id else "a paper without an id"
    reason = f"no abstract of {named} in {' or '.join(places) or 'the table'}"
    for place, papers in places.items():
        known = papers.get(paper_key(row.paper.id), ())
        if known and row.abstract_sha256:
            reason = f"the abstract of {named} has changed since it was annotated"
            known = [paper for paper in known if paper.sha256 == row.abstract_sha256]
        if len({paper.sha256 for paper in known}) > 1:
            return f"{place} has several abstracts of {named}"
        if known:
            return replace(
                known[0],
                id_field=row.paper.id_field,
                id=row.paper.id,
                title=row.paper.title or known[0].title,
                source=row.paper.source,
            )
    return reason


def with_words(items: Collection[Item], words: str, framework: Framework) -> set[str]:
    """Return the keys of the annotations that contain all words and phrases in `words`.

    The words must all occur in one stated move, or all in title and abstract. Case and inflection
    are ignored. An annotation is also found if `words` is the id of its paper.

    Raises:
        InputError: `words` contains no word.
    """

    def texts() -> Iterator[tuple[str, str, str]]:
        for item in items:
            yield item.key, item.paper.title, item.paper.abstract
            for text in item.moves.values():
                if text != framework.not_stated:
                    yield item.key, "", text

    named = {item.key for item in items if item.paper.id == words.strip()}
    return named | keys_with(texts(), words)
