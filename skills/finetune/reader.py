"""/finetune TABLE --reader: train a reader for /annotate on reviewed papers.

Training starts from the first reader in the registry that serves the task of the framework
(`framework.task_of`) and lists no paper of the table. In a cross-validation with `FOLDS`
folds, one reader for each fold is trained on the other folds, and predicts the moves of the papers
in the fold. If these predictions are better than the predictions of the starting reader, a reader
trained on all papers is registered. OUT/reader-KEY contains the predictions for each fold, and the
final reader. If the command is repeated, it continues with these files.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result
from harness.errors import Interrupted, ModelUnavailable, SkillFailed, UsageError
from harness.models import registry
from harness.models.pool import candidates
from harness.models.weights import FileStore
from harness.runs import targets
from harness.runs.invocation import as_path
from harness.runs.progress import duration
from harness.settings import Settings
from harness.support.bounded_files import file_sha256
from harness.support.process import job_lock, require
from skills.corpus.tables.columns import Columns
from skills.finetune.export import register
from skills.finetune.export.register import BY, TASK, Registration, file_entry, signed
from skills.finetune.reader_gold import Gold, read_gold
from skills.finetune.run_folder import RunDir
from skills.nanda.framework import Framework, selected_framework, sha256_of, task_of, task_with
from skills.nanda.text import counted, flatten
from skills.reader import encoder, fitting
from skills.reader.encoder import Fitted, Scores
from skills.reader.examples import Example, example_of
from skills.reader.fitting import FOLDS, Gain, by_place, gain_of, store, stored

if TYPE_CHECKING:
    from skills.reader.network import Network

VERSION = 2
"""Version of the training code; predictions that another version stored are not used."""
ENOUGH = 100
"""Minimum number of papers for fitting thresholds and scales (`encoder.Fitted`).

With fewer papers, the values of the starting reader are used.
"""
TRAINING: Mapping[str, Any] = {
    "epochs": 3.0,
    "batch": 8,
    "rate": 2e-5,
    "head_rate": 5e-5,
    "frozen": 4,
}
"""Settings for training an existing reader further: two of its six layers are trained.

On 80 papers of a field that the starting reader was trained on, 62.0% of its decisions were right.
After training on 80 other papers of the field, 62.2% were right; with `rate` 5e-5 and `head_rate`
1e-4, 60.8%.
"""
FRESH: Mapping[str, Any] = {
    "epochs": 8.0,
    "batch": 4,
    "rate": 2e-4,
    "head_rate": 1e-3,
    "frozen": 0,
}
"""Settings of the training for moves that the starting reader does not have.

After training on 150 abstracts with the labels of the dataset CSAbstruct, 68.3% of the decisions on
60 other abstracts were right; with a rate of 1e-4 and two trained layers, 63.7%.
"""
TAKEN = frozenset(
    ("reader", "as_name", "abstract_column", "id_column", "framework", "out", "epochs", "seed")
)
"""Options of /finetune that can be used with --reader."""
SEEN = 12
"""Number of hex digits to which digests are shortened in a reader's file and in file names."""


@dataclass(frozen=True, slots=True)
class Start:
    """The reader that training starts from.

    Attributes:
        name: the name of the model in the registry.
        digest: SHA-256 of the reader's file.
        about: the metadata in the reader's file.
        figures: the thresholds and scales of the reader. For a move that the reader does not have,
            `Fitted.stated` is 0.5 and `Fitted.part` is 1.
        comparable: True if the reader was trained on the same framework as the new reader. Only
            then can the decisions of both readers be compared.
        passed: the readers that are not used because they were trained on papers of the table, with
            the number of these papers.
    """

    name: str
    digest: str
    network: Network
    tokenizer: str
    about: Mapping[str, Any]
    figures: Fitted
    comparable: bool
    passed: Mapping[str, int]


