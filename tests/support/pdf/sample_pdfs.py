"""Write the invented papers in tests/data/pdfs, and the paper of `/serve --demo`.

python tests/support/pdf/sample_pdfs.py
"""

from __future__ import annotations

from pathlib import Path

from pdf_papers import PdfPaper

FOLDER = Path(__file__).parents[2] / "data" / "pdfs"
DEMO = Path(__file__).parents[3] / "skills" / "serve" / "demo" / "forgetting.pdf"
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
OF_DEMO = PdfPaper(
    title="Forgetting a customer in one pass",
    authors="S. Rahimi and V. Kovacs",
    abstract=(
        "Customers may request that their data be removed from a trained model. Retraining is "
        "exact and expensive. We store for each customer the sum of the gradients of the last "
        "epoch and subtract it, followed by one pass over a sample of the rest. Membership "
        "inference against removed customers then succeeds in 50.8% of the cases, close to chance. "
        "Test accuracy drops by 0.2 points per thousand removals. The guarantee is empirical, and "
        "no bound is proven."
    ),
    sections=(
        (
            "1 Introduction",
            "A shop that has trained a model on its receipts owes every customer a way out. The "
            "law speaks of data, but a model remembers what it was shown: names disappear from "
            "the tables, and the purchases of a family still shape the weights. The safe answer "
            "is to train again without the customer. For a model that takes four days on eight "
            "machines, and for eleven requests per week, the safe answer is also an absurd one. "
            "Shops therefore collect requests and retrain every quarter, so that a customer who "
            "leaves in January is remembered until April. We ask how much of this waiting is "
            "necessary, and answer with a method that needs a single pass over a small sample, on "
            "one machine, during a lunch break.",
        ),
        (
            "2 Related work",
            "Sharding divides the customers among many small models, so that only one of them is "
            "trained again. It is exact, but the small models are worse than the large one, and a "
            "shop with loyal customers fills its shards unevenly. Influence functions estimate "
            "what a single row has contributed. They were made for convex losses, and their "
            "estimates become unstable after a few hundred removals. Noise during training bounds "
            "the contribution of everybody in advance, including those who never ask to be "
            "forgotten.",
        ),
        (
            "3 Method",
            "During the last epoch, each batch holds the receipts of a single customer, and its "
            "gradient is added to a vector that carries the number of the customer. The vectors "
            "are stored with eight bits per weight, and need less space than the receipts. When a "
            "customer leaves, the vector is multiplied by the last learning rate and subtracted "
            "from the weights. The model is then shown one percent of the remaining receipts, "
            "once, with a small learning rate, which repairs features that other customers share "
            "with the one who has left. The stored vector is destroyed.",
        ),
        (
            "\f4 Results",
            "We removed between one and five thousand customers from the model of a chain of "
            "grocers. An attacker who knows the receipts of a removed customer guesses membership "
            "with an accuracy of 50.8 percent, where retraining leaves 50.3 percent and doing "
            "nothing leaves 71 percent. A removal takes nine minutes. Accuracy on the test set "
            "falls slowly, and a model from which more than five thousand customers have been "
            "removed should be trained again.",
        ),
        (
            "5 Conclusion",
            "We have shown that a stored vector removes a customer almost as well as retraining. "
            "These results suggest that shops can grant most requests within an hour, and need to "
            "retrain only when the accuracy of their models demands it.",
        ),
        (
            "Limitations",
            "All customers belong to one chain of grocers in one country. We did not test "
            "customers who share a card, and we know of no proof that a stronger attack would "
            "fail.",
        ),
    ),
    columns=1,
    head="Proceedings of Invented Meetings 3 (2025)",
    footnote="",
)
"""The abstract is that of the paper demo-13 in skills/serve/demo/corpus.jsonl."""

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    OF_DEMO.write(DEMO)
    for name, paper in SAMPLES.items():
        paper.write(FOLDER / name)
