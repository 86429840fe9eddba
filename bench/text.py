"""Measure how the time of functions grows with the size of an untrusted text.

    python bench/text.py [--most CHARACTERS] [NAME...]

Measures the CPU time of each function on hostile texts of several shapes, with CHARACTERS
characters and with an eighth of them; if the growth is more than linear, also with a half and a
quarter. Prints for each function the largest exponent over the shapes (1 means linear time, 2
quadratic; the aim is `AIM`), and the time at the largest size. A NAME selects the functions with
this text in their name.

tests/bench/test_text.py calls the same functions with the same shapes under a limit of CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import errors
from harness.agent_skills import skill_md
from harness.chat.toolbox import shortened
from harness.cli import intent
from harness.errors import HarnessError
from harness.models.backend import ToolCall
from harness.models.backends.generation import PrefillStripper, well_formed_json
from harness.plugins.catalogue import Found
from harness.runs.invocation import parse, split_command, trusts
from harness.support import text_input
from harness.terminal import streams
from skills.annotate import abstract_text, papers, survey_page, topic
from skills.annotate.plugin import Annotate
from skills.corpus import views
from skills.corpus.db import facets
from skills.corpus.search import filters, query_syntax, quotes
from skills.corpus.table import open_table
from skills.corpus.tables import markdown_lists as markdown_reader
from skills.corpus.tables.saved_tables import csv_row
from skills.curate import gates, probes
from skills.evaluate import annotators, measures
from skills.finetune.dataset import merging
from skills.nanda import checks, doubts, paper, passages, sentences, text, unsupported
from skills.nanda.anchors import lexical_anchors, placed
from skills.nanda.framework import nanda
from skills.nanda.generated_forms import JsonForm, TaggedForm
from skills.nanda.paper import Paper, iso_date, own_id

MOST = 1_000_000
MOST_OF_A_MOVE = 100_000
"""Maximum text size for functions that take one move; a framework allows 2,000 characters."""
AIM = 1.2
FAST = 0.02
"""CPU seconds below which growth cannot be measured."""
ENOUGH = 5.0
"""CPU seconds of a call above which a function is not measured at larger sizes."""

PATTERNS: Mapping[str, str] = {
    "dots": ".",
    "blanks": " ",
    "line feeds": "\n",
    "blank lines": "a\n\n",
    "one word": "a",
    "quotes": '"',
    "digits": "1",
    "thousands": "1,000",
    "abbreviations": "a. ",
    "parentheses": "(",
    "brackets": "[",
    "links": "[a](",
    "hyphens": "-",
    "compounds": "a-",
    "options": " --a",
    "saves": " save to a",
    "commas": "a, ",
    "stars": "*",
    "tags": "<a ",
    "closers": "|>",
    "back-ticks": "`",
    "equals": "a=",
    "arXiv": "arxiv:",
    "addresses": "https://a",
    "sentences": "The method sorts 12 papers by GPT-4. ",
    "names": "RuleBank-2 ",
    "combining": "a\u0301",
    "joiners": "\u200d",
    "emoji": "\U0001f600",
    "capital sharp": "\u1e9e ",
    "superscripts": "10\u207b\u00b2\u00b9 ",
    "mixed": "a.b-c (d) \"e\" 1,2 *f*\n# g_h <i> 'j' `k`: l=m; ",
}


def _repeated(pattern: str, size: int) -> str:
    """Return `size` characters of a repeated pattern."""
    return (pattern * (size // len(pattern) + 1))[:size]


SHAPES: Mapping[str, Callable[[int], str]] = {
    name: functools.partial(_repeated, pattern) for name, pattern in PATTERNS.items()
} | {"closing": lambda size: _repeated(")", size - 1) + "a"}

NANDA = nanda()
LONGEST = NANDA.max_chars
TAGGED, JSON = TaggedForm(NANDA), JsonForm(NANDA)
MOVES = {name: f"The {name} sorts 12 papers." for name in NANDA.names}
SENTENCE = "We present method RuleBank-2 for the task of sorting 12 papers."


def paper_of(given: str, **more: str) -> Paper:
    return Paper("id", "1", more.pop("title", ""), given, {"kind": "text"}, **more)


def table_of(suffix: str, given: str) -> None:
    """Write a table file with the content `given`, and read all usable rows of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table{suffix}")
        path.write_text(given, encoding="utf-8", newline="")
        for _ in open_table(path).rows_or_errors():
            pass


