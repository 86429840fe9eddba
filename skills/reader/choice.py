"""Choose the passages of an abstract that state moves, by the scores of the encoder.

A move is stated if its probability reaches the threshold `Fitted.stated`, or if it is known to be
stated. Each stated move gets a sentence, unless all sentences are taken: at most two moves get the
same sentence. The score of a sentence for a second move is reduced by `Fitted.repeated`. The move
that would lose most without its best sentence chooses first. All moves choose again until the
choices no longer change.

The passage of a sentence is one of its statements (`readable.statements`). Other sentences that
also state the move (`Fitted.part`) are quoted too, up to `MOST` sentences, but not for a move in
`SINGLE`. If the passages have a low confidence (`SUGGESTED`), the next most probable sentences are
added. A move in `NAMING` has only one passage, from the most probable first word to the most
probable last word of its most probable sentence. Two other moves may also have this sentence.

If the confidence is still low, the added sentences are left out, and the other passages are only a
suggestion, unless the move is known to be stated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skills.nanda.anchors import Span
from skills.nanda.confidence import SUGGESTED
from skills.nanda.passages import Passage, Sentence, span_of, text_of
from skills.nanda.quotes import Quote
from skills.reader.readable import name_of, opening, statements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skills.reader.encoder import Fitted, Scores

VERSION = 4
"""Version of the rules of choice; it changes when the same scores lead to other passages."""
MOST = 3
"""Maximum number of sentences that a move quotes."""
NAMING = frozenset(["scope"])
"""Moves whose content is named in a few words of a sentence."""
SINGLE = NAMING | {"novelty"}
"""Moves that have one sentence in nearly all labels.

