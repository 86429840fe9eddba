"""Register the command /annotate, and the backend `reader`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar

from harness.api.hookspecs import RegisterBackend, RegisterSkill, hookimpl
from harness.api.skill import Call, Impact, Result, Skill, SkillOptions
from harness.errors import UsageError
from harness.models.weights import FileStore
from harness.support.text_input import TEXT_WORDS
from skills.annotate.options import (
    AnnotateSummary,
    IdListOptions,
    PaperByIdOptions,
    PaperOptions,
    TableOptions,
    TopicOptions,
)
from skills.corpus.options import (
    SAVED_REFERENCES,
    SAVED_SPANS,
    SAVED_TABLES,
    TABLES,
    AnswerOptions,
    DatasetOptions,
    WorkerOptions,
)
from skills.corpus.records import AnnotationOutput
from skills.nanda.framework import Framework, FrameworkOption, selected_framework
from skills.nanda.paper import ARXIV_ID

_ASK = r"(?:please\s+|can\s+you\s+|could\s+you\s+|would\s+you\s+)*annotate\s+"
_WHAT = r"(?:this|the|my|following|arxiv|paper|abstract|file|text|preprint|from|of|in|with|id)"
_TEXT = r"(?:abstract|paper|text|preprint|this|following)"
_PAGE = r"(?:https?://)?(?:www\.|export\.)?arxiv\.org/\S*[^\s.!?]"
_FILE = r"\"[^\"\n]+\.(?:txt|md)\"|'[^'\n]+\.(?:txt|md)'|\S+\.(?:txt|md)"
_END = r"\s*+[.!?]?\s*+\Z"
_SAVE = r"(?:\s+(?:save\s+to|-o)\s.+)?"


class Annotate(Skill):
    name = "annotate"
    summary = "Annotate paper abstracts with the eight moves of the Nanda framework"
    usage = "TEXT|FILE|TABLE|ID|TOPIC|-"
    details = (
        "TEXT is an abstract: at least 12 words with the end of a sentence, or at least 40 words.\n"
        "FILE is a .txt or .md file with an abstract, or the PDF file of a paper. ID is an\n"
        "arXiv id, a DOI or a PMID. - reads the abstract from stdin. The result is a JSON object\n"
        "with claim, evidence, method, scope, limitation, comparison, implication and novelty; a\n"
        'move that the abstract does not state is "Not stated." The annotation is stored in the\n'
        "corpus. If the same model has annotated the same abstract before, the stored annotation\n"
        "is the result.\n"
        "\n"
        f"TABLE is a {TABLES} file with a column\n"
        "of abstracts, a .md list of papers, the export of a reference manager (.bib, .ris,\n"
        ".nbib or CSL-JSON), a Zotero data directory such as ~/Zotero (--collection, --tag), a\n"
        "folder of PDF files, or several .parquet files: a folder, or a pattern such as\n"
        "parts/*.parquet. Each annotation is stored in the corpus immediately, and the same line\n"
        "continues a stopped job; see /corpus.\n"
        "Without a file to save to, the result is one JSON object per line.\n"
        "--cascade passes doubtful papers on to better models; the remaining doubtful papers are\n"
        "for /curate --review. All models but the last must give confidences.\n"
        "\n"
        "A .txt file with a DOI, arXiv id or PMID on each line is a list of papers. DOIs and\n"
        "PMIDs are looked up at the sources of --source.\n"
        "\n"
        "TOPIC is any other text. Papers on the topic are searched in the corpus, and then at\n"
        "arXiv or the sources of --source; they are annotated, and the result is a survey."
    )
    triggers: ClassVar[tuple[str, ...]] = (
        rf"{_ASK}(?:{_WHAT}\s+)*{_TEXT}\s*[:\n]\s*(?P<text>\S.*)\Z",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_FILE}){_SAVE}){_END}",
        rf"{_ASK}(?:{_WHAT}\s+)*(?P<text>(?:{_PAGE}|(?:arxiv:\s*)?{ARXIV_ID}){_SAVE}){_END}",
    )
    saves = (*SAVED_TABLES, ".json", ".md", ".html", *SAVED_REFERENCES, *SAVED_SPANS)

    folders = ("", ".vault", ".dataset")

    impact: ClassVar[dict[str, Impact]] = {"": "adds"}
    output = AnnotationOutput
    output_summary = AnnotateSummary

    class Options(TopicOptions, TableOptions, PaperOptions, AnswerOptions, DatasetOptions):
        manner: ClassVar[frozenset[str]] = frozenset(
            {"workers", "retry_failed", "limit"} | WorkerOptions.manner
        )

        framework: FrameworkOption = None

    variants: ClassVar[dict[str, type[SkillOptions]]] = {
        "one paper": PaperOptions,
        "a table": TableOptions,
        "a topic": TopicOptions,
        "a list of ids": IdListOptions,
        "a paper by its id": PaperByIdOptions,
    }

    def variant(self, call: Call) -> str:
        from skills.annotate.papers import recognize

        call.input = recognize(call.text, call.source, call.options.limit)
        return str(call.input.variant)

    def offer(self, wish: str) -> str:
        from skills.annotate.papers import is_paper

        for word in re.finditer(r"\"[^\"\n]+\"|'[^'\n]+'|\S+", wish):
            if is_paper(named := word[0].rstrip(".,;:!?)")):
                return named
        if wish.endswith(" -"):
            return "-"
        return wish if len(wish.split()) >= TEXT_WORDS else ""

    def piped_as(self, text: str, subcommand: str) -> str:
        from skills.annotate.papers import are_ids
        from skills.corpus.tables.text_formats import suffix_of

        return ".txt" if are_ids(text) else suffix_of(text)

    def saves_folder(self, target: Path, options: SkillOptions, subcommand: str) -> bool:
        """Return True if a target is a folder of parts.

        A name that ends in .parts always is a folder of parts. On a cluster (--on), a name without
        a suffix is a folder of parts, too. With --on ray-data, a name with the suffix .parquet or
        an unknown suffix is also a folder of parts.
        """
        assert isinstance(options, Annotate.Options)
        if target.suffix and target.suffix in (".parts", *self.folders):
            return target.suffix == ".parts"
        if options.ray_data is not None:
            return target.suffix == ".parquet" or target.suffix not in self.saves
        return options.is_remote and not target.suffix

    def effects(self, options: SkillOptions, subcommand: str) -> str:
        """Return the effects of a line that need permission, or "" if permission is not needed.

        Writing to the default corpus does not need permission.
        """
        assert isinstance(options, Annotate.Options)
        changed = [f"sends papers to {options.cascade}"] * bool(options.cascade)
        changed += [f"writes into the database {options.db}"] * bool(options.db)
        return " and ".join(changed)

    def run(self, call: Call) -> Result:
        from skills.corpus import exporters

        framework = selected_framework(call.options.framework, call.frameworks)
        found, is_table = call.input, call.input.kind == "table"
        parts = [one for one in call.targets if self.saves_folder(one, call.options, "")]
        if parts and not is_table:
            raise UsageError(
                "only the annotations of a table are saved as a folder of parts",
                where=str(parts[0]),
                hint="Save to a file, or to a vault: `save to NAME.vault/`.",
            )
        _check_combinations(call.options, is_table=is_table)
        exporters.check_folders(call, self, of_pdfs=found.is_of_pdfs)
        if is_table:
            return _annotate_table(call, found.path, framework, parts)
        if found.kind == "ids":
            from skills.annotate.topic import annotate_ids

            return annotate_ids(call, found.ids, framework)
        if found.kind == "topic":
            from skills.annotate.topic import annotate_topic

            return annotate_topic(call, framework)
        from skills.annotate.single import annotate_one

        return annotate_one(call, found, framework)


def _annotate_table(call: Call, table: Path, framework: Framework, parts: Sequence[Path]) -> Result:
    """Annotate a table, and return the result.

    Args:
        parts: the targets that are folders of parts.
    """
    from skills.annotate.table import annotate_source, annotate_table

    if call.options.ray_data is not None:
        from skills.annotate.parquet_output.ray_data import annotate_to_parts

        if len(parts) != 1 or len(call.targets) != 1:
            raise UsageError(
                "--on ray-data saves to one folder of parts", hint="Write `save to parts/`."
            )
        return annotate_to_parts(call, table, framework)
    if parts:
        from skills.annotate.parquet_output.parts_job import annotate_and_save

        return annotate_table(call, table, framework, annotate_and_save)
    if call.options.cascade is None:
        return annotate_table(call, table, framework, annotate_source)
    from skills.annotate.cascade import annotate_cascaded

    return annotate_table(call, table, framework, annotate_cascaded)


def _check_combinations(options: Annotate.Options, *, is_table: bool) -> None:
    """Raise a UsageError if options cannot be combined, or do not apply to the kind of input."""
    if not is_table:
        if isinstance(options.until, float):
            raise UsageError(f"--until: {options.until:g} is not a date", hint="Write YYYY-MM-DD.")
        return
    if isinstance(options.until, date):
        raise UsageError(
            "--until does not apply to a table",
            hint="A date limits a search. With --cascade, --until takes a certainty such as .9.",
        )
    for name in ("sections", "strict"):
        if getattr(options, name) and options.ray_data is not None:
            raise UsageError(f"--{name} does not go with --on ray-data")
    given = options.model_fields_set
    if options.cascade is None:
        if names := [f"--{name}" for name in ("budget", "until", "sample") if name in given]:
            raise UsageError(f"{names[0]} goes with --cascade MODEL")
    elif not given & {"budget", "until"}:
        raise UsageError(
            "--cascade goes with --budget or --until",
            hint="`--budget 20%` passes on at most a fifth of the papers.",
        )


@hookimpl
def register_skills(register: RegisterSkill) -> None:
    register(Annotate())


@hookimpl
def register_backends(register: RegisterBackend, files: FileStore) -> None:
    from skills.reader.backend import ReaderBackend

    register(ReaderBackend(files))