def run(call: Call) -> Result:
    """Train a reader, and register it if it is better; return the result of the command.

    Raises:
        InputError: the table cannot be used.
        UsageError: an option or the name cannot be used, no table is named, or a package is
            missing.
        ModelUnavailable: there is no reader to start from.
        Interrupted: Ctrl-C; the finished folds are kept.
        OutputError: a file cannot be written.
    """
    options = call.options
    if other := sorted(options.model_fields_set - TAKEN):
        raise UsageError(
            f"--{other[0].replace('_', '-')} does not apply to a reader",
            hint="A reader takes --as-name, --framework, --epochs, --seed, --out, "
            "--abstract-column and --id-column.",
        )
    if not options.as_name:
        raise UsageError(
            "a reader needs a name",
            hint="`--as-name my-annotator` registers the reader under this name.",
        )
    if not call.text.strip():
        raise UsageError(
            "there is no table to train on",
            hint="Name a table, as in `/finetune gold.csv --reader`.",
        )
    path = as_path(call.text.strip())
    register.check_name(options.as_name, call.settings)
    register.refuse_to_replace(call, options.as_name)
    framework = selected_framework(options.framework, call.frameworks)
    columns = Columns(options.abstract_column, options.id_column)
    gold = read_gold(path, framework, columns, call.screen.notice)
    require("torch", "onnx")
    stated, exact = (sum(getattr(one, name) for one in gold.papers) for name in ("stated", "exact"))
    call.screen.notice(
        f"{path.name}: {counted(len(gold.papers), 'paper')}, {stated:,} stated moves, {exact:,} of "
        "them in the words of the abstract" + f"; left out: {gold.reasons}" * bool(gold.left_out)
    )
    start = _start(call, framework, gold)
    for name, papers in start.passed.items():
        call.screen.notice(
            f"{name} was trained on {papers} of these papers; training starts from {start.name}"
        )
    training = _Training(call, path, framework, gold, start)
    locks = call.settings.data_dir / "locks"
    with job_lock(locks, str(training.folder.resolve())), call.cancel.on_signals():
        return training.run()


def _start(call: Call, framework: Framework, gold: Gold) -> Start:
    """Return the first reader for the task of `framework` that lists no paper in `gold`.

    A reader of /finetune lists the papers on which it was trained; the shipped reader lists none.

    The file of the reader is downloaded if necessary. A reader whose file is missing is skipped.

    Raises:
        ModelUnavailable: there is no such reader, or a registered file is not a reader.
        ChecksumMismatch: the file of a reader has another digest than in the registry.
    """
    from skills.reader import onnx_file

    known = call.models.registry
    files = FileStore(known.files, call.settings.cache_dir, call.screen.notice)
    digests = {one.paper.sha256[:SEEN] for one in gold.papers}
    passed: dict[str, int] = {}
    for one in candidates(known, task_of(framework, known)):
        if one.serve.backend != "reader" or files.missing(str(one.serve.file)):
            continue
        path = files.ensure(str(one.serve.file))
        encoder.load(path)  # raises an error if the file is not a reader
        network, tokenizer, about = onnx_file.read(path)
        if seen := digests.intersection(about.get("seen", ())):
            passed[one.model_id] = len(seen)
            continue
        figures = Fitted(**about["fitted"])
        stated = {move: figures.stated.get(move, 0.5) for move in framework.names}
        part = {move: figures.part.get(move, 1.0) for move in framework.names}
        return Start(
            one.model_id,
            files.digest_of(path),
            network,
            tokenizer,
            about,
            Fitted(figures.confidence, stated, part, figures.repeated),
            about["framework"]["digest"] == framework.digest,
            passed,
        )
    raise ModelUnavailable(
        "there is no reader to start from"
        + f"; trained on papers of the table: {', '.join(passed)}" * bool(passed),
        hint="Register a reader that was not trained on papers of the table; `/models` lists the "
        "models.",
    )


