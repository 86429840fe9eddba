"""Support for the tests of /curate: invented annotations, a panel and a judge."""

from __future__ import annotations

import csv
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.cli.app import App
from harness.errors import Interrupted
from harness.models.backend import Message, OnText, Reply, Request
from harness.models.served import ServedModel
from harness.runs.frontend import Outcome
from harness.testing import FakeModel, fake_app, fake_models
from skills.corpus.db.connection import open_corpus
from skills.curate import ballots, panel
from skills.curate.items import Item
from skills.curate.outputs import VoteForm
from skills.curate.panel import Panel
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

TOPICS = (
    ("crates of apples", "carts", "orchards", "markets"),
    ("bundles of letters", "riders", "villages", "offices"),
    ("barrels of herring", "boats", "harbours", "kitchens"),
    ("sacks of flour", "mules", "windmills", "bakeries"),
    ("rolls of linen", "weavers", "workshops", "tailors"),
    ("jars of honey", "keepers", "meadows", "pharmacies"),
    ("slabs of marble", "barges", "quarries", "sculptors"),
)
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon")
"""Names of the personas."""
PREFILLS = ("", "Rating:", "Rating: ")
CHOSEN = "Rating: "
MASS = 0.95
"""The probability that the judge gives to the answers by default."""
FORM = VoteForm("logprobs", CHOSEN, MASS)


def panel_of(names: Iterable[str] = NAMES, **changed: Any) -> Panel:
    """Return a panel whose personas have the threshold 3; `changed` replaces fields."""
    personas = [
        {
            "name": name,
            "title": name.capitalize(),
            "criterion": f"what {name} looks at is right",
            "why": "It is for tests.",
            "ask": f"As {name}: is the claim '{{claim}}' borne out by '{{claim_source}}'? 1 to 5.",
            "threshold": 3.0,
        }
        for name in names
    ]
    data: dict[str, Any] = {
        "version": "1",
        "system": "You judge annotations of abstracts. Answer with one digit from 1 to 5.",
        "shared": "<abstract>\n{abstract}\n</abstract>\n<annotation>\n{annotation}\n</annotation>",
        "answers": {str(value): value for value in range(1, 6)},
        "prefills": PREFILLS,
        "explain": "Say in a sentence why this is not so: {criterion}",
        "personas": personas,
    }
    return Panel.model_validate({**data, **changed})


PANEL = panel_of()


def abstract(number: int) -> str:
    goods, movers, places, users = TOPICS[number % len(TOPICS)]
    return (
        f"Sorting {goods} is slow when {movers} arrive from {places} in bursts. "
        f"We present a method that groups {goods} by weight before it sorts them. "
        f"On {1000 + number} deliveries it is {number + 20} times as fast as plain sorting and "
        f"loses nothing. It keeps every group in memory, and was not tried with {movers} that turn "
        f"back. {users.capitalize()} get their goods {number + 60} minutes earlier by it. Nobody "
        f"had grouped {goods} by weight before, as far as the {users} know."
    )


def moves(number: int) -> dict[str, str]:
    """Return an annotation that passes the gates."""
    goods, movers, places, users = TOPICS[number % len(TOPICS)]
    return {
        "claim": f"Grouping {goods} by weight first makes sorting them {number + 20} times faster.",
        "evidence": f"Nothing was lost on {1000 + number} deliveries, compared with plain sorting.",
        "method": f"A method groups {goods} by their weight, and sorts each group afterwards.",
        "scope": f"Deliveries by {movers} that arrive in bursts from {places} are looked at.",
        "limitation": f"Every group stays in memory, and {movers} turning back were not tried.",
        "comparison": f"Plain sorting, which is slow when {movers} come in bursts, is compared.",
        "implication": f"{users.capitalize()} have goods {number + 60} minutes earlier by that.",
        "novelty": f"As far as {users} know, nobody grouped {goods} in this way before.",
    }


def row(number: int, **changed: str) -> dict[str, str]:
    """Return a row of a table of annotations."""
    return {
        "arxiv_id": f"2401.{number:05}",
        "title": f"Paper {number}",
        "abstract": abstract(number),
        **moves(number),
        **changed,
    }


def ids(*numbers: int) -> list[str]:
    return [row(number)["arxiv_id"] for number in numbers]


def gated(number: int) -> dict[str, str]:
    """Return a row that a gate rejects: its claim has a number that is not in the abstract."""
    return row(number, claim=moves(number)["claim"].replace(str(number + 20), "777"))


def item(number: int, **changed: str) -> Item:
    paper = Paper("arxiv_id", f"2401.{number:05}", f"Paper {number}", abstract(number))
    return Item(paper, {**moves(number), **changed}, f"row {number}")


