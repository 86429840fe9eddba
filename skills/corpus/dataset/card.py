"""The card of a dataset, README.md: metadata of the Hub, figures and columns.

A person completes it: the license, the language, and what was selected are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from harness._version import __version__
from harness.runs import targets
from harness.support.reading.bounded_files import read_bytes
from skills.corpus.dataset.facts import Facts
from skills.corpus.shared_files.front_matter import BrokenFrontMatterError, Value, as_yaml
from skills.corpus.shared_files.owned import HTML, MOST_BYTES, Owned, State
from skills.nanda.confidence import SUGGESTED, UNCERTAIN
from skills.nanda.framework import Framework
from skills.nanda.text import counted, escape_markdown

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_LETTERS = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"]
_FOR_A_PERSON = {
    "language": ["en"],
    "task_categories": ["text-generation", "token-classification"],
    "tags": ["scientific-papers", "abstracts", "annotations"],
}
"""Metadata that are set once: a person may change them."""
_LICENSE = (
    "# license: of your own work, one of https://huggingface.co/docs/hub/repositories-licenses\n"
)
_COPYRIGHT = """\
## Rights

The license of a dataset covers what its makers own. The abstracts may be under the copyright of
their authors or publishers, and moves that quote them as well: check that you may publish them.
"""
_WITHOUT = """\
## Rights

The abstracts are left out. Moves may quote them, and may be under the copyright of their authors or
publishers: check that you may publish them.
"""


def update(
    path: Path, name: str, framework: Framework, facts: Mapping[str, Facts], *, force: bool
) -> State | Literal["unreadable"]:
    """Write the card, or bring ours in it up to date."""
    ours = owned(framework, facts)
    if not path.exists():
        once = "".join(as_yaml(key, value) for key, value in _FOR_A_PERSON.items())
        head = f"# {escape_markdown(name)}\n\nWhich papers these are: describe them here.\n\n"
        new = ours.text.replace("---\n", f"---\n{_LICENSE}{once}", 1)
        targets.write_text(path, new.replace("\n---\n", f"\n---\n\n{head}", 1))
        return "made"
    try:
        before = read_bytes(path, MOST_BYTES).decode()
        after, state = ours.merged(before, force=force, adopt=True)
    except (OSError, UnicodeDecodeError, BrokenFrontMatterError):
        return "unreadable"
    if after != before:
        targets.write_text(path, after)
    return state


def owned(framework: Framework, facts: Mapping[str, Facts]) -> Owned:
    """Return what is ours in the card.

    Args:
        facts: the figures of each split.
    """
    whole = Facts()
    for one in facts.values():
        whole.add(one)
    size = next((i for i, most in enumerate(SIZES) if whole.rows < most), len(SIZES))
    files = [{"split": split, "path": f"data/{split}-*"} for split in facts]
    metadata: dict[str, Value] = {
        "size_categories": [_LETTERS[size]],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    block = "\n".join(
        (
            _summary(framework, facts, whole),
            _moves(framework, whole),
            _columns(whole),
            _COPYRIGHT if whole.has_abstracts else _WITHOUT,
        )
    )
    return Owned(metadata, block, HTML)


def _summary(framework: Framework, facts: Mapping[str, Facts], whole: Facts) -> str:
    made = _made(whole)
    splits = ", ".join(f"{split} ({counted(one.rows, 'row')})" for split, one in facts.items())
    return f"""\
## Annotations

{counted(whole.rows, "abstract")}, annotated with the moves of the \
{escape_markdown(framework.title)}, version {escape_markdown(framework.version)}. {made}
A move that the abstract does not state holds exactly `{framework.not_stated}`

Splits: {splits}.

```python
from datasets import load_dataset

rows = load_dataset("USER/NAME", split="{next(iter(facts))}")  # or the path of this folder
```
"""


def _made(facts: Facts) -> str:
    """Return a sentence about who made the annotations, and when."""
    models = "; ".join(
        f"{escape_markdown(model)} with nanda-harness {escape_markdown(version)} ({count:,})"
        for (model, version), count in facts.models.most_common()
    )
    days = sorted(facts.days)
    when = f", {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    return f"Made by {models}{when}; saved with nanda-harness {__version__}."


def _moves(framework: Framework, whole: Facts) -> str:
    rows = [
        (
            f"`{move}`",
            _share(whole.stated[move], whole.rows),
            f"{whole.support[move] / whole.stated[move]:.2f}" if whole.stated[move] else "",
            _share(whole.doubtful[move], whole.stated[move]),
        )
        for move in framework.names
    ]
    head = ("move", "stated", "support", "with a number or name that is not in the abstract")
    return f"""\
## Moves

Support is the share of the content words of a stated move that occur in its abstract. The checks
are made by rules, not by people.

{_table(head, rows)}
"""


def _columns(whole: Facts) -> str:
    rows = [
        ("the id", "of the paper in its source: `arxiv_id`, `paper_id` or `id`"),
        ("`title`, `authors`, `published`, `categories`", "as the source writes them"),
        *[("`abstract`", "the text that was annotated")] * whole.has_abstracts,
        ("each move", "a text"),
        *[("`sections`", "JSON: moves that sections of the paper state")] * whole.has_sections,
        ("`support`", "by move, 0 to 1, or null"),
        ("`confidence`", "by move, the estimated probability that it is right, or null"),
        ("`uncertain`", f"the stated moves with a confidence below {UNCERTAIN}"),
        (
            "`suggestions`",
            f"JSON: passages with a confidence below {SUGGESTED}, of moves that are not stated",
        ),
        (
            "`anchors`, `checks`, `provenance`",
            "JSON: the sentences that a move comes from, what the checks found, and how the "
            "annotation was made",
        ),
    ]
    return f"## Columns\n\n{_table(('column', 'content'), rows)}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} ({part:,})" if whole else ""
