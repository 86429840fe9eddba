"""Write the survey of a topic as Markdown and HTML: papers by claim, table of moves, gaps.

A survey depends only on the annotations; no model is used. A paper is cited as [n]. If the paper is
at arXiv, [n] is a link, whose URL is defined at the end of the page. TeX in titles, names and moves
becomes plain text. Papers are grouped by the terms in title, claim and abstract: the tf-idf vectors
of the papers are clustered with Ward's method. The name of a group consists of the terms that
distinguish the group from other papers.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from markupsafe import Markup

from skills.annotate.options import LEAST_RELEVANCE
from skills.annotate.render import render
from skills.corpus import tex
from skills.corpus.records import Annotated, Failure
from skills.corpus.references.csl_json import ET_AL, separate_names
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper, iso_date, page_address
from skills.nanda.remarks import findings
from skills.nanda.terms import GENERIC, Term, spelling, terms_in
from skills.nanda.text import NUMBER_WORDS, content_words, counted, flatten
from skills.reporting.page import write_page

CITED = 20
"""Maximum number of papers cited in a cell of a table; the matrix of moves has all papers."""

AUTHORS = 8
"""Maximum number of authors named in a reference."""
_PLACES = {"arxiv": "arXiv", "corpus": "the corpus"}
_ELSEWHERE = "files"
FEWEST = 4
"""Minimum number of papers for which groups are made."""
PAPERS_A_GROUP = 3
"""Average number of papers in a group."""
NAMES = 2
"""Maximum number of terms in the name of a group."""
_PROMINENT = 3
"""Weight of a term in a title or claim; a term in an abstract has the weight 1."""
PAGE = Path(__file__).parent / "templates" / "survey.html"


@dataclass(frozen=True, slots=True)
class Survey:
    """The data of a survey.

    Attributes:
        topic: the topic as the user wrote it.
        items: annotations with the moves of `framework`, in any order.
        failures: the papers on the topic that could not be annotated.
        left_out: the papers that were found, but have a relevance below `least`.
    """

    topic: str
    items: Sequence[Annotated]
    framework: Framework
    failures: Sequence[Failure] = ()
    left_out: Sequence[Paper] = ()
    least: float = LEAST_RELEVANCE

    @property
    def heading(self) -> str:
        """The title of the survey."""
        title = flatten(self.topic)
        is_title = re.match(
            r"(?:an?\s|the\s)?\W*(?:survey|review|overview)\b", title, re.IGNORECASE
        )
        return title[:1].upper() + title[1:] if is_title else f"Survey: {title}"


def as_markdown(survey: Survey) -> str:
    """Return the survey as a Markdown page."""
    framework = survey.framework
    items = sorted(
        map(_without_tex, survey.items),
        key=lambda item: (iso_date(item.paper.published) or "9999", item.paper.title),
    )
    # The claim summarizes a paper. In a framework without a claim, the first move is used instead.
    moves = framework.moves
    claim = next((move for move in moves if move.name == "claim"), moves[0])
    texts = [
        (f"{item.paper.title}. {item.record[claim.name]}", item.paper.abstract) for item in items
    ]
    groups = grouped(survey.topic, texts) or [Group("", tuple(range(len(items))))]
    numbers = itertools.count(1)
    sections = [
        (group.name, [entry_of(next(numbers), items[at], framework) for at in group.members])
        for group in groups
    ]
    entries = [entry for _, members in sections for entry in members]
    missing = [
        (move, [entry for entry in entries if move.name not in entry.stated]) for move in moves
    ]
    missing.sort(key=lambda gap: -len(gap[1]))
    return render(
        "survey.md.j2",
        heading=survey.heading,
        facts=facts(items, len(survey.failures), framework, entries),
        claim=claim,
        sections=sections,
        entries=entries,
        framework=framework,
        labels={move.name: move.label for move in moves},
        count=NUMBER_WORDS[len(moves)] if len(moves) < len(NUMBER_WORDS) else len(moves),
        stated={move.name: len(entries) - len(without) for move, without in missing},
        missing=[(move, without) for move, without in missing if without],
        cited=CITED,
        doubtful=any(entry.doubts for entry in entries),
        failures=[replace(f, paper=_paper_without_tex(f.paper)) for f in survey.failures],
        left_out=[_paper_without_tex(paper) for paper in survey.left_out],
        least=survey.least,
        authors=authors,
        short=authors_and_year,
        link=arxiv_link,
    )


def _without_tex(item: Annotated) -> Annotated:
    record = {k: tex.plain(v) if isinstance(v, str) else v for k, v in item.record.items()}
    return Annotated(_paper_without_tex(item.paper), record)


def _paper_without_tex(paper: Paper) -> Paper:
    return replace(paper, title=tex.plain(paper.title), authors=tex.plain(paper.authors))


@dataclass(frozen=True, slots=True)
class Entry:
    """A paper in the survey.

    Attributes:
        number: the number by which the paper is cited.
        stated: the stated moves by name, in the order of the framework.
        doubts: the findings about each doubtful move, by name.
    """

    number: int
    paper: Paper
    stated: Mapping[str, str]
    doubts: Mapping[str, str]


def entry_of(number: int, item: Annotated, framework: Framework) -> Entry:
    """Return the entry of an annotated paper."""
    record = item.record
    stated = framework.stated(record)
    doubts = {
        name: "; ".join(clauses)
        for name in stated
        if (clauses := findings(name, record, framework.labels))
    }
    return Entry(number, item.paper, stated, doubts)


def authors_and_year(paper: Paper) -> str:
    """Return the authors and the year of a paper, such as "Zhou et al., 2025".

    Unknown authors are left out, and an unknown year becomes "n.d.".
    """
    names = _authors(paper)
    family = [name.split(",")[0] if "," in name else name.split()[-1] for name in names[:2]]
    more = len(names) > 2 or names[1:] == [ET_AL]
    who = f"{family[0]} et al." if more else " and ".join(family)
    year = str(paper.year or "n.d.")
    return f"{who}, {year}" if who else year


def authors(paper: Paper) -> str:
    """Return the authors for a reference, without a final full stop, or "" if unknown."""
    names = _authors(paper)
    more = " et al." if len(names) > AUTHORS else ""
    return (", ".join(names[:AUTHORS]) + more).removesuffix(".")


def arxiv_link(paper: Paper) -> str:
    """Return the URL of a paper at arXiv, or "" for a paper without an arXiv id."""
    return page_address(paper.id) if paper.id_field == "arxiv_id" else ""


def _authors(paper: Paper) -> list[str]:
    names = separate_names(paper.authors)
    if ";" in paper.authors:
        return names
    return [one for name in names for one in name.split(" and ")]


def facts(
    items: Sequence[Annotated], failed: int, framework: Framework, entries: Sequence[Entry]
) -> str:
    """Return sentences about the papers, their years and sources, the models and the doubts.

    Args:
        failed: number of papers that could not be annotated.
    """
    if not items:
        return "No paper could be annotated."
    models = Counter(item.record["provenance"]["resolved"] for item in items).most_common()
    days = sorted({item.record["provenance"]["created"][:10] for item in items})
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    sentences = [
        _papers(items),
        f"Their abstracts, not the papers themselves, were annotated by "
        f"{_listed([model for model, _ in models])} {when}, in the moves of the "
        f"{framework.title}, version {framework.version}.",
        *_fallbacks(items),
    ]
    if doubtful := sum(len(entry.doubts) for entry in entries):
        sentences.append(
            f"Of {sum(len(entry.stated) for entry in entries):,} stated moves, {doubtful:,} "
            f"{'is' if doubtful == 1 else 'are'} doubtful, and marked ⚠."
        )
    if failed:
        sentences.append(f"{counted(failed, 'paper')} could not be annotated.")
    return " ".join(sentences)


def _papers(items: Sequence[Annotated]) -> str:
    years = sorted(year for item in items if (year := item.paper.year))
    published = ""
    if years:
        span = str(years[0]) if years[0] == years[-1] else f"{years[0]} to {years[-1]}"
        undated = len(items) - len(years)
        published = f", published {span}" + (f" ({undated} without a date)" if undated else "")
    kinds = Counter(_PLACES.get(item.paper.source.get("kind", ""), _ELSEWHERE) for item in items)
    places = sorted(kinds.items(), key=lambda place: (-place[1], place[0]))
    if len(places) == 1:
        return f"{counted(len(items), 'paper')} from {places[0][0]}{published}."
    found = _listed([f"{count} from {place}" for place, count in places])
    return f"{counted(len(items), 'paper')}{published}: {found}."


def _fallbacks(items: Sequence[Annotated]) -> Iterator[str]:
    """Yield a sentence for each requested model that a fallback replaced."""
    fell = Counter(
        (made["requested"], made["resolved"], made["reason"])
        for item in items
        if (made := item.record["provenance"])["requested"] != made["resolved"]
    )
    for (requested, resolved, reason), count in fell.most_common():
        some = f" for {counted(count, 'paper')}" if count < len(items) else ""
        yield (
            f"{requested} was requested{some} and could not be served ({reason}); {resolved} "
            "was used instead."
        )


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


@dataclass(frozen=True, slots=True)
class Group:
    """The indices of the papers of a group. The name "" is for papers that belong to no group."""

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Terms:
    """The weighted counts of a paper's terms, and their spellings in title and claim."""

    counts: Mapping[Term, float]
    prominent: Mapping[Term, list[str]]


