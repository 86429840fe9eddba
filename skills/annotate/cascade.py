"""/annotate TABLE --cascade: better models, or a person, annotate the least certain papers.

Each model annotates its papers in a job of its own, so that the same line continues a stopped
cascade. A paper is doubtful if its certainty is below a limit. The least certain doubtful papers of
a model are passed on to the next model, up to the budget. The other doubtful papers, the papers on
which the next model fails, and the doubtful papers of the last model remain for `/curate --review`.

With --sample, the gold of papers drawn at random gives a lower bound for the mean share of right
anchors. The share of a paper is the share of right anchors among the moves that both its annotation
and its gold state, or 0 if there is no such move. As in /evaluate, the anchor of a move is right if
it has a sentence in common with the anchor of the gold move, which lexical alignment finds. A
move does not count if lexical alignment finds no anchor for its gold text.

The bound uses betting for sampling without replacement (Waudby-Smith and Ramdas 2024, "Estimating
means of bounded random variables by betting", arXiv 2010.09686); BARGAIN uses the same tests
(Zeighami, Shankar and Parameswaran 2025, arXiv 2509.02896). If the mean of all N values is m, the
expected t-th value is (N m - sum of the previous values) / (N - t + 1). A gambler bets that each
value is higher than expected, and never bets more than the current wealth. If the mean is really m,
the gambler becomes 20 times richer with a probability of at most 5% (Ville's inequality). The bound
is the lowest m for which the gambler does not become 20 times richer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.api.skill import Call
from harness.errors import HarnessError, InputError, ModelError, UsageError
from harness.models.pool import Choice, Models
from harness.models.served import ServedModel
from harness.support.text_input import shown
from skills.annotate.annotator import quotes
from skills.annotate.plan import PaperFile, Papers, Source
from skills.annotate.table import Finished, annotate_source
from skills.corpus.options import SAVED_TABLES
from skills.corpus.records import Annotated
from skills.corpus.table import open_table
from skills.nanda.anchors import lexical_anchors, read_anchors
from skills.nanda.confidence import certainty_of
from skills.nanda.framework import Framework, task_of
from skills.nanda.text import counted

DOUBTFUL = 0.8
"""Default certainty below which a paper is doubtful; equal to the limit for "sure" in /evaluate."""
NOT_GUARANTEED = "right anchors: nothing is guaranteed without --sample"
METHOD = "lower bound by betting without replacement, arXiv 2010.09686"
RISK = 0.05
"""Maximum probability that the mean is below the bound."""
MOST = 0.75
"""Maximum share of the wealth that the gambler can lose on one value."""
STEPS = 40
"""Number of bisections of the interval of possible means, to find the bound."""


def annotate_cascaded(call: Call, source: Source, framework: Framework) -> Finished:
    """Annotate the papers of `source`, and pass doubtful papers on to the models of --cascade.

    Returns:
        The finished job of the first model, with the latest annotation of each paper.

    Raises:
        UsageError: a name of a model is unknown, or a model occurs twice.
        ModelUnavailable: a model of the cascade cannot be served now.
        ModelError: the annotations of the first model have no confidences.
        InputError: the sample cannot be used.
        HarnessError: `annotate_source` failed for the first model.
    """
    options = call.options
    names = [name.strip() for name in options.cascade.split(",")]
    following = [replace(call.models, choice=Choice(name)) for name in names]
    task = task_of(framework, call.models.registry)
    resolved = [one.resolve(task, {}).resolved for one in (call.models, *following)]
    if len({*resolved}) < len(resolved):
        raise UsageError(f"a model occurs twice in the cascade: {', '.join(resolved)}")
    sample = read_sample(options.sample, framework, source.papers) if options.sample else None
    finished = annotate_source(call, source, framework, _check_confidence)
    cascade = _Cascade(call, finished, framework)
    cascade.run(following)
    return cascade.finish(sample)


def _check_confidence(model: ServedModel) -> None:
    """Check that the annotations of a model have confidences, by which a cascade orders papers.

    Raises:
        ModelError: the annotations have no confidences.
    """
    if not quotes(model):
        raise ModelError(
            f"{model.resolution.resolved} gives no confidences, by which a cascade selects the "
            "papers to pass on",
            hint="Every model of a cascade except the last must select passages of the abstract, "
            "as nanda-annotator does.",
        )


@dataclass(slots=True)
class _Cascade:
    """A cascade over the rows of a job that the first model has finished.

    Attributes:
        finished: the job of the first model, in which later models replace annotations.
        models: the numbers of papers, failures and tokens of each model, by the name of the model.
        doubtful: the doubtful papers of the latest model, as pairs of certainty and row index.
        review: the papers that remain for a person's review, as pairs of certainty and row index.
        pending: number of papers for a later model that this model has not processed.
        stopped: the error that ended the cascade early, or None.
    """

    call: Call
    finished: Finished
    framework: Framework
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    doubtful: list[tuple[float, int]] = field(default_factory=list)
    review: list[tuple[float, int]] = field(default_factory=list)
    pending: int = 0
    stopped: HarnessError | None = None

    def run(self, following: Sequence[Models]) -> None:
        """Pass doubtful papers on to each of the following models in turn.

        The cascade ends early if no paper is passed on, or if an error ended the job of a model.
        """
        job = self.finished.job
        self.stopped = self.finished.stopped
        done = self._count(self.finished, range(len(job.plan)))
        for number, models in enumerate(following, start=1):
            budget = self.call.options.budget
            most = done if budget is None else int(budget * done + 1e-9)
            ordered = sorted(self.doubtful)
            passed, self.doubtful = ordered[:most], []
            self.review += ordered[most:]
            if not passed or self.stopped:
                self.pending += len(passed)
                break
            done = self._pass_on(models, passed, is_last=number == len(following))
        self.review = sorted(self.review + self.doubtful)

    def finish(self, sample: Sample | None) -> Finished:
        """Print the summary of the cascade, and return the job with the annotations of all models.

        Args:
            sample: the gold for the lower bound; None without --sample.
        """
        job, summary = self.finished.job, self.finished.summary
        bound = sample and sample.bound(self.finished.items())
        cascade = {
            "until": self._until,
            "budget": self.call.options.budget,
            "models": self.models,
            "pending": self.pending,
            "review": [job.paper(place).id for _, place in self.review],
            "right_anchors": bound,
        }
        for line in (*self._in_words(), in_words(bound) if bound else NOT_GUARANTEED):
            job.notice(line)
        failed = self.finished.failed + sum(one["failed"] for one in self.models.values())
        return replace(
            self.finished,
            summary={**summary, "cascade": cascade},
            stopped=self.stopped,
            failed=failed,
            next=self._next(),
        )

    @property
    def _until(self) -> float:
        until = self.call.options.until
        return DOUBTFUL if until is None else float(until)

    def _pass_on(
        self, models: Models, passed: Sequence[tuple[float, int]], *, is_last: bool
    ) -> int:
        """Annotate papers with the next model, and return the number of annotated papers.

        An error that ends the work is kept in `stopped`.

        Args:
            passed: the papers, as pairs of certainty and row index.
            is_last: True for the last model of the cascade.
        """
        job = self.finished.job
        places = sorted(place for _, place in passed)
        name = f"{job.source.name}, the least certain"
        call = replace(self.call, models=models)
        models.pool.close()  # two models may not fit into memory
        try:
            papers = PaperFile()
            for place in places:
                papers.append(job.paper(place))
            source = Source(name, papers, job.source.id_column, path=job.source.path)
            check = (lambda _: None) if is_last else _check_confidence
            later = annotate_source(call, source, self.framework, check)
        except HarnessError as exc:  # the annotations of earlier models are kept
            self.stopped, self.pending = exc, len(passed)
            return 0
        self.stopped = later.stopped
        failed = {places[entry.place] for entry in later.job.plan.entries("failed")}
        self.review += [one for one in passed if one[1] in failed]
        done = self._count(later, places)
        self.pending += len(passed) - len(failed) - done
        return done

    def _count(self, finished: Finished, places: Sequence[int]) -> int:
        """Record the annotations and doubtful papers of a model; return the number of annotations.

        Args:
            finished: the job of the model.
            places: for each row of this job, its row index in the job of the first model.
        """
        tokens = {"prompt": 0, "completion": 0}
        done = 0
        for index, item in finished.by_row():
            done += 1
            if finished is not self.finished:
                key = item.record["provenance"]["key"]
                self.finished.job.plan.replace(places[index], key, item.record)
            for kind in tokens:
                tokens[kind] += item.record["provenance"]["tokens"][kind]
            certainty = certainty_of(item.record.get("confidence"), self.framework.names)
            if certainty is not None and certainty < self._until:
                self.doubtful.append((certainty, places[index]))
        model = finished.job.model.resolution.resolved
        self.models[model] = {"papers": done, "failed": finished.failed, "tokens": tokens}
        return done

    def _in_words(self) -> list[str]:
        steps = [f"{counted(one['papers'], 'paper')} by {m}" for m, one in self.models.items()]
        if len(steps) == 1:
            steps.append("no paper passed on")
        steps += [f"{self.pending:,} not passed on yet"] * bool(self.pending)
        steps.append(f"{len(self.review):,} for /curate --review (certainty below {self._until:g})")
        cost = [f"{m} {sum(one['tokens'].values()):,}" for m, one in self.models.items()]
        return [f"cascade: {', then '.join(steps)}", f"tokens: {', '.join(cost)}"]

    def _next(self) -> str:
        targets = [t for t in self.call.targets if t.suffix.lower() in SAVED_TABLES]
        return f"/curate {targets[0]} --review save to gold.csv" if targets and self.review else ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A table with the gold of papers drawn at random.

    Attributes:
        moves: the gold moves of each paper, by the SHA-256 of its abstract.
    """

    path: Path
    framework: Framework
    moves: Mapping[str, Mapping[str, str]]

    def bound(self, items: Iterable[Annotated]) -> dict[str, Any]:
        """Return the share of right anchors in the sample, and a lower bound for all `items`.

        Returns:
            sample: the file.
            papers: number of annotated papers that are in the sample.
            of: number of all annotated papers.
            share: the mean share of right anchors in the sample; None without papers.
            least: the lower bound of the mean share of all annotated papers.
            probability: the minimum probability that the mean is not below the bound.
            method: the name of the method.
        """
        known, count = [], 0
        for item in items:
            count += 1
            if item.paper.sha256 in self.moves:
                known.append(item)
        # The shares must be in random order, but the rows of a file may be sorted.
        known.sort(key=lambda item: item.paper.sha256)
        shares = [
            share_right(item, self.moves[item.paper.sha256], self.framework) for item in known
        ]
        return {
            "sample": str(self.path),
            "papers": len(shares),
            "of": count,
            "share": round(fmean(shares), 3) if shares else None,
            "least": math.floor(1000 * lower_bound(shares, count) + 1e-6) / 1000,
            "probability": 1 - RISK,
            "method": METHOD,
        }


