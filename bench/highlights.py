"""Compare the words below highlights with the wanted passages; measure time and memory.

    python bench/highlights.py [--passages N] [--timed N]

The first part writes invented papers with one to three columns, divided words, ligatures, and
footnote marks in the abstract. It highlights sentences, parts of sentences and pairs of sentences,
and reads the words below the quad points of the highlights with PDFium. The second part highlights
papers of twelve pages, renders pages as /serve does, and prints processor time and peak memory.
"""

from __future__ import annotations

import argparse
import difflib
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support" / "pdf"), str(ROOT / "bench")]

from highlighted_words import highlighted, words_of  # noqa: E402
from pdf_papers import CONCLUSION, LIMITATION, PdfPaper  # noqa: E402
from pdfs import BODY, processor_time  # noqa: E402

from skills.corpus.exports import highlights  # noqa: E402
from skills.corpus.pdf import pdf_files  # noqa: E402
from skills.corpus.tables.reader_process import ReaderProcess  # noqa: E402
from skills.nanda.sentences import sentence_spans  # noqa: E402
from skills.serve import pdf_pages  # noqa: E402

SUBJECTS = ("a small classifier", "the flexible reader", "an efficient index", "our workflow")
VERBS = ("identifies", "reflects", "simplifies", "influences", "outperforms")
OBJECTS = (
    "the configuration of scientific workflows",
    "well-known state-of-the-art baselines",
    "insufficiently classified publications",
    "Müller's naïve definitions of efficiency",
)
ENDS = ("in 93.5% of all cases^1^", "without a server^2^ (n = 12)", "at a fifth of the cost")
KINDS = {
    "one column": PdfPaper(columns=1, footnote=""),
    "two columns": PdfPaper(columns=2, footnote=""),
    "two columns by row": PdfPaper(columns=2, footnote="", by_row=True),
    "three columns": PdfPaper(columns=3, footnote="", head=""),
    "footnotes": PdfPaper(columns=2),
}
SHOWN = 3
"""Maximum number of printed passages that differ, for each kind of file."""
MARK = {"label": "Claim", "colour": highlights.COLOURS[0], "contents": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--timed", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        compare(Path(temporary), given.passages)
        measure(Path(temporary), given.timed)


def compare(folder: Path, passages: int) -> None:
    """Print the share of equal words for each kind of file."""
    chance, share = random.Random(37), passages // len(KINDS)
    with (
        ReaderProcess(pdf_files.WORKER, "PDFium") as reader,
        ReaderProcess(highlights.WORKER, "PDFium") as writer,
    ):
        for kind, paper in KINDS.items():
            counts: Counter[str] = Counter()
            while counts["passages"] < share:
                paper.abstract = _abstract(chance, notes=kind == "footnotes")
                path = paper.write(folder / "paper.pdf")
                abstract = pdf_files.read_pdf(reader, path)["abstract"]
                given = list(_spans(abstract, chance))[: share - counts["passages"]]
                spans = {str(number): own for number, own in enumerate(given)}
                copy = folder / "copy.pdf"
                marks = {number: {**MARK, "label": number} for number in spans}
                request = {"abstract": abstract, "spans": spans, "quotes": {}}
                [*writer.read(path, passages=request, marks=marks, out=str(copy))]
                read = {one.subject: one.text for one in highlighted(copy)}
                for number, own in spans.items():
                    wanted = [word for span in own for word in words_of(abstract[slice(*span)])]
                    found = words_of(read.get(number, ""))
                    blocks = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
                    same = sum(block.size for block in blocks.get_matching_blocks())
                    counts["passages"] += 1
                    counts["words"] += max(len(wanted), len(found))
                    counts["same"] += same
                    counts["exact"] += wanted == found
                    if wanted != found and counts["passages"] - counts["exact"] <= SHOWN:
                        print(f"    {' '.join(wanted)}\n    {' '.join(found)}")
            print(
                f"{kind}: {counts['exact']} of {counts['passages']} passages are the same, and "
                f"{counts['same'] / counts['words']:.2%} of {counts['words']:,} words"
            )


def _abstract(chance: random.Random, *, notes: bool) -> str:
    """Return an invented abstract of six sentences; with `notes`, it contains footnote marks."""
    sentences = []
    for _ in range(6):
        parts = (chance.choice(one) for one in (SUBJECTS, VERBS, OBJECTS, ENDS))
        text = " ".join((*parts, f"and is repeated {chance.randrange(2, 99)} times."))
        sentences.append(text[0].upper() + text[1:])
    text = " ".join(sentences)
    return text if notes else text.replace("^1^", "").replace("^2^", "")


def _spans(abstract: str, chance: random.Random) -> Iterator[list[list[int]]]:
    """Yield the spans of passages: sentences, parts of sentences, and pairs of sentences."""
    sentences = sentence_spans(abstract)
    for start, end in sentences:
        yield [[start, end]]
        blanks = [at for at in range(start, end) if abstract[at] == " "]
        first, last = sorted(chance.sample(blanks, 2))
        yield [[first + 1, last]]
    first, *_, last = sentences
    yield [list(first), list(last)]


def measure(folder: Path, papers: int) -> None:
    """Print the time to highlight papers of twelve pages, and the time to render their pages."""
    paths = [
        PdfPaper(title=f"Invented Results on Shelf {number}", sections=BODY).write(
            folder / f"{number}.pdf"
        )
        for number in range(papers)
    ]
    abstract = PdfPaper().abstract
    spans = {str(n): [list(span)] for n, span in enumerate(sentence_spans(abstract))}
    quotes = {"limitation": LIMITATION, "implication": CONCLUSION}
    marks = {move: {**MARK, "label": move} for move in (*spans, *quotes)}
    passages = {"abstract": abstract, "spans": spans, "quotes": quotes}
    begun, used = time.perf_counter(), processor_time()
    with ReaderProcess(highlights.WORKER, "PDFium") as writer:
        for path in paths:
            [found] = writer.read(path, passages=passages, marks=marks, out=f"{path}.copy")
            assert len(found) == len(marks)
    seconds, used = time.perf_counter() - begun, processor_time() - used
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{papers} papers of twelve pages in {seconds:.1f} s, ", end="")
    print(f"{used / papers:.2f} s of processor time each, peak memory {peak:.0f} MB")
    used = processor_time()
    with ReaderProcess(pdf_pages.WORKER, "PDFium") as reader:
        sizes = [len(*reader.read(path, page=page)) * 3 / 4 for path in paths for page in (0, 1)]
    used = (processor_time() - used) / len(sizes)
    print(f"{len(sizes)} pages rendered in {used:.2f} s of processor time each, ", end="")
    print(f"{sum(sizes) / len(sizes) / 1000:.0f} kB on average")


if __name__ == "__main__":
    main()
