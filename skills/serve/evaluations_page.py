"""The page that compares two models of saved evaluations.

A URL contains the key of a model, not a path, so that only listed files are opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.errors import InputError
from harness.runs.run_log import RunLog
from skills.corpus.db.rows import one
from skills.evaluate import report_text
from skills.evaluate.comparison import TIE
from skills.evaluate.inputs import load_evaluation
from skills.evaluate.outputs import OVERALL, Answer, Evaluated, Evaluation
from skills.reporting.annotation_view import Piece, word_diff
from skills.reporting.statistics import Figure, Resamples, difference, ratio, unpaired_difference
from skills.serve.pages import State, key_of, message, page

Outcome = Literal["won", "lost", "tied", "invalid", ""]
PATH = "/compare/evaluations"
OUTCOMES: tuple[Outcome, ...] = ("won", "lost", "tied", "invalid")
ROWS = 10
"""Maximum number of papers on a page."""
MOST = 50
"""Maximum number of files from the run log, and of files from the workspace."""
MOST_BYTES = 50_000_000
"""Maximum size of a listed file in bytes."""


@dataclass(frozen=True, slots=True)
class Side:
    """A model in a saved evaluation, which can be compared with another model.

    Attributes:
        key: the key of the model in URLs.
        path: the path of the saved evaluation.
        file: the content of the saved evaluation.
        model: the results of the model.
    """

    key: str
    path: Path
    file: Evaluation
    model: Evaluated

    @property
    def title(self) -> str:
        return f"{self.model.name} · {self.path.name}"


def sides(state: State) -> list[Side]:
    """Return the models of saved evaluations, without baselines.

    Evaluations are read from the .json files that /evaluate has written according to the run log,
    the .json files in the workspace, and the eval*.json files in the folders of shipped models.
    Files beyond the limits `MOST` and `MOST_BYTES` are ignored.
    """
    found = []
    for path in _paths(state):
        try:
            stat = path.stat()
            if stat.st_size > MOST_BYTES:
                continue
            file = _loaded(path, stat.st_mtime_ns, stat.st_size)
        except (OSError, InputError):  # the file was deleted, or is not an evaluation
            continue
        found += [
            Side(f"{key_of(path)}.{number}", path, file, model)
            for number, model in enumerate(file.annotators)
            if model.kind != "baseline"
        ]
    return found


def _paths(state: State) -> Iterator[Path]:
    settings = state.settings
    named: list[Path] = []
    if settings.run_log.is_file():
        rows = RunLog(settings.run_log, lambda text: None).query(
            "SELECT path, max(outputs.id) AS last FROM outputs JOIN runs ON runs.id = run_id"
            " WHERE skill = 'evaluate' AND path LIKE '%.json' GROUP BY path"
            " ORDER BY last DESC LIMIT ?",
            [MOST],
        )
        named = [Path(row["path"]) for row in rows]
    here = sorted(state.workspace.glob("*.json"))[:MOST]
    shipped = sorted(settings.shipped_registry.parent.glob("*/eval*.json"))
    yield from dict.fromkeys(path.resolve() for path in (*named, *here, *shipped))


@lru_cache(maxsize=3 * MOST)
def _loaded(path: Path, mtime_ns: int, size: int) -> Evaluation:
    """Return the evaluation in a file, from the cache if `mtime_ns` and `size` are unchanged."""
    return load_evaluation(path)


@dataclass(frozen=True, slots=True)
class Pair:
    """The annotations of one paper by both models.

    Attributes:
        id: the id of the paper.
        abstract: the SHA-256 of the abstract.
        answers: the annotation by the first model, and by the other model.
        scores: the scores of both annotations; None if a file has no scores, or if the files differ
            in the score or in the gold of the paper.
        outcome: the outcome for the first model; "invalid" if a model has no annotation, and "" if
            there are no scores.
    """

    id: str
    abstract: str
    answers: tuple[Answer, Answer]
    scores: tuple[float, float] | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison of two models.

    Attributes:
        score: the name of the score that decides the outcome of a paper; "" if the files have
            different scores.
        paired: the paired difference of the mean scores; None if no pair has scores.
        metrics: the name of each common metric, the values of both models for all moves together,
            and the unpaired difference of the values.
        pairs: the papers in both files, in the order of the first file.
    """

    score: str
    paired: Figure | None
    metrics: Sequence[tuple[str, Figure, Figure, Figure]]
    pairs: Sequence[Pair]