def read_sample(path: Path, framework: Framework, papers: Papers) -> Sample:
    """Return the gold of `papers` from a table; rows about other papers are left out.

    Raises:
        InputError: the table cannot be read, has no gold for any of the papers, or has invalid
            moves.
    """
    table = open_table(path, moves=framework.names)
    table.require_moves()
    given = {row.paper.sha256: row for row in table.rows() if row.has_moves}
    present = {paper.sha256 for paper in papers if paper.sha256 in given}
    if not present:
        raise InputError(
            "has gold of none of these papers",
            where=shown(path),
            hint="Draw papers of the table at random, and make their gold with `/curate TABLE "
            "--review --sample N`.",
        )
    moves = {digest: given[digest].valid_moves(framework) for digest in present}
    return Sample(path, framework, moves)


def share_right(item: Annotated, gold: Mapping[str, str], framework: Framework) -> float:
    """Return the share of right anchors of a paper, as defined in the module docstring."""
    abstract, record = item.paper.abstract, item.record
    moves = framework.stated({name: record[name] for name in framework.names})
    given = read_anchors(abstract, moves, record.get("anchors"))
    expected = lexical_anchors(abstract, framework.stated(gold))
    right = [
        not {*one["sentences"]}.isdisjoint(expected[name]["sentences"])
        for name, one in given.items()
        if name in expected and expected[name]["sentences"]
    ]
    return fmean(right) if right else 0.0


