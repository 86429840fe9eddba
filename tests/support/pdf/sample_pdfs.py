"""Write the invented papers in tests/data/pdfs: `python tests/support/pdf/sample_pdfs.py`."""

from __future__ import annotations

from pathlib import Path

from pdf_papers import PdfPaper

FOLDER = Path(__file__).parents[2] / "data" / "pdfs"
BODY = (
    "Earlier work has described the problem in detail, and most of it reports results on one "
    "collection only. We follow the same protocol, so that our figures can be compared. "
) * 4
SAMPLES = {
    "ledger.pdf": PdfPaper(
        title="A Ledger of Claims for Readers of Scientific Papers",
        authors="Ada Example and Jürgen Beispiel",
        abstract=(
            "Readers forget where they found a claim. We present a ledger that stores each claim "
            "with the sentence that states it^1^, and checks the sentence when the paper changes. "
            "In a study with 24 readers over six weeks, the ledger halves the time to find a claim "
            "again, from 94 to 46 seconds. It is the first such tool that works without a server. "
            "The results suggest that verified quotations are worth their storage."
        ),
        sections=(
            ("1 Introduction", BODY),
            ("2 Conclusion", "A ledger of claims helps readers to find them again."),
            ("Limitations", "All 24 readers were students of one field, and nobody read on paper."),
        ),
        footnote="1 The sentences are stored with their offsets.",
    ),
    "tides.pdf": PdfPaper(
        title="Forecasting Tides with Five Parameters",
        authors="Inês Modelo and Thomas Exemple",
        columns=1,
        abstract=(
            "Tidal forecasts use hundreds of harmonic constituents, although small harbours have "
            "short records. We fit five parameters to thirty days of measurements at 18 harbours. "
            "The forecasts differ from those of the official tables by 4.1 cm on average, and are "
            "sufficient for small boats. Unlike harmonic analysis, the method needs no year of "
            "data. It does not model storms or river floods."
        ),
        sections=(("1 Introduction", BODY), ("2 Conclusion", "Five parameters are enough.")),
        footnote="",
    ),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, paper in SAMPLES.items():
        paper.write(FOLDER / name)
