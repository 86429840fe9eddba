"""Describe a dataset in Croissant 1.0 (https://docs.mlcommons.org/croissant/), croissant.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.runs.targets import digest
from harness.support.bounded_files import read_bytes
from skills.nanda.framework import Framework

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
PARQUET = "application/x-parquet"
MOST_BYTES = 32_000_000
KEYWORD = "nanda-harness"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes."""


def is_ours(path: Path) -> bool:
    """Return True if a file is the description of a dataset that this module has written."""
    return KEYWORD in json.dumps(_read(path).get("keywords", ""))


def updated(path: Path, name: str, files: Mapping[str, Path], framework: Framework) -> str:
    """Return the description of a dataset as JSON; what else the file at `path` has stays.

    Args:
        files: the Parquet file of each split, in the folder `data` beside `path`.
    """
    before = _read(path)
    made = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": f"Abstracts of papers, annotated with the moves of the {framework.title}.",
        "conformsTo": CONFORMS_TO,
        "keywords": ["scientific papers", "abstracts", "annotations", KEYWORD],
        "distribution": [_file(split, one) for split, one in files.items()],
        "recordSet": [_records(split, one, framework) for split, one in files.items()],
    }
    theirs = ("name", "description", "keywords") if before else ()
    kept = {key: value for key, value in before.items() if key not in made or key in theirs}
    return json.dumps({**made, **kept}, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _file(split: str, path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"file-{split}",
        "name": path.name,
        "contentUrl": f"{path.parent.name}/{path.name}",
        "encodingFormat": PARQUET,
        "contentSize": f"{path.stat().st_size} B",
        "sha256": digest(path),
    }


def _records(split: str, path: Path, framework: Framework) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "field": list(_fields(split, path, framework)),
    }


def _fields(split: str, path: Path, framework: Framework) -> Iterator[dict[str, Any]]:
    """Yield a field for each column of texts; others are described on the card."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    about = {move.name: move.definition for move in framework.moves}
    for column in pq.read_schema(path):
        if pa.types.is_string(column.type):
            name = column.name
            yield {
                "@type": "cr:Field",
                "@id": f"{split}/{name}",
                "name": name,
                **({"description": about[name]} if name in about else {}),
                "dataType": "sc:Text",
                "source": {
                    "fileObject": {"@id": f"file-{split}"},
                    "extract": {"column": name},
                },
            }
