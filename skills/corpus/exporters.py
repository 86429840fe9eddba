"""Map the suffixes of files and folders to functions that save annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from harness.api.skill import Call, Skill, Write
from harness.errors import Interrupted, UsageError
from harness.runs import targets
from skills.corpus.options import SAVED_REFERENCES, SAVED_SPANS
from skills.corpus.records import Annotated, Failure
from skills.corpus.tables.text_tables import write_jsonl
from skills.nanda.framework import Framework

DATASET = ".dataset"


@dataclass(frozen=True, slots=True)
class Export:
    """Annotations to save in a file of any format.

    Attributes:
        framework: the framework of the annotations.
        id_column: the name of the id column in tables.
        items: returns a new iterator over the annotations.
        failures: returns a new iterator over the failures.
        title: the heading of an HTML page or a Markdown list.
        about: facts that an HTML page shows below the heading; None for no facts.
        library: the file from which the papers were read, or None. If the file contains references,
            saved reference files keep the fields of these references.
        sections: True to add a column to tables, with the moves that were found in sections.
        raw: True to write the cells of tables unchanged, even if a spreadsheet would execute a
            cell.
    """

    framework: Framework
    id_column: str
    items: Callable[[], Iterator[Annotated]]
    failures: Callable[[], Iterator[Failure]]
    title: str
    about: Mapping[str, Any] | None = None
    library: Path | None = None
    sections: bool = False
    raw: bool = False

    def writers(self) -> dict[str, Write]:
        """Return the functions that write the annotations to a file, by the suffix of the file."""
        return {
            ".jsonl": lambda file: write_jsonl(file, self.items()),
            ".csv": self._csv,
            ".xlsx": self._xlsx,
            ".parquet": self._parquet,
            ".json": self._json,
            ".md": self._markdown,
            ".html": self._html,
            **{suffix: partial(self._references, suffix) for suffix in SAVED_REFERENCES},
            **{suffix: partial(self._spans, suffix) for suffix in SAVED_SPANS},
        }

    def _rows(self) -> Iterator[tuple[str, ...]]:
        from skills.corpus.tables.saved_tables import table_rows

        doubt = any("confidence" in one.record for one in self.items())
        kept = self.items(), self.framework, self.id_column
        return table_rows(*kept, doubt=doubt, sections=self.sections)

    def _csv(self, file: IO[bytes]) -> None:
        from skills.corpus.tables.saved_tables import write_csv

        write_csv(file, self._rows(), raw=self.raw)

    def _json(self, file: IO[bytes]) -> None:
        from skills.corpus.tables.saved_tables import write_json_list

        write_json_list(file, (one.record for one in self.items()))

    def _xlsx(self, file: IO[bytes]) -> None:
        from skills.corpus.tables.spreadsheets import write_xlsx

        write_xlsx(file, self._rows(), raw=self.raw)

    def _parquet(self, file: IO[bytes]) -> None:
        from skills.corpus.tables.parquet_files import parquet_schema, write_parquet

        schema = parquet_schema(self.framework, self.id_column, sections=self.sections)
        write_parquet(file, self.items(), self.framework, schema)

    def _markdown(self, file: IO[bytes]) -> None:
        from skills.corpus.tables.markdown_lists import write_markdown

        write_markdown(file, self.items(), self.framework, self.title)

    def _html(self, file: IO[bytes]) -> None:
        from skills.corpus.html_page import write_html

        write_html(file, self.title, self.items(), self.failures(), self.framework, self.about)

    def _references(self, suffix: str, file: IO[bytes]) -> None:
        from skills.corpus.references import reference_files

        reference_files.write(file, suffix, self.items(), self.framework, self.library)

    def _spans(self, suffix: str, file: IO[bytes]) -> None:
        from skills.corpus.tables import span_files

        span_files.write(file, suffix, self.items(), self.framework)


def folders(
    call: Call,
    framework: Framework,
    id_column: str,
    items: Callable[[], Iterator[Annotated]],
    *,
    sections: bool = False,
    of_pdfs: bool = False,
) -> dict[str, Callable[[Path], object]]:
    """Return the functions that save annotations in a folder, by the suffix of the folder.

    The parameters `framework`, `id_column`, `items` and `sections` are as for `Export`.

    Args:
        of_pdfs: True if the papers were read from PDF files (see `is_for_copies`).
    """

    def vault(folder: Path) -> None:
        from skills.corpus.exports import vault

        with call.screen.progress(f"writing {folder}") as tick:
            done = vault.save(folder, framework, items, force=call.force, tick=tick)
        call.screen.notice(done)

    def dataset(folder: Path) -> None:
        from skills.corpus.exports import dataset as datasets

        datasets.save(
            folder,
            framework,
            id_column,
            items,
            split=call.options.split or "train",
            abstracts=call.options.abstracts,
            sections=sections,
            force=call.force,
            notice=call.screen.notice,
        )

    def copies(folder: Path) -> None:
        from skills.corpus.exports import highlights

        if call.cancel.is_set():
            call.screen.notice(f"{folder}: no PDF file was written, since the job was stopped")
            return
        with call.screen.progress(f"writing {folder}") as tick, call.cancel.on_signals():
            try:
                report = highlights.save(
                    folder, framework, items, tick=tick, check=call.cancel.check
                )
            except Interrupted as stopped:
                stopped.hint = f"The finished copies in {folder} are kept."
                raise
        for line in report:
            call.screen.notice(line)

    def plain(folder: Path) -> None:
        (copies if is_for_copies(folder, of_pdfs=of_pdfs) else vault)(folder)

    return {"": plain, ".vault": vault, DATASET: dataset}


def is_for_copies(folder: Path, *, of_pdfs: bool) -> bool:
    """Return True if copies of PDF files are saved in a folder, and False if a vault is saved.

    A vault is saved if the papers were not read from PDF files, if the folder is named "vault", or
    if the folder is a vault, is within a vault, or contains notes of the harness.

    Args:
        folder: a target without a suffix.
        of_pdfs: True if the papers were read from PDF files.
    """
    if not of_pdfs or folder.name.casefold() == "vault":
        return False
    from skills.corpus.exports import vault

    return not vault.is_vault(folder)


def check_folders(call: Call, skill: Skill, *, of_pdfs: bool = False) -> None:
    """Check the target folders of vaults and datasets, before any work is done.

    Args:
        of_pdfs: True if the papers are read from PDF files.

    Raises:
        UsageError: a folder contains files that belong to no vault or dataset, or an option for
            datasets is given but no target is a dataset.
    """
    kinds = {one: targets.folder_suffix(one, call, skill) for one in call.targets}
    for folder, suffix in kinds.items():
        if suffix == DATASET:
            from skills.corpus.exports import dataset

            dataset.check(folder, force=call.force)
        elif suffix is not None and (suffix or not is_for_copies(folder, of_pdfs=of_pdfs)):
            from skills.corpus.exports import vault

            vault.check(folder, force=call.force)
    given = call.options.model_fields_set & {"abstracts", "split"}
    if given and DATASET not in kinds.values():
        name = "--no-abstracts" if "abstracts" in given else "--split"
        raise UsageError(f"{name} applies only to a dataset", hint="Add `save to NAME.dataset/`.")