class _Training:
    """Trains a reader, and stores the predictions of the folds and the reader in a folder."""

    def __init__(
        self, call: Call, path: Path, framework: Framework, gold: Gold, start: Start
    ) -> None:
        from tokenizers import Tokenizer

        from skills.reader import training

        self.call, self.path, self.framework = call, path, framework
        self.gold, self.start = gold, start
        fresh = {} if set(framework.names) <= set(start.about["moves"]) else FRESH
        given = {"epochs": call.options.epochs, "seed": call.options.seed}
        chosen = {name: value for name, value in given.items() if value is not None}
        self.settings = training.Settings(**{**TRAINING, **fresh, **chosen})
        tokenizer, names = Tokenizer.from_str(start.tokenizer), framework.names
        examples = (
            example_of(tokenizer, names, flatten(one.paper.title), one.paper.abstract, one.anchors)
            for one in gold.papers
        )
        # An example has no labels if all its moves are in sentences beyond `encoder.MOST` tokens.
        self.examples = [example for example in examples if example.stated]
        parts = VERSION, gold.digest, framework.digest, start.digest, asdict(self.settings), FOLDS
        self.folder: Path = call.options.out / f"reader-{sha256_of(parts)[:SEEN]}"
        self.reader: Path = self.folder / "reader.onnx"  # the reader that is trained on all papers
        self._spent = self._passes = self._left = 0.0

    def run(self) -> Result:
        """Cross-validate the new reader, register it if it is better, and return the result.

        The new reader is also registered with --force, or if the starting reader has another
        framework and cannot be compared. The result contains the comparison, and an error if the
        new reader is not registered.
        """
        RunDir(self.folder, "").make()
        folds = self._folds()
        held = [
            (one, folds[number % FOLDS][number // FOLDS])
            for number, one in enumerate(self.examples)
        ]
        figures, by_fold = self._figures(held)
        gain = self._gain(held, by_fold)
        text, better = self._compared(gain), gain.least > 0
        data = {"compare": {**gain.as_dict(), "with": self.start.name, "better": better}}
        facts = {"out": str(self.folder), "stages": data}
        if self.start.comparable and not better and not self.call.force:
            refused = SkillFailed(
                f"{self.call.options.as_name} is not registered, since it is not shown to be "
                f"better than {self.start.name}: with 95% confidence its gain is at least "
                f"{100 * gain.least:+.1f} points, which must be above 0",
                where=str(self.path),
                hint="Review more papers and repeat the line, or add --force to register it.",
            )
            return Result(text, facts, stopped=refused)
        made = self._final(figures, gain)
        data["register"] = self._register(made, gain)
        name, task = str(self.call.options.as_name), task_with(self.framework)
        own = "" if task == TASK else f" --framework {self.call.options.framework}"
        line = f"/annotate FILE{own}"
        use = f"`{line}` uses {name} now; `/finetune unregister {name}` removes it"
        return Result(f"{text}\n{made}\n{use}", facts, next=line)

    def _folds(self) -> list[list[Scores]]:
        """Return the predictions for the held-out papers of each fold, from files or by training.

        Raises:
            Interrupted: Ctrl-C.
        """
        from skills.reader.training import scores_of

        paths = [self.folder / f"fold-{number}.npz" for number in range(1, FOLDS + 1)]
        held = [self.examples[number::FOLDS] for number in range(FOLDS)]
        found = [stored(path, own) for path, own in zip(paths, held, strict=True)]
        done = sum(one is not None for one in found)
        if done:
            self.call.screen.notice(f"{done} of {FOLDS} folds were done before")
        count = len(self.examples)
        self._left = sum(
            count - len(own) for own, kept in zip(held, found, strict=True) if not kept
        ) + count * (not self.reader.is_file())
        for number in range(FOLDS):
            if found[number] is None:
                rest = [one for at, one in enumerate(self.examples) if at % FOLDS != number]
                network = self._trained(rest, f"fold {number + 1} of {FOLDS}")
                found[number] = [*scores_of(network, held[number])]
                store(paths[number], found[number] or [])
                self._report(f"fold {number + 1} of {FOLDS}: {len(rest)} papers", len(rest))
        return [one or [] for one in found]

    def _trained(self, examples: Sequence[Example], name: str) -> Network:
        """Train a reader on these examples, and return its network.

        Raises:
            Interrupted: Ctrl-C.
        """
        import torch

        from skills.reader.training import train

        torch.manual_seed(self.settings.seed)  # the initial weights of new heads are random
        start = self.start
        network = start.network.for_moves(start.about["moves"], self.framework.names)
        started = time.monotonic()
        with self.call.screen.progress(f"training, {name}") as tick:

            def after_step(step: int, steps: int, _: float) -> None:
                tick(f"step {step} of {steps}")
                if self.call.cancel.is_set():
                    raise Interrupted(
                        "interrupted", hint="Repeat the line to continue after the finished folds."
                    )

            train(network, examples, self.settings, after_step=after_step)
        self._spent += time.monotonic() - started
        self._passes += len(examples)
        return network

    def _report(self, name: str, papers: int) -> None:
        """Print that the training `name` has ended, and the estimated remaining time.

        Args:
            papers: number of papers that this training used.
        """
        self._left -= papers
        left = self._spent / self._passes * self._left
        more = f", about {duration(left)} left" if self._left > 0 else ""
        self.call.screen.notice(f"{name}, {duration(self._spent)} so far{more}")

    def _figures(self, held: Sequence[tuple[Example, Scores]]) -> tuple[Fitted, list[Fitted]]:
        """Return figures fitted on all folds, and for each fold figures fitted on the other folds.

        The figures are thresholds and scales. With fewer than `ENOUGH` papers, or without a stated
        move, the figures of the starting reader are returned.

        Args:
            held: each paper with the predictions of the reader that was not trained on it.
        """
        if len(held) < ENOUGH or not any(any(one.stated.values()) for one in self.examples):
            return self.start.figures, [self.start.figures] * FOLDS
        names = self.framework.names
        others = ([pair for at, pair in enumerate(held) if at % FOLDS != n] for n in range(FOLDS))
        return fitting.fit(held, names), [fitting.fit(one, names) for one in others]

    def _gain(self, held: Sequence[tuple[Example, Scores]], figures: Sequence[Fitted]) -> Gain:
        """Return the gain in accuracy over the starting reader.

        If the starting reader has another framework, the gain is over the baseline
        `fitting.by_place`.

        Args:
            held: each paper with the predictions of the reader that was not trained on it.
            figures: thresholds and scales for the papers of each fold.
        """
        from skills.reader.training import scores_of

        names, start = self.framework.names, self.start
        stated = [figures[at % FOLDS].stated for at in range(len(held))]
        after = fitting.right_decisions(held, stated, names)
        kappa, kappa_before = fitting.stated_kappa(held, stated, names), None
        if start.comparable:
            scores = scores_of(start.network, self.examples)
            read = [*zip(self.examples, scores, strict=True)]
            own = [start.figures.stated] * len(read)
            before = fitting.right_decisions(read, own, names)
            kappa_before = fitting.stated_kappa(read, own, names)
        else:
            before = by_place(self.examples)
        kappas = kappa_before, kappa
        return gain_of(before, after, kappas, self.settings.seed)

    def _compared(self, gain: Gain) -> str:
        """Return the comparison of the readers in words."""
        other = (
            self.start.name
            if self.start.comparable
            else "a baseline (the most frequent place of each move, or not stated)"
        )
        kappas = ", before ".join(f"{one:.2f}" for one in reversed(gain.kappa) if one is not None)
        text = (
            f"{self.call.options.as_name}: {gain.after:.1%} of {gain.decisions:,} decisions on "
            f"{gain.papers} held-out papers are right, {other} has {gain.before:.1%}: gain "
            f"{100 * gain.value:+.1f} points (95% interval {100 * gain.low:+.1f} to "
            f"{100 * gain.high:+.1f})" + f"; kappa of stated {kappas}" * bool(kappas)
        )
        if not self.start.comparable:
            text += f"\n{self.start.name} has another framework than {self.framework.name}. The"
            text += " general model was not run, since it is slow: `/evaluate` compares with it"
        return text

    @property
    def _digest(self) -> str:
        """The digest of the table; if the table is a folder, the digest of its papers."""
        return file_sha256(self.path) if self.path.is_file() else self.gold.digest

    def _final(self, figures: Fitted, gain: Gain) -> Path:
        """Train the reader on all papers, unless its file exists; return the path of the file."""
        from skills.reader import onnx_file

        path, start = self.reader, self.start
        if path.is_file():
            return path
        network = self._trained(self.examples, "all papers")
        seen = {one.paper.sha256[:SEEN] for one in self.gold.papers}
        seen |= {*start.about.get("seen", ())}
        about = {
            "moves": self.framework.names,
            "framework": self.framework.identity,
            "max_chars": self.framework.max_chars,
            "fitted": asdict(figures),
            "base": start.about.get("base"),
            "start": {"model": start.name, "sha256": start.digest},
            "papers": {"trained": len(self.examples), "held_out": 0},
            "table": {"name": self.path.name, "sha256": self._digest},
            "settings": asdict(self.settings),
            "gain": gain.as_dict(),
            "seen": sorted(seen),
        }
        partial = path.with_suffix(".partial")
        with targets.reported(path):
            onnx_file.write(network, start.tokenizer, about, partial)
            partial.replace(path)
        self._report(f"all {len(self.examples)} papers", len(self.examples))
        return path

    def _register(self, made: Path, gain: Gain) -> dict[str, Any]:
        """Register a copy of the reader as the default for its framework, and return the facts."""
        settings, name = self.call.settings, str(self.call.options.as_name)
        digest, content = file_sha256(made), made.read_bytes()
        kept = settings.data_dir / "readers" / f"{name}-{digest[:SEEN]}.onnx"
        RunDir(kept.parent, "").make()
        targets.write(kept, lambda file: file.write(content))
        origin = {
            "data": self.path.name,
            "data_sha256": self._digest,
            "papers": len(self.examples),
            "framework": self.framework.identity,
            "start_from": self.start.name,
            "start_sha256": self.start.digest,
        }
        wanted = registration_of(settings, name, kept, self.framework, origin, gain)
        return register.add(self.call, wanted, chosen=True)


def registration_of(
    settings: Settings,
    name: str,
    file: Path,
    framework: Framework,
    origin: Mapping[str, Any],
    gain: Gain,
) -> Registration:
    """Return the registry entries of a reader, which serves the task of its framework.

    Args:
        file: the reader's file, at its final path.
        origin: facts about the training: data, number of papers, framework and starting reader.
    """
    file_id = f"{name}-reader"
    model = {
        "summary": f"{origin['start_from']}, trained further on {origin['papers']} papers of "
        f"{origin['data']}",
        "tasks": [task_with(framework)],
        "form": "quotes",
        "serve": [{"backend": "reader", "file": file_id}],
        "options": {"temperature": 0, "seed": 0},
        "fallback": registry.load(settings.shipped_registry).serving(TASK),
        "trained_on": {"by": BY, "files": [file_id], **origin},
        "scores": gain.as_dict(),
    }
    files = {file_id: file_entry(settings, file, file_sha256(file))}
    return Registration(name, signed(model), files)
