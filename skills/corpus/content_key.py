"""Compute the content key of an annotation, which is equal on every machine for the same work.

    key = "n1:" + sha256(canonical JSON of)
        input       sha256 of the abstract on one line
        prompt      sha256 of the canonical JSON of the first request's messages
        schema      sha256 of the JSON Schema or grammar that constrains the reply, or of the
                    settings by which moves are quoted from the abstract, or null
        form        the format of the reply: "json", "tagged" or "quotes"
        framework   sha256 of the framework's content
        model       sha256 of the weights, adapter and selector, by role; for a server that does
                    not state them, the backend and the server's name of the model
        sampling    temperature, seed, max_tokens
        sections    only if sections of the paper were read: sha256 of each on one line, by kind
        moves       only for an imported annotation, which no model made: sha256 of the canonical
                    JSON of its moves

Canonical JSON has sorted keys and no blanks, in UTF-8. Slots, threads and addresses of servers do
not change the output, and are not part of the key. The version "n1" is increased when the code
changes the output for the same input, such as the repair after an unusable reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skills.nanda.framework import RESERVED, sha256_of

VERSION = "n1"
IMPORT = "import"
"""The backend and the model of an imported annotation; its `where` is the name of the file."""


def key_of(provenance: Mapping[str, Any]) -> str:
    """Compute the content key from the provenance of an annotation."""
    imported = provenance["backend"] == IMPORT
    served = IMPORT if imported else f"{provenance['backend']}/{provenance['where']}"
    parts = {
        "input": provenance["input"]["sha256"],
        "prompt": provenance["prompt_sha256"],
        "schema": provenance["schema_sha256"],
        "form": provenance["form"],
        "framework": provenance["framework"]["digest"],
        "model": dict(provenance["digests"]) or served,
        "sampling": provenance["sampling"],
    }
    if sections := provenance["input"].get("sections"):
        parts["sections"] = sections
    if imported:
        parts["moves"] = provenance["moves_sha256"]
    return f"{VERSION}:{sha256_of(parts)}"


def verify(record: Mapping[str, Any] | str, abstract: str, key: str | None = None) -> list[str]:
    """Check a stored record, and return a message for each mismatch.

    Args:
        record: the record of an annotation, or its JSON.
        abstract: the abstract that is stored with the record.
        key: the content key that is stored next to the record, or None.
    """
    from skills.nanda.paper import abstract_digest

    wrong = []
    try:
        record = json.loads(record) if isinstance(record, str) else record
        provenance = record["provenance"]
        if provenance["input"]["sha256"] != abstract_digest(abstract):
            wrong.append("it was made from another abstract")
        if provenance["key"] != key_of(provenance):
            wrong.append("its key does not match its provenance")
        if provenance["backend"] == IMPORT:
            moves = {name: text for name, text in record.items() if name not in RESERVED}
            if sha256_of(moves) != provenance["moves_sha256"]:
                wrong.append("its moves differ from the imported moves")
        if key not in (None, provenance["key"]):
            wrong.append("the key in its row differs from the key in its record")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        return [f"its record is damaged ({type(exc).__name__})"]
    return wrong
