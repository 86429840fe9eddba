"""Train the shipped reader, and fit its thresholds on held-out papers.

    python tools/fit_reader.py GOLD.csv ... --labels LABELS.jsonl ... --abstracts TABLE ...
        [--roles ROLES.jsonl] [--held-out N] [--without FIELD] [--epochs N] [--rate RATE]
        [--bfloat16] [--trained READER] [--scores SCORES.npz] [--limits LABELS.jsonl ...]
        [--mean READER SHARE] --out FILE

There are three kinds of training data:

    GOLD.csv       tables with moves in the annotators' own words; a move is anchored to the
                   sentences that share most words with it
    LABELS.jsonl   for each move, passages of an abstract (docs/measurements/labels.md); the
                   abstract is in a table of --abstracts, and is identified by its digest
    ROLES.jsonl    sentences of abstracts with roles that people assigned (CSAbstruct)

The first N papers of the first gold table, and the papers that were labelled twice, are held out
from training; `encoder.Fitted` is fitted on them. With --without FIELD, the reader is trained
without the labelled papers of a field, as `bench/reader.py --curve` needs it.

With --scores SCORES, from tools/fit_teacher.py, the reader learns from the labels and imitates the
scores of a larger network; from papers without scores, it only learns the labels. With --trained
READER, the training of this reader is continued on the scores; without --scores, only
`encoder.Fitted` is fitted again. The training of READER and of the larger network must have left
out the same papers (--without). With --limits LABELS, limitation and implication are also learned
from these labels; for the other moves of these papers, the scores of READER are imitated, so that
these moves are not forgotten (Li and Hoiem 2016). With --mean READER SHARE, the weights of the
result are the mean of the trained weights and of the weights of READER, which have this share
(Wortsman et al. 2022). Needs the extra `finetune`; an epoch of 4,000 papers takes 12 minutes on two
cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional

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
from skills.reader.network import LAYERS, ROLES, Network, Output
from skills.reader.training import PARTS, TOKENS, Settings, moves_loss, scores_of, train
from tools.gold import rows_of

BASE, TOKENIZER = "all-minilm-l6-v2", "all-minilm-l6-v2-tokenizer"
"""Files of the registry: the base model and its tokenizer."""
SETTINGS = Settings()
STEPS = 50
"""Number of training steps between two printed lines."""
IMITATED = 0.7
"""Weight of the imitation loss; the loss of the labels has the rest."""
SOFTNESS = 1.5
"""Temperature of the shares of sentences in the imitation loss (Hinton et al. 2015)."""
LIMITS = ("limitation", "implication")
"""The moves that are learned from the labels of --limits."""
LIMITS_TIMES = 2
"""Number of times that the papers of --limits are in an epoch."""


@dataclass(frozen=True, slots=True)
class Papers:
    """The papers of a training.

    Attributes:
        held: the held-out papers, on which `encoder.Fitted` is fitted.
        trained: the papers for training; each has the label of a move.
        digests: the digest of the abstract of each paper in `trained`.
    """

    held: list[Example]
    trained: list[Example]
    digests: list[str]


def of_gold(tokenizer: Tokenizer, table: Path) -> Iterator[tuple[str, Example]]:
    """Yield the digest and the example of each paper of a gold table.

    A move is anchored to the sentences that share most words with it.
    """
    framework = nanda()
    for row in rows_of(table, framework):
        moves = row.valid_moves(framework)
        stated = lexical_anchors(row.paper.abstract, framework.stated(moves))
        anchors: dict[str, Anchor | None] = {**dict.fromkeys(framework.names), **stated}
        title, abstract = row.paper.title, row.paper.abstract
        yield row.paper.sha256, example_of(tokenizer, framework.names, title, abstract, anchors)


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


def papers_of(tokenizer: Tokenizer, options: argparse.Namespace, labels: Sequence[Path]) -> Papers:
    """Return the papers of the tables on the command line, and of files with labels."""
    gold = [one for table in options.gold for one in of_gold(tokenizer, table)]
    tables = (*options.abstracts, *options.gold)
    known = {row.paper.sha256: row.paper for table in tables for row in rows_of(table, nanda())}
    labelled = [
        (label, example)
        for file in labels
        for label, example in of_labels(tokenizer, file, known)
        if label["field"] != options.without
    ]
    held = [example for _, example in gold[: options.held_out]]
    held += [example for label, example in labelled if is_held_out(label)]
    trained = gold[options.held_out :]
    trained += [(label["sha256"], one) for label, one in labelled if not label["twice"]]
    trained = [(digest, one) for digest, one in trained if one.stated]
    return Papers(held, [one for _, one in trained], [digest for digest, _ in trained])


def scored(papers: Papers, path: Path) -> list[tuple[Example, tuple[torch.Tensor, ...]]]:
    """Return the papers for training that have scores of a teacher, with the scores.

    Scores for another number of sentences are left out.

    Args:
        path: a file of tools/fit_teacher.py.
    """
    arrays = np.load(path)
    ends = np.cumsum(arrays["sentences"])[:-1]
    split = (np.split(arrays[name].astype("f4"), ends) for name in ("sentence", "part"))
    rows = zip(*split, arrays["unstated"].astype("f4"), strict=True)
    known = dict(zip(arrays["digests"].tolist(), rows, strict=True))
    return [
        (one, tuple(map(torch.tensor, known[digest])))
        for digest, one in zip(papers.digests, papers.trained, strict=True)
        if digest in known and len(known[digest][0]) == len(one.text.sentences)
    ]


def of_limits(
    tokenizer: Tokenizer, options: argparse.Namespace, network: Network
) -> list[tuple[Example, tuple[torch.Tensor, ...]]]:
    """Return the papers of --limits, labelled with `LIMITS` only, with the scores of a network."""
    limits = {nanda().names.index(move) for move in LIMITS}
    known = {
        row.paper.sha256: row.paper
        for table in options.abstracts
        for row in rows_of(table, nanda())
    }
    papers = [
        replace(
            one,
            stated={move: found for move, found in one.stated.items() if move in limits},
            passages={move: found for move, found in one.passages.items() if move in limits},
        )
        for file in options.limits
        for label, one in of_labels(tokenizer, file, known)
        if not label["twice"] and label["field"] != options.without
    ]
    return [
        (one, tuple(map(torch.tensor, (own.sentence, own.part, own.unstated, own.token))))
        for one, own in zip(papers, scores_of(network, papers), strict=True)
    ]


def imitating(
    taught: Sequence[tuple[Example, tuple[torch.Tensor, ...]]],
    limits: Sequence[tuple[Example, tuple[torch.Tensor, ...]]] = (),
) -> Callable[[Output, Sequence[Example]], torch.Tensor]:
    """Return a loss for `train`: for most papers, a weighted sum of imitation and label loss.

    For papers of `limits`, it is the sum of the label loss and of the imitation loss of the moves
    without labels. For other papers without scores, it is the label loss.

    Args:
        taught: the examples with the teacher's scores, which are imitated (see `scored`).
        limits: the examples and scores of `of_limits`.
    """
    scores = {id(one): own for one, own in (*taught, *limits)}
    kept = {id(one) for one, _ in limits}
    every = range(len(nanda().names))

    def loss_of(found: Output, batch: Sequence[Example]) -> torch.Tensor:
        losses: list[torch.Tensor] = []
        for row, one in enumerate(batch):
            own = _row(found, row)
            label = moves_loss(own, [one])
            if id(one) in kept:
                moves = [move for move in every if move not in one.stated]
                teacher = scores[id(one)]
                tokens = tokens_loss(own, one, teacher, moves)
                losses.append(label + imitation_loss(own, teacher[:3], moves) + TOKENS * tokens)
            elif id(one) in scores:
                imitation = imitation_loss(own, scores[id(one)], every)
                losses.append(IMITATED * imitation + (1 - IMITATED) * label)
            else:
                losses.append(label)
        return torch.stack(losses).mean()

    return loss_of


def imitation_loss(
    found: Output, teacher: Sequence[torch.Tensor], moves: Sequence[int]
) -> torch.Tensor:
    """Return the imitation loss of an abstract: of "stated", of the sentence, and of the parts.

    Args:
        found: the output for a batch of one abstract.
        teacher: `sentence`, `part` and `unstated` of the scores that are imitated.
        moves: the indices of the moves that are imitated.
    """
    moves = [*moves]
    sentence, part, unstated = (scores[..., moves] for scores in teacher)
    own = found.sentence[0, : len(sentence)][:, moves]
    stated = torch.sigmoid(torch.logsumexp(sentence, 0) - unstated)
    odds = torch.logsumexp(own, 0) - found.unstated[0, moves]
    of_stated = functional.binary_cross_entropy_with_logits(odds, stated, reduction="none")
    shares, own_shares = (torch.log_softmax(x / SOFTNESS, 0) for x in (sentence, own))
    gap = (shares.exp() * (shares - own_shares)).sum(0) * SOFTNESS**2
    of_parts = functional.binary_cross_entropy_with_logits(
        found.part[0, : len(part)][:, moves], torch.sigmoid(part), reduction="none"
    )
    return (of_stated + stated * gap + PARTS * of_parts.mean(0)).mean()


def tokens_loss(
    found: Output, example: Example, teacher: Sequence[torch.Tensor], moves: Sequence[int]
) -> torch.Tensor:
    """Return the imitation loss of first and last tokens in the teacher's best sentences.

    Args:
        found: the output for a batch of one abstract.
        teacher: `sentence`, `part`, `unstated` and `token` of the scores that are imitated.
        moves: the indices of the moves that are imitated.
    """
    sentence, _, unstated, token = teacher
    stated = torch.sigmoid(torch.logsumexp(sentence, 0) - unstated)
    best = sentence.argmax(0)
    losses = []
    for move in moves:
        start, after = example.text.sentences[int(best[move])]
        for column in (move, token.shape[1] // 2 + move):
            shares = torch.log_softmax(token[start:after, column], 0)
            own = torch.log_softmax(found.token[0, start:after, column], 0)
            losses.append(stated[move] * (shares.exp() * (shares - own)).sum())
    return torch.stack(losses).sum() / len(moves)


def _row(found: Output, row: int) -> Output:
    """Return the output of one abstract of a batch, as a batch."""
    return Output(*(part[row : row + 1] for part in found))


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


def parser_of(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that name the papers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("gold", nargs="+", type=Path)
    parser.add_argument("--labels", nargs="+", type=Path, required=True)
    parser.add_argument("--abstracts", nargs="+", type=Path, required=True)
    parser.add_argument("--held-out", type=int, default=0, metavar="N")
    parser.add_argument(
        "--without",
        metavar="FIELD",
        help="leave out the labelled papers of a field, such as medicine",
    )
    parser.add_argument("--epochs", type=float, default=SETTINGS.epochs)
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="train in bfloat16, which is faster on processors with AVX512-BF16 or AMX",
    )
    parser.add_argument("--out", type=Path, required=True)
    return parser


def load_base(network: Network, weights: Mapping[str, Any]) -> None:
    """Replace the weights of the encoder of a network by the weights of a BERT model.

    Args:
        weights: the weights by their names in the package `transformers`.
    """
    own = {
        "words.weight": weights["embeddings.word_embeddings.weight"],
        # All tokens have the same type; the vector of this type is added to the positions.
        "positions.weight": weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0],
    }
    names = {"embedded": "embeddings.LayerNorm"}
    for number in range(LAYERS):
        theirs = f"encoder.layer.{number}"
        attention = f"{theirs}.attention"
        names |= {
            f"layers.{number}.query": f"{attention}.self.query",
            f"layers.{number}.key": f"{attention}.self.key",
            f"layers.{number}.value": f"{attention}.self.value",
            f"layers.{number}.output": f"{attention}.output.dense",
            f"layers.{number}.attended": f"{attention}.output.LayerNorm",
            f"layers.{number}.grow": f"{theirs}.intermediate.dense",
            f"layers.{number}.shrink": f"{theirs}.output.dense",
            f"layers.{number}.done": f"{theirs}.output.LayerNorm",
        }
    for name, theirs in names.items():
        for kind in ("weight", "bias"):
            own[f"{name}.{kind}"] = weights[f"{theirs}.{kind}"]
    network.load_state_dict({**network.state_dict(), **own})


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__.partition("\n")[0])
    parser.add_argument("--roles", type=Path)
    parser.add_argument("--rate", type=float, default=SETTINGS.rate)
    parser.add_argument("--trained", type=Path, metavar="READER", help="start with this reader")
    parser.add_argument("--scores", type=Path, help="imitate these scores of a larger network")
    parser.add_argument(
        "--limits",
        nargs="+",
        type=Path,
        default=[],
        metavar="LABELS",
        help="also learn limitation and implication from these labels",
    )
    parser.add_argument("--mean", nargs=2, metavar=("READER", "SHARE"), help="average the weights")
    options = parser.parse_args(argv)
    of_scores = options.roles or options.without or options.bfloat16
    if options.trained and not options.scores and of_scores:
        parser.error("--trained takes --roles, --without and --bfloat16 only with --scores")
    if options.limits and not (options.trained and options.scores):
        parser.error("--limits needs --trained and --scores")
    torch.manual_seed(SETTINGS.seed)
    found = settings.from_environment()
    files = FileStore(registry.load(found.shipped_registry).files, found.cache_dir, print)
    tokenizer = Tokenizer.from_file(str(files.ensure(TOKENIZER)))
    # The settings in the tokenizer file would pad and truncate every text to 128 tokens.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    papers = papers_of(tokenizer, options, options.labels)
    roles = [*of_roles(tokenizer, options.roles)] if options.roles else []
    counts = f"{len(papers.trained)} papers, {len(papers.held)} held out, {len(roles)} with roles"
    print(counts, flush=True)
    if options.trained:
        network, _, about = onnx_file.read(options.trained)
        if about.get("without") != options.without and options.scores:
            parser.error(f"{options.trained} was trained without {about.get('without')}")
    else:
        network = Network(len(nanda().names))
        load_base(network, load_file(files.ensure(BASE)))
        about = {
            "moves": nanda().names,
            "framework": nanda().identity,
            "max_chars": nanda().max_chars,
            "base": {"file": BASE, "sha256": files.digest(BASE)},
            "without": options.without,
        }
    if options.scores or not options.trained:
        given = Settings(epochs=options.epochs, rate=options.rate, head_rate=5 * options.rate)
        loss_of, trained = None, papers.trained
        if options.scores:
            taught = scored(papers, options.scores)
            if not taught:
                parser.error(f"{options.scores} has scores of none of these papers")
            limits = of_limits(tokenizer, options, network)
            loss_of = imitating(taught, limits)
            trained = [*trained, *(one for one, _ in limits * LIMITS_TIMES)]
            print(f"{len(taught)} papers have scores", flush=True)
        train(network, trained, given, roles, show(time.time()), loss_of, options.bfloat16)
        count = len({id(one) for one in trained})  # without the repetition of --limits
        about["papers"] = {"trained": count, "held_out": len(papers.held)}
    if options.mean:
        other, share = onnx_file.read(Path(options.mean[0]))[0].state_dict(), float(options.mean[1])
        own = network.state_dict()
        network.load_state_dict({name: own[name].lerp(other[name], share) for name in own})
    fitted = fit([*zip(papers.held, scores_of(network, papers.held), strict=True)], nanda().names)
    about["fitted"] = asdict(fitted)
    onnx_file.write(network, tokenizer.to_str(), about, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {fitted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
