"""The names of the sources of papers, and the choice of the enabled sources.

Sources are enabled by the option --source or by the environment variable HARNESS_SOURCES. The value
is a list of names, such as openalex,crossref.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.errors import UsageError

NAMES = ("openalex", "crossref", "semanticscholar", "pubmed", "arxiv")
CORPUS = "corpus"
"""The name of the corpus as a value of `--source`; the corpus is not one of the sources."""
VARIABLE = "HARNESS_SOURCES"


def named(text: str, *, more: Sequence[str] = ()) -> list[str]:
    """Return the names in a comma-separated list of sources, without repetitions.

    Args:
        more: names that are accepted besides the sources.

    Raises:
        ValueError: a name is unknown, or the list is empty.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES and name not in more:
            raise ValueError(
                f"unknown source {name[:40]!r}; choose from {', '.join((*more, *NAMES))}"
            )
    if not names:
        raise ValueError(f"no source is named; choose from {', '.join((*more, *NAMES))}")
    return names


def switched_on(option: str | None) -> list[str]:
    """Return the names of the enabled sources, from `--source` or else from HARNESS_SOURCES.

    Raises:
        UsageError: HARNESS_SOURCES contains an unknown name, or only commas.
    """
    if option:
        return [name for name in named(option, more=(CORPUS,)) if name != CORPUS]
    given = os.environ.get(VARIABLE, "").strip()
    try:
        return named(given) if given else []
    except ValueError as exc:
        raise UsageError(f"{VARIABLE}: {exc}") from exc


def required(option: str | None) -> list[str]:
    """Return the names of the enabled sources; at least one source must be enabled.

    Raises:
        UsageError: no source is enabled.
    """
    if names := switched_on(option):
        return names
    raise UsageError(
        "no source is switched on, so that nothing can be looked up",
        hint=f"Name sources with --source or in {VARIABLE}: {','.join(NAMES)}.",
    )
