"""One row with its mask, for a plan: decoded where the base's tokenizer is at hand.

Neither torch nor any weight is loaded, and nothing is fetched or unpacked for it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from skills.finetune.model.bases import Base, at_hand, open_tokenizer
from skills.finetune.model.folder import chat_template, end_tokens
from skills.finetune.preparation.examples import Example
from skills.finetune.preparation.tokens import Renderer
from skills.finetune.run.stage import StageContext

NEEDED = ("transformers", "jinja2")


@dataclass(frozen=True, slots=True)
class Sample:
    """A row for people.

    Attributes:
        pieces: its text in turn, and whether that is in the loss.
        decoded: it is the text of its tokens, under the base's chat template; else what the data
            set says, without template and end token.
    """

    pieces: tuple[tuple[str, bool], ...] = ()
    decoded: bool = True


def sample_of(context: StageContext, row: Example) -> Sample:
    """The row as training will see it, or as the data set has it where nobody can tell yet.

    Raises:
        InputError: the base's chat template does not fit it.
    """
    folder = at_hand(context)
    installed = all(importlib.util.find_spec(name) is not None for name in NEEDED)
    if folder is None or not installed or not chat_template(folder):
        given = "".join(f"{message['content']}\n" for message in row.messages)
        return Sample(((given, False), (row.completion, True)), decoded=False)
    renderer = Renderer(open_tokenizer(Base(folder, folder.name, "", "")), end_tokens(folder))
    return Sample(tuple(renderer.pieces(renderer.tokens_of(row))))
