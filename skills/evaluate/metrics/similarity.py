"""Similarity of two texts: ROUGE-L and chrF, from their reference packages."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any


@functools.lru_cache(maxsize=65_536)
def rouge_l(text: str, gold: str) -> float:
    """Return ROUGE-L F1, 0 to 1: rougeL of rouge-score with its Porter stemmer (Lin 2004)."""
    return float(_rouge().score(gold, text)["rougeL"].fmeasure)


def chrf(text: str, gold: str) -> float:
    """Return chrF2 of sacrebleu, 0 to 1: character 6-grams, beta 2 (Popović 2015)."""
    return float(_chrf().sentence_score(text, [gold]).score) / 100


def versions() -> dict[str, str]:
    """Return the versions of both packages."""
    return {name: importlib.metadata.version(name) for name in ("rouge-score", "sacrebleu")}


@functools.cache
def _rouge() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
