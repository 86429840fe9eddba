"""An invented corpus for the tests of the map: three methods and three scopes, and one gap."""

from __future__ import annotations

import random

from corpus_papers import annotated, paper

from skills.corpus.records import Annotated

METHODS = {
    "survey": "interviews questionnaires practitioners coding respondents themes focus diaries",
    "training": "gradients transformers backpropagation minibatches epochs layers loss weights",
    "proof": "theorems lemmas axioms induction corollaries bounds convexity topology",
}
SCOPES = {
    "bees": "hives pollen honeybees swarms nectar queens drones combs",
    "ships": "harbours ferries vessels tides cargo crews anchors docks",
    "vines": "grapes vineyards wines cellars barrels harvests soils corks",
}
GAP = ("proof", "vines")
EACH = 6


def mapped(number: int, method: str, scope: str, /, **changes: str) -> Annotated:
    """Return a paper whose method and scope have words of these groups."""

    drawn = random.Random(number)
    moves = {
        "method": f"With {' and '.join(drawn.sample(METHODS[method].split(), 4))}.",
        "scope": f"About {' and '.join(drawn.sample(SCOPES[scope].split(), 4))}.",
    }
    moves |= {name: changes.pop(name) for name in tuple(changes) if name in moves}
    known = {"title": f"{method} of {scope}", "published": f"{2020 + number % 4}-03-01", **changes}
    abstract = f"Paper {number}: {moves['method']} {moves['scope']}"
    return annotated(paper(number, abstract, **known), **moves)


def planted() -> list[Annotated]:
    """Return 48 papers: `EACH` of every method and scope but the gap."""
    pairs = [(m, s) for m in METHODS for s in SCOPES if (m, s) != GAP] * EACH
    return [mapped(number, *pair) for number, pair in enumerate(pairs, start=1)]
