"""Measure how much a reader improves by training on reviewed papers of another field.

    python bench/reader.py --curve [--start FILE] [--field NAME] [--draws N] [--counts N ...]
                           [--held-out N] [--labels FILE] [--abstracts TABLE]

Each draw orders the labelled papers of a field (models/nanda-annotator/labels.jsonl) randomly,
holds out the first papers, and trains on the next 25, 50, 100 and 200 papers with the settings of
`/finetune TABLE --reader`. Prints for each number of papers the share of right decisions on the
held-out papers (`fitting.right_decisions`): mean, lowest and highest value of the draws. The
thresholds and scales in `encoder.Fitted` are not changed; /finetune also fits these if there are
100 or more papers.

The shipped reader was trained on these papers. For a valid curve, start from a reader that was
trained without the field:

    python tools/fit_reader.py ... --without medicine --out without.onnx
    python bench/reader.py --curve --start without.onnx

Needs the extra `finetune`. A draw takes 3 minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tokenizers import Tokenizer  # noqa: E402

from skills.finetune.reader import TRAINING  # noqa: E402
from skills.nanda.framework import nanda  # noqa: E402
from skills.reader import onnx_file  # noqa: E402
from skills.reader.encoder import Fitted  # noqa: E402
from skills.reader.examples import Example  # noqa: E402
from skills.reader.fitting import right_decisions  # noqa: E402
from skills.reader.network import Network  # noqa: E402
from skills.reader.training import Settings, scores_of, train  # noqa: E402
from tools.fit_reader import of_labels  # noqa: E402
from tools.gold import rows_of  # noqa: E402

SHIPPED = ROOT / "models" / "nanda-annotator" / "reader.onnx"
LABELS = SHIPPED.with_name("labels.jsonl")
ABSTRACTS = ROOT.parent / "shared" / "data" / "pool_fields.csv"
COUNTS = (0, 25, 50, 100, 200)


def curve(options: argparse.Namespace) -> None:
    """Print the learning curve."""
    network, stored, about = onnx_file.read(options.start)
    if about.get("without") != options.field:
        print(f"{options.start} was trained on papers of {options.field}: the curve is too flat")
    papers = {row.paper.sha256: row.paper for row in rows_of(options.abstracts, nanda())}
    labelled = of_labels(Tokenizer.from_str(stored), options.labels, papers)
    examples = [
        example
        for label, example in labelled
        if label["field"] == options.field and not label["twice"]
    ]
    most = options.held_out + max(options.counts)
    print(f"{len(examples)} labelled papers of {options.field}, {options.held_out} held out")
    if len(examples) < most:
        sys.exit(f"{options.labels}: {most} papers of {options.field} are needed, see --held-out")
    stated = Fitted(**about["fitted"]).stated
    found: dict[int, list[float]] = {count: [] for count in options.counts}
    started = time.monotonic()
    for draw in range(options.draws):
        drawn = random.Random(draw).sample(examples, most)
        held, pool = drawn[: options.held_out], drawn[options.held_out :]
        for count in options.counts:
            share = share_right(trained(network, pool[:count], draw), held, stated)
            found[count].append(share)
            print(
                f"draw {draw + 1}, {count} papers: {share:.3f}, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    print("\npapers  right decisions  lowest  highest")
    for count, shares in found.items():
        mean = statistics.mean(shares)
        print(f"{count:6}  {mean:15.3f}  {min(shares):6.3f}  {max(shares):7.3f}")


def trained(start: Network, examples: Sequence[Example], seed: int) -> Network:
    """Return a copy of `start`, trained on the examples; `start` itself without examples."""
    if not examples:
        return start
    network = copy.deepcopy(start)
    train(network, examples, Settings(**{**TRAINING, "seed": seed}))
    return network


def share_right(network: Network, held: Sequence[Example], stated: Mapping[str, float]) -> float:
    """Return the share of right decisions on held-out papers."""
    read = [*zip(held, scores_of(network, held), strict=True)]
    right, count = right_decisions(read, [stated] * len(read), nanda().names).sum(0)
    return float(right / count)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--curve", action="store_true", required=True)
    parser.add_argument("--start", type=Path, default=SHIPPED)
    parser.add_argument("--field", default="medicine")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--held-out", type=int, default=150)
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--abstracts", type=Path, default=ABSTRACTS)
    curve(parser.parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