def cell_of(given: str) -> None:
    table_of(".csv", "id,abstract\n1," + '"' + given.replace('"', '""') + '"\n')


def judged(given: str) -> None:
    """Make probes from an annotation of the abstract `given`, and check them by the gates."""
    other = paper_of(SENTENCE)
    probes.make([(paper_of(given), MOVES), (other, dict(MOVES))], NANDA, per_kind=1)


def indexed(given: str) -> None:
    index: merging.AbstractIndex[int] = merging.AbstractIndex()
    index.add(given, 1)
    index.find(f"{given} again")


def stripped(given: str) -> None:
    stripper = PrefillStripper(given)
    for start in range(0, len(given), 8):
        stripper.feed(given[start : start + 8])
    stripper.flush()


def parsed(given: str) -> None:
    parse(Annotate(), given)


def triggered(given: str) -> None:
    for line in (given, f"annotate {given}", f"please annotate the paper {given}"):
        intent.triggered({"annotate": Found(Annotate(), "built in")}, line)


Function = Callable[[str], object]
FUNCTIONS: Mapping[str, Function] = {
    "text.flatten": text.flatten,
    "text.composed": text.composed,
    "text.words": text.words,
    "text.stem": text.stem,
    "text.content_words": text.content_words,
    "sentences.split_sentences": sentences.split_sentences,
    "sanitize.sanitize": text.sanitize,
    "text.escape_markdown": text.escape_markdown,
    "arxiv_id.page_address": paper.page_address,
    "arxiv_id.find_arxiv_id": paper.find_arxiv_id,
    "arxiv_id.find_arxiv_id(allow_bare)": lambda t: paper.find_arxiv_id(t, allow_bare=True),
    "paper.iso_date": iso_date,
    "paper.own_id": own_id,
    "unsupported.unsupported_names(move)": lambda t: unsupported.unsupported_names("", t),
    "unsupported.unsupported_names(abstract)": lambda t: unsupported.unsupported_names(t, SENTENCE),
    "unsupported.without_names(move)": unsupported.without_names,
    "unsupported.unsupported_numbers(move)": lambda t: unsupported.unsupported_numbers("", t),
    "anchors.lexical_anchors(move)": lambda t: lexical_anchors(SENTENCE, {"claim": t}),
    "anchors.placed": lambda t: placed(
        {"anchors": lexical_anchors(t, MOVES)}, t, t.replace(" ", "\n")
    ),
    "checks.check(abstract)": lambda t: checks.check(t, MOVES),
    "doubts.find_doubts(abstract)": lambda t: doubts.find_doubts(t, MOVES),
    "doubts.find_doubts(move)": lambda t: doubts.find_doubts(SENTENCE, {"claim": t}),
    "checks.copied(move)": lambda t: checks.copied(SENTENCE, t),
    "checks.support(move)": lambda t: checks.support(SENTENCE, t),
    "framework.valid_moves": lambda t: NANDA.valid_moves({**MOVES, "claim": t}),
    "json_form.JsonForm.parse": JSON.parse,
    "json_form.JsonForm.messages": lambda t: JSON.messages(paper_of(t)),
    "tagged.TaggedForm.parse": TAGGED.parse,
    "tagged.TaggedForm.decisions": lambda t: list(TAGGED.decisions(t)),
    "passages.text_of(move)": lambda t: passages.text_of(t, [passages.trimmed(t)]),
    "papers.check_length": lambda t: papers.check_length(paper_of(t), NANDA.max_words),
    "abstract_text.read_paper(line)": lambda t: abstract_text.read_paper(papers.recognize(t)),
    "abstract_text.read_paper(stdin)": lambda t: abstract_text.read_paper(
        papers.recognize(t, "stdin")
    ),
    "abstract_text.title_and_abstract": abstract_text.title_and_abstract,
    "topic.subject_words": topic.subject_words,
    "survey.groups.grouped": lambda t: survey_page.grouped(
        "", [(f"{t[:LONGEST]}. {t[:LONGEST]}", t)] * 4
    ),
    "survey.entries.authors_and_year": lambda t: survey_page.authors_and_year(
        paper_of("", authors=t)
    ),
    "tables: csv cell": cell_of,
    "tables: csv file": lambda t: table_of(".csv", f"id,abstract\n{t}\n"),
    "tables: jsonl cell": lambda t: table_of(".jsonl", json.dumps({"id": "1", "abstract": t})),
    "tables: jsonl file": lambda t: table_of(".jsonl", f'{{"abstract": "a"}}\n{t}\n'),
    "tables: md file": lambda t: table_of(".md", f"## Title\n**Abstract:** a\n{t}\n"),
    "markdown_reader.is_list": markdown_reader.is_list,
    "saved_tables.csv_row": lambda t: csv_row([t]),
    "facets.categories": facets.categories,
    "facets.words": lambda t: facets.words("claim", paper_of("", categories=t)),
    "query_syntax.tokens": query_syntax.tokens,
    "query_syntax.parse_years": query_syntax.parse_years,
    "quotes.places_of": lambda t: list(quotes.places_of(" a", t)),
    "filters.parse": lambda t: filters.parse(t, NANDA),
    "views._wrapped": views._wrapped,
    "gates.find(abstract)": lambda t: gates.find(paper_of(t), MOVES, NANDA),
    "gates.find(move)": lambda t: gates.find(paper_of(SENTENCE), {**MOVES, "claim": t}, NANDA),
    "probes.make": judged,
    "annotators.lead": lambda t: annotators.lead([paper_of(t)], NANDA),
    "similarity.chrf(move)": lambda t: measures.chrf(t, SENTENCE),
    "near_duplicates.AbstractIndex": indexed,
    "text_input.path_in": text_input.path_in,
    "text_input.given": text_input.given,
    "well_formed.well_formed": text_input.well_formed,
    "well_formed.well_formed_json": well_formed_json,
    "ToolCall.sendable": lambda t: ToolCall("a", t).sendable,
    "PrefillStripper.feed": stripped,
    "grammar.split_command": split_command,
    "grammar.parse": parsed,
    "grammar.trusts": trusts,
    "intent.triggered": triggered,
    "intent._request": intent._request,
    "suggestions.did_you_mean": lambda t: errors.did_you_mean(t, ["annotate", "curate"]),
    "tool_result.shortened": shortened,
    "streams.CONTROLS": lambda t: t.translate(streams.CONTROLS),
    "front_matter.parse": lambda t: skill_md.parse_front_matter(t, Path(), lenient=True),
}