The move "novelty" quotes further sentences only if the confidence of its sentence is low.
"""
SHORTEST, LONGEST = 3, 24
"""Minimum and maximum number of words of a passage for a move in `NAMING`."""
MARKS = ".,:;!?)]"
"""Punctuation that may follow the last word of a passage."""
SHARED = 2
"""Maximum number of moves that get the same sentence, not counting the moves in `NAMING`."""


def choose(
    scores: Scores,
    fitted: Fitted,
    moves: Sequence[str],
    abstract: str,
    sentences: Sequence[Sentence],
    longest: int,
    known: Collection[str] = (),
) -> dict[str, Quote]:
    """Return the quote of each move, by the name of the move.

    Args:
        moves: names of the moves, in the order of the scores.
        sentences: the sentences of the abstract.
        longest: maximum number of characters of a quote.
        known: names of the moves that the abstract is known to state.
    """
    import numpy as np

    limit = longest - 1  # a full stop may follow
    logits, stated = log_shares(scores), stated_shares(scores)
    wanted = [
        number
        for number, move in enumerate(moves)
        if move in known or stated[number] >= fitted.stated[move]
    ]
    best = assigned(logits, wanted, moves, fitted.repeated)
    served = Counter(best.values())
    shares = np.exp(logits)
    headings = {at for at, one in enumerate(sentences) if 0 < one.heading == len(one.words)}
    found = {move: Quote(confidence=round(float(1 - stated[n]), 4)) for n, move in enumerate(moves)}
    # Moves with a doubtful best sentence come last, so that they do not take further sentences that
    # other moves need.
    for number in sorted(best, key=lambda n: (not is_quotable(shares[best[n], n], fitted), n)):
        move = moves[number]
        others = further(scores, number, move, best[number], fitted.part[move])
        places = [best[number], *(one for one in others if served[one] < SHARED)][:MOST]
        placed: dict[int, Span] = {}  # the span of each passage by the index of its sentence
        given = 0.0
        likely = () if move in NAMING else (-shares[:, number]).argsort(kind="stable").tolist()
        spare = [at for at in likely if served[at] < SHARED and at not in {*places, *headings}]
        for at in [*places, *spare]:
            if at not in places and (len(placed) == MOST or is_quotable(given, fitted)):
                break
            passage = _passage(scores, number, move, at, sentences[at], limit)
            own = {at: span_of(passage, sentences[at], abstract)}
            joined = dict(sorted({**placed, **own}.items()))
            if not placed or len(text_of(abstract, [*joined.values()])) <= limit:
                placed, given = joined, float(shares[list(joined), number].sum())
        # `Fitted.stated` decides whether a move is stated, `SUGGESTED` whether it gets a quote.
        quoted = is_quotable(given, fitted) or move in known
        if not quoted:
            placed = {at: span for at, span in placed.items() if at in places}
            given = float(shares[list(placed), number].sum())
        probability = given if move in known else given * float(stated[number])
        confidence = round(calibrated(probability, *fitted.confidence), 4)
        quote = _quote(placed, abstract, sentences if quoted else (), limit, confidence)
        if quoted:
            served.update(placed.keys() - {best[number]})
        unstated = Quote(confidence=found[move].confidence, suggestion=quote)
        found[move] = quote if quoted else unstated
    return found


def is_quotable(given: float, fitted: Fitted) -> bool:
    """Return True if the confidence of passages is high enough for a quote (`SUGGESTED`).

    Args:
        given: the sum of the probabilities of the sentences with the passages, given that the move
            is stated.
    """
    return calibrated(given, *fitted.confidence) >= SUGGESTED


def log_shares(scores: Scores) -> NDArray[Any]:
    """Return the log probability that a sentence states a move, given that the move is stated.

    The shape is (sentences, moves).
    """
    import numpy as np

    return np.asarray(scores.sentence - np.logaddexp.reduce(scores.sentence, axis=0))


def stated_shares(scores: Scores) -> NDArray[Any]:
    """Return the probability that each move is stated, of shape (moves,)."""
    import numpy as np

    return np.asarray(_sigmoid(np.logaddexp.reduce(scores.sentence, axis=0) - scores.unstated))


def further(scores: Scores, number: int, move: str, best: int, least: float) -> list[int]:
    """Return the indices of further sentences that state a move, the most probable first.

    The result is [] for a move in `SINGLE`.

    Args:
        number: the index of the move in the scores.
        move: the name of the move.
        best: the index of the sentence that the move got; the result does not contain it.
        least: the minimum probability of a sentence (`Fitted.part`).
    """
    if move in SINGLE:
        return []
    shares = _sigmoid(scores.part[:, number])
    order = sorted(range(len(shares)), key=lambda at: -shares[at])
    return [at for at in order if at != best and shares[at] >= least]


def assigned(
    logits: NDArray[Any], wanted: Sequence[int], moves: Sequence[str], repeated: float
) -> dict[int, int]:
    """Return the index of the sentence that each wanted move gets, by the index of the move.

    A move is left out if each sentence already belongs to `SHARED` other moves. A move in `NAMING`
    gets its most probable sentence, and does not count for `SHARED`, since it quotes a few words.

    Args:
        logits: log probability of each sentence, of shape (sentences, moves).
        wanted: indices of the stated moves.
        moves: names of all moves.
        repeated: reduction of the log probability of a sentence for a second move.
    """
    import numpy as np

    def regret(move: int) -> float:
        ordered = np.sort(logits[:, move])
        return float(ordered[-1] - ordered[-2]) if len(ordered) > 1 else math.inf

    named = {one: int(logits[:, one].argmax()) for one in wanted if moves[one] in NAMING}
    order = sorted((one for one in wanted if one not in named), key=regret, reverse=True)
    chosen: dict[int, int] = {}
    for _ in range(len(order)):
        before = dict(chosen)
        for move in order:
            uses = Counter(place for other, place in chosen.items() if other != move)
            costs = [
                repeated * uses[i] if uses[i] < SHARED else math.inf for i in range(len(logits))
            ]
            left = logits[:, move] - np.array(costs)
            if np.isfinite(left).any():
                chosen[move] = int(left.argmax())
            else:
                chosen.pop(move, None)
        if chosen == before:
            break
    return chosen | named


def calibrated(probability: float, slope: float, intercept: float) -> float:
    """Return the probability that a decision is right.

    Args:
        probability: the probability that the network gives to the decision.
        slope, intercept: `Fitted.confidence`.
    """
    bounded = min(max(probability, 1e-4), 1 - 1e-4)
    return float(_sigmoid(slope * math.log(bounded / (1 - bounded)) + intercept))


def _passage(
    scores: Scores, number: int, move: str, place: int, sentence: Sentence, limit: int
) -> Passage:
    """Return the passage of a sentence that states a move.

    A move in `NAMING` gets the most probable passage as a phrase (`name_of`), if the length of the
    phrase is allowed. Otherwise, the passage is a statement of the sentence: the most probable
    passage if it is a statement, or else the first statement.

    Args:
        number: the index of the move in the scores.
        place: the index of the sentence.
        limit: maximum number of characters of the passage.
    """
    first, last = _likeliest(scores, number, place, sentence, named=move in NAMING)
    if move in NAMING:
        named = name_of(sentence, first, last)
        length = named.last - named.first
        if SHORTEST <= length <= LONGEST and len(sentence.quoted(named)) <= limit:
            return named
    found = statements(sentence, limit)
    probable = Passage(first, last)
    return probable if probable in found else found[0]


def _likeliest(
    scores: Scores, number: int, place: int, sentence: Sentence, *, named: bool
) -> tuple[int, int]:
    """Return the most probable passage of a sentence, as `first` and `last` of `Passage`.

    Args:
        number: the index of the move in the scores.
        place: the index of the sentence.
        named: True to prefer passages with at least `SHORTEST` and at most `LONGEST` words.
    """
    import numpy as np

    starts, ends = zip(*sentence.words, strict=True)
    # Some labels include the punctuation after their last word, and others do not.
    bare = [start + len(sentence.text[start:end].rstrip(MARKS)) for start, end in sentence.words]
    firsts, lasts = scores.text.tokens(place, starts, ends)
    _, bare_lasts = scores.text.tokens(place, starts, bare)
    count = scores.token.shape[1] // 2
    begin, own = scores.token[firsts, number], scores.token[:, count + number]
    end = np.maximum(own[lasts], own[bare_lasts])
    order = np.arange(len(starts))
    lengths = order[None, :] - order[:, None] + 1
    allowed = lengths > 0
    if sentence.heading < len(starts):
        allowed[: sentence.heading] = False
    if named:
        short = allowed & (lengths >= SHORTEST) & (lengths <= LONGEST)
        allowed = short if short.any() else allowed
    scored = np.where(allowed, begin[:, None] + end[None, :], -np.inf).round(4)
    # Of equally probable passages, the longest is used.
    first, last = max(
        zip(*np.nonzero(scored == scored.max()), strict=True), key=lambda pair: pair[1] - pair[0]
    )
    return int(first), int(last) + 1


def _quote(
    placed: Mapping[int, Span],
    abstract: str,
    sentences: Sequence[Sentence],
    limit: int,
    confidence: float,
) -> Quote:
    """Return the quote with these passages.

    If `opening` finds the name to which a pronoun at the beginning refers, the name replaces the
    pronoun, unless the quote becomes too long.

    Args:
        placed: the span of each passage by the index of its sentence, in order.
        sentences: the sentences of the abstract, in which the name is searched; () to keep the
            pronoun.
        limit: maximum number of characters of the quote, without a final full stop.
    """
    spans = tuple(placed.values())
    text = text_of(abstract, spans)
    before = [(one.start, one.end) for one in sentences[: min(placed)]]
    referent = opening(abstract, spans[0], before)
    if referent:
        named = f"[{abstract[slice(*referent.span)]}]{text[referent.at[1] - referent.at[0] :]}"
        if len(named) <= limit + 1:
            return Quote(text=named, spans=spans, referent=referent, confidence=confidence)
    return Quote(text=text, spans=spans, confidence=confidence)


def _sigmoid(odds: Any) -> Any:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