def in_words(found: Mapping[str, Any]) -> str:
    """Return a sentence about the result of `Sample.bound`."""
    if not found["papers"]:
        return f"right anchors: nothing is known, since no paper of {found['sample']} is done"
    return (
        f"right anchors: {found['share']:.1%} of the moves of a paper, on average over "
        f"{found['papers']:,} papers of {found['sample']}; at least {found['least']:.1%} over all "
        f"{found['of']:,} with {found['probability']:.0%} probability, if the sample is "
        f"random ({found['method']})"
    )


def lower_bound(values: Sequence[float], count: int, risk: float = RISK) -> float:
    """Return a lower bound for the mean of a population.

    The mean is below the bound with a probability of at most `risk`.

    Args:
        values: a random sample without replacement, in random order; each value is from 0 to 1.
        count: the size of the population.
    """
    import numpy as np

    drawn, places = np.asarray(values, float), np.arange(len(values))
    before = np.cumsum(drawn) - drawn
    # The stake for each value depends on the variance of the values before it.
    means = (np.cumsum(drawn) + 1 / 2) / (places + 2)
    variances = (np.cumsum((drawn - means) ** 2) + 1 / 4) / (places + 2)
    known = np.concatenate(([1 / 4], variances))[: len(drawn)]
    bets = np.sqrt(2 * math.log(1 / risk) / (len(drawn) * known))

    def is_too_low(mean: float) -> bool:
        if count * mean < drawn.sum():  # the values that were not drawn would have a negative sum
            return True
        expected = (count * mean - before) / (count - places)
        stakes = np.minimum(bets, MOST / np.maximum(expected, 1e-9))
        wealth = np.cumsum(np.log1p(stakes * (drawn - expected)))
        return bool(wealth.max(initial=0.0) >= math.log(1 / risk))

    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(middle) else (low, middle)
    return low
