"""Train the shipped reader, and fit its thresholds on held-out papers.

    python tools/fit_reader.py GOLD.csv ... --labels LABELS.jsonl --abstracts TABLE ...
        [--roles ROLES.jsonl] [--held-out N] [--without FIELD] [--epochs N] [--trained READER]
        --out FILE

There are three kinds of training data:

    GOLD.csv       tables with moves in the annotators' own words; a move is anchored to the
                   sentences that share most words with it
    LABELS.jsonl   for each move, passages of an abstract (docs/measurements/labels.md); the
                   abstract is in a table of --abstracts, and is identified by its digest
    ROLES.jsonl    sentences of abstracts with roles that people assigned (CSAbstruct)

The first N papers of the first gold table, and the papers that were labelled twice, are held out
from training; `encoder.Fitted` is fitted on them. With --without FIELD, the reader is trained
without the labelled papers of a field, as `bench/reader.py --curve` needs it. With --trained
READER, whose training left out the same papers, only `encoder.Fitted` is fitted again. Needs the
extra `finetune`; training on 4,000 papers takes 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from safetensors.torch import load_file
from tokenizers import Tokenizer

from harness import settings
from harness.models import registry
from harness.models.weights import FileStore
from skills.nanda.anchors import Anchor, lexical_anchors
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.reader import onnx_file
from skills.reader.encoder import text_of
from skills.reader.examples import Example, example_of
from skills.reader.fitting import fit
from skills.reader.network import ROLES, Network
from skills.reader.training import Settings, scores_of, train
from tools.gold import rows_of

BASE, TOKENIZER = "all-minilm-l6-v2", "all-minilm-l6-v2-tokenizer"
"""Files of the registry: the base model and its tokenizer."""
STEPS = 50
"""Number of training steps between two printed lines."""


def of_gold(tokenizer: Tokenizer, table: Path) -> Iterator[Example]:
    """Yield an example for each paper of a gold table, with moves anchored by common words."""
    framework = nanda()
    for row in rows_of(table, framework):
        moves = row.valid_moves(framework)
        stated = lexical_anchors(row.paper.abstract, framework.stated(moves))
        anchors: dict[str, Anchor | None] = {**dict.fromkeys(framework.names), **stated}
        yield example_of(tokenizer, framework.names, row.paper.title, row.paper.abstract, anchors)


def of_labels(
    tokenizer: Tokenizer, labels: Path, papers: Mapping[str, Paper]
) -> Iterator[tuple[dict[str, Any], Example]]:
    """Yield each label with its training example; labels of unknown papers are left out.

    Args:
        labels: a JSON-lines file with the labels.
        papers: the known papers, by the digests of their abstracts.
    """
    for line in labels.read_text(encoding="utf-8").splitlines():
        label = json.loads(line)
        if (paper := papers.get(label["sha256"])) is None:
            continue
        anchors: dict[str, Anchor | None] = {
            move: {"sentences": [], "spans": spans, "by": "model"} if spans else None
            for move, spans in label["moves"].items()
        }
        yield label, example_of(tokenizer, nanda().names, paper.title, paper.abstract, anchors)


def is_held_out(label: Mapping[str, Any]) -> bool:
    """Return True for the first of two labels of a paper, if it follows guide 2."""
    return bool(label["twice"] and label["pass"] == 1 and label["guide"] == 2)


def of_roles(tokenizer: Tokenizer, roles: Path) -> Iterator[Example]:
    """Yield an example for each abstract of a file with the roles of sentences."""
    for line in roles.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = text_of(tokenizer, "", row["sentences"])
        found = tuple(ROLES.index(one) for one in row["labels"][: len(text.sentences)])
        yield Example(text, roles=found)


def show(started: float) -> Any:
    """Return a callback that prints the mean loss of every `STEPS` steps."""
    losses: list[float] = []

    def after(step: int, steps: int, loss: float) -> None:
        losses.append(loss)
        if step % STEPS == 0 or step == steps:
            mean = sum(losses[-STEPS:]) / len(losses[-STEPS:])
            print(
                f"step {step} of {steps}: loss {mean:.3f}, {time.time() - started:.0f} s",
                flush=True,
            )

    return after


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gold", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--abstracts", nargs="+", type=Path, required=True)
    parser.add_argument("--roles", type=Path)
    parser.add_argument("--held-out", type=int, default=0, metavar="N")
    parser.add_argument(
        "--without",
        metavar="FIELD",
        help="leave out the labelled papers of a field, such as medicine",
    )
    parser.add_argument("--epochs", type=float, default=Settings.epochs)
    parser.add_argument(
        "--trained", type=Path, metavar="READER", help="fit only the thresholds of this reader"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    if options.trained and (options.without or options.roles):
        parser.error("--trained takes neither --without nor --roles")
    found = settings.from_environment()
    files = FileStore(registry.load(found.shipped_registry).files, found.cache_dir, print)
    tokenizer = Tokenizer.from_file(str(files.ensure(TOKENIZER)))
    # The tokenizer's file sets padding and truncation to 128 tokens.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    gold = [one for table in options.gold for one in of_gold(tokenizer, table)]
    papers = {
        row.paper.sha256: row.paper
        for table in options.abstracts
        for row in rows_of(table, nanda())
    }
    labelled = [
        (label, example)
        for label, example in of_labels(tokenizer, options.labels, papers)
        if label["field"] != options.without
    ]
    held = gold[: options.held_out]
    held += [example for label, example in labelled if is_held_out(label)]
    examples = gold[options.held_out :]
    examples += [example for label, example in labelled if not label["twice"]]
    roles = [*of_roles(tokenizer, options.roles)] if options.roles else []
    print(f"{len(examples)} papers, {len(held)} held out, {len(roles)} with roles", flush=True)
    if options.trained:
        network, _, about = onnx_file.read(options.trained)
    else:
        network = Network(len(nanda().names))
        network.load_base(load_file(files.ensure(BASE)))
        train(network, examples, Settings(epochs=options.epochs), roles, show(time.time()))
        about = {
            "moves": nanda().names,
            "framework": nanda().identity,
            "max_chars": nanda().max_chars,
            "base": {"file": BASE, "sha256": files.digest(BASE)},
            "papers": {"trained": len(examples), "held_out": len(held)},
            "without": options.without,
        }
    fitted = fit([*zip(held, scores_of(network, held), strict=True)], nanda().names)
    about["fitted"] = asdict(fitted)
    onnx_file.write(network, tokenizer.to_str(), about, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {fitted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
