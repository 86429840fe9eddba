"""Compute the content key of an annotation: the same work has the same key everywhere.

    key = "n1:" + sha256(canonical JSON of)
        input       sha256 of the abstract on one line
        prompt      sha256 of the canonical JSON of the first request's messages
        schema      sha256 of the JSON Schema or grammar that constrains the reply, or of the
                    settings by which its moves quote the abstract, or null
        form        the format of the reply: "json", "tagged" or "quotes"
        framework   sha256 of the framework's content
        model       sha256 of the weights, adapter and selector, by role; for a server without them,
                    its backend and the model's name there
        sampling    temperature, seed, max_tokens
        sections    only if sections of the paper are read, too: sha256 of each on one line, by kind
        moves       only for an imported annotation, which no model made: sha256 of the canonical
                    JSON of its moves

Canonical JSON has sorted keys, no blanks, and is UTF-8. Slots, threads and addresses are left out:
they do not change the output. "n1" is increased whenever code changes the output for the same
parts, such as the repair after an unusable reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skills.nanda.framework import RESERVED, sha256_of

VERSION = "n1"
IMPORT = "import"
"""The backend and model of an annotation that was imported from the file `where`."""


def key_of(provenance: Mapping[str, Any]) -> str:
    """Compute the key from an annotation's provenance, without its `key`."""
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
    """Return the mismatches between a record, its key and `abstract`.

    Args:
        record: the record, or its JSON.
        key: the key that is stored beside the record, or None.
    """
    from skills.nanda.paper import abstract_digest

    wrong = []
    try:
        record = json.loads(record) if isinstance(record, str) else record
        provenance = record["provenance"]
        if provenance["input"]["sha256"] != abstract_digest(abstract):
            wrong.append("it was made from another abstract")
        if provenance["key"] != key_of(provenance):
            wrong.append("its key does not follow from its provenance")
        if provenance["backend"] == IMPORT:
            moves = {name: text for name, text in record.items() if name not in RESERVED}
            if sha256_of(moves) != provenance["moves_sha256"]:
                wrong.append("its moves are not those that were imported")
        if key not in (None, provenance["key"]):
            wrong.append("its row has another key than its record")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        return [f"its record is damaged ({type(exc).__name__})"]
    return wrong
