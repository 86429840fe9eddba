"""Runs of /curate for the tests of its page, with invented annotations and random votes."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from curate_workspace import NAMES, PANEL, item, moves
from page_elements import Elements

from harness.models.served import ServedModel
from harness.testing import FakeModel, fake_models
from skills.curate import gates, probes, run_summary
from skills.curate.curator import Ballot, Criteria, Judge, Verdict, Vote, decide
from skills.curate.items import Input, Item
from skills.curate.outputs import Curation, VoteForm
from skills.curate.panel import Panel
from skills.curate.report_files import write_html
from skills.curate.report_text import verdict_of
from skills.curate.run_summary import Run
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper

FORM = VoteForm("logprobs", "Rating: ", 0.95, {"": 0.4, "Rating: ": 0.95})
BAR = Criteria(PANEL.thresholds, 3)


def gated(number: int) -> Item:
    """An annotation with a number that is not in its abstract."""
    claim = moves(number)["claim"].replace(str(number + 20), "777")
    return checked(item(number, claim=claim))


def checked(found: Item) -> Item:
    """An item with the findings of the gates."""
    findings = gates.find(found.paper, found.moves, nanda())
    return Item(found.paper, found.moves, found.where, findings, None, found.probe, found.changed)


def of_paper(paper: Paper, moves: Mapping[str, str], where: str = "row") -> Item:
    return checked(Item(paper, moves, where))


def voted(found: Item, scores: Sequence[float | None], **explained: str) -> Verdict:
    votes = [
        Vote(name, score, 0.2 if score is None else 0.95, {}, 100, 60, 0.25)
        for name, score in zip(NAMES, scores, strict=True)
    ]
    return decide(found, Ballot(1, tuple(votes), explained), BAR)


def by_chance(found: Item, good: float = 3.2) -> Verdict:
    """Random scores around `good`, the same for the same annotation."""
    chance = random.Random(found.moves_sha256)
    return voted(found, [min(5, max(1, round(chance.gauss(good, 0.6), 3))) for _ in NAMES])


def unjudged(found: Item, reason: str = "The server went away") -> Verdict:
    return decide(found, f"GenerationFailed: {reason}", BAR)


def rejected_by_gates(found: Item) -> Verdict:
    return decide(found, None, BAR)


def mixed(count: int = 40) -> list[Verdict]:
    """`count` annotations of different length: one rejected by a gate, one failed, one with an
    invalid vote."""
    short = [{"limitation": nanda().not_stated} if number % 4 else {} for number in range(count)]
    found = [by_chance(checked(item(number, **short[number]))) for number in range(count)]
    found[3] = rejected_by_gates(gated(3))
    found[5] = unjudged(item(5))
    found[7] = voted(item(7), (4.0, 4.0, None, 2.0, 2.0))
    return found


def known_bad(found: Iterable[Verdict], per_kind: int = 4) -> list[Verdict]:
    """Probes of these annotations, all judged, with lower scores."""
    good = [(one.item.paper, one.item.moves) for one in found if not one.item.findings]
    return [by_chance(one, 2.8) for one in probes.make(good, nanda(), per_kind)]


def served() -> ServedModel:
    found: list[ServedModel] = []
    fake_models(FakeModel(), "judge").run("judge", found.append)
    return found[0]


def a_run(
    own: Sequence[Verdict],
    bad: Sequence[Verdict] = (),
    *,
    bar: Criteria = BAR,
    form: VoteForm = FORM,
    panel: Panel = PANEL,
    framework: Framework | None = None,
    name: str = "data/agent.csv",
) -> Run:
    items = tuple(one.item for one in own)
    source = Input(name, items, "arxiv_id", Counter({"no abstract": 2}))
    framework = framework or nanda()
    return Run(source, framework, panel, Judge(panel, served(), framework, form), bar, own, bad)


def summed(run: Run, *notes: str) -> Curation:
    """The summary of a run as /curate completes it, with these notes."""
    found = run_summary.of_run(run)
    found.verdict = verdict_of(found)
    found.notes = list(notes)
    found.tokens = {"prompt": 61000, "completion": 610}
    found.seconds, found.database, found.run = 12.5, "/home/me/corpus.db", 7
    return found


def written(run: Run, facts: Curation | None = None) -> bytes:
    file = io.BytesIO()
    write_html(file, run, facts or summed(run))
    return file.getvalue()


OWN = mixed()
RUN = a_run(OWN, known_bad(OWN))
FACTS = summed(RUN, "uncalibrated: see `/curate --calibrate`", "this judge is weak")


def page_of(run: Run = RUN, facts: Curation | None = None) -> Elements:
    return Elements(written(run, facts or (FACTS if run is RUN else None)))
