"""Compare ways to cluster moves, and measure the time and memory of a map.

    python bench/map.py --data FOLDER [--moves method scope] [--number 12]
    python bench/map.py --papers 10000

The first form reads FOLDER/gold_train.csv and prints, for each move and each kind of vectors:

    clusters   the number of clusters: --number for k-means, the number found by HDBSCAN
    none       the share of papers without a cluster
    stable     agreement of the clusters of 80% of the papers with the clusters of all papers: mean
               adjusted Rand index of five subsamples, 1 for equal clusters, 0 by chance
    arXiv      agreement with the first arXiv category: adjusted mutual information
    s          processor time of vectors and clusters

The kinds of vectors are TF-IDF, reduced to several numbers of dimensions (20 in the map); the
vectors of /corpus search (extra `meaning`), as they are and reduced; and both joined. The clusters
are found by k-means, and for some vectors also by HDBSCAN.

The second form invents papers, and prints the time and memory of each step of a map.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from skills.corpus.db.facets import categories
from skills.corpus.map import clusters, map_views
from skills.corpus.map.field_map import MappedPaper, map_of
from skills.corpus.map.map_views import write_html
from skills.nanda.framework import nanda

Floats = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Floats]
Assign = Callable[[Floats], NDArray[np.int64]]
SUBSAMPLES, SHARE = 5, 0.8


def tf_idf(dimensions: int) -> Embed:
    def embed(texts: Sequence[str]) -> Floats:
        kept, clusters.DIMENSIONS = clusters.DIMENSIONS, dimensions
        found = clusters.vectors_of(texts)
        clusters.DIMENSIONS = kept
        assert found is not None
        return found.reduced

    return embed


def meaning(dimensions: int = 0) -> Embed:
    """Return a function that embeds texts as /corpus search does, and centres the vectors.

    Args:
        dimensions: the number of dimensions of the vectors; 0 for all.
    """
    from skills.corpus.search.vectors import Embedder

    def embed(texts: Sequence[str]) -> Floats:
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import normalize

        found = Embedder.load().embed(list(texts)).astype(np.float64)
        found -= found.mean(axis=0)
        if dimensions:
            found = PCA(dimensions, random_state=0).fit_transform(found)
        return normalize(found)

    return embed


def both(texts: Sequence[str]) -> Floats:
    return np.hstack([tf_idf(20)(texts), meaning(20)(texts)]) / np.sqrt(2)


def hdbscan(embedded: Floats) -> NDArray[np.int64]:
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(min_cluster_size=10, min_samples=3, copy=True).fit_predict(embedded)


def compare(texts: Sequence[str], truth: Sequence[str], embed: Embed, assign: Assign) -> str:
    """Return the formatted figures of the clusters that `assign` finds in the embedded texts.

    Args:
        truth: the first arXiv category of each text.
    """
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    started = time.process_time()
    found = assign(embed(texts))
    seconds = time.process_time() - started
    draw, agreement = random.Random(1), []
    for _ in range(SUBSAMPLES):
        rows = sorted(draw.sample(range(len(texts)), int(SHARE * len(texts))))
        other = assign(embed([texts[row] for row in rows]))
        agreement.append(adjusted_rand_score(found[rows], other))
    return (
        f"{len(set(found.tolist()) - {-1}):8} {np.mean(found == -1):6.2f}"
        f" {np.mean(agreement):8.2f} {adjusted_mutual_info_score(truth, found):7.3f}"
        f" {seconds:6.1f}"
    )


def qualities(path: Path, moves: Sequence[str], number: int | None) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds: dict[str, Embed] = {f"TF-IDF {n}": tf_idf(n) for n in (10, 20, 50, 100)}
    kinds |= {"meaning 256": meaning(), "meaning 20": meaning(20), "both 20+20": both}
    for move in moves:
        stated = [row for row in rows if row[move] != nanda().not_stated]
        texts = [row[move] for row in stated]
        truth = [categories(row["categories"])[0] for row in stated]
        print(f"\n{move}, {len(texts)} papers\n{'':20} clusters   none   stable   arXiv      s")
        for name, embed in kinds.items():
            line = compare(texts, truth, embed, lambda x: clusters.assigned(x, number))
            print(f"{name:20} {line}", flush=True)
        for name in ("TF-IDF 20", "meaning 20"):
            print(
                f"{name + ' HDBSCAN':20} {compare(texts, truth, kinds[name], hdbscan)}", flush=True
            )


def invented(count: int) -> list[MappedPaper]:
    """Return invented papers on 40 subjects; 6 of the 20 words of a move belong to a subject."""
    draw = random.Random(1)
    words = [
        f"{a}{b}{c}"
        for a in "bdgklmnprst"
        for b in ("ana", "ido", "uru")
        for c in ("bek", "dol", "gim", "lat", "mor", "nus", "pil", "rok", "sav", "tun")
    ]
    frequent = [1 / (rank + 2) for rank in range(len(words))]
    subjects = [[f"{draw.choice(words)}{draw.choice(words)}" for _ in range(12)] for _ in range(40)]
    rare = [f"{draw.choice(words)}{draw.choice(words)}" for _ in range(20_000)]

    def text(subject: int) -> str:
        own = draw.choices(subjects[subject], k=6)
        return " ".join((*own, *draw.choices(words, frequent, k=10), *draw.choices(rare, k=4)))

    return [
        MappedPaper(
            f"p{number}",
            f"Paper {number} of an invented field",
            2010 + draw.randrange(16),
            False,
            {"method": text(draw.randrange(40)), "scope": text(draw.randrange(40))},
        )
        for number in range(count)
    ]


def costs(count: int) -> None:
    papers, framework = invented(count), nanda()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    def step(name: str, work: Callable[[], object]) -> object:
        started = time.process_time()
        made = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - base
        size = f"{len(made) / 1e6:8.2f} MB" if isinstance(made, bytes) else ""
        print(
            f"{name:10} {time.process_time() - started:7.1f} s {peak:8.0f} MB more {size}",
            flush=True,
        )
        return made

    def page() -> bytes:
        file = io.BytesIO()
        write_html(file, found)
        return file.getvalue()

    moves = ("method", "scope")
    print(f"{count:,} papers, {base:.0f} MB before")
    found = step("clusters", lambda: map_of(papers, framework, moves, title="Map", crossing=True))
    step("page", page)
    step("SVG", lambda: map_views.svg(found).encode())
    step("PNG", lambda: map_views.png(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--moves", nargs="+", default=["method", "scope"])
    parser.add_argument("--number", type=int, default=12)
    parser.add_argument("--papers", type=int)
    given = parser.parse_args()
    if given.papers:
        costs(given.papers)
    if given.data:
        with threadpool_limits(1):
            qualities(given.data / "gold_train.csv", given.moves, given.number)


if __name__ == "__main__":
    main()
