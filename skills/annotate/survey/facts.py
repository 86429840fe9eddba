"""The first paragraph of a survey: its papers, their sources, and who annotated them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from skills.annotate.survey.entries import Entry
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.nanda.text import counted

_PLACES = {"arxiv": "arXiv", "corpus": "the corpus"}
_ELSEWHERE = "files"


def facts(
    items: Sequence[Annotated], failed: int, framework: Framework, entries: Sequence[Entry]
) -> str:
    """Return the number of papers, their years and sources, the models, and how well they did."""
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
    """Yield a sentence for each model that was replaced by its fallback."""
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
