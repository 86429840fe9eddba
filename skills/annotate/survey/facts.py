"""What a survey rests on, in a paragraph: its papers, where they are from, who annotated them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from skills.annotate.survey.entries import DOUBTFUL, Entry, papers, text
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework

_PLACES = {"arxiv": "arXiv", "corpus": "the corpus"}
_ELSEWHERE = "files"


def facts(
    items: Sequence[Annotated],
    failures: Sequence[Failure],
    framework: Framework,
    entries: Sequence[Entry],
) -> str:
    """How many papers of which years, from where, annotated by which model and when, how well."""
    if not items:
        return "No paper could be annotated."
    sentences = [_which(items), _how(items, framework), *_fallbacks(items), *_doubts(entries)]
    if failures:
        sentences.append(f"{papers(len(failures))} could not be annotated.")
    return " ".join(sentences)


def _which(items: Sequence[Annotated]) -> str:
    years = sorted(year for item in items if (year := item.paper.year))
    published = ""
    if years:
        span = str(years[0]) if years[0] == years[-1] else f"{years[0]} to {years[-1]}"
        undated = len(items) - len(years)
        published = f", published {span}" + (f" ({undated} without a date)" if undated else "")
    kinds = Counter(_PLACES.get(item.paper.source.get("kind", ""), _ELSEWHERE) for item in items)
    places = sorted(kinds.items(), key=lambda place: (-place[1], place[0]))
    if len(places) == 1:
        return f"{papers(len(items))} from {places[0][0]}{published}."
    found = _listed([f"{count} from {place}" for place, count in places])
    return f"{papers(len(items))}{published}: {found}."


def _how(items: Sequence[Annotated], framework: Framework) -> str:
    models = Counter(item.record["provenance"]["resolved"] for item in items).most_common()
    days = sorted({item.record["provenance"]["created"][:10] for item in items})
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    return (
        f"Their abstracts, not the papers themselves, were annotated by "
        f"{_listed([text(model) for model, _ in models])} {when}, in the moves of the "
        f"{text(framework.title)}, version {text(framework.version)}."
    )


def _fallbacks(items: Sequence[Annotated]) -> Iterator[str]:
    """A sentence for each model that another one stood in for."""
    fell = Counter(
        (said["requested"], said["resolved"], said["reason"])
        for item in items
        if (said := item.record["provenance"])["reason"]
    )
    for (requested, resolved, reason), count in fell.most_common():
        some = f" in {papers(count)}" if count < len(items) else ""
        yield (
            f"{text(requested)} was asked for{some} and could not be served ({text(reason)}); "
            f"{text(resolved)} stood in for it."
        )


def _doubts(entries: Sequence[Entry]) -> Iterator[str]:
    stated = sum(len(entry.stated) for entry in entries)
    doubtful = sum(len(entry.doubts) for entry in entries)
    if doubtful:
        verb = "is" if doubtful == 1 else "are"
        yield (
            f"Of {stated:,} stated moves, {doubtful:,} {verb} not borne out by the abstract, and "
            f"marked {DOUBTFUL}."
        )


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