def grouped(topic: str, papers: Sequence[tuple[str, str]]) -> list[Group]:
    """Return the groups of papers by descending size; papers without a group come last.

    A term is not used if its first word is generic, or if all its words are generic or words of the
    topic. A paper without any term of its group's name leaves the group, and a group of one paper
    is dissolved. The result is [] for fewer than `FEWEST` papers, or if there is no group.

    Args:
        papers: two texts for each paper: the title with the claim, and the abstract.
    """
    if len(papers) < FEWEST:
        return []
    ignored = GENERIC.union(content_words(topic))
    terms = [_terms(*paper, ignored) for paper in papers]
    groups: list[Group] = []
    others: list[int] = []
    for cluster in _clusters(terms):
        name = _name(cluster, terms)
        members = tuple(i for i in cluster if not name.keys().isdisjoint(terms[i].counts))
        if len(members) > 1:
            groups.append(Group(", ".join(name.values()), members))
            others += set(cluster) - set(members)
        else:
            others += cluster
    if not groups:
        return []
    groups.sort(key=lambda group: (-len(group.members), group.members))
    return [*groups, *([Group("", tuple(sorted(others)))] if others else [])]


def _clusters(terms: Sequence[_Terms]) -> list[tuple[int, ...]]:
    """Return clusters of papers with similar terms, as tuples of indices."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    papers_with = Counter(term for paper in terms for term in paper.counts)
    columns = {term: i for i, term in enumerate(t for t, n in papers_with.items() if n > 1)}
    weights = np.zeros((len(terms), len(columns) + 1))
    for row, paper in zip(weights, terms, strict=True):
        for term in paper.counts.keys() & columns.keys():
            rarity = math.log(len(terms) / papers_with[term])
            row[columns[term]] = math.log1p(paper.counts[term]) * rarity
    weights /= np.linalg.norm(weights, axis=1, keepdims=True).clip(1e-9)
    count = max(2, round(len(terms) / PAPERS_A_GROUP))
    labels = fcluster(linkage(pdist(weights), "ward"), count, "maxclust")
    clusters: dict[int, list[int]] = defaultdict(list)
    for paper_index, label in enumerate(labels):
        clusters[int(label)].append(paper_index)
    return [tuple(members) for members in clusters.values()]


def _name(members: Sequence[int], terms: Sequence[_Terms]) -> dict[Term, str]:
    """Return the terms that name a group of papers, with their spellings.

    A term must occur in the title or claim of a paper of the group, in at least half of the papers
    of the group, and in a smaller share of the other papers. A second term must occur in the title
    or claim of two papers of the group, and have no word of the first term.

    Args:
        members: the indices of the papers of the group.
    """
    outside = [paper for i, paper in enumerate(terms) if i not in members]
    inside = [terms[i] for i in members]
    ranked = []
    for term in {term for paper in inside for term in paper.prominent}:
        spelled = [paper.prominent[term][0] for paper in inside if term in paper.prominent]
        share = sum(term in paper.counts for paper in inside) / len(inside)
        elsewhere = sum(term in paper.counts for paper in outside) / max(1, len(outside))
        if share >= 0.5 and share > elsewhere:
            score = share - elsewhere + len(spelled) / len(inside)
            ranked.append((-score, -len(term), term, spelled))
    names: dict[Term, str] = {}
    for *_, term, spelled in sorted(ranked):
        is_new = all(set(term).isdisjoint(known) for known in names)
        if is_new and len(names) < min(NAMES, len(spelled)):
            names[term] = spelling(spelled)
    return names


def _terms(title_and_claim: str, abstract: str, ignored: frozenset[str]) -> _Terms:
    prominent, others = _occurrences(title_and_claim), _occurrences(abstract)
    counts = {
        term: _PROMINENT * len(prominent.get(term, ())) + len(others.get(term, ()))
        for term in {**prominent, **others}
        if not ignored.issuperset(term) and term[0] not in GENERIC
    }
    return _Terms(counts, {term: prominent[term] for term in counts if term in prominent})


def _occurrences(text: str) -> dict[Term, list[str]]:
    """Return each term of a text, as stems, with its spellings in the text.

    A term is a word or two adjacent words. The parts of a hyphenated word are not terms on their
    own: "multi-agent" has only the term "multi agent".
    """
    found: dict[Term, list[str]] = defaultdict(list)
    for term, written in terms_in(text):
        found[term].append(written)
    return found


def write_html(file: IO[bytes], survey: Survey) -> None:
    """Write the survey to a binary file as an HTML page with the sections of the Markdown page."""
    lead, *parts = _rendered(as_markdown(survey))
    sections = {f"part-{i}": heading for i, (heading, _) in enumerate(parts, start=1)}
    bodies = {f"part-{i}": body for i, (_, body) in enumerate(parts, start=1)}
    write_page(file, PAGE, title=survey.heading, lead=lead[1], sections=sections, bodies=bodies)


def _rendered(markdown: str) -> Iterator[tuple[str, Markup]]:
    """Yield the heading and the HTML body of each section with a heading of level 1 or 2."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment: dict[str, object] = {}
    tokens = parser.parse(markdown, environment)
    for token in tokens:
        token.attrs.pop("style", None)  # forbidden by the Content-Security-Policy
    opens = (i for i, token in enumerate(tokens) if token.type == "heading_open")
    marks = [i for i in opens if tokens[i].tag in ("h1", "h2")]
    for start, end in itertools.pairwise([*marks, len(tokens)]):
        body = parser.renderer.render(tokens[start + 3 : end], parser.options, environment)
        children = tokens[start + 1].children or ()
        # The renderer escapes all text, and raw HTML is disabled.
        yield "".join(child.content for child in children), Markup(body)  # noqa: S704
