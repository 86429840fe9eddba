"""Run the network of a reader: one pass over an abstract scores its sentences and tokens.

The file of a reader is an ONNX graph, which `skills.reader.onnx_file` writes. The metadata of the
graph contain the tokenizer, the moves and the fitted figures. The encoder is BERT (Devlin et al.
2019) with 8-bit weights. The vectors from the encoder give the scores of tokens. For the scores of
sentences, position vectors are added to the mean vectors of the sentences, and another layer
follows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelUnavailable
from skills.nanda.framework import longest_quote, nanda

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

FAR = 31
"""The highest position of a sentence; all later sentences also get this position."""
INPUTS = ("tokens", "means", "places")
OUTPUTS = ("sentence", "part", "unstated", "token")
MOST = 512
"""Maximum number of tokens that the encoder reads."""
TITLE = 60
"""Maximum number of tokens of a title that are read."""


@dataclass(frozen=True, slots=True)
class Text:
    """The tokens of a paper: [CLS] title [SEP] sentence [SEP] sentence [SEP] ...

    Attributes:
        ids: the ids of the tokens.
        sentences: for each sentence, the indices of its first token and of the token after its last
            token. Sentences beyond the first `MOST` tokens of the paper are cut or left out.
        offsets: for each sentence, the start and the end of each token in characters.
    """

    ids: tuple[int, ...]
    sentences: tuple[tuple[int, int], ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...]

    def tokens(
        self, sentence: int, starts: Sequence[int], ends: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Return the indices in `ids` of the first and of the last tokens of words in a sentence.

        Args:
            sentence: the index of the sentence.
            starts, ends: the start and the end of each word in characters.
        """
        import numpy as np

        first, after = self.sentences[sentence]
        own_starts, own_ends = np.array(self.offsets[sentence]).T
        begins = np.searchsorted(own_ends, starts, "right")
        lasts = np.maximum(np.searchsorted(own_starts, ends) - 1, begins)
        limit = after - first - 1
        found = (first + np.minimum(places, limit) for places in (begins, lasts))
        return tuple(places.tolist() for places in found)


def text_of(tokenizer: Tokenizer, title: str, sentences: Sequence[str]) -> Text:
    """Return the tokens of a title, which may be "", and of the sentences of an abstract."""
    begin, separator = (tokenizer.token_to_id(token) or 0 for token in ("[CLS]", "[SEP]"))
    ids = [begin]
    if title:
        ids += [*tokenizer.encode(title, add_special_tokens=False).ids[:TITLE], separator]
    places, offsets = [], []
    for one in tokenizer.encode_batch([*sentences], add_special_tokens=False):
        left = MOST - 1 - len(ids)
        if left < 1:
            break
        own = one.ids[:left] or [separator]
        places.append((len(ids), len(ids) + len(own)))
        offsets.append(tuple(one.offsets[: len(own)]) or ((0, 0),))
        ids += [*own, separator]
    return Text(tuple(ids), tuple(places), tuple(offsets))


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores that the network gives to an abstract, as logits.

    Attributes:
        text: the tokens that were read.
        sentence: (sentences, moves), the score of each sentence as the best sentence of a move. The
            softmax over sentences is the probability of each sentence, given that the move is
            stated.
        part: (sentences, moves), the score of each sentence as one of the sentences of a move.
        unstated: (moves,), the score of "not stated", on the scale of `sentence`.
        token: (tokens, 2 x moves). The first half has, for each move, the score of a token as the
            first token of a passage. The second half has its score as the last token. Only scores
            within a sentence can be compared.
    """

    text: Text
    sentence: NDArray[Any]
    part: NDArray[Any]
    unstated: NDArray[Any]
    token: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Figures that were fitted on papers on which the network was not trained.

    Attributes:
        confidence: slope and intercept that turn log odds of the network into log odds that a
            decision is right.
        stated: for each move, the minimum probability at which the move counts as stated.
        part: for each move, the minimum probability at which a second or third sentence is quoted.
        repeated: the reduction of the log probability of a sentence for a second move.
    """

    confidence: tuple[float, float]
    stated: Mapping[str, float]
    part: Mapping[str, float]
    repeated: float


class Encoder:
    """A loaded reader, which several threads may use at the same time.

    Attributes:
        moves: the names of the moves, in the order of the scores.
        framework: name and digest of the framework whose moves the reader was trained to find.
        longest: maximum number of characters of a quote (`Framework.longest`).
        digest: SHA-256 of the file.
    """

    def __init__(
        self, session: InferenceSession, tokenizer: Tokenizer, about: Mapping[str, Any], digest: str
    ) -> None:
        self._session, self._tokenizer = session, tokenizer
        self.moves: tuple[str, ...] = tuple(about["moves"])
        self.framework: Mapping[str, Any] = about["framework"]
        self.longest = longest_quote(about.get("max_chars", nanda().max_chars))
        self.fitted = Fitted(**about["fitted"])
        self.digest = digest

    def read(self, sentences: Sequence[str], title: str = "") -> Scores:
        """Return the scores of an abstract.

        Args:
            sentences: the sentences of the abstract, at least one sentence.
        """
        text = text_of(self._tokenizer, title, sentences)
        feed = dict(zip(INPUTS, inputs_of(text), strict=True))
        return Scores(text, *(one[0] for one in self._session.run(OUTPUTS, feed)))


def inputs_of(text: Text) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the inputs of the network for one abstract.

    Returns:
        The ids of the tokens, (1, tokens).
        The weights that give the mean of each sentence, (1, sentences, tokens).
        The positions of the sentences from the beginning and from the end, (2, sentences).
    """
    import numpy as np

    count = len(text.sentences)
    means = np.zeros((1, count, len(text.ids)), np.float32)
    for number, (first, after) in enumerate(text.sentences):
        means[0, number, first:after] = 1 / (after - first)
    order = np.arange(count)
    places = np.minimum(np.stack([order, order[::-1]]), FAR)
    return np.array([text.ids], np.int64), means, places


def load(path: Path) -> Encoder:
    """Load a reader from a file; each pass over an abstract uses one thread.

    Raises:
        ModelUnavailable: the file cannot be read, or is not a reader.
    """
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        stored = session.get_modelmeta().custom_metadata_map
        about, tokenizer = json.loads(stored["reader"]), Tokenizer.from_str(stored["tokenizer"])
        return Encoder(session, tokenizer, about, hashlib.sha256(content).hexdigest())
    except OSError as exc:
        raise ModelUnavailable(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except Exception as exc:  # onnxruntime and tokenizers raise many classes of errors
        raise ModelUnavailable(
            f"{path} is not the file of a reader: {exc}",
            hint="`/finetune TABLE --reader` trains a reader.",
        ) from exc
