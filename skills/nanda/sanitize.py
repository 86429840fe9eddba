"""An abstract is data: what in it could act as more than text is broken before a model sees it.

Engines render messages through a chat template and then read the whole prompt for special tokens:
llama.cpp takes "<|im_end|>" inside a message for the token that ends it. A blank put into such a
token leaves it readable, and leaves nothing for a tokenizer to recognise. The same is done to tags,
among them our own, so that no text can close <abstract> or <annotation>. Only the prompt is
changed; what is stored, and what the checks compare with, is the original.
"""

from __future__ import annotations

import re

from skills.nanda.text import flatten

_OPENERS = re.compile(
    r"""
    <(?=[|\uff5c])                        # <|im_end|>, <|eot_id|>, DeepSeek's with U+FF5C
    | <(?=(?:/\ ?)?[A-Za-z_][^<>]{0,60}>)  # <s>, </annotation>, <start_of_turn>, <<SYS>>, <think>
    | <(?=0x[0-9A-Fa-f]{2}>)              # byte tokens
    | \[(?=/?(?:[A-Z][A-Z_]+|gMASK)\])    # [INST], [/INST], [SYSTEM_PROMPT], [gMASK]
    """,
    re.VERBOSE,
)
_CLOSERS = re.compile(r"[|\uff5c](?=>)")


def defuse(text: str) -> str:
    """`text` on one line, with a blank inside everything that looks like a token or a tag.

    "<|im_end|>" becomes "< |im_end| >", "</annotation>" "< /annotation>" and "[INST]" "[ INST]";
    "p < 0.05", "a<b" and "[3]" stay as they are.
    """
    return _CLOSERS.sub(r"\g<0> ", _OPENERS.sub(r"\g<0> ", flatten(text)))
