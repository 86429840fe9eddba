"""tools/fit_reader.py: a reader imitates the scores of a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from skills.nanda.framework import nanda
from skills.reader import encoder
from skills.reader.choice import stated_shares
from skills.reader.encoder import Scores
from skills.reader.examples import Example, example_of

pytest.importorskip("torch", reason="needs the finetune extra")
import torch
from transformers import MPNetConfig, MPNetModel

from skills.reader import onnx_file
from skills.reader.network import Batch, Output
from skills.reader.training import Settings, scores_of, train
from tools.fit_reader import Papers, imitating, imitation_loss, scored, tokens_loss
from tools.fit_teacher import SETTINGS, Teacher, save

pytestmark = pytest.mark.train
READER = ROOT / "models" / "nanda-annotator" / "reader.onnx"


def examples() -> list[Example]:
    """Return abstracts of three sentences that state no move."""
    tokenizer = encoder.load(READER)._tokenizer
    names = nanda().names
    return [
        example_of(
            tokenizer,
            names,
            f"Ledgers of {town}",
            f"Ledgers of {town} are long. We sort the ledgers. It takes {10 + len(town)} days.",
            dict.fromkeys(names),
        )
        for town in ("Aville", "Bestadt", "Cetown", "Deham")
    ]


def taught(example: Example, place: int) -> Scores:
    """Return scores that clearly prefer a sentence for all moves."""
    count, moves = len(example.text.sentences), len(nanda().names)
    sentence = np.full((count, moves), -4.0, "f4")
    sentence[place] = 4.0
    return Scores(example.text, sentence, sentence, np.zeros(moves, "f4"), np.zeros((1, 1), "f4"))


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_reader_imitates_the_scores_of_a_teacher(tmp_path: Path, bfloat16: bool) -> None:
    papers = examples()
    digests = [f"paper {number}" for number in range(len(papers))]
    path = tmp_path / "scores.npz"
    save([taught(one, 0) for one in papers], digests, path)
    known = scored(Papers([], papers, digests), path)
    assert [one for one, _ in known] == papers

    network, _, _ = onnx_file.read(READER)
    settings = Settings(epochs=12, batch=4, rate=5e-4, head_rate=2e-3)
    train(network, papers, settings, loss_of=imitating(known), bfloat16=bfloat16)
    for scores in scores_of(network, papers):
        assert set(scores.sentence.argmax(0)) == {0}


def test_a_reader_learns_the_labels_of_papers_without_scores() -> None:
    papers = examples()
    scores = taught(papers[0], 0)
    known = [(papers[0], tuple(map(torch.tensor, (scores.sentence, scores.part, scores.unstated))))]
    network, _, _ = onnx_file.read(READER)
    settings = Settings(epochs=12, batch=4, rate=5e-4, head_rate=2e-3)
    train(network, papers, settings, loss_of=imitating(known))
    first, *others = (stated_shares(one) for one in scores_of(network, papers))
    assert (first > 0.5).all()
    assert (np.array(others) < 0.5).all()


def test_papers_of_limits_learn_their_labels_and_keep_the_other_scores() -> None:
    papers = examples()
    network, _, _ = onnx_file.read(READER)
    before = [*scores_of(network, papers)]
    move = nanda().names.index("limitation")
    kept = [
        (
            replace(one, stated={move: (2,)}, passages={}),
            tuple(map(torch.tensor, (own.sentence, own.part, own.unstated, own.token))),
        )
        for one, own in zip(papers, before, strict=True)
    ]
    settings = Settings(epochs=12, batch=4, rate=5e-4, head_rate=2e-3)
    train(network, [one for one, _ in kept], settings, loss_of=imitating([], kept))
    for old, new in zip(before, scores_of(network, papers), strict=True):
        assert stated_shares(new)[move] > 0.9
        assert new.sentence[:, move].argmax() == 2
        others = [number for number in range(len(nanda().names)) if number != move]
        np.testing.assert_allclose(
            stated_shares(new)[others], stated_shares(old)[others], atol=0.25
        )


def test_the_imitation_losses_are_least_at_the_imitated_scores() -> None:
    [paper, *_] = examples()
    network, _, _ = onnx_file.read(READER)
    moves = range(len(nanda().names))
    [own] = scores_of(network, [paper])
    teacher = [*map(torch.tensor, (own.sentence, own.part, own.unstated, own.token))]
    output = network.eval()(Batch.of([paper.text]))
    scores = [part.detach().requires_grad_() for part in output[:4]]
    found = Output(*scores, output.role)
    loss = imitation_loss(found, teacher[:3], moves) + tokens_loss(found, paper, teacher, moves)
    loss.backward()
    for part in scores:
        assert part.grad is not None
        assert part.grad.abs().max() < 1e-5


def test_a_paper_with_other_sentences_than_the_teachers_is_left_out(tmp_path: Path) -> None:
    papers = examples()
    path = tmp_path / "scores.npz"
    shorter = replace(
        papers[0], text=replace(papers[0].text, sentences=papers[0].text.sentences[:2])
    )
    save([taught(shorter, 0), taught(papers[1], 0)], ["a", "b"], path)
    known = scored(Papers([], papers[:3], ["a", "b", "c"]), path)
    assert [one for one, _ in known] == [papers[1]]


def test_the_lower_layers_of_a_teacher_do_not_change() -> None:
    config = MPNetConfig(
        vocab_size=30_600, hidden_size=24, num_hidden_layers=8, num_attention_heads=2
    )
    teacher = Teacher(MPNetModel(config, add_pooling_layer=False), len(nanda().names))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    papers = examples()
    train(teacher, papers, replace(SETTINGS, epochs=1, batch=4))
    changed = {
        name for name, value in teacher.state_dict().items() if (value != before[name]).any()
    }
    assert not any(name.startswith(("words.", "positions.", "layers.5.")) for name in changed)
    assert {"sentence.weight", "part.weight"} <= changed
    assert any(name.startswith("layers.6.") for name in changed)
    together = teacher(Batch.of([one.text for one in papers]))
    for row, scores in enumerate(scores_of(teacher, papers)):
        count = len(scores.sentence)
        found = together.sentence[row, :count].detach().numpy()
        np.testing.assert_allclose(found, scores.sentence, atol=1e-4)