def called(function: Function, given: str) -> float:
    """Return the CPU seconds of a call, which may refuse the text with an error."""
    started = time.process_time()
    with contextlib.suppress(HarnessError, ValueError):
        function(given)
    return time.process_time() - started


def measured(function: Function, shape: Callable[[int], str], most: int) -> dict[int, float]:
    """Return the CPU seconds of calls by size of the text, for sizes up to `most`.

    Sizes between the smallest and the largest are measured only if growth seems more than linear.
    """
    small = most // 8
    found = {small: called(function, shape(small))}
    if found[small] > ENOUGH:
        return found
    found[most] = called(function, shape(most))
    # Growth is more than linear, or another process disturbed the measurement.
    if found[most] > 10 * max(found[small], FAST):
        for size in (most // 4, most // 2):
            found[size] = called(function, shape(size))
    return dict(sorted(found.items()))


def exponent(seconds: Mapping[int, float]) -> float:
    """Return the slope of log time over log size, by least squares over measurable times."""
    points = [(math.log(n), math.log(t)) for n, t in seconds.items() if t >= FAST]
    if len(points) < 2:
        return 0.0
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how text functions grow.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--most", type=int, default=MOST)
    options = parser.parse_args()
    wanted = options.names
    print(f"{'function':<46} {'exponent':>8} {'seconds':>8} {'characters':>10}  worst shape")
    worst = 0.0
    for name, function in FUNCTIONS.items():
        if wanted and not any(part in name for part in wanted):
            continue
        most = min(options.most, MOST_OF_A_MOVE) if name.endswith("(move)") else options.most
        found = {shape: measured(function, make, most) for shape, make in SHAPES.items()}
        steep = max(found, key=lambda shape: exponent(found[shape]))
        slow = max(found, key=lambda shape: (-max(found[shape]), found[shape][max(found[shape])]))
        slope = exponent(found[steep])
        size = max(found[slow])
        shown = f"{slope:8.2f} {found[slow][size]:8.2f} {size:>10,}"
        print(f"{name:<46} {shown}  {steep}; slowest: {slow}", flush=True)
        worst = max(worst, slope)
    print(f"largest exponent {worst:.2f}, aim {AIM}")
    return 0 if worst <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