def write_table(path: Path, *rows: Mapping[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Judge(FakeModel):
    """A model that scores an invented annotation with 5 and any other with 1, by default.

    Attributes:
        scores: by number of the paper and name of the persona, for invented annotations; None is a
            vote without mass, and the name "" means all personas.
        masses: the probability of all answers after a prefill.
        has_logprobs: whether it returns probabilities.
        json_answer: the answer as JSON, instead of that of the score.
        faults: called before an invented annotation of this number is judged.
        asked: number of requests by invented annotation and persona.
        probed: number of requests about other annotations; `explained`, of those for reasons.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scores: dict[tuple[int, str], float | None] = {}
        self.masses: dict[str, float] = {}
        self.has_logprobs = True
        self.json_answer = ""
        self.reason = "Because it is not so."
        self.faults: dict[int, Callable[[], None]] = {}
        self.asked: Counter[tuple[int, str]] = Counter()
        self.probed = self.explained = 0

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        number, persona = self._recorded(request)
        if not persona:
            return Reply(self.reason, "stop", 100, 5, 0.1)
        score: float | None = 1.0
        if number >= 0:
            if number in self.faults:
                self.faults[number]()
            if cancel is not None and cancel.is_set():
                raise Interrupted("interrupted")
            score = self.scores.get((number, persona), self.scores.get((number, ""), 5.0))
        if not request.top_logprobs or not self.has_logprobs:
            text = self.json_answer or json.dumps({"answer": str(round(score or 0))})
            return Reply(text if request.json_schema else "5", "stop", 100, 5, 0.1)
        mass = self.masses.get(request.prefill, MASS)
        return Reply("x", "stop", 100, 1, 0.1, 60, (alternatives(score, mass),))

    def _recorded(self, request: Request) -> tuple[int, str]:
        """Return the number of an invented annotation or -1, and the persona or ""."""
        content = next(m.content for m in reversed(request.messages) if m.role == "user")
        about = re.search(r"On (\d+) deliveries", content)
        number = int(about[1]) - 1000 if about else -1
        if number < 0 or shown(moves(number)) not in content:
            number = -1
        asks = re.search(r"As ([a-z]+): is the claim", content)
        with self._arriving:
            self.requests.append(request)
            if asks is None:
                self.explained += 1
            elif number < 0:
                self.probed += 1
            else:
                self.asked[number, asks[1]] += 1
        return number, asks[1] if asks else ""

    def numbers(self) -> set[int]:
        """Return the invented annotations that were judged."""
        return {number for number, _ in self.asked}


def shown(annotation: Mapping[str, str]) -> str:
    return "\n".join(f"{move.label}: {annotation[move.name]}" for move in nanda().moves)


def alternatives(score: float | None, mass: float = MASS) -> dict[str, float]:
    """Return token logprobs with this mean score over "1" to "5"; None: those of another token."""
    if score is None:
        return {"The": math.log(0.9), "3": math.log(0.1)}
    low = min(4, int(score))
    share = score - low
    found = {str(low): mass * (1 - share), str(low + 1): mass * share, "The": 1 - mass}
    return {token: math.log(p) for token, p in found.items() if p > 0}


class Workspace:
    """An application in its own folder, with a table of annotations.

    Args:
        form: how the judge votes, as if measured before; None to measure it.
    """

    def __init__(
        self,
        folder: Path,
        judge: Judge | None = None,
        form: VoteForm | None = FORM,
    ) -> None:
        self.folder = folder
        self.judge = judge or Judge()
        self.app: App = fake_app(folder, self.judge)
        self.table = folder / "agent.csv"
        if form is not None:
            self.settle(form)

    def settle(self, form: VoteForm) -> None:
        """Store the judge's form."""

        def keep(served: ServedModel) -> None:
            with open_corpus(self.corpus) as db:
                ballots.save_form(db, served, panel.shipped(), form)

        fake_models(self.judge, "judge").run("judge", keep)

    def again(self, judge: Judge | None = None) -> Workspace:
        """Return a new application in the same folder, as another process would have."""
        self.app.close()
        return Workspace(self.folder, judge)

    def rows(self, *numbers: int) -> Path:
        return write_table(self.table, *map(row, numbers))

    def curate(
        self,
        rest: str = "",
        save: str = "save to agent_curated.csv",
        table: Path | str | None = None,
    ) -> Outcome:
        """Run the command, with one probe of each kind by default."""
        return self.app.dispatch(self.line(rest, save, table))

    def line(
        self,
        rest: str = "",
        save: str = "save to agent_curated.csv",
        table: Path | str | None = None,
    ) -> str:
        few = "" if "--probes" in rest else "--probes 1"
        parts = ("/curate", str(table or self.table), few, rest, save)
        return " ".join(filter(None, parts))

    def summary(self, outcome: Outcome) -> dict[str, Any]:
        assert outcome.result.summary is not None
        return dict(outcome.result.summary)

    @property
    def stderr(self) -> str:
        return str(self.app.screen.err.getvalue())  # type: ignore[attr-defined]

    @property
    def corpus(self) -> Path:
        return self.app.settings.data_dir / "corpus.db"

    def kept(self, name: str = "agent_curated.csv") -> list[str]:
        """Return the ids in a target."""
        return [found["arxiv_id"] for found in read_table(self.folder / name)]

    def rejected(self, name: str = "agent_rejected.csv") -> dict[str, dict[str, str]]:
        """Return the rows that are not kept, by id."""
        return {found["arxiv_id"]: found for found in read_table(self.folder / name)}

    def log(self, kind: str, name: str = "agent_curation_log.jsonl") -> list[dict[str, Any]]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [found for found in map(json.loads, lines) if found["kind"] == kind]


def votes_for(judge: Judge, number: int, passing: int, invalid: int = 0) -> None:
    """Set how many personas pass a row, and how many have an invalid vote."""
    for place, name in enumerate(NAMES):
        score = 4.0 if place < passing else None if place < passing + invalid else 2.0
        judge.scores[number, name] = score


def fault(error: BaseException) -> Callable[[], None]:
    def raised() -> None:
        raise error

    return raised


def rows_of(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    with open_corpus(workspace.corpus) as db:
        return [dict(row) for row in db.execute(sql)]


def asked_once(judge: Judge, *numbers: int) -> bool:
    """Return True if each persona judged exactly these annotations, once each."""
    return judge.asked == {(number, name): 1 for number in numbers for name in NAMES}


def texts(messages: Iterable[Message]) -> str:
    """Return the messages as one text."""
    return "\n".join(f"{message.role}: {message.content}" for message in messages)
