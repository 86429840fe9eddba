"""Sanitize text for prompts: break special tokens and tags, so abstracts remain data.

Engines render messages through a chat template and then search the whole prompt for special tokens:
llama.cpp reads "<|im_end|>" inside a message as the token that ends it. A blank inside such a token
keeps it readable but not recognisable for a tokenizer. The same is done to tags, including
<abstract> and <annotation>. Only the prompt changes: stored text and checks use the original.
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


def sanitize(text: str) -> str:
    """Return `text` on one line, with a blank inside everything that looks like a token or tag.

    "<|im_end|>" becomes "< |im_end| >", "</annotation>" "< /annotation>" and "[INST]" "[ INST]";
    "p < 0.05", "a<b" and "[3]" are unchanged.
    """
    return _CLOSERS.sub(r"\g<0> ", _OPENERS.sub(r"\g<0> ", flatten(text)))