def compared(first: Side, other: Side) -> Compared:
    """Return the comparison of two models.

    Scores and annotations are compared on the papers that occur in both files. The metrics come
    from the files, and cover all papers of each file.
    """
    score = first.file.score if first.file.score == other.file.score else ""
    pairs = list(_pairs(first, other, with_scores=score != ""))
    scored, paired = [one.scores for one in pairs if one.scores is not None], None
    if scored:
        import numpy as np

        values, ones = np.asarray(scored, np.float64), np.ones(len(scored))
        sampled = Resamples(len(scored)).of_all({n: ratio(values[:, n], ones) for n in (0, 1)})
        paired = difference(sampled[0], sampled[1])
    metrics = []
    for metric, of_moves in first.model.metrics.items():
        here, there = (one.get(OVERALL) for one in (of_moves, other.model.metrics.get(metric, {})))
        if here and there:
            metrics.append((metric, here, there, unpaired_difference(here, there)))
    return Compared(score, paired, metrics, pairs)


def _pairs(first: Side, other: Side, *, with_scores: bool) -> Iterator[Pair]:
    """Yield the papers that occur in both files, with the annotations of both models."""
    papers, answers = first.file.by_paper or (), first.model.by_paper or ()
    others, other_answers = other.file.by_paper or (), other.model.by_paper or ()
    there = {(one.id, one.abstract): n for n, one in enumerate(others[: len(other_answers)])}
    for here, (paper, answer) in enumerate(zip(papers, answers, strict=False)):
        place = there.get((paper.id, paper.abstract))
        if place is None:
            continue
        scores = None
        if with_scores and others[place].gold == paper.gold:
            given = first.model.score_by_paper or (), other.model.score_by_paper or ()
            if here < len(given[0]) and place < len(given[1]):
                scores = given[0][here], given[1][place]
        pair = answer, other_answers[place]
        yield Pair(paper.id, paper.abstract, pair, scores, _outcome(pair, scores))


def _outcome(answers: tuple[Answer, Answer], scores: tuple[float, float] | None) -> Outcome:
    if any(answer.moves is None for answer in answers):
        return "invalid"
    if scores is None:
        return ""
    gap = scores[0] - scores[1]
    return "tied" if abs(gap) <= TIE else "won" if gap > 0 else "lost"


def routes(state: State) -> list[Route]:
    return [Route(PATH, partial(_evaluations, state))]


def _evaluations(state: State, request: Request) -> Response:
    by_key = {side.key: side for side in sides(state)}
    query = request.query_params
    first, other = (by_key.get(query.get(name, "")) for name in ("a", "b"))
    if first is None or other is None:
        return message(request, "No such evaluation", "Choose two models on the page Compare.")
    has_names = first.model.name != other.model.name
    names = [side.model.name if has_names else side.path.stem for side in (first, other)]
    found, shown = compared(first, other), query.get("show", "")
    counts = Counter(pair.outcome for pair in found.pairs)
    pairs = [pair for pair in found.pairs if shown in ("", pair.outcome)]
    if shown in ("won", "lost"):
        pairs.sort(key=lambda pair: -abs(pair.scores[0] - pair.scores[1]) if pair.scores else 0.0)
    start = int(query["from"]) if query.get("from", "").isdecimal() else 0
    start = min(start, len(pairs))

    def address(**changes: object) -> str:
        given = {"a": first.key, "b": other.key, "show": shown, **changes}
        return f"{PATH}?" + urlencode({k: v for k, v in given.items() if v})

    return page(
        request,
        "compare/evaluations.html",
        title=" against ".join(names),
        names=names,
        first=first,
        other=other,
        found=found,
        shown=shown,
        text=report_text,
        outcomes={name: (counts[name], address(show=name)) for name in OUTCOMES},
        everything=address(show=""),
        swapped=address(a=other.key, b=first.key, show=""),
        pairs=list(_shown(state, pairs[start : start + ROWS], first)),
        place=(start + 1, min(start + ROWS, len(pairs)), len(pairs)),
        previous=address(**{"from": max(0, start - ROWS)}) if start else "",
        following=address(**{"from": start + ROWS}) if start + ROWS < len(pairs) else "",
    )


def _shown(state: State, pairs: list[Pair], first: Side) -> Iterator[dict[str, object]]:
    """Yield the template variables of each paper.

    The variable `row` has the row number and the title of the paper in the corpus; it is None if
    the corpus does not have the paper.
    """
    labels = first.file.framework.get("moves", {})
    with state.corpus() as db:
        for pair in pairs:
            row = one(
                db,
                "SELECT id, title FROM papers WHERE source_id = ? AND sha256 = ?",
                [pair.id, pair.abstract],
            )
            here, there = (answer.moves or {} for answer in pair.answers)
            moves = []
            for name, label in labels.items():
                texts = here.get(name, ""), there.get(name, "")
                same = [Piece("same", texts[1])]
                moves.append((label, texts[0], word_diff(*texts) if here and there else same))
            yield {"pair": pair, "row": row, "moves": moves}
